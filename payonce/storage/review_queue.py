"""Reviews whose workflow must be started, or told that they ended; and how many wait for a person.

An open review stays in the queue: a workflow that somebody terminated is started again.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, null, select, text, update

from payonce.domain.operations import Operation
from payonce.domain.payment import Payment
from payonce.domain.reviews import Review, ReviewReason
from payonce.storage.driver.connection import Connection
from payonce.storage.payments import OPERATION_COLUMNS, operation_from
from payonce.storage.review_rows import COLUMNS, review_from
from payonce.storage.sweeping import FIRST_PAUSE_S, pause, payments_of
from payonce.storage.tables import operations, reviews


@dataclass(frozen=True, slots=True)
class DueReview:
    """A review whose time has come; `sweeps` counts how often it has been looked at since it opened or ended."""

    review: Review
    operation: Operation
    payment: Payment
    sweeps: int


@dataclass(frozen=True, slots=True)
class Count:
    """How many reviews of one reason there are."""

    open: int = 0
    overdue: int = 0  # of those


async def dequeue(connection: Connection, *, limit: int) -> list[DueReview]:
    """Reviews whose time has come, at most `limit`, the longest overdue first.

    Other sweepers do not see them for a while.
    """
    due = (
        select(reviews.c.operation_id)
        .where(reviews.c.sweep_at <= func.now())
        .order_by(reviews.c.sweep_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    taken = (
        update(reviews)
        .where(reviews.c.operation_id.in_(due.scalar_subquery()))
        .values(sweep_at=func.now() + pause(reviews.c.sweeps), sweeps=reviews.c.sweeps + 1)
        .returning(*COLUMNS, reviews.c.sweeps)
    )
    found = [(review_from(row), row["sweeps"]) for row in (await connection.execute(taken)).mappings()]
    about = await _operations(connection, [review.operation_id for review, _ in found])
    paid = await payments_of(connection, [review.payment_id for review, _ in found])
    return [
        DueReview(review, about[review.operation_id], paid[review.payment_id], sweeps)
        for review, sweeps in found
    ]


async def requeue(connection: Connection, review: Review) -> None:
    """A look that could not be followed up does not count: the next one comes after the first pause."""
    await connection.execute(
        update(reviews)
        .where(reviews.c.operation_id == review.operation_id, reviews.c.sweep_at.is_not(None))
        .values(sweeps=0, sweep_at=func.now() + text(f"interval '{FIRST_PAUSE_S} seconds'"))
    )


async def told(connection: Connection, ended: Review) -> None:
    """Nobody needs to look at the review any more, unless it began anew meanwhile."""
    await connection.execute(
        update(reviews)
        .where(reviews.c.operation_id == ended.operation_id, reviews.c.closed_at == ended.closed_at)
        .values(sweep_at=null())
    )


async def count_open(connection: Connection) -> Mapping[ReviewReason, Count]:
    """Of every reason, those that there are none of included."""
    late = func.count().filter(reviews.c.due_at <= func.now())
    query = (
        select(reviews.c.reason, func.count().label("open"), late.label("overdue"))
        .where(reviews.c.closed_at.is_(None))
        .group_by(reviews.c.reason)
    )
    rows = (await connection.execute(query)).mappings()
    counted = {ReviewReason(row["reason"]): Count(row["open"], row["overdue"]) for row in rows}
    return {reason: counted.get(reason, Count()) for reason in ReviewReason}


async def _operations(connection: Connection, ids: list[str]) -> dict[str, Operation]:
    if not ids:
        return {}
    query = select(*OPERATION_COLUMNS).where(operations.c.id.in_(ids))
    return {row["id"]: operation_from(row) for row in (await connection.execute(query)).mappings()}
