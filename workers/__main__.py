"""`python -m workers worker`, `relay` or `renderer`: one process of the kind named, until SIGTERM or SIGINT."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Never

import uvloop

from payonce import logging
from payonce.memory import keep_private
from payonce.metrics import served
from payonce.programs import run_program
from payonce.runtime import Runtime, open_process, spare_collector
from payonce.settings import settings_from_environment
from payonce.vault.heartbeats import beating
from workers.renderer import run_renderer
from workers.sweeper import Sweeper
from workers.temporal import serving_worker
from workers.webhooks.relay import run_relay

Process = Callable[[Runtime, asyncio.Event], Awaitable[None]]


async def worker(runtime: Runtime, stop: asyncio.Event) -> None:
    """Takeovers, timers, inquiries and the sweeper."""
    owner = runtime.rights.owner
    async with (
        beating(runtime.database, runtime.vault, owner=owner, kind="worker"),
        serving_worker(runtime) as client,
    ):
        await Sweeper(runtime, client).run(stop)


PROCESSES: dict[str, Process] = {"worker": worker, "relay": run_relay, "renderer": run_renderer}
SENDS = "worker"  # to acquirers: it alone of these may hold a card


async def run(name: str) -> None:
    """The process runs until it is told to end, and ends what it began."""
    settings = settings_from_environment()
    if name == SENDS:
        keep_private(allow_debuggers=settings.allow_debuggers)
    logging.configure(level=settings.log_level, process=name)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with served(settings.metrics_host, settings.metrics_port):
        async with open_process(settings, with_vault=name == SENDS) as runtime:
            spare_collector()
            await PROCESSES[name](runtime, stop)


def main() -> Never:
    """An error that we know is one line and exit status 1."""
    if len(sys.argv) != 2 or sys.argv[1] not in PROCESSES:
        sys.exit(f"usage: python -m workers {'|'.join(PROCESSES)}")
    run_program(f"payonce {sys.argv[1]}", lambda: uvloop.run(run(sys.argv[1])))


if __name__ == "__main__":
    main()
