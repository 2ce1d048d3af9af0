"""What is only authorized, and what is refused for ever, through the whole product; judged by the ledger."""

import httpx
import pytest
from temporalio.client import Client

from devstack.stack import DevStack
from tests.e2e.merchant import Body, Merchant, answered, fresh_key, pointers, refused
from tests.e2e.test_customers_act import ask, becomes, customer, decide
from tests.support.eventually import eventually
from tests.support.witness import Witness

__all__ = ["customer"]  # a fixture

PAID = [("authorize", 1099), ("capture", 1099)]
UNKNOWN_WITHIN_S = 90.0


def faulty(*faults: str) -> Body:
    return {"sandbox_fault": ",".join(faults)}


async def test_an_automatic_payment_found_authorized_is_answered_once_it_is_captured(
    shop: Merchant, witness: Witness
) -> None:
    key = fresh_key()
    first = await shop.pay(key=key, metadata=faulty("authorized_only"))
    payment = answered(first, 201)
    assert (payment["status"], payment["amount_captured"], payment["sequence"]) == ("captured", 1099, 2)
    assert await witness.movements(payment["id"]) == PAID
    assert await shop.timeline(payment) == ["payment.authorized", "payment.captured"]
    again = await shop.pay(key=key, metadata=faulty("authorized_only"))
    assert (again.status_code, again.content) == (201, first.content)
    refund = await shop.refunded(payment, amount=99)
    assert refund["status"] == "succeeded"


@pytest.mark.parametrize("lost", ["capture:timeout_after_charge", "capture:error_after_charge"])
async def test_while_the_outcome_of_our_capture_is_unknown_the_create_is_pending(
    shop: Merchant, witness: Witness, lost: str
) -> None:
    key, metadata = fresh_key(), faulty("authorized_only", lost, "inquire:error_after_charge")
    pending = answered(await shop.pay(key=key, metadata=metadata), 202)
    assert (pending["status"], pending["amount_captured"]) == ("authorized", 0)
    assert pending["pending_operation"] == {"type": "capture", "amount": 1099}
    refused(await shop.capture(pending), 409, "operation_in_progress")
    refused(await shop.void(pending), 409, "operation_in_progress")

    async def known() -> Body:
        return answered(await shop.pay(key=key, metadata=metadata), 201)

    payment = await eventually(known, UNKNOWN_WITHIN_S)
    assert payment["status"] == "captured"
    assert await witness.movements(payment["id"]) == PAID


async def test_a_capture_of_ours_that_is_refused_is_the_creates_failure_and_all_is_released(
    shop: Merchant, witness: Witness
) -> None:
    key, metadata = fresh_key(), faulty("authorized_only", "capture:refuse:/amount")
    first = await shop.pay(key=key, metadata=metadata)
    problem = refused(first, 402, "payment_failed")
    assert (problem["retryable"], problem["advice"], pointers(problem)) == (False, "fix_data", {"/amount"})
    payment = await becomes(shop, problem["payment"], "voided")
    assert payment["last_error"]["code"] == "acquirer_refused"
    assert (payment["amount_captured"], payment["pending_operation"]) == (0, None)
    assert await witness.movements(payment["id"]) == [("authorize", 1099), ("void", 1099)]
    assert await shop.timeline(payment) == ["payment.authorized", "payment.capture_failed", "payment.voided"]
    again = await shop.pay(key=key, metadata=metadata)
    assert (again.status_code, again.content) == (402, first.content)


async def test_what_the_rail_captures_itself_is_pending_until_then(
    shop: Merchant, customer: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await ask(shop, metadata=faulty("authorized_only"))
    await decide(customer, payment, "approve")
    await becomes(shop, payment, "processing")
    assert await witness.movements(payment["id"]) == [("authorize", 1099)]
    captured = await becomes(shop, payment, "captured")
    assert captured["amount_captured"] == 1099
    assert await witness.movements(payment["id"]) == PAID


async def test_data_that_is_refused_for_ever_is_answered_once_and_never_sent_again(
    shop: Merchant, witness: Witness
) -> None:
    key, metadata = fresh_key(), faulty("refuse:/payment_method/card/number")
    first = await shop.pay(key=key, metadata=metadata)
    problem = refused(first, 402, "payment_failed")
    assert pointers(problem) == {"/payment_method/card/number"}
    assert (problem["retryable"], problem["advice"], problem["decline_code"]) == (False, "fix_data", None)
    payment = problem["payment"]
    assert (payment["status"], payment["last_error"]["code"]) == ("failed", "acquirer_refused")
    assert payment["last_error"]["advice"] == "fix_data"
    again = await shop.pay(key=key, metadata=metadata)
    assert (again.status_code, again.content) == (402, first.content)
    assert await witness.movements(payment["id"]) == []
    assert len(await witness.requests(payment_reference=payment["id"])) == 1
    assert await shop.timeline(payment) == ["payment.failed"]


@pytest.mark.parametrize("kind", ["capture", "void"])
async def test_a_capture_or_void_that_is_refused_leaves_the_payment_as_it_was(
    shop: Merchant, witness: Witness, kind: str
) -> None:
    payment = await shop.authorized(metadata=faulty(f"{kind}:refuse:/amount"))
    response = await (shop.capture(payment) if kind == "capture" else shop.void(payment))
    problem = refused(response, 402, "payment_failed")
    assert pointers(problem) == {"/amount"}
    assert problem["payment"]["status"] == "authorized"
    assert problem["payment"]["last_error"]["code"] == "acquirer_refused"
    assert await witness.movements(payment["id"]) == [("authorize", 1099)]
    assert (await shop.captured(payment))["status"] == "captured"


async def test_a_refund_that_is_refused_has_failed_and_gives_its_amount_back(
    shop: Merchant, witness: Witness
) -> None:
    payment = await shop.paid()
    response = await shop.refund(payment, {"amount": 99, "metadata": faulty("refuse:/amount")})
    refund = answered(response, 201)
    assert (refund["status"], refund["last_error"]["code"]) == ("failed", "acquirer_refused")
    assert (await shop.payment(payment))["amount_refundable"] == 1099
    assert await witness.movements(payment["id"]) == PAID


async def test_a_capture_of_our_own_survives_its_workflow(
    shop: Merchant, witness: Witness, stack: DevStack
) -> None:
    """Terminated while the capture's outcome is unknown: resumed from Postgres, captured once."""
    key, metadata = fresh_key(), faulty("authorized_only", "capture:timeout_before_charge")
    pending = answered(await shop.pay(key=key, metadata=metadata), 202)
    temporal = await Client.connect(stack.temporal_address)
    await temporal.get_workflow_handle(pending["id"]).terminate("to see what becomes of it")
    settled = await eventually(lambda: _settled(shop, pending), 90.0)
    assert settled["status"] == "voided"  # NOT_FOUND after finality: not captured, and so released
    assert await witness.movements(pending["id"]) == [("authorize", 1099), ("void", 1099)]
    refused(await shop.pay(key=key, metadata=metadata), 402, "payment_failed")


async def _settled(shop: Merchant, payment: Body) -> Body:
    now = await shop.payment(payment)
    assert now["pending_operation"] is None, now
    return now
