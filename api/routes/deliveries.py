"""Deliveries over HTTP: what an endpoint got, a ping, an event once more, and all that was missed."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import RowMapping, select
from starlette.requests import Request
from starlette.responses import Response

from api.admission.waiting import Result
from api.front import Front, path_id
from api.http.lists import Listing, Merged, fetch, list_response, one_of, read_query
from api.http.responses import reply, shown
from api.problems import Mistake, Problem
from api.schemas.webhooks import Nothing, Recover, Redeliver, Replay
from payonce.domain.answers import Answer, AnswerKind, encode, timestamp
from payonce.domain.delivery import DeliveryStatus
from payonce.domain.errors import NotFound, NotHandedOver
from payonce.storage.driver.connection import Connection
from payonce.storage.events import PING
from payonce.storage.merchants import Caller
from payonce.storage.packing import body_of
from payonce.storage.tables import events
from payonce.storage.tables import webhook_deliveries as table
from payonce.storage.webhooks.endpoints import Endpoint, find_endpoint
from payonce.storage.webhooks.redeliveries import (
    EVENTS_KEPT,
    Job,
    JobKind,
    add_job,
    add_ping,
    deliver_again,
    find_job,
    subscribers,
)

START_WITHIN_S: Final = 1.0
_SHOWN_OF_AN_ATTEMPT: Final = ("at", "status_code", "duration_ms", "error")

StartJob = Callable[[str], Awaitable[None]]


class Deliveries:
    """The handlers that show deliveries and make new ones."""

    def __init__(self, front: Front, start_job: StartJob | None = None) -> None:
        self._front = front
        self._start_job = start_job

    async def list(self, request: Request) -> Response:
        endpoint_id = path_id(request)
        page, filters = read_query(request, "status")
        status = one_of(DeliveryStatus, filters, "status")

        async def read(connection: Connection, caller: Caller) -> Response:
            await _endpoint(connection, endpoint_id, caller)
            mine = (table.c.endpoint_id == endpoint_id,)
            listing = Listing(
                tuple(table.c),
                mine,
                table.c.id,
                (table.c.xid, table.c.created_at, table.c.sequence, table.c.id),
                xid=table.c.xid,
                wanted=() if status is None else (table.c.status == status,),
                merged=Merged(table.c.status, list(DeliveryStatus)) if status is None else None,
            )
            rows, has_more = await fetch(connection, listing, page)
            return list_response([encode(delivery_view(row)) for row in rows], has_more=has_more)

        return await self._front.read(request, read)

    async def ping(self, request: Request) -> Response:
        endpoint_id = path_id(request)

        async def work(connection: Connection, caller: Caller, _: Nothing) -> tuple[Answer, str]:
            endpoint = _enabled(await _endpoint(connection, endpoint_id, caller))
            event = await add_ping(connection, endpoint, now=datetime.now(UTC))
            return Answer(AnswerKind.ACCEPTED, body_of(event)), f"/v1/events/{event['id']}"

        return self._delivering(await self._front.once(request, Nothing, work))

    async def redeliver(self, request: Request) -> Response:
        event_id = path_id(request)

        async def work(connection: Connection, caller: Caller, body: Redeliver) -> tuple[Answer, str]:
            event = await _event(connection, event_id, caller)
            to = await _receivers(connection, event, caller, body.endpoint)
            rows = await deliver_again(connection, event, to, cause="redelivery", now=datetime.now(UTC))
            found = {"object": "list", "data": [delivery_view(row) for row in rows], "has_more": False}
            return Answer(AnswerKind.ACCEPTED, encode(found)), f"/v1/events/{event_id}"

        return self._delivering(await self._front.once(request, Redeliver, work))

    async def recover(self, request: Request) -> Response:
        endpoint_id = path_id(request)

        async def work(connection: Connection, caller: Caller, body: Recover) -> tuple[Answer, str]:
            endpoint = _enabled(await _endpoint(connection, endpoint_id, caller))
            now = datetime.now(UTC)
            span = _span(body.since, until=now, now=now)
            return await _add_job(
                request, connection, endpoint, kind="recover", span=span, types=endpoint.events
            )

        return await self._started(await self._front.once(request, Recover, work))

    async def replay(self, request: Request) -> Response:
        endpoint_id = path_id(request)

        async def work(connection: Connection, caller: Caller, body: Replay) -> tuple[Answer, str]:
            endpoint = _enabled(await _endpoint(connection, endpoint_id, caller))
            now = datetime.now(UTC)
            span = _span(body.since, until=min(body.until or now, now), now=now)
            return await _add_job(
                request, connection, endpoint, kind="replay", span=span, types=body.types or endpoint.events
            )

        return await self._started(await self._front.once(request, Replay, work))

    async def job(self, request: Request) -> Response:
        job_id = path_id(request)

        async def read(connection: Connection, caller: Caller) -> Job | None:
            return await find_job(connection, job_id, merchant_id=caller.merchant_id, mode=caller.mode)

        job = await self._front.read(request, read)
        if job is None:
            raise NotFound
        return shown(encode(job_view(job)))

    async def _started(self, result: Result) -> Response:
        """The job is handed to Temporal; where that fails, the relay's sweep does it within seconds."""
        if self._start_job is not None and not result.replayed:
            with suppress(NotHandedOver, TimeoutError):
                async with asyncio.timeout(START_WITHIN_S):
                    await self._start_job(result.location.rpartition("/")[2])
        return reply(result)

    def _delivering(self, result: Result) -> Response:
        if not result.replayed:
            self._front.runtime.wakeups.wake_relay()
        return reply(result)


