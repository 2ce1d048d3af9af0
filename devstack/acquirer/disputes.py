"""Disputes: a cardholder's bank asks back what was captured, gives it back, or keeps it. Inside the caller's
transaction.

One may be planned by a fault, with its time; everything else somebody who plays the bank decides.
"""

import json
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from devstack.acquirer import callbacks, faults, movements, store
from devstack.acquirer.movements import Origin, Terms

OPENS_AFTER: Final = timedelta(seconds=1)
EVIDENCE_WITHIN: Final = timedelta(days=7)
OF_PAYMENT_MAX: Final = 20


class Move(StrEnum):
    """What the bank does to a dispute that is open, or was."""

    CHARGEBACK = "chargeback"  # of an inquiry: the money is withdrawn
    RESPONDED = "responded"  # the evidence is there: it is looked at
    WON = "won"  # the money comes back
    LOST = "lost"
    PARTIAL = "partial"  # some of the money comes back, and the rest is lost
    PRE_ARBITRATION = "pre_arbitration"  # the bank asks again, after it had lost
    AUTO_ACCEPTED = "auto_accepted"  # the acquirer gives in, in the merchant's place
    CLOSED = "closed"  # of an inquiry that comes to nothing


_FROM: Final = {  # (stage, status) in which a move is possible; None: any
    Move.CHARGEBACK: ("inquiry", ("needs_response", "under_review")),
    Move.RESPONDED: (None, ("needs_response",)),
    Move.WON: (None, ("needs_response", "under_review")),
    Move.LOST: (None, ("needs_response", "under_review")),
    Move.PARTIAL: (None, ("needs_response", "under_review")),
    Move.PRE_ARBITRATION: ("chargeback", ("won",)),
    Move.AUTO_ACCEPTED: (None, ("needs_response", "under_review")),
    Move.CLOSED: ("inquiry", ("needs_response", "under_review")),
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the bank asks back of a payment. `amount`: the bank's, in its currency; None: all, in the payment's."""

    reason: str
    amount: int | None = None
    inquiry: bool = False
    currency: str | None = None
    withdrawn: int | None = None  # in the payment's currency, where that is another


class NotPossible(Exception):
    """There is nothing to dispute, or the dispute does not stand so."""


def planned(db: sqlite3.Connection, operation_id: str, entries: Sequence[str], *, at: datetime) -> None:
    """What the faults say of what was captured will be disputed, a moment later."""
    row = movements.operation(db, operation_id)
    assert row is not None
    for reason, amount in faults.disputes(entries):
        if row["operation"] == "capture" or row["stage"] == "captured":
            store.inserted(
                db,
                "dispute_plans",
                operation_id=row["authorization"],
                wish=json.dumps({"reason": reason, "amount": amount}),
                due_at=store.timestamp(at + OPENS_AFTER),
            )


def next_due(db: sqlite3.Connection, now: datetime) -> sqlite3.Row | None:
    """The plan whose time came first, if any's has."""
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM dispute_plans WHERE due_at <= ? ORDER BY due_at, position LIMIT 1",
        (store.timestamp(now),),
    ).fetchone()
    return row


def changed(db: sqlite3.Connection, plan: sqlite3.Row, _: Terms) -> dict[str, Any] | None:
    """The planned dispute, which is opened; None where there is nothing to dispute."""
    db.execute("UPDATE dispute_plans SET due_at = NULL WHERE position = ?", (plan["position"],))
    authorization = movements.operation(db, plan["operation_id"])
    if authorization is None:
        return None
    wish, at = Wish(**json.loads(plan["wish"])), datetime.fromisoformat(plan["due_at"])
    try:
        return _opened(db, authorization, wish, at=at)
    except NotPossible:
        return None


def turned(_: sqlite3.Connection, __: sqlite3.Row, ___: Terms) -> None:
    """Nothing follows from what the acquirer does to an operation by itself."""


