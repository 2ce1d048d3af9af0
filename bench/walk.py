"""`python -m bench.walk`: which of the product's files and functions one automatic card payment passes.

Counted in the API process and in the relay, from the request until its webhooks have been delivered. What every
one of some payments passed is counted, so that what a timer happens to do meanwhile is not.
"""

import argparse
import asyncio
import functools
import json
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import groupby
from typing import Final

import httpx

from bench.surroundings import directory, plain_environ
from bench.tracer import BEGIN, CHECKOUT, END
from devstack.ports import LOOPBACK
from devstack.stack import DevStack, StackOptions

CARD: Final = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2035, "cvc": "123"}
WARM_UP: Final = 5  # payments that load what is loaded once
EVENTS: Final = 2  # of an automatic payment, each a webhook
WITHIN_S: Final = 10.0
RECORDED_S: Final = 0.2  # after the receiver has answered: the relay writes that down
BETWEEN_S: Final = 0.37  # no divisor of what timers wait
Function = tuple[str, str]
Walk = frozenset[Function]


class Tracer:
    """The trace in one process of the product."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def begin(self) -> None:
        await self._ask(BEGIN)

    async def end(self) -> Walk:
        """What was called since the beginning."""
        return frozenset((file, name) for file, name in await self._ask(END))

    async def _ask(self, command: bytes) -> list[Function]:
        self._writer.write(command)
        length = int.from_bytes(await self._reader.readexactly(4), "big")
        found: list[Function] = json.loads(await self._reader.readexactly(length))
        return found


class Receiver:
    """A merchant's webhook endpoint, which counts."""

    def __init__(self) -> None:
        self.received = 0
        self._more = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        self.received += 1
        self._more.set()

    async def has(self, count: int) -> None:
        async with asyncio.timeout(WITHIN_S):
            while self.received < count:
                self._more.clear()
                await self._more.wait()


async def walks(payments: int) -> dict[str, Walk]:
    """By process, what each of so many payments passed."""
    async with AsyncExitStack() as exits:
        folder = exits.enter_context(directory())
        (folder / "sitecustomize.py").write_text(
            f"from pathlib import Path\nfrom bench.tracer import trace\ntrace(Path({str(folder)!r}))\n"
        )
        options = StackOptions(
            directory=folder,
            environ=plain_environ(),
            product_environ={"PYTHONPATH": f"{folder}:{CHECKOUT}"},
            any_ports=True,
            temporal_ui=False,
            durable=False,
            restart=False,
        )
        stack = await exits.enter_async_context(DevStack(options))
        client = await exits.enter_async_context(
            httpx.AsyncClient(
                base_url=stack.api_url,
                headers={"Authorization": f"Bearer {stack.api_key}"},
                timeout=WITHIN_S,
                trust_env=False,
            )
        )
        receiver = Receiver()
        server = await asyncio.start_server(receiver.serve, LOOPBACK, 0)
        exits.callback(server.close)
        port = server.sockets[0].getsockname()[1]
        await _post(client, "/v1/webhook_endpoints", {"url": f"http://{LOOPBACK}:{port}/"})
        tracers = {
            name: Tracer(*await asyncio.open_unix_connection(folder / name)) for name in ("api", "relay")
        }

        async def pay() -> None:
            before = receiver.received
            order = {"amount": 1099, "currency": "INR", "payment_method": {"type": "card", "card": CARD}}
            await _post(client, "/v1/payments", order)
            await receiver.has(before + EVENTS)
            await asyncio.sleep(RECORDED_S)

        for _ in range(WARM_UP):
            await pay()
        return await _passed(tracers, pay, payments)


async def _passed(
    tracers: dict[str, Tracer], pay: Callable[[], Awaitable[None]], payments: int
) -> dict[str, Walk]:
    found: dict[str, list[Walk]] = {name: [] for name in tracers}
    for _ in range(payments):
        await asyncio.sleep(BETWEEN_S)
        for tracer in tracers.values():
            await tracer.begin()
        await pay()
        for name, tracer in tracers.items():
            found[name].append(await tracer.end())
    return {name: functools.reduce(frozenset.intersection, each) for name, each in found.items()}


async def _post(client: httpx.AsyncClient, path: str, body: object) -> None:
    answer = await client.post(path, json=body, headers={"Idempotency-Key": secrets.token_hex(8)})
    if answer.status_code != httpx.codes.CREATED:
        raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:300]}")


def report(found: dict[str, Walk], *, list_files: bool) -> str:
    """The counts by process and together, and each file with how many functions of it are passed."""
    together = frozenset[Function]().union(*found.values())
    lines = [f"{name}: {_counts(walk)}" for name, walk in {**found, "together": together}.items()]
    if list_files:
        for file, functions in groupby(sorted(together), key=lambda function: function[0]):
            passed = len(list(functions))
            where = " and ".join(name for name, walk in found.items() if any(file == one for one, _ in walk))
            lines.append(f"{passed:4}  {file}  ({where})")
    return "\n".join(lines)


def _counts(walk: Walk) -> str:
    return f"{len({file for file, _ in walk})} files, {len(walk)} functions"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.walk", description=__doc__)
    parser.add_argument("--payments", type=int, default=10)
    parser.add_argument("--files", action="store_true", help="also list the files")
    given = parser.parse_args()
    if given.payments < 1:
        parser.error("--payments is at least 1")
    print(report(asyncio.run(walks(given.payments)), list_files=given.files))
