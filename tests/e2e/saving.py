"""A merchant whose customers' cards are saved in the vault."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from devstack.seed import NAMES, payonce
from devstack.stack import DevStack
from tests.e2e.merchant import Body, Merchant, card, merchant_with
from tests.support.eventually import eventually


def by(token: str, **more: Any) -> Body:
    """A saved card as `payment_method`."""
    return {"type": "card", "token": token, **more}


async def keep_in_vault(stack: DevStack) -> None:
    """The second merchant's cards are saved in the vault, as soon as a process asks for that."""
    log, environ = stack.log_dir / "storage.log", stack.product_environ()
    listed = await payonce("merchants", "list", "--json", environ=environ, log=log)
    ids = {merchant["name"]: merchant["id"] for merchant in map(json.loads, listed.splitlines())}
    await payonce("merchants", "set", ids[NAMES[1]], "--card-storage", "vault", environ=environ, log=log)


@asynccontextmanager
async def saving_at(stack: DevStack) -> AsyncIterator[Merchant]:
    """The second merchant, once its API has heard where its cards are saved."""
    await keep_in_vault(stack)
    async with merchant_with(stack.api_url, stack.api_key_2) as shop:

        async def heard() -> bool:
            asked = {"type": "card", "card": card()["card"]}
            return (await shop.ask("/v1/payment_methods", asked)).status_code == 201

        await eventually(heard, 90.0)
        yield shop
