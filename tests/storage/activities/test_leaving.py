"""Customers who leave, over a real Postgres: a void, or the end of their time, and what the acquirer then says."""

from dataclasses import replace
from typing import Any

import pytest

from activities.messages import ActionDue, InquiryDue, NothingSent, ReversalDue, Settled
from payonce.domain.errors import OperationInProgress, OutcomeUnknown, Rejected
from payonce.domain.facts import (
    Cancellation,
    Cancelled,
    DeclineCode,
    Declined,
    EndsItself,
    Expired,
    FailureCode,
    Foreign,
    NotKnown,
    Pending,
    Redone,
    Refused,
    Reversed,
    Turn,
    Undone,
)
from payonce.domain.ids import attempt_reference
from payonce.domain.operations import AttemptState, Operation, OperationKind, OperationStatus, Origin
from payonce.domain.payment import PaymentStatus
from payonce.domain.schedules import LOOKS
from tests.storage.acting import FakeConnector, Process, age
from tests.storage.customers import (
    UPI,
    answer_of,
    asked,
    called,
    create_of,
    given_up,
    lapsed,
    of_payment,
    waiting,
)
from tests.storage.ledger import IDS, Ledger, subject
from tests.support.rows import approval, captured

K, S, A, O = OperationKind, PaymentStatus, AttemptState, OperationStatus
UNDECIDED = [
    EndsItself(),
    Pending("acq-authorize"),
    asked(),
    NotKnown(),
    OutcomeUnknown("500"),
    Rejected("401"),
]


@pytest.fixture
def connector() -> FakeConnector:
    return FakeConnector(capabilities=replace(UPI, challenge_ends="cancelled"))


@pytest.fixture
def process(shared_ledger: Ledger, connector: FakeConnector) -> Process:
    return Process(shared_ledger, connector)


async def test_a_void_shows_at_once_that_nobody_is_to_act_any_more(process: Process) -> None:
    create = await waiting(process)
    await given_up(process, create)
    paid = await process.ledger.payment(create.payment_id)
    assert (paid.status, paid.next_action) == (S.REQUIRES_ACTION, None)
    attempt = await process.ledger.latest(create.id)
    assert (attempt.state, attempt.failure_code) == (A.UNKNOWN, "abandoned")


@pytest.mark.parametrize("by", ["void", "authorize"])
async def test_what_is_given_up_is_cancelled_by_our_reference_and_voided(process: Process, by: str) -> None:
    """Whichever of the two loops comes first; nothing is sent for the void itself."""
    create = await waiting(process)
    void = await given_up(process, create)
    process.connector.answers["cancel"] = Cancelled()
    assert isinstance(await process.attempt(void), ReversalDue)
    progress = await process.resolve("reverse", void if by == "void" else create, not_found=False)
    assert isinstance(progress, Settled)
    assert progress.status == "voided"
    for of in (void, create):
        assert isinstance(await process.resolve("inquire", of), Settled)
    paid = await process.ledger.payment(create.payment_id)
    assert (paid.status, paid.next_action, paid.pending_operation) == (S.VOIDED, None, None)
    assert (await process.ledger.operation(void.id)).status is O.SUCCEEDED
    assert (await process.ledger.operation(create.id)).status is O.FAILED
    assert process.connector.calls[1:] == [("cancel", attempt_reference(create.id, 1))]
    assert (await answer_of(process.ledger, void))["status"] == "voided"
    assert await of_payment(process, create) == ["requires_action", "voided"]


@pytest.mark.parametrize("found", UNDECIDED, ids=lambda found: type(found).__name__)
async def test_a_void_that_the_acquirer_does_not_confirm_is_asked_about_and_tried_again(
    process: Process, found: Cancellation | Exception
) -> None:
    create = await waiting(process)
    void = await given_up(process, create)
    process.connector.answers |= {"cancel": found, "inquire": asked()}
    for _ in range(2):
        assert isinstance(await process.resolve("reverse", void), InquiryDue)  # a pause, in any case
        assert isinstance(await process.resolve("inquire", void), ReversalDue)
    assert called(process) == ["send", "cancel", "inquire", "cancel", "inquire"]
    paid = await process.ledger.payment(create.payment_id)
    assert paid.pending_operation is not None
    assert paid.status is S.REQUIRES_ACTION
    assert (await process.ledger.operation(void.id)).deferred_at is not None  # answered with 202
    assert await answer_of(process.ledger, void) is None
    process.connector.answers["cancel"] = Cancelled()
    assert (await process.resolve("reverse", void)).status == "voided"


