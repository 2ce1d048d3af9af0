"""`PaymentWorkflow`: one payment from its authorization to capture, void or expiry."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial

from temporalio import workflow
from temporalio.common import RawValue, SearchAttributeUpdate
from temporalio.exceptions import FailureError, is_cancelled_exception

from workflows.attributes import FAILURE_REASON, PAYMENT_STATUS, REVIEW_REASON, WAITING_UNTIL
from workflows.renewal import BegunAnew, suggested
from workflows.settling import Shared, expiry_delay, hear, in_review
from workflows.told import NoUse, ignored, refuse_unless, spoken_of

with workflow.unsafe.imports_passed_through():
    from activities import options
    from activities.messages import OperationRequest, PaymentRequest, Settled
    from activities.resolving import Resolving
    from payonce.domain.operations import OperationKind
    from payonce.domain.payment import PaymentStatus
    from payonce.domain.reviews import ReviewReason
    from payonce.domain.schedules import InquirySchedule

LATE_INQUIRIES_MAX = 100  # the schedules end long before


@workflow.defn
class PaymentWorkflow:
    """Its id is the payment's. Status and amounts come from Postgres, with every outcome; none are kept here.

    A run that resumes a terminated or failed one begins the same way, and so does one that follows a long one: the
    first attempt finds what is recorded, and a capture or void that is pending in Postgres is carried on.
    """

    @workflow.init
    def __init__(self, request: PaymentRequest) -> None:
        self._request = request
        self._operations = Shared(changed=self._show, begins_anew=self._begins_anew)
        self._aside: set[str] = set()  # captures that stand aside, and are carried on here
        self._lost: BaseException | None = None  # why one of them is not carried on any more
        self._hearings = 0  # what the acquirer spoke of, and only this run asks about
        self._anew = False
        self._state: Settled | None = None
        self._searchable: str | None = None
        self._waiting_until: datetime | None = None
        self._held = False  # whether it can be searched for as held for its risk
        self._ignored: str | None = None  # why the last signal had no effect

    @workflow.run
    async def run(self, request: PaymentRequest) -> str:
        """Ends when nothing of the payment can be captured any more; returns its status then."""
        try:
            return await self._until_done(request)
        except BegunAnew:
            await workflow.wait_condition(workflow.all_handlers_finished)
            workflow.continue_as_new(request)

    async def _until_done(self, request: PaymentRequest) -> str:
        authorization = OperationRequest(request.payment_id, request.payment_id, OperationKind.AUTHORIZE)
        await self._settle(authorization)
        while (state := self._state) is not None and state.open:
            self._carry_on(state.accepted)
            if state.pending is not None and state.pending.kind is not OperationKind.EXPIRE:
                await self._settle(state.pending)
            elif state.pending is not None or await self._authorization_ends(state):
                await self._expire()
        if state is not None and state.watched is not None and state.watch is not None:
            await self._watch(state.watched, state.watch)
        await workflow.wait_condition(workflow.all_handlers_finished)
        assert self._state is not None
        return self._state.status

    @workflow.update(description="Captures the payment, or a part of it")
    async def capture(self, operation: OperationRequest) -> str:
        """The capture has its outcome; returns the payment's status. Admitted in Postgres before."""
        return await self._settle(operation)

    @capture.validator
    def _is_capture(self, operation: OperationRequest) -> None:
        refuse_unless(OperationKind.CAPTURE, self._request.payment_id, operation)

    @workflow.update(description="Releases what is authorized and not captured")
    async def void(self, operation: OperationRequest) -> str:
        """The void has its outcome; returns the payment's status. Admitted in Postgres before."""
        return await self._settle(operation)

    @void.validator
    def _is_void(self, operation: OperationRequest) -> None:
        refuse_unless(OperationKind.VOID, self._request.payment_id, operation)

    @workflow.signal(
        dynamic=True, description="`acquirer_spoke`: ask the acquirer now. Others have no effect"
    )
    async def told(self, signal: str, sent: Sequence[RawValue]) -> None:
        """The operation is inquired about at once; one that is not under way, whatever is known of it."""
        try:
            operation, reference = spoken_of(signal, sent)
            if operation.payment_id != self._request.payment_id:
                raise NoUse("another payment's operation")
        except NoUse as error:
            self._ignore(error)
            return
        if not self._operations.hear(operation, reference):
            await self._hear(operation, reference)

    async def _hear(self, operation: OperationRequest, reference: str) -> None:
        """What the acquirer says is followed; where nobody can be asked, or it never answers, nothing changes."""
        self._hearings += 1
        try:
            heard = await hear(operation, reference)
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            self._ignore(f"no answer about {reference}")
            return
        finally:
            self._hearings -= 1
        if isinstance(heard, Settled):
            self._follow(heard)

    def _ignore(self, reason: object) -> None:
        self._ignored = str(reason)
        ignored(reason)
        self._show()

    def _carry_on(self, accepted: Sequence[OperationRequest]) -> None:
        """Each capture that stands aside is carried to its outcome, beside all else."""
        for operation in accepted:
            if operation.operation_id not in self._aside:
                self._aside.add(operation.operation_id)
                task = asyncio.create_task(self._settle(replace(operation, aside=True)))
                task.add_done_callback(partial(self._carried, operation.operation_id))

    def _carried(self, operation_id: str, task: "asyncio.Task[str]") -> None:
        """It has its outcome; or the run that it was asked by is, only now, done with it. Then it is carried on."""
        self._aside.discard(operation_id)
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            self._lost = error
        elif self._state is not None:
            self._carry_on([one for one in self._state.accepted if one.operation_id == operation_id])

    async def _settle(self, operation: OperationRequest) -> str:
        """The operation has its outcome. A run that is doubted sends nothing that was not inquired about before."""
        if self._request.doubted:
            operation = replace(operation, doubted=True)
        settled = await self._operations.outcome(operation)
        self._operations.wake()
        self._follow(settled)
        return settled.status

    async def _authorization_ends(self, state: Settled) -> bool:
        """Waits until something changes (False) or the authorization's time is over (True). Raises `BegunAnew`.

        With captures that stand aside it does not end. Raises what one of them failed with.
        """
        ends = state.capture_before is not None and not state.accepted
        delay = expiry_delay(state.capture_before.timestamp()) if ends and state.capture_before else None
        try:
            await workflow.wait_condition(
                lambda: self._state is not state or self._lost is not None or self._begins_anew(),
                timeout=delay,
                timeout_summary="the authorization expires",
            )
        except asyncio.TimeoutError:  # noqa: UP041  # what the SDK documents
            return True
        if self._begins_anew():
            raise BegunAnew
        if self._lost is not None:
            raise self._lost
        return False

    def _begins_anew(self) -> bool:
        """Whether this run ends, since the server suggests it and nothing is under way; once true, it stays so.

        An update that only waits to ask again ends with it: the next run finds its operation in Postgres.
        """
        if not self._anew and self._operations.rest and not self._hearings:
            self._anew = suggested()
        return self._anew

    async def _expire(self) -> None:
        settled: Settled = await workflow.execute_activity_method(
            Resolving.expire, self._request.payment_id, summary="release the rest", **options.BOOKKEEPING
        )
        self._follow(settled)

    async def _watch(self, reference: str, schedule: InquirySchedule) -> None:
        """A success that comes although the rail said that the payment expired is noticed without a callback."""
        create = OperationRequest(self._request.payment_id, self._request.payment_id, OperationKind.AUTHORIZE)
        started = workflow.time()
        for inquiries in range(LATE_INQUIRIES_MAX):
            delay_s = schedule.delay_s(inquiries=inquiries, since_s=workflow.time() - started)
            if delay_s is None:
                return
            await self._rest(delay_s, summary="whether the rail approves it after all")
            await hear(create, reference)

    async def _rest(self, delay_s: float, *, summary: str) -> None:
        """Waits so long. Raises `BegunAnew`."""
        with suppress(asyncio.TimeoutError):
            await workflow.wait_condition(self._begins_anew, timeout=delay_s, timeout_summary=summary)
        if self._begins_anew():
            raise BegunAnew

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
            workflow.upsert_search_attributes(
                [PAYMENT_STATUS.value_set(status), *self._until(status), *self._failure(), *self._risk()]
            )
        workflow.set_current_details(self._details(status))

    def _until(self, status: str) -> list[SearchAttributeUpdate[datetime]]:
        """Until when the customer may act, where that has changed."""
        now = self._operations.acts_until if status == PaymentStatus.REQUIRES_ACTION else None
        if now == self._waiting_until:
            return []
        self._waiting_until = now
        return [WAITING_UNTIL.value_unset() if now is None else WAITING_UNTIL.value_set(now)]

    def _failure(self) -> list[SearchAttributeUpdate[str]]:
        """Why the payment failed, if it did."""
        failure = None if self._state is None else self._state.failure
        return [] if failure is None else [FAILURE_REASON.value_set(failure)]

    def _risk(self) -> list[SearchAttributeUpdate[str]]:
        """That a person must look at its risk, where that has changed with the status."""
        held = self._state is not None and self._state.held_since is not None
        if held == self._held:
            return []
        self._held = held
        return [REVIEW_REASON.value_set(ReviewReason.RISK) if held else REVIEW_REASON.value_unset()]

    def _status(self) -> str:
        """As Postgres has it; before the first outcome, what follows from the workflow's own steps."""
        if self._state is not None:
            return self._state.status
        if self._operations.acts_until is not None:
            return PaymentStatus.REQUIRES_ACTION
        return PaymentStatus.PROCESSING if self._operations.unknown else PaymentStatus.INIT

    def _details(self, status: str) -> str:
        """The current details in the Web UI, in words; they cost no history."""
        lines = [f"**{status}**"]
        if waiting_for := self._operations.waiting_for():
            lines.append(f"Waiting for {waiting_for}.")
        elif self._state is not None and self._state.watched is not None:
            lines.append("The rail said that it expired; it is asked again in case it approves it after all.")
        elif self._state is not None and self._state.held_since is not None:
            lines.append("Authorized, and held until its risk is decided.")
            lines.append(
                in_review(self._request.payment_id, since=self._state.held_since, reason=ReviewReason.RISK)
            )
        elif self._state is not None and self._state.open and self._state.capture_before is not None:
            until = self._state.capture_before.isoformat(timespec="seconds")
            lines.append(f"Waiting for a capture or a void until {until}.")
        lines += self._operations.in_review()
        if self._ignored is not None:
            lines.append(f"The last signal had no effect: {self._ignored}.")
        return "\n\n".join(lines)
