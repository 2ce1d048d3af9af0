"""What our side takes out of its sockets, counted beside the code that limits it."""

from collections.abc import Callable, Mapping
from typing import Any

import anyio.abc
import httpcore
import pytest


class Reads:
    """Every read of every connection that httpcore dials, in bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        reads, dial = self, httpcore.AnyIOBackend.connect_tcp

        async def connect_tcp(*args: Any, **named: Any) -> httpcore.AsyncNetworkStream:
            stream: Any = await dial(*args, **named)
            stream._stream = _Watched(stream._stream, reads)
            return stream

        monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect_tcp)

    @property
    def bytes(self) -> int:
        return sum(self.sizes)


class _Watched(anyio.abc.ByteStream):
    def __init__(self, inner: anyio.abc.ByteStream, reads: Reads) -> None:
        self._inner = inner
        self._reads = reads

    async def receive(self, max_bytes: int = 65536) -> bytes:
        data = await self._inner.receive(max_bytes)
        self._reads.sizes.append(len(data))
        return data

    async def send(self, item: bytes) -> None:
        await self._inner.send(item)

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def aclose(self) -> None:
        await self._inner.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return self._inner.extra_attributes
