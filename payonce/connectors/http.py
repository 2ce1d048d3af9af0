"""One acquirer account over HTTP/1.1, and the one question that matters: was the first byte sent?

Every failure before it is `NotSent`, every failure after it is `OutcomeUnknown` (design.md §2 rule 4). Calls that
come before the one that moves money (`Sending.prepare`) move nothing, so all their failures are `NotSent`.
httpcore says when it happens: its trace event `http11.send_request_headers.started` fires right before the
request's first `socket.send`, with no turn of the event loop in between, and an exception raised there closes
the connection with nothing written. Nothing is ever sent twice: no redirects, no retries.
Everything that comes in is counted on the connection, and not the body alone (`payonce.counted`).
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar, assert_never
from urllib.parse import quote

import httpcore
import httpx
from pydantic import BaseModel, ValidationError

from payonce.clock import boot_clock_s
from payonce.connectors.base import MaySend
from payonce.connectors.breaker import CircuitBreaker
from payonce.connectors.connections import CONNECTIONS_MAX, AcquirerConnections
from payonce.connectors.requests import Documented, HttpRequest, segment
from payonce.domain.errors import NotSent, OutcomeUnknown, RateLimited, Rejected, UnexpectedAnswer

__all__ = [
    "AcquirerHttp",
    "AcquirerResponse",
    "Documented",
    "HttpRequest",
    "Sending",
    "retry_after_s",
    "segment",
]  # for connectors


RESPONSE_BYTES_MAX: Final = 64 * 1024
CONNECT_S_MAX: Final = 3.0  # the right to send lasts 5 s
SEND_S_MAX: Final = 20.0  # a whole `send`, from the claim on
HEADER_LENGTH_MAX: Final = 256  # of an answer's header that a connector reads
RETRY_AFTER_S_DEFAULT: Final = 1.0
RETRY_AFTER_S_MAX: Final = 60.0

_PATH_SAFE: Final = "/?&=;:,+@!$'()*~%"  # of RFC 3986; the rest is encoded
_CONNECTED: Final = "connection.connect_tcp.complete"
_HEADERS_STARTED: Final = "http11.send_request_headers.started"
_BODY_STARTED: Final = "http11.send_request_body.started"
_TOO_MANY_REQUESTS: Final = 429

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class AcquirerResponse:
    """An answer that the acquirer documents; `content` is what `Documented.content` says.

    `headers`: those of `Documented.headers` that came, by lower-case name, each cut to `HEADER_LENGTH_MAX`.
    """

    status: int
    content: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)

    def read(self, model: type[Model]) -> Model:
        """The body as `model`, read strictly. Raises `UnexpectedAnswer` if it is something else."""
        try:
            return model.model_validate_json(self.content)
        except ValidationError as error:
            members = sorted({".".join(map(str, item["loc"])) for item in error.errors(include_input=False)})
        # Outside of the handler: the error holds the acquirer's raw body.
        raise UnexpectedAnswer(f"HTTP {self.status} with an unexpected body: {', '.join(members)}")


@dataclass(frozen=True, slots=True)
class _Received:
    status: int
    content: bytes = field(repr=False)
    retry_after: str | None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Failed:
    reason: str


class _SendingStopped(Exception):
    """The right to send does not hold, or the call's deadline has passed."""


class _Unwatched(Exception):
    """httpcore no longer says when it sends: then no failure proves anything."""


