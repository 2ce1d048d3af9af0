"""Every connection ends, whatever its client does, and there is a bound on how many there are.

The attacks as they were found, counted: how many connections are open, and what became of each.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api import main
from api.http import connections, protocol
from api.http.connections import Connections, address_of
from api.http.protocol import LimitedProtocol
from tests.api.conftest import Merchant, Serving, serving_of
from tests.api.fakes import FakeAdmission, payment_body
from tests.api.lines import LIVEZ, Line, line_to
from tests.support.eventually import eventually

MANY = 50
SOON_S = 0.3  # in place of each limit in time
LARGE = 16 * 1024 * 1024  # more than the kernel takes for a client that reads nothing
POST_SLOWLY = b"POST /v1/payments HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
GET_SLOWLY = b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
GET_CHUNKS = b"GET /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds takes a moment."""
    monkeypatch.setattr(protocol, "HEAD_WAIT_S", SOON_S)
    monkeypatch.setattr(main, "KEEP_ALIVE_S", SOON_S)
    monkeypatch.setattr(connections, "TAKEN_S", SOON_S)
    monkeypatch.setattr(connections, "LINGER_S", 2 * SOON_S)  # so long the answer has to be read


@pytest.fixture
async def impatient_server(app: FastAPI, impatient: None) -> AsyncIterator[Serving]:
    app.add_api_route("/large", _large)
    app.add_api_route("/endless", _endless)
    async with serving_of(app) as served:
        yield served


async def _large(_request: Request) -> Response:
    return Response(b"x" * LARGE)


async def _endless(_request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65_536
            await asyncio.sleep(0)

    return StreamingResponse(parts())


async def _none_is_open(serving: Serving) -> None:
    async def none() -> bool:
        return len(serving.connections) == 0

    await eventually(none)


async def _dripping(serving: Serving, beginning: bytes, drop: bytes) -> bytes:
    """What is answered to a client that never ends what it began."""
    answer = bytearray()
    async with line_to(serving) as line:

        async def read() -> None:
            with suppress(ConnectionError):
                while part := await line.reader.read(65_536):
                    answer.extend(part)

        await line.send(beginning)
        reading = asyncio.create_task(read())
        while not reading.done():
            with suppress(ConnectionError):
                await line.send(drop)
            await asyncio.wait([reading], timeout=SOON_S / 10)
    return bytes(answer)


@pytest.mark.parametrize(
    ("beginning", "drop", "answers"),
    [
        (b"", b"", 0),
        (b"", b"\r\n", 0),
        (b"GET /livez HTTP/1.1\r\nHost: ", b"x", 0),
        (LIVEZ, b"", 1),
        (LIVEZ, b"\r\n", 1),
        (LIVEZ + LIVEZ, b"\n", 2),
        (LIVEZ + b"GET /", b"x", 1),
        (POST_SLOWLY, b"x", 1),
        (GET_SLOWLY, b"x", 1),
        (GET_CHUNKS, b"1\r\nx\r\n", 1),
        (GET_CHUNKS, b"1;" + b"x" * 1_000 + b"\r\nx\r\n", 1),
    ],
)
async def test_a_connection_on_which_no_request_is_under_way_ends(
    impatient_server: Serving, beginning: bytes, drop: bytes, answers: int
) -> None:
    """One byte stopped every timer, and a body that nobody read had none."""
    gathered = await asyncio.gather(*(_dripping(impatient_server, beginning, drop) for _ in range(MANY)))
    await _none_is_open(impatient_server)
    assert [answer.count(b"HTTP/1.1 ") for answer in gathered] == [answers] * MANY


@pytest.mark.parametrize("target", ["/large", "/endless", "/openapi.json"])
async def test_a_client_that_reads_nothing_is_cut(impatient_server: Serving, target: str) -> None:
    """200 of 200 were open after 90 seconds."""
    sockets = []
    for _ in range(MANY):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, _address(impatient_server))
        await asyncio.get_running_loop().sock_sendall(
            client, f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 20
        )
        sockets.append(client)
    try:
        await _none_is_open(impatient_server)
    finally:
        for client in sockets:
            client.close()


