"""Follows `GET /v1/events/stream` through disconnections. Source of the format: the HTML standard."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

import httpx

from payonce.cli.api import detail_of
from payonce.cli.base import CommandRefused
from payonce.waiting import back_off_s

CONNECT_S: Final = 5.0
SILENCE_S: Final = 45.0  # three heartbeats
TIMEOUT: Final = httpx.Timeout(CONNECT_S, read=SILENCE_S)
BACK_OFF_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
RETRY_AFTER_S_MAX: Final = 60.0
MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
REMEMBERED_MAX: Final = 10_000  # events by id: a reconnection repeats some

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Message:
    """One server-sent event; without data it only says where the stream is."""

    id: str
    type: str
    data: bytes = field(repr=False)


class MessageParser:
    """Cuts a byte stream into messages, whatever its chunks are. The bytes of `data` stay as they are."""

    def __init__(self) -> None:
        self._rest = b""
        self._id = ""
        self._type = ""
        self._data: list[bytes] = []

    def parse(self, chunk: bytes) -> Iterator[Message]:
        """The messages that this chunk completes. Raises `CommandRefused` for one without end."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) + sum(map(len, self._data)) > MESSAGE_BYTES_MAX:
            raise CommandRefused("the API sends something that is not a stream of events")
        for line in lines:
            if text := line.removesuffix(b"\r"):
                self._take(text)
            elif self._id:
                yield Message(self._id, self._type, b"\n".join(self._data))
                self._id, self._type, self._data = "", "", []

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"id":
                self._id = value.decode()
            case b"event":
                self._type = value.decode()
            case b"data":
                self._data.append(value)
            case _:
                pass  # a comment, or `retry`: we have a schedule of our own


@dataclass(slots=True)
class StreamFollower:
    """One developer's view of the stream: where it is, and what it has had already."""

    client: httpx.AsyncClient
    types: tuple[str, ...]
    report: Report
    last_id: str | None = None
    _failures: int = 0
    _was_connected: bool = False
    _seen: dict[str, None] = field(default_factory=dict)

    async def messages(self) -> AsyncGenerator[Message, None]:
        """Every event once, oldest first, for as long as it is asked. Raises `CommandRefused` for a wrong key."""
        while True:
            delay_s = BACK_OFF_S[0]
            try:
                async with aclosing(self._connection()) as connection:
                    async for message in connection:
                        yield message
            except httpx.HTTPError as error:
                delay_s = self._delay_s()
                self.report(f"The stream broke off ({type(error).__name__}); trying again in {delay_s:g} s")
            except _NotNow as refusal:
                delay_s = max(self._delay_s(), refusal.retry_after_s)
                self.report(f"{refusal}; trying again in {delay_s:g} s")
            await asyncio.sleep(delay_s)

    async def _connection(self) -> AsyncGenerator[Message, None]:
        headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
        parameters = {"types": ",".join(self.types)} if self.types else {}
        async with self.client.stream(
            "GET", "/v1/events/stream", params=parameters, headers=headers
        ) as response:
            if response.status_code != httpx.codes.OK:
                await self._refused(response)
                return
            if self._failures or not self._was_connected:
                self.report("Connected again" if self._was_connected else "Connected; waiting for events")
            self._failures, self._was_connected = 0, True
            parser = MessageParser()
            async for chunk in response.aiter_raw():
                for message in parser.parse(chunk):
                    if self._is_new(message):
                        yield message

    async def _refused(self, response: httpx.Response) -> None:
        """Raises `CommandRefused` for what will not change, `_NotNow` for the rest; a position unknown is dropped."""
        detail = detail_of(await response.aread())
        if response.status_code == httpx.codes.BAD_REQUEST and self.last_id is not None:
            self.report("The API does not know the last event (another database?); following from now on")
            self.last_id = None
            return
        if response.is_client_error and response.status_code != httpx.codes.TOO_MANY_REQUESTS:
            raise CommandRefused(f"the API answered {response.status_code}, {detail}")
        asked = response.headers.get("retry-after", "")
        retry_after_s = min(float(asked), RETRY_AFTER_S_MAX) if asked.isdigit() else 0.0
        raise _NotNow(f"The API answered {response.status_code}, {detail}", retry_after_s)

    def _is_new(self, message: Message) -> bool:
        self.last_id = message.id
        if not message.data or message.id in self._seen:
            return False
        self._seen[message.id] = None
        if len(self._seen) > REMEMBERED_MAX:
            del self._seen[next(iter(self._seen))]
        return True

    def _delay_s(self) -> float:
        delay_s = back_off_s(BACK_OFF_S, failures=self._failures)
        self._failures += 1
        return delay_s


class _NotNow(Exception):
    """The API takes no stream at this moment."""

    def __init__(self, text: str, retry_after_s: float) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s
