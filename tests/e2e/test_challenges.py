"""Cards whose holder is asked, through the whole product: the page decides, and the ledger is the proof."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.e2e.merchant import SETTLED_WITHIN_S, Body, Merchant, card, refused
from tests.support.eventually import eventually
from tests.support.witness import Witness

CHALLENGED = "4000002500003155"
THEN_DECLINED = "4000008260003178"
HANDED_IN = {
    "version": "2.2.0",
    "trans_status": "Y",
    "eci": "05",
    "cavv": "3q2+78r+ur7erb7vyv66vv////8=",
    "ds_transaction_id": "f25084f0-5b16-4c0a-ae5d-b24808a95e4b",
}
PAID = [("authorize", 1099), ("capture", 1099)]


@pytest.fixture(scope="module")
async def customer() -> AsyncIterator[httpx.AsyncClient]:
    """A browser without an API key."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
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
    passed = decision == "submit"
    assert failed["authentication"]["result"] == ("authenticated" if passed else "failed")
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


@pytest.mark.parametrize(
    ("number", "asked", "shown"),
    [
        ("4242424242424242", {"authentication": HANDED_IN}, ("authenticated", "05", "issuer", None, None)),
        (
            "4242424242424242",
            {"sca": {"exemption": "low_value"}},
            ("exempted", "07", "merchant", "low_value", "low_value"),
        ),
        # Issued in India, and in a country that is not known: none is sent.
        ("4000003560000008", {"sca": {"exemption": "low_value"}}, ("unknown", None, None, "low_value", None)),
        ("4111111111111111", {"sca": {"exemption": "low_value"}}, ("unknown", None, None, "low_value", None)),
    ],
)
async def test_what_is_said_of_authentication_goes_to_the_acquirer_and_is_shown(
    shop: Merchant, witness: Witness, number: str, asked: Body, shown: tuple[str | None, ...]
) -> None:
    payment = await shop.paid(payment_method=card(number), **asked)
    found = payment["authentication"]
    exemption = found["exemption"]
    assert (
        found["result"],
        found["eci"],
        found["liability"],
        exemption["requested"],
        exemption["honoured"],
    ) == shown
    assert (await shop.get(f"/v1/payments/{payment['id']}")).json()["authentication"] == found
    sent = (await witness.requests(payment_reference=payment["id"]))[0]["sca"]
    assert sent is None or sent["exemption"] == exemption["honoured"]


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

    return await eventually(is_so, SETTLED_WITHIN_S)
