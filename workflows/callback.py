"""`CallbackWorkflow`: an acquirer spoke of an operation that no workflow is working on."""

from collections.abc import Sequence

from temporalio import workflow
from temporalio.common import RawValue

from workflows.settling import hear
from workflows.told import NoUse, ignored, spoken_of

with workflow.unsafe.imports_passed_through():
    from activities.messages import OperationRequest, Settled


ASKED_MAX = 100  # while the acquirer goes on speaking; what it says later starts another run


@workflow.defn
class CallbackWorkflow:
    """Asks the acquirer and records what it says; its id is derived from our reference of the attempt.

    So however often the acquirer speaks of an attempt, one run is open, which asks again after what came meanwhile.
    """

    def __init__(self) -> None:
        self._spoken = False  # since it was last asked

    @workflow.run
    async def run(self, request: OperationRequest, reference: str) -> str:
        """Ends when the acquirer has answered; returns the payment's status then, or what follows from it."""
        workflow.set_current_details(f"Waiting for the acquirer to say what became of {reference}.")
        for _ in range(ASKED_MAX):
            self._spoken = False
            heard = await hear(request, reference)
            # Releases before ignored every signal.
            if not (self._spoken and workflow.patched("callback-heard-again")):
                break
        workflow.set_current_details(
            f"Done: **{heard.status if isinstance(heard, Settled) else heard.kind}**."
        )
        return heard.status if isinstance(heard, Settled) else heard.kind

    @workflow.signal(
        dynamic=True, description="`acquirer_spoke`: ask the acquirer again. Others have no effect"
    )
    def told(self, signal: str, sent: Sequence[RawValue]) -> None:
        """The acquirer is asked once more, after the answer that is under way."""
        try:
            spoken_of(signal, sent)
        except NoUse as error:
            ignored(error)
        else:
            self._spoken = True
