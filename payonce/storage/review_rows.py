"""Reviews and decisions: rows in, domain objects out. Nothing is written here for what is not in review."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, bindparam, select, update
from sqlalchemy.dialects.postgresql import insert

from payonce.domain.decisions import Decision, Verdict
from payonce.domain.facts import Stage
from payonce.domain.operations import Operation
from payonce.domain.reviews import ClosedBy, Review, ReviewReason, is_open
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.statements import Query, Statement, single
from payonce.storage.tables import decisions, reviews

_FIELDS = tuple(field.name for field in fields(Review))
COLUMNS = tuple(reviews.c[name] for name in _FIELDS)
_WRITTEN = (*_FIELDS, "sweep_at")
_BEGUN = insert(reviews).values({name: bindparam(name) for name in _WRITTEN})
_BEGIN = Statement(
    _BEGUN.on_conflict_do_update(  # the operation was in review before, for another reason
        index_elements=[reviews.c.operation_id],
        set_={**{name: _BEGUN.excluded[name] for name in _WRITTEN if name != "operation_id"}, "sweeps": 0},
    )
)
_OF_OPERATION = Statement(select(*COLUMNS).where(reviews.c.operation_id == bindparam("id")))
_OVERDUE = Statement(
    update(reviews).where(reviews.c.operation_id == bindparam("id")).values(overdue_at=bindparam("at"))
)
_END = Statement(
    update(reviews)
    .where(reviews.c.operation_id == bindparam("id"), reviews.c.closed_at.is_(None))
    .values(closed_at=bindparam("at"), closed_by=bindparam("by"), sweep_at=bindparam("at"), sweeps=0)
)

_DECISION_FIELDS = tuple(field.name for field in fields(Decision))
DECISION_COLUMNS = (
    *(decisions.c[name] for name in _DECISION_FIELDS),
    decisions.c.reason,
    decisions.c.created_at,
)
_DECIDED = Statement(select(*DECISION_COLUMNS).where(decisions.c.key == bindparam("key")))
_DECIDE = Statement(
    insert(decisions)
    .values({name: bindparam(name) for name in (*_DECISION_FIELDS, "payment_id", "reason", "created_at")})
    .on_conflict_do_nothing(index_elements=[decisions.c.key])
)
_LATEST = Statement(
    select(*DECISION_COLUMNS)
    .where(decisions.c.operation_id == bindparam("operation_id"))
    .order_by(decisions.c.created_at.desc())
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision as it is kept: what it was about, and when it was made."""

    decision: Decision
    reason: ReviewReason  # of the review that it was made in
    at: datetime


async def follow(
    connection: Connection, before: Operation, after: Operation, *, by: ClosedBy, now: datetime
) -> None:
    """A review that the operation was in has ended, where nobody must decide about it any more."""
    if is_open(before) and not is_open(after):
        await end(connection, after.id, by=by, now=now)


def of_operation(operation_id: str) -> Query[Review | None]:
    """The operation's latest review, whether it is open or not."""
    return single(_OF_OPERATION, {"id": operation_id}, review_from)


async def begin(connection: Connection, review: Review) -> None:
    """The operation is in review, and the sweeper sees to it that its workflow runs."""
    values = {name: getattr(review, name) for name in _FIELDS}
    await connection.write(_BEGIN, {**values, "sweep_at": review.opened_at})


async def end(connection: Connection, operation_id: str, *, by: ClosedBy, now: datetime) -> None:
    """The operation is no longer in review, and the sweeper tells its workflow."""
    await connection.write(_END, {"id": operation_id, "by": by, "at": now})


async def tell_overdue(connection: Connection, review: Review) -> None:
    """It is on record since when the review is known to be overdue."""
    await connection.write(_OVERDUE, {"id": review.operation_id, "at": review.overdue_at})


async def add_decision(connection: Connection, decided: Decided, *, payment_id: str) -> Decided:
    """The decision that is kept for ever under the key: this one, or another's whose key was the same."""
    values = {name: getattr(decided.decision, name) for name in _DECISION_FIELDS}
    row = {**values, "payment_id": payment_id, "reason": decided.reason, "created_at": decided.at}
    await connection.write(_DECIDE, row)
    kept = await connection.fetch(decided_under(decided.decision.key))
    assert kept is not None
    return kept


def latest_about(operation_id: str) -> Query[Decided | None]:
    """The latest decision about the operation."""
    return single(_LATEST, {"operation_id": operation_id}, decided_from)


def decided_under(key: str) -> Query[Decided | None]:
    """The decision with this key."""
    return single(_DECIDED, {"key": key}, decided_from)


def decided_from(row: Mapping[str, Any]) -> Decided:
    values = {name: row[name] for name in _DECISION_FIELDS}
    stage = None if row["stage"] is None else Stage(row["stage"])
    decision = Decision(**{**values, "verdict": Verdict(row["verdict"]), "stage": stage})
    return Decided(decision, ReviewReason(row["reason"]), row["created_at"])


def review_from(row: RowMapping | Mapping[str, Any]) -> Review:
    values = {name: row[name] for name in _FIELDS}
    by = None if row["closed_by"] is None else ClosedBy(row["closed_by"])
    return Review(**{**values, "reason": ReviewReason(row["reason"]), "closed_by": by})
