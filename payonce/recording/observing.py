"""What the log and the metrics hear of what was recorded."""

from collections.abc import Iterable

from payonce.domain import holding
from payonce.domain.disputes import Dispute
from payonce.domain.events import Draft
from payonce.domain.settlement import Settlement
from payonce.logging import get_logger
from payonce.metrics import DISPUTED_AND_REFUNDED, LATE_SUCCESSES, OUTCOMES, REVIEWS, REVIEWS_ESCALATED

log = get_logger(__name__)


def observe(settled: Settlement, *, decided: bool) -> None:
    """It is counted and logged. `decided`: the operation has its outcome since then."""
    payment, operation = settled.payment, settled.operation
    for event in settled.events:
        log.info(event.type.replace(".", "_"), payment_id=payment.id, sequence=event.sequence)
        if event.type == "payment.late_success":
            LATE_SUCCESSES.labels(operation.kind).inc()
            log.error("late_success", payment_id=payment.id, operation_id=operation.id)
        if event.type == "payment.needs_review" and not holding.is_asked(operation):
            REVIEWS.labels(operation.kind).inc()
            log.error("needs_review", payment_id=payment.id, operation_id=operation.id)
    if settled.dispute is not None:
        _observe(settled.events, settled.dispute)
    if settled.escalated is not None:
        reason = settled.escalated.reason
        REVIEWS_ESCALATED.labels(reason).inc()
        log.error("review_overdue", payment_id=payment.id, operation_id=operation.id, reason=reason)
    if decided:
        OUTCOMES.labels(operation.kind, operation.status, payment.connector).inc()


def _observe(events: Iterable[Draft], dispute: Dispute) -> None:
    """A bank that withdraws what was refunded already calls a person: the customer may have the money twice."""
    withdrawn = any(event.type == "dispute.funds_withdrawn" for event in events)
    if withdrawn and dispute.refunded_before_minor:
        DISPUTED_AND_REFUNDED.labels(dispute.connector_account).inc()
        about = {"payment_id": dispute.payment_id, "dispute_id": dispute.id}
        log.error("disputed_and_refunded", amount_minor=dispute.refunded_before_minor, **about)
