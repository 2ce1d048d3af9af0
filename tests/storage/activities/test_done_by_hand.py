"""Refunds and captures that stand unsent while somebody does the same at the acquirer by hand: done once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import pytest

from activities.messages import NothingSent, Settled
from activities.replaying import DONE_BY_OTHERS
from payonce.domain.decisions import Verdict
from payonce.domain.errors import Rejected
from payonce.domain.facts import FailureCode, Foreign, NotProcessed, Stage
from payonce.domain.operations import AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from tests.storage.acting import CAPABILITIES, FakeConnector, Process
from tests.storage.deciding import decide
from tests.storage.ledger import IDS, Ledger, subject
from tests.support.rows import approval

K, O, S = OperationKind, OperationStatus, PaymentStatus
AMOUNT = 100  # of 1000
BY_HAND: Final[dict[OperationKind, Literal["refund", "capture"]]] = {
    K.REFUND: "refund",
    K.CAPTURE: "capture",
}


@pytest.fixture
def connector() -> FakeConnector:
    return FakeConnector({"send": Rejected()})


@pytest.fixture
def process(shared_ledger: Ledger, connector: FakeConnector) -> Process:
    return Process(shared_ledger, connector)


async def stands_unsent(process: Process, kind: OperationKind) -> tuple[Operation, Operation]:
    """A create of 1000, and an operation about a part of it that the acquirer has not been told of."""
    ledger = process.ledger
    automatic = kind is K.REFUND
    paid = await ledger.add_payment(
        S.CAPTURED if automatic else S.AUTHORIZED, capture_method="automatic" if automatic else "manual"
    )
    create = await ledger.add_operation(
        paid, K.AUTHORIZE, state=AttemptState.APPROVED, status=O.SUCCEEDED, connector_reference="acq-1"
    )
    return create, await ledger.add_operation(paid, kind, claimed=False, amount_minor=AMOUNT, final=False)


async def by_hand(process: Process, create: Operation, kind: OperationKind, amount_minor: int) -> None:
    fact = Foreign(f"by hand of {create.id}", BY_HAND[kind], amount_minor, create.currency)
    await process.ledger.recorder().record(subject(create), attempt=1, fact=fact)


def sends(connector: FakeConnector) -> int:
    return [name for name, _ in connector.calls].count("send")


@pytest.mark.parametrize("asked_h", [-1, 1], ids=["before", "by a clock that was ahead"])
@pytest.mark.parametrize("tried", [True, False])
@pytest.mark.parametrize("kind", BY_HAND)
async def test_what_was_done_by_hand_meanwhile_is_not_done_again(
    process: Process, connector: FakeConnector, kind: OperationKind, tried: bool, asked_h: int
) -> None:
    """Its account's key was wrong for an hour, or no process ran; the clock of whoever admitted it says when."""
    create, of = await stands_unsent(process, kind)
    if tried:
        assert await process.attempt(of) == NothingSent("not_sent", may_retry=True)
    query = "UPDATE operations SET created_at = now() + :later WHERE id = :id"
    await process.ledger.rows(query, later=timedelta(hours=asked_h), id=of.id)
    await by_hand(process, create, kind, AMOUNT)
    connector.answers["send"] = approval(of)
    before = sends(connector)
    assert await process.attempt(of) == NothingSent(DONE_BY_OTHERS, may_retry=True, no_attempt=not tried)
    assert sends(connector) == before
    assert (await process.ledger.operation(of.id)).review_at is not None
    assert (await process.ledger.payment(of.payment_id)).review is not None


@pytest.mark.parametrize("kind", BY_HAND)
async def test_another_amount_is_something_else(
    process: Process, connector: FakeConnector, kind: OperationKind
) -> None:
    create, of = await stands_unsent(process, kind)
    await process.attempt(of)
    await by_hand(process, create, kind, AMOUNT + 1)
    connector.answers["send"] = approval(of)
    assert isinstance(await process.attempt(of), Settled)
    assert (await process.ledger.operation(of.id)).status is O.SUCCEEDED


async def test_what_was_done_by_hand_before_it_was_asked_for_is_something_else(
    process: Process, connector: FakeConnector
) -> None:
    create, first = await stands_unsent(process, K.REFUND)
    connector.answers["send"] = approval(first)
    await process.attempt(first)
    await by_hand(process, create, K.REFUND, AMOUNT)
    paid = await process.ledger.payment(create.payment_id)
    second = await process.ledger.add_operation(
        paid, K.REFUND, claimed=False, amount_minor=AMOUNT, created_at=datetime.now(UTC)
    )
    connector.answers["send"] = Rejected()
    await process.attempt(second)
    connector.answers["send"] = approval(second, connector_reference="acq-second")
    assert isinstance(await process.attempt(second), Settled)


