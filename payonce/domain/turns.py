"""What an acquirer does of itself: it takes a success back, does it again, or moves what payonce never asked for.

Nothing that was recorded is overwritten. Each turn is an operation of origin `acquirer`, once for the acquirer's id
of it, and the payment's amounts and status follow. What such a turn leaves in doubt is held, so that it can neither
be captured nor refunded, until the acquirer does it again or a person decides: that is what the review is for.
Pure, as `settlement` is: the recording function calls `take` under the payment's lock and writes what it returns.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, assert_never

from payonce.domain import amounts, reviews, undecided
from payonce.domain.answers import failure_error
from payonce.domain.contradictions import reopen_case
from payonce.domain.ending import call_operator, succeed
from payonce.domain.events import Story
from payonce.domain.facts import (
    Approved,
    FailureCode,
    Foreign,
    NotProcessed,
    Outcome,
    Redone,
    Stage,
    Turn,
    Undone,
)
from payonce.domain.money import AMOUNT_MINOR_MAX
from payonce.domain.operations import (
    Attempt,
    AttemptState,
    Operation,
    OperationKind,
    OperationStatus,
    Origin,
    operation_of,
)
from payonce.domain.payment import Change, Payment, PaymentStatus
from payonce.domain.settlement import Settlement

_REASON_MAX: Final = 200
# Something was captured, and nothing is capturable any more.
_CLOSED: Final = (PaymentStatus.CAPTURED, PaymentStatus.PARTIALLY_REFUNDED, PaymentStatus.REFUNDED)
# What an attempt did that may be taken back. An authorization holds nothing that the acquirer could return.
_TURNED: Final = {
    OperationKind.AUTHORIZE: OperationKind.CAPTURE,
    OperationKind.CAPTURE: OperationKind.CAPTURE,
    OperationKind.REFUND: OperationKind.REFUND,
    OperationKind.VOID: OperationKind.VOID,
    OperationKind.EXPIRE: OperationKind.VOID,
}


@dataclass(frozen=True, slots=True)
class Found:
    """What stands under the lock."""

    payment: Payment
    operation: Operation  # that the attempt was made for
    attempt: Attempt
    # Earlier turns of this operation that hold something, or that a person decided otherwise, latest first.
    held: tuple[Operation, ...] = ()


def take(found: Found, turn: Turn, *, turn_id: str, now: datetime) -> Settlement:
    """What the turn makes of the rows; `turn_id` is the id of its operation, which must not exist yet.

    Of an operation that has not succeeded by this attempt nothing can be taken back: nothing changes, since the
    acquirer's word that it did succeed comes first; what is undone of a late success is told to its case (`late`).
    """
    match turn:
        case Foreign():
            return _foreign(found, turn, turn_id=turn_id, now=now)
        case Undone() | Redone() if found.operation.kind is OperationKind.REVERSE:
            return _release_turned(found, turn, turn_id=turn_id, now=now)
        case Undone() | Redone() if not stands(found):
            return Settlement(found.payment, found.operation, found.attempt)
        case Undone():
            return _undone(found, turn, turn_id=turn_id, now=now)
        case Redone():
            return _redone(found, turn, turn_id=turn_id, now=now)
        case _:
            assert_never(turn)


def contradict(found: Found, fact: Outcome, *, turn_id: str, now: datetime) -> Settlement:
    """It counts as done, and the acquirer says otherwise: held as if the acquirer had taken it back.

    Where that is an authorization, there is none once that is final. Of what was taken back or released meanwhile a
    no is no news: nothing changes.
    """
    operation = found.operation
    if not _left(found):
        return Settlement(found.payment, operation, found.attempt)
    undone = Undone(turn_id, operation.amount_minor, operation.currency, reason=said(fact))
    final = operation.kind is OperationKind.AUTHORIZE
    return _undone(found, undone, turn_id=turn_id, final=final, now=now)


def said(fact: Outcome) -> str:
    """What the acquirer says, in words; by them it is known again."""
    match fact:
        case Approved():
            return f"approved of {fact.amount_minor} {fact.currency}"
        case NotProcessed(why=str() as why):
            return why
        case _:
            return fact.kind


def of_reversal(found: Found) -> Turn | None:
    """What it means that the acquirer calls an attempt reversed which succeeded, and that nobody asked it to reverse.

    All that stands of it is taken back; of an authorization, what is not captured of it is released, and whether what
    was captured of it is gone as well is for a person. None where nothing of it stands, or a person decided about it:
    that is a contradiction.
    """
    attempt, payment = found.attempt, found.payment
    approved = attempt.state is AttemptState.APPROVED and found.operation.decided_at is None
    if not approved or not stands(found):
        return None
    id_ = f"reversal of {attempt.reference}"
    if standing := _standing(found):
        return Undone(id_, standing, found.operation.currency, "reversed")
    if found.operation.kind is OperationKind.AUTHORIZE and payment.uncaptured_minor:
        return Foreign(id_, "void", payment.uncaptured_minor, payment.currency)
    return Undone(id_, payment.amount_captured_minor, payment.currency, "reversed") if _left(found) else None


def done_again(operation: Operation, attempt: Attempt | None, fact: object) -> Redone | None:
    """That what was undone holds again, where the acquirer approves the same once more; else None."""
    if not isinstance(fact, Approved) or fact.event is None or attempt is None:
        return None
    undone = attempt.state is AttemptState.APPROVED and operation.amount_undone_minor > 0
    same = fact.connector_reference == attempt.connector_reference or operation.id != operation.payment_id
    return Redone(fact.event, fact.amount_minor, fact.currency) if undone and same else None


def as_operation(
    found: Found, turn: Turn, *, turn_id: str, of: OperationKind | None, now: datetime
) -> Operation:
    """The turn as an operation that holds nothing. `of`: the kind of what was undone or done again."""
    match turn:
        case Foreign():
            kind, of = OperationKind(turn.what), None
        case Undone():
            kind = OperationKind.UNDO
        case Redone():
            kind = OperationKind.REDO
        case _:
            assert_never(turn)
    told = _operation(found, turn, kind, turn_id=turn_id, kind=of, final=False, now=now)
    return replace(told, reason=turn.reason[:_REASON_MAX] or None) if isinstance(turn, Undone) else told


def let_go(payment: Payment, turned: Operation, *, now: datetime) -> Settlement:
    """Nothing is held any more for what the acquirer did: it is final. The review of it ends.

    A capture that was undone after the rest of its authorization had ended can never be made again, nor that rest.
    """
    story = Story(payment, now)
    turned = _settled(story, turned)
    capture_undone = (turned.kind, turned.target_kind) == (OperationKind.UNDO, OperationKind.CAPTURE)
    if capture_undone and turned.final and story.payment.status.capturable:
        story.change(Change.EXPIRED)
        amounts.follow_refunds(story)
    return Settlement(story.payment, turned, None, story.events)


def open_minor(turned: Operation) -> int:
    """How much of what is undone of its target would hold again, were the undoing or the redoing decided so."""
    return turned.amount_minor - turned.amount_undone_minor


def holds_again(payment: Payment, turned: Operation, target: Operation, *, now: datetime) -> Settlement:
    """What was undone, or is said to be done again, holds after all: its review ends.

    Amounts and status are as before it was undone. A refund that failed by it has succeeded. `target` is the
    operation that it was undone of.
    """
    story = Story(payment, now)
    amount = min(open_minor(turned), target.amount_undone_minor)  # turns from before schema 0010 know less
    turned = _settled(story, turned)
    target = _with_undone(target, target.amount_undone_minor - amount, now=now)
    match turned.target_kind:
        case OperationKind.CAPTURE:
            amounts.capture_again(story, target, amount, ended=turned.final)
        case OperationKind.REFUND:
            target = amounts.refund_again(story, target, amount)
        case _:
            amounts.void_again(story)
    return Settlement(story.payment, turned, None, story.events, beside=(target,))


def book(payment: Payment, turned: Operation, *, now: datetime) -> Settlement:
    """What is held for a turn is booked as far as it fits by now, and the rest is let go: it did happen."""
    story = Story(payment, now)
    held = turned.amount_undecided_minor
    turned = _settled(story, turned)
    if turned.kind is OperationKind.VOID:
        amounts.void_again(story)
    else:
        fits = min(held, amounts.fits(story.payment, turned.kind))
        if turned.kind is OperationKind.REFUND:
            turned = replace(turned, amount_undone_minor=turned.amount_undone_minor + held - fits)
        amounts.move_more(story, turned, fits)
    return Settlement(story.payment, turned, None, story.events)


def strike_out(payment: Payment, foreign: Operation, *, now: datetime) -> Settlement:
    """It is not of this payment: nothing is held for it, and what was booked of it is taken out again."""
    story = Story(payment, now)
    booked = booked_minor(foreign)
    foreign = replace(_settled(story, foreign), status=OperationStatus.FAILED)
    match foreign.kind:
        case OperationKind.CAPTURE if booked:
            story.set(amount_captured_minor=story.payment.amount_captured_minor - booked)
            story.tell("payment.capture_failed", previously="succeeded")
            amounts.follow_captures(story)
        case OperationKind.REFUND if booked:
            story.set(amount_refunded_minor=story.payment.amount_refunded_minor - booked)
            story.tell("refund.failed", refund=foreign, previously="succeeded")
            amounts.follow_refunds(story)
        case _:
            pass  # nothing of it is in the amounts
    return Settlement(story.payment, foreign, None, story.events)


def booked_minor(foreign: Operation) -> int:
    """How much of what others did is in the payment's amounts."""
    return foreign.amount_minor - foreign.amount_undecided_minor - foreign.amount_undone_minor


