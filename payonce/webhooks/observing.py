"""What an attempt leaves in the metrics and the log; neither has anything of its body."""

from payonce import metrics
from payonce.domain.delivery import DeliveryStatus
from payonce.logging import get_logger
from payonce.storage.webhooks.completions import Completion, Lease
from payonce.webhooks.attempt import Acknowledged, DeliveryAttempt, Reason

log = get_logger(__name__)

metrics.at_zero(metrics.DELIVERIES, ("delivered", *Reason))


def observe(lease: Lease, attempt: DeliveryAttempt, completion: Completion) -> None:
    """The attempt is counted and logged."""
    result = attempt.result
    error = None if isinstance(result, Acknowledged) else result.error.value
    metrics.DELIVERIES.labels(result=error or "delivered").inc()
    if completion.status is not DeliveryStatus.PENDING:
        metrics.DELIVERIES_ENDED.labels(status=completion.status).inc()
    log.info(
        "webhook_attempted",
        delivery_id=lease.delivery_id,
        event_id=lease.event_id,
        endpoint_id=lease.endpoint_id,
        attempt=lease.attempts + 1,
        status_code=result.status,
        error=error,
        delivery=completion.status,
        duration_ms=attempt.duration_ms,
    )
