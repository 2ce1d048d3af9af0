"""A merchant's ledger in a migrated Postgres."""

from collections.abc import AsyncIterator

import pytest

from tests.storage.ledger import Ledger, open_ledger


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Ledger]:
    """Nothing else is in it, and nobody else uses it."""
    async with open_ledger(database_url) as opened:
        yield opened


@pytest.fixture(scope="module")
async def shared_ledger(module_database_url: str) -> AsyncIterator[Ledger]:
    """For tests that look at nothing but the payments they add."""
    async with open_ledger(module_database_url) as opened:
        yield opened


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine gives its claims back in time, too."""
    monkeypatch.setattr("api.admission.waiting.GIVE_BACK_WITHIN_S", 10.0)
    monkeypatch.setattr("payonce.claims.GIVE_BACK_WITHIN_S", 10.0)
