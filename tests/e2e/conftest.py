"""Two merchants of the running stack, and a second API key of the first."""

import json
from collections.abc import AsyncIterator

import pytest

from devstack.seed import NAMES, payonce
from devstack.stack import DevStack
from tests.e2e.merchant import Merchant, merchant_with


@pytest.fixture(scope="session")
async def shop(stack: DevStack) -> AsyncIterator[Merchant]:
    """The first merchant."""
    async with merchant_with(stack.api_url, stack.api_key) as merchant:
        yield merchant


@pytest.fixture(scope="session")
async def other_shop(stack: DevStack) -> AsyncIterator[Merchant]:
    """The second merchant."""
    async with merchant_with(stack.api_url, stack.api_key_2) as merchant:
        yield merchant


@pytest.fixture(scope="session")
async def same_shop(stack: DevStack) -> AsyncIterator[Merchant]:
    """The first merchant with another API key."""
    async with merchant_with(stack.api_url, await new_key(stack, mode="test")) as merchant:
        yield merchant


@pytest.fixture(scope="session")
async def live_shop(stack: DevStack) -> AsyncIterator[Merchant]:
    """The first merchant with a live key, in a deployment that does not serve live payments."""
    async with merchant_with(stack.api_url, await new_key(stack, mode="live")) as merchant:
        yield merchant


async def new_key(stack: DevStack, *, mode: str) -> str:
    """Another API key of the first merchant, made as an operator does it."""
    log, environ = stack.log_dir / "keys.log", stack.product_environ()
    listed = await payonce("merchants", "list", "--json", environ=environ, log=log)
    ids = {merchant["name"]: merchant["id"] for merchant in map(json.loads, listed.splitlines())}
    made = await payonce(
        *("keys", "create", "--merchant", ids[NAMES[0]], "--mode", mode, "--json"), environ=environ, log=log
    )
    key: str = json.loads(made)["key"]
    return key
