"""Disputes at the acquirers that the sandbox plays, each told in its own words; judged by the acquirer's ledger."""

import pytest

from payonce.connectors.adyen import references
from tests.e2e import test_adyen_paid, test_razorpay
from tests.e2e.merchant import Body, Merchant, answered, fresh_key, refused
from tests.e2e.test_banks_dispute import Bank, becomes, dispute_of
from tests.support.asking import outcome
from tests.support.eventually import eventually
from tests.support.witness import Witness

ACCOUNTS = ("stripe", "razorpay", "adyen")
PAYERS = {"razorpay": test_razorpay.WHO, "adyen": test_adyen_paid.WHO}
BY_QR = {"type": "upi", "upi": {"flow": "qr"}}  # in test mode Razorpay answers by itself
PAID = [("authorize", 1099), ("capture", 1099)]
WITHIN_S = 60.0


@pytest.fixture(params=ACCOUNTS)
def account(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def bank(witness: Witness, account: str) -> Bank:
    found = BankOf(witness)
    found.plain = account == "adyen"
    return found


async def paid(shop: Merchant, account: str) -> Body:
    """A payment that the account has captured."""
    asked = {**PAYERS.get(account, {}), "metadata": {"sandbox_account": account}}
    if account == "razorpay":
        asked["payment_method"] = BY_QR
    answer = await shop.pay(**asked)
    assert answer.status_code in (201, 202), answer.text
    return await becomes(shop, answer.json(), status="captured", connector=account)


async def refunded(shop: Merchant, payment: Body, amount: int) -> None:
    """So much of it was given back, at once or when the acquirer tells it."""
    answer = await shop.refund(payment, {"amount": amount})
    assert answer.status_code in (201, 202), answer.text
    await becomes(shop, payment, amount_refunded=amount)


async def moved(witness: Witness, payment: Body) -> list[tuple[str, int]]:
    """Adyen's ledger has the payment by the name that it was told."""
    adyen = payment["connector"] == "adyen"
    return await witness.movements(references.plain(payment["id"]) if adyen else payment["id"])


class BankOf(Bank):
    """Knows the payment by the name that its acquirer was told."""

    async def _asked(self, path: str, fields: Body) -> Body:
        if self.plain and "payment_reference" in fields:
            fields = {**fields, "payment_reference": references.plain(fields["payment_reference"])}
        return await super()._asked(path, fields)

    plain = False


async def test_a_dispute_before_a_refund_leaves_nothing_to_refund_until_it_is_won(
    shop: Merchant, bank: Bank, witness: Witness, account: str
) -> None:
    payment = await paid(shop, account)
    at_acquirer = await bank.disputes(payment)
    await becomes(shop, payment, amount_disputed=1099, amount_refundable=0)
    opened = await dispute_of(shop, payment, status="needs_response", stage="chargeback")
    assert (opened["amount_withdrawn"], opened["refunded_before"]) == (1099, 0)
    assert opened["evidence_due_by"] is not None
    refused(await shop.refund(payment, {"amount": 100}), 409, "payment_not_refundable")
    assert await moved(witness, payment) == [*PAID, ("dispute", 1099)]

    await bank.decides(at_acquirer, "won")
    await becomes(shop, payment, amount_disputed=0, amount_refundable=1099)
    await dispute_of(shop, payment, status="won", amount_withdrawn=0)
    await refunded(shop, payment, 1099)
    given_back = [*PAID, ("dispute", 1099), ("dispute_reversal", 1099), ("refund", 1099)]
    assert await moved(witness, payment) == given_back


async def test_a_refund_before_a_dispute_is_shown_and_no_other_follows(
    shop: Merchant, bank: Bank, witness: Witness, account: str
) -> None:
    payment = await paid(shop, account)
    await refunded(shop, payment, 400)
    at_acquirer = await bank.disputes(payment)
    await becomes(shop, payment, amount_disputed=1099, amount_refundable=0)
    await dispute_of(shop, payment, refunded_before=400)
    refused(await shop.refund(payment, {"amount": 100}), 409, "payment_not_refundable")
    await bank.decides(at_acquirer, "lost")
    await dispute_of(shop, payment, status="lost", amount_withdrawn=1099)
    await becomes(shop, payment, amount_disputed=1099, amount_refundable=0)
    assert await moved(witness, payment) == [*PAID, ("refund", 400), ("dispute", 1099)]


async def test_a_dispute_is_accepted_where_the_acquirer_takes_that_and_nothing_moves(
    shop: Merchant, bank: Bank, witness: Witness, account: str
) -> None:
    payment = await paid(shop, account)
    await bank.disputes(payment)
    opened = await dispute_of(shop, payment, status="needs_response", stage="chargeback")
    path, key = f"/v1/disputes/{opened['id']}/accept", fresh_key()
    answer = await outcome(lambda: shop.post(path, key=key))
    if account == "adyen":
        refused(answer, 422, "operation_not_supported")
        await dispute_of(shop, payment, status="needs_response")
    else:
        assert answered(answer, 200)["status"] == "accepted"
        await dispute_of(shop, payment, status="accepted", amount_withdrawn=1099)
        refused(await shop.post(path), 409, "dispute_not_open")
        told = await shop.timeline(payment)
        assert (told.count("dispute.updated"), told.count("dispute.lost")) == (1, 0)
    await becomes(shop, payment, amount_disputed=1099, amount_refundable=0)
    assert await moved(witness, payment) == [*PAID, ("dispute", 1099)]


async def test_an_inquiry_may_be_refunded_away(
    shop: Merchant, bank: Bank, witness: Witness, account: str
) -> None:
    payment = await paid(shop, account)
    await bank.disputes(payment, stage="inquiry")
    await dispute_of(shop, payment, stage="inquiry", amount_withdrawn=0)
    await becomes(shop, payment, amount_disputed=0, amount_refundable=1099)
    await refunded(shop, payment, 1099)
    assert await moved(witness, payment) == [*PAID, ("refund", 1099)]


@pytest.mark.parametrize("account", ["stripe", "adyen"], indirect=True)
async def test_a_fraud_warning_is_told_once_and_moves_nothing(
    shop: Merchant, bank: Bank, witness: Witness, account: str
) -> None:
    payment = await paid(shop, account)
    for _ in range(2):
        await bank.warns(payment)

    async def warned() -> bool:
        assert (await shop.timeline(payment)).count("dispute.fraud_warning") == 1
        return True

    await eventually(warned, WITHIN_S)
    await becomes(shop, payment, amount_disputed=0, amount_refundable=1099)
    await refunded(shop, payment, 1099)
    await warned()
    assert await moved(witness, payment) == [*PAID, ("refund", 1099)]
