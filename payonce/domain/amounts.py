"""How a payment's amounts and status follow what an acquirer did of itself, or a person decided about that.

Each changes the story that it is given. Nothing here asks what was said before: see `turns` and `decisions`.
"""

from dataclasses import replace
from typing import Final

from payonce.domain import undecided
from payonce.domain.answers import failure_error
from payonce.domain.ending import refund_change
from payonce.domain.events import Story
from payonce.domain.facts import FailureCode
from payonce.domain.operations import Operation, OperationKind, OperationStatus
from payonce.domain.payment import Change, Payment, PaymentStatus

# Something was captured, and nothing is capturable any more.
_CLOSED: Final = (PaymentStatus.CAPTURED, PaymentStatus.PARTIALLY_REFUNDED, PaymentStatus.REFUNDED)


def room(payment: Payment, kind: OperationKind) -> int:
    """How much more may be captured or refunded, beside what is pending and what is held."""
    if kind is OperationKind.REFUND:
        return payment.refundable_minor
    return max(0, not_held(payment) - payment.held_pending_minor)


def fits(payment: Payment, kind: OperationKind) -> int:
    """How much of what did happen can be booked, beside what is pending.

    What is held for others, or was taken back meanwhile, by the acquirer or a bank, does not make it undone.
    """
    if kind is OperationKind.REFUND:
        captured = payment.amount_captured_minor + payment.amount_capture_undone_minor
        return max(0, captured - payment.amount_refunded_minor - payment.amount_refund_pending_minor)
    uncaptured = payment.amount_authorized_minor - payment.amount_captured_minor
    return max(0, uncaptured - payment.held_pending_minor)


def free(payment: Payment) -> int:
    """What is neither captured of the authorization nor pending; a void that our refund ends releases nothing."""
    uncaptured = payment.amount_authorized_minor - payment.amount_captured_minor
    ended = "ended_by" in (payment.pending_operation or {})
    return max(0, uncaptured - (0 if ended else payment.held_pending_minor))


def not_held(payment: Payment) -> int:
    """What is not captured of the authorization, nor held for what an acquirer did."""
    uncaptured = payment.amount_authorized_minor - payment.amount_captured_minor
    return uncaptured - payment.amount_capture_undecided_minor


def hold(story: Story, turned: Operation, amount_minor: int) -> Operation:
    payment, turned = undecided.hold(story.payment, turned, amount_minor=amount_minor)
    story.payment = payment
    return turned


def take_back_capture(story: Story, counted: int) -> None:
    story.set(
        amount_captured_minor=story.payment.amount_captured_minor - counted,
        amount_capture_undone_minor=story.payment.amount_capture_undone_minor + counted,
    )


def take_back_refund(story: Story, target: Operation, counted: int) -> Operation:
    """The refund, which has failed once all of it is taken back."""
    story.set(amount_refunded_minor=story.payment.amount_refunded_minor - counted)
    if target.amount_undone_minor < target.amount_minor:
        return target
    error = failure_error(FailureCode.TAKEN_BACK)
    return replace(target, status=OperationStatus.FAILED, last_error=error)


def stand_again(story: Story) -> None:
    """The authorization stands again, except where its time is over, or all of it was captured meanwhile.

    Nothing of it can be captured until that is decided.
    """
    payment = story.payment
    left = payment.amount_authorized_minor > payment.amount_captured_minor
    if left and payment.status in (PaymentStatus.VOIDED, *_CLOSED):
        story.change(Change.VOID_UNDONE)


def capture_again(story: Story, target: Operation, counted: int, *, ended: bool) -> None:
    """`ended`: when it was undone nothing else was capturable any more, and nothing is now."""
    if counted == 0:
        return
    payment = story.payment
    captured = payment.amount_captured_minor + counted
    undone = payment.amount_capture_undone_minor - counted
    story.set(amount_captured_minor=captured, amount_capture_undone_minor=undone)
    _show_captured(story, last=ended or (target.final and undone == 0))


def refund_again(story: Story, target: Operation, counted: int) -> Operation:
    """The refund, which was told as failed, has succeeded."""
    target = replace(target, status=OperationStatus.SUCCEEDED, last_error=None)
    story.set(amount_refunded_minor=story.payment.amount_refunded_minor + counted)
    story.tell("refund.succeeded", refund=target, previously="failed")
    follow_refunds(story)
    return target


def void_again(story: Story) -> None:
    if story.payment.status.capturable and story.payment.idle:
        story.change(Change.VOIDED)
        follow_refunds(story)


def move_more(story: Story, foreign: Operation, fits: int) -> None:
    """So much of what was captured or refunded there is in the payment's amounts, with its events."""
    if fits == 0:
        return
    payment = story.payment
    if foreign.kind is OperationKind.REFUND:
        story.set(amount_refunded_minor=payment.amount_refunded_minor + fits)
        story.tell("refund.succeeded", refund=foreign)
        story.change(refund_change(story.payment))
        return
    story.set(amount_captured_minor=payment.amount_captured_minor + fits)
    _show_captured(story, last=False)


def release_rest(story: Story, void: Operation, *, own: bool) -> Operation:
    """The rest of the authorization is gone, or will be seen to be: what is pending for it may still succeed.

    `own`: whether it is known to be this authorization's.
    """
    payment, rest = story.payment, story.payment.uncaptured_minor
    if not payment.status.capturable and not payment.status.undecided:
        return void  # nothing was left to release: there is nothing to decide
    all_of_it = void.currency == payment.currency and void.amount_minor >= rest
    if own and all_of_it and payment.status.capturable and payment.idle:
        story.change(Change.VOIDED)
        follow_refunds(story)
        return void
    return hold(story, void, max(void.amount_minor, rest))


def follow_captures(story: Story) -> None:
    """The status after something captured was taken back."""
    if story.payment.amount_captured_minor:
        follow_refunds(story)
    elif story.payment.status is not PaymentStatus.AUTHORIZED:
        story.change(Change.CAPTURE_UNDONE)


def follow_refunds(story: Story) -> None:
    """Where nothing is capturable any more, the status follows what is refunded of what is captured."""
    if story.payment.status not in _CLOSED:
        return
    if story.payment.amount_refunded_minor:
        story.move(refund_change(story.payment))
    elif story.payment.status is not PaymentStatus.CAPTURED:
        story.change(Change.REFUND_UNDONE)


def _show_captured(story: Story, *, last: bool) -> None:
    """The status after more was captured, with its event. `last`: what is left of the authorization is released."""
    payment = story.payment
    match payment.status:
        case PaymentStatus.AUTHORIZED | PaymentStatus.PARTIALLY_CAPTURED:
            whole = payment.amount_captured_minor == payment.amount_authorized_minor
            story.change(Change.CAPTURED if last or whole else Change.CAPTURED_IN_PART)
        case PaymentStatus.VOIDED | PaymentStatus.EXPIRED:
            story.change(Change.CAPTURE_REDONE)
        case _:
            story.tell(f"payment.{payment.status}")
    follow_refunds(story)
