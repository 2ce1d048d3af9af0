"""HTTP/1.1 over kept connections, as cheap as it can be in Python: a generator must not be what is measured."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, cast

from bench.samples import BROKEN

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"


class Reply(NamedTuple):
    """An answer; `head` is in lower case. Status `BROKEN`: the connection ended without one."""

    status: int
    head: bytes = b""
    body: bytes = b""

    @property
    def keeps_connection(self) -> bool:
        return self.status != BROKEN and b"\r\nconnection: close" not in self.head


Answered = Callable[[Reply], None]


def parse(received: bytes) -> Reply | None:
    """The one answer that was received, None while it is not whole. Raises `ValueError` without a length."""
    end = received.find(_HEAD_END)
    if end < 0:
        return None
    head = received[:end].lower()
    at = head.find(_LENGTH)
    if at < 0:
        raise ValueError("an answer without Content-Length")
    begin = at + len(_LENGTH)
    stop = head.find(b"\r\n", begin)
    body_end = end + len(_HEAD_END) + int(head[begin : stop if stop > 0 else end])
    if len(received) < body_end:
        return None
    return Reply(int(head[9:12]), head, received[end + len(_HEAD_END) : body_end])


class Connection(asyncio.Protocol):
    """One connection with at most one request on it."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._received = b""
        self._answered: Answered | None = None
        self._transport: asyncio.Transport | None = None

    def ask(self, request: bytes, answered: Answered) -> None:
        """`answered` is called once, with the answer or with a broken one."""
        assert self._transport is not None
        assert self._answered is None
        self._answered = answered
        self._transport.write(request)

    def abort(self) -> None:
        """The connection is gone, and its request has a broken answer."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            reply = parse(self._received)
        except ValueError:
            self.abort()
            return
        if reply is not None:
            self._received = b""
            self._finish(reply)

    def connection_lost(self, _error: Exception | None) -> None:
        self._pool.forget(self)
        self._finish(Reply(BROKEN))

    def _finish(self, reply: Reply) -> None:
        answered, self._answered = self._answered, None
        if reply.keeps_connection:
            self._pool.give_back(self)
        elif reply.status != BROKEN:
            self.abort()
        if answered is not None:
            answered(reply)


class Pool:
    """The connections to one address; the one that rested longest is used next, so that all are used alike."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._free: deque[Connection] = deque()
        self._open: set[Connection] = set()

    def take(self) -> Connection | None:
        """A free connection, None when there is none."""
        return self._free.popleft() if self._free else None

    def give_back(self, connection: Connection) -> None:
        self._free.append(connection)

    def forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._free:
            self._free.remove(connection)

    async def connect(self) -> Connection:
        """A new connection, for its first request. Raises `OSError`."""
        host, port = self._address
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self), host, port)
        self._open.add(connection)
        return connection

    async def warm(self, count: int) -> None:
        """So many connections are open and free. Raises `OSError`."""
        for connection in await asyncio.gather(*(self.connect() for _ in range(count - len(self._free)))):
            self.give_back(connection)

    def close(self) -> None:
        """Every connection is gone."""
        for connection in list(self._open):
            connection.abort()
