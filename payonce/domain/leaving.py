"""The customer who leaves: what was to be paid is given up, by the merchant's void or by the clock.

It has ended once the acquirer confirms that nobody can pay it any more, or says that it came to nothing. Until then a
success counts. One that the merchant had given up is released: by the void that waits for it, where it is authorized
only, and by a refund of our own where it was captured, which the void then ends with.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from payonce.domain import reviews
from payonce.domain.answers import Answer, AnswerKind, encode, failed_answer, payment_view
from payonce.domain.events import Settlement, Story
from payonce.domain.facts import FailureCode
from payonce.domain.operations import (
    Attempt,
    AttemptState,
    Operation,
    OperationKind,
    OperationStatus,
    of_our_own,
)
from payonce.domain.payment import Payment

ACTS_WITHIN = timedelta(
    minutes=15
)  # after the customer was first asked. Source: the public contract, `api.md`


def may_act(payment: Payment, *, now: datetime) -> bool:
    """Whether the customer is asked to act, and may: what the merchant was answered then is still so."""
    action = payment.next_action
    return action is not None and now < datetime.fromisoformat(str(action["expires_at"]))


def acts_until(expires_at: datetime, *, now: datetime) -> datetime:
    """Until when a customer who is asked now may act, whatever is said later: the acquirer's time, or ours."""
    return min(expires_at, now + ACTS_WITHIN)


def abandoned(attempt: Attempt) -> Attempt:
    """The merchant gave it up while its customer could act, or could still have. One being reversed stays so."""
    if attempt.state not in (AttemptState.WAITING, AttemptState.ACCEPTED, AttemptState.UNKNOWN):
        return attempt
    state = attempt.state if attempt.state is AttemptState.ACCEPTED else AttemptState.UNKNOWN
    return replace(attempt, state=state, failure_code=FailureCode.ABANDONED.value)


def released(settled: Settlement, *, now: datetime) -> Settlement:
    """What was captured although a void waits for it goes back, by a refund of our own that begins with this."""
    paid, void = settled.payment, settled.payment.pending_operation
    if settled.operation.kind is not OperationKind.AUTHORIZE or void is None or not paid.refundable_minor:
        return settled
    refund = of_our_own(  # its id is the recorder's to derive
        paid,
        OperationKind.REFUND,
        id_="",
        amount_minor=paid.refundable_minor,
        reason="void",
        ends_operation=str(void["id"]),
        now=now,
    )
    return replace(settled, refund=refund)


def given_up(voided: Payment, create: Operation) -> Answer:
    """Of the create that came to nothing once its merchant had given it up: 402 with the voided payment inside."""
    return failed_answer(voided, create.last_error or {}, request_id=create.request_id)


def begin_refund(settled: Settlement, *, refund_id: str) -> tuple[Settlement, Operation]:
    """The refund under its id, its amount held; the void that waits for it is not sent any more."""
    paid, refund = settled.payment, settled.refund
    assert refund is not None
    refund = replace(refund, id=refund_id)
    paid = replace(
        paid,
        amount_refund_pending_minor=paid.amount_refund_pending_minor + refund.amount_minor,
        pending_operation={**(paid.pending_operation or {}), "ended_by": refund_id},
    )
    return replace(settled, payment=paid, refund=refund), refund


def refunded(story: Story, refund: Operation) -> None:
    """The void that our refund ends is not pending any more; its own row follows with `end`."""
    if refund.ends_operation is not None:
        story.set(pending_operation=None)


def not_refunded(story: Story, refund: Operation, error: dict[str, object], *, now: datetime) -> Operation:
    """What was given up is captured all the same, and stays so: the void fails, and a person decides."""
    if refund.ends_operation is None:
        return refund
    review = reviews.begun(story.payment, reviews.NOT_RELEASED, beside=True, now=now)
    story.set(pending_operation=None, last_error=error, review=review)
    story.tell("payment.needs_review")
    return replace(refund, review_at=now)


def end(void: Operation, settled: Settlement, *, now: datetime) -> Settlement:
    """The void has the outcome of the refund that released what it was to give up: 200, or the refund's 402."""
    paid, refund = settled.payment, settled.operation
    if void.status is not OperationStatus.PENDING:
        return Settlement(paid, void)
    ended = replace(void, status=refund.status, last_error=refund.last_error, updated_at=now)
    return Settlement(paid, ended, answer=_answer(paid, ended))


def _answer(paid: Payment, void: Operation) -> Answer | None:
    match void.status:
        case OperationStatus.PENDING:
            return None
        case OperationStatus.SUCCEEDED:
            return Answer(AnswerKind.PAYMENT_CHANGED, encode(payment_view(paid)))
        case OperationStatus.FAILED:
            return failed_answer(paid, void.last_error or {}, request_id=void.request_id)
        case _:
            assert_never(void.status)
