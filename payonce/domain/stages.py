"""How far an authorization has come, and what of our own follows from that.

Only what is captured was paid. An automatic payment that is found to be authorized is captured by an operation of our
own, or by the rail itself where it does that; a capture of our own that fails is followed by a void of our own. What
was held, and rejected by a person, is voided.
"""

from dataclasses import replace
from datetime import datetime

from payonce.domain.admission import pending
from payonce.domain.events import Settlement
from payonce.domain.facts import Approved, Fact, Stage
from payonce.domain.operations import (
    Attempt,
    AttemptState,
    Operation,
    OperationKind,
    OperationStatus,
    Origin,
    of_our_own,
)
from payonce.domain.payment import REJECTED, Payment, PaymentStatus


def staged(attempt: Attempt, fact: Approved) -> Attempt:
    """The attempt with how far its authorization has come, which never goes back, and the evidence of it.

    A fact that does not say proves no more than that it is authorized.
    """
    if fact.evidence is not None:
        attempt = replace(attempt, evidence=fact.evidence.kept())
    if attempt.kind is not OperationKind.AUTHORIZE or captured(attempt):
        return attempt
    return replace(attempt, stage=fact.stage or attempt.stage or Stage.AUTHORIZED)


def captured(attempt: Attempt) -> bool:
    """Whether the acquirer captured, by itself, what the attempt authorized."""
    return attempt.stage is Stage.CAPTURED


def lacks_capture(payment: Payment, operation: Operation, attempt: Attempt) -> bool:
    """Whether what was to be captured with its authorization is not, as far as is known."""
    return operation.kind is OperationKind.AUTHORIZE and payment.automatic and not captured(attempt)


def awaits_capture(payment: Payment, operation: Operation) -> bool:
    """Whether the create has succeeded and its answer depends on what becomes of a capture of our own."""
    authorized = operation.kind is OperationKind.AUTHORIZE and operation.status is OperationStatus.SUCCEEDED
    return authorized and payment.automatic and payment.status is PaymentStatus.AUTHORIZED


def completes_create(operation: Operation) -> bool:
    """Whether it is the capture of our own, whose outcome is the answer to the create."""
    return operation.kind is OperationKind.CAPTURE and operation.origin is Origin.PAYONCE


def answered_by(operation: Operation) -> str | None:
    """Whose answer the operation's outcome is, where it is another operation's: a create has its payment's id."""
    return operation.payment_id if completes_create(operation) else None


def released_by(attempt: Attempt) -> OperationKind:
    """What gives back what the attempt took: what is known to be captured can only be refunded."""
    only_authorized = attempt.kind is OperationKind.AUTHORIZE and not captured(attempt)
    return OperationKind.VOID if only_authorized else OperationKind.REFUND


def follow(before: Operation, settled: Settlement, *, follow_up_id: str, now: datetime) -> Settlement:
    """With the operation of our own that follows from the outcome; `follow_up_id` is its id."""
    kind = _following(before, settled)
    if kind is None:
        return settled
    payment = settled.payment
    own = of_our_own(
        payment,
        kind,
        id_=follow_up_id,
        amount_minor=payment.uncaptured_minor,
        request_id=settled.operation.request_id,
        now=now,
    )
    waiting = replace(payment, pending_operation=pending(own))
    return replace(settled, payment=waiting, added=(*settled.added, own))


def as_answered(payment: Payment, operation: Operation) -> Payment:
    """The payment as the failure of the operation is answered: what could not be captured is being released."""
    if not (completes_create(operation) and payment.status.capturable):
        return payment
    pending = {"type": OperationKind.VOID, "amount": payment.uncaptured_minor}
    return replace(payment, pending_operation=pending)


def _following(before: Operation, settled: Settlement) -> OperationKind | None:
    """What follows, where the operation has its outcome since this."""
    payment, operation = settled.payment, settled.operation
    decided = before.status is OperationStatus.PENDING and operation.status is not OperationStatus.PENDING
    reviewed = (
        operation.kind is OperationKind.AUTHORIZE
        and before.review_at is not None
        and operation.review_at is None
    )
    if not (decided or reviewed) or payment.pending_operation is not None:
        return None
    if reviewed and payment.capture == REJECTED and payment.status.capturable:
        return OperationKind.VOID  # once: one that fails is for a person
    if awaits_capture(payment, operation):
        return OperationKind.CAPTURE
    failed = completes_create(operation) and operation.status is OperationStatus.FAILED
    return OperationKind.VOID if failed and payment.status.capturable else None


def by_rail(create: Operation | None, authorization: Attempt | None) -> bool:
    """Whether the rail captured the authorization by itself, and has not taken that back."""
    if create is None or authorization is None:
        return False
    return captured(authorization) and not create.amount_undone_minor


def stands(settled: Settlement, create: Operation | None, authorization: Attempt | None) -> bool:
    """Whether a capture of our own that did not succeed, or was not sent, was made by the rail itself meanwhile."""
    if not by_rail(create, authorization) or not completes_create(settled.operation):
        return False
    unsent = settled.attempt is not None and settled.attempt.state is AttemptState.NOT_SENT
    return settled.operation.status is OperationStatus.FAILED or unsent


def captured_since(attempt: Attempt | None, fact: Fact | None) -> bool:
    """Whether the fact says that the rail has captured what was known to be authorized only.

    Under another reference of the acquirer's it would be paid twice.
    """
    return (
        attempt is not None
        and attempt.kind is OperationKind.AUTHORIZE
        and (attempt.state, attempt.stage) == (AttemptState.APPROVED, Stage.AUTHORIZED)
        and isinstance(fact, Approved)
        and fact.stage is Stage.CAPTURED
        and fact.connector_reference == attempt.connector_reference
    )
