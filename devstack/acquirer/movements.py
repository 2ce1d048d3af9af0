"""Money that moved and what was answered: rows of operations and of the ledger, inside the caller's transaction."""

import json
import secrets
import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from devstack.acquirer import saved_cards, store
from devstack.acquirer.config import Config

_ID_PREFIX = {
    "authorize": "auth",
    "capture": "cap",
    "void": "void",
    "refund": "ref",
    "reversal": "rev",
    "cancellation": "can",
    "undone": "undo",
    "redone": "redo",
}

SOFT_DECLINE = "authentication_required"  # the same may be approved once its holder is authenticated

Result = dict[str, Any]


class Stage(StrEnum):
    """How far an authorization went by itself. What was captured of it by an order shows in that order."""

    AUTHORIZED = "authorized"
    CAPTURED = "captured"


class Origin(StrEnum):
    """Who wanted a movement."""

    PAYONCE = "payonce"
    ACQUIRER = "acquirer"
    BANK = "bank"  # the cardholder's


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for one order: when it is executed, and how. `page_base` is where people reach the pages.

    `entries`: the faults that it set off.
    """

    now: datetime
    config: Config
    authorization_validity_s: int
    amount_added: int = 0
    entries: tuple[str, ...] = ()
    page_base: str = ""


def recorded(  # the columns of one row
    db: sqlite3.Connection,
    *,
    id: str,
    reference: str,
    operation: str,
    payment_reference: str,
    amount_asked: int,
    amount_added: int,
    currency: str,
    authorization: str | None,
    decline_code: str | None,
    stage: Stage | None,
    callback_url: str | None,
    at: datetime,
    validity_s: int,
    authentication: str | None = None,
) -> Result:
    """The answer to an operation, stored. An approved authorization is its own `authorization`.

    `authentication`: what a card's authentication came to, as JSON.
    """
    approved = decline_code is None
    expires = operation == "authorize" and approved
    position = store.inserted(
        db,
        "operations",
        id=id,
        reference=reference,
        operation=operation,
        status="approved" if approved else "declined",
        amount_asked=amount_asked,
        amount=amount_asked + (amount_added if approved else 0),
        currency=currency,
        decline_code=decline_code,
        authorization=id if expires else authorization,
        payment_reference=payment_reference,
        expires_at=store.timestamp(at + timedelta(seconds=validity_s)) if expires else None,
        created_at=store.timestamp(at),
        stage=stage if expires else None,
        callback_url=callback_url,
        authentication=authentication,
    )
    return answer_at(db, position)


def entered(
    db: sqlite3.Connection,
    result: Result,
    *operations: str,
    payment_reference: str,
    origin: Origin = Origin.PAYONCE,
) -> None:
    """The ledger has an entry for each of the operations, of the result's amount."""
    for operation in operations:
        store.inserted(
            db,
            "ledger",
            reference=result["reference"],
            operation=operation,
            amount=result["amount"],
            currency=result["currency"],
            payment_reference=payment_reference,
            origin=origin,
            operation_id=result["id"],
            created_at=result["created_at"],
        )


def given_rrn(db: sqlite3.Connection, operation_id: str, at: datetime) -> str:
    """The operation has a retrieval reference number of its own: 12 digits, which say the hour, too.

    Source: ISO 8583, field 37, as UPI writes it: year, day of the year, hour, then a running number.
    """
    position = store.inserted(db, "rrns", operation_id=operation_id)
    rrn = f"{at:%y%j%H}"[1:] + f"{position % 1_000_000:06d}"
    db.execute("UPDATE rrns SET rrn = ? WHERE position = ?", (rrn, position))
    return rrn


def rrn_of(db: sqlite3.Connection, operation_id: str) -> str | None:
    """The number that the rail gave the operation, if it is the rail's."""
    row = db.execute("SELECT rrn FROM rrns WHERE operation_id = ?", (operation_id,)).fetchone()
    return None if row is None else str(row["rrn"])


def operation(db: sqlite3.Connection, operation_id: str | None) -> sqlite3.Row | None:
    """The operation that has this id."""
    row: sqlite3.Row | None = db.execute("SELECT * FROM operations WHERE id = ?", (operation_id,)).fetchone()
    return row


def answer_at(db: sqlite3.Connection, position: int) -> Result:
    """The answer of the operation at a position."""
    return answer(db, db.execute("SELECT * FROM operations WHERE position = ?", (position,)).fetchone())


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
    "stage",
)


def answer(db: sqlite3.Connection, row: sqlite3.Row) -> Result:
    """What is said of an operation, with what has become of it since."""
    result = {name: row[name] for name in _ANSWERED}
    result["history"] = history(db, row["id"])
    if row["operation"] == "authorize":
        said = row["authentication"]
        result["authentication"] = None if said is None else json.loads(said)
        result["soft"] = row["decline_code"] == SOFT_DECLINE
        result["disputes"] = disputes(db, row["id"])
    if row["operation"] == "reversal":
        result["original_reference"] = row["original_reference"]
    if row["operation"] == "authorize" and row["status"] == "approved" and row["reversed_by"] is None:
        token = saved_cards.token_of(db, row["reference"])
        result |= {} if token is None else {"token": token}
    rrn = rrn_of(db, row["id"])
    return result if rrn is None else {**result, "rrn": rrn}


_REASONS = {
    ("undone", "capture"): "rejected_by_scheme",
    ("undone", "refund"): "returned_by_bank",
    ("foreign", "capture"): "dashboard",
    ("foreign", "refund"): "dashboard",
    ("foreign", "void"): "dashboard",
}


def history(db: sqlite3.Connection, operation_id: str) -> list[Result]:
    """What the acquirer did to the operation by itself, and nobody asked for, oldest first."""
    rows = db.execute(
        "SELECT turns.*, operations.currency FROM turns JOIN operations ON operations.id = turns.operation_id"
        " WHERE operation_id = ? AND happened_at IS NOT NULL AND type <> 'captured'"
        " ORDER BY happened_at, turns.position",
        (operation_id,),
    ).fetchall()
    names = ("id", "type", "operation", "amount", "currency")
    return [
        {**{name: row[name] for name in names}, "reason": _REASONS.get((row["type"], row["operation"]))}
        for row in rows
    ]


def disputes(db: sqlite3.Connection, operation_id: str) -> list[Result]:
    """How each dispute about the authorization stands, oldest first. `withdrawn` is in the payment's currency."""
    rows = db.execute(
        "SELECT * FROM disputes WHERE operation_id = ? ORDER BY position", (operation_id,)
    ).fetchall()
    return [dispute(row) for row in rows]


def dispute(row: sqlite3.Row) -> Result:
    """The dispute as the acquirer tells it."""
    names = ("id", "stage", "status", "reason", "network_reason_code", "amount", "currency", "withdrawn")
    return {
        **{name: row[name] for name in names},
        "evidence_due_by": row["evidence_due_by"],
        "at": row["said_at"],
    }


def new_id(operation: str) -> str:
    """An id that stands for nothing but itself."""
    return f"{_ID_PREFIX[operation]}_{secrets.token_hex(12)}"


def is_id(operation: str, id_: str) -> bool:
    """Whether it was made by `new_id`, for such an operation."""
    return id_.startswith(f"{_ID_PREFIX[operation]}_")
