"""What an operator looks up, whoever's it is."""

from typing import Final

from sqlalchemy import RowMapping, and_, func, literal, or_, select

from payonce.domain.delivery import DeliveryStatus
from payonce.domain.errors import NotFound
from payonce.domain.ids import attempt_named
from payonce.domain.operations import Attempt, Operation
from payonce.domain.payment import Payment
from payonce.domain.reviews import Review, is_open
from payonce.storage.attempts import COLUMNS as ATTEMPT_COLUMNS
from payonce.storage.attempts import attempt_from
from payonce.storage.driver.connection import Connection
from payonce.storage.merging import first_of_each
from payonce.storage.payments import (
    OPERATION_COLUMNS,
    of_payment,
    operation_by_id,
    operation_from,
    payment_of_any_merchant,
)
from payonce.storage.review_rows import COLUMNS as REVIEW_COLUMNS
from payonce.storage.review_rows import DECISION_COLUMNS, Decided, decided_from, review_from
from payonce.storage.tables import attempts, decisions, events, operations, reviews
from payonce.storage.tables import webhook_deliveries as deliveries
from payonce.storage.tables import webhook_endpoints as endpoints
from payonce.storage.webhooks.endpoints import ENDPOINT_COLUMNS, Endpoint, endpoint_from

DELIVERIES_MAX: Final = 1_000
REVIEWS_MAX: Final = 1_000
OF_ONE_MAX: Final = 100  # reviews of a payment, attempts and decisions of an operation


async def endpoint_of(connection: Connection, endpoint_id: str) -> Endpoint:
    """The endpoint, of whichever merchant. Raises `NotFound`."""
    query = select(*ENDPOINT_COLUMNS).where(endpoints.c.id == endpoint_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no webhook endpoint {endpoint_id}.")
    return endpoint_from(row)


async def recent_deliveries(
    connection: Connection, endpoint_id: str, *, status: str | None, limit: int
) -> list[RowMapping]:
    """The endpoint's newest deliveries with every attempt, bodies of answers (redacted) included."""
    query = (
        select(
            *(deliveries.c[name] for name in ("id", "event_id", "status", "cause", "holder", "attempts")),
            *(deliveries.c[name] for name in ("next_attempt_at", "created_at", "payment_id")),
            events.c.type,
        )
        .join(events, events.c.id == deliveries.c.event_id)
        .where(deliveries.c.endpoint_id == endpoint_id)
    )
    statuses = list(DeliveryStatus) if status is None else [status]
    order = [deliveries.c[name] for name in ("xid", "created_at", "sequence", "id")]
    newest = first_of_each(
        query, deliveries.c.status, statuses, order=order, descending=True, limit=min(limit, DELIVERIES_MAX)
    )
    return list((await connection.execute(newest)).mappings())


async def open_reviews(connection: Connection, *, overdue: bool, limit: int) -> list[Review]:
    """What a person must decide, by when it is due; `overdue`: only what is late."""
    query = (
        select(*REVIEW_COLUMNS)
        .where(reviews.c.closed_at.is_(None))
        .order_by(reviews.c.due_at, reviews.c.operation_id)
        .limit(min(limit, REVIEWS_MAX))
    )
    if overdue:
        query = query.where(reviews.c.due_at < func.now())
    return [review_from(dict(row)) for row in (await connection.execute(query)).mappings()]


async def in_review(
    connection: Connection, id_: str
) -> tuple[Payment, list[tuple[Operation, Review | None]]]:
    """The payment with those of its operations that are or were in review, the open ones first; or the one operation.

    An authorization has its payment's id, and stands for the payment. Raises `NotFound`.
    """
    payment = await connection.fetch(payment_of_any_merchant(id_))
    if payment is not None:
        found = await _reviewed(connection, payment.id)
    else:
        operation = await connection.fetch(operation_by_id(id_))
        if operation is not None:
            payment = await connection.fetch(payment_of_any_merchant(operation.payment_id))
        if operation is None or payment is None:
            raise NotFound(f"There is no payment or operation {id_}.")
        found = [operation]
    query = select(*REVIEW_COLUMNS).where(reviews.c.operation_id.in_([one.id for one in found]))
    rows = [review_from(dict(row)) for row in (await connection.execute(query)).mappings()]
    by_id = {row.operation_id: row for row in rows}
    return payment, [(one, by_id.get(one.id)) for one in sorted(found, key=lambda one: not is_open(one))]


async def _reviewed(connection: Connection, payment_id: str) -> list[Operation]:
    """In the order in which an operator was called for them."""
    query = (
        select(*OPERATION_COLUMNS)
        .outerjoin(reviews, reviews.c.operation_id == operations.c.id)
        .where(
            of_payment(literal(payment_id)),
            or_(reviews.c.operation_id.is_not(None), operations.c.review_at.is_not(None)),
        )
        .order_by(func.coalesce(reviews.c.opened_at, operations.c.review_at), operations.c.id)
        .limit(OF_ONE_MAX)
    )
    return [operation_from(row) for row in (await connection.execute(query)).mappings()]


async def attempts_about(connection: Connection, operation: Operation) -> list[Attempt]:
    """The requests of the operation, and the one that it is about, oldest first."""
    of_it = [attempts.c.operation_id == operation.id]
    if (named := attempt_named(operation.target_reference or "")) is not None:
        of_it.append(and_(attempts.c.operation_id == named[0], attempts.c.number == named[1]))
    query = (
        select(*ATTEMPT_COLUMNS)
        .where(or_(*of_it))
        .order_by(attempts.c.claimed_at, attempts.c.number)
        .limit(OF_ONE_MAX)
    )
    return [attempt_from(dict(row)) for row in (await connection.execute(query)).mappings()]


async def decisions_about(connection: Connection, operation_id: str) -> list[Decided]:
    """What was decided about the operation, oldest first."""
    query = (
        select(*DECISION_COLUMNS)
        .where(decisions.c.operation_id == operation_id)
        .order_by(decisions.c.created_at)
        .limit(OF_ONE_MAX)
    )
    return [decided_from(dict(row)) for row in (await connection.execute(query)).mappings()]
