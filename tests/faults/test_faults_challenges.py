"""Customers who are at their bank while processes end, and second legs that are lost: paid once, or not at all."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from devstack.stack import DevStack
from tests.faults.conftest import CALL_DEADLINE_S, FINALITY_S, NOT_THE_ACQUIRER
from tests.faults.shop import AMOUNT, WITHIN_S, Json, Shop, open_shop, patiently
from tests.support.servers import ACQUIRER_KEY, running
from tests.support.witness import Witness

CHALLENGED = {
    "type": "card",
    "card": {"number": "4000002500003155", "exp_month": 12, "exp_year": 2030, "cvc": "123"},
}
PAID = [("authorize", AMOUNT), ("capture", AMOUNT)]
LOST = ("timeout_after_charge", "reset_after_charge", "error_after_charge", "garbage")


@pytest.fixture(scope="module")
async def hall(bank: DevStack) -> AsyncIterator[DevStack]:
    """The product, whose cards go to an account at which only our second leg moves the money.

    The acquirer honours no key of ours: a leg that is sent twice charges twice.
    """
    account = {
        "id": "sandbox_two_legs",
        "connector": "sandbox_card",
        "mode": "test",
        "base_url": bank.acquirer_url,
        "key": ACQUIRER_KEY,
        "options": {
            "completes": "resume",
            "call_deadline_s": str(CALL_DEADLINE_S),
            "finality_s": str(FINALITY_S),
        },
    }
    async with running(
        *NOT_THE_ACQUIRER,
        environ={"PAYONCE_SANDBOX_ACQUIRER_URL": bank.acquirer_url},
        product_environ={"PAYONCE_CONNECTOR_ACCOUNTS": json.dumps([account])},
    ) as stack:
        yield stack


@pytest.fixture(scope="module")
async def seller(hall: DevStack) -> AsyncIterator[Shop]:
    async with open_shop(hall) as shop:
        yield shop


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[httpx.AsyncClient]:
    """A customer's, which follows no redirect by itself."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        yield client


async def challenged(seller: Shop, **members: object) -> Json:
    payment = await seller.payment(await seller.created(payment_method=CHALLENGED, **members))
    assert payment["status"] == "requires_action", payment
    return payment


async def passed(browser: httpx.AsyncClient, payment: Json) -> str:
    """The customer was authenticated; where the bank's page sends the browser."""
    page = payment["next_action"]["url"]
    response = await browser.post(page, data={"decision": "submit", "code": "123456"})
    assert response.status_code == 303, response.text
    return response.headers["Location"]


async def becomes(seller: Shop, payment: Json, status: str) -> Json:
    async def is_so() -> Json | None:
        now = await seller.payment(payment["id"])
        return now if now["status"] == status else None

    return await patiently(is_so, within_s=WITHIN_S)


async def test_a_customer_who_comes_back_is_charged_by_our_leg(
    seller: Shop, browser: httpx.AsyncClient, ledger: Witness
) -> None:
    payment = await challenged(seller)
    back = await passed(browser, payment)
    assert await ledger.movements(payment["id"]) == []
    assert (await browser.get(back)).status_code == 200
    await becomes(seller, payment, "captured")
    for _ in range(3):  # again, and in another tab
        assert (await browser.get(back)).status_code == 200
    assert await ledger.movements(payment["id"]) == PAID


async def test_a_strangers_return_does_not_spend_the_customers(
    seller: Shop, browser: httpx.AsyncClient, ledger: Witness
) -> None:
    payment = await challenged(seller)
    back = await passed(browser, payment)
    forged = httpx.URL(back).copy_set_param("result", "somebody-elses")
    await browser.get(forged)
    assert await ledger.movements(payment["id"]) == []
    await browser.get(back)
    await becomes(seller, payment, "captured")
    assert await ledger.movements(payment["id"]) == PAID


@pytest.mark.parametrize("fault", LOST)
async def test_a_lost_leg_ends_as_the_ledger_says_and_once(
    seller: Shop, browser: httpx.AsyncClient, ledger: Witness, fault: str
) -> None:
    payment = await challenged(seller, metadata={"sandbox_fault": f"resume:{fault}"})
    await browser.get(await passed(browser, payment))
    await becomes(seller, payment, "captured")
    assert await ledger.movements(payment["id"]) == PAID


async def test_a_challenge_outlives_every_process(
    hall: DevStack, seller: Shop, browser: httpx.AsyncClient, ledger: Witness
) -> None:
    payment = await challenged(seller)
    for part in ("temporal", "postgres", "redis", "worker", "relay", "api"):
        await hall.restart(part)
    back = await passed(browser, payment)

    async def is_led_on() -> bool:
        return (await browser.get(back)).status_code == 200

    await patiently(is_led_on, within_s=WITHIN_S)
    await becomes(seller, payment, "captured")
    assert await ledger.movements(payment["id"]) == PAID
    events = [event["type"] for event in await seller.events(payment["id"])]
    assert events[0] == "payment.requires_action"
    assert events[-2:] == ["payment.authorized", "payment.captured"]


async def test_whoever_sends_the_leg_is_killed_while_the_acquirer_works_on_it(
    hall: DevStack, seller: Shop, browser: httpx.AsyncClient, ledger: Witness
) -> None:
    """Its claim stands: the acquirer is asked, and nobody sends it again."""
    payment = await challenged(seller, metadata={"sandbox_fault": "resume:slow:2000"})
    back = await passed(browser, payment)
    coming = asyncio.create_task(browser.get(back))

    async def is_sent() -> bool:
        seen = await ledger.requests(payment_reference=payment["id"])
        return any(request["operation"] == "resume" for request in seen)

    await patiently(is_sent, within_s=WITHIN_S)
    for part in ("worker", "api"):
        await hall.kill(part)
    for part in ("worker", "api"):
        await hall.start(part)
    await asyncio.wait({coming})
    await becomes(seller, payment, "captured")
    assert await ledger.movements(payment["id"]) == PAID


async def test_a_void_and_a_return_at_once_end_in_one_way(
    seller: Shop, browser: httpx.AsyncClient, ledger: Witness
) -> None:
    payment = await challenged(seller)
    back = await passed(browser, payment)
    voiding = seller.answered(f"/v1/payments/{payment['id']}/void", {}, key=seller.key("void"))
    _, voided = await asyncio.gather(browser.get(back), voiding)

    async def ended() -> Json | None:
        now = await seller.payment(payment["id"])
        return now if now["status"] in ("voided", "captured", "refunded") else None

    payment = await patiently(ended, within_s=WITHIN_S)
    moved = await ledger.movements(payment["id"])
    if payment["status"] == "voided":
        assert moved in ([], [("authorize", AMOUNT), ("void", AMOUNT)])
    elif payment["status"] == "refunded":
        assert moved == [*PAID, ("refund", AMOUNT)]
    else:
        assert voided.status_code == 409, "the void came after the outcome"
        assert moved == PAID
