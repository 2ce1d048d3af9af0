"""`RefundWorkflow` and `ReversalWorkflow`: money on its way back."""

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from workflows.settling import Settling

with workflow.unsafe.imports_passed_through():
    from activities import options
    from activities.messages import OperationRequest, ReversalDue, Settled
    from activities.resolving import Resolving


@workflow.defn
class RefundWorkflow:
    """One refund, from its first attempt to its outcome; its id is the refund's. Needs no payment workflow."""

    @workflow.init
    def __init__(self, request: OperationRequest) -> None:
        self._settling = Settling(request, changed=self._show)

    @workflow.run
    async def run(self, request: OperationRequest) -> str:
        """Ends with the refund's outcome; returns the payment's status then."""
        settled = await self._settling.outcome()
        workflow.set_current_details(f"Done; the payment is **{settled.status}**.")
        return settled.status

    @workflow.signal(description="The acquirer spoke of the refund: ask it now")
    def acquirer_spoke(self, request: OperationRequest, reference: str) -> None:
        """The refund is inquired about at once."""
        self._settling.hear(reference)

    def _show(self) -> None:
        workflow.set_current_details(f"Waiting for {self._settling.waiting_for}.")


@workflow.defn
class ReversalWorkflow:
    """Undoes a success that came after its failure was proven; its id is the reversal operation's."""

    @workflow.run
    async def run(self, request: OperationRequest) -> str:
        """Ends when the acquirer confirmed; raises `ApplicationError` (`unresolved`) when an operator must."""
        started, calls, called = workflow.time(), 0, False
        while True:
            progress = await workflow.execute_activity_method(
                Resolving.reverse_late, request, summary="reverse a late success", **options.INQUIRE
            )
            if isinstance(progress, Settled):
                return progress.status
            assert isinstance(progress, ReversalDue)
            since_s = workflow.time() - started
            delay_s = progress.schedule.delay_s(inquiries=calls, since_s=since_s)
            if delay_s is None:
                raise ApplicationError("the reversal is not confirmed", type="unresolved", non_retryable=True)
            if since_s >= progress.schedule.review_after_s and not called:
                called = True
                await workflow.execute_activity_method(
                    Resolving.call_operator, args=[request, progress.reason], **options.BOOKKEEPING
                )
            calls += 1
            await workflow.sleep(delay_s, summary=f"before reversal {calls + 1}")
