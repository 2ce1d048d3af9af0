"""What changes without a request: refunds settle or fail, holds lapse, somebody acts in the dashboard."""

import sqlite3
from dataclasses import replace
from datetime import datetime

from devstack.acquirer import disputes as bank
from devstack.acquirer import store
from devstack.acquirer.movements import Result, Terms
from devstack.acquirer.stripe import accounts, disputes, intents, objects, refunds, shapes
from devstack.acquirer.stripe.call import Call
from devstack.acquirer.stripe.objects import Stored


def next_due(db: sqlite3.Connection, now: datetime) -> sqlite3.Row | None:
    """The change whose time came first, if any's has."""
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM stripe_due WHERE due_at <= ? ORDER BY due_at, position LIMIT 1",
        (store.timestamp(now),),
    ).fetchone()
    return row


def changed(db: sqlite3.Connection, row: sqlite3.Row, terms: Terms) -> None:
    """It has happened at its time, or is passed over where something else came first."""
    db.execute("UPDATE stripe_due SET due_at = NULL WHERE position = ?", (row["position"],))
    call = _call(db, row["object_id"], replace(terms, now=datetime.fromisoformat(row["due_at"]), entries=()))
    if call is None:
        return
    if row["kind"] == "refund_succeeds":
        refunds.succeeded(call, call.get("refund", row["object_id"], param="id"))
    else:
        _lapsed(call, call.get("payment_intent", row["object_id"], param="id"))
    call.told()


def turned(db: sqlite3.Connection, planned: sqlite3.Row, terms: Terms) -> None:
    """What the ledger's turn means for Stripe's objects, if it is about one of them and it happened.

    Source: refunds, "Failed refunds"; a refund or a capture in the dashboard is told as one by request is, and has
    no metadata. That an intent cancelled there has no reason is a *guess*: the dashboard lets one be chosen.
    """
    turn = db.execute("SELECT * FROM turns WHERE id = ?", (planned["id"],)).fetchone()
    if turn["happened_at"] is None:
        return
    at = datetime.fromisoformat(turn["happened_at"])
    call = _call(db, turn["operation_id"], replace(terms, now=at, entries=()))
    if call is None:
        return
    match turn["type"], turn["operation"]:
        case "undone", "refund":
            refunds.failed(call, call.get("refund", turn["operation_id"], param="id"))
        case "foreign", "refund":
            _refunded_in_dashboard(call, turn)
        case "foreign", "capture":
            charge = call.get("charge", turn["operation_id"], param="id")
            stored = call.get("payment_intent", charge.body["payment_intent"], param="id")
            intents.captured(call, stored, charge, amount=turn["amount"], is_final=True)
        case "foreign", "void":
            charge = call.get("charge", turn["operation_id"], param="id")
            stored = call.get("payment_intent", charge.body["payment_intent"], param="id")
            intents.cancelled(call, stored, reason=None)
    call.told()


def disputed(db: sqlite3.Connection, before: Result | None, after: Result, terms: Terms) -> None:
    """What the bank decided, if it is about one of Stripe's charges."""
    charge_id = bank.charge_of(db, after["id"])
    call = _call(db, charge_id, replace(terms, entries=()))
    if call is not None:
        disputes.told(call, before, after, call.get("charge", charge_id, param="id"))
        call.told()


def suspected(db: sqlite3.Connection, authorization: sqlite3.Row, terms: Terms) -> bool:
    """The bank suspects a fraud, if it is in one of Stripe's charges; whether it is."""
    call = _call(db, authorization["id"], replace(terms, entries=()))
    if call is None:
        return False
    disputes.suspected(call, call.get("charge", authorization["id"], param="id"))
    call.told()
    return True


def _lapsed(call: Call, stored: Stored) -> None:
    """A hold that nobody captured in time is released.

    Source: place-a-hold-on-a-payment-method: the status becomes `canceled`; api/events/types, `charge.expired`.
    """
    if stored.body["status"] != "requires_capture":
        return
    result = call.recorded(
        objects.new_id("void"),
        "void",
        stored,
        amount=stored.body["amount_capturable"],
        authorization=stored.body["latest_charge"],
    )
    call.moved(result, stored, "void", by_acquirer=True)
    intents.cancelled(call, stored, reason="automatic")


def _refunded_in_dashboard(call: Call, turn: sqlite3.Row) -> None:
    charge = call.get("charge", turn["operation_id"], param="id")
    own_id = objects.new_id("re")
    body = shapes.refund(
        own_id, charge.body, {}, amount=turn["amount"], created=call.seconds, status="succeeded"
    )
    refunds.refunded(call, Stored(body, dict(charge.aside)), charge)


def _call(db: sqlite3.Connection, object_id: str, terms: Terms) -> Call | None:
    owner = objects.owner(db, object_id)
    if owner is None:
        return None
    account = accounts.of(db, owner[0], livemode=owner[1])
    return None if account is None else Call(db, account, terms)
