"""Counts and times every call to an acquirer, whatever the connector."""

import time
from collections.abc import Awaitable
from typing import TypeVar

from payonce.connectors.base import Call, Connector, MaySend
from payonce.domain.errors import ConnectorError
from payonce.domain.outcomes import Inquiry, Reply, Reversed
from payonce.metrics import CONNECTOR_CALLS, CONNECTOR_SECONDS

T = TypeVar("T", bound=Reply | Inquiry | Reversed)


class Measured:
    """A connector around a connector."""

    def __init__(self, account_id: str, connector: Connector) -> None:
        self._account_id = account_id
        self._connector = connector
        self.name = connector.name
        self.capabilities = connector.capabilities

    async def send(self, call: Call, *, may_send: MaySend) -> Reply:
        return await self._measured(call.kind, self._connector.send(call, may_send=may_send))

    async def inquire(self, call: Call) -> Inquiry:
        return await self._measured("inquire", self._connector.inquire(call))

    async def reverse(self, call: Call) -> Reversed:
        return await self._measured("reverse", self._connector.reverse(call))

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
            raise
        finally:
            CONNECTOR_CALLS.labels(self._account_id, kind, result).inc()
            CONNECTOR_SECONDS.labels(self._account_id, kind).observe(time.monotonic() - begun)
