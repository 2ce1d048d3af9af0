"""What is counted of a payment: noted with its admission, completed with its recording, and looked up in lists."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from payonce.domain.cards import Card
from payonce.storage import risk_lists
from payonce.storage.risk_lists import ListEntry
from tests.storage.ledger import Ledger
from tests.storage.risk.counting import BUYER, Counting, settled

FACTS = "SELECT card, customer, address, declined FROM vault.risk_facts"


@pytest.fixture
async def shop(valkey_url: str, ledger: Ledger) -> AsyncIterator[Counting]:
    redis = Redis.from_url(valkey_url)
    made = Counting(ledger, redis=redis)
    await made.counts.refill(ledger.merchant_id, "test")
    yield made
    await made.counts.close()
    await redis.aclose()


@pytest.mark.parametrize("declines", [False, True])
async def test_a_payment_counts_with_its_admission_and_its_outcome_with_its_recording(
    shop: Counting, declines: bool
) -> None:
    shop.connector.declines = declines
    shown = await shop.paid()
    assert (shown.get("payment") or shown)["risk"] == {"verdict": "allow", "reasons": [], "provider": "rules"}
    (fact,) = await shop.ledger.rows(FACTS)
    assert fact.declined is declines
    assert fact.card != fact.customer
    same = "SELECT count(DISTINCT xmin::text) AS n FROM (SELECT xmin FROM payments UNION ALL SELECT xmin FROM"
    written = await shop.ledger.rows(f"{same} vault.risk_facts) AS rows")
    assert written[0].n == 1  # transaction that wrote both last


async def test_many_declines_of_one_card_block_it(shop: Counting) -> None:
    shop.connector.declines = True
    for number in range(5):
        await shop.paid(key=f"k{number}")
    await settled(shop)
    shown = await shop.paid(key="k9", reaches=False)
    assert shown["code"] == "payment_blocked"
    assert (await shop.ledger.payment(shop.payment_id)).risk == {
        "verdict": "block",
        "reasons": ["card_declines"],
        "provider": "rules",
    }
    other = replace(BUYER, card=Card("4000000000000077", 12, 2040, "123"), customer={"id": "c-2"})
    assert (await shop.paid(other, key="k10"))["code"] == "payment_declined"


async def test_what_is_listed_is_read_with_the_key(shop: Counting) -> None:
    merchant = shop.ledger.merchant_id
    async with shop.ledger.database.transaction() as connection:
        await risk_lists.put(connection, merchant, "test", ListEntry("email", "ada@example.org", "block"))
        await risk_lists.put(connection, merchant, "test", ListEntry("customer", "c-1", "allow"))
    await shop.paid(reaches=False)
    reasons = (await shop.ledger.payment(shop.payment_id)).risk or {}
    assert (reasons["verdict"], reasons["reasons"]) == ("block", ["listed_email"])


async def test_the_card_of_a_payment_can_be_listed_and_taken_off(shop: Counting) -> None:
    await shop.paid()
    merchant, member = shop.ledger.merchant_id, shop.runtime.risk_subjects.member(shop.payment_id)
    async with shop.ledger.database.transaction() as connection:
        assert await risk_lists.put_card(connection, merchant, "test", member, list_="block")
        assert not await risk_lists.put_card(connection, "mer_other", "test", member, list_="block")
    assert (await shop.paid(key="k2", reaches=False))["code"] == "payment_blocked"
    async with shop.ledger.database.transaction() as connection:
        assert await risk_lists.remove_card(connection, merchant, "test", member)
    assert (await shop.paid(key="k3"))["status"] == "captured"