def stands(found: Found) -> bool:
    """Whether the operation has succeeded, by this attempt; a refund that was taken back has failed by that.

    Where a person said so it is this one, whatever reference of the acquirer's that was.
    """
    operation, attempt = found.operation, found.attempt
    succeeded = operation.status is OperationStatus.SUCCEEDED or operation.amount_undone_minor > 0
    same = operation.connector_reference in (None, attempt.connector_reference)
    own = same and (attempt.state is AttemptState.APPROVED or operation.connector_reference is not None)
    return succeeded and (own or operation.decided_at is not None)


def _undone(found: Found, fact: Undone, *, turn_id: str, final: bool = False, now: datetime) -> Settlement:
    """What was counted is not any more. What had been done again before, and was held for a person, is undone too.

    What a person had said was not done again is news no more.
    """
    kind = _TURNED[found.operation.kind]
    story = Story(found.payment, now)
    redone = tuple(turn for turn in found.held if turn.kind is OperationKind.REDO)
    agreed, again = _said_before(redone, _counted(found.payment, fact))
    stated = _counted(found.payment, fact) - agreed
    counted = min(stated, _standing(found))
    told = counted and _awaits_ours(found)
    if kind is OperationKind.CAPTURE and not told:
        counted = min(counted, found.payment.amount_captured_minor)
    less = _held_less(story, redone, stated - counted, stated - counted)
    again += less
    left_open = counted + sum(map(open_minor, redone)) - _still_open(redone, less)
    closed = not found.payment.status.capturable
    final = final or closed
    undo = _operation(found, fact, OperationKind.UNDO, turn_id=turn_id, kind=kind, final=final, now=now)
    undo = replace(
        undo, reason=fact.reason[:_REASON_MAX] or None, amount_undone_minor=undo.amount_minor - left_open
    )
    target = _with_undone(found.operation, found.operation.amount_undone_minor + counted, now=now)
    match kind:
        case OperationKind.CAPTURE if told:
            undone_minor = story.payment.amount_capture_undone_minor + counted
            story.set(amount_capture_undone_minor=undone_minor)
        case OperationKind.CAPTURE if counted:
            amounts.take_back_capture(story, counted)
            undo = amounts.hold(
                story, undo, max(left_open, amounts.not_held(story.payment)) if closed else left_open
            )
            story.tell("payment.capture_failed", previously="succeeded")
            amounts.follow_captures(story)
        case OperationKind.REFUND if counted:
            target = amounts.take_back_refund(story, target, counted)
            undo = amounts.hold(story, undo, left_open)
            story.tell("refund.failed", refund=target, previously="succeeded")
            amounts.follow_refunds(story)
        case OperationKind.VOID if counted:
            undo = amounts.hold(story, undo, max(counted, amounts.not_held(story.payment)))
            amounts.stand_again(story)
        case _ if agreed and not stated:
            pass
        case _:  # nothing of it stands, or it cannot be compared: a person must look
            comparable = fact.currency == found.payment.currency
            limit = found.payment.amount_authorized_minor
            undo = amounts.hold(story, undo, min(undo.amount_minor - agreed, limit) if comparable else limit)
    settled = _in_review(story, undo, target, found.attempt, now=now)
    return replace(settled, beside=again)


