"""What `payonce listen` reads: messages whatever the chunks are, each once, through every kind of disconnection."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from payonce.cli import following
from payonce.cli.base import CommandRefused
from payonce.cli.following import Message, MessageParser, StreamFollower

ONE = b'id: evt_1\nevent: payment.captured\ndata: {"note":"\xe2\x80\xa8 \xe2\x82\xb9"}\n\n'
TWO = b"id: evt_2\r\nevent: refund.succeeded\r\ndata: {}\r\n\r\n"
STREAM = b"retry: 1000\nid: since_1763822527000\n\n" + ONE + b": \n\n" + TWO


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_messages_do_not_depend_on_the_chunks(cuts: list[int]) -> None:
    parser = MessageParser()
    edges = [0, *sorted(cuts), len(STREAM)]
    found = [message for start, end in pairwise(edges) for message in parser.parse(STREAM[start:end])]
    assert found == [
        Message("since_1763822527000", "", b""),
        Message("evt_1", "payment.captured", b'{"note":"\xe2\x80\xa8 \xe2\x82\xb9"}'),
        Message("evt_2", "refund.succeeded", b"{}"),
    ]


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MESSAGE_BYTES_MAX", 100)
    with pytest.raises(CommandRefused):
        list(MessageParser().parse(b"x" * 101))


@dataclass
class Chunks(httpx.AsyncByteStream):
    """A body that breaks off, or just ends."""

    chunks: Sequence[bytes]
    breaks: bool = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk
        if self.breaks:
            raise httpx.ReadError("gone")


@dataclass
class FakeApi:
    """Answers each connection with the next of `answers`."""

    answers: list[Callable[[], httpx.Response]]
    asked: list[httpx.Request] = field(default_factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self.answers.pop(0)()

    @property
    def last_ids(self) -> list[str | None]:
        return [request.headers.get("last-event-id") for request in self.asked]


def stream(*chunks: bytes, breaks: bool = False) -> Callable[[], httpx.Response]:
    return lambda: httpx.Response(200, stream=Chunks(chunks, breaks))


def problem(status: int, code: str, **headers: str) -> Callable[[], httpx.Response]:
    body = {"code": code, "detail": "so it is"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: httpx.Response(status, json=body, headers=named)


def no_connection() -> httpx.Response:
    raise httpx.ConnectError("refused")


@dataclass
class Developer:
    """Follows a fake API, with what is said and how long is waited on record."""

    api: FakeApi
    said: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    async def reads(self, count: int, *, types: tuple[str, ...] = ()) -> list[str]:
        """The ids of the first events."""
        client = httpx.AsyncClient(transport=httpx.MockTransport(self.api), base_url="http://api.test")
        found: list[str] = []
        async with client, aclosing(StreamFollower(client, types, self.said.append).messages()) as messages:
            async for message in messages:
                found.append(message.id)
                if len(found) == count:
                    return found
        raise AssertionError("it never ends by itself")


@pytest.fixture
def developer_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Developer]:
    def make(*answers: Callable[[], httpx.Response]) -> Developer:
        developer = Developer(FakeApi(list(answers)))

        async def wait(seconds: float) -> None:
            developer.waits.append(seconds)

        monkeypatch.setattr(asyncio, "sleep", wait)
        return developer

    return make


MakeDeveloper = Callable[..., Developer]


async def test_a_connection_that_breaks_is_made_again_after_the_last_event(
    developer_of: MakeDeveloper,
) -> None:
    developer = developer_of(stream(ONE, breaks=True), no_connection, stream(ONE, TWO))
    assert await developer.reads(2) == ["evt_1", "evt_2"]
    assert developer.api.last_ids == [None, "evt_1", "evt_1"]
    assert developer.waits == [0.5, 1.0]
    assert "Connected again" in developer.said


async def test_a_stream_that_ends_by_itself_goes_on_without_a_word(developer_of: MakeDeveloper) -> None:
    developer = developer_of(stream(ONE), stream(TWO))
    assert await developer.reads(2) == ["evt_1", "evt_2"]
    assert developer.said == ["Connected; waiting for events"]


async def test_before_the_first_event_it_resumes_from_where_the_stream_began(
    developer_of: MakeDeveloper,
) -> None:
    developer = developer_of(stream(b"id: since_1763822527000\n\n", breaks=True), stream(ONE))
    assert await developer.reads(1) == ["evt_1"]
    assert developer.api.last_ids == [None, "since_1763822527000"]


async def test_a_wrong_key_ends_it(developer_of: MakeDeveloper) -> None:
    with pytest.raises(CommandRefused, match="401, unauthenticated: so it is"):
        await developer_of(problem(401, "unauthenticated")).reads(1)


async def test_a_wrong_filter_ends_it(developer_of: MakeDeveloper) -> None:
    developer = developer_of(problem(400, "invalid_request"))
    with pytest.raises(CommandRefused, match="400"):
        await developer.reads(1, types=("payment.lost",))
    assert developer.api.asked[0].url.params["types"] == "payment.lost"


async def test_an_event_that_the_api_forgot_is_no_place_any_more(developer_of: MakeDeveloper) -> None:
    developer = developer_of(stream(ONE), problem(400, "invalid_request"), stream(TWO))
    assert await developer.reads(2) == ["evt_1", "evt_2"]
    assert developer.api.last_ids == [None, "evt_1", None]


async def test_too_many_streams_are_waited_for_as_long_as_the_api_says(developer_of: MakeDeveloper) -> None:
    developer = developer_of(
        problem(429, "rate_limited", retry_after="7"), problem(503, "unavailable"), stream(ONE)
    )
    assert await developer.reads(1) == ["evt_1"]
    assert developer.waits == [7.0, 1.0]
