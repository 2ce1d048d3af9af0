"""Connections to the primary that stay open: the last one used is used first, so that few are warm.

SQLAlchemy's own pool does the same, at 0.25 ms of CPU for each use (docs/performance.md).
"""

import asyncio
from collections.abc import AsyncIterator
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
        return self.wire.idle and not self.wire.worn and not self.sqlalchemy.invalidated

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
    """At most `size` connections, each for one transaction at a time."""

    def __init__(self, engine: AsyncEngine, *, size: int) -> None:
        self._engine = engine
        self._free = asyncio.Semaphore(size)
        self._resting: list[Pooled] = []
        self._closed = False

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Pooled]:
        """A connection of the caller's own, on which no transaction is open.

        Raises `TimeoutError` if none is free within `WAIT_S`, and what SQLAlchemy raises if none can be opened.
        """
        async with asyncio.timeout(WAIT_S):
            await self._free.acquire()
        try:
            pooled = self._resting.pop() if self._resting else await self._open()
            try:
                yield pooled
            finally:
                await self._take_back(pooled)
        finally:
            self._free.release()

    async def close(self) -> None:
        """Those that rest are closed, the others when they are given back."""
        self._closed = True
        await self._close_resting()
        await self._engine.dispose()

    async def _open(self) -> Pooled:
        connection = await self._engine.connect()
        driver = (await connection.get_raw_connection()).driver_connection
        return Pooled(connection, Wire(cast("psycopg.AsyncConnection[Any]", driver)))

    async def _take_back(self, pooled: Pooled) -> None:
        """It rests, or is closed. Where it broke by itself, those that rest may be broken, too."""
        if self._closed or not pooled.fit:
            await pooled.close()
            if pooled.wire.lost:
                await self._close_resting()
            return
        try:
            await pooled.rest()
        except BaseException:
            await pooled.close()
            raise
        self._resting.append(pooled)

    async def _close_resting(self) -> None:
        resting, self._resting = self._resting, []
        for pooled in resting:
            await pooled.close()
