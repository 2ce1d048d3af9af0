"""Cardholders who do nothing at their bank, or come back having done nothing: their time ends, nothing is paid."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from devstack.stack import INFRASTRUCTURE, PRODUCT, DevStack
from tests.e2e.merchant import Body, Merchant, answered, card, merchant_with
from tests.e2e.test_challenges import CHALLENGED
from tests.support.eventually import eventually
from tests.support.servers import ACQUIRER_KEY, running
from tests.support.witness import Witness, witness_of

TIME_S = 20  # of a cardholder
ENDS_WITHIN_S = TIME_S + 90.0  # where the acquirer ends it by itself, it says so some time later
ENDS = ("payment.requires_action", "payment.failed")


@pytest.fixture(scope="module")
async def bank() -> AsyncIterator[DevStack]:
    """The acquirer alone."""
    async with running("acquirer") as stack:
        yield stack


@pytest.fixture(scope="module")
async def hall(bank: DevStack) -> AsyncIterator[DevStack]:
    """The product, whose cardholders have little time."""
    account = {
        "id": "sandbox_hurried",
        "connector": "sandbox_card",
        "mode": "test",
        "base_url": bank.acquirer_url,
        "key": ACQUIRER_KEY,
        "options": {"window_s": str(TIME_S)},
    }
    async with running(
        *(name for name in (*INFRASTRUCTURE, *PRODUCT) if name != "acquirer"),
        environ={"PAYONCE_SANDBOX_ACQUIRER_URL": bank.acquirer_url},
        product_environ={"PAYONCE_CONNECTOR_ACCOUNTS": json.dumps([account])},
    ) as stack:
        yield stack


@pytest.fixture(scope="module")
async def seller(hall: DevStack) -> AsyncIterator[Merchant]:
    async with merchant_with(hall.api_url, hall.api_key) as merchant:
        yield merchant


@pytest.fixture(scope="module")
async def ledger(bank: DevStack) -> AsyncIterator[Witness]:
    async with witness_of(bank.acquirer_url) as witness:
        yield witness


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[httpx.AsyncClient]:
    """A customer's, which follows no redirect by itself."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        yield client


async def challenged(seller: Merchant) -> Body:
    payment = await seller.paid(payment_method=card(CHALLENGED))
    assert payment["status"] == "requires_action", payment
    return payment


async def failed(seller: Merchant, payment: Body) -> Body:
    async def is_so() -> Body:
        now = await seller.payment(payment)
        assert now["status"] == "failed", now
        return now

    return await eventually(is_so, ENDS_WITHIN_S)


async def told(seller: Merchant, payment: Body) -> tuple[str, str]:
    """The first and the last event; `processing` comes between them where the acquirer says no more in time."""
    timeline = await seller.timeline(payment)
    return timeline[0], timeline[-1]


async def press(browser: httpx.AsyncClient, payment: Body, decision: str) -> httpx.Response:
    """What the bank's page answers to this button, with the right code."""
    page = payment["next_action"]["url"]
    return await browser.post(page, data={"decision": decision, "code": "123456"})


async def test_whoever_does_nothing_has_not_paid(
    seller: Merchant, browser: httpx.AsyncClient, ledger: Witness
) -> None:
    await ledger.configure(challenge_ends="cancelled")
    alone, back = await asyncio.gather(challenged(seller), challenged(seller))
    address = (await press(browser, back, "cancel")).headers["Location"]
    assert (await browser.get(address)).status_code == 200
    for payment in (alone, back):
        ended = await failed(seller, payment)
        assert (ended["last_error"]["code"], ended["next_action"]) == ("abandoned", None)
        assert await told(seller, payment) == ENDS
        await press(browser, payment, "submit")  # too late, at the bank's page
        assert await ledger.movements(payment["id"]) == []
    before = await seller.payment(back)
    for _ in range(2):  # too late, at ours; and once more
        assert (await browser.get(address)).status_code == 200
    assert await seller.payment(back) == before


async def test_where_the_acquirer_ends_it_by_itself_its_word_is_waited_for(
    seller: Merchant, browser: httpx.AsyncClient, ledger: Witness
) -> None:
    await ledger.configure(challenge_ends="itself")
    alone, back = await asyncio.gather(challenged(seller), challenged(seller))
    address = (await press(browser, back, "cancel")).headers["Location"]
    assert (await browser.get(address)).status_code == 200
    for payment in (alone, back):
        ended = await failed(seller, payment)
        assert (ended["last_error"]["code"], ended["next_action"]) == ("payment_timed_out", None)
        assert await told(seller, payment) == ENDS
        assert await ledger.movements(payment["id"]) == []
        assert answered(await seller.get(f"/v1/payments/{payment['id']}"), 200)["amount_captured"] == 0
