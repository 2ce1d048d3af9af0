"""Card testing is stopped by the default rules, and of a usual day's customers nobody is refused."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis.asyncio import Redis

from payonce.domain.risk import Policy, RiskVerdict
from payonce.risk.asking import Assessor
from payonce.risk.base import NoVerdict, RiskView
from payonce.risk.counts import VelocityCounts
from payonce.risk.rules import RuleBook
from payonce.risk.subjects import SubjectHashes
from payonce.sealing import SealingKey
from payonce.storage import risk_facts
from tests.storage.ledger import Ledger
from tests.support.eventually import eventually
from tests.support.good_day import Try, from_many_addresses, from_one_address, good_day, with_one_card

V = RiskVerdict
HASHES = SubjectHashes([SealingKey("k", b"k" * 32)])
MIDNIGHT_S = 1_800_000_000.0


@dataclass
class Till:
    """A merchant's payments, one after the other, judged by the default rules; the acquirer is played."""

    redis: Redis
    database: Any = None
    merchant_id: str = "mer_till"
    now_s: float = 0.0
    reached: list[Try] = field(default_factory=list)  # an acquirer, unchallenged
    verdicts: Counter[tuple[bool, RiskVerdict]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.counts = VelocityCounts(self.redis, self.database, clock=lambda: MIDNIGHT_S + self.now_s)
        self.book = RuleBook(self.counts)

    async def filled(self) -> None:
        """Nothing was paid yet, and that is known."""
        run = (await self.redis.info("server"))["run_id"]
        await self.redis.set(f"payonce:risk:{{{self.merchant_id}:test}}:epoch", run)

    def view(self, tried: Try, number: int) -> RiskView:
        subjects = HASHES.of(
            payment_id=f"pay_{number}",
            merchant_id=self.merchant_id,
            mode="test",
            number=tried.card,
            customer={"id": tried.customer},
            ip=tried.address,
        )
        return RiskView(
            payment_id=f"pay_{number}",
            merchant_id=self.merchant_id,
            mode="test",
            amount_minor=1_000,
            currency="INR",
            method="card",
            subjects=subjects,
        )

    async def take(self, tries: list[Try]) -> None:
        for number, tried in enumerate(sorted(tries, key=lambda one: one.at_s)):
            self.now_s = tried.at_s
            view = self.view(tried, number)
            said = (await self.book.ask(view, {})).verdict
            self.verdicts[tried.good, said] += 1
            if said is V.BLOCK:
                continue
            if said is V.ALLOW:
                self.reached.append(tried)
            refused = tried.declined or (
                said is V.CHALLENGE and not tried.good
            )  # a thief passes no challenge
            self.counts.tell(self.merchant_id, "test", view.subjects.member, declined=refused)
            await asyncio.gather(*self.counts._working)

    @property
    def attacks_that_reached(self) -> int:
        return sum(not tried.good for tried in self.reached)

    @property
    def good_refused(self) -> int:
        return self.verdicts[True, V.BLOCK]


@pytest.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    opened = Redis.from_url(valkey_url)
    await opened.flushall()
    yield opened
    await opened.aclose()


@pytest.fixture
async def till(redis: Redis) -> AsyncIterator[Till]:
    made = Till(redis)
    await made.filled()
    yield made
    await made.counts.close()


async def test_a_usual_day_is_let_pass(till: Till) -> None:
    day = good_day()
    await till.take(day)
    assert till.verdicts == {(True, V.ALLOW): len(day)}


@pytest.mark.parametrize(
    ("attack", "reach"), [(from_one_address, 12), (from_many_addresses, 70), (with_one_card, 5)]
)
async def test_an_attack_is_stopped_and_no_good_customer_refused(till: Till, attack: Any, reach: int) -> None:
    """`reach`: how many of it an acquirer hears of, unchallenged."""
    day, tries = good_day(), attack()
    await till.take([*day, *tries])
    assert till.attacks_that_reached <= reach
    assert till.good_refused == 0
    assert till.verdicts[True, V.ALLOW] >= len(day) * 0.85


async def test_a_storm_of_one_key_counts_once(till: Till) -> None:
    tried = with_one_card()[0]
    for _ in range(30):
        assert (await till.book.ask(till.view(tried, 1), {})).verdict is V.ALLOW


async def test_a_flushed_redis_is_not_an_empty_one_and_is_refilled_from_postgres(
    redis: Redis, ledger: Ledger
) -> None:
    till = Till(redis, ledger.database, merchant_id=ledger.merchant_id)
    till.counts = VelocityCounts(redis, ledger.database)  # by the clock of Postgres
    till.book = RuleBook(till.counts)
    tries = with_one_card()
    async with ledger.database.transaction() as connection:
        for number, tried in enumerate(tries[:9]):
            subjects = till.view(tried, number).subjects
            await risk_facts.note(connection, ledger.merchant_id, "test", subjects)
            await risk_facts.complete(connection, subjects.member, declined=True)
    with pytest.raises(NoVerdict):
        await till.book.ask(till.view(tries[9], 9), {})

    async def refilled() -> bool:
        try:
            return (await till.book.ask(till.view(tries[9], 9), {})).verdict is V.BLOCK
        except NoVerdict:
            return False

    await eventually(refilled)
    await redis.flushall()
    with pytest.raises(NoVerdict):
        await till.book.ask(till.view(tries[9], 9), {})
    await eventually(refilled)
    await till.counts.close()


async def test_without_redis_rules_that_count_say_nothing_and_amounts_still_hold(redis: Redis) -> None:
    away = Redis(port=1, retry=None)
    counts = VelocityCounts(away, None)  # type: ignore[arg-type]
    book = RuleBook(counts)
    view = Till(redis).view(with_one_card()[0], 1)
    with pytest.raises(NoVerdict):
        await book.ask(view, {})
    over = {"name": "large", "verdict": "block", "amount_over": 500, "currency": "INR"}
    assert (await book.ask(view, {"rules": [over]})).reasons == ("large",)
    await counts.close()
    await away.aclose()


async def test_a_slow_redis_costs_no_more_than_the_time_to_ask(redis: Redis) -> None:
    class Slow:
        def register_script(self, _: str) -> Any:
            async def never(**_: Any) -> None:
                await asyncio.Event().wait()

            return never

    slow: Any = Slow()
    assessor = Assessor({"rules": RuleBook(VelocityCounts(slow, slow))}, within_s=0.02)
    said = await assessor.ask(Till(redis).view(with_one_card()[0], 1), Policy(providers=("rules",)))
    assert said is not None
    assert said.reasons == ("no_answer",)
    await assessor.close()


async def test_the_hash_of_a_card_leads_to_no_payment(ledger: Ledger) -> None:
    """Who reads the tables and the key's rows finds neither a payment's id nor a number beside it."""
    subjects = HASHES.of(
        payment_id="pay_secret",
        merchant_id=ledger.merchant_id,
        mode="test",
        number="4242424242424242",
        customer=None,
        ip=None,
    )
    async with ledger.database.transaction() as connection:
        await risk_facts.note(connection, ledger.merchant_id, "test", subjects)
    (row,) = await ledger.rows("SELECT to_jsonb(f)::text AS written FROM vault.risk_facts f")
    assert "pay_secret" not in row.written
    assert '"4242' not in row.written  # a hash may have such digits within


async def test_a_refill_takes_no_round_trip_for_each_payment(redis: Redis, ledger: Ledger) -> None:
    """A day of a large merchant is counted within the time that a refill has."""
    till = Till(redis, merchant_id=ledger.merchant_id)
    counts, payments = VelocityCounts(redis, ledger.database), 200
    async with ledger.database.transaction() as connection:
        for number, tried in enumerate(good_day()[:payments]):
            subjects = till.view(tried, number).subjects
            await risk_facts.note(connection, ledger.merchant_id, "test", subjects)
    before = (await redis.info("stats"))["total_reads_processed"]
    assert await counts.refill(ledger.merchant_id, "test")
    assert (await redis.info("stats"))["total_reads_processed"] - before < payments / 4
    assert await redis.zcard(f"payonce:risk:{{{ledger.merchant_id}:test}}:attempts:card:{subjects.card}")
