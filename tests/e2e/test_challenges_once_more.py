"""Cardholders whom the acquirer wants on a second page, after our leg brought it what the first one gave."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from devstack.stack import INFRASTRUCTURE, PRODUCT, DevStack
from tests.e2e.merchant import Body, Merchant, answered, card, merchant_with
from tests.e2e.test_challenges import CHALLENGED, PAID, becomes
from tests.support.eventually import eventually
from tests.support.servers import ACQUIRER_KEY, running
from tests.support.witness import Witness, witness_of

SHOP = "https://shop.example/back"


@pytest.fixture(scope="module")
async def bank() -> AsyncIterator[DevStack]:
    """The acquirer alone. It knows no leg again: one that is sent twice moves money twice."""
    async with running("acquirer") as stack:
        yield stack


@pytest.fixture(scope="module")
async def ledger(bank: DevStack) -> AsyncIterator[Witness]:
    async with witness_of(bank.acquirer_url) as witness:
        await witness.configure(idempotency="ignored")
        yield witness


@pytest.fixture(scope="module")
async def seller(bank: DevStack) -> AsyncIterator[Merchant]:
    """A merchant whose cardholders are asked twice."""
    account = {
        "id": "sandbox_asks_again",
        "connector": "sandbox_card",
        "mode": "test",
        "base_url": bank.acquirer_url,
        "key": ACQUIRER_KEY,
        "options": {"completes": "resume", "asks_again": "on"},
    }
    async with (
        running(
            *(name for name in (*INFRASTRUCTURE, *PRODUCT) if name != "acquirer"),
            environ={"PAYONCE_SANDBOX_ACQUIRER_URL": bank.acquirer_url},
            product_environ={"PAYONCE_CONNECTOR_ACCOUNTS": json.dumps([account])},
        ) as stack,
        merchant_with(stack.api_url, stack.api_key) as merchant,
    ):
        yield merchant


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[httpx.AsyncClient]:
    """A customer's, which follows no redirect by itself."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        yield client


async def press(browser: httpx.AsyncClient, page: str, decision: str) -> str:
    """Where the bank's page sends the browser after this button, with the right code."""
    response = await browser.post(page, data={"decision": decision, "code": "123456"})
    assert response.status_code == 303, response.text
    return response.headers["Location"]


async def asked_again(seller: Merchant, payment: Body) -> Body:
    """The payment, once it shows the second page."""

    async def is_so() -> Body:
        now = await seller.payment(payment)
        assert now["status"] == "requires_action", now
        assert now["next_action"]["url"] == f"{payment['next_action']['url']}?again=1"
        return now

    return await eventually(is_so, 60.0)


async def test_whoever_passes_on_both_pages_has_paid_once(
    seller: Merchant, browser: httpx.AsyncClient, ledger: Witness
) -> None:
    key, order = "once-more", {"payment_method": card(CHALLENGED), "return_url": SHOP}
    first = await seller.pay(key=key, **order)
    payment = answered(first, 201)
    back = await press(browser, payment["next_action"]["url"], "submit")
    led = await browser.get(back)
    again = await asked_again(seller, payment)
    # A page that had waited for it leads there; one that had to give up leads to the shop, which sends them there.
    assert led.headers["Location"] in (again["next_action"]["url"], f"{SHOP}?payment={payment['id']}")
    assert again["next_action"]["expires_at"] == payment["next_action"]["expires_at"]
    retried = await seller.pay(key=key, **order)
    assert (retried.status_code, retried.json()) == (201, again)
    assert (await browser.get(back)).headers["Location"] == f"{SHOP}?payment={payment['id']}"  # no circle
    assert await ledger.movements(payment["id"]) == []
    back = await press(browser, again["next_action"]["url"], "submit")
    assert (await browser.get(back)).headers["Location"] == f"{SHOP}?payment={payment['id']}"
    paid = await becomes(seller, payment, "captured")
    assert (paid["next_action"], paid["authentication"]["result"]) == (None, "authenticated")
    assert answered(await seller.pay(key=key, **order), 201)["status"] == "captured"
    asked = ["payment.requires_action", "payment.processing"]
    assert await seller.timeline(payment) == [*asked, *asked, "payment.authorized", "payment.captured"]
    assert await ledger.movements(payment["id"]) == PAID


async def test_a_void_at_the_second_page_gives_the_payment_up(
    seller: Merchant, browser: httpx.AsyncClient, ledger: Witness
) -> None:
    payment = await seller.paid(payment_method=card(CHALLENGED), return_url=SHOP)
    await browser.get(await press(browser, payment["next_action"]["url"], "submit"))
    again = await asked_again(seller, payment)
    await seller.void(payment)
    await becomes(seller, payment, "voided")
    await browser.post(again["next_action"]["url"], data={"decision": "submit", "code": "123456"})
    assert await ledger.movements(payment["id"]) == []
