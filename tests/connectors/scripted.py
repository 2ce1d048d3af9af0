"""A server that plays what a test says an acquirer answers, and keeps what it was sent; and a connector at it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from payonce.connectors.base import Connector, ConnectorAccount


@dataclass(frozen=True)
class Answer:
    """One answer; `raw` replaces the JSON body. `silent`: none comes. `reset`: the connection ends instead."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    silent: bool = False
    reset: bool = False


@dataclass(frozen=True)
class Sent:
    """One request that came in. Names of headers are lower-case."""

    method: str
    path: str
    headers: Mapping[str, str]
    text: str  # its body
    query: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def body(self) -> Any:
        return json.loads(self.text) if self.text else None

    @property
    def form(self) -> tuple[tuple[str, str], ...]:
        return tuple(parse_qsl(self.text, keep_blank_values=True))

    @property
    def members(self) -> dict[str, str]:
        return dict(self.form)

    @property
    def asked(self) -> dict[str, str]:
        return dict(self.query)

    @property
    def key(self) -> str | None:
        return self.headers.get("idempotency-key")


Script = Mapping[str, Answer | Sequence[Answer] | Callable[[Sent], Answer]]


class Scripted:
    """Answers by method and path; of several answers each once, and the last for ever.

    `unknown`: to what is not in the script. `headers`: of every answer.
    """

    def __init__(self, script: Script, *, unknown: Answer, headers: Mapping[str, str] | None = None) -> None:
        self._script = dict(script)
        self._unknown = unknown
        self._headers = dict(headers or {})
        self._asked: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.sent: list[Sent] = []
        self.url = ""

    @property
    def names(self) -> list[str]:
        return [sent.name for sent in self.sent]

    def of(self, name: str) -> list[Sent]:
        return [sent for sent in self.sent if sent.name == name]

    def play(self, script: Script) -> None:
        """From now on."""
        self._script |= script
        self._asked = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Scripted"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = "http://127.0.0.1:{1}".format(*server.sockets[0].getsockname())
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                answer = self._answer(await _read(reader))
                if answer.silent:
                    await asyncio.Event().wait()
                if answer.reset:
                    return
                writer.write(_written(answer, self._headers))
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass
        finally:
            writer.close()

    def _answer(self, sent: Sent) -> Answer:
        self.sent.append(sent)
        played = self._script.get(sent.name)
        if played is None:
            return self._unknown
        if isinstance(played, Answer):
            return played
        if callable(played):
            return played(sent)
        asked = self._asked.get(sent.name, 0)
        self._asked[sent.name] = asked + 1
        return played[min(asked, len(played) - 1)]


class AccountAt(Protocol):
    """Makes the account of a connector at this address."""

    def __call__(self, url: str, *, mode: str = "test", **options: str) -> ConnectorAccount: ...


@asynccontextmanager
async def opening(
    connect: Callable[..., Connector],
    account: AccountAt,
    *,
    unknown: Answer,
    headers: Mapping[str, str] | None = None,
    now: Callable[[], datetime] | None = None,
    sent: list[Sent],
) -> AsyncIterator[Callable[..., Any]]:
    """Opens connectors, each at a server with a script, and closes both; `sent` is all that they sent, at the end."""
    servers: list[Scripted] = []
    async with AsyncExitStack() as stack:

        async def open_(
            script: Script,
            *,
            mode: str = "test",
            now: Callable[[], datetime] | None = now,
            **options: str,
        ) -> tuple[Connector, Scripted]:
            scripted = Scripted(script, unknown=unknown, headers=headers)
            server = await stack.enter_async_context(scripted.running())
            opened = account(server.url, mode=mode, **{"call_deadline_s": _patience_s(script), **options})
            connector = connect(opened) if now is None else connect(opened, now=now)
            stack.push_async_callback(connector.close)
            servers.append(server)
            return connector, server

        yield open_
        for server in servers:
            sent += server.sent


def _patience_s(script: Script) -> str:
    """What is answered is waited for, however slow the machine is; what is not, only so long."""
    played = [each for of in script.values() for each in (of if isinstance(of, Sequence) else [of])]
    return "2" if any(isinstance(each, Answer) and each.silent for each in played) else "20"


async def _read(reader: asyncio.StreamReader) -> Sent:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:-2])}
    text = (await reader.readexactly(int(headers.get("content-length", "0")))).decode()
    url = urlsplit(target)
    return Sent(method, url.path, headers, text, tuple(parse_qsl(url.query, keep_blank_values=True)))


def _written(answer: Answer, headers: Mapping[str, str]) -> bytes:
    body = json.dumps(answer.body).encode() if answer.raw is None else answer.raw
    lines = [f"HTTP/1.1 {answer.status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in {**headers, **answer.headers}.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
