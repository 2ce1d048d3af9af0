"""The merchant accepts a dispute: what the bank withdrew stays with it, and no money moves.

An operation like any other, whose attempts say to the acquirer that we give in. A dispute is accepted once, however
often that is said: what was proven not to have been processed is said again, so often and no more. Pure, and asked
under the payment's lock; how the dispute stands afterwards is what the acquirer says of it.
"""

from dataclasses import replace
from datetime import datetime
from typing import Final, assert_never

from payonce.domain import disputes, reviews
from payonce.domain.answers import Answer, AnswerKind, dispute_view, encode, failure_error, problem_answer
from payonce.domain.disputes import Dispute, DisputeStatus
from payonce.domain.errors import DisputeNotOpen, InvalidRequest
from payonce.domain.events import Settlement, Story
from payonce.domain.facts import (
    Accepted,
    ActionRequired,
    Approved,
    Cancelled,
    Declined,
    Disputed,
    Expired,
    FailureCode,
    NotProcessed,
    Outcome,
    Pending,
    Refused,
    Reversed,
    Unknown,
    Unsent,
)
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationStatus
from payonce.domain.payment import Payment

ATTEMPTS_MAX: Final = 5
"""Attempts after which one that was not processed is the last."""

_INQUIRY: Final = (
    "An inquiry cannot be accepted: nothing is withdrawn by it, and a refund may end the matter."
)
_UNDECIDED: Final = (DisputeStatus.NEEDS_RESPONSE, DisputeStatus.UNDER_REVIEW)


def admit(dispute: Dispute, *, under_way: bool, supported: bool) -> None:
    """Returns where the dispute may be accepted. Raises `DisputeNotOpen` or `InvalidRequest`.

    `under_way`: whether that was asked for already, and has no outcome. `supported`: by its account.
    """
    if dispute.status is not DisputeStatus.NEEDS_RESPONSE:
        raise DisputeNotOpen(f"A dispute that is {dispute.status} cannot be accepted.")
    if under_way:
        raise DisputeNotOpen("The dispute is being accepted.")
    if dispute.stage == "inquiry":
        raise InvalidRequest(_INQUIRY, code="operation_not_supported")
    if not supported:
        message = "The account's acquirer takes no acceptance from us: accept the dispute there."
        raise InvalidRequest(message, code="operation_not_supported")


def settle(
    payment: Payment, operation: Operation, attempt: Attempt, fact: Outcome, *, now: datetime
) -> Settlement:
    """What the fact makes of the acceptance and its attempt. Safe to repeat: the first definite fact stands."""
    known = attempt if attempt.closed else _stated(attempt, fact)
    if operation.status is not OperationStatus.PENDING:
        return Settlement(payment, operation, known)
    match fact:
        case Approved():
            return replace(succeed(payment, operation, now=now), attempt=known)
        case Declined():  # as the dispute stands, whichever attempt was told
            return replace(_fail(payment, operation, fact, now=now), attempt=known)
        case _ if attempt.closed:
            return Settlement(payment, operation, known)
        case Unsent():
            return Settlement(payment, operation, known)
        case NotProcessed() if attempt.number < ATTEMPTS_MAX:
            return Settlement(payment, operation, known)
        case Accepted() | Pending() | ActionRequired() | Unknown():
            deferred = operation.deferred_at or now
            return Settlement(payment, replace(operation, deferred_at=deferred, updated_at=now), known)
        case Refused() | Reversed() | Expired() | Cancelled() | NotProcessed():
            return replace(_fail(payment, operation, fact, now=now), attempt=known)
        case _:
            assert_never(fact)


def succeed(payment: Payment, operation: Operation, *, now: datetime) -> Settlement:
    """The acquirer has it; how the dispute stands by that, `conclude` says."""
    left = reviews.left(payment, operation)
    done = replace(
        operation, status=OperationStatus.SUCCEEDED, last_error=None, review_at=None, updated_at=now
    )
    return Settlement(replace(payment, review=left), done)


def conclude(
    settled: Settlement, known: Dispute, said: Disputed | None, *, was_pending: bool, now: datetime
) -> Settlement:
    """With the dispute as the acquirer says that it stands, and the answer where the acceptance has an outcome."""
    operation = settled.operation
    accepted = operation.status is OperationStatus.SUCCEEDED
    payment, events, dispute = settled.payment, settled.events, known
    if said is not None and settled.attempt is not None:
        heard = disputes.hear(
            payment,
            operation,
            settled.attempt,
            known,
            replace(said, about=None),  # it was asked about by its own id
            dispute_id=known.id,
            accepting=accepted,
            now=now,
        )
        payment, events, dispute = heard.payment, events + heard.events, heard.dispute or known
    if accepted and was_pending and dispute.status in _UNDECIDED:
        dispute = replace(dispute, status=DisputeStatus.ACCEPTED, updated_at=now)
        story = Story(payment, now)
        story.tell("dispute.updated", dispute=dispute)
        payment, events = story.payment, events + story.events
    decided = was_pending and operation.status is not OperationStatus.PENDING
    return replace(
        settled,
        payment=payment,
        events=events,
        dispute=None if dispute == known else dispute,
        answer=_answer(operation, dispute) if decided else settled.answer,
    )


def _answer(operation: Operation, dispute: Dispute) -> Answer:
    if operation.status is OperationStatus.SUCCEEDED:
        return Answer(AnswerKind.DISPUTE, encode(dispute_view(dispute)))
    if dispute.status is not DisputeStatus.NEEDS_RESPONSE:
        detail = f"The dispute was {dispute.status} before its acceptance reached the acquirer."
        return problem_answer(AnswerKind.DISPUTE_NOT_OPEN, detail=detail, request_id=operation.request_id)
    detail = "The acquirer did not take the acceptance, and the dispute is open still: accept it there."
    return problem_answer(AnswerKind.OPERATION_NOT_SUPPORTED, detail=detail, request_id=operation.request_id)


def _fail(payment: Payment, operation: Operation, fact: Outcome, *, now: datetime) -> Settlement:
    refused = isinstance(fact, Refused)
    code = FailureCode.ACQUIRER_REFUSED if refused else FailureCode.NOT_PROCESSED
    left = reviews.left(payment, operation)
    failed = replace(
        operation,
        status=OperationStatus.FAILED,
        last_error=failure_error(code),
        review_at=None,
        updated_at=now,
    )
    return Settlement(replace(payment, review=left), failed)


def _stated(attempt: Attempt, fact: Outcome) -> Attempt:
    """The attempt with what is known of it by the fact."""
    match fact:
        case Unsent():
            claimed = attempt.state is AttemptState.CLAIMED
            return replace(attempt, state=AttemptState.NOT_SENT) if claimed else attempt
        case Accepted() | Pending() | Unknown():
            reference = fact.connector_reference or attempt.connector_reference
            return replace(attempt, state=AttemptState.UNKNOWN, connector_reference=reference)
        case ActionRequired():
            return replace(attempt, state=AttemptState.UNKNOWN)
        case Approved():
            return replace(attempt, state=AttemptState.APPROVED, connector_reference=fact.connector_reference)
        case Declined():
            return replace(attempt, state=AttemptState.DECLINED)
        case Refused() | Reversed() | Expired() | Cancelled() | NotProcessed():
            refused = isinstance(fact, Refused)
            code = FailureCode.ACQUIRER_REFUSED if refused else FailureCode.NOT_PROCESSED
            return replace(attempt, state=AttemptState.NOT_PROCESSED, failure_code=code.value)
        case _:
            assert_never(fact)
