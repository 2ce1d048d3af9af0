"""What is said against what is recorded: a success after its failure, or a failure after its success.

Nothing is overwritten and nothing dropped. A late success is undone, or held until a person decides; a definite no
against a success, whether the acquirer had said so or a person decided, is for a person. See `turns` for what an
acquirer takes back of itself, and `late` for what becomes of a late success afterwards.
"""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from payonce.domain import reviews, stages, undecided
from payonce.domain.ending import call_operator, succeed
from payonce.domain.events import Settlement, Story
from payonce.domain.facts import (
    Accepted,
    ActionRequired,
    Approved,
    Cancelled,
    Declined,
    Expired,
    FailureCode,
    NotProcessed,
    Outcome,
    Pending,
    Refused,
    Reversed,
    Unknown,
    Unsent,
)
from payonce.domain.operations import (
    Abilities,
    Attempt,
    AttemptState,
    Operation,
    OperationKind,
    OperationStatus,
)
from payonce.domain.payment import Payment

PAID_TWICE = "paid_back_twice"  # a refund of ours that released a late success
CAPTURED = "captured"  # what a void of ours released


def contradict(
    payment: Payment, operation: Operation, attempt: Attempt, fact: Outcome, *, now: datetime
) -> Settlement:
    """The first definite fact stands; what contradicts it has consequences.

    What a late success moved counts from here on, so that its event shows what is left. One that the operation has
    already, found under the reference of an earlier attempt, is the same money; under a reference of the acquirer's
    that the attempt does not have, it is other money.
    """
    if operation.kind is OperationKind.REVERSE:
        return _about_case(payment, operation, attempt, fact, now=now)
    if _against_a_person(operation, attempt, fact) or _against_success(operation, attempt, fact):
        return Settlement(payment, operation, attempt, against=fact)
    approved = attempt.state is AttemptState.APPROVED
    if not isinstance(fact, Approved) or (approved and not _twice(operation, attempt, fact)):
        decided = isinstance(fact, Approved) and operation.decided_at is not None
        return Settlement(payment, operation, attempt, confirms=fact if decided else None)
    succeeded = operation.status is OperationStatus.SUCCEEDED
    same = fact.connector_reference == operation.connector_reference
    if succeeded and (same or _found_by_a_person(operation, attempt, fact)):
        return Settlement(payment, operation, attempt)
    case = undecided.case_of(payment, operation, attempt, fact, now=now)
    moved = undecided.moved_minor(payment, operation, fact)
    payment, case = undecided.hold(payment, case, amount_minor=moved)
    story = Story(payment, now)
    story.tell("payment.late_success")
    if not approved:
        attempt = stages.staged(replace(attempt, connector_reference=fact.connector_reference), fact)
    return Settlement(story.payment, operation, attempt, story.events, late=case)


def open_case(
    settled: Settlement, *, case_id: str, abilities: Abilities, now: datetime
) -> tuple[Settlement, Operation]:
    """The case of a late success under its id: a reversal of ours, or one that only a person can decide.

    Where the acquirer cannot reverse it is a void or a refund, of its own. In another currency than the payment's it
    is undone like any other, and a person is told. What was done twice under one reference of ours is for a person:
    by that reference we might undo the one that counts.
    """
    assert settled.late is not None
    assert settled.attempt is not None
    case = replace(settled.late, id=case_id)
    twice = settled.attempt.state is AttemptState.APPROVED
    undone_by_us = compensable(settled.operation) and not twice
    if undone_by_us and not abilities.reversible:
        case = replace(case, sent_as=stages.released_by(settled.attempt))
    if undone_by_us and case.currency == settled.payment.currency:
        return settled, case
    paid = settled.payment
    if settled.attempt.state is AttemptState.REVERSING:
        paid = undecided.without(paid, settled.operation)
    called = call_operator(settled.payment, case, reason=undecided.words(paid, case), now=now)
    case = called.operation if undone_by_us else replace(called.operation, status=OperationStatus.FAILED)
    told = replace(settled, payment=called.payment, events=settled.events + called.events)
    return replace(told, opened=settled.opened + called.opened), case


