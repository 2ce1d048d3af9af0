"""Deliveries that no state change made: of an event once more, of what an endpoint missed, of a ping.

Each is a new delivery of the event's own bytes under the event's own id. Many at a time are a job, which a
workflow carries out page by page.
"""

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from sqlalchemy import RowMapping, insert, or_, select, text

from payonce.domain.answers import event_body
from payonce.domain.ids import random_id
from payonce.storage.driver.connection import Connection
from payonce.storage.events import PING
from payonce.storage.spans import Span, written_in
from payonce.storage.tables import events
from payonce.storage.tables import webhook_deliveries as deliveries
from payonce.storage.tables import webhook_endpoints as endpoints
from payonce.storage.tables import webhook_jobs as jobs
from payonce.storage.webhooks.endpoints import ENDPOINT_COLUMNS, Endpoint, endpoint_from, endpoint_view

EVENTS_KEPT: Final = timedelta(days=30)  # at least: nothing deletes events today
JOB_EVENTS_MAX: Final = 100_000

Cause = Literal["redelivery", "ping"]
JobKind = Literal["recover", "replay"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Deliveries to one endpoint of the events in [since, until) that have one of the types, or any (`*`).

    `recover`: only of those that the endpoint never got; what failed and waits is due now instead.
    `replay`: of all of them.
    """

    id: str
    merchant_id: str
    mode: str
    endpoint_id: str
    kind: str
    since: datetime
    until: datetime
    types: tuple[str, ...]
    total: int  # at most `JOB_EVENTS_MAX`, as of its beginning
    request_id: str | None
    created_at: datetime
    done: int = 0
    state: str = "pending"
    finished_at: datetime | None = None


# Of many events. Those about endpoints (pings, troubles) were meant for others, or for a moment.
IS_DELIVERED_AGAIN: Final = "NOT starts_with(type, 'webhook_endpoint.')"

_JOB_COLUMNS = tuple(jobs.c[field.name] for field in fields(Job))
# A delivery is not older than its event, but for the clocks of two machines. Both sides are read in one go: with
# 400,000 events in the span that took 0.4 s, and looking into the deliveries of each 1.8 s.
_READ_IN_ONE_GO = text("SET LOCAL enable_nestloop = off")  # else, without statistics yet, it takes for ever
_COUNT = text(
    f"""
    WITH got AS MATERIALIZED (
        SELECT event_id FROM webhook_deliveries
         WHERE :kind = 'recover' AND endpoint_id = :endpoint_id AND created_at >= :since - interval '1 minute'
           AND (status = 'succeeded' OR status = 'pending' AND attempts = '[]'::jsonb)
    )
    SELECT count(*) FROM (
        SELECT FROM events AS event
         WHERE event.merchant_id = :merchant_id AND event.mode = :mode
           AND event.xid BETWEEN CAST(:first AS xid8) AND CAST(:last AS xid8)
           AND event.created_at >= :since AND event.created_at < :until
           AND {IS_DELIVERED_AGAIN} AND ('*' = ANY (CAST(:types AS text[])) OR event.type = ANY (:types))
           AND NOT EXISTS (SELECT FROM got WHERE got.event_id = event.id)
         LIMIT :limit
    ) AS wanted
    """  # noqa: S608 - of constants only
)


async def subscribers(
    connection: Connection, event_type: str, *, merchant_id: str, mode: str
) -> list[Endpoint]:
    """The merchant's enabled endpoints that want events of this type, oldest first."""
    wanted = or_(endpoints.c.events.has_key("*"), endpoints.c.events.has_key(event_type))
    query = (
        select(*ENDPOINT_COLUMNS)
        .where(endpoints.c.merchant_id == merchant_id, endpoints.c.mode == mode, endpoints.c.enabled, wanted)
        .order_by(endpoints.c.created_at, endpoints.c.id)
    )
    return [endpoint_from(row) for row in (await connection.execute(query)).mappings()]


async def deliver_again(
    connection: Connection,
    event: RowMapping,
    to: Sequence[Endpoint],
    *,
    cause: Cause,
    now: datetime,
) -> list[RowMapping]:
    """A new delivery of the event to each endpoint, due at once; their rows. `event` is a row of `events`."""
    rows = [
        {
            "id": "dlv_" + secrets.token_hex(12),
            "event_id": event["id"],
            "endpoint_id": endpoint.id,
            "payment_id": event["payment_id"],
            "sequence": event["sequence"],
            "ordered": endpoint.ordered,
            "cause": cause,
            "next_attempt_at": now,
            "created_at": now,
        }
        for endpoint in to
    ]
    if not rows:
        return []
    inserted = await connection.execute(insert(deliveries).returning(deliveries), rows)
    return list(inserted.mappings())


async def add_ping(connection: Connection, endpoint: Endpoint, *, now: datetime) -> RowMapping:
    """A `webhook_endpoint.ping` and its delivery to this endpoint only; the event's row."""
    event_id = random_id("evt")
    values = {
        "id": event_id,
        "merchant_id": endpoint.merchant_id,
        "mode": endpoint.mode,
        "payment_id": None,
        "sequence": 0,
        "type": PING,
        "body": event_body(event_id=event_id, type_=PING, at=now, sequence=0, data=endpoint_view(endpoint)),
        "created_at": now,
    }
    inserted = await connection.execute(insert(events).values(values).returning(events))
    row: RowMapping = inserted.mappings().one()
    await deliver_again(connection, row, [endpoint], cause="ping", now=now)
    return row


async def add_job(
    connection: Connection,
    endpoint: Endpoint,
    *,
    kind: JobKind,
    since: datetime,
    until: datetime,
    types: Sequence[str],
    request_id: str | None,
    now: datetime,
) -> Job:
    """The job waits to be started; the relay's sweep starts those that nobody else did.

    The last thing that its transaction does: Postgres plans the rest of it differently.
    """
    job = Job(
        id=random_id("whj"),
        merchant_id=endpoint.merchant_id,
        mode=endpoint.mode,
        endpoint_id=endpoint.id,
        kind=kind,
        since=since,
        until=until,
        types=tuple(types),
        total=0,
        request_id=request_id,
        created_at=now,
    )
    values = {**asdict(job), "types": list(job.types)}
    written = await written_in(connection, events, Span(since, until))
    if written is not None:
        await connection.execute(_READ_IN_ONE_GO)
        bounds = {"first": str(written[0]), "last": str(written[1]), "limit": JOB_EVENTS_MAX}
        job = replace(job, total=(await connection.execute(_COUNT, {**values, **bounds})).scalar_one())
    await connection.execute(insert(jobs), {**values, "total": job.total})
    return job


async def find_job(connection: Connection, job_id: str, *, merchant_id: str, mode: str) -> Job | None:
    """The merchant's job; another merchant's is not there."""
    query = select(*_JOB_COLUMNS).where(
        jobs.c.id == job_id, jobs.c.merchant_id == merchant_id, jobs.c.mode == mode
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else Job(**{**row, "types": tuple(row["types"])})
