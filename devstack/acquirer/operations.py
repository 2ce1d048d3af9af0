"""Decides what an order does, and moves the money. Every function runs inside the caller's transaction."""

import json
import sqlite3
from datetime import datetime

from devstack.acquirer import (
    authenticating,
    challenges,
    disputes,
    faults,
    movements,
    saved_cards,
    store,
    turns,
    waiting,
)
from devstack.acquirer.authenticating import Course
from devstack.acquirer.bodies import (
    AcceptDispute,
    Authorize,
    Cancel,
    CustomerOrder,
    DeleteToken,
    Inquire,
    InquireDispute,
    Modify,
    MoneyOrder,
    Order,
    Refund,
    Resume,
    Reverse,
)
from devstack.acquirer.movements import Result, Stage, Terms
from devstack.acquirer.waiting import ReferenceReused


def executed(db: sqlite3.Connection, order: Order, terms: Terms) -> Result | None:
    """The result of the order; None when what an inquiry, a cancellation or an acceptance is about is not known.

    Raises `ReferenceReused`, `ResultInvalid` or `AlreadyProcessed`.
    """
    match order:
        case MoneyOrder():
            return _money_moved(db, order, terms)
        case Resume():
            return challenges.resumed(db, order, terms)
        case Reverse():
            return _reversed(db, order, terms)
        case Cancel():
            return _cancelled(db, order, terms)
        case DeleteToken():
            return _token_deleted(db, order, terms)
        case Inquire():
            return _found(db, order, terms)
        case AcceptDispute():
            return _given_in(db, order, terms)
        case InquireDispute():
            return _dispute(db, order, status="found")
        case _:
            raise AssertionError(order.operation)


def _money_moved(db: sqlite3.Connection, order: MoneyOrder, terms: Terms) -> Result:
    if _is_blocked(db, order.reference) and terms.config.late_after_reversal == "refused":
        return _recorded(db, order, terms, authorization=None, decline_code="reference_reversed")
    first = _first_answer(db, order, terms)
    if first is not None:
        return first
    if isinstance(order, CustomerOrder):
        return waiting.opened(db, order, terms)
    if isinstance(order, Authorize):
        return _authorized(db, order, terms)
    authorization = _authorization(db, order)
    code = _refusal_code(db, order, authorization, terms.now)
    result = _recorded(db, order, terms, authorization=authorization, decline_code=code)
    _moved_as_approved(db, order, terms, result)
    if code is None and isinstance(order, Refund) and movements.rrn_of(db, str(authorization)) is not None:
        return {**result, "rrn": movements.given_rrn(db, result["id"], terms.now)}
    return result


def _authorized(db: sqlite3.Connection, order: Authorize, terms: Terms) -> Result:
    """What the issuer says, or that it wants the cardholder asked. A token that is not good is a decline."""
    paid_with = saved_cards.instrument(db, order)
    if paid_with is None:
        return _recorded(db, order, terms, authorization=None, decline_code="processing_error")
    course = authenticating.course_of(order, paid_with)
    if course.challenges or course.decline_code is None:
        saved_cards.kept(db, order, paid_with, terms.now)
    if course.challenges:
        return challenges.opened(db, order, course, terms, masked=paid_with.masked)
    result = _recorded(db, order, terms, authorization=None, decline_code=course.decline_code, course=course)
    _moved_as_approved(db, order, terms, result)
    return result


def _moved_as_approved(db: sqlite3.Connection, order: MoneyOrder, terms: Terms, result: Result) -> None:
    """What was approved is in the ledger, and what follows it by itself is planned."""
    if result["status"] != "approved":
        return
    operations = (order.operation, "capture") if result["stage"] == Stage.CAPTURED else (order.operation,)
    movements.entered(db, result, *operations, payment_reference=order.payment_reference)
    turns.planned(db, result["id"], terms.entries, at=terms.now)
    disputes.planned(db, result["id"], terms.entries, at=terms.now)


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
    waited_for = waiting.first_answer(db, order, since=since)
    if waited_for is not None:
        return waited_for
    row = db.execute(
        "SELECT * FROM operations WHERE reference = ? AND reversed_by IS NULL AND created_at > ?"
        " AND decline_code IS NOT 'reference_reversed' AND id NOT IN (SELECT id FROM customer_payments)"
        " ORDER BY position DESC LIMIT 1",
        (order.reference, store.timestamp(since)),
    ).fetchone()
    if row is None:
        return None
    asked = (order.operation, order.amount, order.currency)
    if isinstance(order, CustomerOrder) or asked != (row["operation"], row["amount_asked"], row["currency"]):
        raise ReferenceReused
    return movements.answer(db, row)


