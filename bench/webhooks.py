"""`python -m bench.webhooks`: first-attempt lag, isolation and the draining of a backlog, as rows of Markdown.

Ten merchants with an endpoint each; payments come at fixed moments and make two events each. The receivers are
one process beside the product. Lag is the receiver's clock when a request has arrived less the event's time,
which is a little before its commit: connecting and our own recording are in it. Loopback only; ends by itself.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import secrets
import statistics
import string
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
from pydantic import SecretStr
from sqlalchemy import text

from devstack.ports import LOOPBACK
from devstack.stack import DevStack, StackOptions
from payonce.settings import Settings
from payonce.storage.driver.database import Database
from payonce.storage.merchants import create_key, create_merchant

MERCHANTS: Final = 10
PAYMENTS_PER_S: Final = 10.0  # of two events each
BACKLOG: Final = 10_000
DRAIN_S_MAX: Final = 300.0
SETTLE_S: Final = 3.0
CARD: Final = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2035, "cvc": "123"}
# Deliveries of the newest event of each merchant, as if no relay had run for a while.
ADD_BACKLOG: Final = """
    INSERT INTO webhook_deliveries (id, event_id, endpoint_id, payment_id, sequence, next_attempt_at, created_at)
    SELECT 'dlv_bench' || number || endpoint.id, event.id, endpoint.id, event.payment_id, event.sequence,
           now(), now()
      FROM webhook_endpoints AS endpoint
      JOIN LATERAL (SELECT * FROM events WHERE merchant_id = endpoint.merchant_id
                     ORDER BY created_at DESC LIMIT 1) AS event ON true
     CROSS JOIN generate_series(1, :each) AS number
"""


def receive(port: "multiprocessing.Queue[int]") -> None:
    """Receivers: `/ok` answers at once, `/hang` never, `/lags` tells the lags since it was last asked."""
    asyncio.run(_receive(port))


async def _receive(port: "multiprocessing.Queue[int]") -> None:
    lags: list[float] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        arrived = datetime.now(UTC)
        path, lower = head.split(" ")[1], head.lower()
        length = int(lower.partition("content-length: ")[2].partition("\r\n")[0] or 0)
        body = await reader.readexactly(length)
        if path.startswith("/hang"):
            await reader.read()  # until the sender gives up
        elif path.startswith("/lags"):
            content = json.dumps(lags).encode()
            lags.clear()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
        else:
            lags.append((arrived - datetime.fromisoformat(json.loads(body)["timestamp"])).total_seconds())
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    port.put(server.sockets[0].getsockname()[1])
    await server.serve_forever()


class Scene:
    """The product, ten merchants' API clients and their endpoints."""

    def __init__(
        self, stack: DevStack, database: Database, sink: str, clients: Sequence[httpx.AsyncClient]
    ) -> None:
        self.stack, self.database, self.sink, self.clients = stack, database, sink, clients
        self.endpoints: list[str] = []
        self.refused = 0  # payments that were not answered 201

    async def register(self) -> None:
        for number, client in enumerate(self.clients):
            answer = await client.post(
                "/v1/webhook_endpoints", json={"url": f"{self.sink}/ok/{number}"}, headers=_key()
            )
            self.endpoints.append(answer.raise_for_status().json()["id"])

    async def hang(self, count: int) -> None:
        """The last `count` endpoints hang from now on."""
        for number in range(MERCHANTS - count, MERCHANTS):
            path = f"/v1/webhook_endpoints/{self.endpoints[number]}"
            answer = await self.clients[number].patch(path, json={"url": f"{self.sink}/hang/{number}"})
            answer.raise_for_status()

    async def pay(self, seconds: float, *, until: asyncio.Event | None = None) -> list[float]:
        """The payments' latencies, each from the moment when it was to be sent."""
        began, tasks = time.monotonic(), []
        for number in range(round(seconds * PAYMENTS_PER_S)):
            due = began + number / PAYMENTS_PER_S
            await asyncio.sleep(max(due - time.monotonic(), 0))
            if until is not None and until.is_set():
                break
            tasks.append(asyncio.create_task(self._pay(self.clients[number % MERCHANTS], due)))
        return list(await asyncio.gather(*tasks))

    async def _pay(self, client: httpx.AsyncClient, due: float) -> float:
        body = {"amount": 1099, "currency": "INR", "payment_method": {"type": "card", "card": CARD}}
        answer = await client.post("/v1/payments", json=body, headers=_key())
        if answer.status_code != httpx.codes.CREATED:
            self.refused += 1
        return time.monotonic() - due

    async def lags(self) -> list[float]:
        """Of what has arrived since last asked."""
        async with httpx.AsyncClient(trust_env=False) as client:
            found: list[float] = (await client.get(f"{self.sink}/lags")).json()
        return found

    async def scalar(self, statement: str, **parameters: Any) -> Any:
        async with self.database.transaction() as connection:
            result = await connection.execute(text(statement), parameters)
            return result.scalar() if result.returns_rows else None

    async def drained(self) -> float:
        """Seconds until no delivery of the backlog is pending."""
        began = time.monotonic()
        while time.monotonic() - began < DRAIN_S_MAX:
            if not await self.scalar(
                "SELECT count(*) FROM webhook_deliveries WHERE id LIKE 'dlv_bench%' AND status = 'pending'"
            ):
                return time.monotonic() - began
            await asyncio.sleep(0.25)
        raise SystemExit(f"the backlog is not drained after {DRAIN_S_MAX:.0f} s")