def raise_case(
    payment: Payment, case: Operation, late: Operation, *, attempt: Attempt, sent: bool, now: datetime
) -> Settlement:
    """What is known by now of a late success whose case is open: the acquirer may state more than before.

    `late`: the case as this fact alone would open it. `sent`: something was sent for the case, and stays as it is.
    Returns the case as the operation; it is the same where there is nothing new.
    """
    same = case.currency == late.currency
    known = replace(case, amount_minor=max(case.amount_minor, late.amount_minor if same else 0))
    if not is_open(case):
        by_us = case.sent_as is OperationKind.VOID and case.connector_reference is not None
        released = by_us and case.status is OperationStatus.SUCCEEDED and case.decided_at is None
        if released and stages.captured(attempt):
            return reopen_case(payment, known, why=CAPTURED, now=now)  # a void gives back no capture
        return Settlement(payment, case)
    if case.sent_as is not None and not sent:
        known = replace(known, sent_as=stages.released_by(attempt))
    held = max(case.amount_undecided_minor, late.amount_undecided_minor - case.amount_undone_minor)
    holding, known = undecided.hold(payment, known, amount_minor=held)
    if known == case:
        return Settlement(payment, case)
    story = Story(holding, now)
    story.tell("payment.late_success")
    if case.review_at is None:
        return Settlement(story.payment, replace(known, updated_at=now), None, story.events)
    story.set(review=reviews.left(story.payment, case))
    called = call_operator(story.payment, known, reason=undecided.words(story.payment, known), now=now)
    return replace(called, events=story.events + called.events)


def reopen_case(payment: Payment, case: Operation, *, why: str, now: datetime) -> Settlement:
    """The case had ended, and what it stands for is not undone: it is held again, for a person."""
    comparable = case.currency == payment.currency
    held = case.amount_minor - case.amount_undone_minor if comparable else payment.amount_authorized_minor
    case = replace(case, status=OperationStatus.FAILED, decided_at=None)
    payment, case = undecided.hold(payment, case, amount_minor=held)
    return call_operator(payment, case, reason=undecided.words(payment, case, why=why), now=now)


def is_open(case: Operation) -> bool:
    """Whether the case waits to be undone, or for a person."""
    return case.status is OperationStatus.PENDING or reviews.is_open(case)


def compensable(operation: Operation) -> bool:
    """Whether a late success of it is undone by a reversal; a refund or a void cannot be taken back."""
    return operation.kind in (OperationKind.AUTHORIZE, OperationKind.CAPTURE)


def _found_by_a_person(operation: Operation, attempt: Attempt, fact: Approved) -> bool:
    """Whether a person has decided the same before: of what was recorded as failed, or has lost its attempt."""
    if operation.decided_at is None:
        return False
    forgotten = attempt.state is AttemptState.NOT_SENT  # by Postgres
    match operation.kind:
        case OperationKind.VOID | OperationKind.EXPIRE:
            return True
        case OperationKind.REFUND:
            asked = (operation.amount_minor, operation.currency)
            return forgotten or (fact.amount_minor, fact.currency) == asked
        case _:
            return forgotten


def _against_a_person(operation: Operation, attempt: Attempt, fact: Outcome) -> bool:
    """Whether the acquirer says definitely otherwise than the person who decided that it succeeded.

    The same success is no news, whatever reference it has there: the person may have mistyped it. A refund has failed
    since the acquirer said so before; whether this is the same word, `words` knows.
    """
    succeeded = operation.status is OperationStatus.SUCCEEDED or operation.amount_undone_minor > 0
    decided = operation.decided_at is not None and succeeded
    if not decided or (attempt.state is not AttemptState.APPROVED and not isinstance(fact, Reversed)):
        return False
    match fact:
        case Approved():
            moves_money = operation.kind not in (OperationKind.VOID, OperationKind.EXPIRE)
            stated = (fact.amount_minor, fact.currency)
            return moves_money and stated != (operation.amount_minor, operation.currency)
        case Declined() | Refused() | Reversed() | NotProcessed() | Expired() | Cancelled():
            return True
        case Accepted() | Pending() | ActionRequired() | Unknown() | Unsent():
            return False  # nothing definite
        case _:
            assert_never(fact)


