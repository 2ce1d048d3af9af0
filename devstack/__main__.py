"""`make dev` and `make dev-reset`."""

import argparse
import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from devstack.checkout import alone, reset
from devstack.demo import pay_capture_refund
from devstack.errors import StackError
from devstack.stack import DevStack, StackOptions, api_processes
from devstack.state import write_json

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Terminal:
    """Writes each line at once, after the seconds since the start."""

    def __init__(self) -> None:
        self._started_at = time.monotonic()

    def progress(self, line: str) -> None:
        """The line is on the terminal with its time."""
        print(f"{time.monotonic() - self._started_at:6.1f} s  {line}", flush=True)

    def timeline(self, payment_id: str, events: list[dict[str, Any]]) -> None:
        """The demonstration payment's events are on the terminal."""
        print(f"\nThe demonstration payment {payment_id}:", flush=True)
        for event in events:
            print(f"  {event['sequence']:>3}  {event['timestamp']}  {event['type']}", flush=True)

    def directions(self, stack: DevStack, payment_id: str | None) -> None:
        """Where everything is, and one request to try, are on the terminal."""
        ui_url = f"{stack.temporal_ui_url}/namespaces/default/workflows"
        lines = [
            "",
            f"API          {stack.api_url}",
            f"API docs     {stack.api_url}/docs",
            f"Temporal UI  {ui_url}",
            *([f"  this demo  {ui_url}/{payment_id}"] if payment_id else []),
            f"Acquirer     {stack.acquirer_url}/ledger",
            f"Metrics      {' '.join(stack.metrics_urls.values())}",
            f"Logs         {stack.log_dir}",
            "",
            "Try:",
            f"  curl {stack.api_url}/v1/payments \\",
            f"    -H 'Authorization: Bearer {stack.api_key}' \\",
            "    -H 'Idempotency-Key: order-1' -H 'Content-Type: application/json' \\",
            '    -d \'{"amount": 1099, "currency": "INR", "payment_method": {"type": "card", "card": '
            '{"number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "123"}}}\'',
            "",
            "Ctrl-C ends everything; state is kept (`make dev-reset` clears it).",
        ]
        print("\n".join(lines), flush=True)


class Session:
    """One `make dev`, from its first line to its last process's end."""

    def __init__(self, directory: Path) -> None:
        self._terminal = Terminal()
        self._record = directory / "dev.json"
        self._environ = directory / "environ.json"
        self._is_up = False
        self._stack = DevStack(
            StackOptions(
                directory=directory,
                api_processes=api_processes(os.environ),
                report=self._terminal.progress,
                on_change=self._write_record,
            )
        )
        self._ending: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Every part ran until a signal came; none is left."""
        self._forget()
        main = asyncio.current_task()
        assert main is not None
        loop = asyncio.get_running_loop()
        for number in ENDINGS:
            loop.add_signal_handler(number, self._on_signal, number, main)
        try:
            async with self._stack:
                await self._stay_up()
        finally:
            self._is_up = False
            self._forget()

    async def _stay_up(self) -> None:
        payment_id = await self._demonstrate()
        self._is_up = True
        self._write_record()
        self._terminal.directions(self._stack, payment_id)
        self._terminal.progress("ready")
        await asyncio.Event().wait()

    async def _demonstrate(self) -> str | None:
        try:
            payment_id, events = await pay_capture_refund(self._stack.api_url, self._stack.api_key)
        except (StackError, httpx.HTTPError) as error:
            self._terminal.progress(f"the demonstration payment failed: {error or type(error).__name__}")
            return None
        self._terminal.timeline(payment_id, events)
        return payment_id

    def _write_record(self) -> None:
        if self._is_up:
            write_json(self._environ, operators_environ(self._stack))
            write_json(self._record, self._stack.describe())

    def _forget(self) -> None:
        self._record.unlink(missing_ok=True)
        self._environ.unlink(missing_ok=True)

    def _on_signal(self, number: signal.Signals, main: "asyncio.Task[None]") -> None:
        """The first signal ends the stack in order, a second one at once."""
        self._is_up = False
        self._forget()
        if self._ending is None:
            self._terminal.progress(f"{number.name}: ending every process (once more: at once)")
            self._ending = asyncio.create_task(self._cancel(main))
        else:
            self._ending = asyncio.create_task(self._stack.kill_all())

    async def _cancel(self, main: "asyncio.Task[None]") -> None:
        main.cancel()


def operators_environ(stack: DevStack) -> dict[str, str]:
    """The variables with which the `payonce` command works on this stack, for whoever types it beside it."""
    return {name: value for name, value in stack.product_environ().items() if name.startswith("PAYONCE_")}


def up() -> None:
    """The stack ran until it was told to end."""
    with alone() as directory:
        try:
            asyncio.run(Session(directory).run())
        except asyncio.CancelledError:
            print("every process has ended", flush=True)


def main() -> None:
    """The command was carried out; one line says why when it cannot be."""
    parser = argparse.ArgumentParser(prog="python -m devstack", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("up", "reset"), default="up")
    try:
        if parser.parse_args().command == "reset":
            reset()
        else:
            up()
    except StackError as error:
        sys.exit(f"devstack: {error}")


if __name__ == "__main__":
    main()
