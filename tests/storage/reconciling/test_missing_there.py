"""What succeeded here and is in no list at acquirers whose "not found" proves nothing: two runs, and a person."""

from datetime import timedelta

import pytest

from payonce.domain.errors import OutcomeUnknown
from payonce.domain.facts import Approved, Stage
from payonce.domain.payment import Payment
from payonce.domain.reconciling import ComparisonResult
from tests.storage.reconciling.shop import AMOUNT, Shop

HOUR = timedelta(hours=1)
NEVER = {"stripe": "pi_never", "razorpay": "pay_never"}

proves_nothing = pytest.mark.parametrize("played", sorted(NEVER))


async def never_charged(shop: Shop, played: str) -> Payment:
    """It succeeded here, and the acquirer has nothing under the id that it is said to have given."""
    payment, operation = await shop.wants()
    await shop.records(operation, Approved(NEVER[played], AMOUNT, "INR", stage=Stage.CAPTURED))
    return await shop.ledger.payment(payment.id)


@proves_nothing
async def test_it_is_held_for_a_person_in_words_and_no_money_is_moved(shop: Shop, played: str) -> None:
    payment = await never_charged(shop, played)
    assert await shop.net(payment.id) == 0  # the ledger disagrees
    await shop.paid()
    assert (await shop.reconciled()).found == {"matched": 1}
    assert (await shop.ledger.payment(payment.id)).review is None
    assert (await shop.reconciled(HOUR)).found == {"missing_there": 1}
    now = await shop.ledger.payment(payment.id)
    assert now.review is not None
    assert "in none of the lists of two runs" in now.review["reason"]
    assert "HTTP 40" in now.review["reason"]
    assert (now.amount_capture_undecided_minor, now.refundable_minor, now.capturable_minor) == (AMOUNT, 0, 0)
    (found,) = await shop.findings()
    assert (found.result, found.payment_id, found.settled_by) == (
        ComparisonResult.MISSING_THERE,
        payment.id,
        None,
    )
    requests = (await shop.acquirer.client.get("/requests", params={"payment_reference": payment.id})).json()
    assert {one["operation"] for one in requests["entries"]} <= {"inquire"}
    assert (await shop.reconciled(2 * HOUR)).found == {}


@proves_nothing
async def test_a_list_that_has_nothing_of_ours_is_not_believed(shop: Shop, played: str) -> None:
    """So is that of another account, whose key stands in the place of ours."""
    payment = await never_charged(shop, played)
    await shop.sells_elsewhere()
    for minutes in (10, 40, 70):
        assert (await shop.reconciled(timedelta(minutes=minutes))).found.keys() <= {"foreign"}
    assert (await shop.ledger.payment(payment.id)).review is None
    await shop.paid()
    assert (await shop.reconciled(2 * HOUR)).found == {"matched": 1, "missing_there": 1}


@proves_nothing
async def test_two_runs_of_one_hour_are_as_one(shop: Shop, played: str) -> None:
    payment = await never_charged(shop, played)
    await shop.paid()
    for minutes in (10, 11, 30):
        await shop.reconciled(timedelta(minutes=minutes))
    assert (await shop.ledger.payment(payment.id)).review is None
    assert (await shop.reconciled(2 * HOUR)).found == {"missing_there": 1}


@proves_nothing
async def test_an_acquirer_that_does_not_answer_has_said_nothing(
    shop: Shop, played: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = await never_charged(shop, played)
    await shop.paid()

    async def silent(*_: object) -> None:
        raise OutcomeUnknown("timed out")

    with monkeypatch.context() as away:
        away.setattr(shop.connector, "inquire", silent)
        for minutes in (10, 40, 70):
            await shop.reconciled(timedelta(minutes=minutes))
    assert (await shop.ledger.payment(payment.id)).review is None
    assert (await shop.reconciled(2 * HOUR)).found == {"missing_there": 1}


@proves_nothing
async def test_a_refund_that_is_nowhere_is_held_as_well(shop: Shop, played: str) -> None:
    payment = await shop.paid()
    refund = await shop.wants_refund(payment, 300)
    await shop.records(refund, Approved({"stripe": "re_never", "razorpay": "rfnd_never"}[played], 300, "INR"))
    await shop.reconciled()
    assert "missing_there" in (await shop.reconciled(HOUR)).found
    assert (await shop.findings())[-1].operation_id == refund.id
    assert (await shop.ledger.payment(payment.id)).review is not None