async def test_a_person_says_that_the_one_by_hand_was_it_and_nothing_is_sent(
    process: Process, connector: FakeConnector
) -> None:
    create, of = await stands_unsent(process, K.REFUND)
    await process.attempt(of)
    await by_hand(process, create, K.REFUND, AMOUNT)
    await process.attempt(of)
    await decide(process.ledger, of, Verdict.NOT_PAID)
    assert isinstance(await process.attempt(of), Settled)
    assert sends(connector) == 1
    paid = await process.ledger.payment(of.payment_id)
    assert (paid.amount_refunded_minor, paid.refundable_minor, paid.review) == (AMOUNT, 900, None)


@pytest.mark.parametrize("kind", BY_HAND)
async def test_what_nobody_decided_in_a_day_ends_as_failed_and_its_review_with_it(
    process: Process, kind: OperationKind
) -> None:
    create, of = await stands_unsent(process, kind)
    await process.attempt(of)
    await by_hand(process, create, kind, AMOUNT)
    await process.attempt(of)
    assert isinstance(await process.resolve("give_up", of), Settled)
    failed, paid = await process.ledger.operation(of.id), await process.ledger.payment(of.payment_id)
    assert (failed.status, failed.review_at, paid.review) == (O.FAILED, None, None)
    assert paid.idle
    left = paid.refundable_minor if kind is K.REFUND else paid.capturable_minor
    assert left == 900


async def test_what_gave_back_a_late_success_by_hand_is_something_else(
    process: Process, connector: FakeConnector
) -> None:
    """Of the same payment and as much: the attempt that counts is still to be refunded."""
    ledger = process.ledger
    paid = await ledger.add_payment(S.CAPTURED, capture_method="automatic", connector_reference="acq-good")
    create = await ledger.add_operation(
        paid, K.AUTHORIZE, state=AttemptState.NOT_SENT, status=O.SUCCEEDED, connector_reference="acq-good"
    )
    refund = await ledger.add_operation(paid, K.REFUND, claimed=False)
    await process.attempt(refund)
    recorder, of = ledger.recorder(), subject(create)
    stray = approval(create, connector_reference="acq-stray", stage=Stage.CAPTURED)
    await recorder.record(of, attempt=1, fact=stray)
    await by_hand(process, create, K.REFUND, create.amount_minor)
    assert (await ledger.operation(IDS.reversal(reference=f"{create.id}-1"))).status is O.SUCCEEDED
    connector.answers["send"] = approval(refund)
    assert isinstance(await process.attempt(refund), Settled)
    assert (await ledger.operation(refund.id)).status is O.SUCCEEDED


@pytest.mark.parametrize("heard_first", [True, False])
async def test_what_gave_back_a_late_capture_by_hand_is_not_given_back_again(
    process: Process, connector: FakeConnector, heard_first: bool
) -> None:
    """Of the same charge as what was captured in time: nobody says which of the two was meant.

    `heard_first`: of the refund, before the acquirer said that it had captured.
    """
    connector.capabilities = replace(CAPABILITIES, reversal_by_reference=False)
    ledger, recorder = process.ledger, process.ledger.recorder()
    paid = await ledger.add_payment(S.PARTIALLY_CAPTURED, amount_captured_minor=700)
    create = await ledger.add_operation(
        paid, K.AUTHORIZE, state=AttemptState.APPROVED, status=O.SUCCEEDED, connector_reference="acq-1"
    )
    capture = await ledger.add_operation(paid, K.CAPTURE, amount_minor=AMOUNT)
    await recorder.record(subject(capture), attempt=1, fact=NotProcessed(FailureCode.NOT_PROCESSED))
    abilities = connector.capabilities.abilities(K.CAPTURE)
    if heard_first:
        await by_hand(process, create, K.REFUND, AMOUNT)
    await recorder.record(subject(capture), attempt=1, fact=approval(capture), abilities=abilities)
    case = await ledger.operation(IDS.reversal(reference=f"{capture.id}-1"))
    if not heard_first:
        assert await process.attempt(case) == NothingSent("not_sent", may_retry=True)
        await by_hand(process, create, K.REFUND, AMOUNT)
    before = sends(connector)
    assert await process.attempt(case) == NothingSent(DONE_BY_OTHERS, may_retry=True, no_attempt=heard_first)
    assert sends(connector) == before
    assert (await ledger.operation(case.id)).review_at is not None
    await decide(ledger, case, Verdict.REVERSED)
    assert isinstance(await process.attempt(case), Settled)
    ended = await ledger.payment(paid.id)
    assert (sends(connector), ended.amount_capture_undecided_minor, ended.review) == (before, 0, None)
