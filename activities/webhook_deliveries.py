"""Webhook deliveries that failed, one attempt at a time, and redeliveries, one page at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.heartbeats import heartbeating
from activities.webhook_messages import (
    Delivered,
    DeliveryProgress,
    Dropped,
    Exhausted,
    JobEnded,
    JobProgress,
    JobRequest,
    LeftToRelay,
    NextAttempt,
    NotNow,
    PageTaken,
    Waiting,
)
from payonce.domain.delivery import DeliveryStatus, Holder

if TYPE_CHECKING:
    from payonce.storage.driver.database import Database
    from payonce.storage.webhooks.jobs import JobPages
    from payonce.storage.webhooks.queue import NotDue
    from payonce.wakeups import WakeUps
    from payonce.webhooks.workflow_attempts import WorkflowAttempts


class Delivering:
    """What the relay's worker does for workflows."""

    def __init__(
        self, *, attempts: WorkflowAttempts, pages: JobPages, database: Database, wakeups: WakeUps
    ) -> None:
        self._attempts = attempts
        self._pages = pages
        self._database = database
        self._wakeups = wakeups

    @activity.defn
    @heartbeating
    async def deliver(self, request: NextAttempt) -> DeliveryProgress:
        """The delivery's next attempt was made and recorded, if it is due and nobody else makes it."""
        standing = await self._attempts.attempt(
            request.delivery_id, endpoint_id=request.endpoint_id, attempts=request.attempts
        )
        return _progress(standing, request)

    @activity.defn
    async def redeliver_page(self, request: JobRequest) -> JobProgress:
        """The job's next events are delivered once more, and its place is on record: all of it or nothing."""
        async with self._database.transaction() as connection:
            page = await self._pages.take_page(connection, request.job_id)
        if page is None:
            raise ApplicationError("no such job", type="NotFound", non_retryable=True)
        if page.ended:
            return JobEnded(page.done, page.total, page.state)
        if page.obstacle is not None:
            return NotNow(page.done, page.total, page.obstacle)
        self._wakeups.wake_relay()
        return PageTaken(page.done, page.total)


def _progress(standing: NotDue | None, request: NextAttempt) -> DeliveryProgress:
    """What a workflow decides on. A delivery that is not there any more is wanted by nobody."""
    if standing is None:
        return Dropped(request.attempts)
    match standing.status:
        case DeliveryStatus.SUCCEEDED:
            return Delivered(standing.attempts)
        case DeliveryStatus.EXHAUSTED:
            return Exhausted(standing.attempts, standing.reason)
        case DeliveryStatus.DROPPED:
            return Dropped(standing.attempts)
        case DeliveryStatus.PENDING:
            if standing.holder is Holder.RELAY:
                return LeftToRelay(standing.attempts)
            return Waiting(standing.look_at or datetime.now(UTC), standing.attempts, standing.reason)
