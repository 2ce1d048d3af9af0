"""What a fact about an attempt makes of the payment, the operation and the merchant's answer.

Pure: the recording function reads the rows under the payment's lock, calls `settle`, and writes what it returns.
The first definite fact wins; a success that contradicts it never overwrites but is compensated (`late`).
"""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from payonce.domain import (
    acceptance,
    accepting,
    authentication,
    claiming,
    leaving,
    saved_cards,
    stages,
    stepping_up,
    undecided,
)
from payonce.domain.answers import (
    Answer,
    AnswerKind,
    decline_error,
    encode,
    failure_error,
    payment_view,
    refusal_error,
    timestamp,
)
from payonce.domain.contradictions import contradict
from payonce.domain.ending import fail, succeed
from payonce.domain.events import Draft as Draft  # part of what is said here
from payonce.domain.events import Settlement as Settlement
from payonce.domain.events import Story
from payonce.domain.evidence import kept_decline
from payonce.domain.facts import (
    Accepted,
    ActionRequired,
    Approved,
    Cancelled,
    Declined,
    Expired,
    Fact,
    FailureCode,
    Foreign,
    NotProcessed,
    Outcome,
    Pending,
    Redone,
    Refused,
    Reversed,
    Undone,
    Unknown,
    Unsent,
)
from payonce.domain.operations import (
    USUAL,
    Abilities,
    Attempt,
    AttemptState,
    Operation,
    OperationKind,
    OperationStatus,
)
from payonce.domain.payment import Change, Payment, PaymentStatus


def settle(
    payment: Payment,
    operation: Operation,
    attempt: Attempt,
    fact: Outcome,
    *,
    abilities: Abilities = USUAL,
    now: datetime,
) -> Settlement:
    """What the fact makes of the rows. Safe to repeat: a fact that is known already changes nothing."""
    if operation.kind is OperationKind.ACCEPT:
        return acceptance.settle(payment, operation, attempt, fact, now=now)
    if operation.status is not OperationStatus.PENDING or attempt.closed:
        return contradict(payment, operation, attempt, fact, now=now)
    if attempt.state is AttemptState.REVERSING and not isinstance(fact, Reversed | NotProcessed):
        if isinstance(fact, Approved) and fact.connector_reference != attempt.connector_reference:
            return contradict(payment, operation, attempt, fact, now=now)  # perhaps after its reversal
        return Settlement(payment, operation, attempt)  # whatever it did is being undone
    return _take(payment, operation, attempt, fact, abilities=abilities, now=now)


def concerns(attempt: Attempt, fact: Fact, *, token: str | None) -> bool:
    """Whether a fact that was found out about the claim with this token counts for the claim that stands.

    An approval, and what became of it, is the reference's, whoever sent it. Everything else is that claim's: another
    one, which a fail-over put in its place, may be about to send. None: it is about whichever claim stands.
    """
    return claiming.concerns(attempt, token=token) or isinstance(fact, Approved | Undone | Redone | Foreign)


def _take(
    payment: Payment,
    operation: Operation,
    attempt: Attempt,
    fact: Outcome,
    *,
    abilities: Abilities,
    now: datetime,
) -> Settlement:
    """What a fact makes of an operation that has no outcome."""
    match fact:
        case Unsent():
            sent = attempt.state is not AttemptState.CLAIMED
            unsent = attempt if sent else replace(attempt, state=AttemptState.NOT_SENT)
            return Settlement(payment, operation, unsent)
        case Unknown() | Pending() if _customer_may_act(attempt, now):
            return Settlement(payment, operation, attempt)
        case Unknown() | Pending() | ActionRequired() if _stays_accepted(operation, attempt, fact):
            return Settlement(payment, operation, attempt)
        case Accepted() | Unknown() | Pending():
            known = fact.connector_reference or attempt.connector_reference
            state = AttemptState.ACCEPTED if isinstance(fact, Accepted) else AttemptState.UNKNOWN
            doubted = replace(attempt, state=state, connector_reference=known)
            settled = _doubt(payment, operation, doubted, now=now)
            return accepting.stand_aside(settled, now=now) if isinstance(fact, Accepted) else settled
        case ActionRequired():
            return _require_action(payment, operation, attempt, fact, now=now)
        case Approved():
            return _approve(payment, operation, attempt, fact, abilities=abilities, now=now)
        case Declined() | Refused():
            return _turned_down(payment, operation, attempt, fact, now=now)
        case Reversed() | NotProcessed() | Expired() | Cancelled():
            code = _unprocessed_because(attempt, fact)
            undone = replace(attempt, state=AttemptState.NOT_PROCESSED, failure_code=code.value)
            error = stepping_up.least(attempt, code) or saved_cards.unattended(payment, attempt, fact)
            error = error or failure_error(code)
            return fail(payment, operation, undone, error, now=now)
        case _:
            assert_never(fact)


