"""uvicorn's HTTP parser with limits on a request's head, and no doubt about where its body begins and ends.

uvicorn 0.54 limits neither the size of a head nor its time with httptools, and loses a body in two places: beside
`Upgrade`, which makes llhttp stop after the head, and behind `Connection: close`, where it skips what follows.
A request without a body may mean "all", so here a body is read, or the request is refused before it is executed.
What is not HTTP is answered in our form, too.

No connection is without an end: while no request is under way a timer runs, which only a request ends and no
single byte; an answer to a request whose body has not come ends the connection; and `ClientWire` sees to it that
what is said is taken. A request that is under way has its own limits.
"""

import asyncio
from asyncio.events import TimerHandle
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from api.http.connections import ClientWire, Connections
from api.http.targets import TARGET_BYTES_MAX, check_host, origin_form
from api.problems import PROBLEM_JSON, Problem
from payonce.domain.ids import random_id

HEAD_BYTES_MAX = 32 * 1024  # the target, names and values
HEADERS_MAX = 100
HEAD_WAIT_S = 10.0
PIPELINED_MAX = 32  # requests that wait behind another; nobody sends so many before an answer
# What chunks may cost besides what they carry: a byte in a chunk of its own takes five more.
CHUNK_COST = 8

_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})  # whose handlers read it before they do anything


