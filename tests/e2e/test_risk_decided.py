"""What a risk provider says of a payment, through the whole product: held for a person, or blocked."""

import json
from collections.abc import AsyncIterator

import pytest

from devstack.seed import NAMES, payonce
from devstack.stack import DevStack
from tests.e2e.merchant import Body, Merchant, answered, refused
from tests.support.eventually import eventually
from tests.support.witness import Witness

REVIEW: Body = {"metadata": {"sandbox_risk": "review"}}
BLOCK: Body = {"metadata": {"sandbox_risk": "block"}}
UPI: Body = {"payment_method": {"type": "upi", "upi": {"flow": "collect", "vpa": "success@upi"}}}
IN_FORCE_WITHIN_S = 30.0  # `operations.md`: 5 s


async def command(stack: DevStack, *words: str) -> str:
    """What `payonce` prints."""
    return await payonce(*words, environ=stack.product_environ(), log=stack.log_dir / "risk.log")


async def decide(stack: DevStack, payment: Body, verdict: str) -> None:
    """A person decides the only operation of the payment that is in review."""
    (review,) = json.loads(await command(stack, "review", "show", payment["id"], "--json"))["reviews"]
    await command(stack, "review", "decide", review["operation_id"], verdict, "--why", "looked at it")


async def held(shop: Merchant, **changes: object) -> Body:
    """A payment that is authorized and in review."""
    payment = await shop.paid(**REVIEW, **changes)
    assert (payment["status"], payment["review"]["reason"]) == ("authorized", "risk"), payment
    assert payment["risk"]["verdict"] == "review"
    return payment


async def ends_as(shop: Merchant, payment: Body, status: str) -> Body:
    async def is_so() -> Body:
        now = await shop.payment(payment)
        assert (now["status"], now["review"]) == (status, None), now
        return now

    return await eventually(is_so)


async def test_what_is_approved_is_captured_once(shop: Merchant, stack: DevStack, witness: Witness) -> None:
    payment = await held(shop)
    refused(await shop.capture(payment), 409, "payment_in_review")
    assert await witness.movements(payment["id"]) == [("authorize", 1099)]
    await decide(stack, payment, "approved")
    await ends_as(shop, payment, "captured")
    assert await witness.movements(payment["id"]) == [("authorize", 1099), ("capture", 1099)]
    timeline = await shop.timeline(payment)
    assert timeline.count("payment.captured") == 1
    assert timeline[:2] == ["payment.authorized", "payment.needs_review"]


async def test_what_is_approved_and_to_be_captured_by_the_merchant_waits_for_it(
    shop: Merchant, stack: DevStack, witness: Witness
) -> None:
    payment = await held(shop, capture_method="manual")
    await decide(stack, payment, "approved")
    approved = await ends_as(shop, payment, "authorized")
    assert (await shop.captured(approved))["status"] == "captured"
    assert await witness.movements(payment["id"]) == [("authorize", 1099), ("capture", 1099)]


async def test_what_is_rejected_is_voided(shop: Merchant, stack: DevStack, witness: Witness) -> None:
    payment = await held(shop)
    await decide(stack, payment, "rejected")
    await ends_as(shop, payment, "voided")
    assert await witness.movements(payment["id"]) == [("authorize", 1099), ("void", 1099)]
    refused(await shop.capture(payment), 409, "payment_not_capturable")


async def test_the_merchant_may_void_what_is_held(shop: Merchant, witness: Witness) -> None:
    payment = await held(shop)
    assert (await shop.voided(payment))["status"] == "voided"
    await ends_as(shop, payment, "voided")
    assert await witness.movements(payment["id"]) == [("authorize", 1099), ("void", 1099)]


async def test_what_is_blocked_exists_as_failed_and_no_acquirer_heard_of_it(
    shop: Merchant, witness: Witness
) -> None:
    problem = refused(await shop.pay(**BLOCK), 402, "payment_blocked")
    payment = await shop.payment(problem["payment"])
    assert (payment["status"], payment["risk"]["verdict"]) == ("failed", "block")
    assert [event["type"] for event in await shop.events(payment)] == ["payment.failed"]
    asked = await witness.requests()
    assert not [one for one in asked if payment["id"] in json.dumps(one)]


@pytest.fixture
async def allows_upi(stack: DevStack, other_shop: Merchant) -> AsyncIterator[None]:
    """The second merchant lets pass what cannot be held; afterwards it is blocked, as before."""
    listed = await command(stack, "merchants", "list", "--json")
    ids = {merchant["name"]: merchant["id"] for merchant in map(json.loads, listed.splitlines())}
    await command(stack, "risk", "set", ids[NAMES[1]], "--without-hold", "allow")

    async def in_force() -> bool:
        return (await other_shop.pay(**REVIEW, **UPI)).status_code in (201, 202)

    await eventually(in_force, IN_FORCE_WITHIN_S)
    yield
    await command(stack, "risk", "set", ids[NAMES[1]], "--without-hold", "block")


async def test_upi_cannot_be_held_and_is_blocked(shop: Merchant) -> None:
    payment = refused(await shop.pay(**REVIEW, **UPI), 402, "payment_blocked")["payment"]
    assert payment["status"] == "failed"


async def test_or_it_is_allowed_where_the_merchant_chose_so(other_shop: Merchant, allows_upi: None) -> None:
    response = await other_shop.pay(**REVIEW, **UPI)
    payment = answered(response, response.status_code)
    assert response.status_code in (201, 202)
    settled = await other_shop.settled(payment)
    assert settled["status"] in ("requires_action", "captured")
