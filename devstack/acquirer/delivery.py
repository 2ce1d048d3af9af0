"""How a reply leaves: as JSON, as garbage, or not at all."""

import asyncio
import contextlib
import socket
import struct

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from devstack.acquirer.desk import Reply
from devstack.acquirer.faults import Ending

TRANSPORT = "transport"  # where `server.ConnectionProtocol` leaves the connection in the request's state
_DISCONNECT_S_MAX = 5


def response(reply: Reply, *, hold_s: float) -> Response:
    """What the endpoint returns so that the sender sees the reply's ending."""
    match reply.ending:
        case Ending.ANSWER:
            return JSONResponse(reply.body, reply.status_code)
        case Ending.ERROR:
            return JSONResponse({"error": "internal_error"}, 500)
        case Ending.GARBAGE:
            return Response(b"<html>0x1f approved?", 200, media_type="application/json")
        case Ending.TIMEOUT:
            return _Held(hold_s)
        case Ending.RESET:
            return _Reset()


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
