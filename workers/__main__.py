"""`python -m workers worker` or `relay`: one process of the kind named, until SIGTERM or SIGINT."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

import uvloop

from payonce import logging
from payonce.metrics import served
from payonce.runtime import Runtime, open_process, saying_why, spare_collector
from payonce.settings import settings_from_environment
from workers.sweeper import Sweeper
from workers.temporal import serving_worker
from workers.webhooks.relay import run_relay

Process = Callable[[Runtime, asyncio.Event], Awaitable[None]]


async def worker(runtime: Runtime, stop: asyncio.Event) -> None:
    """Takeovers, timers, inquiries and the sweeper."""
    async with serving_worker(runtime) as client:
        await Sweeper(runtime, client).run(stop)


PROCESSES: dict[str, Process] = {"worker": worker, "relay": run_relay}


async def run(name: str) -> None:
    """The process runs until it is told to end, and ends what it began."""
    settings = settings_from_environment()
    logging.configure(level=settings.log_level, process=name)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with served(settings.metrics_host, settings.metrics_port):
        async with open_process(settings) as runtime:
            spare_collector()
            await PROCESSES[name](runtime, stop)


def main() -> None:
    """An error that we know is one line and exit status 1."""
    if len(sys.argv) != 2 or sys.argv[1] not in PROCESSES:
        sys.exit(f"usage: python -m workers {'|'.join(PROCESSES)}")
    with saying_why(f"payonce {sys.argv[1]}"):
        uvloop.run(run(sys.argv[1]))


if __name__ == "__main__":
    main()
