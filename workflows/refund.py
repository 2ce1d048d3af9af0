"""`RefundWorkflow` and `ReversalWorkflow`: money on its way back."""

from collections.abc import Sequence
from dataclasses import replace

from temporalio import workflow
from temporalio.common import RawValue

from workflows.renewal import BegunAnew, suggested
from workflows.settling import Settling, in_review, used_up_delay_s
from workflows.told import Deaf, NoUse, ignored, spoken_of

with workflow.unsafe.imports_passed_through():
    from activities import options
    from activities.messages import OperationRequest, ReversalDue, Settled
    from activities.resolving import Resolving


@workflow.defn
class RefundWorkflow:
    """One refund, from its first attempt to its outcome; its id is the refund's. Needs no payment workflow.

    Or what releases a late success in the same way, by a void or a refund of its own.
    """

    @workflow.init
    def __init__(self, request: OperationRequest) -> None:
        self._request = request
        self._ignored = ""  # of the details: why the last signal had no effect
        self._settling = Settling(request, changed=self._show, begins_anew=self._begins_anew)

    @workflow.run
    async def run(self, request: OperationRequest) -> str:
        """Ends with the refund's outcome; returns the payment's status then."""
        try:
            settled = await self._settling.outcome()
        except BegunAnew:
            workflow.continue_as_new(request)
        workflow.set_current_details(f"Done; the payment is **{settled.status}**.")
        return settled.status

    @workflow.signal(
        dynamic=True, description="`acquirer_spoke`: ask the acquirer now. Others have no effect"
    )
    def told(self, signal: str, sent: Sequence[RawValue]) -> None:
        """The refund is inquired about at once."""
        try:
            operation, reference = spoken_of(signal, sent)
            if operation.subject != self._request.subject:
                raise NoUse("not this refund")
        except NoUse as error:
            self._ignored = f"\n\nThe last signal had no effect: {error}."
            ignored(error)
            self._show()
            return
        self._settling.hear(reference)

    def _begins_anew(self) -> bool:
        return self._settling.rests and suggested()

    def _show(self) -> None:
        lines = [f"Waiting for {self._settling.waiting_for}."]
        if self._settling.in_review is not None:
            lines.append(self._settling.in_review)
        workflow.set_current_details("\n\n".join(lines) + self._ignored)


@workflow.defn
class ReversalWorkflow(Deaf):
    """Undoes a success that came after its failure was proven; its id is the reversal operation's."""

    @workflow.run
    async def run(self, request: OperationRequest) -> str:
        """Ends when the acquirer confirmed, however long it takes; returns the payment's status then."""
        started, calls, called = workflow.time(), 0, False
        while True:
            progress = await workflow.execute_activity_method(
                Resolving.reverse_late, request, summary="reverse a late success", **options.INQUIRE
            )
            if isinstance(progress, Settled):
                workflow.set_current_details(f"Done; the payment is **{progress.status}**.")
                return progress.status
            assert isinstance(progress, ReversalDue)
            since_s = workflow.time() - started
            delay_s = progress.schedule.delay_s(inquiries=calls, since_s=since_s)
            if delay_s is None:
                delay_s = used_up_delay_s()
            if since_s >= progress.schedule.review_after_s and not called:
                called = True
                await workflow.execute_activity_method(
                    Resolving.call_operator, args=[request, progress.reason], **options.BOOKKEEPING
                )
                progress = replace(progress, review_since=progress.review_since or workflow.now())
            calls += 1
            workflow.set_current_details(_waiting(request, progress, number=calls + 1))
            await workflow.sleep(delay_s, summary=f"before reversal {calls + 1}")
            if suggested():
                workflow.continue_as_new(request)


def _waiting(request: OperationRequest, due: ReversalDue, *, number: int) -> str:
    lines = [f"Waiting for reversal {number}: {due.reason}."]
    if due.review_since is not None:
        lines.append(in_review(request.payment_id, since=due.review_since, reason=due.reason))
    return "\n\n".join(lines)
