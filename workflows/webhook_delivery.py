"""`WebhookDeliveryWorkflow`: a delivery that failed, from its first retry to its end."""

from datetime import timedelta

from temporalio import workflow

from workflows.told import Deaf

with workflow.unsafe.imports_passed_through():
    from activities import options
    from activities.webhook_deliveries import Delivering
    from activities.webhook_messages import (
        Delivered,
        DeliveryProgress,
        DeliveryRequest,
        Dropped,
        Exhausted,
        LeftToRelay,
        NextAttempt,
        Waiting,
    )

STEPS_MAX = 500  # of one run; the schedule has 10 attempts, a busy endpoint makes a delivery wait in between
WAIT_MIN = timedelta(seconds=1)


@workflow.defn
class WebhookDeliveryWorkflow(Deaf):
    """Its id is the delivery's. When the next attempt is due says Postgres, with every attempt.

    A run that resumes one which was terminated begins the same way, and finds out what happened meanwhile.
    """

    @workflow.run
    async def run(self, request: DeliveryRequest) -> str:
        """Ends when nobody is to try again, or the relay took the delivery back; returns which."""
        due_at, attempts, reason = request.next_attempt_at, request.attempts, request.error
        for _ in range(STEPS_MAX):
            await self._wait(Waiting(due_at, attempts, reason))
            progress = await self._attempt(request, attempts)
            if not isinstance(progress, Waiting):
                workflow.set_current_details(_ending(progress))
                return progress.kind
            due_at, attempts = progress.next_attempt_at, progress.attempts
            reason = progress.reason or reason
        workflow.continue_as_new(
            DeliveryRequest(
                request.delivery_id, request.endpoint_id, request.event_type, attempts, due_at, reason
            )
        )

    async def _wait(self, waiting: Waiting) -> None:
        number, reason = waiting.attempts + 1, waiting.reason or "no answer that counts"
        at = waiting.next_attempt_at.isoformat(timespec="seconds")
        workflow.set_current_details(
            f"**Not delivered after {_times(waiting.attempts)}: {reason}**\n\nAttempt {number} at {at}."
        )
        delay = max(waiting.next_attempt_at - workflow.now(), WAIT_MIN)
        await workflow.sleep(delay, summary=f"before attempt {number}: {reason}")

    async def _attempt(self, request: DeliveryRequest, attempts: int) -> DeliveryProgress:
        progress: DeliveryProgress = await workflow.execute_activity_method(
            Delivering.deliver,
            NextAttempt(request.delivery_id, request.endpoint_id, attempts),
            summary=f"attempt {attempts + 1}",
            **options.DELIVER,
        )
        return progress


def _ending(progress: Delivered | Exhausted | Dropped | LeftToRelay) -> str:
    times = _times(progress.attempts)
    match progress:
        case Delivered():
            return f"**Delivered** with {times}."
        case Exhausted():
            return f"**Given up** after {times}: {progress.reason}. An event tells the merchant's other endpoints."
        case Dropped():
            return f"**Dropped** after {times}: the endpoint is gone or disabled."
        case LeftToRelay():
            return f"The relay retries it itself, after {times} so far."


def _times(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"
