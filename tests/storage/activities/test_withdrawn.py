"""Refunds that wait to be sent while a cardholder's bank takes the money back: the customer gets it once."""

from dataclasses import replace
from datetime import timedelta

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
