"""Disputes and early fraud warnings: what somebody who plays the bank decides, as Stripe has it and tells it.

Source: spec, `dispute`, `radar.early_fraud_warning`, `balance_transaction`; api/events/types, `charge.dispute.*` and
`radar.early_fraud_warning.created`; disputes/how-disputes-work (an inquiry withdraws nothing; the dispute fee is
beside the amount). That a charge with an inquiry is `disputed` is a *guess*.
"""

from datetime import datetime

from devstack.acquirer import disputes as bank
from devstack.acquirer.movements import Result
from devstack.acquirer.stripe import objects, refunds
from devstack.acquirer.stripe.call import Call
from devstack.acquirer.stripe.errors import Json, Refusal
from devstack.acquirer.stripe.objects import Stored
from devstack.acquirer.stripe.parameters import text

LIST = refunds.LIST | {"payment_intent": text, "charge": text}
FEE = 1500
_INQUIRIES = {
    "needs_response": "warning_needs_response",
    "under_review": "warning_under_review",
}
_STATUSES = {"accepted": "lost", "closed": "warning_closed"}
_ENDED = ("won", "lost", "warning_closed")


def told(call: Call, before: Result | None, after: Result, charge: Stored) -> None:
    """The dispute is as the bank decided, and events say what changed."""
    intent_id, own_id = charge.body["payment_intent"], stripe_id(after["id"])
    stored = objects.find(call.db, call.account, "dispute", own_id)
    stored = stored or Stored(_new(call, after, charge), {**_names(charge), "bank": after["id"]})
    was = stored.body["status"] if before is not None else None
    taken = after["withdrawn"] - (0 if before is None else before["withdrawn"])
    stored.body |= {
        "payment_intent": intent_id,
        "status": _status(after),
        "is_charge_refundable": after["withdrawn"] == 0 and after["stage"] == "inquiry",
    }
    due_by = after["evidence_due_by"]
    stored.body["evidence_details"]["due_by"] = due_by and int(datetime.fromisoformat(due_by).timestamp())
    if taken:
        stored.body["balance_transactions"].append(_moved(call, charge, own_id, taken))
    charge.body["disputed"] = True
    call.put(charge)
    call.put(stored)
    if before is None:
        call.happened("charge.dispute.created", stored)
    if taken:
        call.happened(f"charge.dispute.funds_{'withdrawn' if taken > 0 else 'reinstated'}", stored)
    if before is not None and stored.body["status"] != was:
        ended = stored.body["status"] in _ENDED
        call.happened(f"charge.dispute.{'closed' if ended else 'updated'}", stored, {"status": was})


def suspected(call: Call, charge: Stored) -> None:
    """The issuer has labelled the charge as a fraud."""
    body = {
        "id": objects.new_id("issfr"),
        "object": "radar.early_fraud_warning",
        "actionable": not charge.body["disputed"] and not charge.body["refunded"],
        "charge": charge.id,
        "created": call.seconds,
        "fraud_type": "unauthorized_use_of_card",
        "livemode": call.account.livemode,
        "payment_intent": charge.body["payment_intent"],
    }
    stored = Stored(body, _names(charge))
    call.put(stored)
    call.happened("radar.early_fraud_warning.created", stored)


def listed(call: Call, form: Json) -> Json:
    """Of a charge, an intent, or all."""
    where: dict[str, list[str]] = {
        name: [form[name]] for name in ("payment_intent", "charge") if name in form
    }
    return objects.page(call.db, call.account, "dispute", form, where=where, url="/v1/disputes")


def retrieve(call: Call, form: Json, own_id: str) -> Json:
    """The dispute as it is."""
    return call.get("dispute", own_id, param="dispute").body


def warning(call: Call, form: Json, own_id: str) -> Json:
    """The early fraud warning as it is."""
    return call.get("radar.early_fraud_warning", own_id, param="early_fraud_warning").body


def close(call: Call, form: Json, own_id: str) -> Json:
    """The merchant gives in: what is withdrawn stays so. Source: spec, close: `needs_response` becomes `lost`."""
    stored = call.get("dispute", own_id, param="dispute")
    if stored.body["status"] != "needs_response":
        raise Refusal(400, "This dispute is already closed.", code="dispute_already_closed")
    before = bank.found(call.db, stored.aside["bank"])
    after = bank.accepted(stored.aside["bank"], call.db, call.terms)
    told(call, before, after, call.get("charge", stored.body["charge"], param="charge"))
    return call.get("dispute", own_id, param="dispute").body


def stripe_id(bank_id: str) -> str:
    """The bank's dispute as Stripe has it."""
    return "du_1" + bank_id.removeprefix("dsp_")


def _new(call: Call, after: Result, charge: Stored) -> Json:
    details = charge.body["payment_method_details"]["card"]
    return {
        "id": stripe_id(after["id"]),
        "object": "dispute",
        "amount": after["amount"],
        "balance_transactions": [],
        "charge": charge.id,
        "created": call.seconds,
        "currency": after["currency"].lower(),
        "enhanced_eligibility_types": [],
        "evidence": {"enhanced_evidence": {}},
        "evidence_details": {
            "due_by": None,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "livemode": call.account.livemode,
        "metadata": {},
        "payment_method_details": {
            "card": {
                "brand": details["brand"],
                "case_type": "inquiry" if after["stage"] == "inquiry" else "chargeback",
                "network": details["network"],
                "network_reason_code": after["network_reason_code"],
            },
            "type": "card",
        },
        "reason": after["reason"],
    }


def _status(after: Result) -> str:
    status = str(after["status"])
    if after["stage"] == "inquiry" and status in _INQUIRIES:
        return _INQUIRIES[status]
    return _STATUSES.get(status, status)


def _moved(call: Call, charge: Stored, own_id: str, taken: int) -> Json:
    fee = FEE if taken > 0 else 0
    return {
        "id": objects.new_id("txn"),
        "object": "balance_transaction",
        "amount": -taken,
        "available_on": call.seconds,
        "balance_type": "payments",
        "created": call.seconds,
        "currency": charge.body["currency"],
        "description": f"Chargeback {'withdrawal' if taken > 0 else 'reversal'} for {charge.id}",
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [
            {
                "amount": fee,
                "application": None,
                "currency": charge.body["currency"],
                "description": "Dispute fee",
                "type": "stripe_fee",
            }
        ]
        if fee
        else [],
        "net": -taken - fee,
        "reporting_category": "dispute" if taken > 0 else "dispute_reversal",
        "source": own_id,
        "status": "available",
        "type": "adjustment",
    }


def _names(charge: Stored) -> Json:
    return {name: charge.aside[name] for name in ("reference", "payment_reference")}
