"""Captures that the acquirer has accepted: it says later what becomes of them, and they block no others.

Days may pass between `Accepted` and the outcome. A capture that leaves the rest capturable stands aside for that
time: its amount stays held, and others are admitted within the sums. What ends the authorization, a void or its
expiry, waits for all of them. A capture that releases the rest stays the one that is pending: nothing may follow it.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from payonce.domain.operations import Operation, OperationKind
from payonce.domain.payment import Payment

if TYPE_CHECKING:
    from payonce.domain.events import Settlement

ACCEPTED_MAX: Final = 20
"""Captures of one payment that stand aside: the next one stays pending, and others wait for it."""


def stand_aside(settled: "Settlement", *, now: datetime) -> "Settlement":
    """With the accepted capture aside, where it is the pending one and leaves anything. Safe to repeat."""
    payment, operation = settled.payment, settled.operation
    pending = payment.pending_operation
    if operation.kind is not OperationKind.CAPTURE or operation.final or operation.accepted_at is not None:
        return settled
    if pending is None or pending["id"] != operation.id or len(payment.accepted) >= ACCEPTED_MAX:
        return settled
    aside = {"id": operation.id, "amount": operation.amount_minor}
    return replace(
        settled,
        payment=replace(payment, pending_operation=None, accepted_captures=[*payment.accepted, aside]),
        operation=replace(operation, accepted_at=now, updated_at=now),
    )


def let_go(payment: Payment, operation: Operation) -> Mapping[str, Any]:
    """The members of the payment that change once the capture or void is not pending any more."""
    if operation.accepted_at is None:
        return {"pending_operation": None}
    left = [one for one in payment.accepted if one["id"] != operation.id]
    return {"accepted_captures": left or None}
