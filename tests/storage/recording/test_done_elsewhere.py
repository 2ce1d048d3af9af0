"""What somebody did in an acquirer's dashboard, where the acquirer keeps no mark of whose a capture was."""

from dataclasses import replace
from datetime import timedelta

import pytest

from payonce.domain.decisions import Verdict
from payonce.domain.facts import (
    Approved,
    FailureCode,
    Foreign,
    NotProcessed,
    Redone,
    Stage,
    Turn,
    Undone,
)
from payonce.domain.operations import Operation, OperationKind, OperationStatus
from payonce.domain.payment import Payment, PaymentStatus
from tests.storage.deciding import DECLINED, books, decide, turned
from tests.storage.ledger import IDS, Ledger, subject
from tests.support.rows import WITHDRAWN, approval

K, S, O = OperationKind, PaymentStatus, OperationStatus
CAPTURED = Foreign("acq-1/captured", "capture", 1000, "INR", perhaps_ours=True)
REFUNDED = Foreign("acq-rf", "refund", 400, "INR")
FAILED = Undone("acq-rf/failed", 400, "INR", "failed", refund="acq-rf")


async def authorized(ledger: Ledger, status: S = S.AUTHORIZED) -> tuple[Payment, Operation]:
    paid = await ledger.add_payment(status)
    create = await ledger.add_operation(paid, K.AUTHORIZE, status=O.SUCCEEDED, connector_reference="acq-1")
    await tell(ledger, create)
    return paid, create


async def tell(ledger: Ledger, create: Operation, *since: Turn) -> None:
    """As an inquiry about the authorization is answered, told by a callback that comes more than once."""
    said = approval(create, connector_reference="acq-1", stage=Stage.AUTHORIZED, since=since)
    for _ in range(2):
        await ledger.recorder().record(subject(create), attempt=1, fact=said)


async def test_a_capture_of_somebody_else_is_booked_once(ledger: Ledger) -> None:
    paid, create = await authorized(ledger)
    await tell(ledger, create, CAPTURED)
    after = await ledger.payment(paid.id)
    assert (after.status, after.amount_captured_minor, after.review) == (S.CAPTURED, 1000, None)
    assert [type_ for _, type_ in await ledger.events(paid.id)].count("payment.captured") == 1
    origins = await ledger.rows(
        "SELECT origin FROM operations WHERE payment_id = :id AND kind = 'capture'", id=paid.id
    )
    assert [row.origin for row in origins] == ["acquirer"]


@pytest.mark.parametrize("heard", ["before its answer", "after it", "both"])
async def test_a_capture_of_ours_is_never_counted_twice_by_what_the_acquirer_tells_of_it(
    ledger: Ledger, heard: str
) -> None:
    paid, create = await authorized(ledger)
    ours = await ledger.add_operation(paid, K.CAPTURE, amount_minor=1000)
    if heard != "after it":
        await tell(ledger, create, CAPTURED)
        assert (await ledger.payment(paid.id)).amount_captured_minor == 0, "its own outcome is to come"
    answer = Approved("acq-1/captured", 1000, "INR")
    await ledger.recorder().record(subject(ours), attempt=1, fact=answer)
    if heard != "before its answer":
        await tell(ledger, create, CAPTURED)
    after = await ledger.payment(paid.id)
    assert (after.status, after.amount_captured_minor, after.review) == (S.CAPTURED, 1000, None)
    assert (await ledger.operation(ours.id)).status is O.SUCCEEDED
    assert after.amount_capture_undecided_minor == 0


async def test_what_we_had_not_captured_somebody_else_did(ledger: Ledger) -> None:
    paid, create = await authorized(ledger)
    ours = await ledger.add_operation(paid, K.CAPTURE, amount_minor=1000)
    nothing = NotProcessed(FailureCode.NOT_PROCESSED)
    await tell(ledger, create, CAPTURED)
    await ledger.recorder().record(subject(ours), attempt=1, fact=nothing)
    await tell(ledger, create, CAPTURED)
    after = await ledger.payment(paid.id)
    assert (after.status, after.amount_captured_minor, after.review) == (S.CAPTURED, 1000, None)


async def test_a_capture_and_a_refund_that_are_told_together_are_both_booked(ledger: Ledger) -> None:
    paid, create = await authorized(ledger)
    await tell(ledger, create, CAPTURED, REFUNDED)
    after = await ledger.payment(paid.id)
    assert (after.amount_captured_minor, after.amount_refunded_minor) == (1000, 400)
    assert (after.status, after.review) == (S.PARTIALLY_REFUNDED, None)


async def test_a_refund_of_somebody_else_that_fails_is_taken_out_once_and_held_for_a_person(
    ledger: Ledger,
) -> None:
    paid, create = await authorized(ledger, S.CAPTURED)
    await tell(ledger, create, REFUNDED)
    assert (await ledger.payment(paid.id)).amount_refunded_minor == 400
    await tell(ledger, create, FAILED)
    after = await ledger.payment(paid.id)
    assert (after.status, after.amount_refunded_minor) == (S.CAPTURED, 0)
    assert after.amount_refund_undecided_minor == 400
    assert after.review is not None
    told = [type_ for _, type_ in await ledger.events(paid.id)]
    assert (told.count("refund.succeeded"), told.count("refund.failed")) == (1, 1)
    await tell(ledger, create, REFUNDED)
    assert (await ledger.payment(paid.id)).amount_refunded_minor == 0, "an old word of it"


