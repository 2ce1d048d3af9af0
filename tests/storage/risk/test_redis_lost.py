"""A real Valkey is flushed, killed or stopped in the middle of an attack, or of a storm of one key."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.admission.requests import KeyInUse, NewPayment
from api.admission.waiting import Result, Unavailable
from api.http.rate_limits import TooManyRequests
from devstack.stack import DevStack
from payonce.domain.risk import Choices, Policy
from payonce.storage import risk_lists
from payonce.storage.risk_lists import ListEntry
from tests.storage.ledger import IDS, Ledger
from tests.storage.risk.counting import BUYER, Counting
from tests.support.eventually import eventually
from tests.support.servers import running

Lost = Literal["flushed", "killed", "stopped"]
Mode = Literal["open", "closed"]
DECLINED, BLOCKED = "payment_declined", "payment_blocked"
LISTED = replace(BUYER, customer={"id": "c-2", "email": "listed@example.org"})


@pytest.fixture(scope="module")
async def stack() -> AsyncIterator[DevStack]:
    """With a Valkey of its own."""
    async with running("redis") as stack:
        yield stack


@pytest.fixture
async def redis(stack: DevStack) -> AsyncIterator[Redis]:
    """As a process has it, but for how long it tries to connect."""
    opened = Redis.from_url(stack.redis_url, socket_connect_timeout=5, max_connections=50)
    await opened.flushall()
    yield opened
    await opened.aclose()


@pytest.fixture
async def shop(redis: Redis, ledger: Ledger) -> AsyncIterator["Attacked"]:
    made = Attacked(ledger, redis=redis, in_flight_max=40, within_s=30.0, mended_after_s=0.05)
    made.connector.declines = True
    await made.counts.refill(ledger.merchant_id, "test")
    yield made
    await made.counts.close()


class Attacked(Counting):
    """One card is tried again and again, and declined each time: blocked after five, by the default rules."""

    tried = 0

    def choose(self, mode: Mode) -> None:
        self.policy = Policy(providers=("rules",), choices=Choices(without_answer=mode))

    async def list_buyer(self) -> None:
        async with self.ledger.database.transaction() as connection:
            entry = ListEntry("email", "listed@example.org", "block")
            await risk_lists.put(connection, self.ledger.merchant_id, "test", entry)

    async def tries(self, times: int, new: NewPayment = BUYER) -> list[str]:
        """What comes of the next so many."""
        codes = []
        for _ in range(times):
            self.tried += 1
            codes.append(await self.once(f"try_{self.tried}", new))
        return codes

    async def once(self, key: str, new: NewPayment = BUYER) -> str:
        try:
            return str((await self.paid(new, key=key)).get("code"))
        except Unavailable:
            return "503"

    async def lose(self, stack: DevStack, lost: Lost) -> None:
        match lost:
            case "flushed":
                await self.redis.flushall()
            case "killed":
                await stack.kill("redis")
            case "stopped":
                stack.pause("redis")
                self.assessor._within_s = 0.1  # which are waited for now

    async def find(self, stack: DevStack, lost: Lost) -> None:
        self.assessor._within_s = 30.0
        match lost:
            case "flushed":
                return
            case "killed":
                await stack.start("redis")
            case "stopped":
                stack.resume("redis")

    async def counted(self, what: str) -> set[str]:
        """The payments of every card that are in this count."""
        found: set[str] = set()
        async for key in self.redis.scan_iter(match=f"*:{what}:card:*"):
            found |= {member.decode() for member in await self.redis.zrange(key, 0, -1)}
        return found

    async def true_again(self) -> None:
        """Redis is believed, and has what Postgres has."""
        facts = await self.ledger.rows("SELECT member, declined FROM vault.risk_facts")
        attempts = {row.member for row in facts}
        declines = {row.member for row in facts if row.declined}
        epoch = f"payonce:risk:{{{self.ledger.merchant_id}:test}}:epoch"

        async def is_true() -> bool:
            with suppress(RedisError):
                said = await self.counted("attempts"), await self.counted("declines")
                run = (await self.redis.info("server"))["run_id"]
                return await self.redis.get(epoch) == run.encode() and said == (attempts, declines)
            return False

        await eventually(is_true)


@pytest.mark.parametrize("lost", ["flushed", "killed", "stopped"])
@pytest.mark.parametrize("mode", ["open", "closed"])
async def test_an_attack_goes_on_while_redis_is_lost_as_the_merchant_chose_and_no_longer(
    shop: Attacked, stack: DevStack, lost: Lost, mode: Mode
) -> None:
    shop.choose(mode)
    await shop.list_buyer()
    assert await shop.tries(5) == [DECLINED] * 5
    await shop.true_again()
    assert await shop.tries(1) == [BLOCKED]
    before = shop.connector.heard, await shop.ledger.count("payments")

    await shop.lose(stack, lost)
    try:
        (during,) = await shop.tries(1)
        assert await shop.tries(1, LISTED) == [BLOCKED]  # whatever is known of counts
    finally:
        await shop.find(stack, lost)
    heard, payments = shop.connector.heard, await shop.ledger.count("payments")
    if mode == "open":
        assert (during, heard, payments) == (DECLINED, before[0] + 1, before[1] + 2)
    else:
        assert (during, heard, payments) == ("503", before[0], before[1] + 1)

    async def blocked_again() -> bool:
        return await shop.once(f"after_{mode}") == BLOCKED

    if mode == "closed":  # 503 burnt no key
        await eventually(blocked_again)
    elif lost == "killed":  # the first payment finds it empty
        await shop.tries(1)
    if mode == "closed":
        assert await shop.once(f"try_{shop.tried - 1}") == BLOCKED
    await shop.true_again()
    assert await shop.tries(2) == [BLOCKED] * 2


@pytest.mark.parametrize("lost", ["flushed", "killed", "stopped"])
@pytest.mark.parametrize("mode", ["open", "closed"])
async def test_a_storm_of_one_key_counts_once_and_has_one_verdict_while_redis_is_lost(
    shop: Attacked, stack: DevStack, lost: Lost, mode: Mode
) -> None:
    shop.choose(mode)
    shop.connector.declines = False
    shop.payment_id = IDS.payment(merchant_id=shop.ledger.merchant_id, mode="test", key="storm")
    storm = [asyncio.create_task(shop.asked(BUYER, "storm")) for _ in range(12)]
    await asyncio.sleep(0)
    await shop.lose(stack, lost)
    try:
        storm += [asyncio.create_task(shop.asked(BUYER, "storm")) for _ in range(12)]

        async def decided() -> bool:
            return bool(shop.rights.granted) or all(task.done() for task in storm)

        await eventually(decided)
        if shop.rights.granted:
            await shop.run()
        said: list[Any] = await asyncio.gather(*storm, return_exceptions=True)
    finally:
        await shop.find(stack, lost)
    assert {type(one) for one in said} <= {Result, KeyInUse, Unavailable, TooManyRequests}
    admitted = await shop.ledger.count("payments")
    assert admitted == await shop.ledger.count("vault.risk_facts") == shop.connector.heard
    assert admitted == 1 or mode == "closed"

    async def paid() -> bool:
        with suppress(Unavailable, KeyInUse, TooManyRequests):
            return (await shop.paid(key="storm")).get("status") == "captured"
        return False

    await eventually(paid)
    assert (await shop.ledger.count("payments"), shop.connector.heard) == (1, 1)
    verdicts = await shop.ledger.rows("SELECT DISTINCT risk->>'verdict' AS verdict FROM payments")
    assert [row.verdict for row in verdicts] == ["allow"]
    await shop.tries(1, replace(BUYER, customer={"id": "c-9"}))  # finds it empty, if it is
    await shop.true_again()
    assert len(await shop.counted("attempts")) == 2


async def test_an_outcome_that_did_not_reach_redis_counts_later(
    shop: Attacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuses(**_: Any) -> None:
        raise RedisError("away")

    with monkeypatch.context() as away:
        away.setattr(shop.counts, "_told", refuses)
        await shop.tries(5)
    await shop.true_again()
    assert await shop.tries(1) == [BLOCKED]


async def test_more_payments_at_once_than_there_are_connections_are_all_counted(shop: Attacked) -> None:
    """Redis' client refuses a connection that it does not have, which would switch the rules off in a crowd."""
    subjects = [
        shop.runtime.risk_subjects.of(
            payment_id=f"pay_{number}",
            merchant_id=shop.ledger.merchant_id,
            mode="test",
            number="4242424242424242",
            customer=None,
            ip=None,
        )
        for number in range(200)
    ]
    said = await asyncio.gather(
        *(shop.counts.count(shop.ledger.merchant_id, "test", one, ()) for one in subjects)
    )
    assert None not in said
    assert len(await shop.counted("attempts")) == len(subjects)


async def test_a_redis_that_came_back_with_an_older_state_is_not_believed(shop: Attacked) -> None:
    """As after a restart from a snapshot, or a fail-over to a replica: another run of the server, with an epoch."""
    epoch = f"payonce:risk:{{{shop.ledger.merchant_id}:test}}:epoch"
    await shop.tries(5)
    await shop.redis.flushall()
    await shop.redis.set(epoch, "0" * 40)
    assert await shop.tries(1) == [DECLINED]
    await shop.true_again()
    assert await shop.tries(1) == [BLOCKED]
