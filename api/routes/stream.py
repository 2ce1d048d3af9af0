"""`GET /v1/events/stream`: a merchant's events as they come, as server-sent events.

An extension of the contract, for development and for back offices that cannot be called. In the order of
`payonce.storage.events`, so that a reconnection goes on after `Last-Event-ID`. Source of the format: the HTML
standard, "Server-sent events".
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.front import Front
from api.http.lists import FILTER_MAX_LENGTH, invalid
from api.openapi import told_objects
from api.openapi.description import OK, READ_CODES, Description, model_ref
from api.problems import Mistake, Problem
from api.routes.feed import FOLLOWERS_MAX, FOLLOWERS_PER_MERCHANT_MAX, Feed, Follower
from payonce.domain.errors import PaymentError
from payonce.domain.events import EVENT_TYPES
from payonce.domain.ids import ID_PATTERN
from payonce.logging import get_logger
from payonce.storage import events as store
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import StorageUnavailable
from payonce.storage.events import EventPlace, StreamedEvent
from payonce.storage.merchants import Caller
from payonce.storage.snapshots import Snapshot, take_snapshot

MEDIA_TYPE: Final = "text/event-stream"
HEARTBEAT_S: Final = 15.0  # also how soon a revoked key ends the stream
LIFE_S: Final = 3_600.0
SEND_S: Final = 10.0  # a client that reads nothing for so long is cut off
RECONNECT_MS: Final = 1_000
PAGE: Final = 100

BEGINNING: Final = "from_the_beginning"  # an id without an event: before the merchant's first

STREAM_EVENTS: Final = Description(
    id="streamEvents",
    tag="Events",
    summary="Follow events as they come",
    text="Server-sent events (`text/event-stream`): `id` is the event's id, `event` its type, `data` the bytes"
    " that an endpoint gets. With `Last-Event-ID`, the last id that the stream gave, it begins with what came"
    " since, oldest first; without it, with what comes from now on. An event comes as soon as everything older"
    " has ended, so none is left out, however late it becomes visible. The first message has an id and no data:"
    " it says where to resume before any event came; what was being written then may come a second time. Pings"
    f" are not in it. A comment comes every {HEARTBEAT_S:.0f} seconds. The stream ends after an hour at most,"
    " when the process ends, when its key is revoked, and when its reader does not keep up: connect again with"
    f" the last id. A merchant has {FOLLOWERS_PER_MERCHANT_MAX} streams in each mode and process, and all"
    f" merchants together {FOLLOWERS_MAX}.",
    # Of one message: before version 3.2, OpenAPI has no words of its own for a stream.
    answers={OK: ("Events, as they come", model_ref(told_objects.StreamMessageView))},
    media_types=(MEDIA_TYPE,),
    codes=("invalid_request", "rate_limited", *READ_CODES),
    parameters=(
        {
            "name": "types",
            "in": "query",
            "required": False,
            "style": "form",
            "explode": False,
            "schema": {"type": "array", "items": {"type": "string", "enum": list(EVENT_TYPES)}},
            "description": "Only events of these types",
        },
        {
            "name": "Last-Event-ID",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
            "description": "The last `id` that the client has got",
        },
    ),
)

_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # the latter: nginx passes at once


log = get_logger(__name__)


class Streams:
    """The handler of `/v1/events/stream`."""

    def __init__(self, front: Front, feed: Feed) -> None:
        self._front = front
        self._feed = feed

    async def open(self, request: Request) -> Response:
        caller = await self._front.caller(request)
        types, last_id = _types(request), _last_id(request)
        if request.state.without_content:
            return Response(headers=_HEADERS, media_type=MEDIA_TYPE)
        return Stream(self._front, self._feed, request, caller, types=types, last_id=last_id)


class Stream(Response):
    """One client's stream. A problem is answered as long as nothing was sent."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        front: Front,
        feed: Feed,
        request: Request,
        caller: Caller,
        *,
        types: Sequence[str],
        last_id: str | None,
    ) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._front, self._feed, self._request, self._caller = front, feed, request, caller
        self._types = types
        self._last_id = last_id
        self._place: EventPlace | None = None  # of the last event that was sent, or resumed after
        self._begun: Snapshot | None = None  # of the beginning: what was there then does not come
        self._ends_at = time.monotonic() + LIFE_S

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        async with self._feed.following(self._caller) as follower:
            await self._begin()  # after the following began, so that nothing falls between
            leaving = asyncio.create_task(_end_when_left(receive, follower))
            try:
                await send({"type": "http.response.start", "status": OK, "headers": self.raw_headers})
                await self._tell(follower, send)
            except TimeoutError:
                return  # the client reads nothing; the server closes a response without an end
            finally:
                leaving.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _begin(self) -> None:
        """It is known what comes: what is after a place, or all that is not there yet. Raises `Problem`."""

        async def read(connection: Connection, caller: Caller) -> None:
            if self._last_id is None:
                self._begun = snapshot = await take_snapshot(connection)
                last = await store.newest(connection, caller, ended=snapshot.oldest_running)
                self._last_id = BEGINNING if last is None else last.id
            elif self._last_id == BEGINNING:
                self._place = EventPlace.before(0)
            elif last := await store.find(connection, caller, self._last_id):
                self._place = last.place
            else:
                raise _unknown_last_id()

        await self._front.read(self._request, read)

    async def _tell(self, follower: Follower, send: Send) -> None:
        """Everything since the place, then what comes, until one of the ends. Raises `TimeoutError`."""
        # What the client resumes from if it is cut off before the first event.
        assert self._last_id is not None
        await _write(send, b"retry: %d\nid: %s\n\n" % (RECONNECT_MS, self._last_id.encode()))
        try:
            behind = self._begun is None
            while behind and self._goes_on(follower):
                behind = await self._tell_page(send)
            while self._goes_on(follower):
                await self._tell_until_heartbeat(follower, send)
                await self._front.caller(self._request)
        except PaymentError as error:  # Postgres is away, or the key was revoked: a new connection will tell
            log.info("event_stream_ended", reason=error.code)

    async def _tell_page(self, send: Send) -> bool:
        """The next events were sent; whether there may be more."""
        events, connection = await self._front.read(self._request, self._page)
        if events and not await self._front.runtime.database.proven(connection):
            raise StorageUnavailable("what was read is not proven")
        for event in events:
            await self._tell_one(event, send)
        return len(events) == PAGE

    async def _page(self, connection: Connection, caller: Caller) -> tuple[list[StreamedEvent], Connection]:
        assert self._place is not None
        ended = (await take_snapshot(connection)).oldest_running
        events = await store.page(
            connection, caller, after=self._place, ended=ended, types=self._types, limit=PAGE
        )
        return events, connection

    async def _tell_until_heartbeat(self, follower: Follower, send: Send) -> None:
        beat_at = min(time.monotonic() + HEARTBEAT_S, self._ends_at)
        while not follower.has_ended and (left_s := beat_at - time.monotonic()) > 0:
            event = await follower.next(timeout_s=left_s)
            if event is not None and (not self._types or event.type in self._types):
                await self._tell_one(event, send)
        if self._goes_on(follower):
            await _write(send, b": \n\n")

    async def _tell_one(self, event: StreamedEvent, send: Send) -> None:
        """The event is on its way, unless it was sent before or is older than the stream."""
        if self._place is not None and event.place <= self._place:
            return
        if self._begun is not None and self._begun.shows(event.xid):
            return
        self._place = event.place
        head = f"id: {event.id}\nevent: {event.type}\ndata: ".encode()
        await _write(send, head + event.body + b"\n\n")  # compact JSON: no line break is in it

    def _goes_on(self, follower: Follower) -> bool:
        return not follower.has_ended and time.monotonic() < self._ends_at


