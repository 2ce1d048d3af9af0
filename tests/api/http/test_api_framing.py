"""Where a request's body begins and ends: whatever makes one vanish never turns a part into the whole.

Raw sockets against the real server. A refund without a body gives all back, so each request here that meant 300
is either understood as 300, or refused with nothing admitted.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request

from api.admission.waiting import Result
from api.http import bodies
from api.http.protocol import LimitedProtocol
from payonce.runtime import Runtime
from tests.api.conftest import Merchant, Serving, app_of, serving_of
from tests.api.fakes import FakeAdmission
from tests.api.lines import (
    BODY,
    CHUNKED,
    H2C,
    LENGTH,
    LIVEZ,
    REFUND_300,
    REFUND_ALL,
    TE,
    Head,
    Line,
    admitted,
    line_to,
)


@pytest.fixture(scope="module")
def asked() -> FakeAdmission:
    """What the one server of these tests asks."""
    return FakeAdmission()


@pytest.fixture(scope="module")
async def one_server(runtime: Runtime, asked: FakeAdmission) -> AsyncIterator[Serving]:
    async with serving_of(app_of(runtime, asked)) as served:
        yield served


@pytest.fixture
def admission(asked: FakeAdmission) -> FakeAdmission:
    """Nothing was asked of it yet."""
    asked.calls.clear()
    return asked


@pytest.fixture
async def line(one_server: Serving) -> AsyncIterator[Line]:
    async with line_to(one_server) as opened:
        yield opened


@pytest.fixture
def head(merchant: Merchant) -> Head:
    return Head(merchant.key, uuid.uuid4().hex)


# What asks for another protocol


@pytest.mark.parametrize(
    "fields",
    [
        H2C + LENGTH,
        LENGTH + H2C,
        "Connection: upgrade\r\nUpgrade: websocket\r\n" + LENGTH,
        "Connection: upgrade\r\nUpgrade: TLS/1.0, other/2\r\n" + LENGTH,
        "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: h3\r\n" + LENGTH,
        "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: \r\n" + LENGTH,
    ],
)
@pytest.mark.parametrize("cut", [None, 0, 5, -1, -2])
async def test_an_upgrade_is_ignored_and_the_body_read(
    line: Line, head: Head, admission: FakeAdmission, fields: str, cut: int | None
) -> None:
    """In one segment, and cut before, in and behind the end of the head."""
    sent, body = head(fields), BODY
    if cut is None:
        await line.send(sent + body)
    else:
        await line.send((sent + body)[: len(sent) + cut])
        await asyncio.sleep(0)
        await line.send((sent + body)[len(sent) + cut :])
    assert (await line.answer())[0] == 201
    assert admitted(admission) == [REFUND_300]


async def test_a_chunked_body_is_read_beside_an_upgrade(
    line: Line, head: Head, admission: FakeAdmission
) -> None:
    await line.send(head(H2C + TE) + CHUNKED)
    assert (await line.answer())[0] == 201
    assert admitted(admission) == [REFUND_300]


async def test_an_upgrade_without_a_body_is_a_request_without_one(
    line: Line, head: Head, admission: FakeAdmission
) -> None:
    await line.send(head(H2C + "Content-Length: 0\r\n"))
    assert (await line.answer())[0] == 201
    assert admitted(admission) == [REFUND_ALL]


async def test_a_100_is_said_beside_an_upgrade(line: Line, head: Head, admission: FakeAdmission) -> None:
    await line.send(head(H2C + LENGTH + "Expect: 100-continue\r\n"))
    assert await line.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await line.send(BODY)
    assert (await line.answer())[0] == 201
    assert admitted(admission) == [REFUND_300]


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
async def test_an_upgrade_in_http_1_0_is_ignored(
    line: Line, head: Head, admission: FakeAdmission, connection: str
) -> None:
    upgrade = f"Connection: {connection}, Upgrade\r\nUpgrade: h2c\r\n"
    await line.send(head(upgrade + LENGTH, version="HTTP/1.0") + BODY)
    assert (await line.answer())[0] == 201
    await line.ends()
    assert admitted(admission) == [REFUND_300]


async def test_what_follows_the_body_beside_an_upgrade_is_the_next_request(
    line: Line, head: Head, admission: FakeAdmission
) -> None:
    upgraded = LIVEZ.replace(b"\r\n\r\n", f"\r\n{H2C}\r\n".encode())
    await line.send(
        head(H2C + LENGTH) + BODY + LIVEZ + upgraded + b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    assert [(await line.answer())[0] for _ in range(4)] == [201, 200, 200, 404]
    assert admitted(admission) == [REFUND_300]


async def test_a_body_beside_an_upgrade_is_never_a_request(
    line: Line, head: Head, merchant: Merchant, admission: FakeAdmission
) -> None:
    """The parser stops after the head; what came in a segment of its own was then read as a request."""
    hidden = head("Content-Length: 0\r\n")
    await line.send(head(f"{H2C}Content-Length: {len(hidden)}\r\n"))
    await line.send(hidden)
    assert (await line.answer())[0] == 400
    await line.send(LIVEZ)
    assert (await line.answer())[0] == 200
    assert admitted(admission) == []


async def test_the_limits_of_a_head_hold_beside_an_upgrade(line: Line, head: Head) -> None:
    await line.send(head(f"{H2C}X: {'x' * 40_000}\r\n{LENGTH}") + BODY)
    await line.refused(431)


async def test_connect_is_refused_and_what_follows_is_not_read(
    line: Line, head: Head, admission: FakeAdmission
) -> None:
    await line.send(head(LENGTH).replace(b"POST", b"CONNECT") + head(LENGTH) + BODY)
    await line.refused()
    assert admitted(admission) == []


# What nobody announced


@pytest.mark.parametrize("content_type", ["", "Content-Type: text/plain\r\n", "Content-Type: a\r\n" * 2])
@pytest.mark.parametrize("length", ["", "Content-Length: 0\r\n", "Content-Length: 00\r\n"])
async def test_no_body_is_an_empty_object_whatever_the_content_type(
    line: Line, head: Head, admission: FakeAdmission, content_type: str, length: str
) -> None:
    await line.send(head(content_type + length, json_type=False))
    assert (await line.answer())[0] == 201
    assert admitted(admission) == [REFUND_ALL]


@pytest.mark.parametrize(
    "fields", ["", "Content-Length: 0\r\n", "Content_Length: 14\r\n", "Connection: close\r\n", H2C]
)
@pytest.mark.parametrize("behind", [BODY, b"\r\n" + BODY, b"\n\n" + BODY, b" " + BODY, b"amount=300", b"300"])
async def test_bytes_that_nobody_announced_refuse_the_request_before_them(
    line: Line, head: Head, admission: FakeAdmission, fields: str, behind: bytes
) -> None:
    await line.send(head(fields) + behind)
    await line.refused()
    assert admitted(admission) == []


async def test_an_unannounced_body_that_comes_after_the_head_refuses_it_too(
    line: Line, head: Head, admission: FakeAdmission, monkeypatch: pytest.MonkeyPatch
) -> None:
    listening, listen = asyncio.Event(), bodies.listen

    async def told(request: Request) -> None:
        listening.set()
        await listen(request)

    monkeypatch.setattr(bodies, "SILENCE_S", 2.0)
    monkeypatch.setattr(bodies, "listen", told)
    await line.send(head())
    await listening.wait()
    await line.send(BODY)
    await line.refused()
    assert admitted(admission) == []


async def test_an_http_1_0_body_that_ends_with_the_connection_is_refused(
    line: Line, head: Head, admission: FakeAdmission
) -> None:
    await line.send(head(version="HTTP/1.0") + BODY)
    line.writer.write_eof()
    await line.refused()
    assert admitted(admission) == []


async def test_a_next_request_behind_one_without_a_body_is_answered_as_such(
    line: Line, head: Head, admission: FakeAdmission
) -> None:
    await line.send(head() + LIVEZ)
    assert [(await line.answer())[0] for _ in range(2)] == [201, 200]
    assert admitted(admission) == [REFUND_ALL]


async def test_only_the_request_before_the_bytes_is_refused(
    line: Line, head: Head, admission: FakeAdmission
) -> None:
    await line.send(head(LENGTH) + BODY + head(again="2") + BODY)
    assert (await line.answer())[0] == 201
    await line.refused()
    assert admitted(admission) == [REFUND_300]


async def test_a_request_that_takes_no_body_is_answered_before_the_bytes_are_refused(line: Line) -> None:
    """Its handler does not ask for a body: a 400 could not promise that nothing was done."""
    await line.send(LIVEZ + BODY)
    assert (await line.answer())[0] == 200
    await line.refused()


class _Slow(FakeAdmission):
    """Says when it was asked, and answers when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go = asyncio.Event(), asyncio.Event()

    async def refund(self, *arguments: object, **options: object) -> Result:
        result = await super().refund(*arguments, **options)
        self.entered.set()
        await self.go.wait()
        return result


