"""The activities over a real Postgres and a connector that says what a test says."""

from dataclasses import replace

import pytest
from temporalio.testing import ActivityEnvironment

from activities.messages import InquiryDue, NothingSent, NotOwner, ReversalDue, Settled
from payonce.claims import Claimant
from payonce.clock import boot_clock_s
from payonce.connectors.base import call_of
from payonce.domain.errors import NotFound as MissingOperation
from payonce.domain.errors import NotSent, OutcomeUnknown, RateLimited, Rejected
from payonce.domain.facts import (
    DeclineCode,
    Declined,
    FailureCode,
    Inquiry,
    NotKnown,
    NotProcessed,
    Pending,
    Reversed,
)
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.recording import recorder as recording
from payonce.rights import SEND_WITHIN_S, Right
from payonce.storage import attempts
from payonce.storage.driver.database import CommitUnknown
from tests.storage.acting import (
    ACCOUNTS,
    CAPABILITIES,
    FakeConnector,
    Overtaken,
    Process,
    age,
    capture_of,
    request,
)
from tests.storage.ledger import IDS, Ledger, subject
from tests.support.rows import approval

K, S, A = OperationKind, PaymentStatus, AttemptState


@pytest.fixture
def connector() -> FakeConnector:
    return FakeConnector()


@pytest.fixture
def process(shared_ledger: Ledger, connector: FakeConnector) -> Process:
    return Process(shared_ledger, connector)


async def test_an_attempt_is_claimed_sent_and_recorded(process: Process, connector: FakeConnector) -> None:
    capture = await capture_of(process.ledger, claimed=False)
    connector.answers["send"] = approval(capture)
    progress = await process.attempt(capture)
    assert isinstance(progress, Settled)
    assert (progress.status, progress.open) == ("captured", False)
    assert connector.calls == [("send", f"{capture.id}-1")]


async def test_an_operation_of_another_payment_is_neither_sent_nor_changed(
    process: Process, connector: FakeConnector
) -> None:
    """As a person could ask for it by an update in the Web UI: the lock would be the wrong payment's."""
    capture = await capture_of(process.ledger, claimed=False)
    other = await process.ledger.add_payment(S.AUTHORIZED)
    mixed = replace(capture, payment_id=other.id)
    with pytest.raises(MissingOperation):
        await process.attempt(mixed)
    for activity in ("inquire", "reverse", "give_up"):
        with pytest.raises(MissingOperation):
            await process.resolve(activity, mixed)
    with pytest.raises(MissingOperation):
        await process.resolve("call_operator", mixed, "by mistake")
    assert connector.calls == []
    assert await process.ledger.operation(capture.id) == capture


async def test_the_claim_is_committed_before_the_first_byte(
    process: Process, connector: FakeConnector
) -> None:
    capture = await capture_of(process.ledger, claimed=False)
    found: list[AttemptState] = []

    async def look() -> None:
        found.append((await process.ledger.latest(capture.id)).state)

    connector.before = look
    connector.answers["send"] = approval(capture)
    await process.attempt(capture)
    assert found == [A.CLAIMED]


@pytest.mark.parametrize(
    ("error", "state", "progress"),
    [
        (OutcomeUnknown("reset"), A.UNKNOWN, InquiryDue),
        (NotSent(), A.NOT_SENT, NothingSent),
        (Rejected(), A.NOT_SENT, NothingSent),
        (RateLimited(retry_after_s=1), A.NOT_SENT, NothingSent),
    ],
    ids=lambda value: getattr(value, "code", None),
)
async def test_an_error_is_unknown_unless_nothing_was_provably_sent(
    process: Process, connector: FakeConnector, error: Exception, state: AttemptState, progress: type
) -> None:
    capture = await capture_of(process.ledger, claimed=False)
    connector.answers["send"] = error
    assert isinstance(await process.attempt(capture), progress)
    assert (await process.ledger.latest(capture.id)).state is state


@pytest.mark.parametrize("local", [True, False])
async def test_a_second_run_of_an_attempt_never_sends(
    process: Process, connector: FakeConnector, local: bool
) -> None:
    """Whether in the same process or in another one."""
    capture = await capture_of(process.ledger, claimed=False)
    connector.answers["send"] = OutcomeUnknown("timeout")
    for again in (process, process, Process(process.ledger, connector)):
        assert isinstance(await again.attempt(capture, local=local), InquiryDue)
    assert connector.calls == [("send", f"{capture.id}-1")]


