"""New events, found once per process for everyone who follows them.

One watcher looks for events of all followed merchants; it runs only while somebody follows. It is woken by the
hint that the relay gets, and looks every `POLL_S` without one. Each follower has a queue of bounded length; one
that does not keep up is cut off and resumes from the last event that it got.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import structlog

from api.problems import Problem
from payonce.domain.errors import PaymentError
from payonce.logging import get_logger
from payonce.runtime import Runtime
from payonce.storage.driver.database import StorageUnavailable
from payonce.storage.events import EventPlace, StreamedEvent, page, with_news
from payonce.storage.merchants import Caller
from payonce.storage.snapshots import take_snapshot
from payonce.waiting import first

FOLLOWERS_MAX: Final = 100  # of one process
FOLLOWERS_PER_MERCHANT_MAX: Final = 10  # in one mode, of one process
QUEUE_MAX: Final = 1_000
ROWS_MAX: Final = 500
POLL_S: Final = 1.0
SOON_S: Final = 0.1  # while transactions run: what is written already may only wait for an older one
PACE_S: Final = 0.05  # between two looks: what happens meanwhile shares one
RETRY_S: Final = 5

log = get_logger(__name__)


class Follower:
    """One who gets a caller's events from the moment of its making on, until it `has_ended`."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.has_ended = False
        self._waiting: deque[StreamedEvent] = deque()
        self._news = asyncio.Event()

    def tell(self, event: StreamedEvent) -> None:
        """The event waits to be taken; whoever lets too many wait is cut off."""
        if len(self._waiting) >= QUEUE_MAX:
            self.end()
        else:
            self._waiting.append(event)
            self._news.set()

    def end(self) -> None:
        """Nothing more is told, and nothing that waits is taken."""
        self.has_ended = True
        self._waiting.clear()
        self._news.set()

    async def next(self, *, timeout_s: float) -> StreamedEvent | None:
        """The next event; None after the time-out, or as soon as it ended."""
        if not self._waiting and not self.has_ended:
            self._news.clear()
            await first(self._news, timeout_s=timeout_s)
        return self._waiting.popleft() if self._waiting else None


class Feed:
    """Who follows which merchant's events in this process, and the watcher that tells them."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._followers: set[Follower] = set()
        self._watcher: asyncio.Task[None] | None = None
        self._beginning = asyncio.Lock()
        self._closed = False

    @property
    def followers(self) -> int:
        return len(self._followers)

    @asynccontextmanager
    async def following(self, caller: Caller) -> AsyncIterator[Follower]:
        """The follower gets every event that is told from now on; a snapshot taken in the block has all before.

        Raises `Problem` when there are too many, or the process is about to end, and `StorageUnavailable`.
        """
        self._admit(caller)
        follower = Follower(caller)
        self._followers.add(follower)
        try:
            await self._begin_to_watch()
            yield follower
        finally:
            self._followers.discard(follower)
            if not self._followers and self._watcher is not None:
                self._watcher.cancel()
                self._watcher = None

    def close(self) -> None:
        """Everyone's following ends, and nobody new is taken."""
        self._closed = True
        self._end_all()

    def _admit(self, caller: Caller) -> None:
        if self._closed:
            raise Problem("unavailable", "This process is about to end; connect again.")
        mine = Counter(follower.caller for follower in self._followers)[caller]
        if mine >= FOLLOWERS_PER_MERCHANT_MAX or len(self._followers) >= FOLLOWERS_MAX:
            raise Problem(
                "rate_limited",
                f"There are too many event streams: {FOLLOWERS_PER_MERCHANT_MAX} for a merchant.",
                headers={"Retry-After": str(RETRY_S)},
            )

    def _end_all(self) -> None:
        for follower in self._followers:
            follower.end()

    async def _begin_to_watch(self) -> None:
        """The watcher runs, from a place before which nothing becomes visible any more."""
        async with self._beginning:
            if self._watcher is not None:
                return
            async with self._runtime.database.reading() as connection:
                snapshot = await take_snapshot(connection)
            self._watcher = asyncio.create_task(self._watch(EventPlace.before(snapshot.oldest_running)))

    async def _watch(self, place: EventPlace) -> None:
        """New events are told until it is cancelled. What it cannot go on from ends all followers.

        So does an interruption of Postgres: a server that took over may give out ids of transactions that ours had
        passed already. Followers resume after the last event that they got, which it has.
        """
        structlog.contextvars.unbind_contextvars("request_id")  # of the first follower
        try:
            async with self._runtime.wakeups.hearing_events() as heard:
                await self._look_again_and_again(place, heard)
        except Exception as error:
            if isinstance(error, PaymentError):
                log.warning("event_feed_interrupted", error=error.message)
            else:
                log.error("event_feed_broken", error=type(error).__name__)
            # Else nobody follows it any more, and it broke while it was ended.
            if self._watcher is asyncio.current_task():
                self._watcher = None
                self._end_all()

    async def _look_again_and_again(self, place: EventPlace, heard: asyncio.Event) -> None:
        while True:
            heard.clear()
            place, pause_s = await self._look(place)
            if pause_s:
                await first(heard, timeout_s=pause_s)
            await asyncio.sleep(PACE_S)

    async def _look(self, place: EventPlace) -> tuple[EventPlace, float]:
        """What is new after the place was told; how far that went, and how soon there may be more.

        The engine says who has news; what that is, is read for each as for a request. Raises `StorageUnavailable`.
        """
        async with self._runtime.database.reading() as connection:
            snapshot = await take_snapshot(connection)
            # Whoever follows from now on takes a later snapshot, which has all that is told here.
            callers = {follower.caller for follower in self._followers}
            ended = snapshot.oldest_running
            waiting = await with_news(connection, callers, after=place, ended=ended)
        limit = max(1, ROWS_MAX // max(1, len(waiting)))
        found = {
            caller: await self._page(caller, place, ended, limit=limit, timeline=connection.timeline)
            for caller in waiting
        }
        # Where a page is full, the others are told as far as it went: together they go on from there.
        reached = min((events[-1].place for events in found.values() if len(events) == limit), default=None)
        for caller, events in found.items():
            self._tell(caller, [event for event in events if reached is None or event.place <= reached])
        if reached is not None:
            return reached, 0.0
        return EventPlace.before(ended), POLL_S if ended == snapshot.next else SOON_S

    async def _page(
        self, caller: Caller, after: EventPlace, ended: int, *, limit: int, timeline: str | None
    ) -> list[StreamedEvent]:
        """The caller's next events, proven. Raises `StorageUnavailable`, also where another server took over."""
        async with self._runtime.tenants.reading(caller) as connection:
            events = await page(connection, caller, after=after, ended=ended, types=(), limit=limit)
        if connection.timeline != timeline or not await self._runtime.database.proven(connection):
            raise StorageUnavailable("what was read is not proven")
        return events

    def _tell(self, caller: Caller, events: Sequence[StreamedEvent]) -> None:
        for event in events:
            for follower in self._followers:
                if follower.caller == caller:
                    follower.tell(event)
