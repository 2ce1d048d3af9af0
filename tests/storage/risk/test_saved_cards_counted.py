"""A saved card is the same card to rules, counts and lists, by whichever token it is paid with."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from api.admission.posts import CreatePost
from api.admission.requests import NewPayment, Post
from api.admission.risk import given_of, view_of
from payonce.domain.cards import NetworkToken
from payonce.domain.payment_methods import Setup
from payonce.domain.risk import Policy
from payonce.storage import risk_facts, risk_lists
from payonce.storage.merchants import Caller
from payonce.storage.risk_lists import ListEntry
from payonce.vault import payment_methods as vaulted
from tests.storage.admitting import NEW, post
from tests.storage.ledger import IDS, Ledger
from tests.storage.paying_saved import by, saved
from tests.storage.risk.counting import BUYER, Counting
from tests.storage.saved_cards.saving_shop import SavingShop

SAVES = replace(BUYER, setup=Setup.OFF_SESSION)
CARD = "SELECT card FROM vault.risk_saved"


@pytest.fixture
async def shop(valkey_url: str, ledger: Ledger) -> AsyncIterator[Counting]:
    redis = Redis.from_url(valkey_url)
    made = Counting(ledger, redis=redis)
    await made.counts.refill(ledger.merchant_id, "test")
    yield made
    await made.counts.close()
    await redis.aclose()


def by_token(token: str) -> NewPayment:
    return replace(NEW, card=None, payment_method={"type": "card"}, token=token, customer={"id": "c-1"})


async def listed(shop: Counting, *entry: str) -> None:
    async with shop.ledger.database.transaction() as connection:
        await risk_lists.put(connection, shop.ledger.merchant_id, "test", ListEntry(*entry))


async def reasons(shop: Counting) -> list[str]:
    risk: Any = (await shop.ledger.payment(shop.payment_id)).risk
    return list(risk["reasons"])


async def test_a_listed_card_cannot_pay_by_its_token(shop: Counting) -> None:
    await shop.paid(SAVES)
    token, member = (
        IDS.saved_with(payment_id=shop.payment_id),
        shop.runtime.risk_subjects.member(shop.payment_id),
    )
    async with shop.ledger.database.transaction() as connection:
        assert await risk_lists.put_card(connection, shop.ledger.merchant_id, "test", member, list_="block")

    shown = await shop.paid(by_token(token), key="k2", reaches=False)

    assert (shown["code"], await reasons(shop)) == ("payment_blocked", ["listed_card"])
    facts = await shop.ledger.rows(
        "SELECT count(*) AS n, count(DISTINCT card) AS cards FROM vault.risk_facts"
    )
    assert [(row.n, row.cards) for row in facts] == [(2, 1)]


async def test_attempts_by_the_token_and_by_the_number_count_together(shop: Counting) -> None:
    often = {
        "name": "often",
        "verdict": "block",
        "velocities": [{"of": "card", "count": "attempts", "within_s": 3600, "more_than": 2}],
    }
    shop.policy = Policy(providers=("rules",), options={"rules": {"rules": [often]}})
    await shop.paid(SAVES)
    token = IDS.saved_with(payment_id=shop.payment_id)
    await shop.paid(key="k2")

    await shop.paid(by_token(token), key="k3", reaches=False)

    assert await reasons(shop) == ["often"]


@pytest.mark.parametrize(("country", "said"), [("RU", "RU"), (None, "unknown")])
async def test_where_a_saved_card_was_issued_counts_for_lists_and_rules(
    shop: Counting, country: str | None, said: str
) -> None:
    method = await saved(shop.ledger, tokens_at=("account_1",), vaulted=False, issuer_country=country)
    rule = {"name": "from_there", "verdict": "block", "issuer_countries": [said]}
    shop.policy = Policy(providers=("rules",), options={"rules": {"rules": [rule]}})
    await shop.paid(by(method), reaches=False)
    assert await reasons(shop) == ["from_there"]

    await listed(shop, "country", said.upper(), "block")
    await shop.paid(by(method), key="k2", reaches=False)
    assert await reasons(shop) == ["listed_country"]


async def test_a_device_wallets_country_is_unknown_and_its_number_counts(shop: Counting) -> None:
    device = NetworkToken("4895370012003478", 12, 2040, "AAAA")
    new = replace(NEW, card=None, network_token=device, method="wallet.apple_pay")
    asked = replace(post(shop.ledger, "k"), caller=Caller(shop.ledger.merchant_id, "test", risk=shop.policy))
    create = _create(shop, asked, new)
    assert ("country", "UNKNOWN") in given_of(create)
    assert view_of(create).issuer_country is None
    assert shop.admission._risk._subjects(create).card is not None
    upi = _create(shop, asked, replace(NEW, card=None, method="upi.collect"))
    assert "country" not in dict(given_of(upi))


async def test_another_merchants_token_says_nothing(shop: Counting) -> None:
    await shop.paid(SAVES)
    token, merchant = IDS.saved_with(payment_id=shop.payment_id), shop.ledger.merchant_id
    async with shop.ledger.database.reading() as connection:
        assert await connection.fetch(risk_facts.saved(token, merchant, "test")) is not None
        assert await connection.fetch(risk_facts.saved(token, "mer_other", "test")) is None
        assert await connection.fetch(risk_facts.saved(token, merchant, "live")) is None


async def test_what_told_which_card_it_was_goes_with_the_card(ledger: Ledger) -> None:
    shop = SavingShop(ledger)
    await shop.admitted()
    assert len(await ledger.rows(CARD)) == 1
    async with ledger.database.transaction() as connection:
        assert (await vaulted.erase(connection, shop.token())).what == "never_kept"
    assert await ledger.rows(CARD) == []


def _create(shop: Counting, asked: Post, new: NewPayment) -> CreatePost:
    return CreatePost(runtime=shop.runtime, post=asked, new=new, deadline=0.0)
