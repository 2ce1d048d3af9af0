"""One attempt against receivers that behave and receivers that do not (§2.4, 3)."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from payonce.counted import READ_COUNTS_AS_BYTES, RECEIVED_BYTES_MAX
from payonce.storage.packing import pack, pack_event
from payonce.storage.webhooks.completions import Lease
from payonce.webhooks.addresses import IPAddress
from payonce.webhooks.attempt import Acknowledged, DeliveryAttempt, Failed, Reason, Sender, conclude
from tests.support.reads import Reads
from tests.webhooks.receiver import (
    Answer,
    answering_unread,
    bytes_then_close,
    bytes_then_hang,
    endless,
    hang,
    receiving,
    reset_after,
    status,
)
from tests.webhooks.sending import (
    HURRIED,
    IMPATIENT,
    SECRET,
    SENDER,
    answers,
    attempt_at,
    certificate_for,
    lease_for,
    server_side,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
ENDLESS_BODY = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
INVALID = Failed(None, Reason.INVALID_RESPONSE)


async def test_the_receiver_gets_the_event_signed() -> None:
    async with receiving() as receiver:
        lease = lease_for(receiver.url)

        attempt = await SENDER.attempt(lease)

    (request,) = receiver.received
    assert attempt.result == Acknowledged(204)
    assert (request.method, request.target, request.body) == ("POST", "/hooks?shop=7", lease.body)
    assert request.headers["host"] == receiver.url.split("/")[2]
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == "evt_1"
    assert request.verified(SECRET)["data"]["note"] == "₹"


async def test_a_second_attempt_has_the_same_id_and_bytes_and_verifies() -> None:
    async with receiving(answers=[status(500)]) as receiver:
        lease = lease_for(receiver.url)
        results = [(await SENDER.attempt(lease)).result for _ in range(2)]

    first, second = receiver.received
    assert results == [Failed(500, Reason.UNSUCCESSFUL_STATUS), Acknowledged(204)]
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert second.verified(SECRET) == first.verified(SECRET)


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
async def test_any_2xx_is_success(code: int) -> None:
    assert await attempt_at(status(code)) == Acknowledged(code)


@pytest.mark.parametrize("code", [304, 400, 401, 404, 410, 429, 500, 502, 503, 504])
async def test_any_other_status_is_failure(code: int) -> None:
    assert await attempt_at(status(code)) == Failed(code, Reason.UNSUCCESSFUL_STATUS)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_is_failure_and_is_not_followed(code: int) -> None:
    async with receiving() as elsewhere:
        result = await attempt_at(status(code, headers=f"Location: {elsewhere.url}\r\n"))

    assert result == Failed(code, Reason.UNSUCCESSFUL_STATUS)
    assert elsewhere.connections == 0


async def test_retry_after_is_reported() -> None:
    result = await attempt_at(status(503, headers="Retry-After: 120\r\n"))

    assert result == Failed(503, Reason.UNSUCCESSFUL_STATUS, retry_after_s=120)


@pytest.mark.parametrize(
    "answer",
    [
        hang,
        bytes_then_hang(b"HTTP/1.1 2"),
        bytes_then_hang(b"HTTP/1.1 100 Continue\r\n\r\n"),
        bytes_then_hang(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 20"),
    ],
    ids=["silent", "part of a status", "interim", "interim and part of a status"],
)
async def test_a_receiver_that_hangs_ends_at_the_deadline(answer: Answer) -> None:
    async with asyncio.timeout(60):
        assert await attempt_at(answer, sender=IMPATIENT) == Failed(None, Reason.TIMED_OUT)


async def test_a_resolver_that_hangs_ends_at_the_deadline() -> None:
    async def hanging(_host: str, _port: int) -> Sequence[IPAddress]:
        await asyncio.Event().wait()
        return []

    attempt = await replace(IMPATIENT, look_up=hanging).attempt(lease_for("https://merchant.example/"))

    assert attempt.result == Failed(None, Reason.TIMED_OUT)


@pytest.mark.parametrize(
    "answer",
    [
        status(200, body=b"x" * 10_000_000),
        endless(ENDLESS_BODY, b"400\r\n" + b"x" * 1024 + b"\r\n"),
    ],
    ids=["10 MB", "endless"],
)
async def test_a_huge_answer_is_read_to_the_limit_and_its_status_counts(answer: Answer) -> None:
    assert await attempt_at(answer) == Acknowledged(200)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (bytes_then_close(b""), Reason.INVALID_RESPONSE),
        (bytes_then_close(b"SSH-2.0-OpenSSH\r\n\r\n"), Reason.INVALID_RESPONSE),
        (bytes_then_close(b"HTTP/1.1 abc\r\n\r\n"), Reason.INVALID_RESPONSE),
        (bytes_then_close(b"HTTP/1.1 2000 OK\r\n\r\n"), Reason.INVALID_RESPONSE),
        (bytes_then_close(b"HTTP/1.1 20"), Reason.INVALID_RESPONSE),
        (bytes_then_close(b"HTTP/1.1 103 Early Hints\r\n\r\n"), Reason.INVALID_RESPONSE),
        (reset_after(b""), Reason.CONNECTION_LOST),
    ],
    ids=["closes", "other protocol", "garbage", "four digits", "two digits", "interim only", "resets"],
)
async def test_an_answer_that_is_not_http_is_failure(answer: Answer, reason: Reason) -> None:
    assert await attempt_at(answer) == Failed(None, reason)


def sender_for(then: Callable[[bytes], Answer]) -> Sender:
    """Only for what hangs its time is short."""
    return HURRIED if then is bytes_then_hang else SENDER


@pytest.mark.parametrize(
    "after",
    [
        b"HTTP/1.1 200\r\n",
        b"\r\nHTTP/1.1 200 OK\n\n",
        b"HTTP/1.0 200 OK\r\n",
        OK + b"12345",
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX\x00Y: \x01\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n1",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nzz\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 500 Again\r\n\r\n",
    ],
)
@pytest.mark.parametrize("then", [bytes_then_close, bytes_then_hang, reset_after])
async def test_a_2xx_status_line_counts_whatever_follows(
    after: bytes, then: Callable[[bytes], Answer]
) -> None:
    """Issue 14, 18: it was retried as failed, and merchants got the event ten times."""
    assert await attempt_at(then(after), sender=sender_for(then)) == Acknowledged(200)


@pytest.mark.parametrize("code", [302, 410, 500])
@pytest.mark.parametrize("then", [bytes_then_close, bytes_then_hang, reset_after])
async def test_every_other_status_line_counts_whatever_follows(
    code: int, then: Callable[[bytes], Answer]
) -> None:
    answer = then(f"HTTP/1.1 {code} X\r\nRetry-After: 9\r\nContent-Length: 3\r\n\r\n1".encode())
    result = await attempt_at(answer, sender=sender_for(then))

    assert result == Failed(code, Reason.UNSUCCESSFUL_STATUS, retry_after_s=9)


@pytest.mark.parametrize(
    ("head", "more", "result"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", INVALID),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n", INVALID),
        (b"HTTP/1.1 103 Early Hints\r\n", b"X-A: " + b"a" * 7000 + b"\r\n", INVALID),
        (b"", b"\r\n", INVALID),
        (b"HTTP/1.1 200 ", b"x", Acknowledged(200)),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 7000 + b"\r\n", Acknowledged(200)),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", Acknowledged(200)),
        (ENDLESS_BODY, b"1;" + b"e" * 7000 + b"\r\nx\r\n", Acknowledged(200)),
        (ENDLESS_BODY, b"1\r\nx\r\n", Acknowledged(200)),
        (ENDLESS_BODY + b"0\r\n", b"X-Trailer: y\r\n", Acknowledged(200)),
        (b"HTTP/1.1 500 No\r\n\r\n", b"x" * 8000, Failed(500, Reason.UNSUCCESSFUL_STATUS)),
    ],
    ids=[
        *("interim", "interim with fields", "interim head", "empty lines", "reason", "head", "many fields"),
        *("chunk extensions", "small chunks", "trailers", "body to the close"),
    ],
)
async def test_whatever_a_receiver_sends_is_read_to_the_limit(
    head: bytes, more: bytes, result: Acknowledged | Failed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 14, 2: endless interim responses kept the relay parsing for 15 s, and every other delivery waited."""
    reads = Reads(monkeypatch)

    assert await attempt_at(endless(head, more * (8_000 // len(more)))) == result
    assert RECEIVED_BYTES_MAX - 1024 <= reads.bytes <= RECEIVED_BYTES_MAX


async def test_a_byte_at_a_time_is_read_a_limited_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Reads(monkeypatch)

    assert await attempt_at(endless(ENDLESS_BODY, b"1\r\nx\r\n", pause=True)) == Acknowledged(200)
    assert len(reads.sizes) <= RECEIVED_BYTES_MAX / READ_COUNTS_AS_BYTES


async def test_what_tls_adds_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record for each byte: 22 bytes of which HTTP sees one."""
    reads = Reads(monkeypatch)
    certificate = certificate_for(tmp_path, "a.localhost")
    sender = replace(
        SENDER,
        tls=ssl.create_default_context(cafile=str(certificate)),
        look_up=answers(["127.0.0.1"]),
    )
    async with receiving(
        otherwise=endless(ENDLESS_BODY, b"x", pause=True), tls=server_side(certificate)
    ) as tls:
        url = tls.url.replace("http://127.0.0.1", "https://a.localhost")
        attempt = await sender.attempt(lease_for(url))

    assert attempt.result == Acknowledged(200)
    assert reads.bytes <= RECEIVED_BYTES_MAX


@pytest.mark.parametrize("code", [200, 413])
async def test_a_status_counts_although_the_event_is_not_read(code: int) -> None:
    """Issue 14, 18: an answer that came before the whole event was sent was never read, and the event sent again."""
    event = b"x" * 8_000_000  # more than the kernel takes for a receiver that reads none of it
    async with answering_unread(f"HTTP/1.1 {code} X\r\nContent-Length: 0\r\n\r\n".encode()) as url:
        result = (await HURRIED.attempt(replace(lease_for(url), body=event))).result

    assert result.status == code


async def test_an_http_1_0_answer_without_a_length_is_understood() -> None:
    assert await attempt_at(bytes_then_close(b"HTTP/1.0 200 OK\r\n\r\nthanks")) == Acknowledged(200)


def test_an_attempt_is_recorded_as_the_api_shows_it_with_two_members_for_operators() -> None:
    at = datetime(2026, 11, 22, 5, 46, tzinfo=UTC)
    attempt = DeliveryAttempt(at, 12, Failed(None, Reason.TIMED_OUT), "203.0.113.7", "busy")

    assert attempt.record() == {
        "at": "2026-11-22T05:46:00.000Z",
        "status_code": None,
        "duration_ms": 12,
        "error": "timed_out",
        "ip": "203.0.113.7",
        "body": "busy",
    }


@pytest.mark.parametrize(
    ("made", "result", "expected"),
    [
        (0, Acknowledged(200), ("succeeded", None, None)),
        (0, Failed(500, Reason.UNSUCCESSFUL_STATUS), ("pending", 5.0, None)),
        (8, Failed(None, Reason.TIMED_OUT), ("pending", 86400.0, None)),
        (9, Failed(None, Reason.TIMED_OUT), ("exhausted", None, None)),
        (0, Failed(410, Reason.UNSUCCESSFUL_STATUS), ("dropped", None, "https://merchant.example/")),
    ],
)
def test_what_an_attempt_means_for_its_delivery(
    made: int, result: Acknowledged | Failed, expected: tuple[str, float | None, str | None]
) -> None:
    lease = lease_for("https://merchant.example/", attempts=made)

    completion = conclude(lease, DeliveryAttempt(datetime.now(UTC), 1, result), jitter=0)

    assert (completion.status, completion.delay_s, completion.gone_url) == expected


async def test_the_beginning_of_the_receivers_answer_is_kept_without_secrets_and_card_numbers() -> None:
    number = "4242424242424242"
    said = [b"it\x00s " + SECRET.encode() + b" \xff", b"card " + number.encode(), b"x" * 9_000, b""]
    said.append(b"x" * 4_084 + number.encode())  # of which 12 digits are kept
    answers = [status(500, body=body) for body in said]
    async with receiving(answers=answers) as receiver:
        attempts = [await SENDER.attempt(lease_for(receiver.url)) for _ in said]

    assert [attempt.body for attempt in attempts] == [
        "it\ufffds [redacted] \ufffd",
        "[redacted]",
        "x" * 4_096,
        None,
        "x" * 4_084,
    ]
    assert {attempt.ip for attempt in attempts} == {"127.0.0.1"}


async def test_a_secret_of_the_first_release_signs_until_it_is_sealed() -> None:
    async with receiving() as receiver:
        lease = replace(lease_for(receiver.url), secrets=(), plain_secret=SECRET)
        await SENDER.attempt(lease)

    assert receiver.received[0].verified(SECRET)


async def test_nothing_is_sent_unsigned() -> None:
    async with receiving() as receiver:
        attempt = await SENDER.attempt(replace(lease_for(receiver.url), secrets=()))

    assert attempt.result == Failed(None, Reason.INTERNAL_ERROR)
    assert receiver.received == []


def test_secrets_are_not_in_a_lease_s_text() -> None:
    lease = replace(lease_for("https://merchant.example/"), plain_secret=SECRET)

    assert SECRET not in repr(lease)
    assert "₹" not in repr(lease)


@pytest.mark.parametrize("stored", [b"\x01 no deflate", b"\x02 none", b"\x03 of a later release"])
async def test_a_body_that_cannot_be_unpacked_is_sent_to_nobody_and_holds_up_no_other(stored: bytes) -> None:
    async with receiving() as receiver:
        lease = replace(lease_for(receiver.url), body=stored)
        assert (await SENDER.attempt(lease)).result == Failed(None, Reason.INTERNAL_ERROR)
        body = lease_for(receiver.url).body
        for packed in (pack(body * 40), _packed(lease, body * 40)):
            assert (await SENDER.attempt(replace(lease, body=packed))).result == Acknowledged(204)

    assert [request.body for request in receiver.received] == [body * 40] * 2


def _packed(lease: Lease, body: bytes) -> bytes:
    packed = pack_event(body, id_=lease.event_id, payment_id=lease.payment_id, created_at=lease.event_at)
    assert packed[:1] == b"\x02"
    return packed
