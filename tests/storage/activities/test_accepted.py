"""What an acquirer has accepted is asked about until it says what became of it, and never proven by its silence."""

from dataclasses import replace

import pytest

from activities.messages import InquiryDue, Settled
from payonce.domain.errors import OutcomeUnknown
from payonce.domain.facts import Accepted, NotKnown
from payonce.domain.operations import AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.schedules import LOOKS
from tests.storage.acting import CAPABILITIES, FakeConnector, Process, age
from tests.storage.ledger import Ledger
from tests.support.rows import approval

K, S, A = OperationKind, PaymentStatus, AttemptState


@pytest.fixture
def connector() -> FakeConnector:
    return FakeConnector({"send": Accepted("acq-1")})


@pytest.fixture
def process(shared_ledger: Ledger, connector: FakeConnector) -> Process:
    return Process(shared_ledger, connector)


async def _accepted(process: Process, kind: OperationKind) -> Operation:
    paid = await process.ledger.add_payment(S.CAPTURED if kind is K.REFUND else S.AUTHORIZED)
    of = await process.ledger.add_operation(paid, kind, claimed=False)
    due = await process.attempt(of)
    assert isinstance(due, InquiryDue)
    assert due.reason == "accepted"
    return of


@pytest.mark.parametrize("kind", [K.CAPTURE, K.VOID, K.REFUND])
async def test_it_is_answered_with_202_and_keeps_what_it_holds(process: Process, kind: OperationKind) -> None:
    of = await _accepted(process, kind)
    attempt, operation = await process.ledger.latest(of.id), await process.ledger.operation(of.id)
    assert (attempt.state, attempt.connector_reference) == (A.ACCEPTED, "acq-1")
    assert (operation.status, operation.deferred_at is not None) == (OperationStatus.PENDING, True)
    paid = await process.ledger.payment(of.payment_id)
    held = paid.amount_refund_pending_minor if kind is K.REFUND else paid.held_pending_minor
    assert held == of.amount_minor


@pytest.mark.parametrize("answer", [NotKnown(), OutcomeUnknown("timeout"), Accepted()], ids=str)
@pytest.mark.parametrize("reversible", [True, False])
async def test_silence_about_it_proves_nothing_however_long(
    process: Process, connector: FakeConnector, answer: NotKnown | Accepted | Exception, reversible: bool
) -> None:
    of = await _accepted(process, K.CAPTURE)
    await age(process.ledger, of)
    connector.capabilities = replace(CAPABILITIES, reversal_by_reference=reversible, accepted_inquiry=LOOKS)
    connector.answers["inquire"] = answer
    due = await process.resolve("inquire", of)
    assert isinstance(due, InquiryDue)
    assert due.schedule == LOOKS  # the connector's own time for what is accepted
    await process.resolve("hear", of, f"{of.id}-1")
    await process.resolve("reverse", of)
    assert "reverse" not in [name for name, _ in connector.calls]
    assert (await process.ledger.latest(of.id)).state is A.ACCEPTED


async def test_what_becomes_of_it_counts_when_it_is_told(process: Process, connector: FakeConnector) -> None:
    of = await _accepted(process, K.CAPTURE)
    connector.answers["inquire"] = approval(of)
    assert isinstance(await process.resolve("inquire", of), Settled)
    assert (await process.ledger.payment(of.payment_id)).status is S.CAPTURED


async def test_an_earlier_attempt_that_was_accepted_lets_nothing_be_concluded(
    process: Process, connector: FakeConnector
) -> None:
    """Postgres shows it as unsent, and the acquirer has it: the second one's not being known ends nothing."""
    paid = await process.ledger.add_payment(S.AUTHORIZED)
    of = await process.ledger.add_operation(paid, K.CAPTURE, state=A.NOT_SENT)
    connector.answers["send"] = OutcomeUnknown("timeout")
    await process.attempt(of)
    await age(process.ledger, of)

    async def inquire(call: object) -> Accepted | NotKnown:
        return Accepted() if str(getattr(call, "reference", "")).endswith("-1") else NotKnown()

    connector.inquire = inquire
    assert isinstance(await process.resolve("inquire", of), InquiryDue)
    assert (await process.ledger.operation(of.id)).status is OperationStatus.PENDING
