"""A merchant's webhook receiver on loopback: records every request as it came and answers as told."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook

WITHIN_S = 60.0
POLL_S = 0.01


@dataclass(frozen=True)
class Received:
    """One request as it came over the wire; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    def verified(self, secret: str) -> Any:
        """The event, if the signature and the time hold. Raises `WebhookVerificationError`."""
        return Webhook(secret).verify(self.body, self.headers)


Answer = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


def status(code: int, *, headers: str = "", body: bytes = b"") -> Answer:
    """Answers with the status at once."""

    async def answer(_request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {code} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)
        await writer.drain()

    return answer


def bytes_then_hang(data: bytes) -> Answer:
    """Sends the bytes and nothing more, and keeps the connection open."""

    async def answer(_request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        await asyncio.Event().wait()

    return answer


def bytes_then_close(data: bytes) -> Answer:
    """Sends the bytes and closes the connection."""

    async def answer(_request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return answer


def reset_after(data: bytes) -> Answer:
    """Sends the bytes, which Linux hands over before the reset that follows."""

    async def answer(_request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return answer


def endless(head: bytes, chunk: bytes, *, pause: bool = False) -> Answer:
    """Sends the head, then the chunk for as long as the other side takes it; with a `pause`, each by itself."""

    async def answer(_request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(chunk)
            await writer.drain()
            if pause:
                await asyncio.sleep(0)

    return answer


hang = bytes_then_hang(b"")


@dataclass
class Receiver:
    """Answers with the next of `answers`, and when they are used up with `otherwise`."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    answers: list[Answer] = field(default_factory=list)
    otherwise: Answer = field(default_factory=lambda: status(204))
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def ids(self) -> list[str]:
        """The event ids in the order of arrival, repetitions included."""
        return [request.headers["webhook-id"] for request in self.received]

    @property
    def serving(self) -> int:
        """How many connections it has not closed."""
        return len(self._serving)

    async def has(self, count: int) -> list[Received]:
        """The requests, once there are so many."""
        await until(lambda: len(self.received) >= count)
        return self.received

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            request = await _read(reader)
            self.received.append(request)
            await (self.answers.pop(0) if self.answers else self.otherwise)(request, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._serving.discard(task)
            writer.close()


@asynccontextmanager
async def answering_unread(data: bytes) -> AsyncIterator[str]:
    """The URL of a receiver that sends the bytes to whoever connects, and reads nothing."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()
        writer.write(data)
        await writer.drain()
        await done.wait()
        writer.transport.abort()

    done = asyncio.Event()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}/hooks"
        finally:
            done.set()


@asynccontextmanager
async def receiving(*, tls: ssl.SSLContext | None = None, **told: Any) -> AsyncIterator[Receiver]:
    """A receiver listens on a free port while the block runs."""
    receiver = Receiver(**told)
    server = await asyncio.start_server(receiver._serve, "127.0.0.1", 0, ssl=tls)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hooks?shop=7"
    try:
        yield receiver
    finally:
        server.close()
        serving = list(receiver._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def until(check: Callable[[], object], *, within_s: float = WITHIN_S) -> None:
    """Returns when the check holds. Raises `TimeoutError` when it does not in time."""
    async with asyncio.timeout(within_s):
        while not check():
            await asyncio.sleep(POLL_S)


async def _read(reader: asyncio.StreamReader) -> Received:
    head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _version = head.split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines if line)}
    body = await reader.readexactly(int(headers["content-length"]))
    return Received(method, target, headers, body)
