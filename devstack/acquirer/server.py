"""Serves the acquirer on one socket, says where, and lets an endpoint reach its own connection."""

import asyncio
import json
import os
import signal
import socket
from types import FrameType
from typing import NoReturn, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from devstack.acquirer.app import Settings, create_app
from devstack.acquirer.delivery import TRANSPORT

KEEP_ALIVE_S = 75  # longer than clients keep idle connections, so that no reset is of our own making
BACKLOG = 2048
SHUTDOWN_S = 1  # requests that hang by design are given up after this


class ConnectionProtocol(HttpToolsProtocol):
    """HTTP/1.1 whose requests find their connection's transport in `request.state`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))  # uvloop's is none by inheritance
        self.app_state = {**self.app_state, TRANSPORT: transport}


class AnnouncingServer(uvicorn.Server):
    """Prints its address as one JSON line once it listens; leaves whoever hangs without an answer."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        assert sockets is not None
        host, port = sockets[0].getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(json.dumps({"url": f"http://{shown}:{port}"}), flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(SHUTDOWN_S / 2, self._abort_connections)
        await super().shutdown(sockets)

    def _abort_connections(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def serve_until_stopped(settings: Settings, *, host: str, port: int) -> None:
    """The acquirer has served until SIGTERM or SIGINT; the process exits with 0."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)  # uvicorn restores these and raises the signal again when it is done
    listener = _listener(host, port)
    config = uvicorn.Config(
        create_app(settings),
        http=ConnectionProtocol,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_level="warning",
        access_log=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    AnnouncingServer(config).run(sockets=[listener])


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise SystemExit(f"{host}:{port}: {os.strerror(error.errno or 0)}") from error
    # Connections inherit it. asyncio sets it only where socket.proto says TCP, and here it says 0: without
    # this line an answer took 48 ms (Nagle against delayed acknowledgement) instead of 4.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _exit(_: int, __: FrameType | None) -> NoReturn:
    raise SystemExit(0)
