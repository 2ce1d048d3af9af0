"""`GET /v1/events/stream`: a merchant's events as they come, as server-sent events.

An extension of the contract, for development and for back offices that cannot be called. At least once, as
webhooks are: after a reconnection the events of the last seconds before `Last-Event-ID` come again, since one
of them may have become visible late. Source of the format: the HTML standard, "Server-sent events".
"""

import asyncio
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.describing import OK, READ_CODES, Description
from api.feed import FOLLOWERS_MAX, FOLLOWERS_PER_MERCHANT_MAX, Feed, Follower
from api.front import Front
from api.lists import FILTER_MAX_LENGTH, invalid
from api.problems import Mistake, Problem
from api.schemas import EVENT_TYPES
from payonce.domain.errors import PaymentError
from payonce.domain.ids import ID_PATTERN
from payonce.logging import get_logger
from payonce.storage import feed as store
from payonce.storage.connection import Connection
from payonce.storage.feed import LOOK_BACK, LOOK_BACK_S, Told
from payonce.storage.merchants import Caller

MEDIA_TYPE: Final = "text/event-stream"
HEARTBEAT_S: Final = 15.0  # also how soon a revoked key ends the stream
LIFE_S: Final = 3_600.0
SEND_S: Final = 10.0  # a client that reads nothing for so long is cut off
RECONNECT_MS: Final = 1_000
PAGE: Final = 100
REMEMBERED: Final = 4 * LOOK_BACK

Place = tuple[datetime, int, str]
_BEGINNING: Final = re.compile(r"since_([0-9]{13})")  # an id without an event: where a stream began

STREAM_EVENTS: Final = Description(
    id="streamEvents",
    tag="Events",
    summary="Follow events as they come",
    text="Server-sent events (`text/event-stream`): `id` is the event's id, `event` its type, `data` the bytes"
    " that an endpoint gets. With `Last-Event-ID` the stream begins with what came since, oldest first, and"
    f" repeats the {LOOK_BACK_S:.0f} seconds before it, so drop repeats by id; without it, with what comes from"
    " now on. The first message has an id and no data: it says where to resume before any event came. Pings"
    f" are not in it. A comment comes every {HEARTBEAT_S:.0f} seconds. The stream ends after an hour at most,"
    " when the process ends, when its key is revoked, and when its reader does not keep up: connect again with"
    f" the last id. A merchant has {FOLLOWERS_PER_MERCHANT_MAX} streams in each mode and process, and all"
    f" merchants together {FOLLOWERS_MAX}.",
    answers={OK: ("Events, as they come", {"type": "string"})},
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
        self._sent: dict[str, datetime] = {}  # of the last seconds: what is not sent a second time
        self._ends_at = time.monotonic() + LIFE_S

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        with self._feed.following(self._caller) as follower:
            place = await self._begin()  # after the following began, so that nothing falls between
            leaving = asyncio.create_task(_end_when_left(receive, follower))
            try:
                await send({"type": "http.response.start", "status": OK, "headers": self.raw_headers})
                await self._tell(follower, place, send)
            except TimeoutError:
                return  # the client reads nothing; the server closes a response without an end
            finally:
                leaving.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _begin(self) -> Place | None:
        """The place to resume at; None: only what comes from now on. Raises `Problem`."""

        async def read(connection: Connection, caller: Caller) -> Place | None:
            if self._last_id is None:
                since = datetime.now(UTC) - REMEMBERED
                self._sent = await store.recent_ids(connection, caller, since=since)
                return None
            if beginning := _BEGINNING.fullmatch(self._last_id):
                return datetime.fromtimestamp(int(beginning[1]) / 1_000, UTC) - LOOK_BACK, 0, ""
            last = await store.find(connection, caller, self._last_id)
            if last is None:
                raise _unknown_last_id()
            return last.created_at - LOOK_BACK, 0, ""

        return await self._front.read(self._request, read)

    async def _tell(self, follower: Follower, place: Place | None, send: Send) -> None:
        """Everything since the place, then what comes, until one of the ends. Raises `TimeoutError`."""
        await _write(send, b"retry: %d\nid: %s\n\n" % (RECONNECT_MS, self._here().encode()))
        try:
            while place is not None and self._goes_on(follower):
                place = await self._tell_page(place, send)
            while self._goes_on(follower):
                await self._tell_until_heartbeat(follower, send)
                await self._front.caller(self._request)
        except PaymentError as error:  # Postgres is away, or the key was revoked: a new connection will tell
            log.info("event_stream_ended", reason=error.code)

    def _here(self) -> str:
        """What the client resumes from if it is cut off before the first event."""
        return self._last_id or f"since_{datetime.now(UTC).timestamp() * 1_000:013.0f}"

    async def _tell_page(self, place: Place, send: Send) -> Place | None:
        """Where the next page begins; None: there is none."""
        events = await self._front.read(self._request, partial(self._page, after=place))
        for event in events:
            await self._tell_one(event, send)
        self._forget()
        return events[-1].place if len(events) == PAGE else None

    async def _page(self, connection: Connection, caller: Caller, *, after: Place) -> list[Told]:
        return await store.page(connection, caller, after=after, types=self._types, limit=PAGE)

    async def _tell_until_heartbeat(self, follower: Follower, send: Send) -> None:
        beat_at = min(time.monotonic() + HEARTBEAT_S, self._ends_at)
        while not follower.has_ended and (left_s := beat_at - time.monotonic()) > 0:
            event = await follower.next(timeout_s=left_s)
            if event is not None and (not self._types or event.type in self._types):
                await self._tell_one(event, send)
        if self._goes_on(follower):
            await _write(send, b": \n\n")
            self._forget()

    async def _tell_one(self, event: Told, send: Send) -> None:
        if event.id in self._sent:
            return
        self._sent[event.id] = event.created_at
        head = f"id: {event.id}\nevent: {event.type}\ndata: ".encode()
        await _write(send, head + event.body + b"\n\n")  # compact JSON: no line break is in it

    def _goes_on(self, follower: Follower) -> bool:
        return not follower.has_ended and time.monotonic() < self._ends_at

    def _forget(self) -> None:
        before = datetime.now(UTC) - REMEMBERED
        self._sent = {id_: created_at for id_, created_at in self._sent.items() if created_at >= before}


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
