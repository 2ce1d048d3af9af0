"""Where an operation stands, put into the words that workflows decide on."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from activities.messages import (
    LACKING,
    ActionDue,
    InquiryDue,
    NothingSent,
    NotOwner,
    OperationRequest,
    Progress,
    ReversalDue,
    Settled,
)
from activities.replaying import DONE_BY_OTHERS
from payonce.domain.facts import ActionRequired, FailureCode, Outcome
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.schedules import LOOKS, InquirySchedule, until_told
from payonce.domain.truth import Truth

if TYPE_CHECKING:
    from payonce.connectors.base import Capabilities
    from payonce.domain.operations import Attempt, Operation
    from payonce.domain.settlement import Settlement
    from payonce.standing import Standing


_APPROVED_LATE = (FailureCode.PAYMENT_TIMED_OUT, FailureCode.ABANDONED)  # by a customer who was asked
_SOONEST_S = 1.0  # since clocks differ


def settled(payment: Payment) -> Settled:
    """The payment's state for its workflow; a pending capture or void is there to be carried out."""
    pending = payment.pending_operation
    under_way = None
    if pending is not None:
        kind = OperationKind(str(pending["type"]))
        under_way = OperationRequest(payment.id, str(pending["id"]), kind)
    accepted = [
        OperationRequest(payment.id, str(one["id"]), OperationKind.CAPTURE) for one in payment.accepted
    ]
    return Settled(
        status=payment.status,
        open=payment.status.open or not payment.idle,
        sequence=payment.sequence,
        capture_before=payment.capture_before,
        pending=under_way,
        failure=_failure(payment),
        accepted=accepted,
        held_since=_held_since(payment),
    )


def _held_since(payment: Payment) -> datetime | None:
    """Since when what is authorized waits for a person to look at its risk."""
    if not (payment.held and payment.status.capturable) or payment.review is None:
        return None
    return datetime.fromisoformat(str(payment.review["since"]))


def _failure(payment: Payment) -> str | None:
    if payment.status is not PaymentStatus.FAILED or payment.last_error is None:
        return None
    return str(payment.last_error.get("decline_code") or payment.last_error["code"])


def after_recording(settlement: Settlement, capabilities: Capabilities, *, may_retry: bool) -> Progress:
    """What follows from what was recorded."""
    attempt = settlement.attempt
    if settlement.operation.status is not OperationStatus.PENDING or attempt is None:
        return _done(settlement.payment, attempt, capabilities)
    progress = _standing_at(attempt, settlement.payment, capabilities, may_retry=may_retry)
    return with_review(progress, settlement.operation)


def as_found(standing: Standing, capabilities: Capabilities, *, here: str) -> Progress:
    """What a run that may not send makes of what it found; `here` is this process's owner id."""
    operation, attempt = standing.operation, standing.attempt
    if operation.status is not OperationStatus.PENDING:
        return replace(_done(standing.payment, attempt, capabilities), asked=False)
    if standing.abandons:
        return ReversalDue(capabilities.inquiry, "abandoned")
    if standing.refunds:
        return InquiryDue(LOOKS, "refund")
    create = operation.kind is OperationKind.AUTHORIZE
    may_retry = not (create and capabilities.in_memory(standing.payment))
    if standing.lacks and (attempt is None or attempt.state is AttemptState.NOT_SENT):
        return _nothing_sent(LACKING, attempt, may_retry=may_retry)
    if standing.done_by_others:
        return _nothing_sent(DONE_BY_OTHERS, attempt, may_retry=may_retry)
    if attempt is None:
        return _nothing_sent("not_sent", None, may_retry=may_retry, patient=create and may_retry)
    if create and attempt.owner != here and standing.owner_may_send:
        return NotOwner(attempt.owner)
    progress = _standing_at(attempt, standing.payment, capabilities, may_retry=may_retry)
    return with_review(progress, operation)


def after_asking(
    settlement: Settlement, capabilities: Capabilities, *, found: Outcome | None = None, now: datetime
) -> Progress:
    """As `after_recording`, the acquirer just asked: what is left alone is cancelled, where that is for us to do.

    Where a void gave it up, that one's run asks and cancels, and the authorization's own looks on. `found`: what the
    acquirer said, which is asked once more when its own time is over for good.
    """
    progress = after_recording(settlement, capabilities, may_retry=False)
    attempt = settlement.attempt
    if progress.kind != "inquiry_due" or attempt is None or not attempt.left_alone:
        return progress
    if settlement.payment.pending_operation is not None:
        return replace(progress, schedule=capabilities.inquiry.seldom)
    if is_ours_to_end(attempt, capabilities):
        return ReversalDue(progress.schedule, "left_alone", claimed_at=progress.claimed_at)
    over_at = found.expires_at if isinstance(found, ActionRequired) else None
    return replace(progress, schedule=until_over(attempt, capabilities, over_at=over_at, now=now))