@pytest.mark.parametrize(
    "found",
    [
        Declined(DeclineCode.DO_NOT_HONOR),
        Declined(DeclineCode.AUTHENTICATION_FAILED),
        Expired(),
        Refused("gone"),
        Reversed(),
    ],
    ids=str,
)
@pytest.mark.parametrize("by", ["cancel", "inquire", "hear"])
async def test_a_definite_no_ends_the_void_however_it_is_heard(
    process: Process, found: Cancellation, by: str
) -> None:
    create = await waiting(process)
    void = await given_up(process, create)
    process.connector.answers |= {"cancel": EndsItself(), "inquire": found}
    if by == "cancel":
        process.connector.answers["cancel"] = found
        progress = await process.resolve("reverse", void)
    elif by == "inquire":
        progress = await process.resolve("inquire", void)
    else:
        progress = await process.resolve("hear", create, attempt_reference(create.id, 1))
    assert isinstance(progress, Settled)
    assert progress.status == "voided"
    assert (await answer_of(process.ledger, void))["status"] == "voided"
    assert (await process.ledger.operation(void.id)).status is O.SUCCEEDED


async def paid_meanwhile(process: Process, by: str = "cancel", **changes: Any) -> tuple[Operation, Operation]:
    """A create that its customer paid between the void and the cancellation, and its void."""
    create = await waiting(process)
    void = await given_up(process, create)
    process.connector.answers |= dict.fromkeys(("cancel", "inquire"), captured(create, **changes))
    if by == "hear":
        await process.resolve("hear", create, attempt_reference(create.id, 1))
    else:
        await process.resolve("reverse" if by == "cancel" else by, void)
    return create, void


@pytest.mark.parametrize("by", ["cancel", "inquire", "hear"])
async def test_a_payment_made_meanwhile_is_recorded_and_refunded_by_us(process: Process, by: str) -> None:
    create, void = await paid_meanwhile(process, by)
    paid = await process.ledger.payment(create.payment_id)
    assert (paid.status, paid.amount_refund_pending_minor, paid.refundable_minor) == (S.CAPTURED, 1000, 0)
    refund = await process.ledger.operation(IDS.release(void_id=void.id))
    assert (refund.kind, refund.origin, refund.status) == (K.REFUND, Origin.PAYONCE, O.PENDING)
    assert (refund.amount_minor, refund.ends_operation) == (1000, void.id)
    rows = await process.ledger.rows(
        "SELECT sweep_at <= now() AS due FROM operations WHERE id = :id", id=refund.id
    )
    assert rows[0].due  # the sweeper starts it, as any other
    assert await of_payment(process, create) == ["requires_action", "authorized", "captured"]


async def test_nothing_is_sent_for_a_void_that_a_refund_ends(process: Process) -> None:
    create, void = await paid_meanwhile(process)
    calls = list(process.connector.calls)
    for step in (process.attempt(void), process.resolve("inquire", void), process.resolve("reverse", void)):
        assert await step == InquiryDue(LOOKS, "refund")
    assert process.connector.calls == calls
    found = await process.resolve("inquire", create)
    assert isinstance(found, Settled)
    assert found.open  # the payment's workflow stays for the void
    assert found.pending is not None


async def test_the_void_ends_with_our_refund_and_the_payment_as_released(process: Process) -> None:
    create, void = await paid_meanwhile(process)
    refund = await process.ledger.operation(IDS.release(void_id=void.id))
    process.connector.answers["send"] = approval(refund)
    assert isinstance(await process.attempt(refund), Settled)
    assert (await process.ledger.operation(void.id)).status is O.SUCCEEDED
    answer = await answer_of(process.ledger, void)
    assert (answer["status"], answer["amount_refunded"], answer["pending_operation"]) == (
        "refunded",
        1000,
        None,
    )
    assert isinstance(await process.resolve("inquire", void), Settled)
    events = [type_ for _, type_ in await process.ledger.events(create.payment_id)]
    assert events[-2:] == ["refund.succeeded", "payment.refunded"]


@pytest.mark.parametrize(
    ("turn", "again"),
    [
        (Undone("acq-u1", 1000, "INR", "rejected"), Redone("acq-r1", 1000, "INR")),
        (Undone("acq-u1", 400, "INR", "rejected"), Redone("acq-r1", 400, "INR")),
    ],
)
async def test_what_the_acquirer_took_back_is_not_refunded_until_it_is_there_again(
    process: Process, turn: Turn, again: Turn
) -> None:
    """One answer may tell both that it was captured, and that it is not any more."""
    create, void = await paid_meanwhile(process)
    recorder = process.ledger.recorder()
    await recorder.record(subject(create), attempt=1, fact=turn)
    refund = await process.ledger.operation(IDS.release(void_id=void.id))
    process.connector.answers["send"] = approval(refund)
    calls = list(process.connector.calls)
    assert await process.attempt(refund) == NothingSent("lacking", may_retry=True, no_attempt=True)
    assert process.connector.calls == calls
    await recorder.record(subject(create), attempt=1, fact=again)
    assert isinstance(await process.attempt(refund), Settled)
    assert (await process.ledger.operation(void.id)).status is O.SUCCEEDED
    assert (await process.ledger.payment(create.payment_id)).status is S.REFUNDED


