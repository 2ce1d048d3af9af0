"""The process: HTTP and the Temporal worker on one event loop."""

import asyncio
import resource
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import cast

import uvicorn
from fastapi import FastAPI
from temporalio.client import Client

from api.admission.admission import Admission
from api.app import about_to_end, build_app
from api.http.connections import Connections
from api.http.protocol import LimitedProtocol
from api.routes.health import PROBE_S, Probe
from payonce import logging
from payonce.metrics import served
from payonce.runtime import Runtime, open_process, spare_collector
from payonce.settings import Settings, blaming
from payonce.vault.heartbeats import beating
from workers.inbox import Inbox
from workers.temporal import serving_api
from workers.webhooks.dispatch import WebhookDispatcher

GRACEFUL_SHUTDOWN_S = 12  # every request is answered within 10 s; who asked to wait longer asks again
KEEP_ALIVE_S = 65  # longer than the usual proxy's, so that the proxy closes first
BACKLOG = 2048
DESCRIPTORS_KEPT = 200  # for Postgres, Redis, Temporal, acquirers and the process itself

log = logging.get_logger(__name__)


async def serve(settings: Settings) -> None:
    """Requests are answered until SIGTERM or SIGINT; then those under way are, and everything is closed."""
    logging.configure(level=settings.log_level, process="api")
    with (
        listening_socket(settings.api_host, settings.api_port) as listener,
        served(settings.metrics_host, settings.metrics_port),
    ):
        async with (
            open_process(settings, for_api=True) as runtime,
            runtime.wakeups.listening(),
            runtime.issuers.following(),
            beating(runtime.database, runtime.vault, owner=runtime.rights.owner, kind="api"),
            serving_api(runtime) as temporal,
        ):
            start_job = WebhookDispatcher(temporal).start_job
            inbox = Inbox(runtime, temporal)
            probes = probes_of(runtime, temporal)
            app = build_app(runtime, Admission(runtime, temporal), probes, inbox, start_job)
            connections = connections_of(settings)
            server = server_for(app, connections, on_stop=partial(about_to_end, app))
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, server.stop)
            spare_collector()
            log.info("api_listening", host=settings.api_host, port=listener.getsockname()[1])
            await server.serve([listener])
            await inbox.drain()


def connections_of(settings: Settings) -> Connections:
    """Room for as many connections as the settings say, and as there are descriptors for."""
    enough = settings.connections_max + DESCRIPTORS_KEPT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < enough:
        soft = enough if hard == resource.RLIM_INFINITY else min(enough, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < enough:
            log.warning("descriptors_too_few", wanted=enough, allowed=soft)
            enough = soft
    most = max(1, enough - DESCRIPTORS_KEPT)
    return Connections(most=most, most_of_one_address=settings.connections_per_address_max)


def server_for(
    app: FastAPI, connections: Connections, *, on_stop: Callable[[], None] = lambda: None
) -> "Server":
    """An HTTP server with our limits; `serve([socket])` runs until `stop`, which calls `on_stop` first."""
    return Server(
        uvicorn.Config(
            app,
            http=cast("type[LimitedProtocol]", partial(LimitedProtocol, connections=connections)),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_S,
        ),
        on_stop=on_stop,
    )


class Server(uvicorn.Server):
    """Ends when told; uvicorn's own handler would raise the signal again before anything else is closed."""

    def __init__(self, config: uvicorn.Config, *, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stop = on_stop

    def stop(self) -> None:
        """Accepts no more and ends event streams; a second time, requests under way are not waited for."""
        self._on_stop()
        self.force_exit = self.should_exit
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def listening_socket(host: str, port: int) -> Iterator[socket.socket]:
    """A bound socket; several processes may share the port, and the kernel spreads the connections."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with blaming("PAYONCE_API_HOST, PAYONCE_API_PORT"):
            listener.bind((host, port))
        listener.set_inheritable(False)
        yield listener


def probes_of(runtime: Runtime, temporal: Client) -> Mapping[str, Probe]:
    """How to ask each dependency whether it is there."""

    async def ask_redis() -> None:
        await runtime.redis.ping()

    async def ask_temporal() -> None:
        if not await temporal.service_client.check_health(timeout=timedelta(seconds=PROBE_S)):
            raise ConnectionError("Temporal does not serve")

    return {"postgres": runtime.database.ping, "redis": ask_redis, "temporal": ask_temporal}