def _redone(found: Found, fact: Redone, *, turn_id: str, now: datetime) -> Settlement:
    """It counts as far as it was undone. A refund that the merchant was told has failed stays so for a person.

    What a person had said holds again is news no more.
    """
    kind = _TURNED[found.operation.kind]
    story = Story(found.payment, now)
    redo = _operation(found, fact, OperationKind.REDO, turn_id=turn_id, kind=kind, final=False, now=now)
    undone = tuple(turn for turn in found.held if turn.kind is OperationKind.UNDO)
    agreed, held = _said_before(undone, _counted(found.payment, fact))
    stated = _counted(found.payment, fact) - agreed
    if agreed and not stated:
        redo = replace(redo, amount_undone_minor=redo.amount_minor)
        told = _in_review(story, redo, found.operation, found.attempt, now=now)
        return replace(told, beside=held)
    redone = (turn for turn in found.held if turn.kind is OperationKind.REDO)
    undone_minor = found.operation.amount_undone_minor - sum(map(open_minor, redone))
    holds = counted = min(stated, undone_minor)
    whole = counted >= undone_minor
    held += _held_less(story, undone, sum(_holds(undone)) if whole else counted, counted)
    match kind:
        case OperationKind.REFUND:
            counted = 0
        case OperationKind.CAPTURE:
            counted = min(counted, amounts.free(story.payment))
        case _:
            pass
    target = _with_undone(found.operation, found.operation.amount_undone_minor - counted, now=now)
    if kind is OperationKind.CAPTURE:
        ended = whole and any(undo.final for undo in undone)
        amounts.capture_again(story, target, counted, ended=ended)
    elif kind is OperationKind.VOID and counted:
        amounts.void_again(story)
    redo = replace(redo, amount_undone_minor=redo.amount_minor - (holds - counted))
    redo = amounts.hold(story, redo, redo.amount_minor - agreed - counted)
    settled = _in_review(story, redo, target, found.attempt, now=now)
    return replace(settled, beside=held)


