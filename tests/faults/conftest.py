"""One stack whose processes meet faults, with an acquirer that honours no idempotency of ours."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devstack.stack import INFRASTRUCTURE, PRODUCT, DevStack
from tests.faults.arming import environ_with_faults
from tests.faults.shop import Shop, open_shop
from tests.support.servers import ACQUIRER_KEY, running
from tests.support.witness import Witness, witness_of

CALL_DEADLINE_S, FINALITY_S = 3, 1  # unanswered for 5 + 2 + 3 + 1 s, a claim is resolved; 27 s by default
NOT_THE_ACQUIRER = tuple(name for name in (*INFRASTRUCTURE, *PRODUCT) if name != "acquirer")


@pytest.fixture(scope="session")
async def bank() -> AsyncIterator[DevStack]:
    """The acquirer, on its own: its address is in the settings of the others."""
    async with running("acquirer") as stack, witness_of(stack.acquirer_url) as witness:
        await witness.configure(idempotency="ignored", finality_s=FINALITY_S)
        yield stack


@pytest.fixture(scope="session")
async def city(bank: DevStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevStack]:
    """The product and all that it needs but the acquirer, with short deadlines; whoever breaks a part mends it."""
    faults = tmp_path_factory.mktemp("faults")
    options = {"call_deadline_s": str(CALL_DEADLINE_S), "finality_s": str(FINALITY_S)}
    account = {
        "id": "sandbox_short",
        "connector": "sandbox_card",
        "mode": "test",
        "base_url": bank.acquirer_url,
        "key": ACQUIRER_KEY,
        "options": options,
    }
    patient = {  # asked so seldom that what happens in time was told, not found
        **account,
        "id": "sandbox_patient",
        "connector": "sandbox_upi",
        "options": {**options, "inquiry": "production", "window_s": "600", "callback_url": ""},
    }
    async with running(
        *NOT_THE_ACQUIRER,
        api_processes=2,
        environ={"PAYONCE_SANDBOX_ACQUIRER_URL": bank.acquirer_url},
        product_environ={
            "PAYONCE_CONNECTOR_ACCOUNTS": json.dumps([account, patient]),
            **environ_with_faults(faults),
        },
    ) as stack:
        yield stack


@pytest.fixture(scope="session")
async def ledger(bank: DevStack) -> AsyncIterator[Witness]:
    """The acquirer's own ledger and record of requests: the judge."""
    async with witness_of(bank.acquirer_url) as witness:
        yield witness


@pytest.fixture(scope="session")
async def shop(city: DevStack) -> AsyncIterator[Shop]:
    """A merchant at the API that nobody kills."""
    async with open_shop(city) as opened:
        yield opened


@pytest.fixture
def faults(city: DevStack) -> Path:
    """Where faults are armed."""
    return Path(city.product_environ()["TESTS_FAULTS_FOLDER"])
