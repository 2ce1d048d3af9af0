"""A refund that others made at the acquirer, in its dashboard say, and that the acquirer took back.

It is undone like a refund of ours (`turns`): its amount is held until a person decides, as an operation of its own.
What of it was never in the payment's amounts is let go. It may be told before the refund itself is: that one has
failed then, and is known. Pure: the recording function calls `take` under the payment's lock.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from payonce.domain import amounts, turns
from payonce.domain.answers import failure_error
from payonce.domain.contradictions import reopen_case
from payonce.domain.events import Story
from payonce.domain.facts import FailureCode, Foreign, Undone
from payonce.domain.ids import attempt_reference
from payonce.domain.operations import AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import Payment
from payonce.domain.settlement import Settlement
from payonce.domain.turns import Found

_NO_ATTEMPT = 0  # payonce made none for it


@dataclass(frozen=True, slots=True)
class Refund:
    """The refund of others as it stands under the lock."""

    id: str  # of its operation
    operation: Operation | None  # None: nobody has told of it


def take(
    found: Found, refund: Refund, fact: Undone, *, case: Operation | None, turn_id: str, now: datetime
) -> Settlement:
    """What its failure makes of the rows. `found`: of the authorization; `case`: of its late success, if any.

    Of one that has failed, or that a person took out of the books, it is no news: nothing changes.
    """
    settled = Settlement(found.payment, found.operation, found.attempt)
    if refund.operation is None:
        settled = _known_as_failed(found, refund.id, fact, now=now)
    elif refund.operation.status is OperationStatus.SUCCEEDED:
        settled = _undone(found, refund.operation, fact, case=case, turn_id=turn_id, now=now)
        settled = replace(settled, beside=(*settled.beside, settled.operation))
    return replace(settled, operation=found.operation, attempt=found.attempt)


def _known_as_failed(found: Found, refund_id: str, fact: Undone, *, now: datetime) -> Settlement:
    """Nothing was counted of it, and nothing is when it is told of later."""
    assert fact.refund is not None
    told = Foreign(fact.refund, "refund", fact.amount_minor, fact.currency)
    refund = turns.as_operation(found, told, turn_id=refund_id, of=None, now=now)
    refund = _failed(replace(refund, reason=fact.reason or None, target_reference=None))
    story = Story(found.payment, now)
    story.tell("refund.failed", refund=refund)
    return Settlement(story.payment, found.operation, None, story.events, added=(refund,))


def _undone(
    found: Found, refund: Operation, fact: Undone, *, case: Operation | None, turn_id: str, now: datetime
) -> Settlement:
    """What was held for it goes first, then what is in the amounts. Returns the refund as the operation."""
    stood = refund.amount_minor - refund.amount_undone_minor
    if not stood:
        return _case_again(found, refund, fact, case=case, turn_id=turn_id, now=now)
    less = fact.amount_minor if fact.currency == refund.currency else stood
    booked, held = turns.booked_minor(refund), refund.amount_undecided_minor
    freed = min(held, less)
    let_go = Settlement(found.payment, refund)
    if freed:
        let_go = _held_less(found.payment, refund, freed, now=now)
    counted = min(booked, less - freed)
    if not counted:
        return _uncounted(found, let_go, fact, turn_id=turn_id, now=now)
    about = _about(replace(found, payment=let_go.payment), let_go.operation)
    settled = turns.take(about, replace(fact, amount_minor=counted), turn_id=turn_id, now=now)
    return replace(settled, events=let_go.events + settled.events)


def _held_less(payment: Payment, refund: Operation, freed: int, *, now: datetime) -> Settlement:
    """So much is held no more; with the last of it a review of the refund ends."""
    held = refund.amount_undecided_minor - freed
    refund = replace(refund, amount_undone_minor=refund.amount_undone_minor + freed)
    if not held:
        return turns.let_go(payment, refund, now=now)
    story = Story(payment, now)
    refund = amounts.hold(story, refund, held)
    return Settlement(story.payment, refund)


def _uncounted(found: Found, let_go: Settlement, fact: Undone, *, turn_id: str, now: datetime) -> Settlement:
    """None of what was taken back was in the amounts."""
    refund = let_go.operation
    story = Story(let_go.payment, now, let_go.events)
    if refund.amount_undone_minor == refund.amount_minor:
        refund = _failed(refund)
        story.tell("refund.failed", refund=refund)
    told = _turn(found, refund, fact, turn_id=turn_id, now=now)
    return Settlement(story.payment, refund, None, story.events, added=(told,))


def _case_again(
    found: Found, refund: Operation, fact: Undone, *, case: Operation | None, turn_id: str, now: datetime
) -> Settlement:
    """By it a late success had ended, which stands again: a person must look."""
    settled = Settlement(found.payment, _failed(refund))
    told = _turn(found, refund, fact, turn_id=turn_id, now=now)
    if case is None or case.status is not OperationStatus.SUCCEEDED or case.decided_at is not None:
        return replace(settled, added=(told,))
    opened = reopen_case(found.payment, case, why=FailureCode.TAKEN_BACK, now=now)
    return replace(opened, operation=settled.operation, beside=(opened.operation,), added=(told,))


def _turn(found: Found, refund: Operation, fact: Undone, *, turn_id: str, now: datetime) -> Operation:
    """The failure as an operation that holds nothing, and leaves nothing open."""
    told = turns.as_operation(_about(found, refund), fact, turn_id=turn_id, of=OperationKind.REFUND, now=now)
    return replace(told, amount_undone_minor=told.amount_minor)


def _about(found: Found, refund: Operation) -> Found:
    """The refund, and what stands for the attempt that payonce never made."""
    attempt = replace(
        found.attempt,
        operation_id=refund.id,
        number=_NO_ATTEMPT,
        kind=OperationKind.REFUND,
        reference=attempt_reference(refund.id, _NO_ATTEMPT),
        state=AttemptState.APPROVED,
        connector_reference=refund.connector_reference,
        stage=None,
    )
    return Found(found.payment, refund, attempt)


def _failed(refund: Operation) -> Operation:
    return replace(
        refund,
        status=OperationStatus.FAILED,
        amount_undone_minor=refund.amount_minor,
        last_error=failure_error(FailureCode.TAKEN_BACK),
    )
