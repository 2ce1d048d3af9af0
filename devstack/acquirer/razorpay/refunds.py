"""Refunds, of captured payments only.

Source: api/refunds (`captured` only), api/refunds/create-normal ("Errors"), api/refunds/entity (`status`),
payments/refunds ("Refund States"), webhooks/refunds.
"""

from datetime import timedelta

from devstack.acquirer import faults, turns
from devstack.acquirer.faults import Deed
from devstack.acquirer.razorpay import objects, parameters, shapes, wishes
from devstack.acquirer.razorpay.call import Call
from devstack.acquirer.razorpay.errors import Json, invalid
from devstack.acquirer.razorpay.objects import Stored
from devstack.acquirer.razorpay.parameters import digits, one_of, text_up_to

CREATE = {
    "amount": digits,
    "speed": one_of("normal", "optimum"),
    "notes": parameters.notes,
    "receipt": text_up_to(40),
}
LIST = parameters.PAGED


def create(call: Call, form: Json, own_id: str) -> Json:
    """Money goes back; it may still come back from there.

    Source: api/refunds/entity: `pending`, then `processed` or `failed`; payments/refunds: `processed` is final. So a
    refund that is going to fail (`undo_refund`) is `pending` until then.
    """
    payment = call.get("payment", own_id)
    notes = form.get("notes", {})
    wishes.checked(notes)
    if not payment.body["captured"]:
        raise invalid("Only payments which have been captured can be refunded")
    left = payment.body["amount"] - payment.body["amount_refunded"]
    if left <= 0:
        raise invalid("The payment has been fully refunded already")
    amount = form.get("amount", left)
    if amount < 100:
        raise invalid(f"The amount must be at least {payment.body['currency']} 1.00", field="amount")
    if amount > left:
        raise invalid("The refund amount provided is greater than amount captured", field="amount")
    reference = call.reference(notes, form.get("receipt") or payment.aside["reference"])
    refund_id = objects.new_id("rfnd")
    result = call.recorded(
        refund_id, "refund", payment, reference=reference, amount=amount, authorization=payment.id
    )
    call.moved(result, payment, "refund")
    turns.planned(call.db, refund_id, call.terms.entries, at=call.now)
    will_fail = any(each.deed is Deed.UNDO_REFUND for each in faults.script(call.terms.entries))
    status = "pending" if will_fail or call.account.refunds == "pending" else "processed"
    body = shapes.refund(
        refund_id, payment.body, form, amount=result["amount"], created=call.seconds, status=status
    )
    aside = {"reference": reference, "payment_reference": payment.aside["payment_reference"]}
    refund = Stored(refund_id, body, aside)
    refunded(call, refund, payment)
    if status == "pending" and not will_fail:
        call.due("refund_settles", refund, at=call.now + timedelta(seconds=call.account.refund_settles_s))
    return refund.body


def refunded(call: Call, refund: Stored, payment: Stored) -> None:
    """The payment says what was refunded, and events do."""
    _count(payment, refund.body["amount"])
    call.put(refund)
    call.put(payment)
    call.happened("refund.created", refund=refund, payment=payment)
    if refund.body["status"] == "processed":
        call.happened("refund.processed", refund=refund, payment=payment)


def settled(call: Call, refund: Stored) -> None:
    """A pending refund was processed."""
    if refund.body["status"] != "pending":
        return
    payment = call.get("payment", refund.body["payment_id"])
    refund.body |= {"status": "processed", "speed_processed": "normal"}
    call.put(refund)
    call.happened("refund.processed", refund=refund, payment=payment)


def failed(call: Call, refund: Stored) -> None:
    """It could not be processed. That the payment is not refunded by it any more is a *guess*."""
    payment = call.get("payment", refund.body["payment_id"])
    refund.body |= {"status": "failed", "speed_processed": None}
    _count(payment, -refund.body["amount"])
    call.put(refund)
    call.put(payment)
    call.happened("refund.failed", refund=refund, payment=payment)


def list_(call: Call, query: Json, own_id: str) -> Json:
    """The payment's refunds, 10 unless told otherwise, oldest first as the page's sample has them.

    Source: api/refunds/fetch-multiple-refund-payment.
    """
    payment = call.get("payment", own_id)
    count, skip = parameters.window(query)
    found = objects.listed(
        *(call.db, call.account, "refund"),
        where={"payment_id": payment.id},
        query=query,
        count=count,
        skip=skip,
        newest_first=False,
    )
    return objects.collection([stored.body for stored in found])


def list_all(call: Call, query: Json) -> Json:
    """The account's refunds by when they were made, the newest first. Source: api/refunds/fetch-all."""
    count, skip = parameters.window(query)
    found = objects.listed(
        *(call.db, call.account, "refund"),
        where={},
        query=query,
        count=count,
        skip=skip,
        newest_first=True,
    )
    return objects.collection([stored.body for stored in found])


def retrieve(call: Call, query: Json, own_id: str) -> Json:
    """The refund as it is. Source: api/refunds/fetch-with-id."""
    return call.get("refund", own_id).body


def of_payment(call: Call, query: Json, own_id: str, refund_id: str) -> Json:
    """The same by its payment. Source: api/refunds/fetch-specific-refund-payment."""
    call.get("payment", own_id)
    return call.get("refund", refund_id).body


def _count(payment: Stored, amount: int) -> None:
    """Source: api/payments/entity: `refund_status` is null, partial or full; payments/payments: `refunded`."""
    body = payment.body
    body["amount_refunded"] += amount
    whole = body["amount_refunded"] >= body["amount"]
    body["refund_status"] = "full" if whole else "partial" if body["amount_refunded"] else None
    body["status"] = "refunded" if whole else "captured"