def _turned_down(
    payment: Payment, operation: Operation, attempt: Attempt, fact: Declined | Refused, *, now: datetime
) -> Settlement:
    """The issuer's no, or the acquirer's to this data."""
    if isinstance(fact, Refused):
        code = FailureCode.ACQUIRER_REFUSED
        refused = replace(attempt, state=AttemptState.NOT_PROCESSED, failure_code=code.value)
        return fail(payment, operation, refused, refusal_error(), pointer=fact.pointer, now=now)
    if operation.kind is OperationKind.AUTHORIZE:
        payment = replace(payment, authentication=authentication.shown(payment, fact))
    declined = replace(
        attempt,
        state=AttemptState.DECLINED,
        connector_reference=fact.connector_reference,
        failure_code=None,  # the issuer's no, not the merchant who had given it up
        decline=kept_decline(fact.raw, where=fact.where, code=fact.code),
    )
    return fail(payment, operation, declined, decline_error(fact), now=now)


def defer(payment: Payment, operation: Operation, attempt: Attempt | None, *, now: datetime) -> Settlement:
    """From now on the operation is answered with 202 until it has an outcome: `processing`, with its event.

    Not while the customer is asked to act: that is an answer. A create that waits for our capture has no answer yet.
    """
    if operation.deferred_at is None and stages.awaits_capture(payment, operation):
        return Settlement(payment, replace(operation, deferred_at=now, updated_at=now), attempt)
    asked = operation.kind is OperationKind.AUTHORIZE and payment.status is PaymentStatus.REQUIRES_ACTION
    if operation.status is not OperationStatus.PENDING or operation.deferred_at is not None or asked:
        return Settlement(payment, operation, attempt)
    return _doubt(payment, operation, attempt, now=now)


def _doubt(payment: Payment, operation: Operation, attempt: Attempt | None, *, now: datetime) -> Settlement:
    """Whether the operation did anything is not known, also where the customer's time to act went by."""
    first = operation.deferred_at is None
    if first:
        operation = replace(operation, deferred_at=now, updated_at=now)
    story = Story(payment, now)
    match operation.kind:
        case OperationKind.AUTHORIZE:
            if payment.status is not PaymentStatus.PROCESSING:
                story.change(Change.DEFERRED, next_action=None)
        case OperationKind.REFUND:
            if first:
                story.tell("refund.pending", refund=operation)
        case OperationKind.CAPTURE | OperationKind.VOID | OperationKind.EXPIRE | OperationKind.REVERSE:
            pass  # the payment keeps its status and shows the pending operation
        case OperationKind.ACCEPT:
            pass  # the dispute stands as its bank left it
        case OperationKind.UNDO | OperationKind.REDO:
            pass  # what the acquirer did is never pending
        case _:
            assert_never(operation.kind)
    return Settlement(story.payment, operation, attempt, story.events)


def begin_reversal(attempt: Attempt, *, code: FailureCode) -> Attempt:
    """From here on a success of the attempt no longer counts: it will be undone, and the operation fails so."""
    return replace(attempt, state=AttemptState.REVERSING, failure_code=code.value)


def _require_action(
    payment: Payment, operation: Operation, attempt: Attempt, fact: ActionRequired, *, now: datetime
) -> Settlement:
    """The customer is asked to act, and the merchant gets that as the answer; an outcome follows by itself.

    Where it is known already, or the time to act is over, or only an authorization could wait for anybody,
    nothing is asked of the customer.
    """
    if saved_cards.is_unattended(payment.stored) and operation.kind is OperationKind.AUTHORIZE:
        return _ask_nobody(payment, operation, attempt, fact, now=now)
    if _customer_may_act(attempt, now):
        return _asked_further(payment, operation, attempt, fact, now=now)
    reference, act_before = fact.connector_reference, leaving.acts_until(fact.expires_at, now=now)
    if operation.kind is not OperationKind.AUTHORIZE or now >= fact.expires_at or attempt.asked:
        unknown = replace(attempt, state=AttemptState.UNKNOWN, connector_reference=reference)
        return _doubt(payment, operation, unknown, now=now)
    attempt = replace(
        attempt,
        state=AttemptState.WAITING,
        connector_reference=reference,
        act_before=act_before,
        completes=fact.completes,
    )
    return _shown(payment, operation, attempt, fact, until=act_before, now=now)