async def test_what_others_refunded_is_not_refunded_by_us_as_well(process: Process) -> None:
    create, void = await paid_meanwhile(process)
    foreign = Foreign("acq-f1", "refund", 400, "INR")
    await process.ledger.recorder().record(subject(create), attempt=1, fact=foreign)
    refund = await process.ledger.operation(IDS.release(void_id=void.id))
    calls = list(process.connector.calls)
    assert isinstance(await process.attempt(refund), NothingSent)
    assert process.connector.calls == calls
    assert (await process.ledger.payment(create.payment_id)).review is not None


async def test_a_refund_of_ours_whose_outcome_is_unknown_is_inquired_about_like_any_other(
    process: Process,
) -> None:
    _, void = await paid_meanwhile(process)
    refund = await process.ledger.operation(IDS.release(void_id=void.id))
    process.connector.answers |= {"send": OutcomeUnknown("timeout"), "inquire": approval(refund)}
    assert isinstance(await process.attempt(refund), InquiryDue)
    assert (await process.ledger.operation(void.id)).status is O.PENDING
    assert isinstance(await process.resolve("inquire", refund), Settled)
    assert (await process.ledger.operation(void.id)).status is O.SUCCEEDED


@pytest.mark.parametrize("how", ["declined", "never sent"])
async def test_a_refund_of_ours_that_fails_ends_the_void_with_402_and_a_review(
    process: Process, how: str
) -> None:
    create, void = await paid_meanwhile(process)
    refund = await process.ledger.operation(IDS.release(void_id=void.id))
    if how == "declined":
        process.connector.answers["send"] = Declined(DeclineCode.PROCESSING_ERROR)
        await process.attempt(refund)
    else:
        await process.ledger.recorder().give_up(subject(refund), code=FailureCode.NOT_PROCESSED)
    answer = await answer_of(process.ledger, void)
    assert answer["code"] == ("payment_declined" if how == "declined" else "payment_failed")
    assert (answer["payment"]["status"], answer["payment"]["amount_refundable"]) == ("captured", 1000)
    paid = await process.ledger.payment(create.payment_id)
    assert paid.review is not None
    assert (paid.review["reason"], paid.pending_operation) == ("void_not_refunded", None)
    assert (await process.ledger.operation(void.id)).status is O.FAILED
    assert (await of_payment(process, create))[-1] == "needs_review"


async def test_what_is_only_authorized_is_released_by_the_void_itself(process: Process) -> None:
    paid = await process.ledger.add_payment(capture_method="manual")
    create = await process.ledger.add_operation(paid, K.AUTHORIZE, claimed=False)
    process.connector.answers["send"] = asked()
    await process.attempt(create)
    void = await given_up(process, create)
    process.connector.answers["cancel"] = approval(create)
    assert isinstance(await process.resolve("reverse", void), NothingSent)
    assert (await process.ledger.payment(paid.id)).status is S.AUTHORIZED
    process.connector.answers["send"] = approval(void)
    assert isinstance(await process.attempt(void), Settled)
    assert called(process) == ["send", "cancel", "send"]
    assert (await answer_of(process.ledger, void))["status"] == "voided"
    assert await of_payment(process, create) == ["requires_action", "authorized", "voided"]


async def test_a_success_after_the_cancellation_is_late_and_the_void_stays(process: Process) -> None:
    create = await waiting(process)
    void = await given_up(process, create)
    process.connector.answers |= {"cancel": Cancelled(), "inquire": captured(create)}
    await process.resolve("reverse", void)
    for _ in range(2):
        await process.resolve("hear", create, attempt_reference(create.id, 1))
    paid = await process.ledger.payment(create.payment_id)
    assert (paid.status, paid.amount_captured_minor) == (S.VOIDED, 0)
    reversal = await process.ledger.operation(IDS.reversal(reference=attempt_reference(create.id, 1)))
    assert (reversal.kind, reversal.status) == (K.REVERSE, O.PENDING)
    assert await of_payment(process, create) == ["requires_action", "voided", "late_success"]


