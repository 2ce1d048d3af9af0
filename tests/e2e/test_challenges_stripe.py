"""Cards through Stripe whose issuer wants to know who pays, through the whole product and back by our page."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.e2e.merchant import Body, Merchant, answered, card, refused
from tests.e2e.test_challenges import HANDED_IN, becomes
from tests.support.witness import Witness

CHALLENGED, THEN_DECLINED = "4000002760003184", "4000008260003178"
SHOP = "https://shop.example/back?basket=1"
PAID = [("authorize", 1099), ("capture", 1099)]


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[httpx.AsyncClient]:
    """A customer's, which follows no redirect by itself."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        yield client


async def ask(shop: Merchant, number: str = CHALLENGED, **changes: object) -> Body:
    changes = {"return_url": SHOP, **changes}
    payment = await shop.paid(payment_method=card(number), metadata={"sandbox_account": "stripe"}, **changes)
    assert (payment["status"], payment["connector"]) == ("requires_action", "stripe"), payment
    return payment


async def decide(browser: httpx.AsyncClient, payment: Body, decision: str) -> httpx.Response:
    """What the customer did at their issuer's page, and then at ours, to which it sent them."""
    response = await browser.post(payment["next_action"]["url"], data={"decision": decision})
    assert response.status_code == 303, response.text
    ours = response.headers["Location"]
    assert "payment_intent_client_secret=" in ours, "as Stripe adds it"
    return await browser.get(ours)


async def test_a_challenge_that_is_passed_is_paid_once(
    shop: Merchant, browser: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await ask(shop)
    assert payment["next_action"]["sandbox_url"] == payment["next_action"]["url"]
    assert await witness.movements(payment["id"]) == []
    back = await decide(browser, payment, "complete")
    assert back.status_code == 303
    assert back.headers["Location"] == f"{SHOP}&payment={payment['id']}", "and nothing of Stripe's"
    paid = await becomes(shop, payment, "captured")
    assert paid["next_action"] is None
    assert (paid["authentication"]["result"], paid["authentication"]["liability"]) == ("authenticated", None)
    assert await witness.movements(payment["id"]) == PAID


async def test_a_manual_payment_is_captured_after_its_challenge(
    shop: Merchant, browser: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await ask(shop, capture_method="manual")
    await decide(browser, payment, "complete")
    await becomes(shop, payment, "authorized")
    assert (await shop.captured(payment))["status"] == "captured"
    assert await witness.movements(payment["id"]) == PAID


@pytest.mark.parametrize(
    ("number", "decision", "code"),
    [(CHALLENGED, "fail", "authentication_failed"), (THEN_DECLINED, "complete", "insufficient_funds")],
)
async def test_a_challenge_that_ends_badly_moves_nothing(
    shop: Merchant, browser: httpx.AsyncClient, witness: Witness, number: str, decision: str, code: str
) -> None:
    payment = await ask(shop, number)
    await decide(browser, payment, decision)
    failed = await becomes(shop, payment, "failed")
    assert failed["last_error"]["decline_code"] == code
    assert await witness.movements(payment["id"]) == []


async def test_a_void_gives_the_challenge_up_and_the_page_takes_no_answer(
    shop: Merchant, browser: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await ask(shop)
    await shop.void(payment)
    voided = await becomes(shop, payment, "voided")
    await browser.post(payment["next_action"]["url"], data={"decision": "complete"})
    assert await shop.payment(payment) == voided
    assert await witness.movements(payment["id"]) == []


@pytest.mark.parametrize(
    ("number", "result", "eci"),
    [("4000000000003055", "frictionless", "05"), ("4000000000003105", "attempted", "06")],
)
async def test_who_is_authenticated_without_being_asked_has_paid_at_once(
    shop: Merchant, witness: Witness, number: str, result: str, eci: str
) -> None:
    paid = await shop.paid(payment_method=card(number), metadata={"sandbox_account": "stripe"})
    assert (paid["status"], paid["connector"]) == ("captured", "stripe")
    shown = paid["authentication"]
    assert (shown["result"], shown["eci"], shown["liability"]) == (result, eci, None)
    assert await witness.movements(paid["id"]) == PAID


async def test_who_was_authenticated_elsewhere_is_not_asked(shop: Merchant, witness: Witness) -> None:
    asked = {"authentication": HANDED_IN, "metadata": {"sandbox_account": "stripe"}, "return_url": SHOP}
    paid = await shop.paid(payment_method=card("4242424242424242"), **asked)
    assert (paid["status"], paid["connector"]) == ("captured", "stripe")
    assert await witness.movements(paid["id"]) == PAID
    problem = refused(await shop.pay(payment_method=card(CHALLENGED), **asked), 402, "payment_declined")
    assert problem["decline_code"] == "authentication_required"


async def test_a_retry_of_the_key_says_what_has_become_of_it(
    shop: Merchant, browser: httpx.AsyncClient
) -> None:
    order = {
        "payment_method": card(CHALLENGED),
        "metadata": {"sandbox_account": "stripe"},
        "return_url": SHOP,
    }
    key = f"stripe-{(await ask(shop))['id']}"
    first = await shop.pay(key=key, **order)
    payment = answered(first, 201)
    assert (await shop.pay(key=key, **order)).content == first.content
    await decide(browser, payment, "fail")
    await becomes(shop, payment, "failed")
    refused(await shop.pay(key=key, **order), 402, "payment_declined")