def _ask_nobody(
    payment: Payment, operation: Operation, attempt: Attempt, fact: ActionRequired, *, now: datetime
) -> Settlement:
    """Nobody is there to act: it is left alone from the beginning, and so is cancelled; nothing of it is shown."""
    left_alone = replace(
        attempt,
        state=AttemptState.UNKNOWN,
        connector_reference=fact.connector_reference,
        act_before=attempt.act_before or now,
        completes=fact.completes,
    )
    return _doubt(payment, operation, left_alone, now=now)


def _asked_further(
    payment: Payment, operation: Operation, attempt: Attempt, fact: ActionRequired, *, now: datetime
) -> Settlement:
    """The customer is back, and the acquirer wants them on another page, within the time that they had before.

    Said by an inquiry it is the page that they are back from, and nothing changes; nor where they were given up.
    """
    back = attempt.state is AttemptState.WAITING and payment.status is PaymentStatus.PROCESSING
    if not (fact.further and back and attempt.act_before is not None and now < fact.expires_at):
        return Settlement(payment, operation, attempt)
    until = min(attempt.act_before, fact.expires_at)
    return _shown(payment, operation, attempt, fact, until=until, now=now)


def _shown(
    payment: Payment,
    operation: Operation,
    attempt: Attempt,
    fact: ActionRequired,
    *,
    until: datetime,
    now: datetime,
) -> Settlement:
    """The merchant is told what the customer has to do, which is an answer and not the definite one."""
    story = Story(payment, now)
    action = {**fact.action, "expires_at": timestamp(until)}
    story.change(Change.ACTION_REQUIRED, next_action=action, connector_reference=fact.connector_reference)
    answer = Answer(AnswerKind.PAYMENT, encode(payment_view(story.payment)), definite=False)
    return Settlement(story.payment, operation, attempt, story.events, answer)


def _stays_accepted(operation: Operation, attempt: Attempt, fact: Outcome) -> bool:
    """Whether the acquirer has it all the same; for an authorization it may still want its customer."""
    asks = isinstance(fact, ActionRequired) and operation.kind is OperationKind.AUTHORIZE
    return attempt.state is AttemptState.ACCEPTED and not asks


def _customer_may_act(attempt: Attempt, now: datetime) -> bool:
    """Whether the time of the customer who was asked is not over, also where the merchant has given it up."""
    return attempt.act_before is not None and now < attempt.act_before


def _approve(
    payment: Payment,
    operation: Operation,
    attempt: Attempt,
    reply: Approved,
    *,
    abilities: Abilities,
    now: datetime,
) -> Settlement:
    attempt = stages.staged(replace(attempt, connector_reference=reply.connector_reference), reply)
    moves_money = (operation.sent_as or operation.kind) not in (OperationKind.VOID, OperationKind.EXPIRE)
    asked = (operation.amount_minor, operation.currency)
    if moves_money and (reply.amount_minor, reply.currency) != asked:
        reversing = begin_reversal(attempt, code=FailureCode.AMOUNT_MISMATCH)
        if operation.kind is not OperationKind.REVERSE:  # all that a case is about is held as it is
            more = max(0, undecided.moved_minor(payment, operation, reply) - operation.amount_minor)
            payment, operation = undecided.hold(payment, operation, amount_minor=more)
        return _doubt(payment, operation, reversing, now=now)
    if abilities.captures_itself and stages.lacks_capture(payment, operation, attempt):
        return _doubt(payment, operation, replace(attempt, state=AttemptState.UNKNOWN), now=now)
    if operation.kind is OperationKind.AUTHORIZE:
        payment = replace(payment, authentication=authentication.shown(payment, reply))
    approved = replace(attempt, state=AttemptState.APPROVED, failure_code=None)
    return leaving.released(succeed(payment, operation, approved, reply=reply, now=now), now=now)


def give_up(
    payment: Payment, operation: Operation, latest: Attempt | None, *, code: FailureCode, now: datetime
) -> Settlement:
    """The operation failed with nothing on the wire; nothing changes unless its latest attempt is unsent."""
    unsent = latest is None or latest.state is AttemptState.NOT_SENT
    if operation.status is not OperationStatus.PENDING or not unsent:
        return Settlement(payment, operation, latest)
    return fail(payment, operation, None, stepping_up.least(latest, code) or failure_error(code), now=now)


def _unprocessed_because(
    attempt: Attempt, fact: Reversed | NotProcessed | Expired | Cancelled
) -> FailureCode:
    match fact:
        case Cancelled():
            return FailureCode.ABANDONED
        case NotProcessed():
            return fact.code
        case Expired():
            return FailureCode.PAYMENT_TIMED_OUT
        case Reversed():
            without = FailureCode.ABANDONED if attempt.asked else FailureCode.NOT_PROCESSED
            return FailureCode(attempt.failure_code) if attempt.failure_code else without
