"""What the sweeper looks for: operations and payments that nobody may be working on."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, text, update

from payonce.domain.operations import AttemptState, Operation
from payonce.domain.payment import Payment, PaymentStatus
from payonce.storage.connection import Connection
from payonce.storage.payments import OPERATION_COLUMNS, PAYMENT_COLUMNS, operation_from, payment_from
from payonce.storage.tables import attempts, operations, payments

FIRST_PAUSE_S, LONGEST_PAUSE_S = 10, 600  # between two looks at the same operation
RELEASED_KEPT = timedelta(hours=24)  # then a create that was given back is closed

_OPEN = [status.value for status in PaymentStatus if status.open]


@dataclass(frozen=True, slots=True)
class Due:
    """A pending operation whose time has come; `sweeps` counts how often it has been looked at."""

    operation: Operation
    payment: Payment
    sweeps: int


async def take_due(connection: Connection, *, limit: int) -> list[Due]:
    """Pending operations whose time has come, at most `limit`; other sweepers do not see them for a while."""
    due = (
        select(operations.c.id)
        .where(operations.c.status == "pending", operations.c.sweep_at <= func.now())
        .order_by(operations.c.sweep_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    pause_s = func.least(FIRST_PAUSE_S * func.power(2, func.least(operations.c.sweeps, 16)), LONGEST_PAUSE_S)
    taken = (
        update(operations)
        .where(operations.c.id.in_(due.scalar_subquery()))
        .values(
            sweep_at=func.now() + pause_s * text("interval '1 second'"),
            sweeps=operations.c.sweeps + 1,
        )
        .returning(*OPERATION_COLUMNS, operations.c.sweeps)
    )
    found = [(operation_from(row), row["sweeps"]) for row in (await connection.execute(taken)).mappings()]
    paid = await _payments(connection, [operation.payment_id for operation, _ in found])
    return [Due(operation, paid[operation.payment_id], sweeps) for operation, sweeps in found]


async def take_back(connection: Connection, operation_id: str) -> None:
    """A look that could not be followed up does not count: the next one comes after the first pause."""
    await connection.execute(
        update(operations)
        .where(operations.c.id == operation_id)
        .values(sweeps=0, sweep_at=func.now() + text(f"interval '{FIRST_PAUSE_S} seconds'"))
    )


async def is_released(connection: Connection, operation_id: str) -> bool:
    """Whether the operation's latest attempt was given back, provably unsent."""
    latest = (
        select(attempts.c.state)
        .where(attempts.c.operation_id == operation_id)
        .order_by(attempts.c.number.desc())
        .limit(1)
    )
    return (await connection.execute(latest)).scalar_one_or_none() == AttemptState.NOT_SENT


async def open_payments(connection: Connection, *, after: str, limit: int) -> list[Payment]:
    """Payments with something left to do, by id after `after`, at most `limit`."""
    query = (
        select(*PAYMENT_COLUMNS)
        .where(payments.c.status.in_(_OPEN), payments.c.id > after)
        .order_by(payments.c.id)
        .limit(limit)
    )
    return [payment_from(row) for row in (await connection.execute(query)).mappings()]


async def still_open(
    connection: Connection, payment_ids: list[str], *, older_than: datetime
) -> list[Payment]:
    """Those of the payments that have something left to do and were not touched since `older_than`."""
    found = await _payments(connection, payment_ids)
    return [payment for payment in found.values() if payment.status.open and payment.updated_at < older_than]


async def _payments(connection: Connection, payment_ids: list[str]) -> dict[str, Payment]:
    if not payment_ids:
        return {}
    query = select(*PAYMENT_COLUMNS).where(payments.c.id.in_(payment_ids))
    rows = (await connection.execute(query)).mappings()
    return {row["id"]: payment_from(row) for row in rows}
