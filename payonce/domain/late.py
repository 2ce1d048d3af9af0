"""What an acquirer does of itself about a late success, once its case is open: it undoes it, or does it again.

A case (`contradictions.open_case`) stands for what the acquirer holds against what was recorded. It ends when that is
undone, by us or by the acquirer. What is done again after that is for a person: no machine undoes the same a second
time. Each turn is an operation of its own, once, as in `turns`, which also knows what becomes of our own release.
"""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from payonce.domain import turns, undecided
from payonce.domain.contradictions import is_open, reopen_case
from payonce.domain.ending import succeed
from payonce.domain.events import Story
from payonce.domain.facts import Foreign, Redone, Reversed, Turn, Undone
from payonce.domain.money import AMOUNT_MINOR_MAX
from payonce.domain.operations import Attempt, Operation, OperationKind, OperationStatus
from payonce.domain.settlement import Settlement
from payonce.domain.turns import Found

RELEASED_TOO = "released_too"  # by a refund of ours: it went back twice


def turned(
    found: Found, case: Operation, fact: Turn | Reversed, *, turn_id: str, now: datetime
) -> Settlement | None:
    """What the fact about the attempt that succeeded late makes of its case; None where it is none about that.

    `turn_id`: as in `turns.take`. Of a turn that leaves the case as it is there is an operation all the same.
    """
    match fact:
        case Reversed() | Foreign():
            if not is_open(case) or not _undoes(case, fact, found.attempt):
                return None
            settled = _ended(found, case, now=now)
        case Undone():
            settled = _undone(found, case, fact, now=now)
        case Redone():
            settled = _redone(found, case, fact, now=now)
        case _:
            assert_never(fact)
    settled = replace(
        settled,
        operation=found.operation,
        attempt=found.attempt,
        beside=() if settled.operation == case else (settled.operation,),
    )
    if isinstance(fact, Reversed):
        return settled
    told = turns.as_operation(found, fact, turn_id=turn_id, of=case.target_kind, now=now)
    if isinstance(fact, Foreign):
        told = replace(told, amount_undone_minor=told.amount_minor)  # it is in no amount of the payment
    return replace(settled, added=(told,))


def _undoes(case: Operation, fact: Reversed | Foreign, attempt: Attempt) -> bool:
    """Whether that is all that was to be done about the late success."""
    if isinstance(fact, Reversed):
        return True
    if fact.is_of_another(attempt.connector_reference):
        return False
    authorized = case.target_kind is OperationKind.AUTHORIZE and fact.what in ("refund", "void")
    return authorized and fact.currency == case.currency and fact.amount_minor >= _left(case)


def _undone(found: Found, case: Operation, fact: Undone, *, now: datetime) -> Settlement:
    """The case ends with the last of it. What we had paid back as well is for a person."""
    unchanged = Settlement(found.payment, case)
    if not is_open(case):
        paid_back = case.sent_as is OperationKind.REFUND and case.connector_reference is not None
        if case.status is OperationStatus.SUCCEEDED and case.decided_at is None and paid_back:
            gone = replace(case, amount_undone_minor=case.amount_minor)
            return reopen_case(found.payment, gone, why=RELEASED_TOO, now=now)
        return unchanged  # it is our own reversal that the acquirer tells of, or as a person decided
    if fact.currency != case.currency:
        return unchanged  # it stays what is to be undone, or decided
    less = min(fact.amount_minor, _left(case))
    case = replace(case, amount_undone_minor=case.amount_undone_minor + less, updated_at=now)
    if _left(case) == 0:
        return _ended(found, case, now=now)
    held = max(0, case.amount_undecided_minor - less)
    return _holding(found, case, held, now=now)


def _redone(found: Found, case: Operation, fact: Redone, *, now: datetime) -> Settlement:
    """What had been undone of it stands again: it is held again, and where the case had ended it is for a person."""
    undone = max(0, case.amount_undone_minor - min(fact.amount_minor, AMOUNT_MINOR_MAX))
    if case.status is OperationStatus.SUCCEEDED:
        again = replace(case, amount_undone_minor=undone if fact.currency == case.currency else 0)
        return reopen_case(found.payment, again, why=fact.kind, now=now)
    if not is_open(case) or fact.currency != case.currency:
        return Settlement(found.payment, case)  # none of this payment's; or it stands for it already
    more = case.amount_undone_minor - undone
    case = replace(case, amount_undone_minor=undone, updated_at=now) if more else case
    held = case.amount_undecided_minor and case.amount_undecided_minor + more
    return _holding(found, case, held, now=now)


def _holding(found: Found, case: Operation, held: int, *, now: datetime) -> Settlement:
    """So much is held for the case from now on, with an event where that is another amount."""
    before = case.amount_undecided_minor
    payment, case = undecided.hold(found.payment, case, amount_minor=held)
    story = Story(payment, now)
    if case.amount_undecided_minor < before:
        _given_back(story, found)
    elif case.amount_undecided_minor > before:
        story.tell("payment.late_success")
    return Settlement(story.payment, case, None, story.events)


def _ended(found: Found, case: Operation, *, now: datetime) -> Settlement:
    ended = succeed(found.payment, case, None, reply=None, now=now)
    if found.operation.kind is not OperationKind.REFUND or not case.amount_undecided_minor:
        return ended
    story = Story(ended.payment, now, ended.events)
    _given_back(story, found)
    return replace(ended, payment=story.payment, events=story.events)


def _given_back(story: Story, found: Found) -> None:
    """What was told as failed has failed: the event shows what is left."""
    if found.operation.kind is OperationKind.REFUND:
        story.tell("refund.failed", refund=found.operation)
    else:
        story.tell("payment.capture_failed")


def _left(case: Operation) -> int:
    """What of it has not been undone."""
    return case.amount_minor - case.amount_undone_minor