async def measure(scene: Scene, *, seconds: float) -> None:
    await scene.register()
    await scene.pay(SETTLE_S)
    await asyncio.sleep(SETTLE_S)
    await scene.lags()

    paid = await scene.pay(seconds)
    await asyncio.sleep(SETTLE_S)
    healthy = await scene.lags()
    _row(f"Lag at {2 * PAYMENTS_PER_S:.0f} events/s, {MERCHANTS} endpoints healthy", _figures(healthy))
    _row("Payments meanwhile", _figures(paid))

    await drain(scene)

    await scene.hang(MERCHANTS // 2)
    await scene.pay(seconds)
    await asyncio.sleep(SETTLE_S)
    _row(f"Lag of the healthy {MERCHANTS // 2} while the others hang", _figures(await scene.lags()))
    _row("Payments not answered 201, of all", scene.refused)


async def drain(scene: Scene) -> None:
    """A backlog is drained while payments go on."""
    await scene.stack.end("relay")
    await scene.scalar(ADD_BACKLOG, each=BACKLOG // MERCHANTS)
    drained = asyncio.Event()
    paying = asyncio.create_task(scene.pay(DRAIN_S_MAX, until=drained))
    await asyncio.sleep(1)
    await scene.stack.start("relay")
    took_s = await scene.drained()
    drained.set()
    rate = f"{took_s:.1f} s, {BACKLOG / took_s:.0f}/s"
    _row(f"{BACKLOG} deliveries drained, payments at {PAYMENTS_PER_S:.0f}/s", rate)
    _row("Payments meanwhile", _figures(await paying))
    await asyncio.sleep(SETTLE_S)
    await scene.lags()


def _row(what: str, figure: object) -> None:
    print(f"| {what} | {figure} |", flush=True)


def _figures(values_s: Sequence[float]) -> str:
    cuts = [1_000 * cut for cut in statistics.quantiles(values_s, n=100, method="inclusive")]
    highest = 1_000 * max(values_s)
    return f"p50 {cuts[49]:.0f} ms, p99 {cuts[98]:.0f} ms, max {highest:.0f} ms (n={len(values_s)})"


def _load() -> str:
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def _key() -> dict[str, str]:
    return {"Idempotency-Key": "bench-" + "".join(secrets.choice(string.ascii_lowercase) for _ in range(16))}


async def _api_keys(stack: DevStack, database: Database) -> list[str]:
    settings = Settings(
        database_url=stack.database_url,
        redis_url=stack.redis_url,
        temporal_address=stack.temporal_address,
        derivation_key=SecretStr(stack.product_environ()["PAYONCE_DERIVATION_KEY"]),
    )
    keys = []
    async with database.transaction() as connection:
        for number in range(MERCHANTS):
            merchant = await create_merchant(connection, name=f"Bench {number}")
            _, key = await create_key(
                connection, merchant_id=merchant.id, mode="test", secret=settings.secret_for("api_keys")
            )
            keys.append(key)
    return keys


async def run(directory: Path, *, sink: str, seconds: float) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PAYONCE_")}
    options = StackOptions(
        directory=directory, environ=environ, any_ports=True, temporal_ui=False, restart=False
    )
    async with DevStack(options) as stack:
        database = Database(stack.database_url, pool_size=2)
        keys = await _api_keys(stack, database)
        clients = [
            httpx.AsyncClient(
                base_url=stack.api_url,
                headers={"Authorization": f"Bearer {key}"},
                trust_env=False,
                timeout=40,
            )
            for key in keys
        ]
        try:
            _row("Load average before", _load())
            await measure(Scene(stack, database, sink, clients), seconds=seconds)
            _row("Load average after", _load())
        finally:
            for client in clients:
                await client.aclose()
            await database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="of each of the two phases that measure lag"
    )
    seconds = parser.parse_args().seconds
    ports: multiprocessing.Queue[int] = multiprocessing.Queue()
    receiver = multiprocessing.Process(target=receive, args=(ports,), daemon=True)
    receiver.start()
    try:
        with tempfile.TemporaryDirectory(prefix="payonce-bench-") as name:
            Path(name).chmod(0o711)
            asyncio.run(run(Path(name), sink=f"http://{LOOPBACK}:{ports.get(timeout=10)}", seconds=seconds))
    finally:
        receiver.terminate()


if __name__ == "__main__":
    main()
