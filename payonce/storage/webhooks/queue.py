"""Deliveries are leased: by the relay, many that are due in one of two lanes; by a workflow, the one it has.

First attempts and the relay's own retries are lanes of their own, so that neither waits for the other. Each is
looked through endpoint by endpoint, with one step of an index for an endpoint: what waits for one that is slow
or down costs the others nothing, however much it is.

A delivery of an ordered endpoint waits while an earlier event of its payment is pending there.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final

from sqlalchemy import RowMapping, TextClause, text

from payonce.domain.delivery import DeliveryStatus, Holder
from payonce.domain.endpoint_health import SUCCESS_NOTED_EVERY
from payonce.sealing import Sealed
from payonce.storage.driver.connection import Connection
from payonce.storage.webhooks.completions import Lease
from payonce.storage.webhooks.secrets import StoredSecret

BLOCKED_WAIT_MIN: Final = timedelta(seconds=0.5)  # then an ordered delivery is looked at again
EARLY: Final = timedelta(seconds=1)  # Temporal's clock and Postgres's differ; the shortest delay is 5 s


class Lane(StrEnum):
    """Which of its deliveries the relay looks through; each has an index of its own."""

    FIRST = "attempts = '[]'::jsonb"
    AGAIN = "holder = 'relay' AND attempts <> '[]'::jsonb"


_EARLIER = """
    SELECT earlier.next_attempt_at
      FROM webhook_deliveries AS earlier
     WHERE earlier.status = 'pending' AND earlier.ordered AND {later}.ordered
       AND earlier.endpoint_id = {later}.endpoint_id AND earlier.payment_id = {later}.payment_id
       AND earlier.sequence < {later}.sequence
     ORDER BY earlier.sequence LIMIT 1
"""
# What an attempt needs, beside the delivery's own row.
_NEEDED = """
           CASE WHEN delivery.cause IN ('event', 'ping') AND NOT delivery.ordered
                THEN delivery.created_at END AS lag_from,
           event.created_at AS event_at, event.type AS event_type, event.payment_id, event.merchant_id, event.body,
           event.mode, endpoint.url, endpoint.secret AS plain_secret, coalesce(endpoint.enabled, false) AS wanted,
           endpoint.failures > 0 OR endpoint.last_success_at IS NULL
           OR endpoint.last_success_at < now() - CAST(:noted_every AS interval) AS troubled,
           secret.active AS secrets
"""
_JOINED = """
      JOIN events AS event ON event.id = delivery.event_id
      LEFT JOIN webhook_endpoints AS endpoint ON endpoint.id = delivery.endpoint_id
      LEFT JOIN LATERAL (
          SELECT CAST(json_agg(json_build_array(id, algorithm, key_id, encode(sealed, 'base64'), created_at)
                               ORDER BY expires_at DESC NULLS FIRST, created_at DESC, id) AS text) AS active
            FROM webhook_secrets
           WHERE endpoint_id = delivery.endpoint_id AND (expires_at IS NULL OR expires_at > now())
      ) AS secret ON true
