"""What is authorized and held until a person has looked at its risk: asked, approved, rejected, or left alone.

`Payment.capture` says so on the payment's row, which every attempt and the books follow. Pure, and asked under the
payment's lock.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from payonce.domain import reviews
from payonce.domain.answers import failure_error
from payonce.domain.errors import DecisionRefused
from payonce.domain.events import Settlement, Story
from payonce.domain.facts import FailureCode
from payonce.domain.operations import Operation
from payonce.domain.payment import REJECTED, Payment
from payonce.domain.reviews import Question, Review, ReviewReason

ENDS_BEFORE_EXPIRY: Final = timedelta(hours=1)  # so that the void is there while the authorization holds


def ask(story: Story, operation: Operation) -> tuple[Operation, tuple[Review, ...]]:
    """The authorization that has just succeeded, in review from now on where the payment is held."""
    payment = story.payment
    if not payment.held:
        return operation, ()
    story.set(review=reviews.begun(payment, ReviewReason.RISK.value, beside=True, now=story.now))
    story.tell("payment.needs_review")
    asked = replace(operation, reason=ReviewReason.RISK.value, review_at=story.now)
    until = payment.capture_before
    opened = reviews.opened(
        asked,
        words=_words(payment),
        now=story.now,
        reason=ReviewReason.RISK,
        due_before=None if until is None else until - ENDS_BEFORE_EXPIRY,
    )
    return asked, (opened,)


def approve(payment: Payment, operation: Operation, *, now: datetime) -> Settlement:
    """It may be captured; what is automatic is captured by an operation of our own. Raises `DecisionRefused`."""
    _refuse_while_pending(payment)
    return _ended(payment, operation, now=now, capture=None)


def reject(payment: Payment, operation: Operation, *, now: datetime) -> Settlement:
    """It is voided, by an operation of our own. Raises `DecisionRefused`."""
    _refuse_while_pending(payment)
    if not payment.status.capturable:
        raise DecisionRefused(f"The payment is {payment.status}: what was captured can only be refunded.")
    return _ended(payment, operation, now=now, capture=REJECTED)


def can_end(payment: Payment) -> bool:
    """Whether what is held can be given up now: nothing is pending, and nothing was captured."""
    return payment.held and payment.idle and payment.status.capturable


def time_out(payment: Payment, operation: Operation, *, now: datetime) -> Settlement:
    """Nobody decided in time: it is voided as if rejected, and says so."""
    error = failure_error(FailureCode.REVIEW_TIMED_OUT)
    return _ended(payment, operation, now=now, capture=REJECTED, last_error=error)


def is_moot(before: Payment, settled: Settlement) -> bool:
    """Whether with this nothing is left to capture, so that nobody need decide whether it may be."""
    over = before.status.capturable and not settled.payment.status.capturable
    return before.held and before.review is not None and over


def is_asked(operation: Operation) -> bool:
    """Whether a person must decide about the risk of what the operation authorized."""
    return reviews.question(operation) is Question.RISK


def _ended(payment: Payment, operation: Operation, *, now: datetime, **fields: Any) -> Settlement:
    story = Story(payment, now)
    story.set(review=reviews.left(payment, operation), **fields)
    return Settlement(story.payment, replace(operation, review_at=None, updated_at=now))


def _refuse_while_pending(payment: Payment) -> None:
    if not payment.idle:
        pending = (payment.pending_operation or {}).get("type", "capture")
        raise DecisionRefused(f"A {pending} of this payment is pending: its outcome comes first.")


def _words(payment: Payment) -> str:
    """Why, for people: `risk`, and what the provider says."""
    reasons = (payment.risk or {}).get("reasons") or ()
    return ": ".join(filter(None, (ReviewReason.RISK.value, ", ".join(reasons))))