async def test_a_client_that_reads_slowly_gets_all_that_it_takes_in_time(
    impatient_server: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "TAKEN_S", 30.0)
    async with line_to(impatient_server) as line:
        await line.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        status, body = await line.answer()
    assert (status, len(body)) == (200, LARGE)


@pytest.mark.parametrize("beginning", [POST_SLOWLY, GET_SLOWLY])
async def test_an_answer_that_does_not_wait_for_the_body_says_that_it_is_the_last(
    impatient_server: Serving, beginning: bytes
) -> None:
    """RFC 9112 §9.3: the whole body is read, or the connection is closed."""
    async with line_to(impatient_server) as line:
        await line.send(beginning)
        head = await line.reader.readuntil(b"\r\n\r\n")
        assert b"connection: close\r\n" in head
        await line.reader.readuntil(b"}")
        await line.ends()


async def test_a_refused_body_ends_the_connection_and_the_client_that_sends_it_has_its_answer(
    impatient_server: Serving, merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed at once, the kernel resets what the client has not read (RFC 9112 §9.6)."""
    monkeypatch.setattr(connections, "LINGER_S", 10.0)
    size = connections.LINGER_BYTES_MAX // 2
    head = (
        f"POST /v1/payments HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {merchant.key}\r\n"
        f"Idempotency-Key: k\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    )
    async with line_to(impatient_server) as line:
        await line.send(head.encode())
        for _ in range(size // 4_096):
            await line.send(b" " * 4_096)
        status, body = await line.answer()
        assert (status, json.loads(body)["code"]) == (413, "body_too_large")
        await line.ends()


async def test_what_is_sent_behind_the_last_answer_is_read_up_to_a_bound(
    impatient_server: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LINGER_S", 60.0)
    sent = 0
    async with line_to(impatient_server) as line:
        await line.send(b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while sent < 100 * connections.LINGER_BYTES_MAX:
                await line.send(b"x" * 65_536)
                sent += 65_536
        except ConnectionError:
            pass
    assert sent < 100 * connections.LINGER_BYTES_MAX
    await _none_is_open(impatient_server)


@pytest.mark.parametrize("cost", [(b"1;" + b"x" * 1_000 + b"\r\nx\r\n") * 500, b"0\r\nX: " + b"y" * 500_000])
async def test_chunks_that_cost_more_than_they_carry_are_refused(
    impatient_server: Serving, merchant: Merchant, monkeypatch: pytest.MonkeyPatch, cost: bytes
) -> None:
    monkeypatch.setattr(connections, "LINGER_S", 10.0)
    head = (
        f"POST /v1/payments HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {merchant.key}\r\n"
        "Idempotency-Key: k\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    async with line_to(impatient_server) as line:
        await line.send(head.encode() + cost)
        await line.refused()


async def test_so_many_requests_wait_behind_another_and_no_more(impatient_server: Serving) -> None:
    async with line_to(impatient_server) as line:
        await line.send(LIVEZ * (protocol.PIPELINED_MAX + 10))
        found = [(await line.answer())[0] for _ in range(protocol.PIPELINED_MAX + 1)]
        assert set(found) == {200}
        refusal = await line.reader.readuntil(b"\r\n\r\n")
        assert refusal.startswith(b"HTTP/1.1 429 ")
        assert b"\r\nretry-after: 1\r\n" in refusal


class _Slow(FakeAdmission):
    """Says when it was asked, and answers when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go = asyncio.Event(), asyncio.Event()

    async def create_payment(self, *arguments: Any, **options: Any) -> Any:
        self.entered.set()
        await self.go.wait()
        return await super().create_payment(*arguments, **options)


def _payment(merchant: Merchant) -> bytes:
    body = json.dumps(payment_body()).encode()
    head = (
        f"POST /v1/payments HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {merchant.key}\r\n"
        f"Idempotency-Key: k\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class TestUnderWay:
    """A request is under way, which has limits of its own."""

    @pytest.fixture
    def admission(self) -> _Slow:
        return _Slow()

    async def test_a_half_closed_client_gets_its_answer(
        self, impatient_server: Serving, merchant: Merchant, admission: _Slow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        half_closed = _told(monkeypatch, "eof_received")
        async with line_to(impatient_server) as line:
            await line.send(_payment(merchant))
            await admission.entered.wait()
            line.writer.write_eof()
            await half_closed.wait()
            admission.go.set()
            assert (await line.answer())[0] == 201
            await line.ends()
        await _none_is_open(impatient_server)

    async def test_a_half_closed_client_gets_every_answer_that_is_due(
        self, impatient_server: Serving, merchant: Merchant, admission: _Slow
    ) -> None:
        async with line_to(impatient_server) as line:
            await line.send(_payment(merchant) + LIVEZ + b"GET /livez HTTP/1.1\r\nHo")
            await admission.entered.wait()
            line.writer.write_eof()
            admission.go.set()
            assert [(await line.answer())[0] for _ in range(3)] == [201, 200, 400]
            await line.ends()

    async def test_a_late_head_takes_no_answer_from_the_request_before_it(
        self, impatient_server: Serving, merchant: Merchant, admission: _Slow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        refused = _told(monkeypatch, "_refuse")
        async with line_to(impatient_server) as line:
            await line.send(_payment(merchant) + b"GET /livez HTTP/1.1\r\nHost:")
            await refused.wait()
            admission.go.set()
            assert (await line.answer())[0] == 201
            await line.refused(408)

    async def test_a_request_under_way_gives_its_place_to_nobody(
        self, app: FastAPI, merchant: Merchant, admission: _Slow
    ) -> None:
        bound = Connections(most=1, most_of_one_address=10)
        async with serving_of(app, bound) as serving, line_to(serving) as line:
            await line.send(_payment(merchant))
            await admission.entered.wait()
            async with line_to(serving) as other:
                await other.ends()
            admission.go.set()
            assert (await line.answer())[0] == 201


def _told(monkeypatch: pytest.MonkeyPatch, method: str) -> asyncio.Event:
    """Set once the server's protocol did that."""
    done, does = asyncio.Event(), getattr(LimitedProtocol, method)

    def doing(*arguments: Any, **options: Any) -> Any:
        result = does(*arguments, **options)
        done.set()
        return result

    monkeypatch.setattr(LimitedProtocol, method, doing)
    return done


async def test_a_half_closed_client_gets_the_whole_of_a_large_answer(
    impatient_server: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "TAKEN_S", 30.0)
    async with line_to(impatient_server) as line:
        await line.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        line.writer.write_eof()
        status, body = await line.answer()
        assert (status, len(body)) == (200, LARGE)
        await line.ends()


@pytest.mark.parametrize(
    "bounds",
    [{"most": 10, "most_of_one_address": 100}, {"most": 100, "most_of_one_address": 10}],
    ids=["in all", "of one address"],
)
async def test_there_is_a_bound_on_connections_and_idle_ones_keep_nobody_out(
    app: FastAPI, bounds: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who rested longest went, and whoever came with a request was answered."""
    monkeypatch.setattr(protocol, "HEAD_WAIT_S", 60.0)
    monkeypatch.setattr(main, "KEEP_ALIVE_S", 60)
    async with serving_of(app, Connections(**bounds)) as serving:
        lines = [await _opened(serving) for _ in range(MANY)]
        async with line_to(serving) as honest:
            await honest.send(LIVEZ)
            assert (await honest.answer())[0] == 200
            assert len(serving.connections) == 10
        for line in lines[: MANY - 10]:
            await line.ends()
        for line in lines:
            line.writer.close()


async def _opened(serving: Serving) -> Line:
    before = len(serving.connections)
    reader, writer = await asyncio.open_connection(*_address(serving))
    writer.write(LIVEZ)
    line = Line(reader, writer)
    assert (await line.answer())[0] == 200
    assert len(serving.connections) in (before, before + 1)
    return line


def _address(serving: Serving) -> tuple[str, int]:
    parts = urlsplit(serving.url)
    assert parts.port
    return str(parts.hostname), parts.port


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::1", "2001:db8:1:2::"),
        ("2001:db8:1:3::1", "2001:db8:1:3::"),
    ],
)
def test_one_customer_of_a_provider_is_one_address(host: str, address: str) -> None:
    assert address_of(host) == address
