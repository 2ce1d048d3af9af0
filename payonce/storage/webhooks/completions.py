"""Deliveries as they are worked on: leased (`queue`), attempted outside any transaction, completed.

A lease is a token that no other lease has, and an end. Until the end nobody else leases the delivery; after
it anyone may, so that a relay which died between sending and completing costs a second sending and no event.
A completion counts only while its token is on the row, however late it comes.

A delivery that failed is with the relay or with a `WebhookDeliveryWorkflow`: the row's `holder` says with whom,
and nobody else looks for it. Whoever attempts it has a lease first, so two of them cannot both send it.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, text

from payonce.domain.delivery import DeliveryStatus, Holder
from payonce.domain.endpoint_health import OPERATIONAL_PREFIX, EndpointEvent
from payonce.storage.driver.connection import Connection
from payonce.storage.webhooks import endpoint_health
from payonce.storage.webhooks.secrets import StoredSecret

HANDED_OVER_MAX = 200  # workflows of one endpoint, about; what fails beyond them is retried by the relay

# A delivery that would be tried again is dropped instead if nobody wants it any more.
_COMPLETE = text(
    """
    WITH completion AS (
        SELECT done.id, done.token, done.attempt, done.delay_s,
               CASE WHEN done.status = 'pending' AND endpoint.id IS NULL THEN 'dropped'
                    ELSE done.status END AS status,
               done.status = 'pending' AND CAST(:hand_over AS boolean) AND (
                   SELECT count(*) FROM (
                       SELECT FROM webhook_deliveries AS held
                        WHERE held.endpoint_id = taken.endpoint_id
                          AND held.status = 'pending' AND held.holder = 'workflow'
                        LIMIT CAST(:held_max AS bigint)) AS counted) < CAST(:held_max AS bigint) AS hand_over
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
           holder = CASE WHEN completion.hand_over THEN 'workflow' ELSE delivery.holder END,
           lease_owner = NULL, lease_until = NULL
      FROM completion
     WHERE delivery.id = completion.id AND delivery.lease_owner = completion.token
 RETURNING delivery.id, delivery.status, delivery.holder, delivery.next_attempt_at, delivery.ordered,
           jsonb_array_length(delivery.attempts) AS attempts
    """
)
# What waited for an earlier event of its payment; it is looked at again, and waits on if there is another.
_WAKE_LATER = text(
    """
    UPDATE webhook_deliveries AS later
       SET next_attempt_at = now()
      FROM webhook_deliveries AS done
     WHERE done.id = ANY (CAST(:ids AS text[]))
       AND later.status = 'pending' AND later.ordered AND later.attempts = '[]'::jsonb
       AND later.endpoint_id = done.endpoint_id AND later.payment_id = done.payment_id
       AND later.sequence > done.sequence AND later.next_attempt_at > now()
    """
)
# Of an ordered endpoint: what later events waited for has arrived by another delivery of the same event.
_SUPERSEDE = text(
    """
    UPDATE webhook_deliveries AS old
       SET status = 'succeeded', next_attempt_at = NULL, lease_owner = NULL, lease_until = NULL
      FROM webhook_deliveries AS done
     WHERE done.id = ANY (CAST(:ids AS text[]))
       AND old.status = 'pending' AND old.ordered AND old.endpoint_id = done.endpoint_id
       AND old.payment_id = done.payment_id AND old.sequence = done.sequence AND old.event_id = done.event_id
       AND (old.lease_until IS NULL OR old.lease_until <= now())
    """
)
_STILL_LEASED = text(
    """
    SELECT delivery.id
      FROM webhook_deliveries AS delivery
      JOIN unnest(CAST(:ids AS text[]), CAST(:tokens AS text[])) AS lease (id, token)
        ON delivery.id = lease.id AND delivery.lease_owner = lease.token
     ORDER BY delivery.id
       FOR UPDATE OF delivery
    """
)
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
    event_type: str
    event_at: datetime
    lag_from: datetime | None = None  # since when it waits for us, where its first attempt is due at once
    payment_id: str | None
    merchant_id: str
    body: bytes = field(repr=False)  # as it is stored: `unpack_event` makes of it what is sent
    attempts: int  # completed ones
    endpoint_id: str
    mode: str
    url: str
    secrets: tuple[StoredSecret, ...] = field(repr=False)
    plain_secret: str | None = field(default=None, repr=False)  # of the first release, until it is sealed
    troubled: bool = False  # whether a success has to be noted on the endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What an attempt comes to.

    `pending`: tried again after `delay_s`. `gone_url`: the endpoint at this URL wants no more.
    """

    delivery_id: str
    token: str
    event_id: str
    event_type: str
    endpoint_id: str
    attempt: Mapping[str, Any]
    status: DeliveryStatus
    delay_s: float | None = None
    gone_url: str | None = None
    troubled: bool = False


@dataclass(frozen=True, slots=True)
class RecordedCompletion:
    """The delivery as a completion left it."""

    status: DeliveryStatus
    holder: Holder
    attempts: int
    next_attempt_at: datetime | None


async def complete(
    connection: Connection,
    completions: Sequence[Completion],
    *,
    hand_over: bool = False,
    now: datetime | None = None,
) -> dict[str, RecordedCompletion]:
    """The deliveries whose lease still held, by id: their attempt is on record. Safe to repeat.

    With `hand_over`, those to be tried again are with a workflow from the commit on, unless their endpoint
    has `HANDED_OVER_MAX` already. The health of endpoints is judged by `now`, the database's clock where it is None.
    """
    if not completions:
        return {}
    concerned = {
        item.endpoint_id for item in completions if item.troubled or item.status != DeliveryStatus.SUCCEEDED
    }
    patients = await endpoint_health.lock(connection, concerned, now=now)
    await endpoint_health.disable_gone(connection, patients, await _gone(connection, completions))
    recorded = await _complete(connection, completions, hand_over=hand_over)
    disabled = await _note_health(connection, completions, recorded, patients)
    return {
        item.delivery_id: _unless_dropped(recorded[item.delivery_id], dropped=item.endpoint_id in disabled)
        for item in completions
        if item.delivery_id in recorded
    }


async def release(connection: Connection, leases: Sequence[Lease]) -> None:
    """Anyone may lease the deliveries at once. Leases that somebody else has by now stay."""
    parameters = {
        "ids": [lease.delivery_id for lease in leases],
        "tokens": [lease.token for lease in leases],
    }
    await connection.execute(_RELEASE, parameters)


async def _gone(connection: Connection, completions: Sequence[Completion]) -> set[tuple[str, str]]:
    """The endpoints, with their URLs, that want no more, by attempts whose lease still holds."""
    gone = [item for item in completions if item.gone_url is not None]
    if not gone:
        return set()
    leases = {"ids": [item.delivery_id for item in gone], "tokens": [item.token for item in gone]}
    held = set((await connection.execute(_STILL_LEASED, leases)).scalars())
    return {(item.endpoint_id, item.gone_url) for item in gone if item.gone_url and item.delivery_id in held}


async def _complete(
    connection: Connection, completions: Sequence[Completion], *, hand_over: bool
) -> dict[str, RecordedCompletion]:
    parameters = {
        "ids": [completion.delivery_id for completion in completions],
        "tokens": [completion.token for completion in completions],
        "attempts": [json.dumps(dict(completion.attempt)) for completion in completions],
        "statuses": [str(completion.status) for completion in completions],
        "delays_s": [completion.delay_s for completion in completions],
        "hand_over": hand_over,
        "held_max": HANDED_OVER_MAX,
    }
    rows = (await connection.execute(_COMPLETE, parameters)).mappings().all()
    ended = [row["id"] for row in rows if row["ordered"] and row["status"] != DeliveryStatus.PENDING]
    if ended:
        succeeded = [
            row["id"] for row in rows if row["ordered"] and row["status"] == DeliveryStatus.SUCCEEDED
        ]
        await connection.execute(_SUPERSEDE, {"ids": succeeded})
        await connection.execute(_WAKE_LATER, {"ids": ended})
    return {row["id"]: _recorded(row) for row in rows}


def _recorded(row: RowMapping) -> RecordedCompletion:
    status, holder = DeliveryStatus(row["status"]), Holder(row["holder"])
    return RecordedCompletion(status, holder, row["attempts"], row["next_attempt_at"])


async def _note_health(
    connection: Connection,
    completions: Sequence[Completion],
    recorded: Mapping[str, RecordedCompletion],
    patients: Mapping[str, endpoint_health.Patient],
) -> Collection[str]:
    """The ids of the endpoints that were disabled. A completion that did not hold says nothing."""
    held = [item for item in completions if item.delivery_id in recorded and item.endpoint_id in patients]
    for item in held:
        if item.status == DeliveryStatus.EXHAUSTED and not item.event_type.startswith(OPERATIONAL_PREFIX):
            about = {"delivery": item.delivery_id, "event": item.event_id}
            patient = patients[item.endpoint_id]
            await endpoint_health.tell(connection, patient, EndpointEvent.EXHAUSTED, about=about)
    results: dict[str, list[bool]] = {}
    for item in held:
        results.setdefault(item.endpoint_id, []).append(item.status == DeliveryStatus.SUCCEEDED)
    return await endpoint_health.note(connection, patients, results)


def _unless_dropped(recorded: RecordedCompletion, *, dropped: bool) -> RecordedCompletion:
    if dropped and recorded.status is DeliveryStatus.PENDING:
        return replace(recorded, status=DeliveryStatus.DROPPED, next_attempt_at=None)
    return recorded
