"""Payments and operations: rows in, domain objects out."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Text, all_, and_, bindparam, cast, func, or_, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.expression import CollectionAggregate

from payonce.domain.operations import Attempt, Operation, OperationKind, OperationStatus, Origin
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.reviews import ReviewReason
from payonce.sealing import Sealed
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.statements import Query, Statement, single
from payonce.storage.packing import pack_method, unpack_method
from payonce.storage.personal_data import columns_of
from payonce.storage.tables import operations, payments

_PAYMENT_FIELDS = tuple(field.name for field in fields(Payment))
_OPERATION_FIELDS = tuple(field.name for field in fields(Operation))
PAYMENT_COLUMNS = tuple(payments.c[name] for name in _PAYMENT_FIELDS)
OPERATION_COLUMNS = tuple(operations.c[name] for name in _OPERATION_FIELDS)

_PAYMENT = select(*PAYMENT_COLUMNS).where(payments.c.id == bindparam("id"))
_BY_ID = Statement(_PAYMENT)
_LOCKED = Statement(_PAYMENT.with_for_update())
_LOCKED_TO_RECORD = Statement(
    _PAYMENT.add_columns(cast(func.pg_current_xact_id(), Text).label("xid")).with_for_update()
)
_OF_MERCHANT = Statement(
    _PAYMENT.where(payments.c.merchant_id == bindparam("merchant_id"), payments.c.mode == bindparam("mode"))
)


def beside_create(payment_id: ColumnElement[str] | CollectionAggregate[Any]) -> ColumnElement[bool]:
    """Of the payment's operations all but its create, which has its id: as their index has them."""
    return and_(operations.c.payment_id == payment_id, operations.c.id != operations.c.payment_id)


def of_payment(payment_id: ColumnElement[str] | CollectionAggregate[Any]) -> ColumnElement[bool]:
    """All of the payment's operations: its create by the primary key, the others by their index.

    Of any of several payments where `payment_id` is `any_` of an array.
    """
    return or_(operations.c.id == payment_id, beside_create(payment_id))


