"""Reviews and decisions: rows in, domain objects out. Nothing is written here for what is not in review."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, bindparam, select, update
from sqlalchemy.dialects.postgresql import insert

from payonce.domain.operations import Operation
from payonce.domain.reviews import ClosedBy, Review, ReviewReason, is_open
from payonce.storage.connection import Connection
from payonce.storage.statements import Query, Statement, single
from payonce.storage.tables import reviews

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


def review_from(row: RowMapping | Mapping[str, Any]) -> Review:
    values = {name: row[name] for name in _FIELDS}
    by = None if row["closed_by"] is None else ClosedBy(row["closed_by"])
    return Review(**{**values, "reason": ReviewReason(row["reason"]), "closed_by": by})
