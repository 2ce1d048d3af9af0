"""One attempt at a delivery, and what it establishes.

An attempt uses a connection of its own, so that nothing of one merchant's endpoint reaches another's attempt;
it follows no redirect, knows no proxy, decompresses nothing, and ends at its deadline whatever the receiver
does.
"""

import asyncio
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import httpcore
import httpx

from payonce import metrics
from payonce.counted import PIECE_BYTES_MAX
from payonce.domain.answers import timestamp
from payonce.domain.card_numbers import looks_like_card_number
from payonce.domain.delivery import DeliveryStatus, next_delay_s
from payonce.logging import get_logger
from payonce.sealing import CannotUnseal
from payonce.storage.packing import unpack_event
from payonce.storage.webhooks.completions import Completion, Lease
from payonce.webhooks.addresses import (
    CONNECT_S,
    ForbiddenAddress,
    LookUp,
    NameNotResolved,
    Target,
    dial,
    look_up,
    parse_url,
    resolve,
)
from payonce.webhooks.answers import BODY_BYTES_KEPT, ReceiverAnswer
from payonce.webhooks.certificates import is_for, openssl_compares
from payonce.webhooks.secrets import SigningSecrets
from payonce.webhooks.signing import signed_headers

DEADLINE_S: Final = 15.0  # over name, connection, TLS, request and answer
DATE_LENGTH_MAX: Final = 64  # characters; a date has at most 33: RFC 9110 §5.6.7

REDACTED: Final = "[redacted]"

log = get_logger(__name__)


class Reason(StrEnum):
    """Why an attempt failed: `error` of the attempt in the API."""

    UNSUCCESSFUL_STATUS = "unsuccessful_status"
    TIMED_OUT = "timed_out"
    FORBIDDEN_ADDRESS = "forbidden_address"
    NAME_NOT_RESOLVED = "name_not_resolved"
    CONNECTION_FAILED = "connection_failed"
    TLS_FAILED = "tls_failed"
    CONNECTION_LOST = "connection_lost"
    INVALID_RESPONSE = "invalid_response"
    INTERNAL_ERROR = "internal_error"


_REASONS: Final[tuple[tuple[type[Exception], Reason], ...]] = (  # the first that fits
    (ForbiddenAddress, Reason.FORBIDDEN_ADDRESS),
    (NameNotResolved, Reason.NAME_NOT_RESOLVED),
    (TimeoutError, Reason.TIMED_OUT),
    (httpcore.TimeoutException, Reason.TIMED_OUT),
    (httpcore.ConnectError, Reason.CONNECTION_FAILED),
    (httpcore.NetworkError, Reason.CONNECTION_LOST),
    (httpcore.ProtocolError, Reason.INVALID_RESPONSE),
)

metrics.at_zero(metrics.DELIVERIES, ("delivered", *Reason))


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The receiver answered 2xx."""

    status: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The receiver may or may not have got it; it gets it again."""

    status: int | None
    error: Reason
    retry_after_s: float | None = None

    @property
    def gone(self) -> bool:
        """The receiver wants nothing more, ever."""
        return self.status == HTTPStatus.GONE


