"""Where an operation stands, put into the words that workflows decide on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activities.messages import (
    InquiryDue,
    NothingSent,
    NotOwner,
    OperationRequest,
    Progress,
    ReversalDue,
    Settled,
)
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus
from payonce.domain.payment import Payment
from payonce.domain.schedules import InquirySchedule

if TYPE_CHECKING:
    from payonce.claims import Standing
    from payonce.domain.settlement import Settlement


def settled(payment: Payment) -> Settled:
    """The payment's state for its workflow; a pending capture or void is there to be carried out."""
    pending = payment.pending_operation
    under_way = None
    if pending is not None:
        kind = OperationKind(str(pending["type"]))
        under_way = OperationRequest(payment.id, str(pending["id"]), kind)
    return Settled(
        status=payment.status,
        open=payment.status.open,
        sequence=payment.sequence,
        capture_before=payment.capture_before,
        pending=under_way,
    )


def after_recording(settlement: Settlement, schedule: InquirySchedule, *, may_retry: bool) -> Progress:
    """What follows from what was recorded."""
    attempt = settlement.attempt
    if settlement.operation.status is not OperationStatus.PENDING or attempt is None:
        return settled(settlement.payment)
    match attempt.state:
        case AttemptState.NOT_SENT:
            return NothingSent("not_sent", may_retry)
        case AttemptState.REVERSING:
            return ReversalDue(schedule, "amount_mismatch")
        case _:
            return InquiryDue(schedule, attempt.state)


def as_found(standing: Standing, schedule: InquirySchedule, *, here: str) -> Progress:
    """What a run that may not send makes of what it found; `here` is this process's owner id."""
    operation, attempt = standing.operation, standing.attempt
    if operation.status is not OperationStatus.PENDING:
        return settled(standing.payment)
    if attempt is None or attempt.state is AttemptState.NOT_SENT:
        return NothingSent("not_sent", may_retry=operation.kind is not OperationKind.AUTHORIZE)
    if attempt.state is AttemptState.REVERSING:
        return ReversalDue(schedule, "amount_mismatch")
    holds_card = operation.kind is OperationKind.AUTHORIZE
    if holds_card and attempt.owner != here and standing.owner_may_send:
        return NotOwner(attempt.owner)
    return InquiryDue(schedule, attempt.state)
