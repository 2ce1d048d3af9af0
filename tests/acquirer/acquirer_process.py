"""A real acquirer process on a free port, and a client that speaks its wire API."""

import asyncio
import itertools
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from devstack.processes import Command
from tests.support.forks import Forked
from tests.support.servers import ACQUIRER_KEY

ROOT = Path(__file__).parents[2]
KEY = ACQUIRER_KEY
APPROVED_CARD = "4242424242424242"
GIVES_UP_S = 1.0
START_S_MAX = 60
STOP_S_MAX = 30

Body = dict[str, Any]


@dataclass
class Acquirer:
    """One acquirer over its data file, through restarts."""

    data: Path
    arguments: tuple[str, ...] = ()
    process: Forked | None = None
    client: httpx.AsyncClient = field(default_factory=httpx.AsyncClient)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def start(self) -> None:
        arguments = self.command("--port", "0", "--data", str(self.data), *self.arguments)
        command = Command(tuple(arguments), self.environment(), ROOT)
        self.process = await Forked.start(command, self.data.with_suffix(".log"), capture=True)
        line = await asyncio.wait_for(self.process.line(), START_S_MAX)
        headers = {"Authorization": f"Bearer {KEY}"}
        await self.client.aclose()
        self.client = httpx.AsyncClient(base_url=json.loads(line)["url"], headers=headers, timeout=60)

    @staticmethod
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "devstack.acquirer", *arguments]

    @staticmethod
    def environment() -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), "ACQUIRER_KEY": KEY}

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), STOP_S_MAX)

    async def close(self) -> None:
        await self.client.aclose()
        if self.process is not None:
            await self.stop(signal.SIGKILL)

    def new_reference(self) -> str:
        return f"ref-{next(self._numbers)}"

    async def post(self, path: str, body: Body) -> httpx.Response:
        return await self.client.post(path, json=body)

    async def authorize(self, **changes: Any) -> Body:
        return answered(await self.post("/authorizations", self.authorization(**changes)))

    def authorization(self, *, number: str = APPROVED_CARD, **changes: Any) -> Body:
        card = {"number": number, "exp_month": 12, "exp_year": 2030, "cvc": "973"}
        return {**self.order(), "capture": False, "card": card, **changes}

    def order(self, **changes: Any) -> Body:
        own = {"reference": self.new_reference(), "payment_reference": "pay_1"}
        return {**own, "amount": 1099, "currency": "INR", **changes}

    def upi_order(self, **changes: Any) -> Body:
        payee = {"vpa": "acme@payonce", "name": "Acme Stores"}
        return {**self.order(), "flow": "intent", "payee": payee, "note": "Order 7", **changes}

    def wallet_order(self, **changes: Any) -> Body:
        return {**self.order(), "provider": "paytm", **changes}

    async def ask_by_upi(self, **changes: Any) -> Body:
        return answered(await self.post("/upi/payments", self.upi_order(**changes)))

    async def ask_by_wallet(self, **changes: Any) -> Body:
        return answered(await self.post("/wallets/payments", self.wallet_order(**changes)))

    async def decide(self, decision: str, *, payment: str = "pay_1", rail: str = "upi") -> httpx.Response:
        """What the customer does on the page, done by a program."""
        headers = {"Accept": "application/json"}
        return await self.client.post(f"/{rail}/{payment}", data={"decision": decision}, headers=headers)

    async def answer(
        self, decision: str, *, code: str = "123456", payment: str = "pay_1", **headers: str
    ) -> httpx.Response:
        """What the cardholder does on the page of a card's bank, done by a program."""
        data = {"decision": decision, "code": code}
        return await self.client.post(
            f"/card/{payment}", data=data, headers={"Accept": "application/json", **headers}
        )

    async def status(self, reference: str) -> str:
        status: str = answered(await self.inquire(reference))["status"]
        return status

    async def callbacks(self, **query: Any) -> list[Body]:
        entries: list[Body] = answered(await self.client.get("/callbacks", params=query))["entries"]
        return entries

    def reversal(self, original_reference: str, **changes: Any) -> Body:
        own = {"reference": self.new_reference(), "payment_reference": "pay_1"}
        return {**own, "original_reference": original_reference, **changes}

    async def reverse(self, original_reference: str) -> Body:
        return answered(await self.post("/reversals", self.reversal(original_reference)))

    async def cancel(self, original_reference: str) -> httpx.Response:
        return await self.post("/cancellations", self.reversal(original_reference))

    async def inquire(self, reference: str) -> httpx.Response:
        return await self.post("/inquiries", {"reference": reference})

    async def configure(self, **members: Any) -> None:
        assert (await self.client.patch("/config", json=members)).status_code == 200

    async def ledger(self, **query: Any) -> list[Body]:
        entries: list[Body] = answered(await self.client.get("/ledger", params=query))["entries"]
        return entries

    async def moved(self, reference: str) -> list[str]:
        return [entry["operation"] for entry in await self.ledger(reference=reference)]

    async def requests(self, **query: Any) -> list[Body]:
        entries: list[Body] = answered(await self.client.get("/requests", params=query))["entries"]
        return entries


def answered(response: httpx.Response) -> Body:
    assert response.status_code == 200, response.text
    body: Body = response.json()
    return body


async def eventually_is(acquirer: Acquirer, reference: str, status: str, *, timeout_s: float = 60) -> Body:
    """What an inquiry answers once its status is `status`."""

    async def is_it() -> bool:
        return await acquirer.status(reference) == status

    await eventually(is_it, timeout_s=timeout_s)
    return answered(await acquirer.inquire(reference))


async def eventually(check: Callable[[], Awaitable[bool]], *, timeout_s: float = 60) -> None:
    """`check` has become true within `timeout_s`."""
    async with asyncio.timeout(timeout_s):
        while not await check():
            await asyncio.sleep(0.05)