_OTHERS = beside_create(bindparam("payment_id"))
_OPERATION = Statement(select(*OPERATION_COLUMNS).where(operations.c.id == bindparam("id")))
# A late success that no reversal of ours undoes, an expiry that was not confirmed, what was given up and could not be
# refunded.
_FOR_A_PERSON = and_(
    or_(
        operations.c.kind == OperationKind.REVERSE,
        operations.c.kind == OperationKind.EXPIRE,
        operations.c.ends_operation.is_not(None),
    ),
    operations.c.status == OperationStatus.FAILED,
)
_RISK = and_(  # authorized, and held until a person has looked at its risk
    operations.c.kind == OperationKind.AUTHORIZE,
    operations.c.status == OperationStatus.SUCCEEDED,
    operations.c.reason == ReviewReason.RISK,
)
_HOLDS = and_(  # what the acquirer did of itself, and nobody has settled
    operations.c.origin == Origin.ACQUIRER, operations.c.amount_undecided_minor > 0
)
_HELD = Statement(
    select(*OPERATION_COLUMNS)
    .where(
        _OTHERS,
        or_(_HOLDS, operations.c.amount_ahead_minor > 0),
    )
    .order_by(operations.c.created_at.desc(), operations.c.id)
)
_WORDS_MAX = 50  # an acquirer that changes its mind more often is heard as if it began anew
_WORDS = Statement(
    select(*OPERATION_COLUMNS)
    .where(
        _OTHERS,
        operations.c.target_reference == bindparam("reference"),
        operations.c.origin == Origin.ACQUIRER,
        operations.c.connector_reference.is_(None),
    )
    .order_by(operations.c.created_at.desc(), operations.c.id)
    .limit(_WORDS_MAX)
)
_BY_OTHERS = (
    select(operations.c.id)
    .where(_OTHERS, operations.c.kind == bindparam("kind"), operations.c.origin == Origin.ACQUIRER)
    .limit(1)
)
_SINCE = operations.c.created_at >= bindparam("since")
_DONE_BY_OTHERS = Statement(_BY_OTHERS.where(_SINCE))
_own = operations.alias("own")
_AS_MUCH_DONE_BY_OTHERS = Statement(
    _BY_OTHERS.where(
        # By the transactions, too: the clock of the process that admitted it may have been ahead.
        or_(
            _SINCE,
            operations.c.xid > select(_own.c.xid).where(_own.c.id == bindparam("id")).scalar_subquery(),
        ),
        operations.c.amount_minor == bindparam("amount_minor"),
        operations.c.amount_undone_minor < operations.c.amount_minor,  # else it gave back a late success
        operations.c.status == OperationStatus.SUCCEEDED,
    )
)
_EXPIRIES = Statement(
    select(func.count().label("expiries")).where(_OTHERS, operations.c.kind == OperationKind.EXPIRE)
)
_ACCEPTANCE = Statement(  # as `operations_one_acceptance_key` has it
    select(operations.c.id).where(
        operations.c.dispute_id == bindparam("dispute_id"),
        operations.c.kind == text("'accept'"),
        operations.c.status == text("'pending'"),
    )
)
_OLDEST_IN_REVIEW = Statement(
    select(*OPERATION_COLUMNS)
    .where(
        of_payment(bindparam("payment_id")),
        operations.c.id != all_(bindparam("but_not", type_=ARRAY(Text))),
        operations.c.review_at.is_not(None),
        or_(operations.c.status == OperationStatus.PENDING, _FOR_A_PERSON, _HOLDS, _RISK),
    )
    .order_by(operations.c.review_at)
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Locked:
    """A payment under its row's lock, and the id of the transaction that holds it."""

    payment: Payment
    xid: int


async def insert_payment(connection: Connection, payment: Payment, personal: Sealed | None = None) -> None:
    """With the personal data, if any, that a run of another process may have to send."""
    row = _as_kept(connection, _row(payment, _PAYMENT_FIELDS))
    await connection.insert(payments, {**row, **columns_of(personal)})


async def insert_operation(connection: Connection, operation: Operation, *, sweep_at: datetime) -> None:
    """The operation is pending and the sweeper looks at it from `sweep_at` on."""
    await connection.insert(operations, {**_row(operation, _OPERATION_FIELDS), "sweep_at": sweep_at})


def locked(payment_id: str) -> Query[Payment | None]:
    """The payment, its row locked to the end of the transaction: whoever changes money holds this lock."""
    return single(_LOCKED, {"id": payment_id}, payment_from)


def locked_to_record(payment_id: str) -> Query[Locked | None]:
    """As `locked`, with what the ids of events are made of."""
    return single(
        _LOCKED_TO_RECORD, {"id": payment_id}, lambda row: Locked(payment_from(row), int(row["xid"]))
    )


def payment_of_any_merchant(payment_id: str) -> Query[Payment | None]:
    """The payment, whoever's it is: for ourselves, not for a merchant's request."""
    return single(_BY_ID, {"id": payment_id}, payment_from)


def operation_by_id(operation_id: str) -> Query[Operation | None]:
    return single(_OPERATION, {"id": operation_id}, operation_from)


async def find_payment(
    connection: Connection, payment_id: str, *, merchant_id: str, mode: str
) -> Payment | None:
    """The merchant's payment; another merchant's is not there."""
    values = {"id": payment_id, "merchant_id": merchant_id, "mode": mode}
    return await connection.fetch(single(_OF_MERCHANT, values, payment_from))


async def oldest_in_review(
    connection: Connection, payment_id: str, *, but_not: list[str]
) -> Operation | None:
    """The payment's operation that an operator has had to decide for longest, and is none of these."""
    values = {"payment_id": payment_id, "but_not": but_not}
    return await connection.fetch(single(_OLDEST_IN_REVIEW, values, operation_from))


def held_turns(payment_id: str) -> Query[list[Operation]]:
    """What the acquirer did of itself to the payment and nobody has settled, or a person otherwise, latest first."""
    return Query(_HELD, {"payment_id": payment_id}, lambda rows: [operation_from(row) for row in rows])


def done_by_others(payment_id: str, kind: OperationKind, *, since: datetime) -> Query[bool]:
    """Whether an operation of this kind that payonce never asked for is known since then."""
    values = {"payment_id": payment_id, "kind": kind, "since": since}
    return Query(_DONE_BY_OTHERS, values, bool)


def as_much_done_by_others(operation: Operation, *, since: datetime) -> Query[bool]:
    """Whether others than payonce did the same with the payment since then, or since the operation is there."""
    values = {
        "id": operation.id,
        "payment_id": operation.payment_id,
        "kind": operation.sent_as or operation.kind,
        "since": since,
        "amount_minor": operation.amount_minor,
    }
    return Query(_AS_MUCH_DONE_BY_OTHERS, values, bool)


def expiries_of(payment_id: str) -> Query[int]:
    """How often the payment's authorization expired."""
    return Query(_EXPIRIES, {"payment_id": payment_id}, lambda rows: int(rows[0]["expiries"]))


def acceptance_is_under_way(dispute_id: str) -> Query[bool]:
    """Whether the dispute's acceptance was asked for, and has no outcome."""
    return Query(_ACCEPTANCE, {"dispute_id": dispute_id}, bool)


def words_about(attempt: Attempt) -> Query[list[Operation]]:
    """What the acquirer said of the attempt against a person's decision, latest first."""
    values = {"payment_id": attempt.payment_id, "reference": attempt.reference}
    return Query(_WORDS, values, lambda rows: [operation_from(row) for row in rows])


async def save_payment(connection: Connection, before: Payment, after: Payment) -> None:
    """Writes what changed; the caller holds the row's lock."""
    changes = _as_kept(connection, _changes(before, after, _PAYMENT_FIELDS))
    await connection.update(payments, changes, where={"id": after.id})


async def save_operation(connection: Connection, before: Operation, after: Operation) -> None:
    """Writes what changed; the caller holds the payment's lock."""
    changes = _changes(before, after, _OPERATION_FIELDS)
    await connection.update(operations, changes, where={"id": after.id})


def payment_from(row: RowMapping | Mapping[str, Any]) -> Payment:
    values = {name: row[name] for name in _PAYMENT_FIELDS}
    typed = {
        "status": PaymentStatus(row["status"]),
        "payment_method": unpack_method(row["payment_method"]),
    }
    return Payment(**{**values, **typed})


def operation_from(row: RowMapping | Mapping[str, Any]) -> Operation:
    values = {name: row[name] for name in _OPERATION_FIELDS}
    typed = {
        "kind": OperationKind(row["kind"]),
        "status": OperationStatus(row["status"]),
        "origin": Origin(row["origin"]),
        "target_kind": _kind(row["target_kind"]),
        "sent_as": _kind(row["sent_as"]),
    }
    return Operation(**{**values, **typed})


def _kind(name: str | None) -> OperationKind | None:
    return None if name is None else OperationKind(name)


def _as_kept(connection: Connection, values: dict[str, Any]) -> dict[str, Any]:
    if not connection.packs or "payment_method" not in values:
        return values
    return {**values, "payment_method": pack_method(values["payment_method"])}


def _row(value: Payment | Operation, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names}


def _changes(before: Any, after: Any, names: tuple[str, ...]) -> dict[str, Any]:
    pairs = ((name, getattr(before, name), getattr(after, name)) for name in names)
    return {name: new for name, old, new in pairs if new != old}
