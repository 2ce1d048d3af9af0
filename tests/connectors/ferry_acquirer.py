"""A fake acquirer that answers no questions: the same key is answered as at first, and callbacks carry the facts.

Captures, voids and refunds are only `received`. It signs some members of a callback and not the others.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

SIGNED = ("psp", "reference", "amount", "currency", "event", "success")
_KINDS = {"/payments": "authorize", "/captures": "capture", "/voids": "void", "/refunds": "refund"}
_EVENTS = {"capture": "CAPTURE", "void": "CANCELLATION", "refund": "REFUND"}
DECLINED = "4000000000000002"
FOREIGN_MINOR = 99


def signature(secret: bytes, item: dict[str, Any]) -> str:
    """Over these members, with a colon between them, as nothing else is signed."""
    text = ":".join(str(item[name]).lower() if name == "success" else str(item[name]) for name in SIGNED)
    return base64.b64encode(hmac.new(secret, text.encode(), hashlib.sha256).digest()).decode()


@dataclass
class FerryAcquirer:
    """`movements` by payment, `requests` by reference, `told` by reference: the bodies of callbacks."""

    secret: bytes
    url: str = ""
    movements: dict[str, list[str]] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    told: dict[str, list[bytes]] = field(default_factory=dict)
    refuses_credentials: bool = False
    _answers: dict[str, bytes] = field(default_factory=dict)
    _faulted: set[str] = field(default_factory=set)
    _authorizations: dict[str, str] = field(default_factory=dict)  # our reference, by its own
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FerryAcquirer"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = "http://127.0.0.1:{1}".format(*server.sockets[0].getsockname())
        try:
            yield self
        finally:
            server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        with suppress(asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            try:
                while True:
                    await self._exchange(reader, writer)
            finally:
                writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")[:-2]
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        request = json.loads(await reader.readexactly(int(headers["content-length"])))
        fault = await self._before(request, headers["idempotency-key"])
        kind = _KINDS[first.split(" ")[1]]
        if self.refuses_credentials:
            await _write(writer, b"{}", status="401 Unauthorized")
            return
        answer = self._answers.get(headers["idempotency-key"]) or self._process(kind, request)
        self._answers[headers["idempotency-key"]] = answer
        await _misbehave(writer, fault)
        await _write(writer, answer, status="200 OK")

    async def _before(self, request: dict[str, Any], key: str) -> str:
        """The fault of a key's first request."""
        self.requests[request["reference"]] = self.requests.get(request["reference"], 0) + 1
        fault = request.get("fault", "") if key not in self._faulted else ""
        self._faulted.add(key)
        if fault == "timeout_before":
            await asyncio.Event().wait()
        return str(fault)

    def _process(self, kind: str, request: dict[str, Any]) -> bytes:
        fault, reference = request.get("fault"), request["reference"]
        psp = hashlib.sha256(reference.encode()).hexdigest()[:16].upper()
        answer = {"psp": psp, "reference": reference, "currency": request["currency"]}
        amount = request["amount"] - (1 if fault == "amount_mismatch" else 0)
        if fault == "refused":
            return json.dumps({**answer, "amount": amount, "result": "invalid", "code": "703"}).encode()
        captured = request.get("automatic", False) and fault != "authorized_only"
        event = _EVENTS.get(kind, "AUTHORISATION_CAPTURED" if captured else "AUTHORISATION")
        success = request.get("card") != DECLINED and fault != "declined_later"
        item = {**answer, "amount": amount, "event": event, "success": success}
        if success:
            self.movements.setdefault(request["payment"], []).extend([kind, *(["capture"] * captured)])
            self._authorizations[psp] = reference
        result = "received" if kind != "authorize" else "authorised" if success else "refused"
        self._tell(item)
        self._turn(fault, kind, item)
        return json.dumps({**answer, "amount": amount, "result": result, "captured": captured}).encode()

    def _turn(self, fault: str | None, kind: str, item: dict[str, Any]) -> None:
        if fault == "undone":
            event = "REFUND_FAILED" if kind == "refund" else "CAPTURE_FAILED"
            self._tell({**item, "psp": f"{item['psp']}U", "event": event})
        if fault == "foreign":
            theirs = {"psp": f"{item['psp']}F", "amount": FOREIGN_MINOR, "event": "DASHBOARD_REFUND"}
            self._tell({**item, **theirs})

    def _tell(self, item: dict[str, Any]) -> None:
        unsigned = {"reason": "as it was", "additional": {"authCode": "123456", "scheme": "visa"}}
        signed = {**item, **unsigned, "signature": signature(self.secret, item)}
        self.told.setdefault(item["reference"], []).append(json.dumps(signed).encode())


async def _misbehave(writer: asyncio.StreamWriter, fault: str) -> None:
    match fault:
        case "timeout_after":
            await asyncio.Event().wait()
        case "reset_after":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(1, 13, linger)  # SOL_SOCKET, SO_LINGER: RST
            writer.close()
            raise ConnectionResetError
        case "error_after":
            await _write(writer, b'{"error": "oh"}', status="500 Oh")
            raise ConnectionAbortedError
        case "garbage_after":
            await _write(writer, b"<html>", status="200 OK")
            raise ConnectionAbortedError


async def _write(writer: asyncio.StreamWriter, body: bytes, *, status: str) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