async def test_a_right_whose_time_is_over_is_not_used(process: Process, connector: FakeConnector) -> None:
    paid = await process.ledger.add_payment()
    authorization = await process.ledger.add_operation(paid, K.AUTHORIZE)
    call = call_of(paid, authorization, reference=f"{authorization.id}-1")
    late = Right(call, 1, "run_1", "account_1", deadline=boot_clock_s() - 0.001)
    process.rights.grant(authorization.id, late)
    progress = await process.attempt(authorization)
    assert isinstance(progress, NothingSent)
    assert connector.calls == []
    assert (await process.ledger.latest(authorization.id)).state is A.NOT_SENT


async def test_a_create_is_sent_by_the_process_that_holds_the_right(
    process: Process, connector: FakeConnector
) -> None:
    paid = await process.ledger.add_payment()
    authorization = await process.ledger.add_operation(paid, K.AUTHORIZE)
    connector.answers["send"] = approval(authorization)
    other = Process(process.ledger, connector)
    assert await other.attempt(authorization) == NotOwner("boot_1")
    call = call_of(paid, authorization, reference=f"{authorization.id}-1")
    process.rights.grant(
        authorization.id, Right(call, 1, "run_1", "account_1", boot_clock_s() + SEND_WITHIN_S)
    )
    assert isinstance(await process.attempt(authorization, local=False), Settled)
    assert isinstance(await other.attempt(authorization), Settled)
    assert connector.calls == [("send", f"{authorization.id}-1")]


async def test_an_unsent_capture_is_sent_again_under_a_reference_of_its_own(
    process: Process, connector: FakeConnector
) -> None:
    capture = await capture_of(process.ledger, claimed=False)
    connector.answers["send"] = NotSent()
    await process.attempt(capture)
    connector.answers["send"] = approval(capture)
    assert isinstance(await process.attempt(capture), Settled)
    assert connector.calls == [("send", f"{capture.id}-1"), ("send", f"{capture.id}-2")]


@pytest.mark.parametrize(
    ("found", "status"),
    [(None, "captured"), (Declined(DeclineCode.DO_NOT_HONOR), "authorized"), (Reversed(), "authorized")],
    ids=str,
)
async def test_what_an_inquiry_finds_counts_at_once(
    process: Process, connector: FakeConnector, found: Inquiry | None, status: str
) -> None:
    capture = await capture_of(process.ledger, state=A.UNKNOWN)
    connector.answers["inquire"] = found or approval(capture)
    progress = await process.resolve("inquire", capture)
    assert isinstance(progress, Settled)
    assert progress.status == status
    assert connector.calls == [("inquire", f"{capture.id}-1")]


async def test_a_reversal_is_of_the_claim_that_was_inquired_about_and_of_no_other(
    process: Process, connector: FakeConnector
) -> None:
    """The claim was released meanwhile, and the next one sent and charged: a good charge was reversed."""
    capture = await capture_of(process.ledger)
    await age(process.ledger, capture)
    connector.answers |= {"inquire": NotKnown(), "reverse": Reversed()}
    due = await process.resolve("inquire", capture)
    assert isinstance(due, ReversalDue)
    async with process.ledger.database.transaction() as connection:
        await attempts.release(connection, operation_id=capture.id, number=1, token="run_1")
    connector.answers["send"] = OutcomeUnknown("slow")
    await process.attempt(capture)
    await age(process.ledger, capture)
    resolving = process.resolving()
    asked = replace(request(capture), token=due.token)
    assert isinstance(await ActivityEnvironment().run(resolving.reverse, asked), InquiryDue)
    assert "reverse" not in [call for call, _ in connector.calls]
    assert (await process.ledger.latest(capture.id)).state is A.UNKNOWN


@pytest.mark.parametrize("state", [A.CLAIMED, A.UNKNOWN])
async def test_not_found_proves_nothing_before_finality(
    process: Process, connector: FakeConnector, state: AttemptState
) -> None:
    capture = await capture_of(process.ledger, state=state)
    connector.answers["inquire"] = NotKnown()
    assert isinstance(await process.resolve("inquire", capture), InquiryDue)
    assert isinstance(await process.resolve("reverse", capture), InquiryDue)
    assert [name for name, _ in connector.calls] == ["inquire"]
    assert (await process.ledger.operation(capture.id)).status is OperationStatus.PENDING


@pytest.mark.parametrize(
    "answer", [Pending("acq-1"), OutcomeUnknown("timeout"), RateLimited(retry_after_s=1)]
)
async def test_a_doubtful_inquiry_is_repeated(
    process: Process, connector: FakeConnector, answer: Inquiry | Exception
) -> None:
    capture = await capture_of(process.ledger, state=A.UNKNOWN)
    await age(process.ledger, capture)
    connector.answers["inquire"] = answer
    assert isinstance(await process.resolve("inquire", capture), InquiryDue)


