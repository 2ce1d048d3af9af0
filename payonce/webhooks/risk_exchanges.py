"""The exchanges with merchants' risk services that are open in a process: so many of one merchant, so many of all.

One that is late is waited for by nobody, and only keeps its connection warm. So it gives way, the oldest first, to
one that somebody waits for: however many services hang, and of however many merchants, what they hold is no place of
another's. Where all that are open are waited for, a further one is not begun, which its merchant's choice settles at
once.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Final

from payonce.risk.base import Assessment, NotAsked

OF_ONE_MAX: Final = 20  # of one merchant in one mode, late ones too
OF_ALL_MAX: Final = 200

Whose = tuple[str, str]
Exchange = asyncio.Task[Assessment]


class Exchanges:
    """Of one process."""

    def __init__(self, *, of_one_max: int = OF_ONE_MAX, of_all_max: int = OF_ALL_MAX) -> None:
        self._of_one_max, self._of_all_max = of_one_max, of_all_max
        self._awaited: dict[Exchange, Whose] = {}
        self._late: dict[Exchange, Whose] = {}  # the oldest first
        self._of_one: Counter[Whose] = Counter()
        self._giving_way: set[Exchange] = set()

    def __len__(self) -> int:
        return len(self._awaited) + len(self._late)

    def check(self, whose: Whose) -> None:
        """Returns where one more of theirs may be begun. Raises `NotAsked`."""
        crowded = len(self) >= self._of_all_max and not self._late
        if crowded or self._of_one[whose] >= self._of_one_max:
            raise NotAsked("busy")

    async def made(
        self,
        whose: Whose,
        work: Coroutine[Any, Any, Assessment],
        ended: Callable[[bool], None],
    ) -> Assessment:
        """The exchange's answer. Whoever does not wait for it any longer leaves it open, as a late one.

        `ended` is told whether it answered in time.
        """
        if len(self) >= self._of_all_max:
            self._give_way()
        exchange = asyncio.create_task(work)
        self._awaited[exchange] = whose
        self._of_one[whose] += 1

        def over(task: Exchange) -> None:
            answered = not task.cancelled() and task.exception() is None
            ended(self._left(task) and answered)

        exchange.add_done_callback(over)
        try:
            return await asyncio.shield(exchange)
        except asyncio.CancelledError:
            if exchange in self._awaited:
                self._late[exchange] = self._awaited.pop(exchange)
            raise

    async def close(self) -> None:
        """All have ended."""
        open_ = [*self._awaited, *self._late, *self._giving_way]
        for exchange in open_:
            exchange.cancel()
        if open_:
            await asyncio.wait(open_, timeout=1)

    def _give_way(self) -> None:
        """The oldest that nobody waits for ends, and its place is free."""
        oldest = next(iter(self._late))
        self._leaves(self._late.pop(oldest))
        self._giving_way.add(oldest)
        oldest.cancel()

    def _left(self, exchange: Exchange) -> bool:
        """It is open no more; whether somebody waited for it to the end."""
        self._giving_way.discard(exchange)
        awaited, late = self._awaited.pop(exchange, None), self._late.pop(exchange, None)
        if (whose := awaited or late) is not None:
            self._leaves(whose)
        return awaited is not None

    def _leaves(self, whose: Whose) -> None:
        self._of_one[whose] -= 1
        if not self._of_one[whose]:
            del self._of_one[whose]
