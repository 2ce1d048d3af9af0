"""Payments and operations: rows in, domain objects out."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from payonce.domain.operations import Operation, OperationKind, OperationStatus
from payonce.domain.payment import Payment, PaymentStatus
from payonce.storage.tables import operations, payments

_PAYMENT_FIELDS = tuple(field.name for field in fields(Payment))
_OPERATION_FIELDS = tuple(field.name for field in fields(Operation))
PAYMENT_COLUMNS = tuple(payments.c[name] for name in _PAYMENT_FIELDS)
OPERATION_COLUMNS = tuple(operations.c[name] for name in _OPERATION_FIELDS)


async def insert_payment(connection: AsyncConnection, payment: Payment) -> None:
    await connection.execute(insert(payments), _row(payment, _PAYMENT_FIELDS))


async def insert_operation(connection: AsyncConnection, operation: Operation, *, sweep_at: datetime) -> None:
    """The operation is pending and the sweeper looks at it from `sweep_at` on."""
    await connection.execute(insert(operations), {**_row(operation, _OPERATION_FIELDS), "sweep_at": sweep_at})


async def lock_payment(connection: AsyncConnection, payment_id: str) -> Payment | None:
    """The payment, its row locked to the end of the transaction: whoever changes money holds this lock."""
    query = select(*PAYMENT_COLUMNS).where(payments.c.id == payment_id).with_for_update()
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else payment_from(row)


async def get_payment(connection: AsyncConnection, payment_id: str) -> Payment | None:
    """The payment, whoever's it is: for ourselves, not for a merchant's request."""
    query = select(*PAYMENT_COLUMNS).where(payments.c.id == payment_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else payment_from(row)


async def find_payment(
    connection: AsyncConnection, payment_id: str, *, merchant_id: str, mode: str
) -> Payment | None:
    """The merchant's payment; another merchant's is not there."""
    query = select(*PAYMENT_COLUMNS).where(
        payments.c.id == payment_id, payments.c.merchant_id == merchant_id, payments.c.mode == mode
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else payment_from(row)


async def find_operation(connection: AsyncConnection, operation_id: str) -> Operation | None:
    query = select(*OPERATION_COLUMNS).where(operations.c.id == operation_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else operation_from(row)


async def oldest_in_review(connection: AsyncConnection, payment_id: str, *, but_not: str) -> Operation | None:
    """The payment's pending operation that an operator has had to decide for longest."""
    query = (
        select(*OPERATION_COLUMNS)
        .where(
            operations.c.payment_id == payment_id,
            operations.c.id != but_not,
            operations.c.status == OperationStatus.PENDING,
            operations.c.review_at.is_not(None),
        )
        .order_by(operations.c.review_at)
        .limit(1)
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else operation_from(row)


async def save_payment(connection: AsyncConnection, before: Payment, after: Payment) -> None:
    """Writes what changed; the caller holds the row's lock."""
    changes = _changes(before, after, _PAYMENT_FIELDS)
    if changes:
        await connection.execute(update(payments).where(payments.c.id == after.id).values(changes))


async def save_operation(connection: AsyncConnection, before: Operation, after: Operation) -> None:
    """Writes what changed; the caller holds the payment's lock."""
    changes = _changes(before, after, _OPERATION_FIELDS)
    if changes:
        await connection.execute(update(operations).where(operations.c.id == after.id).values(changes))


def payment_from(row: RowMapping | Mapping[str, Any]) -> Payment:
    values = {name: row[name] for name in _PAYMENT_FIELDS}
    return Payment(**{**values, "status": PaymentStatus(row["status"])})


def operation_from(row: RowMapping | Mapping[str, Any]) -> Operation:
    values = {name: row[name] for name in _OPERATION_FIELDS}
    kind, status = OperationKind(row["kind"]), OperationStatus(row["status"])
    return Operation(**{**values, "kind": kind, "status": status})


def _row(value: Payment | Operation, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names}


def _changes(before: Any, after: Any, names: tuple[str, ...]) -> dict[str, Any]:
    pairs = ((name, getattr(before, name), getattr(after, name)) for name in names)
    return {name: new for name, old, new in pairs if new != old}
