"""Cards whose holder is asked, through the whole product: the page decides, and the ledger is the proof."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.e2e.merchant import Body, Merchant, card, refused
from tests.support.eventually import eventually
from tests.support.witness import Witness

CHALLENGED = "4000002500003155"
THEN_DECLINED = "4000008260003178"
PAID = [("authorize", 1099), ("capture", 1099)]


@pytest.fixture(scope="module")
async def customer() -> AsyncIterator[httpx.AsyncClient]:
    """A browser without an API key."""
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


async def test_a_challenge_that_is_passed_is_paid_once(
    shop: Merchant, customer: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await challenged(shop)
    assert payment["next_action"]["type"] == "redirect"
    assert await witness.movements(payment["id"]) == []
    assert (await answer(customer, payment, "submit")).status_code == 200
    paid = await becomes(shop, payment, "captured")
    assert paid["next_action"] is None
    assert await witness.movements(payment["id"]) == PAID
    assert await shop.timeline(payment) == [
        "payment.requires_action",
        "payment.authorized",
        "payment.captured",
    ]


async def test_a_manual_payment_is_authorized_after_its_challenge_and_captured(
    shop: Merchant, customer: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await challenged(shop, capture_method="manual")
    await answer(customer, payment, "submit")
    authorized = await becomes(shop, payment, "authorized")
    assert authorized["capture_before"] is not None
    assert (await shop.captured(payment))["status"] == "captured"
    assert await witness.movements(payment["id"]) == PAID


@pytest.mark.parametrize(
    ("number", "decision", "code"),
    [
        (CHALLENGED, "fail", "authentication_failed"),
        (THEN_DECLINED, "submit", "insufficient_funds"),
    ],
)
async def test_a_challenge_that_ends_badly_moves_nothing(
    shop: Merchant, customer: httpx.AsyncClient, witness: Witness, number: str, decision: str, code: str
) -> None:
    payment = await challenged(shop, number)
    await answer(customer, payment, decision)
    failed = await becomes(shop, payment, "failed")
    assert failed["last_error"]["decline_code"] == code
    assert await witness.movements(payment["id"]) == []


async def test_a_void_gives_the_challenge_up(
    shop: Merchant, customer: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await challenged(shop)
    assert (await shop.voided(payment))["status"] == "voided"
    assert (await answer(customer, payment, "submit")).status_code == 409
    assert await witness.movements(payment["id"]) == []


async def test_a_soft_decline_becomes_a_challenge_on_the_same_payment(
    shop: Merchant, customer: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await challenged(shop, "4000000000003121")
    asked = await witness.requests(payment_reference=payment["id"])
    assert [(entry["answer"], entry["sca"]) for entry in asked] == [
        ("200 declined", None),
        ("200 pending", {"challenge": "force", "exemption": None}),
    ]
    await answer(customer, payment, "submit")
    await becomes(shop, payment, "captured")
    assert await witness.movements(payment["id"]) == PAID


async def test_a_card_that_nobody_can_authenticate_is_declined(shop: Merchant) -> None:
    problem = refused(await shop.pay(payment_method=card("4000000000003139")), 402, "payment_declined")
    assert (problem["decline_code"], problem["advice"]) == ("authentication_failed", "authenticate")


async def challenged(shop: Merchant, number: str = CHALLENGED, **changes: str) -> Body:
    payment = await shop.paid(payment_method=card(number), **changes)
    assert payment["status"] == "requires_action", payment
    return payment


async def answer(customer: httpx.AsyncClient, payment: Body, decision: str) -> httpx.Response:
    page = payment["next_action"]["sandbox_url"]
    data = {"decision": decision, "code": "123456"}
    return await customer.post(page, data=data, headers={"Accept": "application/json"})


async def becomes(shop: Merchant, payment: Body, status: str) -> Body:
    async def is_so() -> Body:
        now = await shop.payment(payment)
        assert now["status"] == status, now
        return now

    return await eventually(is_so, 15.0)
