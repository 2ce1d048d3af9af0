"""Refunds and charges.

Source: spec, refunds (a charge or an intent; part or all of it; an error for more than is left); refunds
(`pending`, `succeeded`, later perhaps `failed`: the money is in the balance again); testing, "Refunds".
"""

from devstack.acquirer import turns
from devstack.acquirer.stripe import objects, parameters, shapes
from devstack.acquirer.stripe.call import Call
from devstack.acquirer.stripe.errors import Json, Refusal, invalid, missing
from devstack.acquirer.stripe.objects import Stored
from devstack.acquirer.stripe.parameters import (
    boolean,
    integer,
    listed,
    metadata,
    one_of,
    passive,
    positive,
    text,
)

CREATE = {
    "amount": positive,
    "charge": text,
    "payment_intent": text,
    "reason": one_of("duplicate", "fraudulent", "requested_by_customer"),
    "metadata": metadata,
    "expand": listed(text),
    "refund_application_fee": boolean,
    "reverse_transfer": boolean,
    **passive("currency", "customer", "instructions_email", "origin"),
}
_SECONDS = dict.fromkeys(("gt", "gte", "lt", "lte"), integer)
LIST = {
    "limit": integer,
    "starting_after": text,
    "ending_before": text,
    "created": parameters.either(parameters.hashed(_SECONDS), integer),
    "expand": listed(text),
}


def create(call: Call, form: Json) -> Json:
    """Money goes back to the card; it may still come back from there.

    Source: error-codes, `charge_already_refunded`; spec, refunds.
    """
    charge, intent = _refunded(call, form)
    _check_disputes(call, charge)
    left = charge.body["amount_captured"] - charge.body["amount_refunded"]
    if left <= 0:
        message = f"Charge {charge.id} has already been refunded."
        raise Refusal(400, message, code="charge_already_refunded")
    amount = form.get("amount", left)
    if amount > left:
        raise Refusal(400, "Refund amount is greater than unrefunded amount on charge.", param="amount")
    form["metadata"] = parameters.merged({}, form.get("metadata", {}))
    reference = call.reference(form["metadata"], charge.aside["reference"])
    own_id = objects.new_id("re")
    result = call.recorded(
        own_id, "refund", charge, reference=reference, amount=amount, authorization=charge.id
    )
    call.moved(result, charge, "refund")
    turns.planned(call.db, own_id, call.terms.entries, at=call.now)
    behaviour = intent.aside.get("refunds", "succeeds")
    status = "pending" if behaviour == "pends" else "succeeded"
    if behaviour == "fails":
        later = [f"refund:undo_refund:{call.account.refund_settles_s}"]
        turns.planned(call.db, own_id, later, at=call.now)
    elif behaviour == "pends":
        call.due("refund_succeeds", own_id, after_s=call.account.refund_settles_s)
    stored = Stored(
        shapes.refund(
            own_id, charge.body, form, amount=result["amount"], created=call.seconds, status=status
        ),
        {"reference": reference, "payment_reference": charge.aside["payment_reference"]},
    )
    refunded(call, stored, charge)
    return stored.body


def _check_disputes(call: Call, charge: Stored) -> None:
    """Raises `Refusal` for a charge whose money the bank has. Source: spec, `is_charge_refundable`; error-codes."""
    if not charge.body["disputed"]:
        return
    where, url = {"charge": [charge.id]}, "/v1/disputes"
    page = objects.page(call.db, call.account, "dispute", {}, where=where, url=url)
    if any(not one["is_charge_refundable"] and one["status"] != "won" for one in page["data"]):
        raise Refusal(400, f"Charge {charge.id} has been charged back.", code="charge_disputed")


def refunded(call: Call, stored: Stored, charge: Stored) -> None:
    """The charge says what was refunded, and events do. Source: api/events/types."""
    charge.body["amount_refunded"] += stored.body["amount"]
    charge.body["refunded"] = charge.body["amount_refunded"] >= charge.body["amount"]
    call.put(stored)
    call.put(charge)
    call.happened("refund.created", stored)
    call.happened("charge.refunded", charge)


def failed(call: Call, stored: Stored) -> None:
    """The bank sent it back: the charge is not refunded by it any more.

    Source: refunds, "Failed refunds"; spec, `failure_reason`; api/events/types, `refund.failed`.
    """
    stored.body |= {
        "status": "failed",
        "failure_reason": "expired_or_canceled_card",
        "failure_balance_transaction": objects.new_id("txn"),
    }
    before = stored.body.pop("pending_reason", None)
    charge = call.get("charge", stored.body["charge"], param="charge")
    charge.body["amount_refunded"] -= stored.body["amount"]
    charge.body["refunded"] = False
    call.put(stored)
    call.put(charge)
    was = {"status": "succeeded" if before is None else "pending"}
    call.happened("refund.updated", stored, was)
    call.happened("charge.refund.updated", stored, was)
    call.happened("refund.failed", stored)


def succeeded(call: Call, stored: Stored) -> None:
    """A pending refund has arrived. Source: testing: it "sends a `refund.updated` event"."""
    if stored.body["status"] != "pending":
        return
    stored.body["status"] = "succeeded"
    stored.body.pop("pending_reason", None)
    call.put(stored)
    call.happened("refund.updated", stored, {"status": "pending"})
    call.happened("charge.refund.updated", stored, {"status": "pending"})


def retrieve(call: Call, form: Json, own_id: str) -> Json:
    """The refund as it is."""
    return call.get("refund", own_id, param="id").body


def charge(call: Call, form: Json, own_id: str) -> Json:
    """The charge as it is."""
    return call.get("charge", own_id, param="id").body


def _refunded(call: Call, form: Json) -> tuple[Stored, Stored]:
    """The charge that is refunded, and its intent."""
    if "payment_intent" in form:
        intent = objects.find(call.db, call.account, "payment_intent", form["payment_intent"])
        if intent is None:
            raise missing("payment_intent", form["payment_intent"], param="payment_intent")
        charge_id = intent.body["latest_charge"]
    elif "charge" in form:
        charge_id = form["charge"]
    else:
        message = "One of the following params should be provided for this request: payment_intent or charge."
        raise invalid(message, code="parameter_missing")
    found = objects.find(call.db, call.account, "charge", charge_id or "")
    if found is None and "charge" in form:
        raise missing("charge", charge_id, param="charge")
    if found is None or not found.body["paid"] or not found.body["amount_captured"]:
        message = "This PaymentIntent does not have a successful charge to refund."
        raise Refusal(400, message, code="payment_intent_unexpected_state")
    return found, call.get("payment_intent", found.body["payment_intent"], param="payment_intent")
