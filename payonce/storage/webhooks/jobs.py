"""A job's deliveries, page by page: each page and the job's new place are one transaction.

A page is a stretch of the merchant's events, in the order of the transactions that wrote them, and not a number of
matches, so that a job that finds little to do never reads long in one statement: so many of the span, or so many
that the index alone tells are of another time. What had ended when the job was made goes first, as far as it wrote
anything of the span. What was being written then follows, each transaction as soon as all below it have ended,
however long that takes; so nothing is passed over. What began after the job is not its.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import RowMapping, text

from payonce.storage.driver.connection import Connection
from payonce.storage.spans import Span, written_in
from payonce.storage.tables import events
from payonce.storage.webhooks.redeliveries import IS_DELIVERED_AGAIN, JOB_EVENTS_MAX

PAGE_EVENTS: Final = 500
# Of the index, for a page: hours of a busy merchant's may lie between a transaction bound and the span (`spans`).
REACH_EVENTS: Final = 20_000
BACKLOG_MAX: Final = 1_000  # due deliveries of the endpoint; live events must not wait behind a job
UNSTARTED_AFTER_S: Final = 10.0
CLOCKS_DIFFER: Final = timedelta(minutes=1)  # a recovery ends with its transaction, not with its own clock

# Jobs of one endpoint take turns, so that each sees what the others made.
_LOCK_ENDPOINT: Final = text(
    """
    SELECT id FROM webhook_endpoints
     WHERE id = (SELECT endpoint_id FROM webhook_jobs WHERE id = :id)
       FOR NO KEY UPDATE
    """
)
_JOB: Final = text(
    """
    SELECT job.*, endpoint.id IS NOT NULL AS wanted, coalesce(endpoint.ordered, false) AS ordered,
           (SELECT count(*) FROM (
               SELECT FROM webhook_deliveries AS first
                WHERE first.endpoint_id = job.endpoint_id AND first.status = 'pending'
                  AND first.attempts = '[]'::jsonb AND first.next_attempt_at <= now()
               UNION ALL
               SELECT FROM webhook_deliveries AS again
                WHERE again.endpoint_id = job.endpoint_id AND again.status = 'pending'
                  AND again.holder = 'relay' AND again.attempts <> '[]'::jsonb AND again.next_attempt_at <= now()
                LIMIT :backlog_max + 1) AS counted) AS backlog
      FROM webhook_jobs AS job
      LEFT JOIN webhook_endpoints AS endpoint ON endpoint.id = job.endpoint_id AND endpoint.enabled
     WHERE job.id = :id
       FOR UPDATE OF job
    """
)
_NEXT: Final = """
          FROM events
         WHERE merchant_id = :merchant_id AND mode = :mode
           AND (xid, created_at) > (CAST(:after_xid AS xid8), :after_at) AND xid < CAST(:before_xid AS xid8)
           AND xid < pg_snapshot_xmin(pg_current_snapshot())
