"""What an acquirer without a list has told, read once more against our books.

A callback that never came proves nothing, and what came is no total: so nothing is missing there, and no totals are
compared. What may be news is a fact that changed nothing when it was told and would now. An approval of what failed
here is not among them: it was recorded when it came, and is undone since. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from payonce.domain import turns
from payonce.domain.facts import Approved, Disputed, Foreign, FraudWarned, Redone, Told, ToldOfAttempt, Undone
from payonce.domain.operations import AttemptState, OperationKind
from payonce.domain.reconciling import ComparisonResult, Ours


@dataclass(frozen=True, slots=True)
class ToldFact:
    """A fact that a callback carried, about our reference."""

    reference: str
    fact: Told
    told_at: datetime


def is_orphan(told: ToldFact, *, ours_by_form: bool) -> bool:
    """Whether something was done under a reference of ours that nobody knows. What was turned down moved nothing."""
    return ours_by_form and isinstance(told.fact, Approved)


def was_missed(fact: Told, ours: Ours, *, turn_known: bool) -> bool:
    """Whether the fact is to be recorded once more. `turn_known`: there is an operation that tells of it.

    A turn that was told before the success it is about changed nothing then. One by others was booked at once, or is
    known as ours, as was what a bank said, and a success that is being undone is left alone.
    """
    if ours.attempt.state is AttemptState.REVERSING or ours.operation.kind is OperationKind.REVERSE:
        return False
    match fact:
        case Foreign() | Disputed() | FraudWarned():
            return False
        case Undone() | Redone():
            found = turns.Found(ours.payment, ours.operation, ours.attempt)
            of_refund = isinstance(fact, Undone) and not _undoes(fact)
            return not (turn_known or of_refund or ours.release) and turns.stands(found)
        case _:
            return ours.undecided


def as_told(fact: ToldOfAttempt, all_told: Sequence[Told], *, kind: OperationKind) -> ToldOfAttempt:
    """The fact as what it was when it was told: a success that was undone only afterwards is not done again by it.

    A callback may be handed over twice, long after it came. `all_told`: of its reference, in the order in which it
    came. `kind`: as what its attempt was sent; an authorization may have succeeded by its own answer, all others by
    what is told first.
    """
    undone = [place for place, one in enumerate(all_told) if _undoes(one)]
    if not isinstance(fact, Approved) or not undone or fact not in all_told:
        return fact
    place = all_told.index(fact)
    first = not any(isinstance(one, Approved) for one in all_told[:place])
    succeeded_by_it = first and kind is not OperationKind.AUTHORIZE
    return replace(fact, event=None) if succeeded_by_it or place < undone[0] else fact


def _undoes(fact: Told) -> bool:
    return isinstance(fact, Undone) and fact.refund is None


def named(fact: Told) -> ComparisonResult | None:
    """As what it is found that the fact was missed; None of a no, by which nothing moved."""
    match fact:
        case Approved():
            return ComparisonResult.CHARGED_THERE
        case Undone() | Redone():
            return ComparisonResult.AMOUNT
        case _:
            return None
