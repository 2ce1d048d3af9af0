"""Counts and times every call to an acquirer, whatever the connector, and tells those who wait for it."""

import time
from collections import defaultdict
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol, TypeVar, cast

from payonce.connectors.base import Asking, Call, Callback, Calling, Connector, MaySend
from payonce.domain.errors import CallbackInvalid, ConnectorError, Rejected
from payonce.domain.facts import Cancellation, EndsItself, Inquiry, Reply, Reversed
from payonce.logging import get_logger
from payonce.metrics import CONNECTOR_CALLS, CONNECTOR_SECONDS

T = TypeVar("T", bound=Reply | Cancellation)
log = get_logger(__name__)


class Watcher(Protocol):
    """Who waits for an operation, and wants to know when it is the acquirer's turn."""

    def call_begun(self) -> None: ...

    def call_ended(self) -> None: ...


class Calls:
    """The watchers of this process, by operation id."""

    def __init__(self) -> None:
        self._watchers: defaultdict[str, list[Watcher]] = defaultdict(list)

    @contextmanager
    def watched(self, operation_id: str, watcher: Watcher | None) -> Iterator[None]:
        """The watcher hears of every call of the operation that begins while the block runs, and of its end."""
        if watcher is None:
            yield
            return
        self._watchers[operation_id].append(watcher)
        try:
            yield
        finally:
            self._watchers[operation_id].remove(watcher)
            if not self._watchers[operation_id]:
                del self._watchers[operation_id]

    @contextmanager
    def under_way(self, operation_id: str) -> Iterator[None]:
        """A call of the operation is under way while the block runs."""
        watchers = tuple(self._watchers.get(operation_id, ()))
        for watcher in watchers:
            watcher.call_begun()
        try:
            yield
        finally:
            for watcher in watchers:
                watcher.call_ended()


class Measured:
    """A connector around a connector."""

    def __init__(self, account_id: str, connector: Connector, calls: Calls) -> None:
        self._account_id = account_id
        self._calls = calls
        self._connector = connector
        self.name = connector.name
        self.capabilities = connector.capabilities

    async def send(self, call: Call, *, may_send: MaySend) -> Reply:
        with self._calls.under_way(call.operation_id):
            return await self._measured(call.kind, self._connector.send(call, may_send=may_send))

    async def inquire(self, call: Call) -> Inquiry:
        return await self._measured("inquire", self._connector.inquire(call))

    async def reverse(self, call: Call) -> Reversed:
        return await self._measured("reverse", self._connector.reverse(call))

    async def cancel(self, call: Call) -> Cancellation:
        if not self.capabilities.needs_action:
            return EndsItself()
        return await self._measured("cancel", cast("Asking", self._connector).cancel(call))

    def read_callback(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Callback:
        if not self.capabilities.callbacks:
            raise CallbackInvalid
        return cast("Calling", self._connector).read_callback(headers, body, now=now)

    async def close(self) -> None:
        await self._connector.close()

    async def _measured(self, kind: str, calling: Awaitable[T]) -> T:
        begun, result = time.monotonic(), "interrupted"
        try:
            reply = await calling
            result = reply.kind
            return reply
        except ConnectorError as error:
            result = error.code
            if isinstance(error, Rejected):  # counted and said, whatever it is that was asked
                log.error("acquirer_rejected", account=self._account_id, call=kind, reason=error.message)
            raise
        finally:
            CONNECTOR_CALLS.labels(self._account_id, kind, result).inc()
            CONNECTOR_SECONDS.labels(self._account_id, kind).observe(time.monotonic() - begun)
