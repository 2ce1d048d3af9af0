"""How a baseline's HTTP server ends."""

import asyncio
import signal

from api.main import Server


def stop_on_signals(server: Server) -> None:
    """The server stops at SIGTERM or SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
