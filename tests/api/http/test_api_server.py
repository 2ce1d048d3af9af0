"""The server on a real socket: limits on a head, bodies that do not arrive, connections, and stopping."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from fastapi import FastAPI

from api.admission.waiting import Result
from api.http import bodies, protocol
from api.http.connections import Connections
from api.main import listening_socket, server_for
from tests.api.conftest import Merchant
from tests.api.fakes import FakeAdmission, payment_body
from tests.support.eventually import eventually


@dataclass
class Served:
    port: int
    stop: asyncio.Event
    ended: "asyncio.Task[None]"

    async def send(self, *parts: bytes) -> bytes:
        """Everything that is answered on one connection until it is closed, or nothing comes for a while."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for part in parts:
                writer.write(part)
            await writer.drain()
            async with asyncio.timeout(60):
                return await reader.read()
        finally:
            writer.close()


@pytest.fixture
async def served(app: FastAPI) -> AsyncIterator[Served]:
    with listening_socket("127.0.0.1", 0) as listener:
        connections = Connections(most=100, most_of_one_address=100)
        server = server_for(app, connections, on_stop=app.state.feed.close)
        task = asyncio.create_task(server.serve([listener]))

        async def started() -> bool:
            return server.started

        await eventually(started)
        stop = asyncio.Event()
        watcher = asyncio.create_task(_stop_when(stop, server.stop))
        yield Served(listener.getsockname()[1], stop, task)
        stop.set()
        await watcher
        await task


async def _stop_when(stop: asyncio.Event, action: object) -> None:
    await stop.wait()
    assert callable(action)
    action()


def _request(target: str = "/livez", *, headers: str = "", method: str = "GET", close: bool = True) -> bytes:
    connection = "Connection: close\r\n" if close else ""
    return f"{method} {target} HTTP/1.1\r\nHost: api.test\r\n{connection}{headers}\r\n".encode()


def _status(answer: bytes) -> int:
    return int(answer.split()[1])


def _problem_code(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"request-id: req_" in head
    assert b"application/problem+json" in head
    return str(json.loads(body)["code"])


async def test_a_request_is_answered(served: Served) -> None:
    answer = await served.send(_request())
    assert _status(answer) == 200
    assert b"server:" not in answer.lower()


async def test_head_has_the_length_and_no_content(served: Served) -> None:
    answer = await served.send(_request(method="HEAD"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-length: 15" in head
    assert body == b""


@pytest.mark.parametrize(
    ("request_", "refusal"),
    [
        (_request(headers=f"X: {'x' * 40_000}\r\n"), (431, "headers_too_large")),
        (_request(headers="".join(f"X-{n}: 1\r\n" for n in range(200))), (431, "headers_too_large")),
        (_request("/" + "x" * 40_000), (414, "uri_too_long")),
        (_request("/livez?" + "%41=%42&" * 1_100), (414, "uri_too_long")),
        (_request("/livez?" + "a&" * 50), (400, "invalid_request")),
    ],
)
async def test_a_head_over_the_limit_is_refused(
    served: Served, request_: bytes, refusal: tuple[int, str]
) -> None:
    answer = await served.send(request_)
    assert (_status(answer), _problem_code(answer)) == refusal


async def test_a_head_without_end_is_not_read_on(served: Served) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"GET / HTTP/1.1\r\nX: ")
    sent = 0
    try:
        while sent < 10_000_000:
            writer.write(b"x" * 1_000)
            await writer.drain()
            sent += 1_000
            await asyncio.sleep(0)
    except ConnectionError:
        pass
    finally:
        writer.close()
    assert sent < 10_000_000


@pytest.mark.parametrize(
    "request_",
    [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nX\x00Y: 1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01"],
)
async def test_what_is_not_http_is_a_problem(served: Served, request_: bytes) -> None:
    answer = await served.send(request_)
    assert (_status(answer), _problem_code(answer)) == (400, "invalid_request")


async def test_a_head_that_does_not_arrive_is_not_waited_for(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_WAIT_S", 0.05)
    assert await served.send(b"") == b""
    assert await served.send(b"GET / HTTP/1.1\r\nHost:") == b""


async def test_a_body_that_does_not_arrive_is_a_408(
    served: Served, merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_WAIT_S", 0.05)
    headers = (
        f"Authorization: Bearer {merchant.key}\r\nIdempotency-Key: k\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n"
    )
    answer = await served.send(_request("/v1/payments", method="POST", headers=headers, close=False) + b"{")
    assert (_status(answer), _problem_code(answer)) == (408, "request_timeout")


async def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    answer = await served.send(_request(close=False), _request("/nothing", close=False), _request())
    found = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert found == [200, 404, 200]


class _Slow(FakeAdmission):
    """Answers when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go = asyncio.Event(), asyncio.Event()

    async def create_payment(self, post: object, payment: object) -> Result:
        self.entered.set()
        await self.go.wait()
        return Result(answer=self.answer, current=None, location=self.location, replayed=False)


@pytest.fixture
def admission() -> FakeAdmission:
    return _Slow()


async def test_a_request_under_way_is_answered_after_the_order_to_stop(
    served: Served, merchant: Merchant, admission: _Slow
) -> None:
    body = json.dumps(payment_body()).encode()
    headers = (
        f"Authorization: Bearer {merchant.key}\r\nIdempotency-Key: k\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    )
    sending = asyncio.create_task(
        served.send(_request("/v1/payments", method="POST", headers=headers, close=False) + body)
    )
    await admission.entered.wait()
    served.stop.set()

    async def refuses() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", served.port)) != 0

    await eventually(refuses)
    admission.go.set()
    assert _status(await sending) == 201
    await served.ended


async def test_several_processes_may_share_a_port() -> None:
    with listening_socket("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with listening_socket("127.0.0.1", port) as second:
            assert second.getsockname()[1] == port
