"""What the sweeper looks for: operations and payments that nobody may be working on.

A create that was given back waits for its merchant, and is in no queue but the one of what is closed after a day. It
is told from the others by a column, so that however many wait, the rest is found as if there were none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Integer, bindparam, case, exists, func, null, select, text, update

from payonce.domain.operations import AttemptState, Operation, OperationKind
from payonce.domain.payment import Payment, PaymentStatus
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.statements import Query, Row, Statement
from payonce.storage.payments import (
    OPERATION_COLUMNS,
    PAYMENT_COLUMNS,
    locked,
    operation_from,
    payment_from,
)
from payonce.storage.tables import CAPTURABLE, DUE, RELEASED, attempts, operations, payments

FIRST_PAUSE_S, LONGEST_PAUSE_S = 10, 600  # between two looks at the same operation
# For a claim that is seen for the first time: its owner gives it back as soon as the gate opens.
OWNERS_PAUSE_S = 4
RELEASED_KEPT = timedelta(hours=24)  # then a create that was given back is closed

_OPEN = [status.value for status in PaymentStatus if status.open]
_CREATE = (operations.c.id == bindparam("id"), operations.c.kind == OperationKind.AUTHORIZE.value)
_FIRST_PAUSE = text(f"interval '{FIRST_PAUSE_S} seconds'")
_OWNERS_PAUSE = text(f"interval '{OWNERS_PAUSE_S} seconds'")
_RELEASE = Statement(update(operations).where(*_CREATE).values(released_at=func.now()))
_CLAIM_AGAIN = Statement(
    update(operations)
    .where(*_CREATE)
    .values(released_at=null(), sweeps=0, sweep_at=func.now() + _FIRST_PAUSE)
)


def pause(sweeps: ColumnElement[int]) -> ColumnElement[timedelta]:
    """Until the next look, so many made: twice as long each time, up to a limit."""
    pause_s = func.least(FIRST_PAUSE_S * func.power(2, func.least(sweeps, 16)), LONGEST_PAUSE_S)
    until: ColumnElement[timedelta] = pause_s * text("interval '1 second'")
    return until


_OVERDUE = (
    select(operations.c.id)
    .where(text(DUE), operations.c.kind == bindparam("kind"), operations.c.sweep_at <= func.now())
    .order_by(operations.c.sweep_at)
    .limit(bindparam("most", type_=Integer))
    .with_for_update(skip_locked=True)
)
_DEQUEUE = Statement(  # each second for each kind, in every worker
    update(operations)
    .where(operations.c.id.in_(_OVERDUE.scalar_subquery()))
    .values(sweep_at=func.now() + pause(operations.c.sweeps), sweeps=operations.c.sweeps + 1)
    .returning(*OPERATION_COLUMNS, operations.c.sweeps)
)


@dataclass(frozen=True, slots=True)
class Due:
    """A pending operation whose time has come; `sweeps` counts how often it has been looked at."""

    operation: Operation
    payment: Payment
    sweeps: int


async def released(connection: Connection, operation_id: str) -> None:
    """The create waits for its merchant: in the transaction that gives its latest attempt back, under the lock.

    One that was answered with 202 stays in the queue all the same: its merchant waits for us. Nothing happens to
    other operations, whose next attempt anybody may claim.
    """
    await connection.write(_RELEASE, {"id": operation_id})


async def claimed_again(connection: Connection, operation_id: str) -> None:
    """The create is in the queue again, from its first pause on: in the transaction that claims a further attempt."""
    await connection.write(_CLAIM_AGAIN, {"id": operation_id})


async def dequeue(connection: Connection, kind: OperationKind, *, limit: int) -> list[Due]:
    """Pending operations of this kind whose time has come, at most `limit`, the longest overdue first.

    Other sweepers do not see them for a while.
    """
    values = {"kind": kind.value, "most": limit}
    found = await connection.fetch(Query(_DEQUEUE, values, _with_sweeps))
    paid = await payments_of(connection, [operation.payment_id for operation, _ in found])
    return [Due(operation, paid[operation.payment_id], sweeps) for operation, sweeps in found]


def _with_sweeps(rows: Sequence[Row]) -> list[tuple[Operation, int]]:
    return [(operation_from(row), row["sweeps"]) for row in rows]


async def requeue(connection: Connection, operation_id: str) -> None:
    """A look that could not be followed up does not count: the next one comes after the first pause."""
    await connection.execute(
        update(operations)
        .where(operations.c.id == operation_id)
        .values(sweeps=0, sweep_at=func.now() + _FIRST_PAUSE)
    )


async def is_behind(connection: Connection, operation_id: str, *, behind_for: timedelta) -> bool:
    """Whether the operation, which Temporal has just said is done, is pending, and was when that was seen before.

    The first time is noted, and the next look comes once `behind_for` is over. After the second all begins anew.
    """
    behind_since = operations.c.behind_since
    twice = behind_since <= func.now() - behind_for
    noted = (
        update(operations)
        .where(operations.c.id == operation_id, operations.c.status == "pending")
        .values(
            behind_since=case((twice, null()), else_=func.coalesce(behind_since, func.now())),
            sweep_at=func.now() + behind_for,
        )
        .returning(behind_since.is_(None))
    )
    return (await connection.execute(noted)).scalar_one_or_none() is True


async def dequeue_released(connection: Connection, *, limit: int) -> list[Operation]:
    """Creates that were given back a day ago and not asked for again, at most `limit`; each for one sweeper."""
    over = (
        select(operations.c.id)
        .where(
            text(RELEASED),
            operations.c.released_at <= func.now() - RELEASED_KEPT,
            operations.c.sweep_at <= func.now(),
        )
        .order_by(operations.c.released_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    taken = (
        update(operations)
        .where(operations.c.id.in_(over.scalar_subquery()))
        .values(sweep_at=func.now() + pause(operations.c.sweeps), sweeps=operations.c.sweeps + 1)
        .returning(*OPERATION_COLUMNS)
    )
    return [operation_from(row) for row in (await connection.execute(taken)).mappings()]


async def set_aside_if_released(connection: Connection, operation: Operation) -> bool:
    """Whether the create, which was in the queue, is given back and waits for its merchant; then it is no more."""
    if operation.deferred_at is not None or not await is_released(connection, operation.id):
        return False
    await connection.fetch(locked(operation.payment_id))  # whoever claims holds it
    if not await is_released(connection, operation.id):
        return False
    await released(connection, operation.id)
    return True


async def left_for_its_owner(connection: Connection, create: Operation) -> bool:
    """Whether a claim of the create stands, and nobody was answered with 202; then it is looked at a bit later."""
    if create.deferred_at is not None or await _latest_state(connection, create.id) != AttemptState.CLAIMED:
        return False
    await connection.execute(
        update(operations).where(operations.c.id == create.id).values(sweep_at=func.now() + _OWNERS_PAUSE)
    )
    return True


async def is_released(connection: Connection, operation_id: str) -> bool:
    """Whether the operation's latest attempt was given back, provably unsent."""
    return await _latest_state(connection, operation_id) == AttemptState.NOT_SENT


