"""What every connector must show whichever of its calls fails, and however: tests to inherit, as `conformance`.

    class TestOurConnector(ConnectorConformance, WireConformance):
        @pytest.fixture
        def harness(self) -> WireHarness: ...

A `send` may make calls before the one that moves money. The suite stands between the connector and its acquirer's
sandbox and does something to the first, the second, … of them; it does not know which of them moves money, and asks
the acquirer's ledger.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal, Protocol
from urllib.parse import urlsplit

import pytest

from payonce.connectors.base import Call, Connector
from payonce.connectors.conformance import ConformanceHarness, authorization, eventually, yes
from payonce.connectors.conformance_learning import learned
from payonce.domain.errors import ConnectorError, NotSent, OutcomeUnknown
from payonce.domain.facts import Approved, Declined, Refused, Reply

CALLS_MAX: Final = 8  # of one send
HEAD_BYTES_MAX: Final = 64 * 1024
HUGE: Final = b'{"id":"' + b"x" * 200_000 + b'"}'


class WireHarness(ConformanceHarness, Protocol):
    """A harness whose connector can be opened at another address."""

    @property
    def url(self) -> str:
        """Of the acquirer's sandbox: plain HTTP."""
        ...

    def open_at(self, url: str) -> Connector:
        """A connector there, with a call deadline short enough to wait for."""
        ...

    def key_of(self, request: bytes) -> str:
        """By what the acquirer recognises that a request comes again: of its head or body, as it was sent."""
        ...


@dataclass(frozen=True, slots=True)
class Break:
    """What is done to the request of this number, the first being 1; those before it pass.

    `dropped`: it does not arrive, and nothing is answered. `lost`: it arrives, and its answer does not.
    `replaced`: it arrives, and is answered with `answer`. `last`: it is answered, and no other one can be made.
    """

    number: int
    how: Literal["dropped", "lost", "replaced", "last"]
    answer: bytes = b""


