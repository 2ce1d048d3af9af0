"""What a rail that captures by itself, or somebody else, captured of what was recorded as no more than authorized.

Pure: the recording function reads the rows under the payment's lock and writes what is returned.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from payonce.domain import stages, turns
from payonce.domain.ending import succeed
from payonce.domain.events import Story
from payonce.domain.facts import Approved, Foreign, Reversed, Turn
from payonce.domain.operations import Attempt, Operation, OperationKind
from payonce.domain.payment import Change, Payment, PaymentStatus
from payonce.domain.settlement import Settlement


@dataclass(frozen=True, slots=True)
class Capture:
    """The capture of our own that is pending. `sent`: it may have reached the acquirer."""

    operation: Operation
    sent: bool


def capture(found: turns.Found, fact: Approved, own: Capture | None, *, now: datetime) -> Settlement | None:
    """It counts as the capture that was to come; None where it is none that anybody asked for.

    One of our own that was not sent ends with it. One that was may be the same: its outcome is waited for, and where
    that is a failure, this stands (`stages.stands`).
    """
    payment = found.payment
    staged = stages.staged(found.attempt, fact)
    whole = (fact.amount_minor, fact.currency) == (payment.amount_authorized_minor, payment.currency)
    if not whole or payment.amount_captured_minor or payment.taken_back:
        return None
    if own is not None and own.sent:
        return Settlement(payment, found.operation, staged)
    if own is not None:
        return replace(_ended(found, own, fact, now=now), attempt=staged)
    if payment.pending_operation is None and payment.status is PaymentStatus.AUTHORIZED:
        return _captured(payment, found.operation, staged, fact, now=now)
    return None


def by_others(
    found: turns.Found, fact: Turn | Reversed, own: Capture | None, *, now: datetime
) -> Settlement | None:
    """All of it, captured in the dashboard, is the capture that was to come, and ours is not sent after it.

    None where ours may have been sent, or where it is another amount: that is for a person.
    """
    payment = found.payment
    if own is None or own.sent or not isinstance(fact, Foreign) or fact.what != "capture":
        return None
    whole = (fact.amount_minor, fact.currency) == (own.operation.amount_minor, payment.currency)
    another = fact.is_of_another(found.attempt.connector_reference)
    if another or not whole or payment.amount_captured_minor:
        return None
    reply = Approved(fact.id, fact.amount_minor, fact.currency)
    return _ended(found, own, reply, now=now)


def may_be_ours(payment: Payment, fact: Foreign) -> bool:
    """Whether a capture of which nobody says whose it was may be payonce's own: one is pending, or is counted."""
    pending = payment.pending_operation
    capturing = pending is not None and pending["type"] == OperationKind.CAPTURE
    taken = capturing or bool(payment.accepted) or payment.amount_captured_minor > 0
    return fact.perhaps_ours and taken


def as_foreign(fact: Approved) -> Foreign:
    """The same as what somebody else did, once for the authorization: limits and reviews are those of such."""
    return Foreign(
        id=f"{fact.connector_reference}/captured",
        what="capture",
        amount_minor=fact.amount_minor,
        currency=fact.currency,
    )


def _ended(found: turns.Found, own: Capture, fact: Approved, *, now: datetime) -> Settlement:
    ended = succeed(found.payment, own.operation, None, reply=fact, now=now)
    return replace(ended, operation=found.operation, attempt=found.attempt, beside=(ended.operation,))


def _captured(
    payment: Payment, create: Operation, staged: Attempt, fact: Approved, *, now: datetime
) -> Settlement:
    story = Story(payment, now)
    story.change(Change.CAPTURED, amount_captured_minor=fact.amount_minor)
    return Settlement(story.payment, create, staged, story.events)
