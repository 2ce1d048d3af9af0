"""What is said against what is recorded: a success after its failure, or otherwise than a person decided.

Nothing is overwritten and nothing dropped. A late success is undone, or held until a person decides; a definite fact
against a decision is for a person again. See `turns` for what an acquirer takes back of itself.
"""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from payonce.domain import reviews, stages, undecided
from payonce.domain.ending import call_operator, succeed
from payonce.domain.operations import (
    Abilities,
    Attempt,
    AttemptState,
    Operation,
    OperationKind,
    OperationStatus,
)
from payonce.domain.outcomes import (
    ActionRequired,
    Approved,
    Cancelled,
    Declined,
    Expired,
    NotProcessed,
    Outcome,
    Pending,
    Refused,
    Reversed,
    Unknown,
    Unsent,
)
from payonce.domain.payment import Payment
from payonce.domain.story import Settlement, Story


def contradict(
    payment: Payment, operation: Operation, attempt: Attempt, fact: Outcome, *, now: datetime
) -> Settlement:
    """The first definite fact stands; a success that contradicts it has consequences, and so has a person's error.

    What it moved counts from here on, so that its event shows what is left. A success that the operation has already,
    found under the reference of an earlier attempt, is the same money. What the acquirer takes back of a success that
    it stated itself, it says as a turn (`turns`): any other word against that is an old one.
    """
    if operation.kind is OperationKind.REVERSE:
        return _about_case(payment, operation, attempt, fact, now=now)
    if _against_a_person(operation, attempt, fact):
        return Settlement(payment, operation, attempt, against=fact)
    if not isinstance(fact, Approved) or attempt.state is AttemptState.APPROVED:
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
    late = stages.staged(replace(attempt, connector_reference=fact.connector_reference), fact)
    return Settlement(story.payment, operation, late, story.events, late=case)


def open_case(
    settled: Settlement, *, case_id: str, abilities: Abilities, now: datetime
) -> tuple[Settlement, Operation]:
    """The case of a late success under its id: a reversal of ours, or one that only a person can decide.

    Where the acquirer cannot reverse it is a void or a refund, of its own. In another currency than the payment's it
    is undone like any other, and a person is told.
    """
    assert settled.late is not None
    assert settled.attempt is not None
    case = replace(settled.late, id=case_id)
    undone_by_us = compensable(settled.operation)
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
    if not _is_open(case):
        return Settlement(payment, case)
    same = case.currency == late.currency
    known = replace(case, amount_minor=max(case.amount_minor, late.amount_minor if same else 0))
    if case.sent_as is not None and not sent:
        known = replace(known, sent_as=stages.released_by(attempt))
    held = max(case.amount_undecided_minor, late.amount_undecided_minor)
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
    """What was said to be released is not: all of it is held, and a person is called, once."""
    if case.status is OperationStatus.FAILED and case.review_at is not None:
        return Settlement(payment, case)
    held = case.amount_minor if case.currency == payment.currency else payment.amount_authorized_minor
    case = replace(case, status=OperationStatus.FAILED, decided_at=None)
    payment, case = undecided.hold(payment, case, amount_minor=held)
    words = undecided.words(payment, case, why=why)
    return call_operator(payment, case, reason=words, now=now)


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

    The same success is no news, whatever reference it has there: the person may have mistyped it.
    """
    decided = operation.decided_at is not None and operation.status is OperationStatus.SUCCEEDED
    if not decided or attempt.state is not AttemptState.APPROVED:
        return False
    match fact:
        case Approved():
            moves_money = operation.kind not in (OperationKind.VOID, OperationKind.EXPIRE)
            stated = (fact.amount_minor, fact.currency)
            return moves_money and stated != (operation.amount_minor, operation.currency)
        case Declined() | Refused() | Reversed() | NotProcessed() | Expired() | Cancelled():
            return True
        case Pending() | ActionRequired() | Unknown() | Unsent():
            return False  # nothing definite
        case _:
            assert_never(fact)


def _about_case(
    payment: Payment, case: Operation, attempt: Attempt, fact: Outcome, *, now: datetime
) -> Settlement:
    """What was sent to release a late success turned out otherwise than was recorded.

    It is released after all, or, against a person who decided that it was, it is not: then it is in review again.
    """
    if attempt.state is AttemptState.APPROVED or isinstance(
        fact, Pending | ActionRequired | Unknown | Unsent
    ):
        return Settlement(payment, case, attempt)
    failed = case.status is OperationStatus.FAILED
    if isinstance(fact, Approved):
        if not failed:
            return Settlement(payment, case, attempt)  # as a person decided
        approved = replace(attempt, state=AttemptState.APPROVED, failure_code=None)
        return succeed(payment, case, approved, reply=fact, now=now)
    if failed or case.decided_at is None:
        return Settlement(payment, case, attempt)
    return replace(reopen_case(payment, case, why=fact.kind, now=now), attempt=attempt)


def _is_open(case: Operation) -> bool:
    """Whether the case waits to be undone, or for a person."""
    return case.status is OperationStatus.PENDING or case.amount_undecided_minor > 0