class BreakableWire:
    """Between a connector and its acquirer: it keeps every request, and breaks one."""

    def __init__(self, url: str, broken: Break | None = None) -> None:
        upstream = urlsplit(url)
        self._host, self._port = upstream.hostname or "", upstream.port or 80
        self._path = upstream.path
        self._broken = broken
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.requests: list[bytes] = []
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["BreakableWire"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_BYTES_MAX)
        self._server = server
        self.url = "http://127.0.0.1:{1}".format(*server.sockets[0].getsockname()) + self._path
        try:
            yield self
        finally:
            server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

    async def has_received(self, number: int) -> bool:
        """Whether so many requests came."""
        return len(self.requests) >= number

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        with suppress(asyncio.IncompleteReadError, OSError):
            try:
                while True:
                    await self._exchange(await _message(reader), writer)
            finally:
                writer.close()

    async def _exchange(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        self.requests.append(request)
        broken = self._broken if self._broken and self._broken.number == len(self.requests) else None
        if broken is not None and broken.how == "dropped":
            await asyncio.Event().wait()
        answer = await self._forward(request)
        if broken is not None and broken.how == "lost":
            await asyncio.Event().wait()
        writer.write(broken.answer if broken is not None and broken.how == "replaced" else answer)
        await writer.drain()
        if broken is not None and broken.how == "last" and self._server is not None:
            self._server.close()
            writer.close()

    async def _forward(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self._host, self._port, limit=HEAD_BYTES_MAX)
        try:
            writer.write(request)
            return await _message(reader)
        finally:
            writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One request or answer, head and body. Raises `IncompleteReadError` at the end of the connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    if re.search(rb"(?im)^transfer-encoding: *chunked", head):
        return head + await _chunks(reader)
    length = re.search(rb"(?im)^content-length: *([0-9]{1,9})", head)
    return head + await reader.readexactly(int(length[1]) if length else 0)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    read = b""
    while True:
        line = await reader.readline()
        chunk = await reader.readexactly(int(line.split(b";")[0], 16) + 2)
        read += line + chunk
        if chunk == b"\r\n":
            return read


def _answer(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"HTTP/1.1 {status}\r\n{length}{headers}\r\n".encode() + body


WRONG: Final[Mapping[str, bytes]] = {
    "garbage": _answer(b"\xff\xfe\x00garbage"),
    "nothing": _answer(b""),
    "html": _answer(b"<html><body>It works!</body></html>"),
    "a list": _answer(b"[]"),
    "an empty object": _answer(b"{}"),
    "other types": _answer(b'{"id":1,"status":["approved"],"amount":"10.99","currency":7}'),
    "too deep": _answer(b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
    "huge": _answer(HUGE),
    "an error in a 200": _answer(b'{"error":{"type":"api_error","message":"x"}}'),
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "a redirect": _answer(b"{}", status="302 Found", headers="Location: /elsewhere\r\n"),
    "500": _answer(b'{"error":"oh"}', status="500 Oh"),
    "teapot": _answer(b"{}", status="418 Teapot"),
}
"""Answers that no acquirer documents."""


class WireConformance:
    """Whatever becomes of one call of a `send`, its outcome is either proven or unknown."""

    pytestmark = pytest.mark.asyncio

    @pytest.mark.parametrize("how", ["dropped", "lost"])
    async def test_a_call_without_an_answer_moves_nothing_or_is_unknown(
        self, harness: WireHarness, how: Literal["dropped", "lost"]
    ) -> None:
        """A time-out at each call of a `send`, before and after the acquirer has read it."""
        for number in range(1, await calls_of(harness) + 1):
            call = authorization(harness)
            async with BreakableWire(harness.url, Break(number, how)).running() as wire:
                with pytest.raises((NotSent, OutcomeUnknown)) as failure:
                    await harness.open_at(wire.url).send(call, may_send=yes)
            await judge(harness, call, sent=isinstance(failure.value, OutcomeUnknown))

    async def test_an_acquirer_that_goes_away_between_two_calls_has_moved_nothing_or_is_asked(
        self, harness: WireHarness
    ) -> None:
        """A call that comes after the one that moves money is not sent; the money was."""
        for number in range(1, await calls_of(harness) + 1):
            call = authorization(harness)
            async with BreakableWire(harness.url, Break(number, "last")).running() as wire:
                reply = await told(harness.open_at(wire.url), call)
            await judge(harness, call, sent=not isinstance(reply, NotSent))

    async def test_cancelled_in_a_call_it_has_moved_nothing_or_is_found(self, harness: WireHarness) -> None:
        """As a process that is killed there: nobody reads the answer, and nothing more is sent."""
        for number in range(1, await calls_of(harness) + 1):
            call = authorization(harness)
            async with BreakableWire(harness.url, Break(number, "lost")).running() as wire:
                sending = asyncio.create_task(harness.open_at(wire.url).send(call, may_send=yes))
                await eventually(partial(wire.has_received, number))
                sending.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await sending
            assert set(await harness.movements(call.payment_id)) <= {"authorize"}
            if await harness.movements(call.payment_id):
                assert isinstance(await learned(harness, harness.open(), call), Approved)

    @pytest.mark.parametrize("wrong", WRONG)
    async def test_an_answer_that_is_not_documented_proves_nothing(
        self, harness: WireHarness, wrong: str
    ) -> None:
        for number in range(1, await calls_of(harness) + 1):
            call = authorization(harness)
            async with BreakableWire(harness.url, Break(number, "replaced", WRONG[wrong])).running() as wire:
                reply = await told(harness.open_at(wire.url), call)
            assert not isinstance(reply, Approved | Declined | Refused), wrong
            await judge(harness, call, sent=not isinstance(reply, NotSent))

    async def test_the_same_attempt_sends_the_same_keys_and_another_one_never(
        self, harness: WireHarness
    ) -> None:
        call, other = authorization(harness), authorization(harness)
        again = replace(other, reference=f"{other.reference[:-1]}2")
        keys = [await keys_of(harness, each) for each in (call, call, other, again)]
        assert sorted(keys[0]) == sorted(keys[1])
        different = [*keys[0], *keys[2], *keys[3]]
        assert len(set(different)) == len(different)

    @pytest.mark.parametrize("wrong", WRONG)
    async def test_a_wrong_answer_to_an_inquiry_proves_nothing(
        self, harness: WireHarness, wrong: str
    ) -> None:
        call = authorization(harness)
        reply = await harness.open().send(call, may_send=yes)
        assert isinstance(reply, Approved)
        call = replace(call, attempt_reference=reply.connector_reference)
        async with BreakableWire(harness.url, Break(1, "replaced", WRONG[wrong])).running() as wire:
            connector = harness.open_at(wire.url)
            if connector.capabilities.truth_of(
                call.kind
            ).is_told:  # as whoever would send it again learns of it
                assert not isinstance(await told(connector, call), Approved | Declined | Refused)
            else:
                with pytest.raises(ConnectorError):
                    await connector.inquire(call)


async def calls_of(harness: WireHarness) -> int:
    """How many requests a `send` of an authorization makes."""
    async with BreakableWire(harness.url).running() as wire:
        assert isinstance(
            await harness.open_at(wire.url).send(authorization(harness), may_send=yes), Approved
        )
    assert 1 <= len(wire.requests) <= CALLS_MAX
    return len(wire.requests)


async def keys_of(harness: WireHarness, call: Call) -> Sequence[str]:
    """The keys of every request of a `send` that the acquirer approves."""
    async with BreakableWire(harness.url).running() as wire:
        assert isinstance(await harness.open_at(wire.url).send(call, may_send=yes), Approved)
    return [harness.key_of(request) for request in wire.requests]


async def judge(harness: WireHarness, call: Call, *, sent: bool) -> None:
    """What was said not to be sent has moved nothing; what moved is found under the attempt's reference."""
    moved = list(await harness.movements(call.payment_id))
    assert moved in ([], ["authorize"])
    assert sent or not moved
    if moved:
        assert isinstance(await learned(harness, harness.open(), call), Approved)


async def told(connector: Connector, call: Call) -> Reply | ConnectorError:
    """What a `send` returned or raised."""
    try:
        return await connector.send(call, may_send=yes)
    except ConnectorError as error:
        return error
