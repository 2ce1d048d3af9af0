"""Refunds that wait to be sent while a cardholder's bank takes the money back: the customer gets it once."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from activities.messages import LACKING, InquiryDue, NothingSent, Progress, ReversalDue, Settled
from payonce.domain.errors import NotSent, OutcomeUnknown
from payonce.domain.facts import Disputed, FailureCode, NotProcessed, Reversed, Stage
from payonce.domain.operations import AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.truth import Truth
from tests.storage.acting import CAPABILITIES, FakeConnector, Process, age, claimed_ago
from tests.storage.ledger import IDS, Ledger, subject
from tests.support.rows import WITHDRAWN, approval

K, O = OperationKind, OperationStatus
WON = replace(WITHDRAWN, status="won", withdrawn_minor=0, at=WITHDRAWN.at + timedelta(days=1))
INQUIRY = replace(WITHDRAWN, stage="inquiry")


@pytest.fixture
def connector() -> FakeConnector:
    return FakeConnector({"send": NotSent()})


@pytest.fixture
def process(shared_ledger: Ledger, connector: FakeConnector) -> Process:
    return Process(shared_ledger, connector)


async def refund_of(process: Process, amount_minor: int) -> tuple[Operation, Operation]:
    """The create of a payment of 1000 that is captured, and its refund, which nobody has sent."""
    ledger = process.ledger
    paid = await ledger.add_payment(PaymentStatus.CAPTURED, capture_method="automatic")
    create = await ledger.add_operation(
        paid, K.AUTHORIZE, state=AttemptState.APPROVED, status=O.SUCCEEDED, connector_reference="acq-1"
    )
    return create, await ledger.add_operation(paid, K.REFUND, claimed=False, amount_minor=amount_minor)


async def hear(process: Process, create: Operation, said: Disputed) -> None:
    of_this = replace(said, id=f"dispute of {create.id}")
    await process.ledger.recorder().hear(subject(create), attempt=1, said=of_this)


@pytest.mark.parametrize("tried", [False, True])
async def test_a_refund_is_not_sent_while_a_bank_has_the_money_and_is_once_it_is_given_back(
    process: Process, connector: FakeConnector, tried: bool
) -> None:
    create, refund = await refund_of(process, 1000)
    if tried:
        assert await process.attempt(refund) == NothingSent("not_sent", may_retry=True)
    connector.answers["send"] = approval(refund)
    before = list(connector.calls)
    await hear(process, create, WITHDRAWN)
    assert await process.attempt(refund) == NothingSent(LACKING, may_retry=True, no_attempt=not tried)
    assert connector.calls == before
    await hear(process, create, WON)
    assert isinstance(await process.attempt(refund), Settled)
    assert (await process.ledger.operation(refund.id)).status is O.SUCCEEDED


async def test_a_refund_of_what_a_bank_keeps_ends_as_failed_and_says_so(process: Process) -> None:
    create, refund = await refund_of(process, 600)
    await process.attempt(refund)
    await hear(process, create, replace(WITHDRAWN, amount_minor=500, withdrawn_minor=500, status="lost"))
    assert isinstance(await process.resolve("give_up", refund), Settled)
    failed, paid = await process.ledger.operation(refund.id), await process.ledger.payment(refund.payment_id)
    assert (failed.status, failed.last_error and failed.last_error["code"]) == (O.FAILED, "not_processed")
    assert (paid.refundable_minor, paid.amount_refund_pending_minor) == (500, 0)
    assert (await process.ledger.events(refund.payment_id))[-1][1] == "refund.failed"


async def test_what_a_bank_left_is_refunded(process: Process, connector: FakeConnector) -> None:
    create, refund = await refund_of(process, 400)
    await hear(process, create, replace(WITHDRAWN, amount_minor=600, withdrawn_minor=600))
    connector.answers["send"] = approval(refund)
    assert isinstance(await process.attempt(refund), Settled)
    assert (await process.ledger.operation(refund.id)).status is O.SUCCEEDED


async def test_a_refund_may_end_an_inquiry(process: Process, connector: FakeConnector) -> None:
    create, refund = await refund_of(process, 1000)
    await hear(process, create, INQUIRY)
    connector.answers["send"] = approval(refund)
    assert isinstance(await process.attempt(refund), Settled)


async def test_what_may_not_have_arrived_is_not_sent_again_while_a_bank_has_the_money(
    process: Process, connector: FakeConnector
) -> None:
    connector.capabilities = replace(
        CAPABILITIES,
        truth={K.REFUND: Truth.REPLAY},
        idempotent_replay_s=3600.0,
        callback_within_s={K.REFUND: 60.0},
    )
    create, refund = await refund_of(process, 1000)
    connector.answers |= {"send": OutcomeUnknown("timeout"), "replay": approval(refund)}
    await process.attempt(refund)
    await age(process.ledger, refund)
    await claimed_ago(process, refund, 60)
    await hear(process, create, WITHDRAWN)
    assert isinstance(await process.resolve("inquire", refund), InquiryDue)
    assert [name for name, _ in connector.calls] == ["send"]


@pytest.mark.parametrize("reversible", [True, False])
async def test_a_late_success_is_not_given_back_while_a_bank_has_the_money(
    process: Process, connector: FakeConnector, reversible: bool
) -> None:
    """By a reversal, or by a refund of its own."""
    connector.capabilities = replace(CAPABILITIES, reversal_by_reference=reversible)
    create = await process.ledger.add_operation(
        await process.ledger.add_payment(capture_method="automatic"), K.AUTHORIZE
    )
    recorder, of = process.ledger.recorder(), subject(create)
    await recorder.record(of, attempt=1, fact=NotProcessed(FailureCode.NOT_PROCESSED))
    late, abilities = approval(create, stage=Stage.CAPTURED), connector.capabilities.abilities(K.AUTHORIZE)
    await recorder.record(of, attempt=1, fact=late, abilities=abilities)
    case = await process.ledger.operation(IDS.reversal(reference=f"{create.id}-1"))
    connector.answers |= {"send": approval(case), "reverse": Reversed()}

    async def undo() -> Progress:
        return await (process.resolve("reverse_late", case) if reversible else process.attempt(case))

    await hear(process, create, WITHDRAWN)
    waits = await undo()
    assert isinstance(waits, NothingSent | ReversalDue)
    assert (waits.reason, connector.calls) == (LACKING, [])
    await hear(process, create, WON)
    assert isinstance(await undo(), Settled)
    assert (await process.ledger.operation(case.id)).status is O.SUCCEEDED


async def late_case(process: Process, of: Operation, **fact: Any) -> Operation:
    """The case of what succeeded after it was recorded as not processed."""
    recorder = process.ledger.recorder()
    await recorder.record(subject(of), attempt=1, fact=NotProcessed(FailureCode.NOT_PROCESSED))
    abilities = process.connector.capabilities.abilities(of.kind)
    await recorder.record(subject(of), attempt=1, fact=approval(of, **fact), abilities=abilities)
    return await process.ledger.operation(IDS.reversal(reference=f"{of.id}-1"))


async def released(process: Process, case: Operation) -> Progress:
    """What is done about the case now, where its acquirer would do it."""
    process.connector.answers |= {"send": approval(case), "reverse": Reversed()}
    by_reversal = case.sent_as is None
    return await (process.resolve("reverse_late", case) if by_reversal else process.attempt(case))


@pytest.mark.parametrize("reversible", [True, False])
@pytest.mark.parametrize("succeeded", [True, False])
async def test_a_late_capture_is_not_given_back_where_a_bank_has_what_a_refund_left(
    process: Process, connector: FakeConnector, reversible: bool, succeeded: bool
) -> None:
    """1000 in all: 700 are refunded, or being refunded, and the bank has 300."""
    connector.capabilities = replace(CAPABILITIES, reversal_by_reference=reversible)
    ledger = process.ledger
    paid = await ledger.add_payment(PaymentStatus.PARTIALLY_CAPTURED, amount_captured_minor=700)
    create = await ledger.add_operation(
        paid, K.AUTHORIZE, state=AttemptState.APPROVED, status=O.SUCCEEDED, connector_reference="acq-1"
    )
    case = await late_case(process, await ledger.add_operation(paid, K.CAPTURE, amount_minor=300))
    refund = await ledger.add_operation(paid, K.REFUND, amount_minor=700)
    if succeeded:
        await ledger.recorder().record(subject(refund), attempt=1, fact=approval(refund))
    await hear(process, create, replace(WITHDRAWN, withdrawn_minor=300))
    waits = await released(process, case)
    assert isinstance(waits, NothingSent | ReversalDue)
    assert (waits.reason, connector.calls) == (LACKING, [])
    await hear(process, create, WON)
    assert isinstance(await released(process, case), Settled)


async def test_a_late_capture_is_given_back_where_a_bank_has_another_part_of_it(
    process: Process, connector: FakeConnector
) -> None:
    ledger = process.ledger
    paid = await ledger.add_payment(PaymentStatus.PARTIALLY_CAPTURED, amount_captured_minor=700)
    create = await ledger.add_operation(
        paid, K.AUTHORIZE, state=AttemptState.APPROVED, status=O.SUCCEEDED, connector_reference="acq-1"
    )
    case = await late_case(process, await ledger.add_operation(paid, K.CAPTURE, amount_minor=300))
    await hear(process, create, replace(WITHDRAWN, withdrawn_minor=700))
    assert isinstance(await released(process, case), Settled)


async def test_of_two_charges_none_is_given_back_while_a_bank_has_one_of_them(
    process: Process, connector: FakeConnector
) -> None:
    """It may be the one that succeeded late."""
    ledger = process.ledger
    paid = await ledger.add_payment(PaymentStatus.CAPTURED, capture_method="automatic")
    create = await ledger.add_operation(
        paid, K.AUTHORIZE, state=AttemptState.NOT_SENT, status=O.SUCCEEDED, connector_reference="acq-good"
    )
    stray = approval(create, connector_reference="acq-stray", stage=Stage.CAPTURED)
    await ledger.recorder().record(subject(create), attempt=1, fact=stray)
    case = await ledger.operation(IDS.reversal(reference=f"{create.id}-1"))
    await hear(process, create, WITHDRAWN)
    waits = await released(process, case)
    assert isinstance(waits, ReversalDue)
    assert (waits.reason, connector.calls) == (LACKING, [])
    await hear(process, create, WON)
    assert isinstance(await released(process, case), Settled)


@pytest.mark.parametrize("kind", [K.AUTHORIZE, K.CAPTURE])
async def test_what_took_another_amount_is_not_reversed_while_a_bank_has_the_money(
    process: Process, connector: FakeConnector, kind: OperationKind
) -> None:
    ledger = process.ledger
    status = PaymentStatus.INIT if kind is K.AUTHORIZE else PaymentStatus.AUTHORIZED
    paid = await ledger.add_payment(status, capture_method="automatic" if kind is K.AUTHORIZE else "manual")
    create = await ledger.add_operation(paid, K.AUTHORIZE)
    of = create if kind is K.AUTHORIZE else await ledger.add_operation(paid, kind)
    taken = approval(of, amount_minor=1100, stage=Stage.CAPTURED if kind is K.AUTHORIZE else None)
    await ledger.recorder().record(subject(of), attempt=1, fact=taken)
    assert (await ledger.latest(of.id)).state is AttemptState.REVERSING
    connector.answers["reverse"] = Reversed()
    await hear(process, create, replace(WITHDRAWN, amount_minor=1100, withdrawn_minor=1100))
    waits = await process.resolve("reverse", of)
    assert isinstance(waits, ReversalDue)
    assert (waits.reason, connector.calls) == (LACKING, [])
    await hear(process, create, WON)
    assert isinstance(await process.resolve("reverse", of), Settled)
    assert [name for name, _ in connector.calls] == ["reverse"]


async def test_a_refund_of_another_amount_is_reversed_all_the_same(
    process: Process, connector: FakeConnector
) -> None:
    """It brings money back."""
    create, refund = await refund_of(process, 400)
    await process.ledger.claim(refund)
    await process.ledger.recorder().record(
        subject(refund), attempt=1, fact=approval(refund, amount_minor=500)
    )
    connector.answers["reverse"] = Reversed()
    await hear(process, create, replace(WITHDRAWN, amount_minor=1100, withdrawn_minor=1100))
    assert isinstance(await process.resolve("reverse", refund), Settled)