@pytest.mark.parametrize(
    ("kind", "state", "code"),
    [
        (K.AUTHORIZE, A.CLAIMED, "card_data_lost"),
        (K.AUTHORIZE, A.UNKNOWN, "not_processed"),
        (K.CAPTURE, A.CLAIMED, "not_processed"),
    ],
)
async def test_not_found_after_finality_is_reversed_first_and_then_failed(
    process: Process, connector: FakeConnector, kind: OperationKind, state: AttemptState, code: str
) -> None:
    paid = await process.ledger.add_payment(S.INIT if kind is K.AUTHORIZE else S.AUTHORIZED)
    of = await process.ledger.add_operation(paid, kind, state=state)
    await age(process.ledger, of)
    connector.answers |= {"inquire": NotKnown(), "reverse": Reversed()}
    assert isinstance(await process.resolve("inquire", of), ReversalDue)
    assert isinstance(await process.resolve("reverse", of), Settled)
    assert connector.calls == [("inquire", f"{of.id}-1"), ("reverse", f"{of.id}-1")]
    error = (await process.ledger.payment(paid.id)).last_error
    assert error is not None
    assert error["code"] == code


async def test_a_success_that_comes_during_the_reversal_does_not_count(
    process: Process, connector: FakeConnector
) -> None:
    """The reversal is marked in Postgres before it is sent: a success that it undoes is never recorded."""
    capture = await capture_of(process.ledger, state=A.UNKNOWN)
    await age(process.ledger, capture)

    async def zombie() -> None:
        await process.ledger.recorder().record(subject(capture), attempt=1, fact=approval(capture))

    connector.before = zombie
    connector.answers["reverse"] = Reversed()
    assert isinstance(await process.resolve("reverse", capture), Settled)
    after = await process.ledger.payment(capture.payment_id)
    assert (after.status, after.amount_captured_minor) == (S.AUTHORIZED, 0)


