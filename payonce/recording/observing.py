"""What the log and the metrics hear of what was recorded."""

from payonce.domain.settlement import Settlement
from payonce.logging import get_logger
from payonce.metrics import LATE_SUCCESSES, OUTCOMES, REVIEWS, REVIEWS_ESCALATED

log = get_logger(__name__)


def observe(settled: Settlement, *, decided: bool) -> None:
    """It is counted and logged. `decided`: the operation has its outcome since then."""
    payment, operation = settled.payment, settled.operation
    for event in settled.events:
        log.info(event.type.replace(".", "_"), payment_id=payment.id, sequence=event.sequence)
        if event.type == "payment.late_success":
            LATE_SUCCESSES.labels(operation.kind).inc()
            log.error("late_success", payment_id=payment.id, operation_id=operation.id)
        if event.type == "payment.needs_review":
            REVIEWS.labels(operation.kind).inc()
            log.error("needs_review", payment_id=payment.id, operation_id=operation.id)
    if settled.escalated is not None:
        reason = settled.escalated.reason
        REVIEWS_ESCALATED.labels(reason).inc()
        log.error("review_overdue", payment_id=payment.id, operation_id=operation.id, reason=reason)
    if decided:
        OUTCOMES.labels(operation.kind, operation.status, payment.connector).inc()