def is_ours_to_end(attempt: Attempt, capabilities: Capabilities) -> bool:
    """Whether we end what is left alone: by telling the acquirer, or since only a leg of ours could pay it."""
    only_by_leg = attempt.completes == "resume" and capabilities.legs_move_money
    return capabilities.challenge_ends == "cancelled" or only_by_leg


def until_over(
    attempt: Attempt, capabilities: Capabilities, *, over_at: datetime | None = None, now: datetime
) -> InquirySchedule:
    """The rail's schedule, which asks when nobody can act any more and the acquirer's answer is final.

    `over_at`: the end of the acquirer's own time, where that is known. No operator is called for what may still be
    paid there: their time begins after it.
    """
    act_before = attempt.act_before or now
    over_at = over_at or act_before
    longer_s = max(0.0, (over_at - act_before).total_seconds())
    final_in_s = (over_at - now).total_seconds() + capabilities.finality_s
    delay_s = final_in_s if final_in_s > 0 else math.inf
    return capabilities.inquiry.within(max(delay_s, _SOONEST_S), longer_s=longer_s)


def aside(progress: Progress, request: OperationRequest, payment: Payment, operation: Operation) -> Progress:
    """The same; but a run that was asked for a capture is done with it once that stands aside."""
    waits = isinstance(progress, InquiryDue) and operation.accepted_at is not None
    return settled(payment) if waits and not request.aside else progress


def with_review(progress: Progress, operation: Operation) -> Progress:
    """The same, with since when a person must decide the operation that is due."""
    if not isinstance(progress, InquiryDue | ReversalDue) or progress.review_since is not None:
        return progress
    return replace(progress, review_since=operation.review_at)


def _done(payment: Payment, attempt: Attempt | None, capabilities: Capabilities) -> Settled:
    """The outcome; what a customer may still approve is watched for a success that comes late."""
    done = settled(payment)
    if attempt is None or attempt.failure_code not in _APPROVED_LATE:
        return done
    return replace(done, watched=attempt.reference, watch=capabilities.late_inquiry)


def _standing_at(
    attempt: Attempt, payment: Payment, capabilities: Capabilities, *, may_retry: bool
) -> Progress:
    """What follows for a pending operation from the state of its latest attempt."""
    match attempt.state:
        case AttemptState.NOT_SENT:
            create = attempt.kind is OperationKind.AUTHORIZE
            patient = create and may_retry and not capabilities.in_memory(payment)
            return _nothing_sent("not_sent", attempt, may_retry=may_retry, patient=patient)
        case AttemptState.NOT_PROCESSED:  # of an acceptance, which is then said again
            return _nothing_sent(attempt.state, attempt, may_retry=True)
        case AttemptState.REVERSING:
            reason = "abandoned" if attempt.abandoned else "amount_mismatch"
            return ReversalDue(capabilities.inquiry, reason, claimed_at=_overdue_from(attempt))
        case AttemptState.WAITING if attempt.act_before is not None:
            action = str((payment.next_action or {}).get("type"))
            return ActionDue(attempt.act_before, capabilities.action_inquiry, action)
        case _:
            schedule = schedule_of(attempt, capabilities)
            return InquiryDue(schedule, attempt.state, claimed_at=_overdue_from(attempt))


def _nothing_sent(
    reason: str, latest: Attempt | None, *, may_retry: bool, patient: bool = False
) -> NothingSent:
    claimed_at = None if latest is None else latest.claimed_at
    return NothingSent(reason, may_retry, patient, no_attempt=latest is None, claimed_at=claimed_at)


def schedule_of(attempt: Attempt, capabilities: Capabilities) -> InquirySchedule:
    """When the acquirer is asked about the attempt, and from when on its silence is for a person."""
    accepted = attempt.state is AttemptState.ACCEPTED
    truth = capabilities.truth_of(attempt.kind)
    replayed = truth is Truth.REPLAY and not accepted and attempt.kind is not OperationKind.AUTHORIZE
    if truth.is_told and not replayed:
        return until_told(capabilities.callback_due_s(attempt.kind))
    return (capabilities.accepted_inquiry if accepted else None) or capabilities.inquiry


def _overdue_from(attempt: Attempt) -> datetime:
    """When an answer began to be overdue: not while the customer had time to act."""
    return attempt.act_before or attempt.claimed_at
