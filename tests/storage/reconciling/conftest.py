"""An account at a sandbox acquirer of its own, its books here, and what compares the two."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.storage.ledger import Ledger
from tests.storage.reconciling.acquirer import Acquirer, started
from tests.storage.reconciling.shop import Shop
from tests.storage.reconciling.sides import SIDES


@pytest.fixture
async def acquirer(tmp_path: Path) -> AsyncIterator[Acquirer]:
    running = await started(tmp_path / "acquirer.sqlite")
    try:
        yield running
    finally:
        await running.client.aclose()
        await running.stop()


@pytest.fixture
def played() -> str:
    """Which acquirer the sandbox plays; the tests of what each has are parametrised with it."""
    return "sandbox"


@pytest.fixture
async def shop(ledger: Ledger, acquirer: Acquirer, played: str) -> AsyncIterator[Shop]:
    opened = Shop(ledger, acquirer, SIDES[played](acquirer))
    await opened.open()
    yield opened
    await opened.close()