async def test_a_mark_that_was_only_read_is_proven_before_the_acquirer_is_called(
    process: Process, connector: FakeConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be on this server only: a fail-over forgets it, and what the owner heard is recorded and reversed."""
    capture = await capture_of(process.ledger, state=A.REVERSING)
    await age(process.ledger, capture)
    monkeypatch.setattr(recording, "_RETRY_DELAYS_S", ())
    connector.answers["reverse"] = Reversed()
    async with process.ledger.flaky("lost answer") as flaky:
        unproven = replace(process, ledger=replace(process.ledger, database=flaky))
        with pytest.raises(CommitUnknown):
            await unproven.resolve("reverse", capture)
        assert connector.calls == []
        assert isinstance(await unproven.resolve("reverse", capture), Settled)
    assert connector.calls == [("reverse", f"{capture.id}-1")]


async def test_what_has_an_outcome_by_then_is_not_reversed(
    process: Process, connector: FakeConnector
) -> None:
    capture = await capture_of(process.ledger, state=A.UNKNOWN)
    await age(process.ledger, capture)
    await process.ledger.recorder().record(subject(capture), attempt=1, fact=approval(capture))
    assert isinstance(await process.resolve("reverse", capture), Settled)
    assert connector.calls == []


async def test_a_reversal_that_is_not_confirmed_is_repeated(
    process: Process, connector: FakeConnector
) -> None:
    capture = await capture_of(process.ledger, state=A.UNKNOWN)
    await age(process.ledger, capture)
    connector.answers["reverse"] = OutcomeUnknown("timeout")
    for _ in range(2):
        assert isinstance(await process.resolve("reverse", capture), ReversalDue)
    assert isinstance(await process.resolve("inquire", capture), ReversalDue)
    connector.answers["reverse"] = Reversed()
    assert isinstance(await process.resolve("reverse", capture), Settled)


async def test_where_nothing_can_be_reversed_not_found_after_finality_is_proof_enough(
    shared_ledger: Ledger,
) -> None:
    connector = FakeConnector(capabilities=replace(CAPABILITIES, reversal_by_reference=False))
    connector.answers["inquire"] = NotKnown()
    capture = await capture_of(shared_ledger, state=A.UNKNOWN)
    await age(shared_ledger, capture)
    assert isinstance(await Process(shared_ledger, connector).resolve("inquire", capture), Settled)
    assert (await shared_ledger.operation(capture.id)).status is OperationStatus.FAILED


async def test_another_amount_that_cannot_be_reversed_calls_an_operator(shared_ledger: Ledger) -> None:
    connector = FakeConnector(capabilities=replace(CAPABILITIES, reversal_by_reference=False))
    capture = await capture_of(shared_ledger, claimed=False)
    connector.answers["send"] = approval(capture, amount_minor=1)
    process = Process(shared_ledger, connector)
    assert isinstance(await process.attempt(capture), ReversalDue)
    assert isinstance(await process.resolve("reverse", capture), ReversalDue)
    after = await shared_ledger.payment(capture.payment_id)
    assert after.review is not None
    assert after.review["reason"] == "not_reversible"


@pytest.mark.parametrize("told", [False, True])
async def test_a_create_that_was_never_sent_fails_only_if_somebody_was_told_to_wait(
    process: Process, told: bool
) -> None:
    paid = await process.ledger.add_payment()
    authorization = await process.ledger.add_operation(paid, K.AUTHORIZE, state=A.NOT_SENT)
    if told:
        await process.ledger.recorder().defer(subject(authorization))
    progress = await process.resolve("give_up", authorization)
    assert isinstance(progress, Settled if told else NothingSent)
    assert (await process.ledger.payment(paid.id)).status is (S.FAILED if told else S.INIT)


async def test_what_a_retry_claims_while_it_is_given_up_is_not_taken_for_settled(process: Process) -> None:
    """Between the look at the unsent attempt and the lock, the key goes on with a further one."""
    paid = await process.ledger.add_payment()
    authorization = await process.ledger.add_operation(paid, K.AUTHORIZE, state=A.NOT_SENT)
    await process.ledger.recorder().defer(subject(authorization))
    other = Process(process.ledger, process.connector)
    call = call_of(paid, authorization, reference=f"{paid.id}-1")
    other.rights.keep_unsent(paid.id, Right(call, 1, "run_1", "account_1", boot_clock_s()))
    claimant = Claimant(process.ledger.database, other.rights, ACCOUNTS)

    async def retry() -> None:
        assert isinstance(await claimant.claim(payment_id=paid.id, operation_id=paid.id), Right)

    overtaken = Overtaken(process.ledger.recorder(), retry)
    progress = await process.resolve("give_up", authorization, recorder=overtaken)
    assert progress == NotOwner(other.rights.owner)
    assert (await process.ledger.operation(authorization.id)).status is OperationStatus.PENDING
    assert (await process.ledger.payment(paid.id)).status is S.PROCESSING


async def test_a_capture_sent_while_it_is_given_up_is_inquired_about(process: Process) -> None:
    """Another run, in a process that was stopped and goes on, makes a further attempt."""
    capture = await capture_of(process.ledger, state=A.NOT_SENT)
    process.connector.answers["send"] = OutcomeUnknown("timeout")
    other = Process(process.ledger, process.connector)

    overtaken = Overtaken(process.ledger.recorder(), lambda: other.attempt(capture))
    assert isinstance(await process.resolve("give_up", capture, recorder=overtaken), InquiryDue)
    assert process.connector.calls == [("send", f"{capture.id}-2")]
    assert (await process.ledger.operation(capture.id)).status is OperationStatus.PENDING


async def test_a_late_success_is_undone_at_its_own_account(
    process: Process, connector: FakeConnector
) -> None:
    capture = await capture_of(process.ledger)
    recorder = process.ledger.recorder()
    await recorder.record(subject(capture), attempt=1, fact=NotProcessed(FailureCode.NOT_PROCESSED))
    await recorder.record(subject(capture), attempt=1, fact=approval(capture))
    reversal = await process.ledger.operation(IDS.reversal(reference=f"{capture.id}-1"))
    connector.answers["reverse"] = OutcomeUnknown("timeout")
    assert isinstance(await process.resolve("reverse_late", reversal), ReversalDue)
    connector.answers["reverse"] = Reversed()
    for _ in range(2):
        assert isinstance(await process.resolve("reverse_late", reversal), Settled)
    assert connector.calls == [("reverse", f"{capture.id}-1")] * 2
    assert (await process.ledger.operation(reversal.id)).status is OperationStatus.SUCCEEDED


async def test_a_late_success_that_was_only_read_is_proven_before_it_is_undone(
    process: Process, connector: FakeConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fail-over may forget the failure that it contradicts: then the success counts, and must stand."""
    capture = await capture_of(process.ledger)
    recorder = process.ledger.recorder()
    await recorder.record(subject(capture), attempt=1, fact=NotProcessed(FailureCode.NOT_PROCESSED))
    await recorder.record(subject(capture), attempt=1, fact=approval(capture))
    reversal = await process.ledger.operation(IDS.reversal(reference=f"{capture.id}-1"))
    monkeypatch.setattr(recording, "_RETRY_DELAYS_S", ())
    connector.answers["reverse"] = Reversed()
    async with process.ledger.flaky("lost answer") as flaky:
        unproven = replace(process, ledger=replace(process.ledger, database=flaky))
        with pytest.raises(CommitUnknown):
            await unproven.resolve("reverse_late", reversal)
    assert connector.calls == []
