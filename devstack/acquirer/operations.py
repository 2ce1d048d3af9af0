"""Decides what an order does, and moves the money. Every function runs inside the caller's transaction."""

import secrets
import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from devstack.acquirer import cards, store
from devstack.acquirer.bodies import Authorize, Capture, Inquire, Modify, MoneyOrder, Order, Reverse, Void
from devstack.acquirer.config import Config

_ID_PREFIX = {"authorize": "auth", "capture": "cap", "void": "void", "refund": "ref", "reversal": "rev"}


class ReferenceReused(Exception):
    """The reference was used before, for another operation, amount or currency."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for one order: when it is executed, and how."""

    now: datetime
    config: Config
    authorization_validity_s: int
    amount_added: int = 0


Result = dict[str, Any]


def executed(db: sqlite3.Connection, order: Order, terms: Terms) -> Result | None:
    """The result of the order, which is stored; None when an inquiry found nothing.

    Raises `ReferenceReused`.
    """
    match order:
        case MoneyOrder():
            return _money_moved(db, order, terms)
        case Reverse():
            return _reversed(db, order, terms)
        case Inquire():
            return _found(db, order, terms)
        case _:
            raise AssertionError(order.operation)


def _money_moved(db: sqlite3.Connection, order: MoneyOrder, terms: Terms) -> Result:
    if _is_blocked(db, order.reference) and terms.config.late_after_reversal == "refused":
        return _recorded(db, order, terms, decline_code="reference_reversed")
    first = _first_answer(db, order, terms)
    if first is not None:
        return first
    code = _decline_code(db, order, terms.now)
    result = _recorded(db, order, terms, decline_code=code)
    if code is None:
        _enter_movements(db, order, result)
    return result


def _is_blocked(db: sqlite3.Connection, reference: str) -> bool:
    return (
        db.execute("SELECT 1 FROM blocked_references WHERE reference = ?", (reference,)).fetchone()
        is not None
    )


def _first_answer(db: sqlite3.Connection, order: MoneyOrder, terms: Terms) -> Result | None:
    """The stored answer of a reference that is still honoured. One that was reversed has none."""
    since = terms.config.honoured_since(terms.now)
    if since is None:
        return None
    row = db.execute(
        "SELECT * FROM operations WHERE reference = ? AND reversed_by IS NULL AND created_at > ?"
        " AND decline_code IS NOT 'reference_reversed' ORDER BY position DESC LIMIT 1",
        (order.reference, store.timestamp(since)),
    ).fetchone()
    if row is None:
        return None
    if (row["operation"], row["amount_asked"], row["currency"]) != (
        order.operation,
        order.amount,
        order.currency,
    ):
        raise ReferenceReused
    return _result(row)


def _decline_code(db: sqlite3.Connection, order: MoneyOrder, now: datetime) -> str | None:
    match order:
        case Authorize():
            return cards.decline_code(order.card.number)
        case Modify():
            return None if _is_modifiable(db, order, now) else "processing_error"
        case _:
            raise AssertionError(order.operation)


def _is_modifiable(db: sqlite3.Connection, order: Modify, now: datetime) -> bool:
    """Whether the authorization exists, stands and, for a capture or void, has not expired."""
    row = db.execute(
        "SELECT currency, expires_at FROM operations WHERE id = ? AND operation = 'authorize'"
        " AND status = 'approved' AND reversed_by IS NULL",
        (order.authorization,),
    ).fetchone()
    if row is None or row["currency"] != order.currency:
        return False
    return not isinstance(order, Capture | Void) or store.timestamp(now) < str(row["expires_at"])


def _recorded(db: sqlite3.Connection, order: MoneyOrder, terms: Terms, *, decline_code: str | None) -> Result:
    own_id = _new_id(order.operation)
    authorization: str | None = None
    expires_at: str | None = None
    if isinstance(order, Modify):
        authorization = order.authorization
    elif decline_code is None:
        authorization = own_id
        expires_at = store.timestamp(terms.now + timedelta(seconds=terms.authorization_validity_s))
    position = store.inserted(
        db,
        "operations",
        id=own_id,
        reference=order.reference,
        operation=order.operation,
        status="approved" if decline_code is None else "declined",
        amount_asked=order.amount,
        amount=order.amount + (terms.amount_added if decline_code is None else 0),
        currency=order.currency,
        decline_code=decline_code,
        authorization=authorization,
        payment_reference=order.payment_reference,
        expires_at=expires_at,
        created_at=store.timestamp(terms.now),
    )
    return _at(db, position)