"""
# Each event's deliveries are looked up by themselves (`OFFSET 0`), and by the event (`|| ''`): else, as long as there
# are no statistics of a table that grows quickly, Postgres reads all of the endpoint's for each event.
# What failed and waits is due now, with the relay: a workflow that has it sleeps until the time it knew.
_TAKE: Final = text(
    f"""
    WITH reach AS MATERIALIZED (
        SELECT xid, created_at {_NEXT} ORDER BY xid, created_at OFFSET :reach - 1 LIMIT 1
    ), page AS MATERIALIZED (
        SELECT id, type, payment_id, sequence, created_at, xid {_NEXT}
           AND (xid, created_at) <= (coalesce((SELECT xid FROM reach), CAST(:before_xid AS xid8)),
                                     coalesce((SELECT created_at FROM reach), 'infinity'))
           AND created_at >= :since AND created_at < :until
         ORDER BY xid, created_at FETCH FIRST :page ROWS WITH TIES
    ), missed AS MATERIALIZED (
        SELECT page.* FROM page
         WHERE {IS_DELIVERED_AGAIN}
           AND ('*' = ANY (CAST(:types AS text[])) OR page.type = ANY (CAST(:types AS text[])))
           AND (:kind = 'replay' OR NOT EXISTS (
               SELECT FROM webhook_deliveries AS delivery
                WHERE delivery.event_id = page.id AND delivery.endpoint_id || '' = :endpoint_id
                  AND (delivery.status = 'succeeded'
                       OR delivery.status = 'pending' AND delivery.attempts = '[]'::jsonb)
               OFFSET 0))
         ORDER BY created_at, sequence LIMIT :left
    ), waiting AS MATERIALIZED (
        SELECT delivery.id, missed.id AS event_id FROM missed
         CROSS JOIN LATERAL (
               SELECT id FROM webhook_deliveries AS delivery
                WHERE delivery.event_id = missed.id AND delivery.endpoint_id || '' = :endpoint_id
                  AND delivery.status = 'pending'
               OFFSET 0) AS delivery
    ), hastened AS (
        UPDATE webhook_deliveries AS delivery
           SET next_attempt_at = least(delivery.next_attempt_at, now()), holder = 'relay'
          FROM waiting
         WHERE :kind = 'recover' AND delivery.id = waiting.id
           AND delivery.status = 'pending' AND (delivery.lease_until IS NULL OR delivery.lease_until <= now())
     RETURNING delivery.event_id
    ), wanted AS (
        SELECT missed.* FROM missed
         WHERE :kind = 'replay' OR NOT EXISTS (SELECT FROM waiting WHERE waiting.event_id = missed.id)
    ), inserted AS (
        INSERT INTO webhook_deliveries
               (id, event_id, endpoint_id, payment_id, sequence, ordered, cause, next_attempt_at, created_at)
        SELECT 'dlv_' || substr(md5(CAST(:id AS text) || wanted.id), 1, 24), wanted.id, :endpoint_id,
               wanted.payment_id, wanted.sequence, CAST(:ordered AS boolean), :cause, now(), now()
          FROM wanted
            ON CONFLICT (id) DO NOTHING
     RETURNING id
    )
    SELECT counted.filled OR EXISTS (SELECT FROM reach) AS more,
           CAST(last.xid AS text) AS position_xid, last.created_at AS position_at,
           (SELECT count(*) FROM inserted) + (SELECT count(DISTINCT event_id) FROM hastened) AS made,
           pg_snapshot_xmin(pg_current_snapshot()) >= CAST(:xid AS xid8) AS settled
      FROM (SELECT count(*) >= :page AS filled FROM page) AS counted
      LEFT JOIN LATERAL (
            SELECT xid, created_at FROM page
             UNION ALL
            SELECT xid, created_at FROM reach WHERE NOT counted.filled
             ORDER BY xid DESC, created_at DESC LIMIT 1) AS last ON true
    """  # noqa: S608 - of constants only
)
_MOVE: Final = text(
    """
    UPDATE webhook_jobs
       SET done = :done, position_at = :position_at, position_xid = CAST(:position_xid AS xid8), state = :state,
           finished_at = CASE WHEN :ended THEN now() END
     WHERE id = :id
    """
)
_UNSTARTED: Final = text(
    """
    SELECT id FROM webhook_jobs
     WHERE state IN ('pending', 'running') AND created_at < now() - make_interval(secs => :age_s)
     ORDER BY random() LIMIT :limit
    """
)
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC)  # in any zone of a session a time that Python has
_CAUSES: Final = {"recover": "recovery", "replay": "replay"}


@dataclass(frozen=True, slots=True)
class JobPage:
    """Where the job is. `obstacle`: why nothing was taken this time."""

    done: int
    total: int
    state: str
    obstacle: str | None = None

    @property
    def ended(self) -> bool:
        return self.state in ("finished", "failed")


class JobPages:
    """Takes the pages of jobs."""

    async def take_page(self, connection: Connection, job_id: str) -> JobPage | None:
        """The next events have a delivery each and the job's place is behind them; None: there is no such job.

        In a recovery, what failed and waits is due now instead. The job ends as `finished` at its last event or
        at the cap, and as `failed` without an enabled endpoint.
        """
        await connection.execute(_LOCK_ENDPOINT, {"id": job_id})
        found = await connection.execute(_JOB, {"id": job_id, "backlog_max": BACKLOG_MAX})
        job = found.mappings().one_or_none()
        if job is None:
            return None
        if job["state"] in ("finished", "failed"):
            return JobPage(job["done"], job["total"], job["state"])
        if not job["wanted"]:
            return await _move(connection, job, state="failed")
        if job["backlog"] > BACKLOG_MAX:
            page = await _move(connection, job, state="running")
            return JobPage(
                page.done, page.total, page.state, f"{BACKLOG_MAX} deliveries wait for the endpoint"
            )
        return await self._take(connection, job)

    async def _take(self, connection: Connection, job: RowMapping) -> JobPage:
        stretch = await _stretch(connection, job)
        taken = (await connection.execute(_TAKE, _parameters(job, stretch))).mappings().one()
        made, last = job["done"] + taken["made"], not taken["more"]
        xid, at = taken["position_xid"], taken["position_at"]
        behind = stretch.after if xid is None else _Place(int(xid), at)
        if stretch.old and last:
            behind = _newer(job)
        if made >= JOB_EVENTS_MAX or (last and taken["settled"] and not stretch.old):
            return await _move(connection, job, behind, made=made, state="finished")
        page = await _move(connection, job, behind, made=made, state="running")
        waits = last and not stretch.old
        return JobPage(
            page.done, page.total, page.state, "the newest events are being written" if waits else None
        )


class _Place(NamedTuple):
    """Behind which events a job is: of one transaction and one time, which no page parts."""

    xid: int
    at: datetime


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Where the next page begins, and the transaction before which it ends. `old`: more follows behind it."""

    after: _Place
    before_xid: int
    old: bool


