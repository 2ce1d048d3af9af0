"""Deliveries as the relay works on them: taken with a lease, attempted outside any transaction, completed.

A lease is a token that no other taking has, and an end. Until the end nobody else takes the delivery; after
it anyone may, so that a relay which died between sending and completing costs a second sending and no event.
A completion counts only while its token is on the row, however late it comes.

A delivery that failed stays in this table with its `next_attempt_at`, and the relay takes it again when that
is due. (Handing it to a `WebhookDeliveryWorkflow`, as design.md §1 has it, is issue 5.)
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from payonce.storage.endpoints import drop_pending

# Rows that another relay is just taking are skipped, not waited for; an endpoint gets no more than its room.
_TAKE = text(
    """
    WITH due AS MATERIALIZED (
        SELECT id, endpoint_id, next_attempt_at
          FROM webhook_deliveries
         WHERE status = 'pending' AND next_attempt_at <= now()
           AND (lease_until IS NULL OR lease_until <= now())
           AND endpoint_id <> ALL (CAST(:full AS text[]))
         ORDER BY next_attempt_at
         LIMIT :limit
           FOR UPDATE SKIP LOCKED
    ), placed AS (
        SELECT id, coalesce(room.room, :room_each) AS room,
               row_number() OVER (PARTITION BY endpoint_id ORDER BY next_attempt_at, id) AS place
          FROM due
          LEFT JOIN unnest(CAST(:endpoints AS text[]), CAST(:rooms AS int[])) AS room (endpoint_id, room)
         USING (endpoint_id)
    ), leased AS (
        UPDATE webhook_deliveries AS delivery
           SET lease_owner = :token, lease_until = now() + make_interval(secs => :lease_s)
          FROM placed
         WHERE delivery.id = placed.id AND placed.place <= placed.room
     RETURNING delivery.id, delivery.event_id, delivery.endpoint_id, jsonb_array_length(attempts) AS attempts
    )
    SELECT leased.id, leased.event_id, leased.endpoint_id, leased.attempts,
           event.created_at AS event_at, event.body,
           endpoint.mode, endpoint.url, endpoint.secret, coalesce(endpoint.enabled, false) AS wanted,
           (SELECT count(*) FROM due) AS due
      FROM leased
      JOIN events AS event ON event.id = leased.event_id
      LEFT JOIN webhook_endpoints AS endpoint ON endpoint.id = leased.endpoint_id
     ORDER BY event.created_at, event.payment_id, event.sequence
    """
)
_DROP = text(
    """
    UPDATE webhook_deliveries
       SET status = 'dropped', next_attempt_at = NULL, lease_owner = NULL, lease_until = NULL
     WHERE id = ANY (CAST(:ids AS text[]))
    """
)
# A delivery that would be tried again is dropped instead if nobody wants it any more.
_COMPLETE = text(
    """
    WITH completion AS (
        SELECT done.id, done.token, done.attempt, done.delay_s,
               CASE WHEN done.status = 'pending' AND endpoint.id IS NULL THEN 'dropped'
                    ELSE done.status END AS status
          FROM unnest(CAST(:ids AS text[]), CAST(:tokens AS text[]), CAST(:attempts AS text[]),
                      CAST(:statuses AS text[]), CAST(:delays_s AS float8[]))
               AS done (id, token, attempt, status, delay_s)
          JOIN webhook_deliveries AS taken ON taken.id = done.id
          LEFT JOIN webhook_endpoints AS endpoint ON endpoint.id = taken.endpoint_id AND endpoint.enabled
    )
    UPDATE webhook_deliveries AS delivery
       SET status = completion.status,
           attempts = delivery.attempts || CAST(completion.attempt AS jsonb),
           next_attempt_at = CASE WHEN completion.status = 'pending'
                                  THEN now() + make_interval(secs => completion.delay_s) END,
           lease_owner = NULL, lease_until = NULL
      FROM completion
     WHERE delivery.id = completion.id AND delivery.lease_owner = completion.token
 RETURNING delivery.id
    """
)
_DISABLE = text("UPDATE webhook_endpoints SET enabled = false WHERE id = :id AND url = :url RETURNING id")
_RELEASE = text(
    """
    UPDATE webhook_deliveries AS delivery
       SET lease_owner = NULL, lease_until = NULL
      FROM unnest(CAST(:ids AS text[]), CAST(:tokens AS text[])) AS lease (id, token)
     WHERE delivery.id = lease.id AND delivery.lease_owner = lease.token
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A delivery that nobody else attempts for now, and all that an attempt needs."""

    delivery_id: str
    token: str
    event_id: str
    event_at: datetime
    body: bytes = field(repr=False)
    attempts: int  # completed ones
    endpoint_id: str
    mode: str
    url: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken, and whether there was more than that to look at."""

    leases: tuple[Lease, ...]
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What an attempt comes to.

    `pending`: tried again after `delay_s`. `gone_url`: the endpoint at this URL wants no more.
    """

    delivery_id: str
    token: str
    endpoint_id: str
    attempt: Mapping[str, Any]
    status: Literal["pending", "succeeded", "exhausted", "dropped"]
    delay_s: float | None = None
    gone_url: str | None = None


async def take_due(
    connection: AsyncConnection,
    *,
    token: str,
    lease_s: float,
    limit: int,
    room_each: int,
    rooms: Mapping[str, int],
) -> Taken:
    """At most `limit` due deliveries are leased, of one endpoint `room_each` or what `rooms` says.

    Deliveries whose endpoint was deleted or disabled are dropped.
    """
    parameters = {
        "token": token,
        "lease_s": lease_s,
        "limit": limit,
        "room_each": room_each,
        "full": [endpoint_id for endpoint_id, room in rooms.items() if room <= 0],
        "endpoints": list(rooms),
        "rooms": list(rooms.values()),
    }
    rows = (await connection.execute(_TAKE, parameters)).mappings().all()
    unwanted = [row["id"] for row in rows if not row["wanted"]]
    if unwanted:
        await connection.execute(_DROP, {"ids": unwanted})
    leases = tuple(_lease(row, token) for row in rows if row["wanted"])
    return Taken(leases, more=bool(rows) and (rows[0]["due"] == limit or rows[0]["due"] > len(rows)))


async def complete(connection: AsyncConnection, completions: Sequence[Completion]) -> frozenset[str]:
    """The ids of the deliveries whose lease still held: their attempt is on record. Safe to repeat."""
    if not completions:
        return frozenset()
    await _disable_gone(connection, completions)
    parameters = {
        "ids": [completion.delivery_id for completion in completions],
        "tokens": [completion.token for completion in completions],
        "attempts": [json.dumps(dict(completion.attempt)) for completion in completions],
        "statuses": [completion.status for completion in completions],
        "delays_s": [completion.delay_s for completion in completions],
    }
    held = await connection.execute(_COMPLETE, parameters)
    return frozenset(held.scalars())


async def release(connection: AsyncConnection, leases: Sequence[Lease]) -> None:
    """Anyone may take the deliveries at once. Leases that somebody else holds by now stay."""
    parameters = {
        "ids": [lease.delivery_id for lease in leases],
        "tokens": [lease.token for lease in leases],
    }
    await connection.execute(_RELEASE, parameters)


async def _disable_gone(connection: AsyncConnection, completions: Sequence[Completion]) -> None:
    """Endpoints that said 410 are disabled, unless they got another URL in the meantime."""
    gone = {(item.endpoint_id, item.gone_url) for item in completions if item.gone_url is not None}
    for endpoint_id, url in sorted(gone, key=str):  # in one order, so that two relays cannot deadlock
        disabled = await connection.execute(_DISABLE, {"id": endpoint_id, "url": url})
        if disabled.first() is not None:
            await drop_pending(connection, endpoint_id)


def _lease(row: RowMapping, token: str) -> Lease:
    return Lease(
        delivery_id=row["id"],
        token=token,
        event_id=row["event_id"],
        event_at=row["event_at"],
        body=bytes(row["body"]),
        attempts=row["attempts"],
        endpoint_id=row["endpoint_id"],
        mode=row["mode"],
        url=row["url"],
        secret=row["secret"],
    )
