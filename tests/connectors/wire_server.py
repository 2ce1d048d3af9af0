"""A server that behaves, or misbehaves, below HTTP."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from pydantic import BaseModel

from payonce.connectors.http import AcquirerHttp

PATIENT_S = 10.0

Handler = Callable[["WireServer", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class WireServer:
    """A TCP server on a free port. It counts connections and keeps every byte that it was sent."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.received = b""
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["WireServer"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = "http://127.0.0.1:{1}".format(*server.sockets[0].getsockname())
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """The next request's body. Raises `IncompleteReadError` at the end of the connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.received += head
        names = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        body = await reader.readexactly(int(names[b"Content-Length"]))
        self.received += body
        return body

    async def has_received(self, part: bytes, times: int) -> bool:
        """Whether it was sent `part` so many times."""
        return self.received.count(part) >= times

    async def connected(self) -> bool:
        """Whether there ever was a connection."""
        return self.connections > 0

    async def idle(self) -> bool:
        """Whether every connection has ended on this side."""
        return all(task.done() for task in self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._handler(self, reader, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass
        finally:
            writer.close()


def answer(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    """A complete HTTP/1.1 answer."""
    kind = "Content-Type: application/json"
    return f"HTTP/1.1 {status}\r\n{kind}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def reset(writer: asyncio.StreamWriter) -> None:
    """The peer sees a TCP reset."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


OK = answer(b'{"ok":true}')

Serve = Callable[[Handler], Awaitable[WireServer]]
OpenHttp = Callable[..., AcquirerHttp]


class Order(BaseModel):
    text: str = "money"


def yes() -> bool:
    return True


def writing(*answers: bytes) -> Handler:
    """Answers the requests of each connection in turn, then closes it."""

    async def handle(server: WireServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for raw in answers:
            await server.request(reader)
            writer.write(raw)
            await writer.drain()

    return handle


def answering_for_ever(raw: bytes = OK) -> Handler:
    return writing(*[raw] * 100)
