"""Workflows that are wrong on purpose, in a module that the sandbox can import."""

from temporalio import workflow

from activities.messages import PaymentRequest
from workflows.payment import PaymentWorkflow


@workflow.defn(name="PaymentWorkflow")
class Impatient(PaymentWorkflow):
    """Begins with a timer that no history has."""

    @workflow.init
    def __init__(self, request: PaymentRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: PaymentRequest) -> str:
        await workflow.sleep(1)
        return await super().run(request)


@workflow.defn(name="PaymentWorkflow")
class Reading(PaymentWorkflow):
    """Looks at the file system, which the sandbox forbids."""

    @workflow.init
    def __init__(self, request: PaymentRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: PaymentRequest) -> str:
        with open("/dev/null"):  # the point of it
            return await super().run(request)