@dataclass(slots=True)
class Seen:
    """What an attempt saw of the receiver, however it ended."""

    ip: str | None = None
    answer: ReceiverAnswer = field(default_factory=ReceiverAnswer, repr=False)


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One attempt: when it began, how long it took, what came of it, and what the receiver said."""

    at: datetime
    duration_ms: int
    result: Acknowledged | Failed
    ip: str | None = None
    body: str | None = field(default=None, repr=False)

    def record(self) -> dict[str, Any]:
        """The attempt as it is kept: the API shows the first four members, `body` and `ip` are for operators."""
        error = self.result.error.value if isinstance(self.result, Failed) else None
        return {
            "at": timestamp(self.at),
            "status_code": self.result.status,
            "duration_ms": self.duration_ms,
            "error": error,
            "ip": self.ip,
            "body": self.body,
        }


@dataclass(frozen=True, slots=True)
class Sender:
    """Makes attempts. One per process: the trust store takes tens of milliseconds to read."""

    allow_loopback: bool
    secrets: SigningSecrets
    look_up: LookUp = look_up
    deadline_s: float = DEADLINE_S
    tls: ssl.SSLContext = field(default_factory=lambda: _trusting(check_hostname=True), repr=False)
    tls_of_any_name: ssl.SSLContext = field(
        default_factory=lambda: _trusting(check_hostname=False), repr=False
    )

    async def attempt(self, lease: Lease) -> DeliveryAttempt:
        """What one attempt came to; never raises but when cancelled."""
        at, began, seen = datetime.now(UTC), time.monotonic(), Seen()
        result = await self._result(lease, at, seen)
        duration_ms = round((time.monotonic() - began) * 1_000)
        return DeliveryAttempt(at, duration_ms, result, seen.ip, self._kept(lease, seen.answer.body))

    async def _result(self, lease: Lease, at: datetime, seen: Seen) -> Acknowledged | Failed:
        """A status that was read counts, whatever came after it."""
        reason = Reason.INVALID_RESPONSE
        try:
            async with asyncio.timeout(self.deadline_s):
                await self._exchange(lease, at, seen)
        except Exception as error:
            reason = _reason(error)
            if reason is Reason.INTERNAL_ERROR:
                log.error("webhook_attempt_broken", delivery_id=lease.delivery_id, error=type(error).__name__)
        return _judged(seen.answer, at) or Failed(None, reason)

    async def _exchange(self, lease: Lease, at: datetime, seen: Seen) -> None:
        """The request was sent, and the answer read to its end."""
        target = parse_url(lease.url, mode=lease.mode, allow_loopback=self.allow_loopback)
        addresses = await resolve(target, look_up=self.look_up)
        body = unpack_event(
            lease.body, id_=lease.event_id, payment_id=lease.payment_id, created_at=lease.event_at
        )
        signed = signed_headers(
            event_id=lease.event_id, at=at, body=body, signing_secrets=self._secrets(lease)
        )
        request = _request(target, {**_headers(target, body), **signed}, body)
        seen.ip = str(addresses[0])  # the first that is dialled, until one answers
        stream = await dial(addresses, target.port)
        try:
            seen.ip = _peer(stream) or seen.ip
            if target.scheme == "https":
                stream = await self._secured(stream, target.tls_name)
            await _tell(stream, request, seen.answer)
        finally:
            await stream.aclose()

    async def _secured(self, stream: httpcore.AsyncNetworkStream, name: str) -> httpcore.AsyncNetworkStream:
        """TLS on the connection, with a certificate for the name. Raises `httpcore.ConnectError`."""
        if openssl_compares(name):
            return await stream.start_tls(self.tls, name, CONNECT_S)
        secured = await stream.start_tls(self.tls_of_any_name, name, CONNECT_S)
        if not is_for(secured.get_extra_info("ssl_object").getpeercert(), name):
            raise httpcore.ConnectError from ssl.SSLCertVerificationError(f"no certificate for {name}")
        return secured

    def _secrets(self, lease: Lease) -> tuple[str, ...]:
        """What signs; never nothing. Raises `CannotUnseal`."""
        signing = self.secrets.of(lease.secrets)
        if not signing and lease.plain_secret is not None:  # written by the first release, not sealed yet
            signing = (lease.plain_secret,)
        if not signing:
            raise CannotUnseal("The endpoint has no secret.")
        return signing

    def _kept(self, lease: Lease, body: bytes) -> str | None:
        """The beginning of the receiver's answer without secrets and card numbers; Postgres stores no NUL."""
        text = body.decode(errors="replace").replace("\x00", "\ufffd")
        if len(body) == BODY_BYTES_KEPT:  # what was cut off may have been the end of a card number
            text = text[: next((end for end in range(len(text), 0, -1) if text[end - 1].isalpha()), 0)]
        if not text:
            return None
        if looks_like_card_number(text):
            return REDACTED
        with suppress(CannotUnseal):
            for secret in self._secrets(lease):
                text = text.replace(secret, REDACTED)
        return text


