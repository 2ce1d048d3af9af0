"""How a reply leaves: as JSON, as something else, or not at all."""

import asyncio
import contextlib
import socket
import struct
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from devstack.acquirer.desk import Reply
from devstack.acquirer.faults import Ending

TRANSPORT = "transport"  # where `server.ConnectionProtocol` leaves the connection in the request's state
_DISCONNECT_S_MAX = 5
_PAGE = b"<!doctype html><title>Maintenance</title><p>We will be back soon.</p>"
_ELSEWHERE = "http://127.0.0.1:9/elsewhere"  # where nobody listens
_NAMES = ("id", "reference", "payment_reference", "authorization", "original_reference")


def response(reply: Reply, *, hold_s: float) -> Response:
    """What the endpoint returns so that the sender sees the reply's ending."""
    match reply.ending:
        case Ending.ANSWER:
            return JSONResponse(reply.body, reply.status_code)
        case Ending.OTHER:
            return JSONResponse(_of_somebody_else(reply.body), reply.status_code)
        case Ending.TIMEOUT:
            return _Held(hold_s)
        case Ending.RESET:
            return _Reset()
        case _:
            return _fixed(reply.ending)


def _fixed(ending: Ending) -> Response:
    """What says nothing of the order."""
    match ending:
        case Ending.ERROR:
            return JSONResponse({"error": "internal_error"}, 500)
        case Ending.GARBAGE:
            return Response(b"<html>0x1f approved?", 200, media_type="application/json")
        case Ending.HTML:
            return Response(_PAGE, 200, media_type="text/html")
        case Ending.REDIRECT:
            return Response(status_code=302, headers={"Location": _ELSEWHERE})
        case Ending.RATE_LIMITED:
            return JSONResponse({"error": "rate_limited"}, 429)
        case _:
            raise AssertionError(ending)


def _of_somebody_else(body: dict[str, Any]) -> dict[str, Any]:
    """The answer with every name in it another's, of the same length and letters."""
    return {**body, **{name: body[name][::-1] for name in _NAMES if isinstance(body.get(name), str)}}


class _Held(Response):
    """Nothing is sent; the connection is open for `hold_s` or until the sender goes, then closed."""

    def __init__(self, hold_s: float) -> None:
        super().__init__()
        self._hold_s = hold_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_disconnected(receive), self._hold_s)
        await _ended(Request(scope, receive))


class _Reset(Response):
    """Nothing is sent; the sender gets a TCP RST."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        connection: socket.socket = _transport(request).get_extra_info("socket")
        # Lingering for 0 s makes close() discard and send RST. Source: POSIX, SO_LINGER; Linux tcp(7).
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await _ended(request)


async def _ended(request: Request) -> None:
    """The connection is closed and the server knows, so it sends no answer of its own."""
    _transport(request).abort()
    await asyncio.wait_for(_disconnected(request.receive), _DISCONNECT_S_MAX)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _transport(request: Request) -> asyncio.Transport:
    transport: asyncio.Transport = getattr(request.state, TRANSPORT)
    return transport
