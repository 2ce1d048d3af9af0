"""Connections to the primary that stay open: the last one used is used first, so that few are warm.

SQLAlchemy's own pool does the same, at 0.25 ms of CPU for each use (docs/performance.md).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import psycopg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payonce.storage.driver.wire import BEGIN, BEGIN_READING, Wire

WAIT_S = 2.0
OUT_MAX_S = 30.0  # a transaction has 4 s, its rollback 1 s, and the driver waits 10 s for a cancellation


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """A connection, for SQLAlchemy and for the wire; `era`: of its pool when it was opened."""

    sqlalchemy: AsyncConnection
    wire: Wire
    era: int

    @property
    def fit(self) -> bool:
        """Whether it may serve another transaction."""
        return (
            self.wire.idle and not self.wire.lost and not self.wire.worn and not self.sqlalchemy.invalidated
        )

    async def rest(self) -> None:
        """SQLAlchemy has nothing open on it: it believes to be in a transaction from its first statement on."""
        if self.sqlalchemy.in_transaction():
            await self.sqlalchemy.rollback()

    async def close(self) -> None:
        """It is gone, in whatever state it was."""
        with suppress(SQLAlchemyError, psycopg.Error, OSError):
            await self.sqlalchemy.invalidate()
        with suppress(SQLAlchemyError, psycopg.Error, OSError):
            await self.sqlalchemy.close()


class Pool:
    """At most `size` connections, each for one transaction at a time.

    `on_open` looks at each new one. `on_lost` is called when one broke by itself, or leads to the wrong server: it
    must `renew` every pool that leads there.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        size: int,
        reads_only: bool = False,
        of_api: bool = False,
        on_open: Callable[[Pooled], Awaitable[None]],
        on_lost: Callable[[], Awaitable[None]],
    ) -> None:
        self._engine = engine
        self._size = size
        self.begin = BEGIN_READING if reads_only else BEGIN
        self.of_api = of_api  # its connections are the API's role's
        self._free = asyncio.Semaphore(size)
        self._on_open = on_open
        self._on_lost = on_lost
        self._era = 0
        self._resting: list[Pooled] = []
        self._out: dict[Pooled, float] = {}  # and since when
        self._closed = False

    async def take(self) -> Pooled:
        """A connection of the caller's own, on which no transaction is open; it must be given back.

        Raises `TimeoutError` if none is free within `WAIT_S`, and what SQLAlchemy raises if none can be opened.
        """
        async with asyncio.timeout(WAIT_S):
            await self._free.acquire()
        try:
            if self._closed:
                raise ConnectionError("the pool is closed")
            pooled = await self._rested() or await self._open()
        except BaseException:
            self._free.release()
            raise
        self._out[pooled] = time.monotonic()
        return pooled

    async def give_back(self, pooled: Pooled) -> None:
        """It rests, or is closed. Where it broke by itself, all that were opened as early may lead nowhere, too."""
        self._out.pop(pooled, None)
        try:
            if pooled.fit and await _rests(pooled) and pooled.era == self._era and not self._closed:
                self._resting.append(pooled)
                return
            await pooled.close()
            if pooled.wire.lost and pooled.era == self._era:  # of an earlier era it is no news
                await self._on_lost()
        finally:
            self._free.release()

    def is_stuck(self, *, but_for: Collection[Wire] = ()) -> bool:
        """Whether all were taken so long ago that they must have been lost, whatever Postgres does.

        `but_for` these, which may be out for as long as it takes.
        """
        now = time.monotonic()
        overdue = [
            pooled
            for pooled, since in self._out.items()
            if now - since > OUT_MAX_S and pooled.wire not in but_for
        ]
        return len(overdue) >= self._size

    async def renew(self) -> None:
        """Those that rest are closed, and the others when they are given back: whoever comes next gets a new one."""
        self._era += 1
        await self._close_resting()

    async def close(self) -> None:
        """Those that rest are closed, the others when they are given back."""
        self._closed = True
        await self._close_resting()
        await self._engine.dispose()

    async def _close_resting(self) -> None:
        resting, self._resting = self._resting, []
        for pooled in resting:
            await pooled.close()

    async def _rested(self) -> Pooled | None:
        """The one that was used last, unless the server ended it meanwhile."""
        while self._resting:
            pooled = self._resting.pop()
            if not pooled.wire.spoke_at_rest():
                return pooled
            await pooled.close()
        return None

    async def _open(self) -> Pooled:
        era = self._era  # before it is known where the connection leads
        connection = await self._engine.connect()
        driver = (await connection.get_raw_connection()).driver_connection
        pooled = Pooled(connection, Wire(cast("psycopg.AsyncConnection[Any]", driver)), era)
        try:
            await self._on_open(pooled)
        except BaseException:
            await pooled.close()
            raise
        return pooled


async def _rests(pooled: Pooled) -> bool:
    """Whether it can be used again: what went on before is over, whatever becomes of it now."""
    try:
        await pooled.rest()
    except (SQLAlchemyError, psycopg.Error, OSError, TimeoutError):
        return False
    except BaseException:  # somebody stops the caller: nobody else would close it
        pooled.wire.abandon()
        raise
    return True
