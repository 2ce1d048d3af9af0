"""Cards that the acquirer keeps, through the whole product: saved with a payment, and paid with by its token."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from devstack.seed import payonce
from devstack.stack import DevStack
from tests.e2e.merchant import Body, Merchant, card, merchant_with, refused
from tests.support.eventually import eventually
from tests.support.witness import Witness

CHALLENGED = "4000002500003155"
PAID = [("authorize", 1099), ("capture", 1099)]


@pytest.fixture(scope="module")
async def saver(stack: DevStack) -> AsyncIterator[Merchant]:
    """A merchant whose cards are kept by the acquirer."""
    log, environ = stack.log_dir / "saved.log", stack.product_environ()

    async def said(*arguments: str) -> Body:
        printed: Body = json.loads(await payonce(*arguments, "--json", environ=environ, log=log))
        return printed

    merchant_id = (await said("merchants", "create", "--name", "Saving Shop"))["id"]
    await payonce("merchants", "set", merchant_id, "--card-storage", "acquirer", environ=environ, log=log)
    key = (await said("keys", "create", "--merchant", merchant_id, "--mode", "test"))["key"]
    async with merchant_with(stack.api_url, key) as merchant:
        yield merchant


def by(payment: Body) -> Body:
    """A payment method: the card that was saved with the payment."""
    return {"type": "card", "token": payment["payment_method"]["card"]["token"]}


@pytest.mark.parametrize("account", ["sandbox_card", "stripe"])
@pytest.mark.parametrize(
    "attended", [{}, {"off_session": True, "reason": "recurring"}], ids=["on_session", "off_session"]
)
async def test_a_card_is_saved_and_paid_with_once_at_its_account(
    saver: Merchant, witness: Witness, attended: Body, account: str
) -> None:
    at = {"metadata": {"sandbox_account": account}, "return_url": "https://shop.example/back"}
    first = await saver.paid(setup="off_session", **at)
    assert first["payment_method"]["card"]["token"].startswith("pm_")
    second = await saver.paid(payment_method=by(first), **attended)
    assert second["status"] == "captured"
    assert second["payment_method"]["card"]["last4"] == "4242"
    for payment in (first, second):
        assert await witness.movements(payment["id"]) == PAID


async def test_a_card_whose_holder_is_asked_is_saved_once_they_pass(
    saver: Merchant, witness: Witness
) -> None:
    first = await saver.paid(payment_method=card(CHALLENGED), setup="off_session")
    assert first["status"] == "requires_action"
    assert "token" not in first["payment_method"]["card"]
    await passed(first)
    second = await saver.paid(payment_method=by(await becomes_captured(saver, first)))
    assert second["status"] == "requires_action"
    await passed(second)
    await becomes_captured(saver, second)
    assert await witness.movements(second["id"]) == PAID
    unattended = {"off_session": True, "reason": "unscheduled"}
    declined = await saver.pay(payment_method=by(await saver.payment(first)), **unattended)
    assert refused(declined, 402, "payment_declined")["decline_code"] == "authentication_required"


async def test_what_was_saved_though_its_answer_was_lost_is_paid_with(
    saver: Merchant, witness: Witness
) -> None:
    lost = {"sandbox_fault": "timeout_after_charge"}
    response = await saver.pay(setup="on_session", metadata=lost)
    assert response.status_code in (201, 202)
    first = await saver.settled(response.json())
    assert first["status"] == "captured"
    second = await saver.paid(payment_method=by(first))
    assert [await witness.movements(one["id"]) for one in (first, second)] == [PAID, PAID]


async def passed(payment: Body) -> None:
    """Its cardholder typed the right code."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as customer:
        response = await customer.post(
            payment["next_action"]["sandbox_url"],
            data={"decision": "submit", "code": "123456"},
            headers={"Accept": "application/json"},
        )
        assert response.status_code == 200


async def becomes_captured(saver: Merchant, payment: Body) -> Body:
    async def captured() -> Body:
        now = await saver.payment(payment)
        assert now["status"] == "captured"
        return now

    return await eventually(captured)