def delivery_view(row: RowMapping | Mapping[str, Any]) -> dict[str, Any]:
    """A delivery as the API shows it: without what only operators see of its attempts."""
    next_at = row["next_attempt_at"]
    return {
        "id": row["id"],
        "event": row["event_id"],
        "status": row["status"],
        "attempts": [{name: each[name] for name in _SHOWN_OF_AN_ATTEMPT} for each in row["attempts"]],
        "next_attempt_at": None if next_at is None else timestamp(next_at),
    }


def job_view(job: Job) -> dict[str, Any]:
    """A job as the API shows it."""
    return {
        "id": job.id,
        "object": "webhook_job",
        "kind": job.kind,
        "endpoint": job.endpoint_id,
        "since": timestamp(job.since),
        "until": timestamp(job.until),
        "types": list(job.types),
        "status": job.state,
        "total": job.total,
        "done": job.done,
        "created_at": timestamp(job.created_at),
        "finished_at": None if job.finished_at is None else timestamp(job.finished_at),
    }


async def _endpoint(connection: Connection, endpoint_id: str, caller: Caller) -> Endpoint:
    found = await find_endpoint(connection, endpoint_id, merchant_id=caller.merchant_id, mode=caller.mode)
    if found is None:
        raise NotFound
    return found


async def _event(connection: Connection, event_id: str, caller: Caller) -> RowMapping:
    """The caller's event. A ping is none: another ping does what repeating it would."""
    query = select(events).where(
        events.c.id == event_id,
        events.c.merchant_id == caller.merchant_id,
        events.c.mode == caller.mode,
        events.c.type != PING,
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound
    return row


async def _receivers(
    connection: Connection, event: RowMapping, caller: Caller, endpoint_id: str | None
) -> Sequence[Endpoint]:
    """The endpoint that was named, or every enabled one that wants the type."""
    scope = {"merchant_id": caller.merchant_id, "mode": caller.mode}
    if endpoint_id is None:
        return await subscribers(connection, event["type"], **scope)
    named = await find_endpoint(connection, endpoint_id, **scope)
    if named is None:
        raise _wrong("/endpoint", "must be the id of a webhook endpoint")
    return [_enabled(named, pointer="/endpoint")]


def _enabled(endpoint: Endpoint, *, pointer: str = "") -> Endpoint:
    """The endpoint. Raises `Problem` when it is disabled: what is sent to it would be dropped."""
    if not endpoint.enabled:
        raise _wrong(pointer, "is disabled: enable the endpoint first")
    return endpoint


def _span(since: datetime, *, until: datetime, now: datetime) -> tuple[datetime, datetime]:
    """The times as given. Raises `Problem` for a span of which nothing is kept, or that is none."""
    if since >= until:
        raise _wrong("/since", "must be in the past, and before `until` where there is one")
    if since < now - EVENTS_KEPT:
        raise _wrong("/since", f"must be at most {EVENTS_KEPT.days} days ago")
    return since, until


async def _add_job(
    request: Request,
    connection: Connection,
    endpoint: Endpoint,
    *,
    kind: JobKind,
    span: tuple[datetime, datetime],
    types: Sequence[str],
) -> tuple[Answer, str]:
    since, until = span
    job = await add_job(
        connection,
        endpoint,
        kind=kind,
        since=since,
        until=until,
        types=types,
        request_id=request.state.request_id,
        now=datetime.now(UTC),
    )
    return Answer(AnswerKind.ACCEPTED, encode({"count": job.total})), f"/v1/webhook_jobs/{job.id}"


def _wrong(pointer: str, detail: str) -> Problem:
    mistake = Mistake(pointer, detail)
    return Problem("invalid_request", f"{pointer or 'The endpoint'} {detail}.", mistakes=[mistake])