def _enter_movements(db: sqlite3.Connection, order: MoneyOrder, result: Result) -> None:
    takes_at_once = isinstance(order, Authorize) and order.capture
    for operation in (order.operation, "capture") if takes_at_once else (order.operation,):
        _enter(db, result, operation=operation, payment_reference=order.payment_reference)


def _reversed(db: sqlite3.Connection, order: Reverse, terms: Terms) -> Result:
    """What stands of the original is undone by one entry, and the original's reference is blocked.

    It goes by state, whatever `idempotency` says: what was undone is never undone again.
    """
    db.execute(
        "INSERT OR IGNORE INTO blocked_references VALUES (?, ?)",
        (order.original_reference, store.timestamp(terms.now)),
    )
    approved = db.execute(
        "SELECT * FROM operations WHERE reference = ? AND operation <> 'reversal' AND status = 'approved'",
        (order.original_reference,),
    ).fetchall()
    standing = [row for row in approved if row["reversed_by"] is None]
    if not standing:
        return _reversal_recorded(db, order, terms, rows=approved)
    result = _reversal_recorded(db, order, terms, rows=standing)
    db.execute(
        "UPDATE operations SET reversed_by = ? WHERE reference = ? AND operation <> 'reversal'"
        " AND status = 'approved' AND reversed_by IS NULL",
        (result["id"], order.original_reference),
    )
    _enter(db, result, operation="reversal", payment_reference=order.payment_reference)
    return result


def _reversal_recorded(
    db: sqlite3.Connection, order: Reverse, terms: Terms, *, rows: list[sqlite3.Row]
) -> Result:
    undone = [row for row in rows if row["reversed_by"] is None]
    amount = sum(row["amount"] for row in rows) if rows else None
    position = store.inserted(
        db,
        "operations",
        id=_new_id("reversal"),
        reference=order.reference,
        operation="reversal",
        status="reversed" if undone else "already_reversed" if rows else "nothing_to_reverse",
        amount_asked=amount,
        amount=amount + terms.amount_added if amount is not None and undone else amount,
        currency=rows[0]["currency"] if rows else None,
        authorization=rows[0]["authorization"] if rows else None,
        original_reference=order.original_reference,
        payment_reference=order.payment_reference,
        created_at=store.timestamp(terms.now),
    )
    return _at(db, position)


def _found(db: sqlite3.Connection, order: Inquire, terms: Terms) -> Result | None:
    """What stands under the reference; else what was reversed; else the latest refusal; else None."""
    row = db.execute(
        "SELECT * FROM operations WHERE reference = ? ORDER BY"
        " CASE WHEN status IN ('approved', 'reversed') AND reversed_by IS NULL THEN 0"
        " WHEN reversed_by IS NOT NULL THEN 1 ELSE 2 END,"
        " CASE WHEN status IN ('approved', 'reversed') THEN position ELSE -position END LIMIT 1",
        (order.reference,),
    ).fetchone()
    if row is None:
        return None
    result = _result(row)
    if row["reversed_by"] is not None:
        result["status"] = "reversed"
    if result["status"] == "approved":
        result["amount"] += terms.amount_added
    return result


def _enter(db: sqlite3.Connection, result: Result, *, operation: str, payment_reference: str) -> None:
    store.inserted(
        db,
        "ledger",
        reference=result["reference"],
        operation=operation,
        amount=result["amount"],
        currency=result["currency"],
        payment_reference=payment_reference,
        created_at=result["created_at"],
    )


def _at(db: sqlite3.Connection, position: int) -> Result:
    return _result(db.execute("SELECT * FROM operations WHERE position = ?", (position,)).fetchone())


_ANSWERED = (
    "id",
    "reference",
    "operation",
    "status",
    "amount",
    "currency",
    "decline_code",
    "authorization",
    "expires_at",
    "created_at",
)


def _result(row: sqlite3.Row) -> Result:
    result = {name: row[name] for name in _ANSWERED}
    if row["operation"] == "reversal":
        result["original_reference"] = row["original_reference"]
    return result


def _new_id(operation: str) -> str:
    return f"{_ID_PREFIX[operation]}_{secrets.token_hex(12)}"
