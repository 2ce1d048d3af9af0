"""Cards and UPI through Razorpay, as the sandbox plays it, through the whole product and back by our page."""

from collections.abc import AsyncIterator

import httpx
import pytest

from devstack.razorpay_account import key_id, key_secret
from tests.e2e.merchant import Body, Merchant, card, refused
from tests.e2e.test_challenges import becomes
from tests.support.eventually import eventually
from tests.support.servers import ACQUIRER_KEY
from tests.support.witness import Witness

NUMBER, SHOP = "4100280000001007", "https://shop.example/back?basket=1"
PAID = [("authorize", 1099), ("capture", 1099)]
BROWSER = {
    "ip": "203.0.113.7",
    "user_agent": "Mozilla/5.0",
    "color_depth": 24,
    "screen_width": 1080,
    "screen_height": 2400,
    "time_zone_offset": -330,
    "java_enabled": False,
    "javascript_enabled": True,
}
WHO = {
    "currency": "INR",
    "customer": {"name": "Asha Rao", "email": "asha@example.com", "phone": "+919000090000"},
    "billing": {"name": "Asha Rao"},
    "browser": BROWSER,
    "return_url": SHOP,
}


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[httpx.AsyncClient]:
    """A customer's, which follows no redirect by itself."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        yield client


async def ask(shop: Merchant, method: Body, **changes: object) -> Body:
    body = {**WHO, "metadata": {"sandbox_account": "razorpay"}, **changes}
    payment = await shop.paid(payment_method=method, **body)
    assert (payment["status"], payment["connector"]) == ("requires_action", "razorpay"), payment
    return payment


async def decide(browser: httpx.AsyncClient, payment: Body, decision: str) -> httpx.Response:
    """What the customer did at their bank's page, which then sends the browser to ours by a form."""
    answered = await browser.post(
        payment["next_action"]["url"], data={"decision": decision}, headers={"Accept": "application/json"}
    )
    assert answered.status_code == 200, answered.text
    told = answered.json()
    return await browser.post(told["callback_url"], data=told["fields"])


async def test_a_cardholder_comes_back_by_a_form_and_has_paid_once(
    shop: Merchant, browser: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await ask(shop, card(NUMBER))
    assert await witness.movements(payment["id"]) == []
    back = await decide(browser, payment, "success")
    assert back.status_code == 303
    assert back.headers["Location"] == f"{SHOP}&payment={payment['id']}", "and nothing of Razorpay's"
    await becomes(shop, payment, "captured")
    assert await witness.movements(payment["id"]) == PAID


async def test_a_upi_payment_by_code_is_paid_and_tells_the_rails_reference(
    shop: Merchant, witness: Witness
) -> None:
    payment = await ask(shop, {"type": "upi", "upi": {"flow": "qr"}})
    assert payment["next_action"]["type"] == "upi_qr"
    paid = await becomes(shop, payment, "captured")  # in test mode Razorpay answers by itself
    assert paid["payment_method"]["upi"]["rrn"]
    assert await witness.movements(payment["id"]) == PAID


async def test_what_is_authorized_cannot_be_released_and_is_captured_whole(
    shop: Merchant, browser: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await ask(shop, card(NUMBER), capture_method="manual")
    await decide(browser, payment, "success")
    await becomes(shop, payment, "authorized")
    refused(await shop.void(payment), 422, "operation_not_supported")
    refused(await shop.capture(payment, {"amount": 500}), 422, "amount_not_supported")
    await shop.captured(payment)
    assert await witness.movements(payment["id"]) == PAID
    await shop.refunded(payment, amount=500)
    assert await witness.movements(payment["id"]) == [*PAID, ("refund", 500)]


async def test_what_is_captured_and_refunded_in_the_dashboard_is_in_the_books_once(
    shop: Merchant, browser: httpx.AsyncClient, witness: Witness
) -> None:
    """The dashboard's work, as Razorpay tells it: the same calls with the account's key, without our notes."""
    payment = await ask(shop, card(NUMBER), capture_method="manual")
    own_id = f"pay_{payment['next_action']['url'].split('/')[-2]}"
    await decide(browser, payment, "success")
    await becomes(shop, payment, "authorized")
    dashboard = httpx.BasicAuth(key_id(ACQUIRER_KEY), key_secret(ACQUIRER_KEY))
    steps = {
        "capture": ({"amount": 1099, "currency": "INR"}, "captured"),
        "refund": ({"amount": 500}, "partially_refunded"),
    }
    for step, (body, status) in steps.items():
        path = f"/razorpay/v1/payments/{own_id}/{step}"
        done = await witness.client.post(path, json=body, auth=dashboard)
        assert done.status_code == 200, done.text
        shown = await becomes(shop, payment, status)
    assert (shown["amount_captured"], shown["amount_refunded"]) == (1099, 500)
    timeline = await shop.timeline(payment)
    assert (timeline.count("payment.captured"), timeline.count("refund.succeeded")) == (1, 1)
    assert "payment.needs_review" not in timeline


async def test_what_failed_is_authorized_late_and_lapses(shop: Merchant, witness: Witness) -> None:
    """Days are skipped: the bank says what it would have said by then, and Razorpay tells of it."""
    silent = {"sandbox_account": "razorpay", "sandbox_bank": "silent"}
    payment = await ask(shop, card(NUMBER), capture_method="manual", metadata=silent)
    own_id = f"pay_{payment['next_action']['url'].split('/')[-2]}"

    async def bank_says(what: str) -> None:
        key = {"Authorization": f"Bearer {ACQUIRER_KEY}"}
        said = await witness.client.post(f"/razorpay/payments/{own_id}", json={"bank": what}, headers=key)
        assert said.status_code == 200, said.text

    await bank_says("times_out")
    failed = await becomes(shop, payment, "failed")
    assert failed["last_error"]["code"] == "payment_timed_out"
    await bank_says("approves")

    async def is_noticed() -> bool:
        return "payment.late_success" in await shop.timeline(payment)

    await eventually(is_noticed, 60.0)
    assert await witness.movements(payment["id"]) == [("authorize", 1099)]
    await bank_says("lapses")
    assert await witness.movements(payment["id"]) == [("authorize", 1099), ("void", 1099)]
    assert (await shop.payment(payment))["status"] == "failed"