async def count_refusal(connection: Connection, operation_id: str) -> int:
    """Temporal refused the operation once more, as it would for ever; returns how often, 0 where it is not pending.

    It is counted whatever time passes between, so that a person hears of it.
    """
    counted = (
        update(operations)
        .where(operations.c.id == operation_id, operations.c.status == "pending")
        .values(refusals=operations.c.refusals + 1)
        .returning(operations.c.refusals)
    )
    return (await connection.execute(counted)).scalar_one_or_none() or 0


async def capturable_payments(connection: Connection, *, after: str, limit: int) -> list[Payment]:
    """Payments with something left to capture, by id after `after`, at most `limit`.

    What is undecided is not among them: its authorization is pending, and so in a queue.
    """
    query = (
        select(*PAYMENT_COLUMNS)
        .where(text(CAPTURABLE), payments.c.id > after)
        .order_by(payments.c.id)
        .limit(limit)
    )
    return [payment_from(row) for row in (await connection.execute(query)).mappings()]


async def still_open(
    connection: Connection, payment_ids: list[str], *, older_than: datetime
) -> list[Payment]:
    """Those of the payments that wait for us, and were not touched since `older_than`."""
    if not payment_ids:
        return []
    waits_for_merchant = exists().where(
        operations.c.id == payments.c.id,
        operations.c.status == "pending",
        operations.c.released_at.is_not(None),
        operations.c.deferred_at.is_(None),
    )
    query = select(*PAYMENT_COLUMNS).where(
        payments.c.id.in_(payment_ids),
        payments.c.status.in_(_OPEN),
        payments.c.updated_at < older_than,
        ~waits_for_merchant,
    )
    return [payment_from(row) for row in (await connection.execute(query)).mappings()]


async def payments_of(connection: Connection, payment_ids: list[str]) -> dict[str, Payment]:
    """These payments by their ids."""
    if not payment_ids:
        return {}
    query = select(*PAYMENT_COLUMNS).where(payments.c.id.in_(payment_ids))
    rows = (await connection.execute(query)).mappings()
    return {row["id"]: payment_from(row) for row in rows}


async def _latest_state(connection: Connection, operation_id: str) -> str | None:
    latest = (
        select(attempts.c.state)
        .where(attempts.c.operation_id == operation_id)
        .order_by(attempts.c.number.desc())
        .limit(1)
    )
    state: str | None = (await connection.execute(latest)).scalar_one_or_none()
    return state
