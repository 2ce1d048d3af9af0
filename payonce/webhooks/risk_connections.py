"""The connections to merchants' risk services: each merchant's own, kept warm, and to public addresses only.

A new one, with TLS, takes three round trips, and a warm one none: so they are kept as long as what lies on the way
allows. Those of the merchants who were not asked about for the longest time are closed first.
"""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpcore

from payonce.counted import Allowance
from payonce.tcp_only import TcpOnly
from payonce.webhooks.addresses import ForbiddenAddress, LookUp, Target, dial, resolve
from payonce.webhooks.risk_exchanges import OF_ALL_MAX, OF_ONE_MAX, Whose

CONNECTIONS_MAX: Final = 2 * OF_ALL_MAX  # idle ones too
IDLE_S: Final = 180.0  # less than after what balancers on the way forget a connection
TARGETS_MAX: Final = 10_000


@dataclass
class _Own:
    """The connections of one merchant in one mode."""

    pool: httpcore.AsyncConnectionPool
    used: int = 0


class ServiceConnections:
    """Of one process."""

    def __init__(self, tls: ssl.SSLContext, look_up: LookUp) -> None:
        self._tls, self._backend = tls, _Public(look_up)
        self._own: OrderedDict[Whose, _Own] = OrderedDict()  # who was asked about last comes last
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def to(self, target: Target, whose: Whose) -> AsyncIterator[httpcore.AsyncConnectionPool]:
        """What reaches this target."""
        self._backend.allow(target)
        own = self._own.pop(whose, None) or _Own(self._opened())
        self._own[whose] = own
        own.used += 1
        try:
            yield own.pool
        finally:
            own.used -= 1
            self._trim()

    async def close(self) -> None:
        for own in self._own.values():
            await own.pool.aclose()
        if self._closing:
            await asyncio.wait(self._closing, timeout=1)

    def _opened(self) -> httpcore.AsyncConnectionPool:
        return httpcore.AsyncConnectionPool(
            ssl_context=self._tls,
            max_connections=OF_ONE_MAX,
            keepalive_expiry=IDLE_S,
            network_backend=self._backend,
        )

    def _trim(self) -> None:
        """No more connections are kept than there may be."""
        kept = sum(max(1, len(own.pool.connections)) for own in self._own.values())
        for whose in [whose for whose, own in self._own.items() if not own.used]:
            if kept <= CONNECTIONS_MAX:
                return
            pool = self._own.pop(whose).pool
            kept -= max(1, len(pool.connections))
            closing = asyncio.create_task(pool.aclose())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


class _Public(TcpOnly):
    """Dials what a URL that was understood names, at public addresses only, each time as it resolves then."""

    def __init__(self, look_up_: LookUp) -> None:
        self._look_up = look_up_
        self._targets: OrderedDict[tuple[str, int], Target] = OrderedDict()

    def allow(self, target: Target) -> None:
        self._targets.pop((target.host, target.port), None)
        self._targets[target.host, target.port] = target
        if len(self._targets) > TARGETS_MAX:
            self._targets.popitem(last=False)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection. Raises `ForbiddenAddress`, `NameNotResolved`, and what httpcore does."""
        target = self._targets.get((host, port))
        if target is None:
            raise ForbiddenAddress
        allowance = Allowance()
        stream = await dial(await resolve(target, look_up=self._look_up), port, allowance=allowance)
        return _Kept(stream, allowance)


class _Kept(httpcore.AsyncNetworkStream):
    """A connection for many answers: for each request as much may come in as for the first.

    It stands above TLS, in which a server may have the other side write as often as it likes.
    """

    def __init__(self, inner: httpcore.AsyncNetworkStream, allowance: Allowance) -> None:
        self._inner, self._allowance = inner, allowance

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self._allowance.renew()
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        return _Kept(await self._inner.start_tls(ssl_context, server_hostname, timeout), self._allowance)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