async def _write(send: Send, data: bytes) -> None:
    """The bytes are on their way. Raises `TimeoutError` when the client takes nothing."""
    async with asyncio.timeout(SEND_S):
        await send({"type": "http.response.body", "body": data, "more_body": True})


async def _end_when_left(receive: Receive, follower: Follower) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    follower.end()


def _types(request: Request) -> tuple[str, ...]:
    """The types that are asked for; none: all. Raises `Problem`."""
    query = request.query_params
    for name in query:
        if name != "types":
            raise invalid(name[:FILTER_MAX_LENGTH], "is not a parameter of this stream")
    found = [type_ for value in query.getlist("types") for type_ in value.split(",")]
    if not set(found) <= set(EVENT_TYPES):
        raise invalid("types", "must be types of events, with commas between them")
    return tuple(dict.fromkeys(found))


def _last_id(request: Request) -> str | None:
    last_id = request.headers.get("last-event-id") or None
    if last_id is not None and not ID_PATTERN.match(last_id):
        raise _unknown_last_id()
    return last_id


def _unknown_last_id() -> Problem:
    detail = "Last-Event-ID is not the id of an event of yours; leave it out to begin now."
    return Problem("invalid_request", detail, mistakes=[Mistake("/Last-Event-ID", "must be an event's id")])
