"""Customers who leave, through the whole product: voids, and times that end, at acquirers that cancel or do not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from devstack.acquirer.scripts import PAGES_CLOSE_AFTER
from tests.e2e.merchant import SETTLED_WITHIN_S, Body, Merchant, answered, refused
from tests.e2e.test_customers_act import PAID, WINDOW_S, ask, becomes, decide, wallet
from tests.support.eventually import eventually
from tests.support.witness import Witness

WALLET_WINDOW_S = 120.0  # the sandbox's
CLOSES_S = PAGES_CLOSE_AFTER.total_seconds()
REFUNDED = [*PAID, ("refund", 1099)]


NOBODY = {
    "qr": {"type": "upi", "upi": {"flow": "qr"}},
    "intent": {"type": "upi", "upi": {"flow": "intent"}},
    "collect": {"type": "upi", "upi": {"flow": "collect", "vpa": "pending@upi"}},
}


@pytest.fixture(scope="module")
async def customer() -> AsyncIterator[httpx.AsyncClient]:
    """A browser without an API key."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture(scope="module", autouse=True)
async def left_alone(shop: Merchant) -> Body:
    """A payment that nobody touches while the other tests run."""
    return await ask(shop, method=wallet("paytm"))


@pytest.fixture(scope="module", autouse=True)
async def not_looked_at(shop: Merchant, left_alone: Body) -> dict[str, Body]:
    """A code that nobody scans, a link that nobody follows, and a request that nobody answers."""
    return {flow: await ask(shop, method=method) for flow, method in NOBODY.items()}


@pytest.fixture
async def cannot_cancel(witness: Witness) -> AsyncIterator[None]:
    """The acquirer, until the test ends."""
    await witness.configure(challenge_ends="itself")
    yield
    await witness.configure(challenge_ends="cancelled")


async def given_up(shop: Merchant, payment: Body, *, key: str) -> Body:
    """The payment as its void was answered with 202."""
    now = answered(await shop.void(payment, key=key), 202)
    assert (now["next_action"], now["pending_operation"]) == (None, {"type": "void", "amount": 1099})
    assert now["status"] in ("requires_action", "processing")
    return now


async def answer_of_void(
    shop: Merchant, payment: Body, *, key: str, within_s: float = SETTLED_WITHIN_S
) -> httpx.Response:
    """The definite answer, once there is one."""

    async def definite() -> httpx.Response:
        answer = await shop.void(payment, key=key)
        assert answer.status_code != 202
        assert answer.status_code != 409 or answer.json()["code"] != "idempotency_key_in_use"  # our own first
        return answer

    return await eventually(definite, within_s)


@pytest.mark.parametrize("fault", ["timeout_before_charge", "error_after_charge", "garbage"])
async def test_a_cancellation_that_is_lost_is_made_again(
    shop: Merchant, customer: httpx.AsyncClient, witness: Witness, fault: str
) -> None:
    payment = await ask(shop, metadata={"sandbox_fault": f"cancel:{fault}"})
    key = f"void-{fault}"
    await shop.void(payment, key=key)
    answer = await answer_of_void(shop, payment, key=key)
    assert answered(answer, 200)["status"] == "voided"
    await decide(customer, payment, "approve")
    assert await witness.movements(payment["id"]) == []


