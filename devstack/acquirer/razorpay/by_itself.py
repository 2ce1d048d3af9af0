"""What changes without a request: banks answer or do not, what was not captured goes back, refunds settle or fail."""

import sqlite3
from dataclasses import replace
from datetime import datetime

from devstack.acquirer import disputes as bank
from devstack.acquirer import store
from devstack.acquirer.movements import Result, Terms
from devstack.acquirer.razorpay import accounts, authorizing, disputes, objects, payments, refunds, shapes
from devstack.acquirer.razorpay.call import Call
from devstack.acquirer.razorpay.objects import Stored


def next_due(db: sqlite3.Connection, now: datetime) -> sqlite3.Row | None:
    """The change whose time came first, if any's has."""
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM razorpay_due WHERE due_at <= ? ORDER BY due_at, position LIMIT 1",
        (store.timestamp(now),),
    ).fetchone()
    return row


def changed(db: sqlite3.Connection, row: sqlite3.Row, terms: Terms) -> None:
    """It has happened at its time, or is passed over where something else came first."""
    db.execute("UPDATE razorpay_due SET due_at = NULL WHERE position = ?", (row["position"],))
    call = call_of(
        db, row["object_id"], replace(terms, now=datetime.fromisoformat(row["due_at"]), entries=())
    )
    if call is None:
        return
    if row["kind"] == "refund_settles":
        refunds.settled(call, call.get("refund", row["object_id"]))
    else:
        _pay(call, call.get("payment", row["object_id"]), row["kind"])
    call.told()


def turned(db: sqlite3.Connection, planned: sqlite3.Row, terms: Terms) -> None:
    """What the ledger's turn means for Razorpay's entities, if it is about one of them and it happened.

    Source: webhooks/refunds (`refund.failed`); payments/refunds/issue and payments/payments/dashboard: refunds and
    captures by hand, which are told as those by request are, and have no notes.
    """
    turn = db.execute("SELECT * FROM turns WHERE id = ?", (planned["id"],)).fetchone()
    if turn["happened_at"] is None:
        return
    at = datetime.fromisoformat(turn["happened_at"])
    call = call_of(db, turn["operation_id"], replace(terms, now=at, entries=()))
    if call is None:
        return
    match turn["type"], turn["operation"]:
        case "undone", "refund":
            refunds.failed(call, call.get("refund", turn["operation_id"]))
        case "foreign", "refund":
            _refunded_in_dashboard(call, turn)
        case "foreign", "capture":
            payment = call.get("payment", turn["operation_id"])
            if payment.body["status"] == "authorized":
                authorizing.captured(call, payment, call.get("order", payment.body["order_id"]))
    call.told()


def disputed(db: sqlite3.Connection, before: Result | None, after: Result, terms: Terms) -> None:
    """What the bank decided, if it is about one of Razorpay's payments."""
    payment_id = bank.charge_of(db, after["id"])
    call = call_of(db, payment_id, replace(terms, entries=()))
    if call is not None:
        disputes.told(call, before, after, call.get("payment", payment_id))
        call.told()


def call_of(db: sqlite3.Connection, object_id: str, terms: Terms) -> Call | None:
    """A change of the entity's, if it is one of Razorpay's."""
    owner = objects.owner(db, object_id)
    if owner is None:
        return None
    account = accounts.of(db, owner[0], livemode=owner[1])
    return None if account is None else Call(db, account, terms)


def _pay(call: Call, payment: Stored, kind: str) -> None:
    match kind:
        case "times_out":
            authorizing.timed_out(call, payment)
        case "decides":
            authorizing.answered(call, payment, is_approved=payments.decides_success(payment))
        case "late":
            authorizing.approved(call, payment)
        case _:
            authorizing.lapsed(call, payment)


def _refunded_in_dashboard(call: Call, turn: sqlite3.Row) -> None:
    payment = call.get("payment", turn["operation_id"])
    own_id = objects.new_id("rfnd")
    body = shapes.refund(
        own_id, payment.body, {}, amount=turn["amount"], created=call.seconds, status="processed"
    )
    aside = {name: payment.aside[name] for name in ("reference", "payment_reference")}
    refunds.refunded(call, Stored(own_id, body, aside), payment)
