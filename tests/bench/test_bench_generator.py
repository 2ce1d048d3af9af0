"""The generator against a server of the test's own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress

import pytest

from bench import generator
from bench.generator import Generator
from bench.samples import BROKEN, OVERDUE
from bench.schedule import Load
from bench.traffic import Kind, Shop
from bench.wire import Reply, parse

Serve = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]

APPROVED = b'{"id":"pay_1","status":"captured"}'


def response(status: int, body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(b"%b\r\n" % header for header in headers)
    return b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n%b" % (status, lines, len(body), body)


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[Generator]:
    """A generator for a server that calls `serve` with each request; afterwards no connection is left."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError), closing(writer):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                await serve(head + await reader.readexactly(length), writer)

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = Generator(host="127.0.0.1", port=port, shop=Shop(host="127.0.0.1"))
        try:
            yield client
        finally:
            client.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks)


async def approve(_request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(response(201, APPROVED))


@pytest.fixture(autouse=True)
def few_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "CONNECTIONS", 2)


async def test_every_due_request_is_sent_once_under_a_key_of_its_own() -> None:
    seen: list[bytes] = []

    async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
        seen.append(request.lower().partition(b"idempotency-key: ")[2].partition(b"\r\n")[0])
        await approve(request, writer)

    async with serving(serve) as client:
        run = await client.run(Load(400, 0.1), {Kind.AUTOMATIC: 1.0})
    assert len(run.samples) == len(seen) == len(set(seen)) == 40
    assert all(sample.expected for sample in run.samples)
    assert run.ids == ["pay_1"] * 40


async def test_a_stalled_server_s_latency_counts_from_when_each_request_was_due() -> None:
    """No coordinated omission: nothing is answered before the last request came, and none is due later for it."""
    seen: list[bytes] = []
    all_came = asyncio.Event()

    async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
        seen.append(request)
        if len(seen) == 10:
            all_came.set()
        await all_came.wait()
        await approve(request, writer)

    async with serving(serve) as client:
        run = await client.run(Load(50, 0.2, uniform=True), {Kind.AUTOMATIC: 1.0})
    last_due_s = 0.18
    assert sorted(sample.due_s for sample in run.samples) == [number / 50 for number in range(10)]
    assert all(sample.due_s + sample.latency_s >= last_due_s for sample in run.samples)


async def test_a_manual_payment_is_captured_at_once_and_can_be_refunded_then() -> None:
    paths: list[bytes] = []

    async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
        paths.append(request.split(b" ", 2)[1])
        writer.write(response(200 if paths[-1].endswith(b"/capture") else 201, APPROVED))

    async with serving(serve) as client:
        run = await client.run(Load(100, 0.01), {Kind.MANUAL: 1.0})
        refund = await client.run(Load(100, 0.01), {Kind.REFUND: 1.0})
    assert [sample.kind for sample in run.samples] == [Kind.MANUAL, Kind.CAPTURE]
    assert [sample.kind for sample in refund.samples] == [Kind.REFUND]
    assert paths == [b"/v1/payments", b"/v1/payments/pay_1/capture", b"/v1/payments/pay_1/refunds"]


async def test_a_replay_sends_the_same_bytes_and_must_be_answered_as_one() -> None:
    seen: list[bytes] = []

    async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
        headers = [b"Idempotent-Replayed: true"] if request in seen else []
        seen.append(request)
        writer.write(response(201, APPROVED, *headers))

    async with serving(serve) as client:
        await client.run(Load(100, 0.01), {Kind.AUTOMATIC: 1.0})
        run = await client.run(Load(100, 0.02), {Kind.REPLAY: 1.0})
    assert len(set(seen)) == 1
    assert [(sample.kind, sample.expected) for sample in run.samples] == [(Kind.REPLAY, True)] * 2


async def test_what_cannot_be_refunded_or_replayed_yet_is_a_payment() -> None:
    async with serving(approve) as client:
        run = await client.run(Load(100, 0.01), {Kind.REFUND: 1.0})
    assert [sample.kind for sample in run.samples] == [Kind.AUTOMATIC]


async def test_a_refusal_a_broken_connection_and_a_missing_answer_are_all_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(generator, "ANSWER_WITHIN_S", 0.05)
    answers = iter(["refuse", "break", "hang"])

    async def serve(_request: bytes, writer: asyncio.StreamWriter) -> None:
        match next(answers):
            case "refuse":
                writer.write(response(503, b"{}", b"Retry-After: 1"))
            case "break":
                writer.close()
            case _:
                await asyncio.Event().wait()

    async with serving(serve) as client:
        run = await client.run(Load(10, 0.3, uniform=True), {Kind.AUTOMATIC: 1.0})
    assert [sample.status for sample in run.samples] == [503, BROKEN, OVERDUE]
    assert run.samples[0].retry_after


async def test_what_is_due_beyond_the_open_limit_is_counted_as_unsent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(generator, "OPEN_MAX", 1)
    monkeypatch.setattr(generator, "ANSWER_WITHIN_S", 0.05)

    async def hang(_request: bytes, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with serving(hang) as client:
        run = await client.run(Load(100, 0.05), {Kind.AUTOMATIC: 1.0})
    assert (len(run.samples), run.unsent) == (1, 4)


@pytest.mark.parametrize("cut", [10, 40, 60])
def test_an_answer_in_pieces_is_whole_with_the_last_one(cut: int) -> None:
    whole = response(201, APPROVED, b"Location: /v1/payments/pay_1")
    assert parse(whole[:cut]) is None
    reply = parse(whole)
    assert reply is not None
    assert (reply.status, reply.body, reply.keeps_connection) == (201, APPROVED, True)


def test_a_connection_that_the_server_closes_is_not_kept() -> None:
    reply = parse(response(503, b"", b"Connection: close"))
    assert reply is not None
    assert not reply.keeps_connection
    assert not Reply(BROKEN).keeps_connection


def test_an_answer_without_a_length_is_not_understood() -> None:
    with pytest.raises(ValueError, match="Content-Length"):
        parse(b"HTTP/1.1 200 OK\r\n\r\n")