async def test_a_customer_who_pays_while_the_cancellation_is_lost_gets_it_back(
    shop: Merchant, customer: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await ask(shop, metadata={"sandbox_fault": "cancel:timeout_before_charge"})
    voiding = asyncio.create_task(shop.void(payment, key="void-lost"))

    async def cancelling() -> bool:
        asked = await witness.requests(payment_reference=payment["id"])
        return "cancellation" in [entry["operation"] for entry in asked]

    await eventually(cancelling)
    (await decide(customer, payment, "approve")).raise_for_status()
    await voiding
    answer = await answer_of_void(shop, payment, key="void-lost")
    assert answered(answer, 200)["status"] == "refunded"
    assert await witness.movements(payment["id"]) == REFUNDED


async def test_a_refund_of_ours_that_is_lost_is_found_and_made_once(
    shop: Merchant, customer: httpx.AsyncClient, witness: Witness
) -> None:
    faults = "cancel:timeout_before_charge,refund:error_after_charge"
    payment = await ask(shop, metadata={"sandbox_fault": faults})
    voiding = asyncio.create_task(shop.void(payment, key="void-lost-refund"))

    async def pending() -> Any:
        now = await shop.payment(payment)
        assert now["pending_operation"] is not None
        return now

    await eventually(pending)
    (await decide(customer, payment, "approve")).raise_for_status()
    await voiding
    answer = await answer_of_void(shop, payment, key="void-lost-refund")
    assert answered(answer, 200)["status"] == "refunded"
    assert await witness.movements(payment["id"]) == REFUNDED


async def test_a_payment_whose_time_is_over_is_voided(
    shop: Merchant, customer: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await ask(shop)
    lapsed = await becomes(shop, payment, "processing", within_s=WINDOW_S + SETTLED_WITHIN_S)
    assert lapsed["next_action"] is None
    voided = await shop.voided(payment)
    assert voided["status"] == "voided"
    await decide(customer, payment, "approve")
    assert await shop.timeline(payment) == ["payment.requires_action", "payment.processing", "payment.voided"]
    assert await witness.movements(payment["id"]) == []
    refused(await shop.void(payment), 409, "payment_not_voidable")


async def test_what_is_left_alone_is_cancelled_and_cannot_be_paid_any_more(
    shop: Merchant, customer: httpx.AsyncClient, witness: Witness, left_alone: Body
) -> None:
    failed = await becomes(shop, left_alone, "failed", within_s=WALLET_WINDOW_S + SETTLED_WITHIN_S)
    assert failed["last_error"]["code"] == "abandoned"
    assert failed["next_action"] is None
    await decide(customer, left_alone, "approve")
    assert await shop.timeline(left_alone) == [
        "payment.requires_action",
        "payment.processing",
        "payment.failed",
    ]
    assert await witness.movements(left_alone["id"]) == []


@pytest.mark.parametrize("flow", NOBODY)
async def test_what_nobody_looks_at_fails_as_the_rail_says_and_calls_no_operator(
    shop: Merchant,
    customer: httpx.AsyncClient,
    witness: Witness,
    not_looked_at: dict[str, Body],
    flow: str,
) -> None:
    payment = not_looked_at[flow]
    failed = await becomes(shop, payment, "failed", within_s=WINDOW_S + CLOSES_S + SETTLED_WITHIN_S)
    assert failed["last_error"]["code"] == "payment_timed_out"
    assert (failed["next_action"], failed["review"]) == (None, None)
    assert (await decide(customer, payment, "approve")).status_code == 409
    assert await shop.timeline(payment) == [
        "payment.requires_action",
        "payment.processing",
        "payment.failed",
    ]
    assert await witness.movements(payment["id"]) == []


# What a rail that ends its challenges itself does: last, since it is set for whatever waits there.


@pytest.mark.usefixtures("cannot_cancel")
@pytest.mark.parametrize("rail", ["upi", "wallet"])
async def test_a_customer_who_pays_after_the_void_gets_it_back_and_the_void_ends(
    shop: Merchant, customer: httpx.AsyncClient, witness: Witness, rail: str
) -> None:
    payment = await ask(shop, method=None if rail == "upi" else wallet("phonepe"))
    key = f"void of {payment['id']}".replace(" ", "-")
    await given_up(shop, payment, key=key)
    (await decide(customer, payment, "approve")).raise_for_status()
    answer = await answer_of_void(shop, payment, key=key)
    released = answered(answer, 200)
    assert (released["status"], released["amount_refunded"]) == ("refunded", 1099)
    assert released["pending_operation"] is None
    again = await shop.void(payment, key=key)
    assert (again.status_code, again.content) == (200, answer.content)
    assert await witness.movements(payment["id"]) == REFUNDED
    events = await shop.timeline(payment)
    assert [one for one in events if one not in ("payment.processing", "refund.pending")] == [
        "payment.requires_action",
        "payment.authorized",
        "payment.captured",
        "refund.succeeded",
        "payment.refunded",
    ]
    refunds = answered(await shop.get(f"/v1/payments/{payment['id']}/refunds"), 200)["data"]
    assert [(one["status"], one["amount"], one["reason"]) for one in refunds] == [("succeeded", 1099, "void")]


@pytest.mark.usefixtures("cannot_cancel")
async def test_a_customer_who_declines_after_the_void_makes_it_voided(
    shop: Merchant, customer: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await ask(shop)
    await given_up(shop, payment, key="void-declined")
    refused(await shop.void(payment, key="void-twice"), 409, "operation_in_progress")
    (await decide(customer, payment, "decline")).raise_for_status()
    answer = await answer_of_void(shop, payment, key="void-declined")
    assert answered(answer, 200)["status"] == "voided"
    assert await shop.timeline(payment) == ["payment.requires_action", "payment.voided"]
    assert await witness.movements(payment["id"]) == []


@pytest.mark.usefixtures("cannot_cancel")
async def test_a_time_that_ends_by_itself_makes_it_voided(shop: Merchant, witness: Witness) -> None:
    payment = await ask(shop)
    await given_up(shop, payment, key="void-ends-itself")
    answer = await answer_of_void(shop, payment, key="void-ends-itself", within_s=WINDOW_S + SETTLED_WITHIN_S)
    assert answered(answer, 200)["status"] == "voided"
    assert await witness.movements(payment["id"]) == []
