"""Look-ups that anybody can cause, without a key that we know: they take nothing from who has one.

One costs a transaction, so it is few at a time, few a second where they find nothing, and what was found, or not
there, is remembered for a moment.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar

from api.http.rate_limits import Bucket, Rate, TooManyRequests
from api.problems import Problem
from payonce.domain.errors import NotFound
from payonce.metrics import REFUSED

AT_ONCE: Final = 4
MISSES: Final = Rate(per_s=50.0, burst=100)
"""Look-ups that find nothing: 50 a second are a fifth of a process."""
MOMENT_S: Final = 1.0

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Clock = Callable[[], float]


class Lookups:
    """The bound of one process."""

    def __init__(self, *, clock: Clock = time.monotonic) -> None:
        self._places = asyncio.Semaphore(AT_ONCE)
        self._misses, self._clock = Bucket(MISSES, now=clock()), clock

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """There is a place for the look-up in this block, which finds nothing when it raises so.

        Raises `TooManyRequests` while too many found nothing.
        """
        async with self._places:
            if wait_s := self._misses.take(self._clock()):
                REFUSED.labels("unknown").inc()
                raise TooManyRequests(retry_after_s=wait_s)
            try:
                yield
            except (NotFound, Problem):
                raise
            except BaseException:
                self._misses.put_back()
                raise
            self._misses.put_back()


class Remembered(Generic[K, V]):
    """What was found, for so many seconds and of so many keys at most: the oldest go first."""

    def __init__(self, seconds: float, *, most: int, clock: Clock = time.monotonic) -> None:
        self._seconds, self._most, self._clock = seconds, most, clock
        self._found: dict[K, tuple[V, float]] = {}

    def get(self, key: K) -> V | None:
        """What was found of it, as long as that counts."""
        found = self._found.get(key)
        return found[0] if found is not None and self._clock() < found[1] else None

    def __contains__(self, key: K) -> bool:
        """Whether something was ever found, also when it counts no longer."""
        return key in self._found

    def put(self, key: K, found: V) -> None:
        """It counts from now on."""
        self._found.pop(key, None)
        if len(self._found) >= self._most:
            del self._found[next(iter(self._found))]
        self._found[key] = (found, self._clock() + self._seconds)

    def drop(self, key: K) -> None:
        """Nothing is known of it."""
        self._found.pop(key, None)
