"""A connection to the server, byte by byte, and the head of a refund of 300 that is sent over it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.api.conftest import Serving
from tests.api.fakes import FakeAdmission

BODY = b'{"amount":300}'
CHUNKED = b"e\r\n" + BODY + b"\r\n0\r\n\r\n"
LENGTH = f"Content-Length: {len(BODY)}\r\n"
TE = "Transfer-Encoding: chunked\r\n"
H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: api.test\r\n\r\n"
ANSWERED_WITHIN_S = 60.0

REFUND_300 = ("refund", "pay_a1", 300, None, {})
REFUND_ALL = ("refund", "pay_a1", None, None, {})


@dataclass
class Line:
    """One connection to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, bytes]:
        """The next answer's status and body."""
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            return int(head.split()[1]), await self.reader.readexactly(int(fields[b"content-length"]))

    async def ends(self) -> None:
        """Nothing more comes, and the server has closed."""
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            assert await self.reader.read() == b""

    async def refused(self, status: int = 400) -> None:
        """The next answer is a problem, and the last one."""
        found, body = await self.answer()
        assert (found, json.loads(body)["status"]) == (status, status)
        await self.ends()


@asynccontextmanager
async def line_to(serving: Serving) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(serving.url).port)
    try:
        yield Line(reader, writer)
    finally:
        writer.close()


@dataclass(frozen=True)
class Head:
    """The head of a refund, with these fields besides."""

    api_key: str
    key: str

    def __call__(
        self, fields: str = "", *, version: str = "HTTP/1.1", json_type: bool = True, again: str = ""
    ) -> bytes:
        content_type = "Content-Type: application/json\r\n" if json_type else ""
        return (
            f"POST /v1/payments/pay_a1/refunds {version}\r\nHost: api.test\r\n"
            f"Authorization: Bearer {self.api_key}\r\nIdempotency-Key: {self.key}{again}\r\n"
            f"{content_type}{fields}\r\n"
        ).encode()


def admitted(admission: FakeAdmission) -> list[object]:
    return [call[1:] for call in admission.calls]
