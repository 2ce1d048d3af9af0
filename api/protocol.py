"""uvicorn's HTTP parser with limits on a request's head: its size, and the time it may take to arrive.

uvicorn 0.54 limits neither with httptools; what is not HTTP is answered here in our form, too.
"""

import asyncio
from asyncio.events import TimerHandle
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.problems import PROBLEM_JSON, Problem
from payonce.domain.ids import random_id

HEAD_BYTES_MAX = 32 * 1024  # the target, names and values
HEADERS_MAX = 100
HEAD_WAIT_S = 10.0


class LimitedProtocol(HttpToolsProtocol):
    """Answers 431 to a head that is too large, and closes when one does not arrive in time."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_bytes = self._unparsed_bytes = 0
        self._in_head = False
        self._head_timer: TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))  # uvloop's is none by inheritance
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return  # after a refusal nothing more is read
        continued = self._in_head
        super().data_received(data)
        if continued and self._in_head:  # the parser keeps a field to itself until it is whole
            self._unparsed_bytes += len(data)
            self._count(0)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = self._unparsed_bytes = 0
        self._in_head = True
        self._await_head()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_arrived()
        if not self.transport.is_closing():
            super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """What is not HTTP: the reason stays in the log."""
        self._refuse(Problem("invalid_request", "This is not a valid HTTP request."))

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if max(self._head_bytes, self._unparsed_bytes) > HEAD_BYTES_MAX or len(self.headers) > HEADERS_MAX:
            detail = f"A head has at most {HEAD_BYTES_MAX} bytes and {HEADERS_MAX} header fields."
            self._refuse(Problem("headers_too_large", detail))

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_WAIT_S, self.transport.close)

    def _head_arrived(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, problem: Problem) -> None:
        """The answer, unless one to an earlier request is still due; then the connection is closed."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            request_id = random_id("req")
            body = problem.body(request_id)
            head = (
                f"content-type: {PROBLEM_JSON}\r\ncontent-length: {len(body)}\r\n"
                f"request-id: {request_id}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(STATUS_LINE[problem.status] + head.encode() + body)
        self.transport.close()