def _authorization(db: sqlite3.Connection, order: MoneyOrder) -> str | None:
    """The id of the authorization that the order refers to, if any; by `rrn`, None if there is none."""
    match order:
        case Modify() | Refund(rrn=None):
            return order.authorization
        case Refund():
            row = db.execute("SELECT operation_id FROM rrns WHERE rrn = ?", (order.rrn,)).fetchone()
            own = None if row is None else str(row["operation_id"])
            return own if order.authorization in (None, own) else None
        case _:
            return None


def _refusal_code(
    db: sqlite3.Connection, order: MoneyOrder, authorization: str | None, now: datetime
) -> str | None:
    return None if _is_modifiable(db, order, authorization, now) else "processing_error"


def _is_modifiable(
    db: sqlite3.Connection, order: MoneyOrder, authorization: str | None, now: datetime
) -> bool:
    """Whether the authorization exists, stands and, for a capture or void, has not expired."""
    row = db.execute(
        "SELECT currency, expires_at FROM operations WHERE id = ? AND operation = 'authorize'"
        " AND status = 'approved' AND reversed_by IS NULL",
        (authorization,),
    ).fetchone()
    if row is None or row["currency"] != order.currency:
        return False
    return isinstance(order, Refund) or store.timestamp(now) < str(row["expires_at"])


def _recorded(
    db: sqlite3.Connection,
    order: MoneyOrder,
    terms: Terms,
    *,
    authorization: str | None,
    decline_code: str | None,
    course: Course | None = None,
) -> Result:
    said = None if course is None else course.authentication
    return movements.recorded(
        db,
        id=movements.new_id(order.operation),
        reference=order.reference,
        operation=order.operation,
        payment_reference=order.payment_reference,
        amount_asked=order.amount,
        amount_added=terms.amount_added,
        currency=order.currency,
        authorization=authorization,
        decline_code=decline_code,
        stage=_stage(order, terms),
        callback_url=order.callback_url or _callback_url(db, authorization),
        at=terms.now,
        validity_s=terms.authorization_validity_s,
        authentication=None if said is None else json.dumps(said),
    )


def _stage(order: MoneyOrder, terms: Terms) -> Stage | None:
    if not isinstance(order, Authorize):
        return None
    takes_at_once = order.capture and not faults.authorizes_only(terms.entries)
    return Stage.CAPTURED if takes_at_once else Stage.AUTHORIZED


def _callback_url(db: sqlite3.Connection, authorization: str | None) -> str | None:
    row = movements.operation(db, authorization)
    return None if row is None else row["callback_url"]


def _reversed(db: sqlite3.Connection, order: Reverse, terms: Terms) -> Result:
    """What stands of the original is undone by one entry, and the original's reference is blocked.

    It goes by state, whatever `idempotency` says: what was reversed is never reversed again, and what the acquirer
    itself undid needs none and will not be redone.
    """
    _block(db, order.original_reference, terms.now)
    waiting.withdrawn(db, order.original_reference, terms.now)
    approved = db.execute(
        "SELECT * FROM operations WHERE reference = ? AND operation <> 'reversal' AND status = 'approved'",
        (order.original_reference,),
    ).fetchall()
    unreversed = [row for row in approved if row["reversed_by"] is None]
    standing = [row for row in unreversed if not turns.is_undone(db, row)]
    status = "reversed" if standing else "already_reversed" if approved else "nothing_to_reverse"
    result = _reversal_recorded(db, order, terms, rows=standing or approved, status=status)
    db.execute(
        "UPDATE operations SET reversed_by = ? WHERE reference = ? AND operation <> 'reversal'"
        " AND status = 'approved' AND reversed_by IS NULL",
        (result["id"], order.original_reference),
    )
    if standing:
        movements.entered(db, result, "reversal", payment_reference=order.payment_reference)
    return result


