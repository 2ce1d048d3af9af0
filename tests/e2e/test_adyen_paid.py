"""Cards and UPI through Adyen, as the sandbox plays it, through the whole product: its webhooks are the truth."""

from collections.abc import AsyncIterator

import httpx
import pytest

from payonce.connectors.adyen import references
from tests.e2e.merchant import EVERY_MEMBER, Body, Merchant, card, refused
from tests.e2e.test_challenges import becomes
from tests.support.eventually import eventually
from tests.support.witness import Witness

ASKED, SHOP = "4212345678910006", "https://shop.example/back?basket=1"
AUTHORIZED, CAPTURED, REFUNDED = ("authorize", 1099), ("capture", 1099), ("refund", 500)
BROWSER = {
    "ip": "203.0.113.7",
    "user_agent": "Mozilla/5.0",
    "accept": "text/html",
    "language": "en-GB",
    "color_depth": 24,
    "screen_width": 1080,
    "screen_height": 2400,
    "time_zone_offset": -330,
    "java_enabled": False,
}
WHO = {**EVERY_MEMBER, "currency": "EUR", "browser": BROWSER, "return_url": SHOP}


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[httpx.AsyncClient]:
    """A customer's, which follows no redirect by itself."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        yield client


async def pay(shop: Merchant, *, fault: str | None = None, **changes: object) -> Body:
    wished = {"sandbox_account": "adyen"} | ({} if fault is None else {"sandbox_fault": fault})
    answer = await shop.pay(**{**WHO, "metadata": wished, **changes})
    assert answer.status_code in (201, 202), answer.text
    payment: Body = answer.json()
    assert payment["connector"] == "adyen", payment
    return payment


async def moved(witness: Witness, payment: Body) -> list[tuple[str, int]]:
    """Adyen knows no hyphen and no underscore: the ledger has the payment by the name it was told."""
    return await witness.movements(references.plain(payment["id"]))


async def done(shop: Merchant, response: httpx.Response, payment: Body) -> Body:
    """Adyen has only received it: what it comes to its webhook says, which may be faster than our answer."""
    assert response.status_code in (200, 202), response.text
    return await shop.settled(payment)


async def decide(browser: httpx.AsyncClient, payment: Body, decision: str) -> httpx.Response:
    """What the customer did at their bank's page, which then sends the browser to ours."""
    page = payment["next_action"]["url"]
    answer = await browser.post(page, data={"decision": decision})
    assert answer.status_code == 303, answer.text
    return await browser.get(answer.headers["Location"])


async def test_an_automatic_payment_is_paid_once_and_refunded_by_its_webhook(
    shop: Merchant, witness: Witness
) -> None:
    payment = await pay(shop)
    assert payment["status"] == "captured"
    assert await moved(witness, payment) == [AUTHORIZED, CAPTURED]
    response = await shop.refund(payment, {"amount": 500})
    assert response.status_code in (201, 202), response.text  # its webhook may be faster than our answer

    async def refunded() -> bool:  # a refund is no pending operation of its payment
        return bool((await shop.payment(payment))["amount_refunded"] == 500)

    await eventually(refunded)
    assert await moved(witness, payment) == [AUTHORIZED, CAPTURED, REFUNDED]


async def test_what_is_authorized_is_captured_by_its_webhook(shop: Merchant, witness: Witness) -> None:
    payment = await pay(shop, capture_method="manual")
    assert payment["status"] == "authorized"
    captured = await done(shop, await shop.capture(payment), payment)
    assert captured["status"] == "captured"
    assert await moved(witness, payment) == [AUTHORIZED, CAPTURED]


async def test_what_is_authorized_is_voided_by_its_webhook(shop: Merchant, witness: Witness) -> None:
    payment = await pay(shop, capture_method="manual")
    voided = await done(shop, await shop.void(payment), payment)
    assert voided["status"] == "voided"
    assert await moved(witness, payment) == [AUTHORIZED, ("void", 1099)]


async def test_a_card_that_is_declined_is_declined(shop: Merchant, witness: Witness) -> None:
    wished = {"metadata": {"sandbox_account": "adyen"}, "payment_method": card("4000000000009995")}
    declined = refused(await shop.pay(**{**WHO, **wished}), 402, "payment_declined")
    assert (declined["decline_code"], declined["retryable"]) == ("insufficient_funds", True)
    assert await moved(witness, declined["payment"]) == []


async def test_an_answer_that_is_lost_is_told_by_the_webhook(shop: Merchant, witness: Witness) -> None:
    payment = await pay(shop, fault="timeout_after_charge")
    assert (await shop.settled(payment))["status"] == "captured"
    assert await moved(witness, payment) == [AUTHORIZED, CAPTURED]


async def test_a_cardholder_who_comes_back_has_paid_once(
    shop: Merchant, browser: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await pay(shop, payment_method=card(ASKED))
    assert payment["status"] == "requires_action"
    assert await moved(witness, payment) == []
    back = await decide(browser, payment, "complete")
    assert back.status_code == 303
    assert back.headers["Location"] == f"{SHOP}&payment={payment['id']}", "and nothing of Adyen's"
    await becomes(shop, payment, "captured")
    assert await moved(witness, payment) == [AUTHORIZED, CAPTURED]


async def test_a_cardholder_who_fails_has_paid_nothing(
    shop: Merchant, browser: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await pay(shop, payment_method=card(ASKED))
    await decide(browser, payment, "fail")
    failed = await becomes(shop, payment, "failed")
    assert failed["last_error"]["decline_code"] == "authentication_failed"
    assert await moved(witness, payment) == []


async def test_a_leg_whose_answer_is_lost_has_moved_the_money_once(
    shop: Merchant, browser: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await pay(shop, payment_method=card(ASKED), fault="resume:timeout_after_charge")
    await decide(browser, payment, "complete")
    await becomes(shop, payment, "captured")
    assert await moved(witness, payment) == [AUTHORIZED, CAPTURED]


@pytest.mark.parametrize("flow", ["intent", "qr", "collect"])
async def test_a_upi_payment_is_paid_when_the_customer_approves_it(
    shop: Merchant, browser: httpx.AsyncClient, witness: Witness, flow: str
) -> None:
    upi = {"flow": flow} | ({"vpa": "pending@upi"} if flow == "collect" else {})
    wished = {"sandbox_account": "adyen", "sandbox_vpa": "pending@upi"}
    payment = await pay(shop, currency="INR", payment_method={"type": "upi", "upi": upi}, metadata=wished)
    assert payment["next_action"]["type"] == f"upi_{flow}"
    page = f"{witness.client.base_url}/adyen/pages/{references.plain(payment['id'])}"
    assert (await browser.post(page, data={"decision": "approve"})).status_code == 200
    await becomes(shop, payment, "captured")
    assert await moved(witness, payment) == [AUTHORIZED, CAPTURED]


async def test_a_capture_that_comes_back_is_taken_out_and_done_again(
    shop: Merchant, witness: Witness
) -> None:
    """The scheme rejects days later what was captured, and Adyen captures it again: the books follow."""
    payment = await pay(shop, capture_method="manual", fault="undo_capture:1,redo_capture:1")
    await shop.capture(payment)

    async def is_done_again() -> bool:
        told = [name for name in await shop.timeline(payment) if "capture" in name]
        return told == ["payment.captured", "payment.capture_failed", "payment.captured"]

    await eventually(is_done_again, 60.0)
    now = await shop.payment(payment)
    assert (now["status"], now["amount_captured"], now["review"]) == ("captured", 1099, None)
    assert [name for name, _ in await moved(witness, payment)] == ["authorize", "capture", "undo", "capture"]
