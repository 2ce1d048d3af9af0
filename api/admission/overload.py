"""How many payments this process works on at once, who waits a moment, and who is refused.

More at once than the machine can take makes every payment slow and none faster. So the number follows our own
time: it grows by one while payments are fast and shrinks by a part when they are not (`AdaptiveLimit`). A request
that finds no place waits in a room: a burst may drain through it, a queue that does not drain may not stand in it
(`Trend`). In a queue that stands the newest goes first, so that who is let in has waited little while it is not
yet clear which of the two it is, and who has to be refused is the one that waited longest. Time that the acquirer
takes is not ours, and whoever waits for it needs no place.

Sources: TCP Vegas (Brakmo and Peterson, 1995: delay, not loss, as the signal), AIMD (Chiu and Jain, 1989), CoDel
(Nichols and Jacobson, 2012: good and bad queues), and its use for requests with the newest first (Maurer, "Fail
at Scale", 2015).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from api.http.passage import Passage
from payonce.connectors.measured import Calls
from payonce.metrics import ADMISSION_LIMIT, IN_FLIGHT, WORKING

LIMIT_FLOOR = 4  # a process on its knees still tries so many, and so finds out when it can do more
LIMIT_START = 6  # a process that has just started is slow
WINDOW_S, WINDOW_SAMPLES = 0.25, 8  # the limit changes once in a window that is as long and as full as this
SLOW_SHARE = 0.1  # of a window: with more than that over the target, the limit shrinks
BACK_OFF = 0.8

WAITING_MAX = 500
CALM_WAIT_S = 5.0  # in a burst that drains; what is left of 8 s is for the payment itself
BUSY_WAIT_S = 0.02  # in overload: long enough for a place that is just getting free
STANDING_S = 0.25  # who has waited for longer stands in a queue that others may pass
TICK_S = 0.02
TREND_S, TREND_ADMITTED = 1.0, 5
RESERVE = 4  # of so many places one more is there for captures, voids and refunds only
SLOTS_RESERVE = 10
# By then a request only waits: for a slow acquirer that another process calls, most likely.
WORKING_S_MAX = 1.0
AWAY_AFTER_S = 0.01

Clock = Callable[[], float]


class Work(StrEnum):
    """What a request wants a place for."""

    CHANGE = "change"  # capture, void, refund: the money is held already, or owed back
    CREATE = "create"


class AdaptiveLimit:
    """How many payments may run at once: one more after a fast window, a fifth less after a slow one."""

    def __init__(self, *, ceiling: int, target_s: float, floor: int = LIMIT_FLOOR, now: float = 0.0) -> None:
        self._floor, self._ceiling, self._target_s = min(floor, ceiling), ceiling, target_s
        self.value = max(self._floor, min(LIMIT_START, ceiling))
        self.reached = False  # somebody found no place in this window
        self._window_began = self._changed_at = now
        self._seen = self._slow = 0

    def observe(self, own_s: float, *, entered_at: float, now: float) -> None:
        """One payment took `own_s` of our own time. What entered before the last change says nothing of it."""
        if entered_at < self._changed_at:
            return
        self._seen += 1
        self._slow += own_s > self._target_s
        if now - self._window_began >= WINDOW_S and self._seen >= WINDOW_SAMPLES:
            self._decide(now)

    def _decide(self, now: float) -> None:
        if self._slow > SLOW_SHARE * self._seen:
            self.value, self._changed_at = max(self._floor, int(self.value * BACK_OFF)), now
        elif self.reached:  # what was not needed was not tried, either
            self.value = min(self._ceiling, self.value + 1)
        self.reached, self._window_began, self._seen, self._slow = False, now, 0, 0


class Trend:
    """Whether a queue is a burst, which gets shorter, or overload, which does not."""

    def __init__(self, now: float) -> None:
        self.overloaded = False
        self._at, self._waiting, self._admitted, self._refused = now, 0, 0, False

    def look(self, *, waiting: int, oldest_s: float, admitted: int, refused: bool, now: float) -> None:
        """Overload begins when a standing queue is no shorter than at the last look, or nobody gets in at all.

        It ends when nobody was refused for a while. `oldest_s` is the longest that anybody has waited: many who
        each wait a moment are no overload. `admitted` counts from the beginning.
        """
        self._refused |= refused
        passed_s, moved = now - self._at, admitted - self._admitted
        stalled = moved == 0 and passed_s >= 2 * TREND_S
        if passed_s < TREND_S or not (self.overloaded or stalled or moved >= TREND_ADMITTED):
            return
        standing = oldest_s >= STANDING_S and (stalled or waiting >= self._waiting > 0)
        self.overloaded = self._refused if self.overloaded else standing
        self._at, self._waiting, self._admitted, self._refused = now, waiting, admitted, False


class Place:
    """A request's place. It counts as working unless it is away: waiting for an acquirer, or for a risk provider."""

    __slots__ = ("_asked", "_away", "_away_s", "_away_since", "_places", "_timer", "entered_at", "waited_s")

    def __init__(self, places: "Places", *, entered_at: float, waited_s: float) -> None:
        self.entered_at, self.waited_s = entered_at, waited_s
        self._places: Places | None = places
        self._asked = False  # an acquirer was called in this process
        self._away, self._away_s, self._away_since = 0, 0.0, 0.0
        self._timer = asyncio.get_running_loop().call_later(WORKING_S_MAX, self._step_away)

    def call_begun(self) -> None:
        """From now on it waits for an acquirer."""
        self._asked = True
        self._step_away()

    def call_ended(self) -> None:
        """It is back at work."""
        self._away -= 1
        if self._away == 0 and self._places is not None:
            self._away_s += self._places.now - self._away_since
            self._places.step_in()

    @contextmanager
    def away(self) -> Iterator[None]:
        """While the block runs it waits for somebody who is no acquirer: not in our own time, nor on its place.

        That is given up once it takes a while. Who is back at once keeps it: else everybody who asks lets one more
        in, and comes back beside them, limit or not.
        """
        began, out = self._now, False

        def step_away() -> None:
            nonlocal out
            out = True
            self._step_away()

        timer = asyncio.get_running_loop().call_later(AWAY_AFTER_S, step_away)
        try:
            yield
        finally:
            timer.cancel()
            if out:
                self.call_ended()
            else:
                self._away_s += self._now - began

    def observed(self) -> None:
        """The payment was carried out: its own time is what the limit follows.

        Not where another process called the acquirer: how long that took nobody knows here.
        """
        if self._places is not None and self._asked:
            now = self._places.now
            away_s = self._away_s + (now - self._away_since if self._away else 0.0)
            own_s = now - self.entered_at - away_s
            self._places.limit.observe(own_s, entered_at=self.entered_at, now=now)

    def leave(self) -> None:
        """The place is free; safe to repeat. An acquirer's call may go on."""
        places, self._places = self._places, None
        if places is not None:
            self._timer.cancel()
            places.release(working=not self._away)

    @property
    def _now(self) -> float:
        return 0.0 if self._places is None else self._places.now

    def _step_away(self) -> None:
        self._away += 1
        if self._away == 1 and self._places is not None:
            self._away_since = self._places.now
            self._places.step_out()


