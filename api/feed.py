"""New events, found once per process for everyone who follows them.

One watcher looks for events of all followed merchants; it runs only while somebody follows. It is woken by the
hint that the relay gets, and looks every `POLL_S` without one. Each follower has a queue of bounded length; one
that does not keep up is cut off and resumes from the last event that it got.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Final

import structlog

from api.problems import Problem
from payonce.domain.errors import PaymentError
from payonce.logging import get_logger
from payonce.runtime import Runtime
from payonce.storage.database import StorageUnavailable
from payonce.storage.feed import LOOK_BACK, Told, unseen
from payonce.storage.merchants import Caller

FOLLOWERS_MAX: Final = 100  # of one process
FOLLOWERS_PER_MERCHANT_MAX: Final = 10  # in one mode, of one process
QUEUE_MAX: Final = 1_000
SEEN_MAX: Final = 20_000  # events of the last seconds that are left out of the next look
ROWS_MAX: Final = 500
POLL_S: Final = 1.0
PACE_S: Final = 0.05  # between two looks: what happens meanwhile shares one
RETRY_S: Final = 5

log = get_logger(__name__)


class Follower:
    """One who gets a caller's events from the moment of its making on, until it `has_ended`."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.has_ended = False
        self._waiting: deque[Told] = deque()
        self._news = asyncio.Event()

    def tell(self, event: Told) -> None:
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

    async def next(self, *, timeout_s: float) -> Told | None:
        """The next event; None after the time-out, or as soon as it ended."""
        if not self._waiting and not self.has_ended:
            self._news.clear()
            await _first(self._news, timeout_s=timeout_s)
        return self._waiting.popleft() if self._waiting else None


class Feed:
    """Who follows which merchant's events in this process, and the watcher that tells them."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._followers: set[Follower] = set()
        self._watcher: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def followers(self) -> int:
        return len(self._followers)

    @contextmanager
    def following(self, caller: Caller) -> Iterator[Follower]:
        """The follower gets every event that becomes visible while the block runs, and perhaps some older.

        Raises `Problem` when there are too many, or the process is about to end.
        """
        self._admit(caller)
        follower = Follower(caller)
        self._followers.add(follower)
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch())
        try:
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

    async def _watch(self) -> None:
        """New events are told until it is cancelled. What it cannot go on from ends all followers."""
        structlog.contextvars.unbind_contextvars("request_id")  # of the first follower
        try:
            async with self._runtime.wakeups.hearing_events() as heard:
                await self._look_again_and_again(heard)
        except Exception as error:
            log.error("event_feed_broken", error=type(error).__name__)
            self._watcher = None
            self._end_all()

    async def _look_again_and_again(self, heard: asyncio.Event) -> None:
        seen: dict[str, datetime] = {}
        looked_at = datetime.now(UTC)
        while True:
            heard.clear()
            began_at, since = datetime.now(UTC), looked_at - LOOK_BACK
            try:
                more = await self._look(seen, since=since)
            except PaymentError as error:  # Postgres is away: the next look reaches back to the last one
                log.warning("event_feed_waits", error=error.message)
                more = False
            else:
                if not more:
                    looked_at = began_at
                    _forget(seen, before=since)
            if not more:
                await _first(heard, timeout_s=POLL_S)
            await asyncio.sleep(PACE_S)

    async def _look(self, seen: dict[str, datetime], *, since: datetime) -> bool:
        """Unseen events were told; whether there are more. Raises `StorageUnavailable`."""
        callers = {follower.caller for follower in self._followers}
        async with self._runtime.database.reading() as connection:
            found = await unseen(connection, callers, since=since, seen=seen, limit=ROWS_MAX)
        if found and not await self._runtime.database.proven():
            raise StorageUnavailable("what was read is not proven yet")
        for caller, event in found:
            seen[event.id] = event.created_at
            for follower in self._followers:
                if follower.caller == caller:
                    follower.tell(event)
        if len(seen) > SEEN_MAX:
            log.warning("event_feed_behind", seen=len(seen))
            self._end_all()
            seen.clear()
            return False
        return len(found) == ROWS_MAX


def _forget(seen: dict[str, datetime], *, before: datetime) -> None:
    for event_id in [event_id for event_id, created_at in seen.items() if created_at < before]:
        del seen[event_id]


async def _first(event: asyncio.Event, *, timeout_s: float) -> None:
    """Returns when the event is set, or after the time-out."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
