"""Two merchants with API keys, created as an operator does it: with the `payonce` command."""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from devstack.errors import StackError
from devstack.parts import CHECKOUT
from devstack.processes import Command, run
from devstack.state import Merchant, State

NAMES = ("Demo Shop", "Second Shop")
COMMAND_WITHIN_S = 180.0


async def payonce(*arguments: str, environ: Mapping[str, str], log: Path, capture: bool = True) -> str:
    """The `payonce` command succeeded; what it printed."""
    command = Command((sys.executable, "-m", "payonce", *arguments), environ, CHECKOUT)
    name = f"payonce {' '.join(arguments[:2])}"
    return await run(name, command, log, within_s=COMMAND_WITHIN_S, capture=capture)


async def seed(state: State, *, api_url: str, environ: Mapping[str, str], log: Path) -> None:
    """Both merchants exist with working keys; those of an earlier run stay while the database has them."""
    if state.merchants and await _work(state.merchants, api_url):
        return
    created = await asyncio.gather(*(_create(name, environ, log) for name in NAMES))
    state.merchants = tuple(created)
    state.save()


async def _work(merchants: tuple[Merchant, ...], api_url: str) -> bool:
    async with httpx.AsyncClient(base_url=api_url, trust_env=False, timeout=60) as client:
        for merchant in merchants:
            headers = {"Authorization": f"Bearer {merchant.key}"}
            answer = await client.get("/v1/payments", params={"limit": 1}, headers=headers)
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                return False
            if answer.status_code != httpx.codes.OK:
                raise StackError(
                    f"the API answered {answer.status_code} to a list of payments; see {api_url}/readyz"
                )
    return True


async def _create(name: str, environ: Mapping[str, str], log: Path) -> Merchant:
    printed = await payonce("merchants", "create", "--name", name, "--json", environ=environ, log=log)
    merchant_id = json.loads(printed)["id"]
    printed = await payonce(
        *("keys", "create", "--merchant", merchant_id, "--mode", "test", "--json"), environ=environ, log=log
    )
    return Merchant(id=merchant_id, name=name, key=json.loads(printed)["key"])
