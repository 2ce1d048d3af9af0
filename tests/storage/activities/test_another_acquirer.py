"""What an account says after another acquirer's keys were put in its place proves nothing of what was sent before.

Nor does what it says to keys that it refuses.
"""

from dataclasses import replace

import pytest

from activities.messages import InquiryDue, ReversalDue, Settled
from payonce.domain.errors import OutcomeUnknown, Rejected
from payonce.domain.facts import Cancelled, NotKnown, Reversed
from payonce.domain.operations import AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from tests.storage.acting import CAPABILITIES, FakeConnector, Process, age
from tests.storage.ledger import Ledger
from tests.support.rows import approval

K, S, A = OperationKind, PaymentStatus, AttemptState
OURS, ANOTHER = {"account_1": "acct_ours"}, {"account_1": "acct_another"}


@pytest.fixture
def connector() -> FakeConnector:
    return FakeConnector({"send": OutcomeUnknown("timeout"), "inquire": NotKnown(), "reverse": Reversed()})


@pytest.fixture
def process(shared_ledger: Ledger, connector: FakeConnector) -> Process:
    return Process(shared_ledger, connector, identities=dict(OURS))


async def _in_doubt(process: Process, kind: OperationKind = K.CAPTURE) -> Operation:
    """An operation that was sent long ago, and whose answer was lost."""
    paid = await process.ledger.add_payment(S.AUTHORIZED)
    of = await process.ledger.add_operation(paid, kind, claimed=False)
    await process.attempt(of)
    await age(process.ledger, of)
    return of


async def test_a_claim_says_how_the_acquirer_calls_the_account(process: Process) -> None:
    of = await _in_doubt(process)
    assert (await process.ledger.latest(of.id)).acquirer_identity == "acct_ours"


async def test_not_found_counts_from_the_acquirer_that_was_sent_to(process: Process) -> None:
    of = await _in_doubt(process)
    assert isinstance(await process.resolve("inquire", of), ReversalDue)
    assert isinstance(await process.resolve("reverse", of), Settled)
    assert (await process.ledger.operation(of.id)).status is OperationStatus.FAILED


@pytest.mark.parametrize("identities", [ANOTHER, {}], ids=["another", "not pinned"])
@pytest.mark.parametrize("reversible", [True, False])
@pytest.mark.parametrize("answer", [NotKnown(), Reversed()], ids=lambda answer: answer.kind)
async def test_what_another_acquirer_does_not_know_is_unknown(
    process: Process,
    connector: FakeConnector,
    identities: dict[str, str],
    reversible: bool,
    answer: NotKnown | Reversed,
) -> None:
    of = await _in_doubt(process)
    process.identities = identities
    connector.capabilities = replace(CAPABILITIES, reversal_by_reference=reversible)
    connector.answers["inquire"] = answer
    due = await process.resolve("inquire", of)
    assert isinstance(due, InquiryDue)
    assert due.reason == "another_acquirer"
    await process.resolve("hear", of, f"{of.id}-1")
    assert (await process.ledger.operation(of.id)).status is OperationStatus.PENDING
    assert (await process.ledger.latest(of.id)).state is A.UNKNOWN


async def test_what_was_sent_before_accounts_were_pinned_is_unknown_at_a_pinned_one(
    process: Process, connector: FakeConnector
) -> None:
    process.identities = {}
    of = await _in_doubt(process)
    process.identities = dict(OURS)
    connector.capabilities = replace(CAPABILITIES, reversal_by_reference=False)
    assert isinstance(await process.resolve("inquire", of), InquiryDue)
    assert (await process.ledger.operation(of.id)).status is OperationStatus.PENDING


async def test_credentials_that_are_refused_decide_nothing(
    process: Process, connector: FakeConnector
) -> None:
    """Of an inquiry, after finality too, and of the reversal that follows where nothing was found."""
    of = await _in_doubt(process)
    connector.answers["inquire"] = connector.answers["reverse"] = Rejected("HTTP 401")
    due = await process.resolve("inquire", of)
    assert isinstance(due, InquiryDue)
    assert due.reason == "rejected"
    assert (await process.ledger.latest(of.id)).state is A.UNKNOWN
    reversal = await process.resolve("reverse", of)
    assert isinstance(reversal, ReversalDue)
    assert reversal.reason == "rejected"
    assert (await process.ledger.latest(of.id)).state is A.REVERSING
    assert (await process.ledger.operation(of.id)).status is OperationStatus.PENDING


async def test_nothing_is_reversed_at_another_acquirer(process: Process, connector: FakeConnector) -> None:
    of = await _in_doubt(process)
    process.identities = dict(ANOTHER)
    due = await process.resolve("reverse", of)
    assert isinstance(due, ReversalDue)
    assert due.reason == "another_acquirer"
    assert "reverse" not in [name for name, _ in connector.calls]
    assert (await process.ledger.latest(of.id)).state is A.UNKNOWN


async def test_nothing_is_cancelled_at_another_acquirer(process: Process, connector: FakeConnector) -> None:
    connector.capabilities = replace(CAPABILITIES, challenge_ends="cancelled", needs_action=True)
    connector.answers["cancel"] = Cancelled()
    paid = await process.ledger.add_payment(S.PROCESSING)
    of = await process.ledger.add_operation(paid, K.AUTHORIZE, state=A.UNKNOWN)
    await process.ledger.rows(
        "UPDATE attempts SET connector_reference = 'acq-1', acquirer_identity = 'acct_ours'"
        " WHERE operation_id = :id RETURNING 1",
        id=of.id,
    )
    process.identities = dict(ANOTHER)
    due = await process.resolve("reverse", of, not_found=False)
    assert isinstance(due, InquiryDue)
    assert due.reason == "another_acquirer"
    assert connector.calls == []
    process.identities = dict(OURS)
    assert isinstance(await process.resolve("reverse", of, not_found=False), Settled)


async def test_a_success_that_another_acquirer_knows_counts(
    process: Process, connector: FakeConnector
) -> None:
    """Nobody else sends under our reference."""
    of = await _in_doubt(process)
    process.identities = dict(ANOTHER)
    connector.answers["inquire"] = approval(of)
    assert isinstance(await process.resolve("inquire", of), Settled)
    assert (await process.ledger.operation(of.id)).status is OperationStatus.SUCCEEDED