def opened(payment_reference: str, wish: Wish, db: sqlite3.Connection, terms: Terms) -> dict[str, Any]:
    """The dispute that the bank opens about what was captured of a payment. Raises `NotPossible`."""
    return _opened(db, disputable(db, payment_reference), wish, at=terms.now)


def disputable(db: sqlite3.Connection, payment_reference: str) -> sqlite3.Row:
    """The authorization of the payment that a bank may speak of. Raises `NotPossible`."""
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM operations WHERE payment_reference = ? AND operation = 'authorize'"
        " AND status = 'approved' AND reversed_by IS NULL ORDER BY position DESC LIMIT 1",
        (payment_reference,),
    ).fetchone()
    if row is None:
        raise NotPossible
    return row


def found(db: sqlite3.Connection, dispute_id: str) -> dict[str, Any] | None:
    """The dispute as it stands."""
    row = db.execute("SELECT * FROM disputes WHERE id = ?", (dispute_id,)).fetchone()
    return None if row is None else movements.dispute(row)


def charge_of(db: sqlite3.Connection, dispute_id: str) -> str:
    """The id of the operation that the dispute is about."""
    return str(
        db.execute("SELECT operation_id FROM disputes WHERE id = ?", (dispute_id,)).fetchone()["operation_id"]
    )


def moved(
    dispute_id: str, move: Move, amount: int | None, db: sqlite3.Connection, terms: Terms
) -> dict[str, Any]:
    """The dispute after the bank's move. `amount`: of `partial`, what comes back. Raises `NotPossible`."""
    row = db.execute("SELECT * FROM disputes WHERE id = ?", (dispute_id,)).fetchone()
    if row is None or not _may(row, move):
        raise NotPossible
    changes = _changes(row, move, amount)
    names = ", ".join(f"{name} = ?" for name in changes)
    said_at = store.timestamp(
        max(terms.now, datetime.fromisoformat(row["said_at"]) + timedelta(microseconds=1))
    )
    db.execute(
        f"UPDATE disputes SET {names}, said_at = ? WHERE id = ?",  # noqa: S608 - our own columns
        (*changes.values(), said_at, dispute_id),
    )
    _entered(db, row, before=row["withdrawn"], after=changes.get("withdrawn", row["withdrawn"]), at=terms.now)
    return _told(db, dispute_id, at=terms.now)


def accepted(dispute_id: str, db: sqlite3.Connection, terms: Terms) -> dict[str, Any]:
    """The merchant gives in: as if the acquirer had. Raises `NotPossible`."""
    return moved(dispute_id, Move.AUTO_ACCEPTED, None, db, terms)


def listed(payment_reference: str | None, db: sqlite3.Connection, _: Terms) -> list[dict[str, Any]]:
    """The newest disputes, of one payment or of all."""
    rows = db.execute(
        "SELECT * FROM disputes WHERE ?1 IS NULL OR payment_reference = ?1 ORDER BY position DESC LIMIT 100",
        (payment_reference,),
    ).fetchall()
    return [{**movements.dispute(row), "payment_reference": row["payment_reference"]} for row in rows]


def possible(dispute: dict[str, Any]) -> list[Move]:
    """What the bank may do to a dispute that stands so."""
    return [move for move in Move if _may(dispute, move)]


def _may(row: sqlite3.Row | dict[str, Any], move: Move) -> bool:
    stage, statuses = _FROM[move]
    return (stage is None or row["stage"] == stage) and row["status"] in statuses


