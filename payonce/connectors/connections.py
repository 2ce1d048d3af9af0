"""The open connections to one acquirer account."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Final

import httpcore
import httpx

from payonce.counted import BODY_BYTES_MAX, Allowance, CountingBackend

CONNECTIONS_MAX: Final = 128  # per process and account
IDLE_S_MAX: Final = 4.0  # servers that close idle connections wait 5 s or more: a reused one is not reset
POOL_WAIT_S_MAX: Final = 2.0


@cache
def trusting() -> ssl.SSLContext:
    """Whoever the system's authorities vouch for: one for the process, which nobody changes.

    To load the authorities takes 25 ms of the event loop and 0.7 MiB (measured), for each account otherwise and each
    rotation of its secrets. An account with a certificate of its own needs a context of its own.
    """
    return httpx.create_ssl_context(trust_env=False)


class AcquirerConnections:
    """Up to so many connections, each for one request at a time; the last one used is used first.

    Not one pool of httpcore's: that gives one idle connection to every request that waits. With 200 in flight
    some stood in line for it for 8 s, past their deadline, while 21 others were idle (measured).
    """

    def __init__(self, origin: httpcore.Origin, connections_max: int) -> None:
        self._origin = origin
        self._free = asyncio.Semaphore(connections_max)
        self._ssl_context = trusting()
        self._open: dict[httpcore.AsyncHTTPConnection, Allowance] = {}
        self._idle: list[httpcore.AsyncHTTPConnection] = []

    @asynccontextmanager
    async def one(
        self, *, body_bytes_max: int = BODY_BYTES_MAX
    ) -> AsyncIterator[httpcore.AsyncHTTPConnection]:
        """A connection of the caller's own, for an answer whose body is at most so long.

        Raises `TimeoutError` if none is free in `POOL_WAIT_S_MAX`.
        """
        async with asyncio.timeout(POOL_WAIT_S_MAX):
            await self._free.acquire()
        try:
            connection = await self._usable()
            self._open[connection].renew(body_bytes_max=body_bytes_max)
            try:
                yield connection
            finally:
                self._idle.append(connection)
        finally:
            self._free.release()

    async def close(self) -> None:
        for connection in list(self._open):
            await connection.aclose()

    async def _usable(self) -> httpcore.AsyncHTTPConnection:
        """The connection that was used last, or a new one where that broke or rested for too long."""
        if not self._idle:
            return self._new()
        connection = self._idle.pop()
        # Idle is neither closed nor left in the middle of a request, as by a cancellation.
        if connection.is_idle() and not connection.has_expired():
            return connection
        del self._open[connection]
        await connection.aclose()
        return self._new()

    def _new(self) -> httpcore.AsyncHTTPConnection:
        allowance = Allowance()
        connection = httpcore.AsyncHTTPConnection(
            self._origin,
            ssl_context=self._ssl_context,
            keepalive_expiry=IDLE_S_MAX,
            network_backend=CountingBackend(allowance),
        )
        self._open[connection] = allowance
        return connection