def _release_turned(found: Found, fact: Undone | Redone, *, turn_id: str, now: datetime) -> Settlement:
    """What released a late success was taken back: that is a case again, until it is released again or decided."""
    case, settled = found.operation, Settlement(found.payment, found.operation)
    if found.attempt.state is not AttemptState.APPROVED:
        return replace(settled, attempt=found.attempt)
    if isinstance(fact, Undone) and case.status is OperationStatus.SUCCEEDED:
        case = replace(case, last_error=failure_error(FailureCode.TAKEN_BACK))
        settled = reopen_case(found.payment, case, why=FailureCode.TAKEN_BACK, now=now)
    elif isinstance(fact, Redone) and reviews.is_open(case):
        settled = succeed(found.payment, replace(case, last_error=None), None, reply=None, now=now)
        same = replace(settled.operation, connector_reference=found.attempt.connector_reference)
        settled = replace(settled, operation=same)
    told = as_operation(found, fact, turn_id=turn_id, of=case.sent_as, now=now)
    return replace(settled, attempt=found.attempt, added=(told,))


def _said_before(turned: tuple[Operation, ...], stated: int) -> tuple[int, tuple[Operation, ...]]:
    """How much of what the acquirer states a person had said before; and the turns by which, with that much less."""
    agreed, changed = 0, []
    for turn in turned:
        same = min(turn.amount_ahead_minor, stated - agreed)
        agreed += same
        if same:
            changed.append(replace(turn, amount_ahead_minor=turn.amount_ahead_minor - same))
    return agreed, tuple(changed)


def _held_less(
    story: Story, held: tuple[Operation, ...], less: int, turned_again: int
) -> tuple[Operation, ...]:
    """What earlier turns hold, less what is not to be held for them any more; those that are changed by it.

    The latest come first. `turned_again`: how much of what they leave open has turned again.
    """
    changed = []
    for turn, holds in zip(held, _holds(held), strict=True):
        kept = max(0, holds - less)
        less -= holds - kept
        same = min(turned_again, open_minor(turn))
        turned_again -= same
        if kept < holds or same:
            turned = replace(turn, amount_undone_minor=turn.amount_undone_minor + same)
            changed.append(amounts.hold(story, turned, kept) if kept else _settled(story, turned))
    return tuple(changed)


def _still_open(turned: tuple[Operation, ...], changed: tuple[Operation, ...]) -> int:
    now = {turn.id: turn for turn in (*turned, *changed)}
    return sum(map(open_minor, now.values()))


def _holds(turned: tuple[Operation, ...]) -> list[int]:
    return [turn.amount_undecided_minor for turn in turned]