class TestTaken:
    """The request was admitted before the bytes came: it cannot be called back, so it is answered."""

    @pytest.fixture
    def admission(self) -> FakeAdmission:
        return _Slow()

    @pytest.mark.parametrize(
        "behind", [BODY, b"GET / HTTP/1.1\r\nX : 1\r\n\r\n", b"GET /livez HTTP/3.0\r\n\r\n"]
    )
    async def test_a_request_that_was_taken_is_answered_before_what_follows_is_refused(
        self,
        serving: Serving,
        head: Head,
        admission: _Slow,
        monkeypatch: pytest.MonkeyPatch,
        behind: bytes,
    ) -> None:
        refused, refuse = asyncio.Event(), LimitedProtocol._refuse

        def tell(*arguments: Any, **options: Any) -> None:
            refuse(*arguments, **options)
            refused.set()

        monkeypatch.setattr(LimitedProtocol, "_refuse", tell)
        async with line_to(serving) as line:
            await line.send(head("Content-Length: 0\r\n"))
            await admission.entered.wait()
            await line.send(behind + LIVEZ)
            await refused.wait()
            admission.go.set()
            assert (await line.answer())[0] == 201
            await line.refused()
        assert admitted(admission) == [REFUND_ALL]


# What is announced, and does not come


@pytest.mark.parametrize("fields", [LENGTH, H2C + LENGTH, "Content-Length: 1\r\n"])
@pytest.mark.parametrize("part", [0, 1, 13])
async def test_a_body_shorter_than_announced_is_a_400(
    line: Line, head: Head, admission: FakeAdmission, fields: str, part: int
) -> None:
    await line.send(head(fields) + BODY[: 0 if "1\r" in fields else part])
    line.writer.write_eof()
    await line.refused()
    assert admitted(admission) == []