async def _stretch(connection: Connection, job: RowMapping) -> _Stretch:
    """First what the transactions wrote that had ended when the job was made: nothing joins it, and only those are
    read that wrote something of the span. Then the others.
    """
    newer, place = _newer(job), _place(job)
    if place is not None and place.xid >= newer.xid:
        return _Stretch(place, int(job["xid"]), old=False)
    written = await written_in(connection, events, Span(job["since"], _until(job)))
    if written is None:
        return _Stretch(newer, int(job["xid"]), old=False)
    first, last = written
    begins = _Place(first, _EARLIEST)
    return _Stretch(max(place or begins, begins), min(last, newer.xid) + 1, old=True)


def _newer(job: RowMapping) -> _Place:
    """Behind everything of transactions that had ended when the job was made."""
    return _Place(int(job["oldest_running"]) - 1, _LATEST)


def _place(job: RowMapping) -> _Place | None:
    """None: at the beginning, where a process of an earlier release, which went by time alone, may have been."""
    if job["position_xid"] is None:
        return None
    return _Place(int(job["position_xid"]), job["position_at"] or _LATEST)


def _until(job: RowMapping) -> datetime:
    until: datetime = job["until"]
    return until + CLOCKS_DIFFER if job["kind"] == "recover" else until


async def unstarted(connection: Connection, *, limit: int, age_s: float = UNSTARTED_AFTER_S) -> list[str]:
    """Some jobs that did not end and are older than that: they may have no workflow."""
    return list((await connection.execute(_UNSTARTED, {"limit": limit, "age_s": age_s})).scalars())


def _parameters(job: RowMapping, stretch: _Stretch) -> dict[str, Any]:
    return {
        **{name: job[name] for name in ("id", "merchant_id", "mode", "endpoint_id", "kind", "ordered")},
        **{name: job[name] for name in ("since", "types", "xid")},
        "until": _until(job),
        "after_xid": str(stretch.after.xid),
        "after_at": stretch.after.at,
        "before_xid": str(stretch.before_xid),
        "cause": _CAUSES[job["kind"]],
        "page": PAGE_EVENTS,
        "reach": REACH_EVENTS,
        "left": JOB_EVENTS_MAX - job["done"],
    }


async def _move(
    connection: Connection,
    job: RowMapping,
    place: _Place | None = None,
    *,
    made: int | None = None,
    state: str,
) -> JobPage:
    """The job is at the place, or stays where it was."""
    done = job["done"] if made is None else made
    parameters = {
        "id": job["id"],
        "position_xid": job["position_xid"] if place is None else str(place.xid),
        "position_at": job["position_at"] if place is None else place.at,
        "done": done,
        "state": state,
        "ended": state in ("finished", "failed"),
    }
    await connection.execute(_MOVE, parameters)
    return JobPage(done, job["total"], state)
