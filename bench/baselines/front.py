"""The least HTTP server that the generator can talk to: no framework, no parsing beyond a length."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import cast

_HEAD_END = b"\r\n\r\n"
_LENGTH, _KEY = b"\r\ncontent-length: ", b"\r\nidempotency-key: "

Answer = Callable[[bytes], Awaitable[bytes]]
"""From the idempotency key of a POST to the body of its answer."""


class Front(asyncio.Protocol):
    """One connection: POSTs one after another, each answered with 201; anything else with 200."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._received = b""
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(_HEAD_END)
        if end < 0:
            return
        head = self._received[:end].lower()
        if len(self._received) < end + len(_HEAD_END) + int(_field(head, _LENGTH) or 0):
            return
        is_post, self._received = self._received.startswith(b"POST "), b""
        if not is_post:
            self._write(b"200 OK", b"{}")
            return
        task = asyncio.create_task(self._post(_field(head, _KEY)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _post(self, key: bytes) -> None:
        self._write(b"201 Created", await self._answer(key))

    def _write(self, status: bytes, body: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))


async def serve(answer: Answer, *, port: int) -> None:
    """Requests are answered until SIGTERM or SIGINT."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    server = await loop.create_server(lambda: Front(answer), "127.0.0.1", port, backlog=2048)
    async with server:
        await ended.wait()


def _field(head: bytes, name: bytes) -> bytes:
    at = head.find(name)
    if at < 0:
        return b""
    begin = at + len(name)
    stop = head.find(b"\r\n", begin)
    return head[begin : stop if stop > 0 else len(head)]