@pytest.mark.parametrize(
    "body", [b"", b"e", b"e\r\n", CHUNKED[:10], CHUNKED[:-2], b"0\r\n", b"2\r\n{}\r\n0\r\n"]
)
async def test_a_chunked_body_without_its_end_is_a_400(
    line: Line, head: Head, admission: FakeAdmission, body: bytes
) -> None:
    await line.send(head(TE) + body)
    line.writer.write_eof()
    await line.refused()
    assert admitted(admission) == []


async def test_a_client_that_goes_before_its_body_came_moves_nothing(
    serving: Serving, head: Head, admission: FakeAdmission
) -> None:
    async with line_to(serving) as line:
        await line.send(head(LENGTH + "Expect: 100-continue\r\n") + BODY[:5])
        await line.reader.readuntil(b"100 Continue\r\n\r\n")  # the body is being read
        line.writer.transport.abort()
    serving.stop()
    await serving.ended
    assert admitted(admission) == []


@pytest.mark.parametrize("body", [b"0\r\n\r\n", b"1\r\n \r\n0\r\n\r\n", b"4\r\nnull\r\n0\r\n\r\n"])
@pytest.mark.parametrize("json_type", [True, False])
async def test_a_chunked_body_that_says_nothing_is_no_object(
    line: Line, head: Head, admission: FakeAdmission, body: bytes, json_type: bool
) -> None:
    await line.send(head(TE, json_type=json_type) + body)
    status, _ = await line.answer()
    assert status == 400 or (not json_type and body[:1] != b"0" and status == 415)
    assert admitted(admission) == []


