"""References stand where others may write: one that was copied says nothing of the payment that it names."""

from dataclasses import replace
from datetime import timedelta

import pytest

from payonce.accounts import Accounts
from payonce.domain.facts import FailureCode, NotProcessed
from payonce.domain.ids import attempt_reference
from payonce.domain.operations import OperationKind
from payonce.domain.payment import Payment
from payonce.domain.reconciling import ComparisonResult
from tests.storage.reconciling.shop import AMOUNT, Shop
from tests.storage.reconciling.sides import ACCOUNT, SIDES, RazorpaySide

everywhere = pytest.mark.parametrize("played", sorted(SIDES))


async def of_another_merchant(shop: Shop) -> None:
    """The account is another merchant's own."""
    account, connector = await shop.side.opened()
    await connector.close()
    theirs = Accounts([replace(account, merchant_id="mer_other")], {ACCOUNT: shop.connector})
    shop.runtime = replace(shop.runtime, accounts=theirs)


async def refunds_under(shop: Shop, payment: Payment, reference: str) -> None:
    assert payment.connector_reference is not None
    await shop.side.refunds(payment.connector_reference, 300, reference=reference, payment_id=payment.id)


async def unchanged(shop: Shop, payment: Payment) -> bool:
    return await shop.ledger.payment(payment.id) == payment


@everywhere
async def test_a_refund_under_the_reference_of_anothers_refund_is_none_of_that_ones(shop: Shop) -> None:
    paid, other = await shop.paid(), await shop.paid()
    refund = await shop.wants_refund(other, 300)
    await shop.records(refund, NotProcessed(FailureCode.NOT_PROCESSED))
    before = await shop.ledger.payment(other.id)
    await refunds_under(shop, paid, attempt_reference(refund.id, 1))
    assert (await shop.reconciled()).found == {"matched": 1, "amount": 1}
    assert await unchanged(shop, before)


@everywhere
async def test_a_refund_under_the_reference_of_a_payment_that_failed_does_not_charge_that(shop: Shop) -> None:
    paid, failed = await shop.paid(), await shop.failed()
    await refunds_under(shop, paid, attempt_reference(failed.id, 1))
    assert (await shop.reconciled()).found == {"amount": 1}
    assert await unchanged(shop, failed)


@everywhere
async def test_a_charge_under_the_reference_of_a_refund_is_an_orphan(shop: Shop) -> None:
    payment = await shop.paid()
    refund = await shop.wants_refund(payment, 300)
    await shop.records(refund, NotProcessed(FailureCode.NOT_PROCESSED))
    before = await shop.ledger.payment(payment.id)
    await shop.charges(refund.id)
    assert (await shop.reconciled()).found["orphan"] == 1
    assert await unchanged(shop, before)


async def test_at_a_merchants_own_account_nothing_is_about_another_merchant(shop: Shop) -> None:
    failed = await shop.failed()
    await shop.charges(failed.id)
    await of_another_merchant(shop)
    assert (await shop.reconciled()).found == {"orphan": 1}
    (found,) = await shop.findings()
    assert (found.merchant_id, found.payment_id) == ("mer_other", None)
    assert found.result is ComparisonResult.ORPHAN
    assert await unchanged(shop, failed)


@pytest.mark.parametrize("played", ["razorpay"])
@pytest.mark.parametrize("decided", [True, False], ids=["failed here", "pending here"])
async def test_a_payment_whose_payer_wrote_our_reference_is_for_a_person(shop: Shop, decided: bool) -> None:
    """Checkout takes notes from the browser: undone by us, its goods would be free; counted, ours would."""
    side = shop.side
    assert isinstance(side, RazorpaySide)
    payment = await shop.failed() if decided else (await shop.wants())[0]
    await side.forges(attempt_reference(payment.id, 1), payment.id, amount=AMOUNT)
    assert (await shop.reconciled(timedelta(hours=3))).found == {"charged_there": 1}
    (found,) = await shop.findings()
    assert (found.settled_by, found.amount_there_minor) == (None, AMOUNT)
    assert (await shop.ledger.payment(payment.id)).status is payment.status
    kinds = [row.kind for row in await shop.ledger.rows("SELECT kind FROM operations")]
    assert kinds == [OperationKind.AUTHORIZE]


@everywhere
async def test_what_is_refunded_by_hand_of_a_capture_of_ours_is_all_that_is_booked(shop: Shop) -> None:
    payment = await shop.paid(automatic=False)
    await shop.captures(payment)
    await shop.others(payment, "refund", 400)
    assert (await shop.reconciled()).found == {"amount": 1}
    now = await shop.ledger.payment(payment.id)
    assert (now.amount_captured_minor, now.amount_refunded_minor, now.review) == (AMOUNT, 400, None)
    kinds = [row.kind for row in await shop.ledger.rows("SELECT kind FROM operations ORDER BY created_at")]
    assert kinds == [OperationKind.AUTHORIZE, OperationKind.CAPTURE, OperationKind.REFUND]
