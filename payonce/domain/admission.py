"""What may be admitted, of which amount, and what that holds on the payment: asked under the payment's lock."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from payonce.domain.errors import NotAllowed, OperationInProgress, PaymentInReview
from payonce.domain.operations import Operation, OperationKind
from payonce.domain.payment import CAPTURE_CLOSES_BEFORE_EXPIRY, Payment, PaymentStatus


def admit_capture(payment: Payment, *, amount_minor: int | None, now: datetime) -> int:
    """The amount to capture, in minor units. Raises `NotAllowed`, `OperationInProgress` or `PaymentInReview`."""
    _idle(payment)
    if payment.withheld and payment.status.capturable:
        raise PaymentInReview
    _in_time(payment, now)
    if not payment.status.capturable:
        raise NotAllowed(
            "payment_not_capturable", f"A payment that is {payment.status} cannot be captured now."
        )
    if payment.capturable_minor == 0:
        _nothing_accepted(payment)
        raise NotAllowed("payment_not_capturable", "Nothing is left: what the acquirer did is being decided.")
    return _within(amount_minor, payment.capturable_minor, what="capturable")


def admit_void(payment: Payment, *, asked: bool) -> int:
    """The amount that the void releases, or abandons. Raises `NotAllowed` or `OperationInProgress`.

    `asked`: whether the customer was, so that there is something to abandon although it has no outcome.
    """
    if payment.status.undecided and asked:
        _alone(payment)
        return payment.amount_minor
    _idle(payment)
    _nothing_accepted(payment)
    if not payment.status.capturable:
        raise NotAllowed("payment_not_voidable", f"A payment that is {payment.status} cannot be voided.")
    if payment.uncaptured_minor == 0:
        raise NotAllowed("payment_not_voidable", "Nothing is left to release: all of it was captured.")
    return payment.uncaptured_minor


def admit_refund(payment: Payment, *, amount_minor: int | None) -> int:
    """The amount to refund, in minor units. Raises `NotAllowed`; refunds run in parallel."""
    if payment.refundable_minor == 0:
        what = "nothing is left to refund" if payment.amount_captured_minor else "nothing was captured"
        raise NotAllowed("payment_not_refundable", f"The payment cannot be refunded: {what}.")
    return _within(amount_minor, payment.refundable_minor, what="refundable")


def reserved(payment: Payment, operation: Operation) -> Payment:
    """The payment once the operation is admitted: a refund holds its amount, any other is the one that is pending."""
    if operation.kind is OperationKind.REFUND:
        held = payment.amount_refund_pending_minor + operation.amount_minor
        return replace(payment, amount_refund_pending_minor=held)
    return replace(payment, pending_operation=pending(operation), next_action=None)


def pending(operation: Operation) -> dict[str, Any]:
    """The operation as the payment shows it while it is pending."""
    return {"id": operation.id, "type": operation.kind, "amount": operation.amount_minor}


def expires(payment: Payment, *, now: datetime) -> bool:
    """Whether the time of what is not captured is over. Nothing may be pending."""
    over = payment.capture_before is not None and now >= payment.capture_before
    return payment.status.capturable and over


def _idle(payment: Payment) -> None:
    """One capture or void at a time, decided at admission."""
    if payment.status in (PaymentStatus.INIT, PaymentStatus.PROCESSING):
        raise OperationInProgress(f"The payment is {payment.status}: it has no outcome yet.")
    _alone(payment)


def _alone(payment: Payment) -> None:
    if payment.pending_operation is not None:
        raise OperationInProgress(f"A {payment.pending_operation['type']} of this payment is pending.")


def _nothing_accepted(payment: Payment) -> None:
    if payment.accepted:
        raise OperationInProgress(
            "The acquirer has accepted a capture of this payment and not said its outcome."
        )


def _in_time(payment: Payment, now: datetime) -> None:
    """The window is open, of a payment that has or had one."""
    if payment.capture_before is None or not (
        payment.status.capturable or payment.status is PaymentStatus.EXPIRED
    ):
        return
    closed_at = payment.capture_before - CAPTURE_CLOSES_BEFORE_EXPIRY
    if now >= closed_at or payment.status is PaymentStatus.EXPIRED:
        moment = f"{closed_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        raise NotAllowed(
            "payment_not_capturable", f"The window to capture the payment is over: it closed at {moment}."
        )


def _within(amount_minor: int | None, limit_minor: int, *, what: str) -> int:
    if amount_minor is None:
        return limit_minor
    if amount_minor > limit_minor:
        raise NotAllowed("amount_too_large", f"Only {limit_minor} is {what}.")
    return amount_minor