@pytest.mark.parametrize("body", [b" ", b"\r\n\t ", b"null", b"[]", b'"amount"', b"0", b"false"])
async def test_a_body_that_is_no_object_is_a_400(
    line: Line, head: Head, admission: FakeAdmission, body: bytes
) -> None:
    await line.send(head(f"Content-Length: {len(body)}\r\n") + body)
    assert (await line.answer())[0] == 400
    assert admitted(admission) == []


# What two readers could understand differently (RFC 9112 §5.1, §5.2, §6.1, §6.3, §7.1)


@pytest.mark.parametrize(
    "fields",
    [
        LENGTH + TE,
        TE + LENGTH,
        H2C + LENGTH + TE,
        LENGTH + "Content-Length: 2\r\n",
        LENGTH + LENGTH,
        "Content-Length: 14, 14\r\n",
        "Content-Length: 14 14\r\n",
        "Content-Length: +14\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0xe\r\n",
        "Content-Length: 1e1\r\n",
        "Content-Length: 14;\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551630\r\n",
        "Content-Length : 14\r\n",
        "Content-Length\t: 14\r\n",
        " Content-Length: 14\r\n",
        "X: a\r\n Content-Length: 14\r\n",
        "Content-Length:\r\n 14\r\n",
        "Content-Length: 14\n",
        "X: a\rContent-Length: 14\r\n",
        "X: a\nContent-Length: 14\r\n",
        "Content-Length\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: gzip\r\n" + TE,
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        TE + TE,
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding : chunked\r\n",
    ],
)
@pytest.mark.parametrize("body", [BODY, CHUNKED], ids=["plain", "chunked"])
async def test_a_framing_in_doubt_is_refused(
    line: Line, head: Head, admission: FakeAdmission, fields: str, body: bytes
) -> None:
    await line.send(head(fields) + body)
    await line.refused()
    assert admitted(admission) == []


@pytest.mark.parametrize("version", ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3.0", ""])
async def test_another_version_s_framing_is_refused(
    line: Line, head: Head, admission: FakeAdmission, version: str
) -> None:
    await line.send(head(LENGTH, version=version) + BODY)
    await line.refused()
    assert admitted(admission) == []


async def test_http_1_0_knows_no_transfer_coding(line: Line, head: Head, admission: FakeAdmission) -> None:
    await line.send(head(TE, version="HTTP/1.0") + CHUNKED)
    await line.refused()
    assert admitted(admission) == []


@pytest.mark.parametrize(
    "body",
    [
        b"0xe\r\n" + BODY + b"\r\n0\r\n\r\n",
        b"e \r\n" + BODY + b"\r\n0\r\n\r\n",
        b"e\n" + BODY + b"\n0\n\n",
        b"-1\r\n" + BODY + b"\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\n" + BODY,
        b"2\r\n" + BODY + b"\r\n0\r\n\r\n",
        b"\r\n" + CHUNKED,
        BODY,
    ],
)
@pytest.mark.parametrize("fields", [TE, H2C + TE], ids=["plain", "upgrade"])
async def test_a_broken_chunk_is_a_400(
    line: Line, head: Head, admission: FakeAdmission, fields: str, body: bytes
) -> None:
    await line.send(head(fields) + body)
    await line.refused()
    assert admitted(admission) == []


async def test_trailers_are_not_headers(line: Line, head: Head, admission: FakeAdmission) -> None:
    """RFC 9110 §6.5.1: one that came with the last chunk could replace the key, or refuse the body's type."""
    trailers = b"Idempotency-Key: other\r\nContent-Encoding: gzip\r\nUpgrade: h2c\r\nConnection: upgrade\r\n"
    await line.send(head(TE) + CHUNKED[:-2] + trailers + b"\r\n" + LIVEZ)
    assert [(await line.answer())[0] for _ in range(2)] == [201, 200]
    assert admitted(admission) == [REFUND_300]


async def test_the_body_of_a_refused_request_is_not_that_of_the_one_before(
    line: Line, head: Head, admission: FakeAdmission
) -> None:
    second = head(f"X: {'x' * 40_000}\r\n{LENGTH}", again="2") + BODY
    await line.send(head("Content-Length: 0\r\n") + second)
    assert (await line.answer())[0] == 201
    await line.refused(431)
    assert admitted(admission) == [REFUND_ALL]
