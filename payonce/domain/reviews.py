"""What a payment shows of the operations that a person must decide: `{"reason", "since"}`, as `api.md` has it.

One operation's reason is shown until it is decided, then another's. What must not wait for that, a late success, what
an acquirer did of itself and an expiry that it did not confirm, is told beside it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from payonce.domain import undecided
from payonce.domain.answers import timestamp
from payonce.domain.operations import Operation, OperationKind, Origin
from payonce.domain.payment import Payment

_BESIDE = " / "


def begun(payment: Payment, reason: str, *, beside: bool, now: datetime) -> Mapping[str, Any]:
    """The payment's review, from now on for this reason: alone, or `beside` what it is in review for already."""
    if payment.review is None:
        return {"reason": reason, "since": timestamp(now)}
    if not beside:
        return payment.review
    return {**payment.review, "reason": f"{payment.review['reason']}{_BESIDE}{reason}"}


def left(payment: Payment, operation: Operation) -> Mapping[str, Any] | None:
    """What is left of the payment's review when this operation has its outcome: the others' reasons stay."""
    if payment.review is None or operation.review_at is None:
        return payment.review
    reasons = str(payment.review["reason"]).split(_BESIDE)
    if _beside(operation):
        reasons = [reason for reason in reasons if not reason.startswith(undecided.name(operation))]
    elif payment.review["since"] == timestamp(operation.review_at):
        reasons = reasons[1:]
    return {**payment.review, "reason": _BESIDE.join(reasons)} if reasons else None


def of(payment: Payment, operation: Operation) -> Mapping[str, Any] | None:
    """What the payment shows of this operation once no other's reason is shown; None where nobody was called."""
    if operation.review_at is None:
        return None
    words = undecided.words(payment, operation) if _beside(operation) else f"{operation.kind}_undecided"
    return {"reason": words, "since": timestamp(operation.review_at)}


def _beside(operation: Operation) -> bool:
    """Whether it is told beside others: a late success, or what the acquirer did of itself."""
    return operation.kind is OperationKind.REVERSE or operation.origin is Origin.ACQUIRER