def _changes(row: sqlite3.Row, move: Move, amount: int | None) -> dict[str, Any]:
    due_by = store.timestamp(datetime.fromisoformat(row["said_at"]) + EVIDENCE_WITHIN)
    match move:
        case Move.CHARGEBACK:
            asked = {"stage": "chargeback", "status": "needs_response", "evidence_due_by": due_by}
            return {**asked, "withdrawn": row["asked_back"]}
        case Move.RESPONDED:
            return {"status": "under_review"}
        case Move.WON:
            return {"status": "won", "withdrawn": 0}
        case Move.LOST:
            return {"status": "lost"}
        case Move.PARTIAL:
            back = row["withdrawn"] // 2 if amount is None else amount
            if not 0 < back < row["withdrawn"]:
                raise NotPossible
            return {"status": "lost", "withdrawn": row["withdrawn"] - back}
        case Move.PRE_ARBITRATION:
            asked = {"stage": "pre_arbitration", "status": "needs_response", "evidence_due_by": due_by}
            return {**asked, "withdrawn": row["asked_back"]}
        case Move.AUTO_ACCEPTED:
            return {"status": "accepted"}
        case Move.CLOSED:
            return {"status": "closed"}


def _opened(
    db: sqlite3.Connection, authorization: sqlite3.Row, wish: Wish, *, at: datetime
) -> dict[str, Any]:
    captured = _captured(db, authorization)
    several = len(movements.disputes(db, authorization["id"]))
    amount = captured if wish.amount is None else wish.amount
    asked_back = amount if wish.withdrawn is None else wish.withdrawn
    if not captured or amount <= 0 or asked_back <= 0 or several >= OF_PAYMENT_MAX:
        raise NotPossible
    dispute_id = f"dsp_{secrets.token_hex(12)}"
    store.inserted(
        db,
        "disputes",
        id=dispute_id,
        operation_id=authorization["id"],
        reference=authorization["reference"],
        payment_reference=authorization["payment_reference"],
        stage="inquiry" if wish.inquiry else "chargeback",
        status="needs_response",
        reason=wish.reason,
        network_reason_code=None,
        amount=amount,
        currency=wish.currency or authorization["currency"],
        asked_back=asked_back,
        withdrawn=0 if wish.inquiry else asked_back,
        evidence_due_by=store.timestamp(at + EVIDENCE_WITHIN),
        said_at=store.timestamp(at),
    )
    row = db.execute("SELECT * FROM disputes WHERE id = ?", (dispute_id,)).fetchone()
    _entered(db, row, before=0, after=row["withdrawn"], at=at)
    return _told(db, dispute_id, at=at)


def _captured(db: sqlite3.Connection, authorization: sqlite3.Row) -> int:
    """What stands of the payment's captures, whatever was refunded of it: a bank asks that back, too."""
    total = db.execute(
        "SELECT coalesce(sum(entry.amount), 0) FROM ledger AS entry"
        " WHERE entry.payment_reference = ? AND entry.operation = 'capture'"
        " AND NOT EXISTS (SELECT 1 FROM ledger AS undoing WHERE undoing.undoes = entry.position)",
        (authorization["payment_reference"],),
    ).fetchone()[0]
    return int(total)


def _entered(db: sqlite3.Connection, row: sqlite3.Row, *, before: int, after: int, at: datetime) -> None:
    """What was withdrawn, or given back, is in the ledger."""
    if before == after:
        return
    authorization = movements.operation(db, row["operation_id"])
    assert authorization is not None
    store.inserted(
        db,
        "ledger",
        reference=row["reference"],
        operation="dispute" if after > before else "dispute_reversal",
        amount=abs(after - before),
        currency=authorization["currency"],
        payment_reference=row["payment_reference"],
        created_at=store.timestamp(at),
        origin=Origin.BANK,
        operation_id=row["id"],
    )


def _told(db: sqlite3.Connection, dispute_id: str, *, at: datetime) -> dict[str, Any]:
    """The dispute, of which the merchant's side will be told."""
    row = db.execute("SELECT * FROM disputes WHERE id = ?", (dispute_id,)).fetchone()
    authorization = movements.operation(db, row["operation_id"])
    assert authorization is not None
    callbacks.queued(
        db,
        authorization,
        type="dispute.updated",
        operation="authorize",
        status=row["status"],
        amount=row["amount"],
        rrn=None,
        at=at,
        send_at=at,
    )
    return movements.dispute(row)
