"""One acquirer account over HTTP/1.1, and the one question that matters: was the first byte sent?

Every failure before it is `NotSent`, every failure after it is `OutcomeUnknown` (design.md §2 rule 4).
httpcore says when it happens: its trace event `http11.send_request_headers.started` fires right before the
request's first `socket.send`, with no turn of the event loop in between, and an exception raised there closes
the connection with nothing written. Nothing is ever sent twice: no redirects, no retries.
Everything that comes in is counted on the connection, and not the body alone (`payonce.counted`).
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, assert_never
from urllib.parse import quote

import httpcore
import httpx
import structlog
from pydantic import BaseModel, ValidationError

from payonce.clock import boot_clock_s
from payonce.connectors.base import MaySend
from payonce.counted import Allowance, CountingBackend
from payonce.domain.errors import NotSent, OutcomeUnknown, RateLimited, Rejected

log = structlog.get_logger(__name__)

RESPONSE_BYTES_MAX: Final = 64 * 1024
CONNECTIONS_MAX: Final = 128  # per process and account
IDLE_S_MAX: Final = 4.0  # servers that close idle connections wait 5 s or more: a reused one is not reset
CONNECT_S_MAX: Final = 3.0  # the right to send lasts 5 s
POOL_WAIT_S_MAX: Final = 2.0
RETRY_AFTER_S_DEFAULT: Final = 1.0
RETRY_AFTER_S_MAX: Final = 60.0
BREAKER_FAILURES: Final = 20  # in a row: then nothing is sent for a while
BREAKER_OPEN_S: Final = 5.0

_PATH_SAFE: Final = "/?&=;:,+@!$'()*~%"  # of RFC 3986; the rest is encoded
_CONNECTED: Final = "connection.connect_tcp.complete"
_HEADERS_STARTED: Final = "http11.send_request_headers.started"
_BODY_STARTED: Final = "http11.send_request_body.started"
_TOO_MANY_REQUESTS: Final = 429

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class AcquirerResponse:
    """An answer that the acquirer documents; `content` is a JSON object."""

    status: int
    content: bytes = field(repr=False)

    def read(self, model: type[Model]) -> Model:
        """The body as `model`, read strictly. Raises `OutcomeUnknown` if it is something else."""
        try:
            return model.model_validate_json(self.content)
        except ValidationError as error:
            members = sorted({".".join(map(str, item["loc"])) for item in error.errors(include_input=False)})
        # Outside of the handler: the error holds the acquirer's raw body.
        raise OutcomeUnknown(f"HTTP {self.status} with an unexpected body: {', '.join(members)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Documented:
    """Which statuses other than 2xx the acquirer documents. Every other one leaves the outcome unknown."""

    answers: frozenset[int] = frozenset()  # returned, for the connector to read
    rejections: frozenset[int] = frozenset()  # nothing was processed


@dataclass(frozen=True, slots=True)
class _Received:
    status: int
    content: bytes = field(repr=False)
    retry_after: str | None


@dataclass(frozen=True, slots=True)
class _Failed:
    reason: str


class _SendingStopped(Exception):
    """The right to send does not hold, or the call's deadline has passed."""


class _Unwatched(Exception):
    """httpcore no longer says when it sends: then no failure proves anything."""


class _Sending:
    """Watches one request leave: whether its first byte was sent, and whether it may be."""

    def __init__(self, may_send: MaySend | None, *, clock: Callable[[], float], deadline_s: float) -> None:
        self._may_send = may_send
        self._clock = clock
        self._deadline = clock() + deadline_s
        self._connected: httpcore.AsyncNetworkStream | None = None
        self.begun = False
        self.withdrawn = False

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event == _CONNECTED:
            self._connected = info["return_value"]
        elif event == _HEADERS_STARTED:
            self._begin()
        elif event == _BODY_STARTED and self._clock() >= self._deadline:
            # The process was stopped between headers and body. Others count the acquirer's finality from the
            # deadline, so that a body sent now would come too late; without one nothing is processed.
            raise _SendingStopped

    async def close_unused(self) -> None:
        """No connection stays behind: httpcore forgets one whose TLS handshake is cancelled."""
        if self._connected is not None and not self.begun:
            await self._connected.aclose()

    def ended(self) -> None:
        """An answer came, so something was sent. Raises `_Unwatched` if nobody said so."""
        if not self.begun:
            self.begun = True
            raise _Unwatched

    def _begin(self) -> None:
        if self._clock() >= self._deadline or not (self._may_send is None or self._may_send()):
            self.withdrawn = True
            raise _SendingStopped
        self.begun = True