def _against_success(operation: Operation, attempt: Attempt, fact: Outcome) -> bool:
    """Whether the acquirer says no to what it had said that it did. `turns` says what of it still stands."""
    succeeded = operation.status is OperationStatus.SUCCEEDED and attempt.state is AttemptState.APPROVED
    return succeeded and operation.decided_at is None and _definite_no(attempt, fact)


def _definite_no(attempt: Attempt, fact: Outcome) -> bool:
    """Whether it is the acquirer's, about this very success; not our own conclusion from its not knowing it.

    That it is reversed is a turn: see `turns.of_reversal`.
    """
    if isinstance(fact, Declined):
        return fact.connector_reference in (None, attempt.connector_reference)
    return isinstance(fact, Refused | Expired | Cancelled)


def _twice(operation: Operation, attempt: Attempt, fact: Approved) -> bool:
    """Whether the acquirer moved money once more under the same reference of ours.

    What was released twice is released, and a person who decided may have mistyped the acquirer's reference.
    """
    moves_money = operation.kind not in (OperationKind.VOID, OperationKind.EXPIRE)
    another = attempt.connector_reference not in (None, fact.connector_reference)
    return moves_money and another and operation.decided_at is None


def _released(
    payment: Payment, case: Operation, attempt: Attempt, fact: Approved, *, now: datetime
) -> Settlement:
    """It was released after all. Twice, or by another amount than was asked for, is for a person."""
    known = replace(
        attempt,
        state=AttemptState.APPROVED,
        connector_reference=fact.connector_reference,
        failure_code=None,
    )
    pays = case.sent_as is OperationKind.REFUND
    once = fact.connector_reference == attempt.connector_reference
    approved, ended = attempt.state is AttemptState.APPROVED, case.status is OperationStatus.SUCCEEDED
    gone = case.amount_undone_minor >= case.amount_minor and not ended
    if gone or (approved and once):
        return Settlement(payment, case, attempt)  # it is known
    if ended:
        if not pays or case.decided_at is not None:
            return Settlement(payment, case, attempt)  # released twice is released, or as a person decided
        case = replace(case, amount_undone_minor=case.amount_minor)
        opened = reopen_case(payment, case, why=PAID_TWICE, now=now)
        return replace(opened, attempt=attempt if approved else known)
    if pays and (fact.amount_minor, fact.currency) != (case.amount_minor, case.currency):
        payment = replace(payment, review=reviews.left(payment, case))
        return replace(reopen_case(payment, case, why=FailureCode.AMOUNT_MISMATCH, now=now), attempt=known)
    return succeed(payment, case, known, reply=fact, now=now)


def _about_case(
    payment: Payment, case: Operation, attempt: Attempt, fact: Outcome, *, now: datetime
) -> Settlement:
    """What was sent to release a late success turned out otherwise than was recorded.

    It is released after all; or it is not, against what the acquirer had said, or a person decided; or it was paid
    back twice. But for the first, the case is open again.
    """
    unchanged = Settlement(payment, case, attempt)
    approved = attempt.state is AttemptState.APPROVED
    if (
        isinstance(fact, Accepted | Pending | ActionRequired | Unknown | Unsent)
        or attempt.state is AttemptState.REVERSING
    ):
        return unchanged  # what is to be reversed is for a person already
    if isinstance(fact, Approved):
        return _released(payment, case, attempt, fact, now=now)
    if case.status is not OperationStatus.SUCCEEDED:
        return unchanged
    if case.decided_at is None and not (approved and _definite_no(attempt, fact)):
        return unchanged
    if attempt.closed and not approved:
        return unchanged  # whoever decided knew it
    return replace(reopen_case(payment, case, why=fact.kind, now=now), attempt=_turned_down(attempt, fact))


def _turned_down(attempt: Attempt, fact: Outcome) -> Attempt:
    """The attempt with the acquirer's no, so that the same word again is no news."""
    if attempt.closed:
        return attempt
    declined = isinstance(fact, Declined)
    return replace(attempt, state=AttemptState.DECLINED if declined else AttemptState.NOT_PROCESSED)
