"""`ReviewWorkflow`: an operation that a person must decide, as long as that is so."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import FailureError, is_cancelled_exception

from workflows.attributes import REVIEW_REASON
from workflows.renewal import suggested
from workflows.told import ignored

with workflow.unsafe.imports_passed_through():
    from activities import options
    from activities.messages import InquiryDue, Progress
    from activities.resolving import Resolving
    from activities.review_messages import OpenReview, Over, ReviewRequest, ReviewStanding, Spoken
    from activities.reviewing import Reviewing

REVIEW_CHANGED = "review_changed"
"""The one signal that means something: look in Postgres now."""

LOOK_EVERY = timedelta(hours=1)
ASK_EVERY = timedelta(days=1)
WAIT_MIN = timedelta(seconds=1)  # since clocks differ
LOOKS_PER_RUN = 300  # about twelve days; each is some ten events


@workflow.defn
class ReviewWorkflow:
    """Its id is `review-` and the operation's. It shows the review to operators, and decides nothing.

    The acquirer is asked once in a while, and what it says may end the review; when it is due and nobody has
    decided, it escalates. How it stands says Postgres, so that a run may end anywhere and another goes on there.
    """

    @workflow.init
    def __init__(self, request: ReviewRequest) -> None:
        self._request = request
        self._searchable = request.reason
        self._ask_at = request.ask_at
        self._changed = False  # whether there may be news in Postgres
        self._unanswered: str | None = None  # why the acquirer did not answer last time
        self._details = ""
        self._ignored = ""

    @workflow.run
    async def run(self, request: ReviewRequest) -> str:
        """Ends with the review; returns what closed it, or `gone` where Postgres knows of none."""
        over = await self._until_over()
        if over is None:
            workflow.continue_as_new(self._following(request))
        closed_by = over.closed_by or "gone"
        self._show(f"The review is over ({closed_by}).")
        return closed_by

    @workflow.signal(
        dynamic=True, description="`review_changed`: look in Postgres now. Others have no effect"
    )
    def told(self, signal: str, sent: Sequence[RawValue]) -> None:
        """Postgres is looked at now; what was sent is not believed."""
        if signal == REVIEW_CHANGED:
            self._changed = True
            return
        self._ignored = f"\n\nThe last signal had no effect: the only one is {REVIEW_CHANGED}."
        ignored(f"the only signal is {REVIEW_CHANGED}")
        self._show(self._details)

    async def _until_over(self) -> Over | None:
        """How the review ended; None: it has not, and this run is long enough."""
        for _ in range(LOOKS_PER_RUN):
            seen = await self._look()
            if isinstance(seen, Over):
                return seen
            self._follow(seen)
            if seen.overdue_at is None and workflow.now() >= seen.due_at:
                await self._escalate(seen)
            elif seen.about is not None and workflow.now() >= self._asks_at(seen):
                await self._ask(seen.about)
            else:
                await self._wait(seen)
            if suggested():
                break
        return None

    async def _look(self) -> ReviewStanding:
        self._changed = False
        standing: ReviewStanding = await workflow.execute_activity_method(
            Reviewing.look_at_review, self._request, summary="how it stands", **options.BOOKKEEPING
        )
        return standing

    async def _escalate(self, seen: OpenReview) -> None:
        await workflow.execute_activity_method(
            Reviewing.escalate_review,
            args=[self._request, seen.due_at],
            summary="nobody decided in time",
            **options.BOOKKEEPING,
        )

    async def _ask(self, about: Spoken) -> None:
        """What the acquirer says of the attempt is recorded; without an answer it is asked again soon."""
        try:
            heard: Progress = await workflow.execute_activity_method(
                Resolving.hear,
                args=[about.operation, about.reference],
                summary=f"what became of {about.reference}",
                **options.ASK_ONCE,
            )
            self._unanswered = heard.reason if isinstance(heard, InquiryDue) else None
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            self._unanswered = type(error.cause or error).__name__
        self._ask_at = workflow.now() + (LOOK_EVERY if self._unanswered else ASK_EVERY)

    async def _wait(self, seen: OpenReview) -> None:
        """Until something may have changed, or is to be done."""
        moments = [workflow.now() + LOOK_EVERY]
        if seen.overdue_at is None:
            moments.append(seen.due_at)
        if seen.about is not None:
            moments.append(self._asks_at(seen))
        delay = max(min(moments) - workflow.now(), WAIT_MIN)
        with suppress(asyncio.TimeoutError):
            await workflow.wait_condition(
                lambda: self._changed, timeout=delay, timeout_summary="before the next look"
            )

    def _asks_at(self, seen: OpenReview) -> datetime:
        return self._ask_at or seen.opened_at + ASK_EVERY

    def _following(self, request: ReviewRequest) -> ReviewRequest:
        return ReviewRequest(request.payment_id, request.operation_id, self._searchable, self._ask_at)

    def _follow(self, seen: OpenReview) -> None:
        """Operators find the review by its reason, and read what it is about and what to do."""
        if seen.reason != self._searchable:
            self._searchable = seen.reason
            workflow.upsert_search_attributes([REVIEW_REASON.value_set(seen.reason)])
        about = None
        if seen.about is not None:
            about = _asked(seen.about, asks_at=self._asks_at(seen), unanswered=self._unanswered)
        self._show("\n\n".join(_details(self._request, seen, about)))

    def _show(self, details: str) -> None:
        self._details = details
        workflow.set_current_details(details + self._ignored)


def _details(request: ReviewRequest, seen: OpenReview, asked: str | None) -> list[str]:
    """Paragraphs, for people."""
    due = f"Since {_time(seen.opened_at)}. To be decided by {_time(seen.due_at)}"
    if seen.overdue_at is not None:
        due = f"Since {_time(seen.opened_at)}. **Overdue**: it was to be decided by {_time(seen.due_at)}"
    commands = [f"    payonce review show {request.payment_id}"]
    if seen.verdicts:
        commands.append(f'    payonce review decide {request.operation_id} <verdict> --why "…"')
    return [
        f"In **review** ({seen.reason}): {seen.meaning}.",
        seen.words,
        f"{due}.",
        *([asked] if asked else []),
        "A person ends it:",
        "\n".join(commands),
        "\n".join(f"- `{verdict}`: {means}" for verdict, means in seen.verdicts.items()),
    ]


def _asked(about: Spoken, *, asks_at: datetime, unanswered: str | None) -> str:
    last = f"The acquirer did not answer ({unanswered}). " if unanswered else ""
    return f"{last}It is asked about {about.reference} next at {_time(asks_at)}; what it says may end this."


def _time(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
