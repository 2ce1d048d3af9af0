"""What becomes of an operation by itself, after its answer: undone, redone, foreign. Inside the caller's transaction.

Each turn is planned once, with its time, and taken at that time, whenever somebody looks. What was reversed
meanwhile, or is not there to be undone, is passed over.
"""

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta

from devstack.acquirer import callbacks, faults, movements, store
from devstack.acquirer.faults import Deed, Scripted
from devstack.acquirer.movements import Origin, Stage, Terms

CAPTURES_ITSELF_AFTER = timedelta(seconds=3)
FOREIGN_AFTER = timedelta(seconds=1)

_TURN_BY_DEED = {
    Deed.UNDO_CAPTURE: ("undone", "capture"),
    Deed.REDO_CAPTURE: ("redone", "capture"),
    Deed.UNDO_REFUND: ("undone", "refund"),
    Deed.FOREIGN_REFUND: ("foreign", "refund"),
    Deed.FOREIGN_CAPTURE: ("foreign", "capture"),
}
_CHAIN = (Deed.UNDO_CAPTURE, Deed.REDO_CAPTURE, Deed.UNDO_REFUND)


class NothingToMove(Exception):
    """There is no such charge, or nothing of it left."""


def planned(db: sqlite3.Connection, operation_id: str, entries: Sequence[str], *, at: datetime) -> None:
    """What the faults say of the approved operation will happen: undoing and redoing each after the one before."""
    row = _operation(db, operation_id)
    chain_at = at
    for scripted in faults.script(entries):
        if not _concerns(scripted.deed, row):
            continue
        if scripted.deed in _CHAIN:
            chain_at += timedelta(seconds=scripted.number)
            _plan(db, row, scripted, due_at=chain_at)
        else:
            _plan(db, row, scripted, due_at=at + FOREIGN_AFTER)


def planned_own_capture(db: sqlite3.Connection, operation_id: str, *, at: datetime) -> None:
    """The rail will capture by itself what it has only authorized."""
    store.inserted(
        db,
        "turns",
        id=movements.new_id("capture"),
        operation_id=operation_id,
        type="captured",
        operation="capture",
        due_at=store.timestamp(at + CAPTURES_ITSELF_AFTER),
    )


def by_hand(
    db: sqlite3.Connection, terms: Terms, *, payment_reference: str, what: str, amount: int | None
) -> sqlite3.Row:
    """What somebody does now in the dashboard to the latest charge of a payment. Raises `NothingToMove`."""
    row = db.execute(
        "SELECT * FROM operations WHERE payment_reference = ? AND operation = 'authorize'"
        " AND status = 'approved' AND reversed_by IS NULL ORDER BY position DESC LIMIT 1",
        (payment_reference,),
    ).fetchone()
    if row is None or (what != "refund" and not left(db, row["id"])):
        raise NothingToMove
    id_ = movements.new_id(what)
    store.inserted(
        db,
        "turns",
        id=id_,
        operation_id=row["id"],
        type="foreign",
        operation=what,
        amount=amount,
        due_at=store.timestamp(terms.now),
    )
    turn: sqlite3.Row = db.execute("SELECT * FROM turns WHERE id = ?", (id_,)).fetchone()
    return turn


def next_due(db: sqlite3.Connection, now: datetime) -> sqlite3.Row | None:
    """The turn whose time came first, if any's has."""
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM turns WHERE due_at <= ? ORDER BY due_at, position LIMIT 1", (store.timestamp(now),)
    ).fetchone()
    return row


def taken(db: sqlite3.Connection, turn: sqlite3.Row) -> None:
    """The turn has happened at its time and will be told, or is passed over."""
    db.execute("UPDATE turns SET due_at = NULL WHERE id = ?", (turn["id"],))
    row = _operation(db, turn["operation_id"])
    amount = None if row["reversed_by"] is not None else _moved(db, turn, row)
    if amount is None:
        return
    at = datetime.fromisoformat(turn["due_at"])
    db.execute(
        "UPDATE turns SET happened_at = ?, amount = ? WHERE id = ?", (turn["due_at"], amount, turn["id"])
    )
    callbacks.queued(
        db,
        row,
        type="operation.updated",
        operation=row["operation"],
        status=turn["type"],
        amount=amount,
        rrn=None,
        at=at,
        send_at=at,
    )
    if turn["type"] == "captured":
        planned(db, row["id"], _faults(db, row["id"]), at=at)


def is_undone(db: sqlite3.Connection, row: sqlite3.Row) -> bool:
    """Whether nothing stands of the operation; an authorization does without its capture."""
    if row["operation"] == "authorize":
        return False
    entry = _latest_entry(db, row["id"], row["operation"])
    return entry is not None and bool(entry["operation"] == "undo")


