"""Two real PostgreSQL servers, and the product on them, with an acquirer that honours no idempotency of ours."""

import json
from collections.abc import AsyncIterator

import pytest

from devstack.stack import PRODUCT, DevStack
from tests.faults.arming import environ_with_faults
from tests.faults.shop import Shop, open_shop
from tests.support.pair import Pair, running_pair
from tests.support.servers import ACQUIRER_KEY, running
from tests.support.witness import Witness, witness_of

CALL_DEADLINE_S, FINALITY_S = 3, 1  # unanswered for 5 + 2 + 3 + 1 s, a claim is resolved; 27 s by default
POOL_SIZE = 8  # half of them for the engine: three COMMITs of recordings wait at once


@pytest.fixture(scope="module")
async def servers() -> AsyncIterator[Pair]:
    """The pair of a module's tests."""
    async with running_pair() as pair:
        yield pair


@pytest.fixture
async def pair(servers: Pair) -> AsyncIterator[Pair]:
    """The module's pair, whole before and after the test, whatever the test did to it."""
    yield servers
    await servers.mend()


@pytest.fixture(scope="module")
async def bank() -> AsyncIterator[DevStack]:
    """The acquirer, on its own: its address is in the settings of the others."""
    async with running("acquirer") as stack, witness_of(stack.acquirer_url) as witness:
        await witness.configure(idempotency="ignored", finality_s=FINALITY_S)
        yield stack


@pytest.fixture(scope="module")
async def city(
    servers: Pair, bank: DevStack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[DevStack]:
    """The product, whose durability rests on the pair's standby."""
    account = {
        "id": "sandbox_short",
        "connector": "sandbox_card",
        "mode": "test",
        "base_url": bank.acquirer_url,
        "key": ACQUIRER_KEY,
        "options": {"call_deadline_s": str(CALL_DEADLINE_S), "finality_s": str(FINALITY_S)},
    }
    async with running(
        *("redis", "temporal", *PRODUCT),
        environ={
            "PAYONCE_DATABASE_URL": servers.url(),
            "PAYONCE_SANDBOX_ACQUIRER_URL": bank.acquirer_url,
        },
        product_environ={
            "PAYONCE_DURABILITY": "standby",
            "PAYONCE_DATABASE_POOL_SIZE": str(POOL_SIZE),
            "PAYONCE_CONNECTOR_ACCOUNTS": json.dumps([account]),
            **environ_with_faults(tmp_path_factory.mktemp("faults")),
        },
    ) as stack:
        yield stack


@pytest.fixture(scope="module")
async def ledger(bank: DevStack) -> AsyncIterator[Witness]:
    """The acquirer's own ledger and record of requests: the judge."""
    async with witness_of(bank.acquirer_url) as witness:
        yield witness


@pytest.fixture(scope="module")
async def shop(city: DevStack) -> AsyncIterator[Shop]:
    """A merchant at the API that nobody kills."""
    async with open_shop(city) as opened:
        yield opened
