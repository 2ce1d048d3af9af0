"""Workflows on a server that skips time, with activities that do what a test says."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowFailureError, WorkflowHandle, WorkflowUpdateHandle, WorkflowUpdateStage
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, Worker

from activities.messages import OperationRequest, PaymentRequest, Progress, Settled
from activities.options import owner_queue
from activities.review_messages import ReviewRequest, ReviewStanding
from payonce.domain.ids import random_id
from payonce.domain.operations import OperationKind
from tests.support.eventually import eventually
from workflows.callback import CallbackWorkflow
from workflows.payment import PaymentWorkflow
from workflows.refund import RefundWorkflow, ReversalWorkflow
from workflows.review import ReviewWorkflow
from workflows.told import ACQUIRER_SPOKE

WORKFLOWS = [PaymentWorkflow, RefundWorkflow, ReversalWorkflow, CallbackWorkflow, ReviewWorkflow]
OWNER = "boot_of_the_api"
CAPTURE: Any = PaymentWorkflow.capture  # the decorator's type says that an update returns a coroutine
VOID: Any = PaymentWorkflow.void
SPOKE = ACQUIRER_SPOKE

Step = Progress | ReviewStanding | Exception | Callable[[], Awaitable[Progress]]


@dataclass(frozen=True)
class Call:
    """One run of an activity."""

    name: str
    request: Any
    local: bool
    at_s: float  # when it was scheduled, on the server's clock


@dataclass
class FakeActivities:
    """Each activity by its name: takes the next step of its script, and the last one again when it has no more."""

    scripts: defaultdict[str, list[Step]] = field(default_factory=lambda: defaultdict(list))
    calls: list[Call] = field(default_factory=list)

    def script(self, name: str, *steps: Step) -> None:
        self.scripts[name] = list(steps)

    def made(self, name: str) -> list[Call]:
        return [call for call in self.calls if call.name == name]

    @property
    def names(self) -> list[str]:
        return [call.name for call in self.calls]

    @property
    def all(self) -> list[Callable[..., Any]]:
        bookkeeping: list[Callable[..., Any]] = [
            self.inquire,
            self.resume,
            self.hear,
            self.reverse,
            self.reverse_late,
            self.expire,
            self.give_up,
        ]
        of_reviews: list[Callable[..., Any]] = [self.look_at_review, self.escalate_review]
        return [*self.attempts, *bookkeeping, self.call_operator, *of_reviews]

    @property
    def attempts(self) -> list[Callable[..., Any]]:
        return [self.authorize, self.capture, self.void, self.refund, self.undo]

    @activity.defn(name="authorize")
    async def authorize(self, request: OperationRequest) -> Progress:
        return await self._step("authorize", request)

    @activity.defn(name="capture")
    async def capture(self, request: OperationRequest) -> Progress:
        return await self._step("capture", request)

    @activity.defn(name="void")
    async def void(self, request: OperationRequest) -> Progress:
        return await self._step("void", request)

    @activity.defn(name="refund")
    async def refund(self, request: OperationRequest) -> Progress:
        return await self._step("refund", request)

    @activity.defn(name="undo")
    async def undo(self, request: OperationRequest) -> Progress:
        return await self._step("undo", request)

    @activity.defn(name="inquire")
    async def inquire(self, request: OperationRequest) -> Progress:
        return await self._step("inquire", request)

    @activity.defn(name="resume")
    async def resume(self, request: OperationRequest) -> Progress:
        return await self._step("resume", request)

    @activity.defn(name="hear")
    async def hear(self, request: OperationRequest, reference: str) -> Progress:
        return await self._step("hear", (request, reference))

    @activity.defn(name="reverse")
    async def reverse(self, request: OperationRequest) -> Progress:
        return await self._step("reverse", request)

    @activity.defn(name="reverse_late")
    async def reverse_late(self, request: OperationRequest) -> Progress:
        return await self._step("reverse_late", request)

    @activity.defn(name="expire")
    async def expire(self, payment_id: str) -> Settled:
        settled = await self._step("expire", payment_id)
        assert isinstance(settled, Settled)
        return settled

    @activity.defn(name="give_up")
    async def give_up(self, request: OperationRequest) -> Progress:
        return await self._step("give_up", request)

    @activity.defn(name="call_operator")
    async def call_operator(self, request: OperationRequest, reason: str) -> None:
        self._called("call_operator", (request, reason))

    @activity.defn(name="look_at_review")
    async def look_at_review(self, request: ReviewRequest) -> ReviewStanding:
        return await self._step("look_at_review", request)

    @activity.defn(name="escalate_review")
    async def escalate_review(self, request: ReviewRequest, due_at: datetime) -> None:
        self._called("escalate_review", (request, due_at))

    async def _step(self, name: str, request: Any) -> Any:
        self._called(name, request)
        script = self.scripts[name]
        if not script:
            raise ApplicationError(f"the test did not expect {name}", non_retryable=True)
        step = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(step, Exception):
            raise step
        return await step() if callable(step) else step

    def _called(self, name: str, request: Any) -> None:
        info = activity.info()
        self.calls.append(Call(name, request, info.is_local, info.scheduled_time.timestamp()))


@dataclass
class Bench:
    """Starts workflows with fakes behind them, and reads their histories."""

    environment: WorkflowEnvironment
    fakes: FakeActivities = field(default_factory=FakeActivities)
    owner: FakeActivities = field(default_factory=FakeActivities)
    queue: str = field(default_factory=lambda: random_id("queue"))
    payment_id: str = field(default_factory=lambda: random_id("pay"))

    def worker(self) -> Worker:
        """Sandboxed, as in replay tests."""
        return Worker(
            self.environment.client, task_queue=self.queue, workflows=WORKFLOWS, activities=self.fakes.all
        )

    def owner_worker(self) -> Worker:
        return Worker(
            self.environment.client, task_queue=owner_queue(OWNER), activities=[self.owner.authorize]
        )

    async def start_payment(self, *, doubted: bool = False) -> WorkflowHandle[Any, str]:
        """The payment's workflow; again when its last run failed or was terminated."""
        return await self.environment.client.start_workflow(
            PaymentWorkflow.run,
            PaymentRequest(self.payment_id, 1000, "INR", doubted=doubted),
            id=self.payment_id,
            task_queue=self.queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
        )

    async def start(self, run: Any, kind: OperationKind) -> WorkflowHandle[Any, str]:
        request = self.operation(kind)
        handle: WorkflowHandle[Any, str] = await self.environment.client.start_workflow(
            run, request, id=request.operation_id, task_queue=self.queue
        )
        return handle

    def operation(self, kind: OperationKind, number: int = 1) -> OperationRequest:
        return OperationRequest(self.payment_id, f"op_{kind}_{number}_{self.payment_id}", kind)

    async def now_s(self) -> float:
        return (await self.environment.get_current_time()).timestamp()

    async def settled(self, status: str, sequence: int, *, ends_in_s: float | None = None) -> Settled:
        """An open payment whose authorization ends then, or one that is done."""
        if ends_in_s is None:
            return Settled(status, open=False, sequence=sequence)
        ends = await self.environment.get_current_time() + timedelta(seconds=ends_in_s)
        return Settled(status, open=True, sequence=sequence, capture_before=ends)

    async def told_to_end(
        self, handle: WorkflowHandle[Any, str], update: Any, request: OperationRequest
    ) -> tuple[str, str]:
        """The update's answer and the workflow's; time is skipped meanwhile, which only a wait for a result allows.

        From the update's acceptance on: before it, the workflow's own timers would pass unheard.
        """
        accepted: WorkflowUpdateHandle[str] = await handle.start_update(
            update, request, wait_for_stage=WorkflowUpdateStage.ACCEPTED
        )
        ended, answer = await asyncio.gather(handle.result(), accepted.result())
        return answer, ended

    async def authorized(self, handle: WorkflowHandle[Any, str]) -> None:
        """Returns once the first attempt's outcome is in the workflow's history."""

        async def recorded() -> bool:
            return EventType.EVENT_TYPE_MARKER_RECORDED in await event_types(handle)

        await eventually(recorded)


async def event_types(handle: WorkflowHandle[Any, Any]) -> Sequence[int]:
    return [event.event_type for event in (await handle.fetch_history()).events]


async def details(handle: WorkflowHandle[Any, Any]) -> str:
    """What the Web UI shows; the answer is made by the run itself, after all that it was sent before."""
    metadata: WorkflowMetadata = await handle.query(
        "__temporal_workflow_metadata", result_type=WorkflowMetadata
    )
    return metadata.current_details


async def timers_s(handle: WorkflowHandle[Any, Any]) -> list[float]:
    """How long the workflow meant to wait, each time."""
    return [
        event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta().total_seconds()
        for event in (await handle.fetch_history()).events
        if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED
    ]


async def failure_type(handle: WorkflowHandle[Any, Any]) -> str | None:
    """The type of the error that ended the workflow."""
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert isinstance(failed.value.cause, ApplicationError)
    return failed.value.cause.type


async def replay(handle: WorkflowHandle[Any, Any]) -> None:
    """The history takes the same decisions again. Raises where it does not."""
    replayer = Replayer(
        workflows=WORKFLOWS,
        data_converter=handle._client.data_converter,
    )
    await replayer.replay_workflow(await handle.fetch_history())
