"""Disputes: what somebody who plays the bank decides, as Razorpay has it and tells it.

Source: api/disputes/entity (members, statuses; `amount_deducted` is 0 unless it is lost), api/disputes/accept,
api/disputes/fetch-all, payments/disputes (phases), webhooks/disputes (events, and that a payload has payment and
dispute). That another phase of a dispute is told as `payment.dispute.created` is a *guess*.
"""

from datetime import datetime

from devstack.acquirer import disputes as bank
from devstack.acquirer.movements import Result
from devstack.acquirer.razorpay import objects, parameters
from devstack.acquirer.razorpay.call import Call
from devstack.acquirer.razorpay.errors import Json, invalid
from devstack.acquirer.razorpay.objects import Stored

_STATUSES = {"needs_response": "open", "accepted": "lost"}
_PHASES = {"inquiry": "retrieval"}

LIST = parameters.PAGED


def told(call: Call, before: Result | None, after: Result, payment: Stored) -> None:
    """The dispute is as the bank decided, and an event says so."""
    own_id = _id(after["id"])
    stored = objects.find(call.db, call.account, "dispute", own_id)
    stored = stored or Stored(own_id, _new(call, after, payment), {**_names(payment), "bank": after["id"]})
    status, phase = _STATUSES.get(after["status"], after["status"]), after["stage"]
    due_by = after["evidence_due_by"]
    stored.body |= {
        "status": status,
        "phase": _PHASES.get(phase, phase),
        "amount_deducted": after["withdrawn"] if status == "lost" else 0,
        "respond_by": due_by and int(datetime.fromisoformat(due_by).timestamp()),
    }
    call.put(stored)
    is_new = before is None or before["stage"] != after["stage"]
    call.happened(f"payment.dispute.{'created' if is_new else status}", payment=payment, dispute=stored)


def retrieve(call: Call, query: Json, own_id: str) -> Json:
    """The dispute as it is. Source: api/disputes/fetch-with-id."""
    return call.get("dispute", own_id).body


def list_(call: Call, query: Json) -> Json:
    """The account's disputes, the newest first as the page's sample has them.

    Source: api/disputes/fetch-all, whose example of the command line has `count`, `skip`, `from` and `to`. That these
    go by when a dispute was made, as in every other list, is a *guess*.
    """
    count, skip = parameters.window(query)
    found = objects.listed(
        *(call.db, call.account, "dispute"),
        where={},
        query=query,
        count=count,
        skip=skip,
        newest_first=True,
    )
    return objects.collection([stored.body for stored in found])


def accept(call: Call, form: Json, own_id: str) -> Json:
    """The merchant gives in: it is lost. Source: api/disputes/accept; payments/disputes/dashboard: only open ones."""
    stored = call.get("dispute", own_id)
    if stored.body["status"] != "open":
        raise invalid("Action not allowed when dispute is in the current status")
    before = bank.found(call.db, stored.aside["bank"])
    after = bank.accepted(stored.aside["bank"], call.db, call.terms)
    told(call, before, after, call.get("payment", stored.body["payment_id"]))
    return call.get("dispute", own_id).body


def _id(bank_id: str) -> str:
    return "disp_" + bank_id.removeprefix("dsp_")[:14]


def _new(call: Call, after: Result, payment: Stored) -> Json:
    return {
        "id": _id(after["id"]),
        "entity": "dispute",
        "payment_id": payment.id,
        "amount": after["amount"],
        "currency": after["currency"],
        "amount_deducted": 0,
        "gateway_dispute_id": None,
        "reason_code": after["reason"],
        "reason_description": after["reason"].replace("_", " "),
        "respond_by": None,
        "status": "open",
        "phase": "chargeback",
        "comments": None,
        "created_at": call.seconds,
        "evidence": {"amount": after["amount"], "summary": None, "submitted_at": None},
    }


def _names(payment: Stored) -> Json:
    return {name: payment.aside[name] for name in ("reference", "payment_reference")}