async def test_two_voids_are_one(process: Process) -> None:
    create = await waiting(process)
    await given_up(process, create, by="first")
    with pytest.raises(OperationInProgress):
        await given_up(process, create, by="second")


async def test_a_void_of_what_nobody_was_asked_for_is_in_progress(process: Process) -> None:
    create = await create_of(process.ledger, state=A.UNKNOWN)
    await process.ledger.recorder().defer(subject(create))
    with pytest.raises(OperationInProgress):
        await given_up(process, create)


@pytest.mark.parametrize("ends", ["cancelled", "itself"])
async def test_a_customer_whose_time_is_over_is_cancelled_where_that_is_for_us_to_do(
    process: Process, ends: Any
) -> None:
    process.connector.capabilities = replace(UPI, challenge_ends=ends)
    create = await waiting(process)
    await lapsed(process.ledger, create)
    process.connector.answers |= {"inquire": asked(), "cancel": Cancelled()}
    progress = await process.resolve("inquire", create)
    paid = await process.ledger.payment(create.payment_id)
    assert (paid.status, paid.next_action) == (S.PROCESSING, None)
    if ends == "itself":
        assert isinstance(progress, InquiryDue)
        assert isinstance(await process.resolve("reverse", create, not_found=False), InquiryDue)
        assert "cancel" not in called(process)
        return
    assert isinstance(progress, ReversalDue)
    done = await process.resolve("reverse", create, not_found=False)
    assert isinstance(done, Settled)
    assert (done.status, done.watched) == ("failed", attempt_reference(create.id, 1))
    error = (await process.ledger.payment(create.payment_id)).last_error
    assert error is not None
    assert error["code"] == "abandoned"
    assert await of_payment(process, create) == ["requires_action", "processing", "failed"]


async def test_while_there_is_time_nothing_is_cancelled(process: Process) -> None:
    create = await waiting(process)
    process.connector.answers["inquire"] = asked()
    assert isinstance(await process.resolve("inquire", create), ActionDue)
    assert isinstance(await process.resolve("reverse", create, not_found=False), ActionDue)
    assert called(process) == ["send", "inquire"]


@pytest.mark.parametrize("by", ["cancel", "inquire"])
async def test_a_success_that_comes_before_the_confirmation_counts(process: Process, by: str) -> None:
    create = await waiting(process)
    await lapsed(process.ledger, create)
    process.connector.answers |= {"inquire": asked(), "cancel": OutcomeUnknown("timeout")}
    await process.resolve("inquire", create)
    assert isinstance(await process.resolve("reverse", create, not_found=False), InquiryDue)
    process.connector.answers |= dict.fromkeys(("cancel", "inquire"), captured(create))
    progress = await process.resolve("reverse" if by == "cancel" else by, create, not_found=False)
    assert isinstance(progress, Settled)
    assert (progress.status, progress.pending) == ("captured", None)
    assert await of_payment(process, create) == ["requires_action", "processing", "authorized", "captured"]


async def test_a_cancellation_whose_answer_was_lost_is_found(process: Process) -> None:
    """The inquiry says that whatever it was is undone and blocked."""
    create = await waiting(process)
    await lapsed(process.ledger, create)
    process.connector.answers["inquire"] = asked()
    await process.resolve("inquire", create)
    process.connector.answers |= {"cancel": OutcomeUnknown("timeout"), "inquire": Reversed()}
    await process.resolve("reverse", create, not_found=False)
    await process.resolve("inquire", create)
    error = (await process.ledger.payment(create.payment_id)).last_error
    assert error is not None
    assert error["code"] == "abandoned"


@pytest.mark.parametrize("ends", ["cancelled", "itself"])
async def test_a_void_is_accepted_once_the_time_is_over(process: Process, ends: Any) -> None:
    process.connector.capabilities = replace(UPI, challenge_ends=ends)
    create = await waiting(process)
    await lapsed(process.ledger, create)
    process.connector.answers |= {"inquire": asked(), "cancel": Cancelled()}
    await process.resolve("inquire", create)
    void = await given_up(process, create)
    assert isinstance(await process.attempt(void), ReversalDue)
    assert (await process.resolve("reverse", void)).status == "voided"
    assert await of_payment(process, create) == ["requires_action", "processing", "voided"]


async def test_the_run_that_is_cancelling_at_the_end_of_the_time_and_a_void_meet(process: Process) -> None:
    """The void is admitted while the acquirer is being told: the cancellation is the void's outcome."""
    create = await waiting(process)
    await lapsed(process.ledger, create)
    process.connector.answers |= {"inquire": asked(), "cancel": Cancelled()}
    await process.resolve("inquire", create)
    voids: list[Operation] = []

    async def void() -> None:
        process.connector.before = None
        voids.append(await given_up(process, create))

    process.connector.before = void
    progress = await process.resolve("reverse", create, not_found=False)
    assert progress.status == "voided"
    assert (await process.ledger.operation(voids[0].id)).status is O.SUCCEEDED


