"""Creating payments with cards: what is answered, recorded, told and charged."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.merchant import EVERY_MEMBER, Merchant, answered, card, order, refused
from tests.support.witness import Witness

MEMBERS = {
    *("id", "object", "status", "amount", "currency", "capture_method", "amount_authorized"),
    *("amount_capturable", "amount_captured", "amount_refundable", "amount_refunded", "amount_disputed"),
    *("payment_method", "risk"),
    *("merchant_reference", "description", "metadata", "return_url", "customer", "connector"),
    "statement_descriptor",
    "authentication",
    *("connector_reference", "capture_before", "next_action", "pending_operation", "review"),
    *("last_error", "created_at", "updated_at", "sequence"),
}
DECLINES = [
    ("4000000000000002", "generic_decline", "retry_later", True),
    ("4000000000009995", "insufficient_funds", "retry_later", True),
    ("4000000000009987", "lost_card", "never_retry", False),
    ("4000000000000069", "expired_card", "fix_data", False),
    ("4000000000000127", "incorrect_cvc", "fix_data", False),
    ("4000000000000119", "processing_error", "retry_later", True),
]


async def test_an_automatic_payment_is_captured_with_one_request(shop: Merchant, witness: Witness) -> None:
    response = await shop.pay()
    payment = answered(response, 201)
    assert payment.keys() == MEMBERS
    assert (payment["status"], payment["sequence"]) == ("captured", 2)
    assert (payment["amount_authorized"], payment["amount_captured"]) == (1099, 1099)
    assert (payment["amount_capturable"], payment["amount_refundable"]) == (0, 1099)
    assert payment["connector_reference"]
    assert response.headers["Location"] == f"/v1/payments/{payment['id']}"
    assert response.headers["Request-Id"]
    assert await shop.timeline(payment) == ["payment.authorized", "payment.captured"]
    assert await witness.movements(payment["id"]) == [("authorize", 1099), ("capture", 1099)]
    assert len(await witness.requests(payment_reference=payment["id"])) == 1


async def test_a_manual_payment_is_authorized_and_can_be_captured_for_a_while(
    shop: Merchant, witness: Witness
) -> None:
    payment = await shop.authorized()
    assert (payment["status"], payment["sequence"]) == ("authorized", 1)
    assert (payment["amount_capturable"], payment["amount_captured"]) == (1099, 0)
    assert datetime.fromisoformat(payment["capture_before"]) > datetime.now(UTC) + timedelta(hours=1)
    assert await witness.movements(payment["id"]) == [("authorize", 1099)]


async def test_a_payment_is_shown_as_it_was_answered(shop: Merchant) -> None:
    told = {
        "merchant_reference": "order-7",
        "description": "Zwei Bücher, 本",
        "metadata": {"basket": "b-1", "🧺": "yes"},
        "return_url": "https://shop.example/back?basket=1",
        "customer": {"id": "c-1", "email": "a@shop.example", "phone": "+49 30 1234"},
    }
    payment = await shop.paid(**told)
    assert {name: payment[name] for name in told} == told
    assert await shop.payment(payment) == payment


async def test_of_all_that_is_said_of_a_customer_only_some_is_shown(shop: Merchant) -> None:
    payment = await shop.paid(**EVERY_MEMBER)
    assert payment["customer"] == EVERY_MEMBER["customer"]
    assert payment["statement_descriptor"] == "SHOP.EXAMPLE"
    assert not {"billing", "shipping", "browser", "channel"} & payment.keys()
    assert await shop.payment(payment) == payment


async def test_no_answer_shows_more_of_a_card_than_its_last_four_digits(shop: Merchant) -> None:
    payment = await shop.paid(payment_method=card("5555555555554444"))
    shown = {"brand": "mastercard", "last4": "4444", "exp_month": 12, "exp_year": 2030}
    assert payment["payment_method"] == {"type": "card", "card": shown}


@pytest.mark.parametrize(("number", "decline_code", "advice", "retryable"), DECLINES)
async def test_a_decline_is_a_402_with_the_failed_payment_inside(
    shop: Merchant, witness: Witness, number: str, decline_code: str, advice: str, retryable: bool
) -> None:
    problem = refused(await shop.pay(payment_method=card(number)), 402, "payment_declined")
    assert (problem["decline_code"], problem["advice"]) == (decline_code, advice)
    assert problem["retryable"] is retryable
    payment = problem["payment"]
    assert payment["status"] == "failed"
    assert payment["last_error"]["code"] == "payment_declined"
    assert payment["last_error"]["decline_code"] == decline_code
    assert await shop.payment(payment) == payment
    assert await shop.timeline(payment) == ["payment.failed"]
    assert await witness.movements(payment["id"]) == []


@pytest.mark.parametrize(
    "number", ["378282246310005", "6011111111111117", "4222222222222", "6304000000000000"]
)
async def test_any_other_number_that_passes_luhn_is_approved_in_test_mode(
    shop: Merchant, number: str
) -> None:
    payment = await shop.paid(payment_method=card(number))
    assert payment["payment_method"]["card"]["last4"] == number[-4:]


async def test_a_card_is_good_until_its_month_is_over_and_without_a_security_code(shop: Merchant) -> None:
    today = datetime.now(UTC)
    this_month = card(exp_month=today.month, exp_year=today.year)
    del this_month["card"]["cvc"]
    assert (await shop.paid(payment_method=this_month))["status"] == "captured"


@pytest.mark.parametrize(("currency", "amount"), [("JPY", 1099), ("KWD", 1), ("USD", 2**53 - 1), ("INR", 1)])
async def test_amounts_are_minor_units_of_every_currency(
    shop: Merchant, witness: Witness, currency: str, amount: int
) -> None:
    payment = await shop.paid(amount=amount, currency=currency)
    assert (payment["amount_captured"], payment["currency"]) == (amount, currency)
    entries = await witness.ledger(payment_reference=payment["id"])
    assert [(entry["amount"], entry["currency"]) for entry in entries] == [(amount, currency)] * 2


async def test_null_is_the_same_as_absent(shop: Merchant) -> None:
    payment = await shop.paid(description=None, metadata=None, customer={"id": None}, return_url=None)
    assert (payment["description"], payment["metadata"], payment["return_url"]) == (None, {}, None)


async def test_an_unknown_outcome_is_processing_until_the_acquirer_tells_it(
    shop: Merchant, witness: Witness
) -> None:
    response = await shop.pay(metadata={"sandbox_fault": "error_after_charge"})
    payment = answered(response, 202)
    assert payment["status"] == "processing"
    assert response.headers["Location"] == f"/v1/payments/{payment['id']}"
    settled = await shop.settled(payment)
    assert settled["status"] == "captured"
    assert await shop.timeline(payment) == ["payment.processing", "payment.authorized", "payment.captured"]
    assert await witness.movements(payment["id"]) == [("authorize", 1099), ("capture", 1099)]


async def test_a_saved_card_that_does_not_exist_is_refused_with_its_pointer(shop: Merchant) -> None:
    body = order(payment_method={"type": "card", "token": "pm_nothing"})
    problem = refused(await shop.post("/v1/payments", body), 400, "invalid_request")
    assert [mistake["pointer"] for mistake in problem["errors"]] == ["/payment_method/token"]
