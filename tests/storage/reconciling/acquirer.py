"""A sandbox acquirer of its own, and what a test has it do."""

import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from devstack.parts import CHECKOUT
from devstack.processes import Command
from tests.support.forks import Forked
from tests.support.servers import ACQUIRER_KEY

Body = dict[str, Any]
START_S_MAX = 60.0
CARD = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "973"}


@dataclass
class Acquirer:
    """A process with an empty ledger, and a client that has its key."""

    process: Forked
    client: httpx.AsyncClient

    async def authorize(self, *, reference: str, payment_reference: str, **changes: Any) -> Body:
        named = {"reference": reference, "payment_reference": payment_reference}
        order = {**named, "amount": 1099, "currency": "INR", "capture": False, "card": CARD, **changes}
        return dict((await self.post("/authorizations", order)).raise_for_status().json())

    async def post(self, path: str, body: Body) -> httpx.Response:
        return await self.client.post(path, json=body)

    async def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


async def started(data: Path) -> Acquirer:
    environ = {**os.environ, "ACQUIRER_KEY": ACQUIRER_KEY}
    arguments = (sys.executable, "-m", "devstack.acquirer", "--port", "0", "--data", str(data))
    command = Command(arguments, environ, CHECKOUT)
    process = await Forked.start(command, data.with_suffix(".log"), capture=True)
    line = await asyncio.wait_for(process.line(), START_S_MAX)
    headers = {"Authorization": f"Bearer {ACQUIRER_KEY}"}
    url = json.loads(line)["url"]
    return Acquirer(process, httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=60))
