"""`PaymentWorkflow`: one payment from its authorization to capture, void or expiry."""

import asyncio

from temporalio import workflow

from workflows.attributes import PAYMENT_STATUS
from workflows.settling import Shared, expiry_delay

with workflow.unsafe.imports_passed_through():
    from activities import options
    from activities.messages import OperationRequest, PaymentRequest, Settled
    from activities.resolving import Resolving
    from payonce.domain.operations import OperationKind
    from payonce.domain.payment import PaymentStatus


@workflow.defn
class PaymentWorkflow:
    """Its id is the payment's. Status and amounts come from Postgres, with every outcome; none are kept here.

    A run that resumes a terminated or failed one begins the same way: the first attempt finds what is recorded,
    and a capture or void that is pending in Postgres is carried on.
    """

    @workflow.init
    def __init__(self, request: PaymentRequest) -> None:
        self._request = request
        self._operations = Shared(changed=self._show)
        self._state: Settled | None = None
        self._searchable: str | None = None

    @workflow.run
    async def run(self, request: PaymentRequest) -> str:
        """Ends when nothing of the payment can be captured any more; returns its status then."""
        authorization = OperationRequest(request.payment_id, request.payment_id, OperationKind.AUTHORIZE)
        await self._settle(authorization)
        while (state := self._state) is not None and state.open:
            if state.pending is not None and state.pending.kind is not OperationKind.EXPIRE:
                await self._settle(state.pending)
            elif state.pending is not None or await self._authorization_ends(state):
                await self._expire()
        await workflow.wait_condition(workflow.all_handlers_finished)
        assert self._state is not None
        return self._state.status

    @workflow.update(description="Captures the payment, or a part of it")
    async def capture(self, operation: OperationRequest) -> str:
        """The capture has its outcome; returns the payment's status. Admitted in Postgres before."""
        return await self._settle(operation)

    @workflow.update(description="Releases what is authorized and not captured")
    async def void(self, operation: OperationRequest) -> str:
        """The void has its outcome; returns the payment's status. Admitted in Postgres before."""
        return await self._settle(operation)

    async def _settle(self, operation: OperationRequest) -> str:
        settled = await self._operations.outcome(operation)
        self._follow(settled)
        return settled.status

    async def _authorization_ends(self, state: Settled) -> bool:
        """Waits until something changes (False) or the authorization's time is over (True)."""
        if state.capture_before is None:
            await workflow.wait_condition(lambda: self._state is not state)
            return False
        try:
            await workflow.wait_condition(
                lambda: self._state is not state,
                timeout=expiry_delay(state.capture_before.timestamp()),
                timeout_summary="the authorization expires",
            )
        except asyncio.TimeoutError:  # noqa: UP041  # what the SDK documents
            return True
        return False

    async def _expire(self) -> None:
        settled: Settled = await workflow.execute_activity_method(
            Resolving.expire, self._request.payment_id, summary="release the rest", **options.BOOKKEEPING
        )
        self._follow(settled)

    def _follow(self, settled: Settled) -> None:
        """Takes over what Postgres said, unless something newer is known."""
        if self._state is None or settled.sequence >= self._state.sequence:
            self._state = settled
        self._show()

    def _show(self) -> None:
        """Operators find the payment by its status and read what it waits for."""
        status = self._status()
        if status not in (self._searchable, PaymentStatus.INIT):
            self._searchable = status
            workflow.upsert_search_attributes([PAYMENT_STATUS.value_set(status)])
        workflow.set_current_details(self._details(status))

    def _status(self) -> str:
        """As Postgres has it; before the first outcome, what follows from the workflow's own steps."""
        if self._state is not None:
            return self._state.status
        return PaymentStatus.PROCESSING if self._operations.unknown else PaymentStatus.INIT

    def _details(self, status: str) -> str:
        """The current details in the Web UI, in words; they cost no history."""
        lines = [f"**{status}**"]
        if waiting_for := self._operations.waiting_for():
            lines.append(f"Waiting for {waiting_for}.")
        elif self._state is not None and self._state.open and self._state.capture_before is not None:
            until = self._state.capture_before.isoformat(timespec="seconds")
            lines.append(f"Waiting for a capture or a void until {until}.")
        return "\n\n".join(lines)