class CircuitBreaker:
    """Open after `BREAKER_FAILURES` failures in a row; after `BREAKER_OPEN_S` one call is let through to try.

    Every call that `admits` let through ends with exactly one of `succeeded`, `failed` and `abandoned`.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._open_until: float | None = None
        self._trying = False

    def admits(self) -> bool:
        """Whether a call may be made now."""
        if self._open_until is None:
            return True
        if self._trying or self._clock() < self._open_until:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        """The acquirer answered: closed."""
        self._failures = 0
        self._open_until = None
        self._trying = False

    def failed(self) -> None:
        """One more failure. While open only the trial call prolongs it, not earlier calls that fail late."""
        self._failures += 1
        if self._failures >= BREAKER_FAILURES and (self._open_until is None or self._trying):
            self._open_until = self._clock() + BREAKER_OPEN_S
        self._trying = False

    def abandoned(self) -> None:
        """The call ended without saying anything about the acquirer."""
        self._trying = False


class AcquirerHttp:
    """One pool of connections to one account. Opens nothing before the first `post`.

    Raises `ValueError` where `base_url` has no host, or another scheme than http and https, and for a header that
    HTTP cannot carry: a key with a line end would break off every call and leave its outcome unknown.
    """

    def __init__(
        self,
        *,
        base_url: str,
        headers: Mapping[str, str],
        call_deadline_s: float,
        documented: Documented,
        breaker: CircuitBreaker | None = None,
        connections_max: int = CONNECTIONS_MAX,
        clock: Callable[[], float] = boot_clock_s,
    ) -> None:
        self._call_deadline_s = call_deadline_s
        self._documented = documented
        self._breaker = breaker or CircuitBreaker()
        self._clock = clock
        self._base = _base(base_url)
        self._headers = {
            "Host": self._base.netloc.decode("ascii"),
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": "payonce",
            **{name.title(): _sendable(name, value) for name, value in headers.items()},
        }
        timeout = httpx.Timeout(call_deadline_s, connect=min(CONNECT_S_MAX, call_deadline_s))
        self._timeout = timeout.as_dict()
        self._connections = _Connections(self._url("").origin, connections_max)

    async def post(self, path: str, body: BaseModel, *, may_send: MaySend | None) -> AcquirerResponse:
        """The documented answer to one request, which was sent once.

        `may_send` is asked once, right before the first byte. None: the request moves nothing or may be
        repeated (an inquiry, a reversal), so it needs no right and the circuit breaker lets it through.
        Raises `NotSent`, `OutcomeUnknown`, `Rejected` or `RateLimited`, none of which holds or chains the
        request. Cancellation passes through as `CancelledError`, and leaves the outcome unknown.
        """
        if may_send is not None and not self._breaker.admits():
            raise NotSent("circuit open")
        sending = _Sending(may_send, clock=self._clock, deadline_s=self._call_deadline_s)
        try:
            ending = await self._exchange(path, body, sending)
        except BaseException:
            if may_send is not None:
                self._breaker.abandoned()
            raise
        if may_send is not None:
            self._tell_breaker(ending, sending)
        return self._classified(ending, sending)

    async def close(self) -> None:
        """Closes the connections."""
        await self._connections.close()

    async def _exchange(self, path: str, body: BaseModel, sending: _Sending) -> _Received | _Failed:
        """What came back, or why nothing did; always within the call's deadline."""
        try:
            async with asyncio.timeout(self._call_deadline_s):
                return await self._fetch(path, body, sending)
        except TimeoutError:
            return _Failed("timed out")
        except _SendingStopped:
            return _Failed("the right to send has lapsed")
        except Exception as error:
            # Whatever it was, what counts is whether the first byte was sent. The error itself is dropped: its
            # frames hold the request, and that one holds the card.
            return _Failed(type(error).__name__)
        finally:
            await sending.close_unused()

    async def _fetch(self, path: str, body: BaseModel, sending: _Sending) -> _Received:
        async with self._connections.one() as connection:
            response = await connection.handle_async_request(self._request(path, body, sending))
            try:
                sending.ended()
                content = await _read(response)
            finally:
                await response.aclose()
        return _Received(response.status, content, _header(response, b"retry-after"))

    def _request(self, path: str, body: BaseModel, sending: _Sending) -> httpcore.Request:
        content = body.model_dump_json(exclude_none=True).encode()
        return httpcore.Request(
            b"POST",
            self._url(path),
            headers=[*self._headers.items(), ("Content-Length", str(len(content)))],
            content=content,
            extensions={"trace": sending.trace, "timeout": self._timeout},
        )

    def _url(self, path: str) -> httpcore.URL:
        base = self._base
        target = base.raw_path.rstrip(b"/") + quote(path, safe=_PATH_SAFE).encode("ascii")
        return httpcore.URL(scheme=base.raw_scheme, host=base.raw_host, port=base.port, target=target or b"/")

    def _tell_breaker(self, ending: _Received | _Failed, sending: _Sending) -> None:
        if sending.withdrawn:
            self._breaker.abandoned()
        elif isinstance(ending, _Failed) or ending.status >= 500:
            self._breaker.failed()
        else:
            self._breaker.succeeded()

    def _classified(self, ending: _Received | _Failed, sending: _Sending) -> AcquirerResponse:
        match ending:
            case _Failed(reason):
                raise OutcomeUnknown(reason) if sending.begun else NotSent(reason)
            case _Received():
                return self._documented_answer(ending)
            case _:
                assert_never(ending)

    def _documented_answer(self, received: _Received) -> AcquirerResponse:
        status = received.status
        known = status in self._documented.answers or status in self._documented.rejections
        if not (200 <= status < 300 or known):
            raise OutcomeUnknown(f"HTTP {status}")
        if not _is_json_object(received.content):
            # A rejection too: it may come from something between us and the acquirer.
            raise OutcomeUnknown(f"HTTP {status} with an undecodable body")
        if status not in self._documented.rejections:
            return AcquirerResponse(status, received.content)
        if status == _TOO_MANY_REQUESTS:
            raise RateLimited(retry_after_s=_retry_after_s(received.retry_after))
        log.error("acquirer_rejected", status=status)
        raise Rejected(f"HTTP {status}")


