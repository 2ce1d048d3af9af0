"""The acquirer's list against our books: each kind of discrepancy is planted there, found, named and settled."""

from datetime import timedelta

import pytest

from payonce.domain.facts import Approved, FailureCode, NotProcessed, Stage
from payonce.domain.ids import attempt_reference
from payonce.domain.operations import OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.reconciling import ComparisonResult
from payonce.reconciling.reading import Stopped
from payonce.storage import reconciliation_runs
from tests.storage.ledger import IDS, subject
from tests.storage.reconciling.shop import AMOUNT, Shop
from tests.storage.reconciling.sides import SIDES, RazorpaySide

HOUR = timedelta(hours=1)

everywhere = pytest.mark.parametrize("played", sorted(SIDES))


@everywhere
async def test_what_both_sides_have_matches_and_a_second_run_changes_nothing(shop: Shop) -> None:
    payment = await shop.paid()
    await shop.refunds(payment, 300)
    report = await shop.reconciled()
    assert report.found == {"matched": 1}
    before = await shop.ledger.payment(payment.id)
    again = await shop.reconciled(HOUR)
    assert again.found == {}
    assert await shop.ledger.payment(payment.id) == before
    assert await shop.findings() == []


@everywhere
async def test_a_charge_of_a_payment_that_failed_here_is_recorded_and_undone(shop: Shop) -> None:
    payment = await shop.failed()
    await shop.charges(payment.id)
    assert await shop.net(payment.id) == AMOUNT  # without reconciliation nobody here knows
    assert (await shop.ledger.payment(payment.id)).status is PaymentStatus.FAILED
    report = await shop.reconciled()
    assert report.found == {"charged_there": 1}
    (found,) = await shop.findings()
    release = await shop.ledger.operation(IDS.reversal(reference=attempt_reference(payment.id, 1)))
    assert (found.result, found.payment_id, found.settled_by) == (
        ComparisonResult.CHARGED_THERE,
        payment.id,
        release.id,
    )
    assert (found.amount_here_minor, found.amount_there_minor) == (0, AMOUNT)
    assert (release.kind, release.status) == (OperationKind.REVERSE, OperationStatus.PENDING)
    assert [type_ for _, type_ in await shop.ledger.events(payment.id)][-1] == "payment.late_success"
    assert (await shop.reconciled(HOUR)).found == {}


@everywhere
async def test_a_hold_of_a_payment_that_failed_here_is_recorded_and_undone(shop: Shop) -> None:
    payment = await shop.failed()
    await shop.charges(payment.id, capture=False)
    assert (await shop.ledger.payment(payment.id)).status is PaymentStatus.FAILED  # while it is held there
    assert (await shop.reconciled()).found == {"charged_there": 1}
    (found,) = await shop.findings()
    release = await shop.ledger.operation(IDS.reversal(reference=attempt_reference(payment.id, 1)))
    assert (found.amount_there_minor, found.settled_by) == (AMOUNT, release.id)


@everywhere
async def test_what_was_given_back_here_and_still_stands_there_is_for_a_person(shop: Shop) -> None:
    """The acquirer said that it had reversed it: a machine that asked again would be told so again."""
    payment = await shop.failed()
    charge = await shop.charges(payment.id)
    await shop.reconciled()
    release = await shop.ledger.operation(IDS.reversal(reference=attempt_reference(payment.id, 1)))
    await shop.ledger.recorder().complete(subject(release))
    assert (await shop.ledger.operation(release.id)).status is OperationStatus.SUCCEEDED
    assert await shop.net(payment.id) == AMOUNT  # the ledger disagrees
    assert (await shop.reconciled(HOUR)).found == {"charged_there": 1}
    assert (await shop.reconciled(HOUR + HOUR / 2)).found == {}
    *_, found = await shop.findings()
    assert (found.amount_here_minor, found.amount_there_minor, found.settled_by) == (0, AMOUNT, None)
    await shop.side.refunds(charge, AMOUNT, reference=None, payment_id=payment.id)  # a person does
    await shop.reconciled(2 * HOUR)
    assert await shop.net(payment.id) == 0
    assert [one.settled_by is not None for one in await shop.findings()] == [True, True]