"""


def waiting(lane: Lane) -> str:
    """The recursive table `waiting`: each endpoint that has deliveries in the lane, and when its first is due."""
    return f"""
        waiting AS (
            (SELECT endpoint_id, next_attempt_at FROM webhook_deliveries
              WHERE status = 'pending' AND {lane} ORDER BY endpoint_id, next_attempt_at LIMIT 1)
            UNION ALL
            SELECT next.endpoint_id, next.next_attempt_at
              FROM waiting CROSS JOIN LATERAL (
                  SELECT endpoint_id, next_attempt_at FROM webhook_deliveries
                   WHERE status = 'pending' AND {lane} AND endpoint_id > waiting.endpoint_id
                   ORDER BY endpoint_id, next_attempt_at LIMIT 1) AS next
        )"""  # noqa: S608 - of constants only


def _lease_due(lane: Lane) -> TextClause:
    """Rows that another relay is just leasing are skipped, not waited for; the endpoint that waits longest first."""
    return text(
        f"""
        WITH RECURSIVE {waiting(lane)}, turn AS MATERIALIZED (
            SELECT endpoint_id, least(coalesce(room.room, :room_each), :limit) AS room
              FROM waiting
              LEFT JOIN unnest(CAST(:endpoints AS text[]), CAST(:rooms AS int[])) AS room (endpoint_id, room)
             USING (endpoint_id)
             WHERE next_attempt_at <= now() AND coalesce(room.room, :room_each) > 0
             ORDER BY next_attempt_at LIMIT :limit
        ), due AS MATERIALIZED (
            SELECT candidate.* FROM turn CROSS JOIN LATERAL (
                SELECT id, endpoint_id, payment_id, sequence, ordered FROM webhook_deliveries
                 WHERE status = 'pending' AND {lane} AND endpoint_id = turn.endpoint_id
                   AND next_attempt_at <= now() AND (lease_until IS NULL OR lease_until <= now())
                 ORDER BY next_attempt_at, sequence LIMIT turn.room FOR UPDATE SKIP LOCKED) AS candidate
             LIMIT :limit
        ), judged AS MATERIALIZED (
            SELECT due.id, earlier.next_attempt_at AS blocked_until
              FROM due LEFT JOIN LATERAL ({_EARLIER.format(later="due")}) AS earlier ON due.ordered
        ), postponed AS (
            UPDATE webhook_deliveries AS delivery
               SET next_attempt_at = greatest(blocked_until, now() + CAST(:blocked_wait AS interval))
              FROM judged
             WHERE delivery.id = judged.id AND judged.blocked_until IS NOT NULL
         RETURNING delivery.id
        ), delivery AS (
            UPDATE webhook_deliveries AS delivery
               SET lease_owner = :token, lease_until = now() + make_interval(secs => :lease_s)
              FROM judged
             WHERE delivery.id = judged.id AND judged.blocked_until IS NULL
         RETURNING delivery.id, delivery.event_id, delivery.endpoint_id, delivery.sequence, delivery.cause,
                   delivery.ordered, delivery.created_at, jsonb_array_length(delivery.attempts) AS attempts
        )
        SELECT delivery.id, delivery.event_id, delivery.endpoint_id, delivery.attempts,
               (SELECT count(*) FROM due) AS due, {_NEEDED}
          FROM delivery {_JOINED}
         ORDER BY event.created_at, event.payment_id, delivery.sequence
        """  # noqa: S608 - of constants only
    )


_LEASE_DUE: Final = {lane: _lease_due(lane) for lane in Lane}
_FIND_HELD: Final = text(
    f"""
    SELECT delivery.id, delivery.event_id, delivery.endpoint_id, delivery.status, delivery.holder,
           delivery.next_attempt_at, delivery.lease_until, jsonb_array_length(delivery.attempts) AS attempts,
           clock_timestamp() AS now, ({_EARLIER.format(later="delivery")}) AS blocked_until, {_NEEDED}
      FROM webhook_deliveries AS delivery {_JOINED}
     WHERE delivery.id = :id
       FOR UPDATE OF delivery
    """  # noqa: S608 - of constants only
)
_LEASE: Final = text(
    """
    UPDATE webhook_deliveries
       SET lease_owner = :token, lease_until = now() + make_interval(secs => :lease_s)
     WHERE id = :id
    """
)
_POSTPONE: Final = text("UPDATE webhook_deliveries SET next_attempt_at = :until WHERE id = :id")
_DROP: Final = text(
    """
    UPDATE webhook_deliveries
       SET status = 'dropped', next_attempt_at = NULL, lease_owner = NULL, lease_until = NULL
     WHERE id = ANY (CAST(:ids AS text[]))
    """
)


@dataclass(frozen=True, slots=True)
class LeasedBatch:
    """What was leased, and whether there was more than that to look at."""

    leases: tuple[Lease, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class NotDue:
    """A delivery that may not be attempted now: how it stands, and if it is pending, when to look again."""

    status: DeliveryStatus
    holder: Holder
    attempts: int
    look_at: datetime | None
    reason: str | None = None


async def lease_due(
    connection: Connection,
    lane: Lane,
    *,
    token: str,
    lease_s: float,
    limit: int,
    room_each: int,
    rooms: Mapping[str, int],
) -> LeasedBatch:
    """At most `limit` due deliveries are leased, of one endpoint `room_each` or what `rooms` says.

    Deliveries whose endpoint was deleted or disabled are dropped; ordered ones that wait are looked at later.
    """
    parameters = {
        "token": token,
        "lease_s": lease_s,
        "limit": limit,
        "room_each": room_each,
        "endpoints": list(rooms),
        "rooms": list(rooms.values()),
        "blocked_wait": BLOCKED_WAIT_MIN,
        "noted_every": SUCCESS_NOTED_EVERY,
    }
    rows = (await connection.execute(_LEASE_DUE[lane], parameters)).mappings().all()
    await _drop(connection, [row["id"] for row in rows if not row["wanted"]])
    leases = tuple(_lease(row, token) for row in rows if row["wanted"])
    return LeasedBatch(leases, more=bool(rows) and rows[0]["due"] == limit)


async def lease_handed_over(
    connection: Connection, delivery_id: str, *, attempts: int, token: str, lease_s: float
) -> Lease | NotDue | None:
    """The lease on a delivery that is with a workflow, if `attempts` were made and the next is due; else why not.

    None: there is no such delivery. One that nobody wants any more is dropped.
    """
    found = await connection.execute(_FIND_HELD, {"id": delivery_id, "noted_every": SUCCESS_NOTED_EVERY})
    row = found.mappings().one_or_none()
    if row is None:
        return None
    standing = _standing(row, expected=attempts)
    if standing is not None:
        return standing
    if not row["wanted"]:
        await _drop(connection, [delivery_id])
        return NotDue(
            DeliveryStatus.DROPPED, Holder.WORKFLOW, row["attempts"], None, "the endpoint is gone or disabled"
        )
    if row["blocked_until"] is not None:
        until = max(row["blocked_until"], row["now"] + BLOCKED_WAIT_MIN)
        await connection.execute(_POSTPONE, {"id": delivery_id, "until": until})
        return NotDue(
            DeliveryStatus.PENDING, Holder.WORKFLOW, row["attempts"], until, "an earlier event comes first"
        )
    await connection.execute(_LEASE, {"id": delivery_id, "token": token, "lease_s": lease_s})
    return _lease(row, token)


def _standing(row: RowMapping, *, expected: int) -> NotDue | None:
    """Why the delivery may not be attempted, whoever wants it; None if it may."""
    leased = row["lease_until"] is not None and row["lease_until"] > row["now"]
    look_at = row["lease_until"] if leased else row["next_attempt_at"]
    standing = NotDue(DeliveryStatus(row["status"]), Holder(row["holder"]), row["attempts"], look_at)
    waits = standing.status is DeliveryStatus.PENDING and standing.holder is Holder.WORKFLOW
    if not waits or standing.attempts != expected:
        return standing
    return standing if leased or row["next_attempt_at"] > row["now"] + EARLY else None


async def _drop(connection: Connection, ids: Sequence[str]) -> None:
    if ids:
        await connection.execute(_DROP, {"ids": ids})


def _lease(row: RowMapping, token: str) -> Lease:
    return Lease(
        delivery_id=row["id"],
        token=token,
        event_id=row["event_id"],
        event_type=row["event_type"],
        event_at=row["event_at"],
        lag_from=row["lag_from"],
        payment_id=row["payment_id"],
        merchant_id=row["merchant_id"],
        body=bytes(row["body"]),
        attempts=row["attempts"],
        endpoint_id=row["endpoint_id"],
        mode=row["mode"],
        url=row["url"],
        secrets=_secrets(row["endpoint_id"], row["secrets"]),
        plain_secret=row["plain_secret"],
        troubled=bool(row["troubled"]),
    )


@lru_cache(maxsize=10_000)
def _secrets(endpoint_id: str, active: str | None) -> tuple[StoredSecret, ...]:
    """The active ones, still sealed, the current one first. They come with every delivery, and seldom change."""
    return tuple(
        StoredSecret(
            id=id_,
            endpoint_id=endpoint_id,
            algorithm=algorithm,
            sealed=Sealed(key_id, base64.b64decode(data)),
            created_at=datetime.fromisoformat(created_at),
        )
        for id_, algorithm, key_id, data, created_at in json.loads(active or "[]")
    )
