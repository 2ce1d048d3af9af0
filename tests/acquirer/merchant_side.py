"""The merchant's side of callbacks: a server that keeps what it was sent and answers as it is told."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from acquirer_process import KEY

NO_ANSWER = 0  # in `answers`: the connection stays open and silent


@dataclass
class MerchantSide:
    """Answers with the next of `answers`, and when they are used up with 200."""

    answers: list[int] = field(default_factory=list)
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    signatures_hold: list[bool] = field(default_factory=list)

    def statuses(self) -> list[str]:
        return [body["status"] for body in self.bodies]

    async def has(self, count: int) -> bool:
        return len(self.bodies) >= count

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:-1])
            body = await reader.readexactly(int(headers["content-length"]))
            self.signatures_hold.append(_holds(headers["acquirer-signature"], body))
            self.bodies.append(json.loads(body))
            answer = self.answers.pop(0) if self.answers else 200
            if answer == NO_ANSWER:
                await reader.read()  # until the other side gives up
                return
            writer.write(f"HTTP/1.1 {answer} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def merchant_side(*answers: int) -> AsyncIterator[MerchantSide]:
    """It listens on a free port while the block runs."""
    merchant = MerchantSide(list(answers))
    server = await asyncio.start_server(merchant.serve, "127.0.0.1", 0)
    merchant.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/callbacks?a=b"
    try:
        yield merchant
    finally:
        server.close()


def _holds(header: str, body: bytes) -> bool:
    parts = dict(part.split("=", 1) for part in header.split(","))
    expected = hmac.new(KEY.encode(), parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(parts["v1"], expected)