@everywhere
async def test_a_hold_that_nobody_holds_here_is_known_and_for_a_person(shop: Shop) -> None:
    """It was released here, and the acquirer still holds it."""
    payment = await shop.paid(automatic=False)
    void = await shop.ledger.add_operation(payment, OperationKind.VOID)
    await shop.records(void, Approved("void_never", AMOUNT, "INR"))
    assert (await shop.ledger.payment(payment.id)).status is PaymentStatus.VOIDED  # while it is held there
    assert (await shop.reconciled()).found["amount"] == 1
    found = next(one for one in await shop.findings() if one.result is ComparisonResult.AMOUNT)
    assert (found.amount_here_minor, found.amount_there_minor, found.settled_by) == (0, AMOUNT, None)
    assert payment.connector_reference is not None
    await shop.side.lets_go(payment.connector_reference, payment.id)
    await shop.reconciled(HOUR)
    found = next(one for one in await shop.findings() if one.result is ComparisonResult.AMOUNT)
    assert found.settled_by is not None


@everywhere
async def test_a_refund_that_failed_here_and_was_made_there_is_recorded(shop: Shop) -> None:
    payment = await shop.paid()
    refund = await shop.wants_refund(payment, 300)
    await shop.records(refund, NotProcessed(FailureCode.NOT_PROCESSED))
    assert payment.connector_reference is not None
    reference = attempt_reference(refund.id, 1)
    await shop.side.refunds(payment.connector_reference, 300, reference=reference, payment_id=payment.id)
    assert await shop.net(payment.id) == AMOUNT - 300
    assert (
        await shop.ledger.payment(payment.id)
    ).refundable_minor == AMOUNT  # nobody knows: all might go back
    assert (await shop.reconciled()).found == {"charged_there": 1}
    (found,) = await shop.findings()
    assert (found.operation_id, found.amount_there_minor) == (refund.id, 300)
    assert (await shop.ledger.payment(payment.id)).refundable_minor == AMOUNT - 300


@pytest.mark.parametrize("played", ["razorpay"])
async def test_what_a_bank_authorized_days_after_it_had_failed_is_recorded_and_undone(shop: Shop) -> None:
    payment = await shop.failed()
    side = shop.side
    assert isinstance(side, RazorpaySide)
    await side.authorizes_late(attempt_reference(payment.id, 1), payment.id, amount=AMOUNT)
    assert await shop.net(payment.id) == AMOUNT
    assert (await shop.reconciled()).found == {"charged_there": 1}
    (found,) = await shop.findings()
    assert found.settled_by == IDS.reversal(reference=attempt_reference(payment.id, 1))


@everywhere
async def test_what_is_not_in_our_form_is_counted_and_never_touched(shop: Shop) -> None:
    await shop.paid()
    named = await shop.sells_elsewhere()
    report = await shop.reconciled()
    assert report.found == {"matched": 1, "foreign": 1}
    (found,) = await shop.findings()
    assert (found.result, found.payment_id, found.merchant_id) == (ComparisonResult.FOREIGN, None, None)
    assert await shop.net(named) == AMOUNT


@everywhere
async def test_an_orphan_is_an_alarm_and_no_machine_reverses_it(shop: Shop) -> None:
    orphan = IDS.payment(merchant_id="mer_1", mode="test", key="forgotten")
    await shop.charges(orphan)
    await shop.paid()  # so that the account's newest attempt is newer than the orphan
    report = await shop.reconciled()
    assert report.found == {"matched": 1, "orphan": 1}
    (found,) = await shop.findings()
    assert (found.result, found.settled_by, found.amount_there_minor) == (
        ComparisonResult.ORPHAN,
        None,
        AMOUNT,
    )
    assert await shop.net(orphan) == AMOUNT
    requests = (await shop.acquirer.client.get("/requests", params={"payment_reference": orphan})).json()
    assert not {one["operation"] for one in requests["entries"]} & {"reverse", "void", "refund"}


@everywhere
async def test_orphans_newer_than_all_attempts_stop_the_account_until_a_person_allows_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_seconds = -timedelta(seconds=1)  # in which some acquirers say when
    monkeypatch.setattr("payonce.reconciling.reading.CLOCKS_DIFFER", whole_seconds)
    failed = await shop.failed()
    await shop.charges(failed.id)
    orphan = IDS.payment(merchant_id="mer_1", mode="test", key="after the dump")
    await shop.charges(orphan)
    for _ in range(2):
        with pytest.raises(Stopped):
            await shop.reconciled()
    assert [found.result for found in await shop.findings()] == [
        ComparisonResult.ORPHAN
    ]  # for a person to see
    assert (await shop.ledger.payment(failed.id)).sequence == failed.sequence  # not even this was undone
    async with shop.ledger.database.transaction() as connection:
        assert await reconciliation_runs.allow(connection, "account_1", now=failed.created_at)
        assert not await reconciliation_runs.allow(connection, "account_1", now=failed.created_at)
    await shop.paid()
    monkeypatch.setattr("payonce.reconciling.reading.CLOCKS_DIFFER", timedelta())
    assert (await shop.reconciled()).found == {"matched": 1, "charged_there": 1}


