"""Connections outwards on which everything that comes in is counted, whatever it is.

A limit on a body is none on what else a server may send: interim responses, header fields, chunk extensions,
trailers, TLS session tickets. So the bytes are counted where they come out of the socket, below TLS and HTTP.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import anyio.abc
import httpcore

from payonce.tcp_only import TcpOnly

BODY_BYTES_MAX: Final = 64 * 1024  # where nothing else is said
_FRAMING: Final = 2  # the head, framing and TLS of an answer have half as much as its body may have
RECEIVED_BYTES_MAX: Final = BODY_BYTES_MAX + BODY_BYTES_MAX // _FRAMING  # of one answer with such a body
PIECE_BYTES_MAX: Final = 8 * 1024  # read at a time, with a turn of the event loop in between
# One that comes byte by byte costs a turn of the event loop for each: 1,536 turns at most.
READ_COUNTS_AS_BYTES: Final = 64


class TooMuchReceived(httpcore.ProtocolError):
    """More came in than may."""


class Allowance:
    """How much may still come in on one connection."""

    def __init__(self) -> None:
        self._left = RECEIVED_BYTES_MAX

    def renew(self, *, body_bytes_max: int = BODY_BYTES_MAX) -> None:
        """Another answer is expected, with a body of at most so much."""
        self._left = body_bytes_max + body_bytes_max // _FRAMING

    def piece(self, wanted: int) -> int:
        """How much the next read may take. Raises `TooMuchReceived` if that is nothing."""
        if self._left <= 0:
            raise TooMuchReceived
        return min(wanted, self._left, PIECE_BYTES_MAX)

    def received(self, count: int) -> None:
        self._left -= max(count, READ_COUNTS_AS_BYTES)


class CountingBackend(TcpOnly):
    """Dials as httpcore does; what comes in on its connections is taken off the allowance."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection. Raises `httpcore.ConnectError` and `httpcore.ConnectTimeout`."""
        stream: Any = await self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        stream._stream = _Counted(stream._stream, self._allowance)  # below TLS, which has no other door
        counted: httpcore.AsyncNetworkStream = stream
        return counted


class _Counted(anyio.abc.ByteStream):
    """A socket's stream; what is read from it is counted."""

    def __init__(self, inner: anyio.abc.ByteStream, allowance: Allowance) -> None:
        self._inner = inner
        self._allowance = allowance

    async def receive(self, max_bytes: int = PIECE_BYTES_MAX) -> bytes:
        data = await self._inner.receive(self._allowance.piece(max_bytes))
        self._allowance.received(len(data))
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
