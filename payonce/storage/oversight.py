"""What an operator looks up, whoever's it is."""

from typing import Final

from sqlalchemy import RowMapping, select

from payonce.domain.errors import NotFound
from payonce.storage.connection import Connection
from payonce.storage.endpoints import ENDPOINT_COLUMNS, Endpoint, endpoint_from
from payonce.storage.tables import events
from payonce.storage.tables import webhook_deliveries as deliveries
from payonce.storage.tables import webhook_endpoints as endpoints

DELIVERIES_MAX: Final = 1_000


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
        .order_by(*(deliveries.c[name].desc() for name in ("xid", "created_at", "sequence", "id")))
        .limit(min(limit, DELIVERIES_MAX))
    )
    if status is not None:
        query = query.where(deliveries.c.status == status)
    return list((await connection.execute(query)).mappings())