@contextmanager
def carrying_out(place: Place, passage: Passage, calls: Calls, operation_id: str) -> Iterator[None]:
    """The operation is carried out while the block runs: away while an acquirer is asked, else in our own time."""
    with calls.watched(operation_id, place), calls.watched(operation_id, passage):
        try:
            yield
        finally:
            place.observed()
            passage.know_outcome()


@dataclass(frozen=True, slots=True)
class _Waiting:
    since: float
    place: "asyncio.Future[Place | None]" = field(default_factory=asyncio.Future)


class Places:
    """The places of one process.

    `limit` bounds those who work; `open_max` also those who wait for an acquirer: so many slots has the worker.
    Of both a part is kept for captures, voids and refunds, so that creates cannot starve them.
    """

    def __init__(self, limit: AdaptiveLimit, *, open_max: int, clock: Clock = time.monotonic) -> None:
        self.limit = limit
        self._open_max, self._clock = open_max, clock
        self._open = self._working = self._admitted = 0
        self._room: dict[Work, deque[_Waiting]] = {work: deque() for work in Work}  # changes first
        self._trend = Trend(clock())
        self._ticking = False
        ADMISSION_LIMIT.set(limit.value)

    @property
    def now(self) -> float:
        return self._clock()

    async def enter(self, work: Work) -> Place | None:
        """A place, at once or after a short wait; None when there is none for it. Who has one leaves it."""
        if self._waiting >= WAITING_MAX:
            return None
        waiting = _Waiting(self.now)
        self._room[work].append(waiting)
        self._admit()
        if not waiting.place.done():
            self._tick_later()
        try:
            return await waiting.place
        except asyncio.CancelledError:
            if waiting.place.done() and not waiting.place.cancelled() and (place := waiting.place.result()):
                place.leave()
            raise

    def step_out(self) -> None:
        """One of those who work waits for an acquirer."""
        self._working -= 1
        self._admit()

    def step_in(self) -> None:
        """One is back, limit or not: what an acquirer said must be recorded."""
        self._working += 1

    def release(self, *, working: bool) -> None:
        """One is gone."""
        self._open -= 1
        self._working -= working
        self._admit()

    @property
    def _waiting(self) -> int:
        return sum(len(queue) for queue in self._room.values())

    def _admit(self) -> None:
        """Whoever waits and fits has a place: changes before creates, in order while the wait is short."""
        for work, queue in self._room.items():
            while queue and self._fits(work):
                standing = self.now - queue[0].since >= STANDING_S
                waiting = queue.pop() if standing else queue.popleft()
                if not waiting.place.done():  # else its request is gone
                    self._open, self._working = self._open + 1, self._working + 1
                    self._admitted += 1
                    place = Place(self, entered_at=self.now, waited_s=self.now - waiting.since)
                    waiting.place.set_result(place)
        ADMISSION_LIMIT.set(self.limit.value)
        WORKING.set(self._working)
        IN_FLIGHT.set(self._open)

    def _fits(self, work: Work) -> bool:
        limit, slots = self.limit.value, self._open_max
        if work is Work.CREATE:
            slots -= slots // SLOTS_RESERVE
        else:
            limit += max(1, limit // RESERVE)
        if self._working >= limit:
            self.limit.reached = True
        return self._working < limit and self._open < slots

    def _tick_later(self) -> None:
        if not self._ticking:
            self._ticking, self._trend = True, Trend(self.now)
            asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        """Who has waited for too long is refused; how long that is for a create, the trend says."""
        now, refused = self.now, False
        for work, queue in self._room.items():
            hurried = self._trend.overloaded and work is Work.CREATE
            patience_s = BUSY_WAIT_S if hurried else CALM_WAIT_S
            while queue and now - queue[0].since >= patience_s:
                waiting = queue.popleft()
                if not waiting.place.done():
                    waiting.place.set_result(None)
                    refused = True
        oldest_s = max((now - queue[0].since for queue in self._room.values() if queue), default=0.0)
        self._trend.look(
            waiting=self._waiting, oldest_s=oldest_s, admitted=self._admitted, refused=refused, now=now
        )
        self._ticking = self._trend.overloaded or self._waiting > 0
        if self._ticking:
            asyncio.get_running_loop().call_later(TICK_S, self._tick)
