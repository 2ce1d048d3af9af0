"""Connections to the primary that stay open: the last one used is used first, so that few are warm.

SQLAlchemy's own pool does the same, at 0.25 ms of CPU for each use (docs/performance.md).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import psycopg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payonce.storage.wire import Wire

WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class Pooled:
    """A connection, for SQLAlchemy and for the wire."""

    sqlalchemy: AsyncConnection
    wire: Wire

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
    """At most `size` connections, each for one transaction at a time. `on_open` looks at each new one."""

    def __init__(
        self, engine: AsyncEngine, *, size: int, on_open: Callable[[Pooled], Awaitable[None]]
    ) -> None:
        self._engine = engine
        self._free = asyncio.Semaphore(size)
        self._on_open = on_open
        self._resting: list[Pooled] = []
        self._closed = False

    async def take(self) -> Pooled:
        """A connection of the caller's own, on which no transaction is open; it must be given back.

        Raises `TimeoutError` if none is free within `WAIT_S`, and what SQLAlchemy raises if none can be opened.
        """
        async with asyncio.timeout(WAIT_S):
            await self._free.acquire()
        try:
            return await self._rested() or await self._open()
        except BaseException:
            self._free.release()
            raise

    async def give_back(self, pooled: Pooled) -> None:
        """It rests, or is closed. Where it broke by itself, those that rest may be broken, too."""
        try:
            if pooled.fit and not self._closed and await _rests(pooled):
                self._resting.append(pooled)
                return
            await pooled.close()
            if pooled.wire.lost:
                await self.close_resting()
        finally:
            self._free.release()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Pooled]:
        """As `take`, given back when the block ends."""
        pooled = await self.take()
        try:
            yield pooled
        finally:
            await self.give_back(pooled)

    async def close_resting(self) -> None:
        """Those that rest are closed; the next ones are opened anew."""
        resting, self._resting = self._resting, []
        for pooled in resting:
            await pooled.close()

    async def close(self) -> None:
        """Those that rest are closed, the others when they are given back."""
        self._closed = True
        await self.close_resting()
        await self._engine.dispose()

    async def _rested(self) -> Pooled | None:
        """The one that was used last, unless the server ended it meanwhile."""
        while self._resting:
            pooled = self._resting.pop()
            if not pooled.wire.spoke_at_rest():
                return pooled
            await pooled.close()
        return None

    async def _open(self) -> Pooled:
        connection = await self._engine.connect()
        driver = (await connection.get_raw_connection()).driver_connection
        pooled = Pooled(connection, Wire(cast("psycopg.AsyncConnection[Any]", driver)))
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
    return True