async def test_the_authorizations_own_run_looks_on_while_its_void_asks(process: Process) -> None:
    """Two runs would ask the rail twice as often as it allows."""
    create = await waiting(process)
    await given_up(process, create)
    process.connector.answers["inquire"] = asked()
    progress = await process.resolve("inquire", create)
    assert isinstance(progress, InquiryDue)
    assert progress.schedule == UPI.inquiry.seldom


async def test_what_the_acquirer_does_not_know_after_finality_is_blocked_and_voided(process: Process) -> None:
    create = await waiting(process)
    void = await given_up(process, create)
    await age(process.ledger, create)
    process.connector.answers |= {"cancel": NotKnown(), "inquire": NotKnown(), "reverse": Reversed()}
    assert isinstance(await process.resolve("reverse", void), InquiryDue)
    due = await process.resolve("inquire", void)
    assert isinstance(due, ReversalDue)
    assert due.token == (await process.ledger.latest(create.id)).token
    assert (await process.resolve("reverse", void, token=due.token)).status == "voided"
    assert called(process) == ["send", "cancel", "inquire", "reverse"]


@pytest.mark.parametrize("by", ["void", "authorize"])
async def test_what_the_release_before_was_reversing_ends_as_it_did(process: Process, by: str) -> None:
    create = await waiting(process)
    void = await given_up(process, create)
    query = "UPDATE attempts SET state = 'reversing' WHERE operation_id = :id"
    await process.ledger.rows(query, id=create.id)
    process.connector.answers |= {"inquire": captured(create), "reverse": Reversed()}
    await process.resolve("hear", create, attempt_reference(create.id, 1))
    assert (await process.ledger.payment(create.payment_id)).status is S.REQUIRES_ACTION
    progress = await process.resolve("reverse", void if by == "void" else create)
    assert isinstance(progress, Settled)
    assert progress.status == "voided"
    assert called(process)[-1] == "reverse"


async def test_another_amount_of_what_was_given_up_is_reversed_and_voided(process: Process) -> None:
    create, void = await paid_meanwhile(process, amount_minor=999)
    process.connector.answers["reverse"] = Reversed()
    assert isinstance(await process.resolve("inquire", void), ReversalDue)
    assert (await process.resolve("reverse", void)).status == "voided"
    assert (await process.ledger.payment(create.payment_id)).amount_captured_minor == 0


async def test_a_review_of_the_authorization_ends_with_the_void(process: Process) -> None:
    create = await waiting(process)
    await lapsed(process.ledger, create)
    process.connector.answers |= {"inquire": asked(), "cancel": Cancelled()}
    await process.resolve("inquire", create)
    await process.ledger.recorder().review(subject(create), reason="pending")
    void = await given_up(process, create)
    await process.resolve("reverse", void)
    paid = await process.ledger.payment(create.payment_id)
    assert (paid.status, paid.review) == (S.VOIDED, None)


async def test_a_person_is_called_for_the_authorization_that_a_void_waits_for(process: Process) -> None:
    """Of the void nothing can be decided: it ends with that one."""
    create = await waiting(process)
    void = await given_up(process, create)
    await process.resolve("call_operator", void, "outcome_unknown")
    called_at = (await process.ledger.operation(create.id)).review_at
    assert called_at is not None
    assert (await process.ledger.operation(void.id)).review_at is None
    process.connector.answers["inquire"] = asked()
    due = await process.resolve("inquire", void)
    assert (type(due), due.review_since) == (ReversalDue, called_at)


async def test_a_recording_whose_answer_was_lost_is_made_once(process: Process) -> None:
    """The refund of ours and the end of the void are in the transaction that is looked at again."""
    create = await waiting(process)
    void = await given_up(process, create)
    async with process.ledger.flaky("lost answer", "lost answer") as database:
        recorder = process.ledger.recorder(database)
        await recorder.record(subject(create), attempt=1, fact=captured(create))
    refund = await process.ledger.operation(IDS.release(void_id=void.id))
    process.connector.answers["send"] = approval(refund)
    await process.attempt(refund)
    again = await process.ledger.recorder().record(subject(refund), attempt=1, fact=approval(refund))
    assert again.events == ()
    assert (await process.ledger.payment(create.payment_id)).amount_refunded_minor == 1000
