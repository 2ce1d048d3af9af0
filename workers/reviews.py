"""Reviews: each open one has a workflow that shows it, each ended one's is told, and what is open is measured."""

from collections.abc import Sequence
from datetime import UTC, datetime

from payonce.domain.errors import EngineRefused, NotHandedOver
from payonce.domain.operations import Subject
from payonce.domain.payment import Payment
from payonce.domain.reviews import ReviewReason
from payonce.logging import get_logger
from payonce.metrics import REVIEWS_OPEN, REVIEWS_OVERDUE
from payonce.runtime import Runtime
from payonce.storage import review_queue
from payonce.storage.review_queue import DueReview
from workers.dispatch import Dispatcher

log = get_logger(__name__)


class Reviews:
    """Takes reviews from their queue; what one process takes, the others do not see for a while."""

    def __init__(self, runtime: Runtime, dispatcher: Dispatcher) -> None:
        self._runtime = runtime
        self._dispatcher = dispatcher

    async def dequeue(self, *, limit: int) -> Sequence[DueReview]:
        """The longest overdue looks, at most `limit`."""
        async with self._runtime.database.transaction() as connection:
            return await review_queue.dequeue(connection, limit=limit)

    async def show(self, due: DueReview) -> bool:
        """Temporal has a run that shows the review as it is; False where Temporal is away, and it comes again."""
        try:
            await self._hand_over(due)
        except NotHandedOver as error:
            refused = isinstance(error, EngineRefused)
            level = log.error if refused else log.warning
            level("review_not_shown", operation_id=due.operation.id, error=str(error))
            if not refused:
                async with self._runtime.database.transaction() as connection:
                    await review_queue.requeue(connection, due.review)
            return refused
        return True

    async def measure(self) -> bool:
        """The gauges say how many reviews wait for a person, and how many of them for too long."""
        async with self._runtime.database.reading() as connection:
            counted = await review_queue.count_open(connection)
        for reason, count in counted.items():
            REVIEWS_OPEN.labels(reason).set(count.open)
            REVIEWS_OVERDUE.labels(reason).set(count.overdue)
        return False

    async def _hand_over(self, due: DueReview) -> None:
        """A run that is there already shows a review that began anew once it has looked. What the acquirer did may
        have opened the payment again, whose own run has ended."""
        if due.review.closed_at is not None:
            await self._dispatcher.review_changed(due.review)
            async with self._runtime.database.transaction() as connection:
                await review_queue.told(connection, due.review)
            return
        await self._end_in_time(due)
        began = await self._dispatcher.start_review(due.payment, due.operation, due.review)
        if not began and due.sweeps == 1:
            await self._dispatcher.review_changed(due.review)
        if due.payment.taken_back and due.payment.status.open:
            await reopen(self._dispatcher, due.payment)

    async def _end_in_time(self, due: DueReview) -> None:
        """What is held for its risk is voided when its time is over, whoever runs or does not run its workflow."""
        review = due.review
        if review.reason is ReviewReason.RISK and review.due_at <= datetime.now(UTC):
            subject = Subject(review.payment_id, review.operation_id)
            await self._runtime.recorder.overdue(subject, due_at=review.due_at)


async def reopen(dispatcher: Dispatcher, payment: Payment) -> bool:
    """The payment that the acquirer opened again has a run; whether it began now. Raises `NotHandedOver`."""
    began = await dispatcher.start_again(payment)
    if began:
        log.warning("payment_reopened", payment_id=payment.id, status=payment.status)
    return began
