"""`AcceptanceWorkflow`: a dispute is accepted, however often its acquirer has to be told or asked."""

from collections.abc import Sequence

from temporalio import workflow
from temporalio.common import RawValue

from workflows.renewal import BegunAnew, suggested
from workflows.settling import Settling
from workflows.told import NoUse, ignored, spoken_of

with workflow.unsafe.imports_passed_through():
    from activities.messages import OperationRequest


@workflow.defn
class AcceptanceWorkflow:
    """One acceptance of a dispute, from its first attempt to its outcome; its id is the operation's."""

    @workflow.init
    def __init__(self, request: OperationRequest) -> None:
        self._request = request
        self._ignored = ""  # of the details: why the last signal had no effect
        self._settling = Settling(request, changed=self._show, begins_anew=self._begins_anew)

    @workflow.run
    async def run(self, request: OperationRequest) -> str:
        """Ends with the outcome: accepted, or decided before that; returns the payment's status then."""
        try:
            settled = await self._settling.outcome()
        except BegunAnew:
            workflow.continue_as_new(request)
        workflow.set_current_details("Done.")
        return settled.status

    @workflow.signal(
        dynamic=True, description="`acquirer_spoke`: ask the acquirer now. Others have no effect"
    )
    def told(self, signal: str, sent: Sequence[RawValue]) -> None:
        """The acquirer is asked about the dispute at once."""
        try:
            operation, reference = spoken_of(signal, sent)
            if operation.subject != self._request.subject:
                raise NoUse("not this acceptance")
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
