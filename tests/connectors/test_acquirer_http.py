"""What is known after a failure, by whether the first byte was sent."""

import asyncio
import itertools
import ssl
from dataclasses import replace
from functools import partial

import pytest
from httpcore._async.http11 import HTTPConnectionState
from wire_server import (
    OK,
    PATIENT_S,
    Handler,
    OpenHttp,
    Order,
    Serve,
    WireServer,
    answer,
    answering_for_ever,
    reset,
    writing,
    yes,
)

from payonce.connectors.conformance import eventually
from payonce.connectors.connections import trusting
from payonce.connectors.http import (
    RESPONSE_BYTES_MAX,
    RETRY_AFTER_S_DEFAULT,
    RETRY_AFTER_S_MAX,
    AcquirerHttp,
    Documented,
)
from payonce.connectors.requests import HttpRequest
from payonce.counted import RECEIVED_BYTES_MAX
from payonce.domain.errors import NotSent, OutcomeUnknown, RateLimited, Rejected
from tests.support.reads import Reads

DEADLINE_S = 0.5
LIST_BYTES_MAX = 1024 * 1024
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def hang(server: WireServer, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await server.request(reader)
    await asyncio.Event().wait()


async def reset_unread(_: WireServer, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def reset_after_request(
    server: WireServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await server.request(reader)
    reset(writer)


async def reset_in_the_answer(
    server: WireServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await server.request(reader)
    writer.write(OK[:-4])
    await writer.drain()
    reset(writer)


async def drip(server: WireServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Always one more byte soon: no single read takes long."""
    await server.request(reader)
    writer.write(answer(b"x" * 1000)[:-1000])
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(DEADLINE_S / 5)


async def test_a_json_object_is_returned(serve: Serve, open_http: OpenHttp) -> None:
    server = await serve(answering_for_ever())
    response = await open_http(server.url).post("/orders", Order(), may_send=yes)
    assert (response.status, response.content) == (200, b'{"ok":true}')
    assert b"POST /orders HTTP/1.1" in server.received
    assert b"Authorization: Bearer key" in server.received
    assert server.received.endswith(b'{"text":"money"}')


async def test_a_connection_is_used_again(serve: Serve, open_http: OpenHttp) -> None:
    server = await serve(answering_for_ever())
    http = open_http(server.url)
    for _ in range(3):
        await http.post("/orders", Order(), may_send=yes)
    assert server.connections == 1


async def test_refused_is_not_sent_and_the_right_is_not_asked_for(
    refusing_url: str, open_http: OpenHttp
) -> None:
    rights = [True]
    with pytest.raises(NotSent):
        await open_http(refusing_url).post("/orders", Order(), may_send=rights.pop)
    assert rights


async def test_a_name_without_an_address_is_not_sent(open_http: OpenHttp) -> None:
    with pytest.raises(NotSent):
        await open_http("http://acquirer.invalid").post("/orders", Order(), may_send=yes)


async def test_a_failed_tls_handshake_is_not_sent(serve: Serve, open_http: OpenHttp) -> None:
    server = await serve(answering_for_ever())
    with pytest.raises(NotSent):
        await open_http(server.url.replace("http:", "https:"), call_deadline_s=DEADLINE_S).post(
            "/orders", Order(), may_send=yes
        )
    assert b"POST" not in server.received


async def test_a_tls_peer_that_never_answers_is_not_sent(serve: Serve, open_http: OpenHttp) -> None:
    async def silent(_: WireServer, __: asyncio.StreamReader, ___: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    server = await serve(silent)
    with pytest.raises(NotSent):
        await open_http(server.url.replace("http:", "https:"), call_deadline_s=DEADLINE_S).post(
            "/orders", Order(), may_send=yes
        )


async def test_cancelled_in_the_tls_handshake_it_closes_the_connection(
    serve: Serve, open_http: OpenHttp
) -> None:
    async def until_closed(server: WireServer, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        server.received += await reader.read()

    server = await serve(until_closed)
    http = open_http(server.url.replace("http:", "https:"))
    sending = asyncio.create_task(http.post("/orders", Order(), may_send=yes))
    await eventually(server.connected)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await eventually(server.idle)


@pytest.mark.usefixtures("product_limits")
async def test_a_call_that_gets_no_connection_is_not_sent(serve: Serve, open_http: OpenHttp) -> None:
    server = await serve(hang)
    http = open_http(server.url, connections_max=1)
    holder = asyncio.create_task(http.post("/orders", Order(), may_send=yes))
    await eventually(lambda: server.has_received(b"money", 1))
    with pytest.raises(NotSent):
        await http.post("/orders", Order(), may_send=yes)
    assert server.received.count(b"POST") == 1
    holder.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holder


async def test_without_the_right_no_byte_is_sent_and_the_pool_stays_sound(
    serve: Serve, open_http: OpenHttp
) -> None:
    server = await serve(answering_for_ever())
    http = open_http(server.url, connections_max=1)
    for _ in range(3):  # on a new connection, and on a used one
        with pytest.raises(NotSent):
            await http.post("/orders", Order(), may_send=lambda: False)
        before = server.received.count(b"POST")
        await http.post("/orders", Order(), may_send=yes)
        assert server.received.count(b"POST") == before + 1


async def test_a_right_that_cannot_be_asked_for_is_no_right(serve: Serve, open_http: OpenHttp) -> None:
    server = await serve(answering_for_ever())
    with pytest.raises(NotSent):
        await open_http(server.url).post("/orders", Order(), may_send=list[bool]().pop)
    assert server.received == b""


@pytest.mark.parametrize("handler", [reset_unread, reset_after_request, reset_in_the_answer])
async def test_a_reset_after_the_first_byte_is_unknown(
    serve: Serve, open_http: OpenHttp, handler: Handler
) -> None:
    server = await serve(handler)
    http = open_http(server.url)
    asked = []

    def may_send() -> bool:
        asked.append(True)
        return True

    with pytest.raises(
        OutcomeUnknown if handler is not reset_unread else (OutcomeUnknown, NotSent)
    ) as failure:
        await http.post("/orders", Order(), may_send=may_send)
    # A reset may come before the connection is usable: then, and only then, the right was not asked for.
    assert isinstance(failure.value, OutcomeUnknown) is bool(asked)


async def test_a_reset_of_a_used_connection_is_unknown_and_not_repeated(
    serve: Serve, open_http: OpenHttp
) -> None:
    async def handle(server: WireServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writing(OK)(server, reader, writer)
        await reset_after_request(server, reader, writer)

    server = await serve(handle)
    http = open_http(server.url)
    await http.post("/orders", Order(), may_send=yes)
    with pytest.raises(OutcomeUnknown):
        await http.post("/orders", Order(), may_send=yes)
    assert (server.connections, server.received.count(b"POST")) == (1, 2)


async def test_a_connection_closed_while_idle_is_replaced(serve: Serve, open_http: OpenHttp) -> None:
    server = await serve(writing(OK))
    http = open_http(server.url)
    await http.post("/orders", Order(), may_send=yes)
    await eventually(server.idle)
    await http.post("/orders", Order(), may_send=yes)
    assert server.connections == 2


@pytest.mark.parametrize("left", [HTTPConnectionState.NEW, HTTPConnectionState.ACTIVE])
async def test_a_connection_left_in_the_middle_of_a_request_is_replaced(
    serve: Serve, open_http: OpenHttp, left: HTTPConnectionState
) -> None:
    server = await serve(answering_for_ever())
    http = open_http(server.url)
    await http.post("/orders", Order(), may_send=yes)
    (connection,) = http._connections._idle  # a cancellation at the right moment leaves it so
    connection._connection._state = left
    for _ in range(2):
        await http.post("/orders", Order(), may_send=yes)
    assert (server.connections, server.received.count(b"POST")) == (2, 3)


@pytest.mark.parametrize(
    "base_url",
    [
        "acquirer.example",
        "ftp://acquirer.example",
        "http://",
        "",
        "http://[::1",
    ],
)
def test_what_is_no_url_is_refused_at_once(open_http: OpenHttp, base_url: str) -> None:
    with pytest.raises(ValueError, match="not the URL of an acquirer"):
        open_http(base_url)


@pytest.mark.parametrize(
    "key", ["SECRET\n", "SECRET ", "", "SECRET\r\nHost: elsewhere", "SECRET\0", "SÉCRET"]
)
def test_a_key_that_no_header_can_hold_is_refused_at_once_and_not_shown(key: str) -> None:
    """It broke off every call at its first byte, so that every payment's outcome was unknown."""
    with pytest.raises(ValueError, match="the header Authorization cannot be sent") as refused:
        AcquirerHttp(
            base_url="https://acquirer.example",
            headers={"Authorization": f"Bearer {key}"},
            call_deadline_s=1,
            documented=Documented(),
        )
    assert "CRET" not in str(refused.value)


async def test_the_path_is_the_acquirers_own_and_follows_the_base(serve: Serve, open_http: OpenHttp) -> None:
    server = await serve(answering_for_ever())
    http = open_http(f"{server.url}/v2/")
    await http.post("/orders;v=2/a b?c=d%20e", Order(), may_send=yes)
    assert b"POST /v2/orders;v=2/a%20b?c=d%20e HTTP/1.1\r\n" in server.received
    assert server.received.count(b"\r\nHost: 127.0.0.1:") == 1


async def test_many_calls_at_once_share_the_connections_that_there_are(
    serve: Serve, open_http: OpenHttp
) -> None:
    server = await serve(answering_for_ever())
    http = open_http(server.url, connections_max=8)
    await asyncio.gather(*[http.post("/orders", Order(), may_send=yes) for _ in range(200)])
    assert server.connections <= 8
    assert server.received.count(b"POST") == 200


@pytest.mark.parametrize("handler", [hang, drip])
async def test_the_deadline_holds_over_the_whole_call(
    serve: Serve, open_http: OpenHttp, handler: Handler
) -> None:
    server = await serve(handler)
    http = open_http(server.url, call_deadline_s=DEADLINE_S, connections_max=1)
    for _ in range(3):  # the connection that timed out has left the pool
        with pytest.raises(OutcomeUnknown):
            await http.post("/orders", Order(), may_send=yes)
    assert server.received.count(b"POST") == 3


@pytest.mark.parametrize(
    "raw",
    [
        answer(b"<html>it works</html>"),
        answer(b""),
        answer(b'["approved"]'),
        answer(b'"approved"'),
        answer(b'{"status":"approved"'),
        answer(b"[" * 60_000),
        answer(b'{"a":"\xff"}'),
        b"nothing like HTTP\r\n\r\n",
        answer(b'{"ok":true}')[:-3],
        answer(b'{"ok":"' + b"x" * RESPONSE_BYTES_MAX + b'"}'),
        answer(b'{"ok":true}', headers="Content-Encoding: gzip\r\n")[:-11] + b"\x1f\x8b\x08\x00" + b"\0" * 7,
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 200_000 + b"\r\n\r\n",
        answer(b"{}", status="500 Internal Server Error"),
        answer(b"{}", status="502 Bad Gateway"),
        answer(b"{}", status="302 Found", headers="Location: /elsewhere\r\n"),
        answer(b"{}", status="307 Temporary Redirect", headers="Location: /elsewhere\r\n"),
        answer(b"{}", status="403 Forbidden"),
        answer(b"{}", status="409 Conflict"),
        answer(b"{}", status="418 Teapot"),
        answer(b"<html>", status="400 Bad Request"),
        answer(b"<html>", status="429 Too Many Requests"),
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
async def test_an_answer_that_is_not_documented_is_unknown(
    serve: Serve, open_http: OpenHttp, raw: bytes
) -> None:
    server = await serve(writing(raw))
    with pytest.raises(OutcomeUnknown):
        await open_http(server.url).post("/orders", Order(), may_send=yes)
    assert server.received.count(b"POST") == 1


def flooding(head: bytes, more: bytes) -> Handler:
    async def handle(server: WireServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.request(reader)
        writer.write(head)
        while True:
            writer.write(more * (8_000 // len(more)))
            await writer.drain()

    return handle


@pytest.mark.parametrize(
    ("head", "more"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 103 Early Hints\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (CHUNKED, b"1;" + b"e" * 4_000 + b"\r\n{\r\n"),
        (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-Trailer: y\r\n"),
    ],
    ids=["interim", "interim head", "head", "chunk extensions", "trailers"],
)
async def test_whatever_an_acquirer_sends_is_read_to_the_limit(
    serve: Serve, open_http: OpenHttp, head: bytes, more: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 14, 2: endless interim responses kept the process parsing until the call's deadline."""
    reads = Reads(monkeypatch)
    server = await serve(flooding(head, more))

    with pytest.raises(OutcomeUnknown, match="TooMuchReceived"):
        await open_http(server.url).post("/orders", Order(), may_send=yes)
    assert RECEIVED_BYTES_MAX - 1024 <= reads.bytes <= RECEIVED_BYTES_MAX


async def test_each_answer_on_a_connection_has_an_allowance_of_its_own(
    serve: Serve, open_http: OpenHttp
) -> None:
    content = b'{"x":"' + b"x" * (RESPONSE_BYTES_MAX - 8) + b'"}'
    server = await serve(answering_for_ever(answer(content)))
    http = open_http(server.url)

    for _ in range(3):
        assert (await http.post("/orders", Order(), may_send=yes)).content == content
    assert server.connections == 1


async def test_an_answer_at_the_limit_is_read(serve: Serve, open_http: OpenHttp) -> None:
    content = b'{"x":"' + b"x" * (RESPONSE_BYTES_MAX - 8) + b'"}'
    server = await serve(writing(answer(content)))
    response = await open_http(server.url).post("/orders", Order(), may_send=yes)
    assert response.content == content


async def test_a_long_answer_is_read_to_the_limit_of_its_call_and_the_next_to_its_own(
    serve: Serve, open_http: OpenHttp
) -> None:
    """Pages of lists may be 4 MiB long, and broke off after 96 KiB."""
    page = b'{"x":"' + b"x" * (LIST_BYTES_MAX - 8) + b'"}'
    server = await serve(writing(answer(page), answer(page)))
    http = open_http(server.url)
    listing = HttpRequest(path="/list", json=Order(), documented=Documented(bytes_max=LIST_BYTES_MAX))

    assert (await http.call(listing, may_send=None)).content == page
    with pytest.raises(OutcomeUnknown):
        await http.post("/orders", Order(), may_send=yes)
    assert server.connections == 1
    shorter = replace(listing, documented=Documented(bytes_max=LIST_BYTES_MAX - 1))
    with pytest.raises(OutcomeUnknown, match="_TooLarge"):
        await http.call(shorter, may_send=None)


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized"])
async def test_a_documented_rejection_is_rejected(serve: Serve, open_http: OpenHttp, status: str) -> None:
    server = await serve(writing(answer(b'{"error":"no"}', status=status)))
    with pytest.raises(Rejected):
        await open_http(server.url).post("/orders", Order(), may_send=yes)


@pytest.mark.parametrize(
    ("header", "retry_after_s"),
    [
        ("Retry-After: 7\r\n", 7),
        ("Retry-After: 86400\r\n", RETRY_AFTER_S_MAX),
        ("Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n", RETRY_AFTER_S_DEFAULT),
        ("Retry-After: -1\r\n", RETRY_AFTER_S_DEFAULT),
        ("", RETRY_AFTER_S_DEFAULT),
    ],
)
async def test_too_many_requests_says_when_to_come_back(
    serve: Serve, open_http: OpenHttp, header: str, retry_after_s: float
) -> None:
    server = await serve(writing(answer(b"{}", status="429 Too Many Requests", headers=header)))
    with pytest.raises(RateLimited) as limited:
        await open_http(server.url).post("/orders", Order(), may_send=yes)
    assert limited.value.retry_after_s == retry_after_s


async def test_cancellation_passes_through_and_the_pool_stays_sound(
    serve: Serve, open_http: OpenHttp
) -> None:
    server = await serve(hang)
    http = open_http(server.url, connections_max=1)
    for count in (1, 2, 3):
        sending = asyncio.create_task(http.post("/orders", Order(), may_send=yes))
        await eventually(partial(server.has_received, b'{"text":"money"}', count))
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending


async def test_a_process_stopped_before_the_first_byte_does_not_send(
    serve: Serve, open_http: OpenHttp
) -> None:
    server = await serve(answering_for_ever())
    clock = itertools.chain([0.0], itertools.repeat(PATIENT_S))  # it stops after the call began
    with pytest.raises(NotSent):
        await open_http(server.url, clock=clock.__next__).post("/orders", Order(), may_send=yes)
    assert server.received == b""


async def test_a_process_stopped_after_the_headers_does_not_send_the_body(
    serve: Serve, open_http: OpenHttp
) -> None:
    server = await serve(answering_for_ever())
    clock = itertools.chain([0.0, 0.0], itertools.repeat(PATIENT_S))  # it stops after the first byte
    with pytest.raises(OutcomeUnknown):
        await open_http(server.url, clock=clock.__next__).post("/orders", Order(), may_send=yes)
    await eventually(lambda: server.has_received(b"POST", 1))
    await eventually(server.idle)
    assert b"money" not in server.received


def test_certificates_are_checked(open_http: OpenHttp) -> None:
    http = open_http("https://acquirer.invalid")
    context = http._connections._ssl_context  # nothing public shows it
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


async def test_all_accounts_share_one_tls_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """To make one takes 25 ms of the event loop."""
    trusting.cache_clear()
    made = []
    make = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda *a, **b: made.append(1) or make(*a, **b))
    opened = [
        AcquirerHttp(
            base_url="https://acquirer.example",
            headers={},
            call_deadline_s=1.0,
            documented=Documented(answers=frozenset()),
        )
        for _ in range(3)
    ]
    assert len(made) == 1
    for http in opened:
        await http.close()