async def test_a_refund_of_somebody_else_that_failed_before_it_was_known_moves_nothing(
    ledger: Ledger,
) -> None:
    paid, create = await authorized(ledger, S.CAPTURED)
    await tell(ledger, create, FAILED)
    await tell(ledger, create, REFUNDED)
    after = await ledger.payment(paid.id)
    assert (after.status, after.amount_refunded_minor, after.amount_refund_undecided_minor) == (
        S.CAPTURED,
        0,
        0,
    )
    assert after.review is None


async def test_a_refund_of_somebody_else_that_a_person_confirms_is_booked_although_a_bank_took_the_money_back(
    ledger: Ledger,
) -> None:
    paid, create = await authorized(ledger, S.CAPTURED)
    await ledger.recorder().hear(subject(create), attempt=1, said=WITHDRAWN)
    await tell(ledger, create, REFUNDED)
    await decide(ledger, await turned(ledger, create, REFUNDED), Verdict.APPROVED)
    assert (await ledger.payment(paid.id)).amount_refunded_minor == 400
    won = replace(WITHDRAWN, status="won", withdrawn_minor=0, at=WITHDRAWN.at + timedelta(days=1))
    await ledger.recorder().hear(subject(create), attempt=1, said=won)
    after = await ledger.payment(paid.id)
    assert (after.status, after.refundable_minor) == (S.PARTIALLY_REFUNDED, 600)


@pytest.mark.parametrize("first", [0, 1])
async def test_a_capture_of_a_part_and_a_release_of_the_rest_are_both_booked_in_whatever_order_they_are_confirmed(
    ledger: Ledger, first: int
) -> None:
    paid, create = await authorized(ledger)
    ours = await ledger.add_operation(paid, K.CAPTURE, amount_minor=1000)
    turns = [Foreign("acq-c", "capture", 600, "INR"), Foreign("acq-v", "void", 400, "INR")]
    await tell(ledger, create, *turns)
    await ledger.recorder().record(subject(ours), attempt=1, fact=DECLINED)
    for turn in (turns[first], turns[1 - first]):
        await decide(ledger, await turned(ledger, create, turn), Verdict.APPROVED)
    after = await ledger.payment(paid.id)
    assert (after.status, after.amount_captured_minor, after.capturable_minor) == (S.CAPTURED, 600, 0)
    assert after.amount_capture_undecided_minor == 0


async def test_a_refund_of_somebody_else_that_a_person_confirms_is_booked_although_its_capture_was_taken_back(
    ledger: Ledger,
) -> None:
    paid, create = await authorized(ledger)
    capture = await ledger.add_operation(paid, K.CAPTURE)
    await ledger.recorder().record(subject(capture), attempt=1, fact=approval(capture))
    ours = await ledger.add_operation(await ledger.payment(paid.id), K.REFUND, amount_minor=800)
    await tell(ledger, create, REFUNDED)  # half of it does not fit
    await ledger.recorder().record(subject(ours), attempt=1, fact=DECLINED)
    await ledger.recorder().record(subject(capture), attempt=1, fact=Undone("u", 1000, "INR", "rejected"))
    await decide(ledger, await turned(ledger, create, REFUNDED), Verdict.APPROVED)
    await ledger.recorder().record(subject(capture), attempt=1, fact=Redone("r", 1000, "INR"))
    after = await ledger.payment(paid.id)
    assert (after.status, after.amount_captured_minor) == (S.PARTIALLY_REFUNDED, 1000)
    assert (after.amount_refunded_minor, after.refundable_minor) == (400, 600)


async def test_what_the_rail_captured_and_a_person_struck_out_is_not_counted_when_it_is_told_again(
    ledger: Ledger,
) -> None:
    paid = await ledger.add_payment(capture_method="automatic")
    create = await ledger.add_operation(paid, K.AUTHORIZE)
    found = approval(create, connector_reference="acq-1", stage=Stage.AUTHORIZED)
    await ledger.recorder().record(subject(create), attempt=1, fact=found)
    capture = await ledger.operation(IDS.follow_up(operation_id=create.id))
    await ledger.recorder().give_up(subject(capture), code=FailureCode.NOT_PROCESSED)
    void = await ledger.operation(IDS.follow_up(operation_id=capture.id))
    await ledger.claim(void)
    said = replace(found, stage=Stage.CAPTURED)
    await ledger.recorder().record(subject(create), attempt=1, fact=said)
    await ledger.recorder().record(subject(void), attempt=1, fact=DECLINED)
    by_rail = Foreign("acq-1/captured", "capture", 1000, "INR")
    await decide(ledger, await turned(ledger, create, by_rail), Verdict.ORPHAN)
    left = await books(ledger, paid)
    await ledger.recorder().record(subject(create), attempt=1, fact=said)
    assert await books(ledger, paid) == left
