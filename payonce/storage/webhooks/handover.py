"""Deliveries that failed, handed over to workflows: found again when nobody carries them on, or returned."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text

from payonce.storage.driver.connection import Connection
from payonce.storage.webhooks.queue import Lane, waiting

OVERDUE_S: Final = 60.0  # a workflow that lives attempts its delivery long before

# In any order: those whose workflows live but are behind must not hide one that has none.
_OVERDUE = text(
    """
    SELECT delivery.id, delivery.endpoint_id, delivery.next_attempt_at, event.type, event.merchant_id,
           event.payment_id, jsonb_array_length(delivery.attempts) AS attempts,
           delivery.attempts -> -1 ->> 'error' AS error
      FROM webhook_deliveries AS delivery
      JOIN events AS event ON event.id = delivery.event_id
     WHERE delivery.status = 'pending' AND delivery.holder = 'workflow'
       AND delivery.next_attempt_at < now() - make_interval(secs => :overdue_s)
       AND (delivery.lease_until IS NULL OR delivery.lease_until < now())
     ORDER BY random() LIMIT :limit
    """
)
_RETURN_TO_RELAY = text(
    """
    UPDATE webhook_deliveries AS delivery
       SET holder = 'relay'
      FROM unnest(CAST(:ids AS text[]), CAST(:attempts AS int[])) AS held (id, attempts)
     WHERE delivery.id = held.id AND delivery.status = 'pending' AND delivery.holder = 'workflow'
       AND jsonb_array_length(delivery.attempts) = held.attempts
    """
)
_BACKLOG = text(
    """
    SELECT count(*) FILTER (WHERE attempts = '[]'::jsonb) AS first,
           count(*) FILTER (WHERE holder = 'relay' AND attempts <> '[]'::jsonb) AS again,
           count(*) FILTER (WHERE holder = 'workflow') AS held,
           (SELECT count(*) FROM webhook_endpoints WHERE enabled AND failing_since IS NOT NULL) AS failing
      FROM (SELECT attempts, holder FROM webhook_deliveries WHERE status = 'pending' LIMIT :limit) AS pending
    """
)
# Endpoints that fail have themselves to blame, and what an ordered one gets may have to wait.
_OLDEST_DUE = text(
    f"""
    WITH RECURSIVE {waiting(Lane.FIRST)}
    SELECT coalesce(extract(epoch FROM now() - min(next_attempt_at)), 0)
      FROM waiting JOIN webhook_endpoints AS endpoint ON endpoint.id = waiting.endpoint_id
     WHERE next_attempt_at <= now() AND endpoint.failing_since IS NULL AND NOT endpoint.ordered
    """  # noqa: S608 - of constants only
)
BACKLOG_COUNTED_MAX: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """A failed delivery that a workflow is to carry on from here."""

    delivery_id: str
    endpoint_id: str
    event_type: str
    merchant_id: str
    payment_id: str | None
    attempts: int  # made so far
    next_attempt_at: datetime
    error: str | None  # of the latest


@dataclass(frozen=True, slots=True)
class Backlog:
    """Pending deliveries by who has them, and the endpoints that fail; each counted to `BACKLOG_COUNTED_MAX`."""

    first: int
    again: int
    held: int
    failing_endpoints: int
    oldest_due_s: float  # of the first attempts at endpoints that do not fail


async def overdue(connection: Connection, *, limit: int, overdue_s: float = OVERDUE_S) -> list[HandedOver]:
    """Some of those that a workflow should have attempted by now, and nobody attempts."""
    found = await connection.execute(_OVERDUE, {"limit": limit, "overdue_s": overdue_s})
    return [
        HandedOver(
            delivery_id=row["id"],
            endpoint_id=row["endpoint_id"],
            event_type=row["type"],
            merchant_id=row["merchant_id"],
            payment_id=row["payment_id"],
            attempts=row["attempts"],
            next_attempt_at=row["next_attempt_at"],
            error=row["error"],
        )
        for row in found.mappings()
    ]


async def return_to_relay(connection: Connection, deliveries: Sequence[HandedOver]) -> None:
    """The relay retries them itself, where no attempt was made meanwhile. A workflow that lives finds that out."""
    ids, attempts = [one.delivery_id for one in deliveries], [one.attempts for one in deliveries]
    await connection.execute(_RETURN_TO_RELAY, {"ids": ids, "attempts": attempts})


async def backlog(connection: Connection) -> Backlog:
    """What waits now."""
    counted = (await connection.execute(_BACKLOG, {"limit": BACKLOG_COUNTED_MAX})).one()
    oldest = (await connection.execute(_OLDEST_DUE)).scalar_one()
    return Backlog(counted.first, counted.again, counted.held, counted.failing, float(oldest))
