"""A cardholder's bank asks money back, through the whole product; judged by the acquirer's ledger."""

from typing import Any

import pytest

from tests.e2e.merchant import Body, Merchant, answered, fresh_key, refused
from tests.support.eventually import eventually
from tests.support.witness import Witness

WITHIN_S = 60.0


class Bank:
    """Plays the cardholder's bank on the acquirer's page."""

    def __init__(self, witness: Witness) -> None:
        self._client = witness.client

    async def disputes(self, payment: Body, **fields: Any) -> Body:
        told = {"payment_reference": payment["id"], "reason": "fraudulent", **fields}
        return await self._asked("/disputes", told)

    async def decides(self, dispute: Body, decision: str, **fields: Any) -> Body:
        return await self._asked(f"/disputes/{dispute['id']}", {"decision": decision, **fields})

    async def warns(self, payment: Body) -> Body:
        return await self._asked("/fraud_warnings", {"payment_reference": payment["id"]})

    async def _asked(self, path: str, fields: Body) -> Body:
        response = await self._client.post(path, data=fields, headers={"Accept": "application/json"})
        found: Body = response.raise_for_status().json()
        return found


@pytest.fixture
def bank(witness: Witness) -> Bank:
    return Bank(witness)


async def becomes(shop: Merchant, payment: Body, **members: Any) -> Body:
    """The payment, once it shows these members."""

    async def shows() -> Body:
        now = await shop.payment(payment)
        assert {name: now[name] for name in members} == members
        return now

    return await eventually(shows, WITHIN_S)


async def dispute_of(shop: Merchant, payment: Body, **members: Any) -> Body:
    """The payment's only dispute, once it shows these members."""

    async def shows() -> Body:
        listed = answered(await shop.get("/v1/disputes", limit=100), 200)["data"]
        mine = [each for each in listed if each["payment"] == payment["id"]]
        assert [{name: each[name] for name in members} for each in mine] == [members]
        found = mine[0]
        assert answered(await shop.get(f"/v1/disputes/{found['id']}"), 200) == found
        return dict(found)

    return await eventually(shows, WITHIN_S)


async def test_what_a_bank_withdraws_is_not_refunded_and_what_it_gives_back_may_be(
    shop: Merchant, other_shop: Merchant, bank: Bank, witness: Witness
) -> None:
    payment = await shop.paid()
    at_acquirer = await bank.disputes(payment)
    now = await becomes(shop, payment, amount_disputed=1099, amount_refundable=0, status="captured")
    dispute = await dispute_of(shop, payment, status="needs_response", stage="chargeback")
    assert (dispute["amount"], dispute["amount_withdrawn"], dispute["refunded_before"]) == (1099, 1099, 0)
    assert dispute["evidence_due_by"] is not None
    refused(await shop.refund(now, {"amount": 1}), 409, "payment_not_refundable")
    refused(await other_shop.get(f"/v1/disputes/{dispute['id']}"), 404, "not_found")
    others = answered(await other_shop.get("/v1/disputes", limit=100), 200)["data"]
    assert payment["id"] not in [each["payment"] for each in others]
    won = answered(await shop.get("/v1/disputes", status="won", limit=100), 200)["data"]
    assert payment["id"] not in [each["payment"] for each in won]

    await bank.decides(at_acquirer, "won")
    await becomes(shop, payment, amount_disputed=0, amount_refundable=1099)
    await dispute_of(shop, payment, status="won", amount_withdrawn=0)
    await shop.refunded(now, amount=1099)
    assert await witness.movements(payment["id"]) == [
        ("authorize", 1099),
        ("capture", 1099),
        ("dispute", 1099),
        ("dispute_reversal", 1099),
        ("refund", 1099),
    ]
    told = [kind for kind in await shop.timeline(payment) if kind.startswith("dispute.")]
    assert told == [
        "dispute.opened",
        "dispute.funds_withdrawn",
        "dispute.funds_reinstated",
        "dispute.won",
    ]


async def test_a_refund_that_was_out_before_is_shown_and_what_is_left_is_held(
    shop: Merchant, bank: Bank
) -> None:
    payment = await shop.paid()
    await shop.refunded(payment, amount=400)
    at_acquirer = await bank.disputes(payment)
    now = await becomes(shop, payment, amount_disputed=1099, amount_refundable=0)
    dispute = await dispute_of(shop, payment, refunded_before=400)
    refused(await shop.refund(now, {"amount": 1}), 409, "payment_not_refundable")
    await bank.decides(at_acquirer, "lost")
    await dispute_of(shop, payment, status="lost", amount_withdrawn=1099)
    assert dispute["id"].startswith("dp_")
    await becomes(shop, payment, amount_disputed=1099, amount_refundable=0)


async def test_an_inquiry_may_be_ended_by_a_refund_or_become_a_chargeback(shop: Merchant, bank: Bank) -> None:
    payment = await shop.paid()
    inquiry = await bank.disputes(payment, stage="inquiry")
    await dispute_of(shop, payment, stage="inquiry", amount_withdrawn=0)
    await becomes(shop, payment, amount_disputed=0, amount_refundable=1099)
    await bank.decides(inquiry, "closed")
    await dispute_of(shop, payment, status="closed")

    other = await shop.paid()
    inquiry = await bank.disputes(other, stage="inquiry")
    await dispute_of(shop, other, stage="inquiry")
    await bank.decides(inquiry, "chargeback")
    await dispute_of(shop, other, stage="chargeback", amount_withdrawn=1099)


async def test_a_part_of_a_manual_capture_in_another_currency(shop: Merchant, bank: Bank) -> None:
    payment = await shop.authorized()
    await shop.captured(payment)
    at_acquirer = await bank.disputes(payment, amount=12, currency="EUR", withdrawn=600)
    await becomes(shop, payment, amount_disputed=600, amount_refundable=499)
    dispute = await dispute_of(shop, payment, amount=12, currency="EUR")
    assert dispute["amount_withdrawn"] == 600
    await bank.decides(at_acquirer, "partial", amount=100)
    await becomes(shop, payment, amount_disputed=500, amount_refundable=599)
    await dispute_of(shop, payment, status="lost")


async def test_the_trigger_disputes_a_payment_by_itself(shop: Merchant) -> None:
    payment = await shop.paid(metadata={"sandbox_fault": "dispute:product_not_received:300"})
    await becomes(shop, payment, amount_disputed=300, amount_refundable=799)
    dispute = await dispute_of(shop, payment, reason="product_not_received")
    assert (dispute["amount"], dispute["currency"]) == (300, "INR")
    refused(
        await shop.pay(key=fresh_key(), metadata={"sandbox_fault": "dispute:Bad"}), 400, "invalid_request"
    )


async def test_a_won_dispute_that_comes_back(shop: Merchant, bank: Bank) -> None:
    payment = await shop.paid()
    at_acquirer = await bank.disputes(payment)
    await dispute_of(shop, payment, status="needs_response")
    await bank.decides(at_acquirer, "won")
    await dispute_of(shop, payment, status="won")
    await bank.decides(at_acquirer, "pre_arbitration")
    await dispute_of(shop, payment, stage="pre_arbitration", amount_withdrawn=1099)
    await bank.decides(at_acquirer, "auto_accepted")
    await dispute_of(shop, payment, status="accepted", amount_withdrawn=1099)
    await becomes(shop, payment, amount_disputed=1099, amount_refundable=0)
