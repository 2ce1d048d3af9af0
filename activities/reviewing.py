"""Reviews: how one stands, and its escalation when nobody decides in time."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from temporalio import activity

from activities.messages import OperationRequest
from activities.review_messages import OpenReview, Over, ReviewRequest, ReviewStanding, Spoken
from payonce.domain.verdicts import verdicts

if TYPE_CHECKING:
    from payonce.domain.operations import Attempt
    from payonce.recording.recorder import Recorder
    from payonce.standing import Cases


class Reviewing:
    """What is done for a review; to decide is a person's, or the acquirer's."""

    def __init__(self, *, cases: Cases, recorder: Recorder) -> None:
        self._cases = cases
        self._recorder = recorder

    @activity.defn
    async def look_at_review(self, request: ReviewRequest) -> ReviewStanding:
        """How the review stands in Postgres now, and which attempt the acquirer can be asked about."""
        found = await self._cases.reviewed(request.subject)
        review = found.review
        if review is None or review.closed_at is not None:
            return Over(None if review is None else review.closed_by)
        return OpenReview(
            reason=review.reason,
            meaning=review.reason.meaning,
            words=review.words,
            opened_at=review.opened_at,
            due_at=review.due_at,
            overdue_at=review.overdue_at,
            about=None if found.attempt is None else _spoken(found.attempt),
            verdicts={verdict.value: effect.says for verdict, effect in verdicts(found.operation).items()},
        )

    @activity.defn
    async def escalate_review(self, request: ReviewRequest, due_at: datetime) -> None:
        """The review that was due then, if it is open, has escalated. Safe to repeat."""
        await self._recorder.overdue(request.subject, due_at=due_at)


def _spoken(attempt: Attempt) -> Spoken:
    operation = OperationRequest(attempt.payment_id, attempt.operation_id, attempt.kind)
    return Spoken(operation, attempt.reference)
