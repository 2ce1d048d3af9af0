"""Large bodies are understood one at a time, with as long a pause behind each as it took.

A body of the largest size may keep the event loop for 20 ms. A payment takes some thirty turns of the loop: eight
clients that sent such bodies one after the other lost it 160 ms in each, and others' payments took 5 s (measured).
In its turn a body costs a payment no more than it costs us, and half of the time belongs to what is small.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from api.http.rate_limits import TooManyRequests
from payonce.metrics import REFUSED
from payonce.storage.merchants import Caller

SMALL_BYTES: Final = 1024  # up to here a body has no turn: it takes a millisecond at most
WAITING_MAX: Final = 32  # of one merchant and mode
WAIT_S: Final = 2.0
RETRY_AFTER_S: Final = 1.0


class LargeBodies:
    """The turns of one process."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._turn_of_caller: dict[tuple[str, str], asyncio.Lock] = {}  # of those who have or await one
        self._waiting: dict[tuple[str, str], int] = {}

    @asynccontextmanager
    async def one(self, caller: Caller, size: int) -> AsyncIterator[None]:
        """The body of so many bytes may be understood in this block, which does not wait for anything.

        A merchant has one in the queue at a time, so that another's comes next, however many the first one sends.
        Raises `TooManyRequests` for more than `WAITING_MAX` of one merchant's, and after `WAIT_S`.
        """
        if size <= SMALL_BYTES:
            yield
            return
        async with self._place(caller) as turn_of_caller:
            await self._begun(turn_of_caller)
            try:
                began = time.perf_counter()
                yield
            finally:
                try:
                    await asyncio.sleep(time.perf_counter() - began)
                finally:
                    self._turn.release()
                    turn_of_caller.release()

    @asynccontextmanager
    async def _place(self, caller: Caller) -> AsyncIterator[asyncio.Lock]:
        """The merchant is known as long as one of its bodies is here. Raises `TooManyRequests`."""
        who = (caller.merchant_id, caller.mode)
        if self._waiting.get(who, 0) >= WAITING_MAX:
            raise _too_many()
        self._waiting[who] = self._waiting.get(who, 0) + 1
        try:
            yield self._turn_of_caller.setdefault(who, asyncio.Lock())
        finally:
            self._waiting[who] -= 1
            if not self._waiting[who]:
                del self._waiting[who], self._turn_of_caller[who]

    async def _begun(self, turn_of_caller: asyncio.Lock) -> None:
        """Both turns are taken, or none. Raises `TooManyRequests` after `WAIT_S`."""
        try:
            async with asyncio.timeout(WAIT_S):
                await turn_of_caller.acquire()
                try:
                    await self._turn.acquire()
                except BaseException:
                    turn_of_caller.release()
                    raise
        except TimeoutError:
            raise _too_many() from None


def _too_many() -> TooManyRequests:
    REFUSED.labels("large_bodies").inc()
    return TooManyRequests(retry_after_s=RETRY_AFTER_S)
