"""Disputes of which nobody told: the bank plays on the acquirer's own page, no callback is on, and a run is made."""

from datetime import timedelta
from typing import Any

import pytest

from payonce.domain.disputes import Dispute
from payonce.domain.payment import Payment
from payonce.domain.reconciling import ComparisonResult
from payonce.storage import disputes
from tests.storage.reconciling.shop import AMOUNT, Shop
from tests.storage.reconciling.sides import SIDES

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

everywhere = pytest.mark.parametrize("played", sorted(SIDES))


async def disputed(shop: Shop, payment: Payment, **fields: Any) -> str:
    """By the cardholder's bank; the acquirer's name of it on its page."""
    return await bank(shop, "/disputes", {"payment_reference": payment.id, **fields})


async def bank(shop: Shop, path: str, fields: dict[str, Any]) -> str:
    answer = await shop.acquirer.client.post(path, data=fields, headers={"Accept": "application/json"})
    return str(answer.raise_for_status().json()["id"])


async def known(shop: Shop) -> list[Dispute]:
    rows = await shop.ledger.rows("SELECT id FROM disputes ORDER BY created_at")
    async with shop.ledger.database.reading() as connection:
        found = [await connection.fetch(disputes.find(row.id)) for row in rows]
    return [one for one in found if one is not None]


@everywhere
async def test_what_a_bank_withdrew_and_nobody_told_is_known_after_a_run_and_once(shop: Shop) -> None:
    payment = await shop.paid()
    await disputed(shop, payment)
    assert await shop.net(payment.id) == 0
    assert (await shop.ledger.payment(payment.id)).refundable_minor == AMOUNT  # without reconciliation
    report = await shop.reconciled()
    assert report.found["amount"] == 1
    now = await shop.ledger.payment(payment.id)
    assert (now.amount_disputed_minor, now.refundable_minor) == (AMOUNT, 0)
    (dispute,) = await known(shop)
    assert (dispute.stage, dispute.status, dispute.payment_id) == ("chargeback", "needs_response", payment.id)
    (found,) = await shop.findings()
    assert (found.result, found.payment_id) == (ComparisonResult.AMOUNT, payment.id)
    assert (found.amount_here_minor, found.amount_there_minor) == (0, AMOUNT)
    assert found.settled_by == dispute.id
    assert (await shop.reconciled(HOUR)).found.keys() <= {"matched"}
    assert (await shop.ledger.payment(payment.id)).sequence == now.sequence


@pytest.mark.parametrize(
    ("played", "later"), [(name, HOUR) for name in sorted(SIDES)] + [("razorpay", 11 * DAY)]
)
async def test_what_a_bank_gave_back_is_known(shop: Shop, later: timedelta) -> None:
    """At Razorpay also where the list has the dispute by when it was made, which is long ago."""
    payment = await shop.paid()
    at_bank = await disputed(shop, payment)
    await shop.reconciled()
    await shop.reconciled(later / 2)
    await bank(shop, f"/disputes/{at_bank}", {"decision": "won"})
    assert await shop.net(payment.id) == AMOUNT
    assert (await shop.reconciled(later)).found.get("amount") == 1
    now = await shop.ledger.payment(payment.id)
    assert (now.amount_disputed_minor, now.refundable_minor) == (0, AMOUNT)
    assert [one.status for one in await known(shop)] == ["won"]


@everywhere
async def test_an_inquiry_which_withdraws_nothing_is_known(shop: Shop) -> None:
    """Its totals agree: only a dispute by itself says that a refund would still keep the bank from a chargeback."""
    payment = await shop.paid()
    at_bank = await disputed(shop, payment, stage="inquiry")
    assert (await shop.reconciled()).found == {"matched": 1}
    (dispute,) = await known(shop)
    assert (dispute.stage, dispute.status, dispute.amount_withdrawn_minor) == (
        "inquiry",
        "needs_response",
        0,
    )
    assert [type_ for _, type_ in await shop.ledger.events(payment.id)][-1] == "dispute.opened"
    await bank(shop, f"/disputes/{at_bank}", {"decision": "chargeback"})
    assert (await shop.reconciled(HOUR)).found.get("amount") == 1
    assert [one.stage for one in await known(shop)] == ["chargeback"]


@everywhere
async def test_a_dispute_that_is_lost_is_known_to_be(shop: Shop) -> None:
    payment = await shop.paid()
    at_bank = await disputed(shop, payment)
    await shop.reconciled()
    await bank(shop, f"/disputes/{at_bank}", {"decision": "lost"})
    await shop.reconciled(HOUR)
    assert [(one.status, one.amount_withdrawn_minor) for one in await known(shop)] == [("lost", AMOUNT)]
    assert (await shop.ledger.payment(payment.id)).refundable_minor == 0


@everywhere
async def test_a_dispute_of_somebody_elses_sale_is_none_of_ours(shop: Shop) -> None:
    await shop.paid()
    named = await shop.sells_elsewhere()
    await bank(shop, "/disputes", {"payment_reference": named})
    await shop.reconciled()
    assert await known(shop) == []


@pytest.mark.parametrize("played", ["razorpay"])
async def test_a_dispute_of_a_payment_that_was_never_listed_is_known(shop: Shop) -> None:
    """It was made before any list was read."""
    payment = await shop.paid()
    await disputed(shop, payment)
    await shop.reconciled()
    for table in ("reconciliation_runs", "acquirer_objects", "disputes", "reconciliations"):
        await shop.ledger.rows(f"DELETE FROM {table} RETURNING 1")
    assert (await shop.reconciled(20 * DAY)).found == {"amount": 1}
    assert [one.payment_id for one in await known(shop)] == [payment.id]


@pytest.mark.parametrize("played", ["razorpay"])
async def test_a_run_that_was_killed_after_it_had_heard_is_settled_by_the_next(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = await shop.paid()
    await disputed(shop, payment)

    async def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr("payonce.reconciling.disputing.PageDisputes._settle", dies)
        with pytest.raises(KeyboardInterrupt):
            await shop.reconciled()
    (found,) = await shop.findings()
    assert (found.amount_there_minor, found.settled_by) == (AMOUNT, None)
    assert (await shop.reconciled(HOUR)).found.keys() <= {"matched"}
    (found,) = await shop.findings()
    assert found.settled_by is not None
    assert len(await known(shop)) == 1