class LimitedProtocol(HttpToolsProtocol):
    """Requests reach the application whole or not at all; a refusal is the connection's last answer."""

    def __init__(self, *arguments: Any, connections: Connections, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._all = connections
        self.parser = httptools.HttpRequestParser(self)  # without uvicorn's leniency for `Connection: close`
        self._head_bytes = self._unparsed_bytes = self._framing_bytes = 0
        self._in_head = self._in_body = False
        self._keeps_alive = False  # once the body is there
        self._running: RequestResponseCycle | None = None  # the others wait in the pipeline
        self._refusal: Problem | None = None
        self._head_timer: TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        sound = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._wire = ClientWire(sound, self.loop, self._is_sending)
        super().connection_made(cast("asyncio.Transport", self._wire))
        if self._all.has_room(self, self.client[0] if self.client else ""):
            self._await_head()
        else:
            self._wire.cut()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        self._unset_keepalive_if_required()
        self._all.closed(self)
        self._wire.ended()
        if self._running is not None:  # uvicorn tells the latest only
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def give_way(self) -> None:
        self._wire.cut()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing() or self._refusal is not None:
            self._wire.heard(len(data))  # after a refusal nothing more is read
            return
        continued = self._in_head
        self._framing_bytes += len(data) if self._in_body else 0
        try:
            self._parse(data)
            if continued and self._in_head:  # the parser keeps a field to itself until it is whole
                self._unparsed_bytes += len(data)
                self._count(0)
            if self._in_body and self._framing_bytes > HEAD_BYTES_MAX:
                raise Problem("invalid_request", "The chunks of the body cost more than they carry.")
        except Problem as problem:
            self._refuse(problem)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            not_http = Problem("invalid_request", "This is not a valid HTTP request.")
            self._refuse(not_http, with_the_one_before=True)

    def eof_received(self) -> bool:  # type: ignore[override] # uvicorn says None; asyncio takes a bool
        """What is whole by then is answered, and what is not is refused; False closes the connection.

        A stream has no end, and a client that has left says so in no other way.
        """
        if self._in_head or self._in_body:
            self._refuse(Problem("invalid_request", "The request ended before it was whole."))
        streams = self._running is not None and self._running.chunked_encoding
        if not self._is_due() or streams or self.transport.is_closing():
            return False
        if self._refusal is None:
            self._last_answer()
        return True

    def shutdown(self) -> None:
        self._keeps_alive = False
        super().shutdown()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._head_bytes = self._unparsed_bytes = 0
        self._in_head = True
        self._await_head()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > TARGET_BYTES_MAX:
            raise Problem("uri_too_long", f"A target has at most {TARGET_BYTES_MAX} bytes.")
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers are not headers (RFC 9110 §6.5.1); uvicorn would add them
            super().on_header(name, value)
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_arrived()
        self._unset_keepalive_if_required()
        self._check_head()
        if len(self.pipeline) >= PIPELINED_MAX:
            detail = f"At most {PIPELINED_MAX} requests wait behind another."
            raise Problem("rate_limited", detail, headers={"retry-after": "1"})
        if not self.parser.should_upgrade():  # else this head comes again, see `_parse`
            self._all.works(self)
            super().on_headers_complete()
            self._in_body, self._framing_bytes = True, 0
            # An answer that does not wait for the body is the last one (RFC 9112 §9.3).
            self._keeps_alive, self.cycle.keep_alive = self.cycle.keep_alive, False
            self._running = self._running or self.cycle

    def on_body(self, body: bytes) -> None:
        self._framing_bytes -= (1 + CHUNK_COST) * len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            self._in_body = False
            if not self.cycle.response_started:
                self.cycle.keep_alive = self._keeps_alive
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Starts the next request; behind the last one comes the refusal, if there is one."""
        last = not self.pipeline
        self._running = None if last else self.pipeline[-1][0]
        super().on_response_complete()
        if last:
            self._all.rests(self)
        if last and self._refusal is not None and not self.transport.is_closing():
            self._end(self._refusal)

    def _parse(self, data: bytes) -> None:
        """The parser has seen the bytes, and nothing of `Upgrade`. Raises `HttpParserError` or `Problem`.

        `Upgrade` is an offer that we do not take (RFC 9110 §7.8), but llhttp takes a request with it for the last
        one of this protocol, and its body for another's. So where it stops, a new parser is given the same head
        without that field, and then what follows it.
        """
        rest = memoryview(data)
        while True:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as stop:
                rest = rest[stop.args[0] :]
                head = self._head_without_upgrade()
                self.parser = httptools.HttpRequestParser(self)
                self.parser.feed_data(head)
            except httptools.HttpParserCallbackError as error:
                if isinstance(error.__context__, Problem):
                    raise error.__context__ from None
                raise
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        line = b" ".join([self.parser.get_method(), self.url, b"HTTP/" + self._version()])
        fields = [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join([line, *fields, b"", b""])

    def _version(self) -> bytes:
        return str(self.parser.get_http_version()).encode()

    def _check_head(self) -> None:
        """The target is a path. Raises `Problem` where llhttp takes what RFC 9112 has a server refuse.

        Lengths that are no number or stand there twice or beside a transfer coding, codings behind `chunked`,
        folded lines and space before a colon: those it refuses itself.
        """
        version = self._version()
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        if version not in (b"1.0", b"1.1"):
            raise Problem("invalid_request", "The version is HTTP/1.1 or HTTP/1.0.")
        if self.parser.get_method() == b"CONNECT":  # what follows would be a tunnel's (RFC 9110 §9.3.6)
            raise Problem("invalid_request", "This is no proxy; there is no CONNECT here.")
        if codings and (codings != [b"chunked"] or version == b"1.0"):  # RFC 9112 §6.1
            raise Problem("invalid_request", "The only Transfer-Encoding is chunked, in HTTP/1.1.")
        check_host([value for name, value in self.headers if name == b"host"], required=version == b"1.1")
        self.url = origin_form(self.parser.get_method(), self.url)
        if version == b"1.0":
            self.expect_100_continue = False  # RFC 9110 §10.1.1

    def _count(self, size: int) -> None:
        """Raises `Problem` for a head that is too large."""
        self._head_bytes += size
        if max(self._head_bytes, self._unparsed_bytes) > HEAD_BYTES_MAX or len(self.headers) > HEADERS_MAX:
            detail = f"A head has at most {HEAD_BYTES_MAX} bytes and {HEADERS_MAX} header fields."
            raise Problem("headers_too_large", detail)

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_WAIT_S, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.flow.read_paused:  # it is we who do not read, while another request is under way
            self._await_head()
        elif self._is_due():
            self._refuse(Problem("request_timeout", f"The head did not arrive within {HEAD_WAIT_S:g} s."))
        else:
            self.transport.close()

    def _head_arrived(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, problem: Problem, *, with_the_one_before: bool = False) -> None:
        """The connection ends with this answer, behind those that are due to earlier requests.

        A request whose body is broken is withdrawn. So is a whole one, `with_the_one_before`, that is followed by
        what is no request: that may have been its body, which nobody announced.
        """
        if self.transport.is_closing() or self._refusal is not None:
            return
        self._refusal = problem
        self._head_arrived()
        withdrawn = self._in_body or with_the_one_before
        if self._in_body and self.cycle.response_started:
            self.transport.close()  # it has its answer, and there is no second one
        elif not (self._withdraw() if withdrawn else self._is_due()):
            self._end(problem)

    def _withdraw(self) -> bool:
        """The latest request is not executed, unless the application has it whole; True if answers are due.

        The application takes a request when it is told that the body is at its end: it never is told.
        """
        if not self._is_due() or self._is_taken():
            return self._is_due()
        if self.pipeline:  # it waits behind others
            self.pipeline.popleft()
            return True
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        return False

    def _is_due(self) -> bool:
        """Whether the latest request, and so perhaps others before it, waits for its answer."""
        return self.cycle is not None and not self.cycle.response_complete

    def _is_sending(self) -> bool:
        """Whether the client has begun what it has not ended, or was told so."""
        return self._in_head or self._in_body or self._refusal is not None

    def _last_answer(self) -> None:
        """The answer to the latest request ends the connection."""
        self._keeps_alive = self.cycle.keep_alive = False

    def _is_taken(self) -> bool:
        """Whether the application may act on the latest request: the event is cleared by who receives."""
        told = not self.cycle.more_body and not self.cycle.message_event.is_set()
        reads_none = not self._in_body and self.cycle.scope["method"] not in _WITH_BODY
        return told or reads_none or self.cycle.response_started

    def _end(self, problem: Problem) -> None:
        """The refusal is written and the connection closed."""
        request_id = random_id("req")
        body = problem.body(request_id)
        fields = {
            "content-type": PROBLEM_JSON,
            "content-length": str(len(body)),
            "request-id": request_id,
            "connection": "close",
            **problem.headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
        self.transport.write(STATUS_LINE[problem.status] + head.encode() + body)
        self.transport.close()