def _foreign(found: Found, fact: Foreign, *, turn_id: str, now: datetime) -> Settlement:
    """It is booked as far as the limits allow, beside what is pending; what exceeds them is for a person.

    So is all of what was done with another payment, which was charged under our reference.
    """
    kind, own = OperationKind(fact.what), not fact.is_of_another(found.attempt.connector_reference)
    story = Story(found.payment, now)
    foreign = replace(
        _operation(found, fact, kind, turn_id=turn_id, kind=None, final=False, now=now),
        connector_reference=fact.id,
        target_reference=None,
    )
    if kind is OperationKind.VOID:
        foreign = amounts.release_rest(story, foreign, own=own)
    else:
        open_ = own and (kind is OperationKind.REFUND or found.payment.status.capturable)
        fits = min(_counted(found.payment, fact), amounts.room(found.payment, kind)) if open_ else 0
        amounts.move_more(story, foreign, fits)
        foreign = amounts.hold(story, foreign, foreign.amount_minor - fits)
    return _in_review(story, foreign, found.operation, found.attempt, now=now)


def _in_review(
    story: Story, turned: Operation, target: Operation, attempt: Attempt, *, now: datetime
) -> Settlement:
    """The turn is added; where something is held for it, a person is called."""
    called: Settlement | None = None
    if turned.amount_undecided_minor:
        words = undecided.words(story.payment, turned)
        called = call_operator(story.payment, turned, reason=words, now=now)
        turned = called.operation
    payment = story.payment if called is None else called.payment
    events = story.events + (() if called is None else called.events)
    opened = () if called is None else called.opened
    return Settlement(payment, target, attempt, events, added=(turned,), opened=opened)


def _operation(
    found: Found,
    fact: Turn,
    what: OperationKind,
    *,
    turn_id: str,
    kind: OperationKind | None,
    final: bool,
    now: datetime,
) -> Operation:
    """The turn as an operation: it has happened, at the acquirer. Without an amount it is all of its operation."""
    stated = min(fact.amount_minor, AMOUNT_MINOR_MAX)
    return operation_of(
        found.payment,
        what,
        id_=turn_id,
        amount_minor=stated if stated > 0 else found.operation.amount_minor,
        now=now,
        currency=fact.currency,
        status=OperationStatus.SUCCEEDED,
        final=final,
        origin=Origin.ACQUIRER,
        connector_reference=None if fact.id == turn_id else fact.id,  # ours: see `contradict`
        target_reference=found.attempt.reference,
        target_kind=kind,
    )


def _counted(payment: Payment, fact: Turn) -> int:
    """What can be counted of it: another currency is not comparable."""
    return min(fact.amount_minor, AMOUNT_MINOR_MAX) if fact.currency == payment.currency else 0


def _standing(found: Found) -> int:
    """What the operation's success still stands for. A manual authorization captured nothing."""
    operation, attempt = found.operation, found.attempt
    captured = attempt.stage is Stage.CAPTURED or (attempt.stage is None and found.payment.automatic)
    if operation.kind is OperationKind.AUTHORIZE and not captured:
        return 0
    return operation.amount_minor - operation.amount_undone_minor


def _left(found: Found) -> bool:
    """Whether anything of it stands; of an authorization also what was captured of it, or may be."""
    if _standing(found):
        return True
    by_itself = found.attempt.stage is Stage.CAPTURED
    held = found.payment.uncaptured_minor or found.payment.amount_captured_minor
    return found.operation.kind is OperationKind.AUTHORIZE and not by_itself and bool(held)


def _awaits_ours(found: Found) -> bool:
    """Whether the rail's capture is not in the amounts: the outcome of ours, which may be the same, is to come."""
    payment, pending = found.payment, found.payment.pending_operation
    capturing = pending is not None and pending["type"] == OperationKind.CAPTURE
    return found.operation.kind is OperationKind.AUTHORIZE and capturing and not payment.amount_captured_minor


def _with_undone(target: Operation, amount_minor: int, *, now: datetime) -> Operation:
    return replace(target, amount_undone_minor=amount_minor, updated_at=now)


def _settled(story: Story, turned: Operation) -> Operation:
    """Nothing is held for it or left open, and its reason is not in the payment's review any more."""
    left = reviews.left(story.payment, turned)
    if not turned.kind.carried_out:
        turned = replace(turned, amount_undone_minor=turned.amount_minor)
    turned = amounts.hold(story, replace(turned, updated_at=story.now), 0)
    story.set(review=left)
    return turned