class _Sending:
    """Watches one request leave: whether its first byte was sent, and whether it may be."""

    def __init__(
        self, may_send: Callable[[], bool] | None, *, clock: Callable[[], float], deadline_s: float
    ) -> None:
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
            "User-Agent": "payonce",
            **{name.title(): _sendable(name, value) for name, value in headers.items()},
        }
        self._connections = AcquirerConnections(self._url("").origin, connections_max)

    def sending(self, may_send: MaySend) -> "Sending":
        """One `send` of several calls, within one deadline. `call` is enough for a `send` of one."""
        left_s = min(self._call_deadline_s, SEND_S_MAX - may_send.held_s())
        return Sending(self, may_send, until=self._clock() + left_s, clock=self._clock)

    async def call(
        self, request: HttpRequest, *, may_send: Callable[[], bool] | None, deadline_s: float | None = None
    ) -> AcquirerResponse:
        """The documented answer to one request, which was sent once.

        `may_send` is asked once, right before the first byte. None: the request moves nothing or may be
        repeated (an inquiry, a reversal), so it needs no right and the circuit breaker lets it through.
        `deadline_s` replaces the account's where it is shorter. Raises `NotSent`, `OutcomeUnknown`, `Rejected` or
        `RateLimited`, none of which holds or chains the request. Cancellation passes through as `CancelledError`,
        and leaves the outcome unknown.
        """
        ending, sending = await self._called(request, may_send=may_send, deadline_s=deadline_s)
        if may_send is not None:
            self._tell_breaker(ending, sending)
        return self._classified(ending, sending, request.documented or self._documented)

    async def post(
        self, path: str, body: BaseModel, *, may_send: Callable[[], bool] | None
    ) -> AcquirerResponse:
        """`call` with a JSON body."""
        return await self.call(HttpRequest(path=path, json=body), may_send=may_send)

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """One call, or several side by side, may be made while the block runs: an open breaker admits one trial.

        Raises `NotSent` where it admits none.
        """
        if not self._breaker.admits():
            raise NotSent("circuit open")
        try:
            yield
        except BaseException:
            self._breaker.abandoned()
            raise

    async def prepare(
        self, request: HttpRequest, *, may_send: Callable[[], bool], deadline_s: float
    ) -> AcquirerResponse:
        """The documented answer to a call that comes before the one that moves money; see `Sending.prepare`.

        For the block of `admitted`. Its failure counts for the breaker. Its success does not: an acquirer that
        prepares everything and then fails is away all the same.
        """
        ending, sending = await self._begun(request, may_send=may_send, deadline_s=deadline_s)
        if isinstance(ending, _Received) and ending.status < 500:
            self._breaker.abandoned()
        else:
            self._tell_breaker(ending, sending)
        try:
            return self._classified(ending, sending, request.documented or self._documented)
        except OutcomeUnknown as unknown:
            raise NotSent(f"before the money call: {unknown.message}") from None

    async def close(self) -> None:
        """Closes the connections."""
        await self._connections.close()

    async def _called(
        self, request: HttpRequest, *, may_send: Callable[[], bool] | None, deadline_s: float | None
    ) -> tuple[_Received | _Failed, _Sending]:
        if may_send is not None and not self._breaker.admits():
            raise NotSent("circuit open")
        return await self._begun(request, may_send=may_send, deadline_s=deadline_s)

    async def _begun(
        self, request: HttpRequest, *, may_send: Callable[[], bool] | None, deadline_s: float | None
    ) -> tuple[_Received | _Failed, _Sending]:
        within_s = self._call_deadline_s if deadline_s is None else min(self._call_deadline_s, deadline_s)
        sending = _Sending(may_send, clock=self._clock, deadline_s=within_s)
        try:
            return await self._exchange(request, sending, within_s=within_s), sending
        except BaseException:
            if may_send is not None:
                self._breaker.abandoned()
            raise

    async def _exchange(
        self, request: HttpRequest, sending: _Sending, *, within_s: float
    ) -> _Received | _Failed:
        """What came back, or why nothing did; always within the call's deadline."""
        try:
            async with asyncio.timeout(within_s):
                return await self._fetch(request, sending, within_s=within_s)
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

    async def _fetch(self, request: HttpRequest, sending: _Sending, *, within_s: float) -> _Received:
        made = self._request(request, sending, within_s=within_s)
        documented = request.documented or self._documented
        async with self._connections.one(body_bytes_max=documented.bytes_max) as connection:
            response = await connection.handle_async_request(made)
            try:
                sending.ended()
                content = await _read(response, documented.bytes_max)
            finally:
                await response.aclose()
        found = {name: _header(response, name.encode()) for name in documented.headers}
        headers = {name: value[:HEADER_LENGTH_MAX] for name, value in found.items() if value is not None}
        return _Received(response.status, content, _header(response, b"retry-after"), headers)

    def _request(self, request: HttpRequest, sending: _Sending, *, within_s: float) -> httpcore.Request:
        media, content = request.body()
        own = {name.title(): _sendable(name, value) for name, value in request.headers.items()}
        if media is not None:
            own |= {"Content-Type": media}
        if media is not None or request.method != "GET":
            own |= {"Content-Length": str(len(content))}
        timeout = httpx.Timeout(within_s, connect=min(CONNECT_S_MAX, within_s))
        return httpcore.Request(
            request.method.encode(),
            self._url(request.target()),
            headers=[*(self._headers | own).items()],
            content=content,
            extensions={"trace": sending.trace, "timeout": timeout.as_dict()},
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

    def _classified(
        self, ending: _Received | _Failed, sending: _Sending, documented: Documented
    ) -> AcquirerResponse:
        match ending:
            case _Failed(reason):
                raise OutcomeUnknown(reason) if sending.begun else NotSent(reason)
            case _Received():
                return _documented_answer(ending, documented)
            case _:
                assert_never(ending)


class Sending:
    """One `send`: any number of calls that move nothing, and then the one that does, within one deadline.

    Not for two `send`s, nor for two calls that move money.
    """

    def __init__(
        self, http: AcquirerHttp, may_send: MaySend, *, until: float, clock: Callable[[], float]
    ) -> None:
        self._http = http
        self._may_send = may_send
        self._until = until
        self._clock = clock

    async def prepare(self, *requests: HttpRequest) -> list[AcquirerResponse]:
        """The documented answers to calls that move nothing, sent side by side while the right to send holds.

        They end before it lapses, and use nothing of it up. Each may make the object that the money call acts on, as
        long as nobody can pay what it may have made: so whatever fails, a time-out too, is `NotSent`. Raises
        `Rejected` and `RateLimited`, too.
        """
        may_send = self._may_send
        left_s = min(may_send.left_s(), self._until - self._clock())
        if left_s <= 0:
            raise NotSent("the right to send has lapsed")
        with self._http.admitted():
            calls = [
                self._http.prepare(request, may_send=lambda: may_send.left_s() > 0, deadline_s=left_s)
                for request in requests
            ]
            ended = await asyncio.gather(*calls, return_exceptions=True)
        failures = [failure for failure in ended if isinstance(failure, BaseException)]
        if failures:
            raise failures[0]
        return [answer for answer in ended if isinstance(answer, AcquirerResponse)]

    async def move(self, request: HttpRequest) -> AcquirerResponse:
        """The documented answer to the one call that can move money; see `AcquirerHttp.call`."""
        return await self._http.call(
            request, may_send=self._may_send, deadline_s=max(0.0, self._until - self._clock())
        )


def _documented_answer(received: _Received, documented: Documented) -> AcquirerResponse:
    status = received.status
    known = status in documented.answers or status in documented.rejections
    if not (200 <= status < 300 or known):
        raise OutcomeUnknown(f"HTTP {status}")
    if not _is_content(received.content, documented.content):
        # A rejection too: it may come from something between us and the acquirer.
        raise OutcomeUnknown(f"HTTP {status} with an undecodable body")
    if status not in documented.rejections:
        return AcquirerResponse(status, received.content, received.headers)
    if status == _TOO_MANY_REQUESTS:
        raise RateLimited(retry_after_s=retry_after_s(received.retry_after))
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


class _TooLarge(Exception):
    """The acquirer's answer is over the limit."""


async def _read(response: httpcore.Response, bytes_max: int) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_stream():  # as it was sent: we asked for no compression
        content += chunk
        if len(content) > bytes_max:
            raise _TooLarge
    return bytes(content)


def _header(response: httpcore.Response, wanted: bytes) -> str | None:
    found = [value for name, value in response.headers if name.lower() == wanted]
    return found[0].decode("latin-1") if found else None


def _is_content(content: bytes, documented: Literal["json object", "json", "any"]) -> bool:
    if documented == "any":
        return True
    try:
        read = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(read, dict) or documented == "json"


def retry_after_s(header: str | None) -> float:
    """Seconds as RFC 9110 §10.2.3 has them; a date, or nothing, counts as the default."""
    if header is None or not (header.isascii() and header.isdigit() and len(header) <= 6):
        return RETRY_AFTER_S_DEFAULT
    return min(float(header), RETRY_AFTER_S_MAX)