def left(db: sqlite3.Connection, authorization: str) -> int:
    """What of an authorization nobody captured or voided. What was undone may come again, so it is not left."""
    row = _operation(db, authorization)
    if row["stage"] == Stage.CAPTURED:
        return 0
    ordered = db.execute(
        "SELECT coalesce(sum(amount), 0) FROM operations WHERE authorization = ?"
        " AND operation IN ('capture', 'void') AND status = 'approved' AND reversed_by IS NULL",
        (authorization,),
    ).fetchone()[0]
    foreign = db.execute(
        "SELECT coalesce(sum(amount), 0) FROM turns WHERE operation_id = ?"
        " AND type = 'foreign' AND operation IN ('capture', 'void') AND happened_at IS NOT NULL",
        (authorization,),
    ).fetchone()[0]
    return max(0, int(row["amount"]) - int(ordered) - int(foreign))


def _concerns(deed: Deed, row: sqlite3.Row) -> bool:
    match deed:
        case Deed.UNDO_REFUND:
            return bool(row["operation"] == "refund")
        case Deed.FOREIGN_CAPTURE:
            return row["operation"] in ("authorize", "capture")
        case Deed.UNDO_CAPTURE | Deed.REDO_CAPTURE | Deed.FOREIGN_REFUND:
            return bool(row["operation"] == "capture" or row["stage"] == Stage.CAPTURED)


def _plan(db: sqlite3.Connection, row: sqlite3.Row, scripted: Scripted, *, due_at: datetime) -> None:
    type, operation = _TURN_BY_DEED[scripted.deed]
    store.inserted(
        db,
        "turns",
        id=movements.new_id(operation if type == "foreign" else type),
        operation_id=row["authorization"] if type == "foreign" else row["id"],
        type=type,
        operation=operation,
        amount=scripted.number if scripted.deed is Deed.FOREIGN_REFUND else None,
        due_at=store.timestamp(due_at),
    )


def _moved(db: sqlite3.Connection, turn: sqlite3.Row, row: sqlite3.Row) -> int | None:
    """The amount that the turn moved, which is in the ledger; None where there was nothing to move."""
    match turn["type"]:
        case "undone":
            return _undone(db, turn, row)
        case "redone":
            return _redone(db, turn, row)
        case "captured":
            return _captured(db, turn, row)
        case _ if turn["operation"] == "refund":
            return _entered(db, turn, row, amount=turn["amount"], operation_id=turn["id"])
        case _:
            amount = left(db, row["id"])
            return _entered(db, turn, row, amount=amount, operation_id=turn["id"]) if amount else None


def _undone(db: sqlite3.Connection, turn: sqlite3.Row, row: sqlite3.Row) -> int | None:
    entry = _latest_entry(db, row["id"], turn["operation"])
    if entry is None or entry["operation"] == "undo":
        return None
    amount, position = entry["amount"], entry["position"]
    return _entered(db, turn, row, amount=amount, operation_id=row["id"], operation="undo", undoes=position)


def _redone(db: sqlite3.Connection, turn: sqlite3.Row, row: sqlite3.Row) -> int | None:
    entry = _latest_entry(db, row["id"], turn["operation"])
    if entry is None or entry["operation"] != "undo":
        return None
    return _entered(db, turn, row, amount=entry["amount"], operation_id=row["id"])


def _captured(db: sqlite3.Connection, turn: sqlite3.Row, row: sqlite3.Row) -> int | None:
    """The rail took the whole; it does not where somebody captured or voided a part."""
    if left(db, row["id"]) != row["amount"]:
        return None
    db.execute("UPDATE operations SET stage = ? WHERE id = ?", (Stage.CAPTURED, row["id"]))
    origin = Origin.PAYONCE  # it was asked to
    return _entered(db, turn, row, amount=row["amount"], operation_id=row["id"], origin=origin)


def _entered(
    db: sqlite3.Connection,
    turn: sqlite3.Row,
    row: sqlite3.Row,
    *,
    amount: int,
    operation_id: str,
    operation: str | None = None,
    origin: Origin = Origin.ACQUIRER,
    undoes: int | None = None,
) -> int:
    store.inserted(
        db,
        "ledger",
        reference=row["reference"],
        operation=operation or turn["operation"],
        amount=amount,
        currency=row["currency"],
        payment_reference=row["payment_reference"],
        created_at=turn["due_at"],
        origin=origin,
        undoes=undoes,
        operation_id=operation_id,
    )
    return amount


def _latest_entry(db: sqlite3.Connection, operation_id: str, operation: str) -> sqlite3.Row | None:
    """The last that happened to what the operation moved: it moved, or that was undone."""
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM ledger WHERE operation_id = ? AND operation IN (?, 'undo')"
        " ORDER BY position DESC LIMIT 1",
        (operation_id, operation),
    ).fetchone()
    return row


def _operation(db: sqlite3.Connection, operation_id: str) -> sqlite3.Row:
    row = movements.operation(db, operation_id)
    assert row is not None  # nothing is planned for what was not recorded
    return row


def _faults(db: sqlite3.Connection, operation_id: str) -> list[str]:
    row = db.execute("SELECT faults FROM customer_payments WHERE id = ?", (operation_id,)).fetchone()
    return [str(entry) for entry in json.loads(row["faults"])]