@everywhere
async def test_two_charges_of_one_payment_are_one_case_counted_once(shop: Shop) -> None:
    payment = await shop.paid()
    second = await shop.charges(payment.id)
    assert await shop.net(payment.id) == 2 * AMOUNT
    report = await shop.reconciled()
    assert report.found == {"matched": 1, "charged_there": 1, "double_charge": 1}
    _, case = await shop.findings()
    assert (case.result, case.payment_id, case.settled_by) == (
        ComparisonResult.DOUBLE_CHARGE,
        payment.id,
        None,
    )
    assert (await shop.ledger.payment(payment.id)).review is not None
    assert (await shop.reconciled(HOUR)).found == {}
    await shop.side.refunds(second, AMOUNT, reference=None, payment_id=payment.id)
    await shop.reconciled(2 * HOUR)
    settled = [one for one in await shop.findings() if one.result is ComparisonResult.DOUBLE_CHARGE]
    assert [one.settled_by is not None for one in settled] == [True]


@pytest.mark.parametrize(("settled_by", "is_open"), [(None, True), ("op@desk", False)])
async def test_two_charges_that_stand_again_once_a_refund_of_one_has_failed_are_open_again(
    shop: Shop, settled_by: str | None, is_open: bool
) -> None:
    """But for what a person has seen to."""
    payment = await shop.paid()
    second = await shop.charges(payment.id)
    await shop.reconciled()
    await shop.side.refunds(second, AMOUNT, reference=None, payment_id=payment.id)
    await shop.reconciled(timedelta(days=2))  # from now on the list has them no more
    if settled_by is not None:
        await shop.ledger.rows("UPDATE reconciliations SET settled_by = :by", by=settled_by)
    await shop.ledger.rows("UPDATE acquirer_objects SET net_minor = 1000 WHERE acquirer_id = :id", id=second)
    await shop.reconciled(timedelta(days=4))
    (case,) = [one for one in await shop.findings() if one.result is ComparisonResult.DOUBLE_CHARGE]
    assert (case.settled_at is None) is is_open


@everywhere
async def test_a_charge_whose_reversal_is_under_way_is_no_double_charge(shop: Shop) -> None:
    payment = await shop.failed()
    await shop.charges(payment.id)
    assert "double_charge" not in (await shop.reconciled()).found


async def test_what_succeeded_here_and_is_not_there_is_held_for_a_person_after_two_runs(shop: Shop) -> None:
    payment, operation = await shop.wants()
    named = {"reference": attempt_reference(payment.id, 1), "payment_reference": payment.id}
    await shop.acquirer.authorize(**named, faults=["authorize:unmade"])
    await shop.records(operation, Approved("auth_never", AMOUNT, "INR", stage=Stage.CAPTURED))
    assert (await shop.ledger.payment(payment.id)).status is PaymentStatus.CAPTURED
    assert await shop.net(payment.id) == 0  # the ledger disagrees
    assert (await shop.reconciled()).found == {}
    assert (await shop.ledger.payment(payment.id)).review is None
    assert (await shop.reconciled(HOUR)).found == {"missing_there": 1}
    now = await shop.ledger.payment(payment.id)
    assert now.review is not None
    assert now.refundable_minor == 0
    assert (await shop.reconciled(2 * HOUR)).found == {}
    (found,) = await shop.findings()
    assert (found.amount_here_minor, found.amount_there_minor) == (AMOUNT, 0)


async def test_a_refund_that_was_never_made_is_missing(shop: Shop) -> None:
    payment = await shop.paid()
    refund = await shop.wants_refund(payment, 300)
    await shop.records(refund, Approved("rf_never", 300, "INR"))
    assert await shop.net(payment.id) == AMOUNT  # the customer has nothing back
    assert (await shop.ledger.payment(payment.id)).amount_refunded_minor == 300
    await shop.reconciled()
    assert (await shop.reconciled(HOUR)).found == {"missing_there": 1}
    assert (await shop.findings())[-1].operation_id == refund.id
    assert (await shop.ledger.payment(payment.id)).review is not None


