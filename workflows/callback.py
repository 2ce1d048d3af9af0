"""`CallbackWorkflow`: an acquirer spoke of an operation that no workflow is working on."""

from temporalio import workflow

from workflows.settling import hear
from workflows.told import Deaf

with workflow.unsafe.imports_passed_through():
    from activities.messages import OperationRequest, Settled


@workflow.defn
class CallbackWorkflow(Deaf):
    """Asks the acquirer and records what it says; its id is derived from the acquirer's event."""

    @workflow.run
    async def run(self, request: OperationRequest, reference: str) -> str:
        """Ends when the acquirer has answered; returns the payment's status then, or what follows from it."""
        workflow.set_current_details(f"Waiting for the acquirer to say what became of {reference}.")
        heard = await hear(request, reference)
        workflow.set_current_details(
            f"Done: **{heard.status if isinstance(heard, Settled) else heard.kind}**."
        )
        return heard.status if isinstance(heard, Settled) else heard.kind
