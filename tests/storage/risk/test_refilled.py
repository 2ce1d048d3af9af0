"""What is counted after Redis was lost: the latest first, and also what had its outcome while that was refilled."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from payonce.domain.risk import RiskSubjects
from payonce.domain.risk_rules import Measure
from payonce.risk import counts as counting
from payonce.risk.counts import VelocityCounts
from payonce.storage import risk_facts
from tests.storage.ledger import Ledger
from tests.support.eventually import eventually

ATTEMPTS, DECLINES = Measure("card", "attempts", 3600), Measure("card", "declines", 3600)
AGED = text("UPDATE vault.risk_facts SET at = at - CAST(:by AS interval) WHERE member = :member")


@pytest.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    opened = Redis.from_url(valkey_url)
    yield opened
    await opened.aclose()


@pytest.fixture
async def counts(redis: Redis, ledger: Ledger) -> AsyncIterator[VelocityCounts]:
    made = VelocityCounts(redis, ledger.database, mended_after_s=0.05)
    yield made
    await made.close()


async def happened(ledger: Ledger, member: str, *, card: str, ago: timedelta = timedelta()) -> None:
    """A payment was asked about so long ago, and has no outcome."""
    async with ledger.database.transaction() as connection:
        subjects = RiskSubjects(card=card, member=member)
        await risk_facts.note(connection, ledger.merchant_id, "test", subjects)
        await connection.execute(AGED, {"by": ago, "member": member})


async def counted(counts: VelocityCounts, ledger: Ledger, card: str, measure: Measure) -> int:
    """How many there are beside one that is made now."""
    subjects = RiskSubjects(card=card, member="now")
    found = await counts.count(ledger.merchant_id, "test", subjects, [measure])
    assert found is not None
    return found[measure]


async def test_of_more_than_can_be_refilled_the_latest_count(
    counts: VelocityCounts, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "FACTS_MAX", 4)
    monkeypatch.setattr(counting, "REFILLED_AT_ONCE", 2)
    for number in range(7):
        await happened(ledger, f"old_{number}", card="a shop's", ago=timedelta(hours=20))
    for number in range(3):
        await happened(ledger, f"new_{number}", card="a thief's", ago=timedelta(minutes=number * 12))
    assert await counts.refill(ledger.merchant_id, "test")
    assert await counted(counts, ledger, "a thief's", ATTEMPTS) == 3 + 1


async def test_an_outcome_counts_that_was_recorded_after_redis_was_lost_and_refilled(
    counts: VelocityCounts, ledger: Ledger
) -> None:
    await happened(ledger, "m", card="c")
    assert await counts.refill(ledger.merchant_id, "test")  # and did not read what follows
    async with ledger.database.transaction() as connection:
        await risk_facts.complete(connection, "m", declined=True)
    counts.tell(ledger.merchant_id, "test", "m", declined=True)

    async def is_counted() -> bool:
        return await counted(counts, ledger, "c", DECLINES) == 1

    await eventually(is_counted)


@pytest.mark.parametrize("were_counted", [False, True])
async def test_nothing_is_read_again_for_a_merchant_whose_payments_are_not_counted_any_more(
    redis: Redis, ledger: Ledger, were_counted: bool
) -> None:
    counts = VelocityCounts(redis, ledger.database, mended_after_s=600)
    if were_counted:
        assert await counts.refill(ledger.merchant_id, "test")
        await redis.delete(f"payonce:risk:{{{ledger.merchant_id}:test}}:refilled")  # as after an hour
    counts.tell(ledger.merchant_id, "test", "m", declined=True)

    async def is_told() -> bool:
        return not counts._working  # a task that mends is among them

    await eventually(is_told)