def _reversal_recorded(
    db: sqlite3.Connection, order: Reverse, terms: Terms, *, rows: list[sqlite3.Row], status: str
) -> Result:
    amount = sum(row["amount"] for row in rows) if rows else None
    position = store.inserted(
        db,
        "operations",
        id=movements.new_id("reversal"),
        reference=order.reference,
        operation="reversal",
        status=status,
        amount_asked=amount,
        amount=amount + terms.amount_added if amount is not None and status == "reversed" else amount,
        currency=rows[0]["currency"] if rows else None,
        authorization=rows[0]["authorization"] if rows else None,
        original_reference=order.original_reference,
        payment_reference=order.payment_reference,
        created_at=store.timestamp(terms.now),
    )
    return movements.answer_at(db, position)


def _cancelled(db: sqlite3.Connection, order: Cancel, terms: Terms) -> Result | None:
    """What became of the challenge; None if there is no such reference. It goes by state, as a reversal does."""
    found = waiting.found(db, order.original_reference) or _found_decided(db, order.original_reference)
    if found is None:
        return None
    match found["status"]:
        case "pending" | "expired" if terms.config.challenge_ends == "itself":
            status = "not_cancellable"
        case "pending" | "expired":
            status = "cancelled"
            _block(db, order.original_reference, terms.now)
            waiting.withdrawn(db, order.original_reference, terms.now)
        case "reversed" if found["authorization"] is None:
            status = "cancelled"  # nobody paid, and nobody can
        case _:
            status = "decided"
    return {
        "id": movements.new_id(order.operation),
        "reference": order.reference,
        "operation": order.operation,
        "status": status,
        "original_reference": order.original_reference,
        "created_at": store.timestamp(terms.now),
    }


def _token_deleted(db: sqlite3.Connection, order: DeleteToken, terms: Terms) -> Result | None:
    """Nobody pays with the token any more; None if there never was such a token."""
    if not saved_cards.deleted(db, order.token, terms.now):
        return None
    return {"reference": order.reference, "operation": order.operation, "status": "deleted"}


def _given_in(db: sqlite3.Connection, order: AcceptDispute, terms: Terms) -> Result | None:
    """The dispute after the merchant gave in, where it waited for them: said again, it stands as it is."""
    dispute = disputes.found(db, order.dispute)
    if dispute is None:
        return None
    if dispute["stage"] == "inquiry" or dispute["status"] != "needs_response":
        return _dispute(db, order, status="not_open")
    disputes.accepted(order.dispute, db, terms)
    return _dispute(db, order, status="accepted")


def _dispute(db: sqlite3.Connection, order: AcceptDispute | InquireDispute, *, status: str) -> Result | None:
    dispute = disputes.found(db, order.dispute)
    if dispute is None:
        return None
    return {
        "reference": order.reference,
        "operation": order.operation,
        "status": status,
        "dispute": dispute,
    }


def _block(db: sqlite3.Connection, reference: str, now: datetime) -> None:
    db.execute("INSERT OR IGNORE INTO blocked_references VALUES (?, ?)", (reference, store.timestamp(now)))


def _found(db: sqlite3.Connection, order: Inquire, terms: Terms) -> Result | None:
    """What stands under the reference; else what was reversed; else the latest refusal; else None."""
    result = waiting.found(db, order.reference) or _found_decided(db, order.reference)
    if result is not None and result["status"] == "approved":
        result["amount"] += terms.amount_added
    return result


def _found_decided(db: sqlite3.Connection, reference: str) -> Result | None:
    row = db.execute(
        "SELECT * FROM operations WHERE reference = ? ORDER BY"
        " CASE WHEN status IN ('approved', 'reversed') AND reversed_by IS NULL THEN 0"
        " WHEN reversed_by IS NOT NULL THEN 1 ELSE 2 END,"
        " CASE WHEN status IN ('approved', 'reversed') THEN position ELSE -position END LIMIT 1",
        (reference,),
    ).fetchone()
    if row is None:
        return None
    result = movements.answer(db, row)
    if row["reversed_by"] is not None:
        result["status"] = "reversed"
    return result
