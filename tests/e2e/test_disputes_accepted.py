"""Merchants accept disputes, through the whole product; judged by the acquirer's ledger and what it was asked."""

import asyncio

import pytest

from tests.e2e.merchant import Body, Merchant, answered, fresh_key, refused
from tests.e2e.test_banks_dispute import Bank, becomes, dispute_of
from tests.support.asking import outcome
from tests.support.eventually import eventually
from tests.support.witness import Witness

DISPUTED = [("authorize", 1099), ("capture", 1099), ("dispute", 1099)]


@pytest.fixture
def bank(witness: Witness) -> Bank:
    return Bank(witness)


async def disputed(shop: Merchant, bank: Bank, *, fault: str | None = None, **fields: object) -> Body:
    """A dispute that waits for its merchant, with `at_acquirer`: as the bank opened it."""
    payment = await shop.paid(metadata={} if fault is None else {"sandbox_fault": fault})
    at_acquirer = await bank.disputes(payment, **fields)
    dispute = await dispute_of(shop, payment, status="needs_response")
    return {**dispute, "at_acquirer": at_acquirer}


def path_of(dispute: Body) -> str:
    return f"/v1/disputes/{dispute['id']}/accept"


async def times_asked(witness: Witness, dispute: Body) -> int:
    """How often the acquirer was told that the merchant gives in."""
    received = await witness.requests(payment_reference=dispute["payment"])
    return len([one for one in received if one["operation"] == "accept"])


async def test_an_accepted_dispute_keeps_what_was_withdrawn_and_moves_nothing(
    shop: Merchant, other_shop: Merchant, bank: Bank, witness: Witness
) -> None:
    dispute = await disputed(shop, bank)
    payment = {"id": dispute["payment"]}
    refused(await other_shop.post(path_of(dispute)), 404, "not_found")
    refused(await shop.post("/v1/disputes/dp_nobody/accept"), 404, "not_found")
    key = fresh_key()
    first = await outcome(lambda: shop.post(path_of(dispute), key=key))
    accepted = answered(first, 200)
    assert (accepted["id"], accepted["status"], accepted["amount_withdrawn"]) == (
        dispute["id"],
        "accepted",
        1099,
    )
    again = await shop.post(path_of(dispute), key=key)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    refused(await shop.post("/v1/disputes/dp_another/accept", key=key), 422, "idempotency_key_reused")
    refused(await shop.post(path_of(dispute)), 409, "dispute_not_open")
    await becomes(shop, payment, amount_disputed=1099, amount_refundable=0, status="captured")
    refused(await shop.refund(payment, {"amount": 1}), 409, "payment_not_refundable")
    assert await dispute_of(shop, payment, status="accepted") == accepted
    assert await witness.movements(payment["id"]) == DISPUTED
    assert await times_asked(witness, dispute) == 1
    told = [kind for kind in await shop.timeline(payment) if kind.startswith("dispute.")]
    assert told == ["dispute.opened", "dispute.funds_withdrawn", "dispute.updated"]
    made = answered(await shop.get(f"/v1/payments/{payment['id']}/attempts"), 200)["data"]
    assert (made[0]["operation"], made[0]["state"]) == ("accept", "approved")


async def test_of_two_keys_at_once_one_accepts_and_the_acquirer_is_told_once(
    shop: Merchant, bank: Bank, witness: Witness
) -> None:
    dispute = await disputed(shop, bank, fault="accept:slow:1500")
    answers = await asyncio.gather(*(shop.post(path_of(dispute)) for _ in range(4)))
    by_status = sorted(answer.status_code for answer in answers)
    assert by_status == [200, 409, 409, 409]
    for answer in answers:
        if answer.status_code == 409:
            refused(answer, 409, "dispute_not_open")
    assert await times_asked(witness, dispute) == 1