def _base(base_url: str) -> httpx.URL:
    with suppress(httpx.InvalidURL):
        url = httpx.URL(base_url)
        if url.scheme in ("http", "https") and url.host:
            return url
    raise ValueError(f"{base_url!r} is not the URL of an acquirer")


def _sendable(name: str, value: str) -> str:
    """The header's value, which may be secret: no error tells it."""
    if not (value.isascii() and value.isprintable() and value == value.strip()):
        raise ValueError(
            f"the header {name} cannot be sent: it has a line end, a blank around it, or what is no ASCII"
        )
    return value


class _Connections:
    """Up to so many connections, each for one request at a time; the last one used is used first.

    Not one pool of httpcore's: that gives one idle connection to every request that waits. With 200 in flight
    some stood in line for it for 8 s, past their deadline, while 21 others were idle (measured).
    """

    def __init__(self, origin: httpcore.Origin, connections_max: int) -> None:
        self._origin = origin
        self._free = asyncio.Semaphore(connections_max)
        self._ssl_context = httpx.create_ssl_context(trust_env=False)
        self._open: dict[httpcore.AsyncHTTPConnection, Allowance] = {}
        self._idle: list[httpcore.AsyncHTTPConnection] = []

    @asynccontextmanager
    async def one(self) -> AsyncIterator[httpcore.AsyncHTTPConnection]:
        """A connection of the caller's own. Raises `TimeoutError` if none is free in `POOL_WAIT_S_MAX`."""
        async with asyncio.timeout(POOL_WAIT_S_MAX):
            await self._free.acquire()
        try:
            connection = await self._usable()
            self._open[connection].renew()
            try:
                yield connection
            finally:
                self._idle.append(connection)
        finally:
            self._free.release()

    async def close(self) -> None:
        for connection in list(self._open):
            await connection.aclose()

    async def _usable(self) -> httpcore.AsyncHTTPConnection:
        """The connection that was used last, or a new one where that broke or rested for too long."""
        if not self._idle:
            return self._new()
        connection = self._idle.pop()
        # Idle is neither closed nor left in the middle of a request, as by a cancellation.
        if connection.is_idle() and not connection.has_expired():
            return connection
        del self._open[connection]
        await connection.aclose()
        return self._new()

    def _new(self) -> httpcore.AsyncHTTPConnection:
        allowance = Allowance()
        connection = httpcore.AsyncHTTPConnection(
            self._origin,
            ssl_context=self._ssl_context,
            keepalive_expiry=IDLE_S_MAX,
            network_backend=CountingBackend(allowance),
        )
        self._open[connection] = allowance
        return connection


class _TooLarge(Exception):
    """The acquirer's answer is over the limit."""


async def _read(response: httpcore.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_stream():  # as it was sent: we asked for no compression
        content += chunk
        if len(content) > RESPONSE_BYTES_MAX:
            raise _TooLarge
    return bytes(content)


def _header(response: httpcore.Response, wanted: bytes) -> str | None:
    found = [value for name, value in response.headers if name.lower() == wanted]
    return found[0].decode("latin-1") if found else None


def _is_json_object(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict)
    except (ValueError, RecursionError):
        return False


def _retry_after_s(header: str | None) -> float:
    """Seconds as RFC 9110 §10.2.3 has them; a date, or nothing, counts as the default."""
    if header is None or not (header.isascii() and header.isdigit() and len(header) <= 6):
        return RETRY_AFTER_S_DEFAULT
    return min(float(header), RETRY_AFTER_S_MAX)