@everywhere
async def test_a_refund_made_in_the_dashboard_is_an_operation_of_the_acquirers(shop: Shop) -> None:
    payment = await shop.paid()
    await shop.others(payment, "refund", 400)
    assert await shop.net(payment.id) == AMOUNT - 400
    assert (await shop.ledger.payment(payment.id)).amount_refunded_minor == 0  # nobody told
    assert (await shop.reconciled()).found == {"amount": 1}
    now = await shop.ledger.payment(payment.id)
    assert (now.amount_refunded_minor, now.refundable_minor) == (400, 600)
    (found,) = await shop.findings()
    assert (found.amount_here_minor, found.amount_there_minor) == (0, 400)
    assert found.settled_by is not None
    assert (await shop.ledger.operation(found.settled_by)).amount_minor == 400
    await shop.others(payment, "refund", 100)
    assert (await shop.reconciled(HOUR)).found == {"amount": 1}
    assert (await shop.ledger.payment(payment.id)).amount_refunded_minor == 500


@everywhere
async def test_what_was_captured_or_released_in_the_dashboard_is_known(shop: Shop) -> None:
    captured, released = await shop.paid(automatic=False), await shop.paid(automatic=False)
    await shop.others(captured, "capture")
    assert released.connector_reference is not None
    await shop.side.lets_go(released.connector_reference, released.id)
    assert await shop.net(captured.id) == AMOUNT  # without reconciliation it expires here
    assert (await shop.ledger.payment(captured.id)).status is PaymentStatus.AUTHORIZED
    assert (await shop.ledger.payment(released.id)).capturable_minor == AMOUNT
    report = await shop.reconciled()
    assert report.found == {"amount": 1, "released_there": 1}
    assert (await shop.ledger.payment(captured.id)).status is PaymentStatus.CAPTURED
    now = await shop.ledger.payment(released.id)
    assert (now.status, now.capturable_minor) == (PaymentStatus.VOIDED, 0)
    assert (await shop.reconciled(HOUR)).found.keys() <= {"matched"}  # which settles what named no operation
    assert all(found.settled_by is not None for found in await shop.findings())


@everywhere
async def test_what_is_pending_here_is_left_to_its_workflow_which_is_woken(shop: Shop) -> None:
    payment, _ = await shop.wants()
    await shop.charges(payment.id)
    assert (await shop.reconciled()).found == {}
    assert await shop.ledger.count("callbacks") == 1
    assert (await shop.ledger.payment(payment.id)).status is PaymentStatus.INIT
    await shop.reconciled(HOUR / 2)
    assert (await shop.ledger.payment(payment.id)).status is PaymentStatus.INIT
    assert (await shop.reconciled(3 * HOUR)).found == {"charged_there": 1}  # its workflow did not wake
    assert [found.settled_by for found in await shop.findings()] == [payment.id]
    assert (await shop.ledger.payment(payment.id)).status is PaymentStatus.CAPTURED


@everywhere
async def test_what_a_killed_run_recorded_and_did_not_note_is_found_and_settled_by_the_next(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = await shop.paid()
    await shop.others(payment, "refund", 400)

    async def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr("payonce.reconciling.settling.PageResults.keep", dies)
        with pytest.raises(KeyboardInterrupt):
            await shop.reconciled()
    assert (await shop.ledger.payment(payment.id)).amount_refunded_minor == 400
    assert (await shop.reconciled(HOUR)).found == {"matched": 1}
    (found,) = await shop.findings()
    assert (found.result, found.amount_there_minor) == (ComparisonResult.AMOUNT, 400)
    assert found.settled_by is not None
    assert (await shop.ledger.payment(payment.id)).amount_refunded_minor == 400


@everywhere
async def test_a_run_that_is_killed_between_two_pages_goes_on(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop.side.page, 2)
    for _ in range(3):
        await shop.paid()
    lists, asked = shop.connector.list_charges, 0

    async def ends_after_one(**query: object) -> object:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise KeyboardInterrupt
        return await lists(**query)  # type: ignore[arg-type]

    monkeypatch.setattr(shop.connector, "list_charges", ends_after_one)
    with pytest.raises(KeyboardInterrupt):
        await shop.reconciled()
    before = len(await shop.ledger.rows("SELECT 1 FROM reconciliations"))
    assert 0 < before < 3
    report = await shop.reconciled(HOUR)
    assert (report.found, report.charges) == ({"matched": 3 - before}, 3)
    assert len(await shop.ledger.rows("SELECT 1 FROM reconciliation_runs WHERE ended_at IS NULL")) == 0