@pytest.mark.parametrize(
    "fault", ["timeout_after_charge", "reset_after_charge", "error_after_charge", "garbage", "other_answer"]
)
async def test_a_lost_answer_is_found_by_reading_the_dispute(
    shop: Merchant, bank: Bank, witness: Witness, fault: str
) -> None:
    dispute = await disputed(shop, bank, fault=f"accept:{fault}")
    key = fresh_key()
    found = await outcome(lambda: shop.post(path_of(dispute), key=key))
    assert answered(found, 200)["status"] == "accepted"
    assert await times_asked(witness, dispute) == 1
    assert await witness.movements(dispute["payment"]) == DISPUTED


async def test_an_acceptance_that_did_not_arrive_is_sent_again_once_that_is_certain(
    shop: Merchant, bank: Bank, witness: Witness
) -> None:
    dispute = await disputed(shop, bank, fault="accept:error_before_charge")
    key = fresh_key()
    first = await shop.post(path_of(dispute), key=key)
    shown = answered(first, 202)
    assert (shown["id"], shown["status"]) == (dispute["id"], "needs_response")
    assert first.headers["Location"] == f"/v1/disputes/{dispute['id']}"
    refused(await shop.post(path_of(dispute)), 409, "dispute_not_open")

    accepted = await outcome(lambda: shop.post(path_of(dispute), key=key))
    assert answered(accepted, 200)["status"] == "accepted"
    assert await times_asked(witness, dispute) == 2
    assert await witness.movements(dispute["payment"]) == DISPUTED


@pytest.mark.parametrize("decision", ["won", "responded"])
async def test_what_the_bank_decides_in_between_is_what_the_merchant_is_answered(
    shop: Merchant, bank: Bank, witness: Witness, decision: str
) -> None:
    """The acquirer waits for five seconds before it looks, and the bank comes first."""
    dispute = await disputed(shop, bank, fault="accept:slow:5000")
    payment = {"id": dispute["payment"]}
    key = fresh_key()
    asked = asyncio.create_task(shop.post(path_of(dispute), key=key))

    async def sent() -> bool:
        return await times_asked(witness, dispute) == 1

    await eventually(sent)
    await bank.decides(dispute["at_acquirer"], decision)
    refused(await asked, 409, "dispute_not_open")
    again = await shop.post(path_of(dispute), key=key)
    assert again.headers["Idempotent-Replayed"] == "true"
    refused(again, 409, "dispute_not_open")
    status = "won" if decision == "won" else "under_review"
    await dispute_of(shop, payment, status=status)
    back = [("dispute_reversal", 1099)] if decision == "won" else []
    assert await witness.movements(payment["id"]) == DISPUTED + back


async def test_an_inquiry_cannot_be_accepted_and_its_key_serves_once_it_is_a_chargeback(
    shop: Merchant, bank: Bank
) -> None:
    dispute = await disputed(shop, bank, stage="inquiry")
    key = fresh_key()
    refused(await shop.post(path_of(dispute), key=key), 422, "operation_not_supported")
    await bank.decides(dispute["at_acquirer"], "chargeback")
    await dispute_of(shop, {"id": dispute["payment"]}, stage="chargeback")
    accepted = await outcome(lambda: shop.post(path_of(dispute), key=key))
    assert answered(accepted, 200)["status"] == "accepted"


async def test_a_refund_beside_the_acceptance_of_a_part(shop: Merchant, bank: Bank, witness: Witness) -> None:
    dispute = await disputed(shop, bank, amount=300)
    payment = {"id": dispute["payment"]}
    accepted, refund = await asyncio.gather(
        outcome(lambda: shop.post(path_of(dispute))), shop.refunded(payment, amount=799)
    )
    assert answered(accepted, 200)["status"] == "accepted"
    assert refund["status"] == "succeeded"
    await becomes(shop, payment, amount_disputed=300, amount_refunded=799, amount_refundable=0)
    moved = sorted(await witness.movements(payment["id"]))
    assert moved == [("authorize", 1099), ("capture", 1099), ("dispute", 300), ("refund", 799)]


async def test_an_acceptance_needs_a_key_and_takes_no_members(shop: Merchant, bank: Bank) -> None:
    dispute = await disputed(shop, bank)
    keyless = await shop.client.post(path_of(dispute), json={})
    refused(keyless, 400, "idempotency_key_missing")
    refused(await shop.post(path_of(dispute), {"amount": 1}), 400, "invalid_request")