def conclude(lease: Lease, attempt: DeliveryAttempt, *, jitter: float) -> Completion:
    """What the attempt means for its delivery. `jitter` is from -1 to 1."""
    completion = partial(
        Completion,
        delivery_id=lease.delivery_id,
        token=lease.token,
        event_id=lease.event_id,
        event_type=lease.event_type,
        endpoint_id=lease.endpoint_id,
        attempt=attempt.record(),
        troubled=lease.troubled,
    )
    result = attempt.result
    if isinstance(result, Acknowledged):
        return completion(status=DeliveryStatus.SUCCEEDED)
    if result.gone:
        return completion(status=DeliveryStatus.DROPPED, gone_url=lease.url)
    delay_s = next_delay_s(attempts=lease.attempts + 1, retry_after_s=result.retry_after_s, jitter=jitter)
    status = DeliveryStatus.EXHAUSTED if delay_s is None else DeliveryStatus.PENDING
    return completion(status=status, delay_s=delay_s)


def observe(lease: Lease, attempt: DeliveryAttempt, completion: Completion) -> None:
    """The attempt is counted and logged, without anything of its body."""
    result = attempt.result
    error = None if isinstance(result, Acknowledged) else result.error.value
    metrics.DELIVERIES.labels(result=error or "delivered").inc()
    if completion.status is not DeliveryStatus.PENDING:
        metrics.DELIVERIES_ENDED.labels(status=completion.status).inc()
    log.info(
        "webhook_attempted",
        delivery_id=lease.delivery_id,
        event_id=lease.event_id,
        endpoint_id=lease.endpoint_id,
        attempt=lease.attempts + 1,
        status_code=result.status,
        error=error,
        delivery=completion.status,
        duration_ms=attempt.duration_ms,
    )


def retry_after_s(header: str | None, *, now: datetime) -> float | None:
    """Seconds to wait, or None where the header is absent, malformed or past. Source: RFC 9110 §10.2.3."""
    if header is None:
        return None
    if header.isascii() and header.isdigit():
        return float(header[:10])
    if len(header) > DATE_LENGTH_MAX:
        return None
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, OverflowError):  # the second one from a year or an offset beyond all bounds
        return None
    if moment.tzinfo is None:
        return None
    return max((moment - now).total_seconds(), 0.0) or None


def _trusting(*, check_hostname: bool) -> ssl.SSLContext:
    """Whoever the system's authorities vouch for."""
    context = httpx.create_ssl_context(trust_env=False)
    context.check_hostname = check_hostname
    return context


def _headers(target: Target, body: bytes) -> dict[str, str]:
    return {
        "Host": target.host_header,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "User-Agent": "payonce-webhooks",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }


def _request(target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {target.path} HTTP/1.1\r\n{fields}\r\n".encode("ascii") + body


async def _tell(stream: httpcore.AsyncNetworkStream, request: bytes, answer: ReceiverAnswer) -> None:
    """The answer was read to its end, within what may come in on the connection, while the request was sent.

    Who answers before it has read all may close then, or never read the rest: its answer counts all the same.
    """
    sending = asyncio.create_task(stream.write(request))
    try:
        while not answer.ended:
            answer.take(await stream.read(PIECE_BYTES_MAX))
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


def _peer(stream: httpcore.AsyncNetworkStream) -> str | None:
    """The address that answers."""
    address = stream.get_extra_info("server_addr")
    return str(address[0]) if address else None


def _judged(answer: ReceiverAnswer, at: datetime) -> Acknowledged | Failed | None:
    """What the answer's status means; None: it has none."""
    if answer.status is None:
        return None
    if HTTPStatus(200) <= answer.status < HTTPStatus(300):
        return Acknowledged(answer.status)
    wait_s = retry_after_s(answer.retry_after, now=at)
    return Failed(answer.status, Reason.UNSUCCESSFUL_STATUS, wait_s)


def _reason(error: Exception) -> Reason:
    if isinstance(error, httpcore.ConnectError) and _has_cause(error, ssl.SSLError):
        return Reason.TLS_FAILED
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), Reason.INTERNAL_ERROR)


def _has_cause(error: BaseException, kind: type[BaseException]) -> bool:
    """Somewhere in the chain of causes, which httpcore keeps short."""
    cause = error.__cause__ or error.__context__
    return cause is not None and (isinstance(cause, kind) or _has_cause(cause, kind))
