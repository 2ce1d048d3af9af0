"""The sweeper: whatever was admitted is carried out, whoever died. Every process may run it.

(a) Every second: operations without outcome whose time has come are handed to Temporal again, by their own ids,
and callbacks that nobody has handed over.
(b) Every minute: payments open in Postgres whose workflow Temporal lists as terminated, cancelled, failed or timed
out are resumed; and a slow walk over all open payments resumes those that Temporal does not know at all.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from temporalio.client import Client, RPCError, WorkflowExecutionStatus
from temporalio.service import RPCStatusCode

from payonce.domain.errors import PaymentError
from payonce.domain.operations import Operation, OperationKind, Subject
from payonce.domain.outcomes import FailureCode
from payonce.domain.payment import Payment, PaymentStatus
from payonce.logging import get_logger
from payonce.metrics import RESUMED, SWEPT
from payonce.runtime import Runtime
from payonce.storage import callbacks, idempotency, sweeping
from workers.callbacks import Inbox
from workers.dispatch import Dispatcher, NotHandedOver

OPERATIONS_EVERY_S, PAYMENTS_EVERY_S = 1.0, 60.0
OPERATIONS_AT_ONCE, PAYMENTS_AT_ONCE, CLOSED_AT_ONCE = 100, 200, 1_000
ANSWERS_AT_ONCE = 1_000
CALLBACKS_AT_ONCE = 100
UPDATE_WAIT = timedelta(seconds=2)  # for the outcome of one handed over again; it goes on without us
_SETTLED_FOR = timedelta(seconds=5)  # a payment changed less long ago has somebody working on it
_CLOSED_BADLY = (
    "WorkflowType = 'PaymentWorkflow' AND ExecutionStatus IN ('Terminated', 'Canceled', 'Failed', 'TimedOut')"
)
_ALIVE_OR_DONE = (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED)

log = get_logger(__name__)


class Sweeper:
    """Safe to run in every process: what one takes, the others do not see for a while."""

    def __init__(self, runtime: Runtime, client: Client) -> None:
        self._runtime = runtime
        self._client = client
        self._dispatcher = Dispatcher(client)
        self._inbox = Inbox(runtime, client)
        self._walked_to = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Sweeps until `stop`; an error is logged and the next round tries again."""
        await asyncio.gather(
            _every(OPERATIONS_EVERY_S, self.sweep_operations, stop),
            _every(OPERATIONS_EVERY_S, self.sweep_callbacks, stop),
            _every(PAYMENTS_EVERY_S, self.sweep_payments, stop),
        )

    async def sweep_operations(self) -> None:
        """Every due operation is handed over once."""
        async with self._runtime.database.transaction() as connection:
            due = await sweeping.take_due(connection, limit=OPERATIONS_AT_ONCE)
        await asyncio.gather(*(self._hand_over(one) for one in due))

    async def sweep_callbacks(self) -> None:
        """Every callback that was received and not handed over is handed over."""
        await self._inbox.sweep(limit=CALLBACKS_AT_ONCE)

    async def sweep_payments(self) -> None:
        """Workflows that ended although their payment is open run again; old answers are forgotten."""
        await self._resume_closed()
        await self._walk_open()
        async with self._runtime.database.transaction() as connection:
            await idempotency.forget_answers(connection, now=datetime.now(UTC), limit=ANSWERS_AT_ONCE)
            await idempotency.forget_secrets(connection, now=datetime.now(UTC), limit=ANSWERS_AT_ONCE)
            await callbacks.forget(connection, now=datetime.now(UTC), limit=ANSWERS_AT_ONCE)

    async def _hand_over(self, due: sweeping.Due) -> None:
        operation, payment = due.operation, due.payment
        try:
            match operation.kind:
                case OperationKind.AUTHORIZE:
                    await self._hand_over_create(operation, payment)
                case OperationKind.REFUND:
                    await self._dispatcher.start_refund(payment, operation, resume=True, eager=False)
                case OperationKind.REVERSE:
                    await self._dispatcher.start_reversal(payment, operation)
                case OperationKind.EXPIRE:
                    await self._dispatcher.start_payment(payment, resume=True, eager=False)
                case OperationKind.CAPTURE | OperationKind.VOID:
                    await self._dispatcher.update_payment(
                        payment, operation, within=UPDATE_WAIT, sweeps=due.sweeps
                    )
        except NotHandedOver as error:
            log.warning("sweep_deferred", operation_id=operation.id, error=error.message)
            if not error.reached:
                async with self._runtime.database.transaction() as connection:
                    await sweeping.take_back(connection, operation.id)
            return
        SWEPT.labels(operation.kind).inc()
        log.info("operation_swept", operation_id=operation.id, kind=operation.kind)

    async def _hand_over_create(self, operation: Operation, payment: Payment) -> None:
        """One that was given back waits for its merchant, for a day; one that was answered with 202 does not."""
        async with self._runtime.database.transaction() as connection:
            released = await sweeping.is_released(connection, operation.id)
        if not released or operation.deferred_at is not None:
            await self._dispatcher.start_payment(payment, resume=True, eager=False)
        elif datetime.now(UTC) - operation.created_at > sweeping.RELEASED_KEPT:
            subject = Subject(payment.id, operation.id)
            await self._runtime.recorder.give_up(subject, code=FailureCode.NOT_PROCESSED)

    async def _resume_closed(self) -> None:
        """What Temporal lists as ended badly, newest first, and Postgres has as open."""
        ids: list[str] = []
        async for execution in self._client.list_workflows(_CLOSED_BADLY, limit=CLOSED_AT_ONCE):
            ids.append(execution.id)
        async with self._runtime.database.transaction() as connection:
            stranded = await sweeping.still_open(connection, ids, older_than=datetime.now(UTC) - _SETTLED_FOR)
            waiting = [await sweeping.is_released(connection, payment.id) for payment in stranded]
        for payment, released in zip(stranded, waiting, strict=True):
            if not (payment.status is PaymentStatus.INIT and released):
                await self._resume(payment)

    async def _walk_open(self) -> None:
        """A part of all open payments each time, so that even a lost Temporal is rebuilt."""
        async with self._runtime.database.transaction() as connection:
            some = await sweeping.open_payments(connection, after=self._walked_to, limit=PAYMENTS_AT_ONCE)
        self._walked_to = some[-1].id if len(some) == PAYMENTS_AT_ONCE else ""
        for payment in some:
            if not payment.status.undecided and not await self._known(payment):
                await self._resume(payment)

    async def _known(self, payment: Payment) -> bool:
        try:
            description = await self._client.get_workflow_handle(payment.id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return description.status in _ALIVE_OR_DONE

    async def _resume(self, payment: Payment) -> None:
        await self._dispatcher.start_payment(payment, resume=True, eager=False)
        RESUMED.inc()
        log.warning("workflow_resumed", payment_id=payment.id, status=payment.status)


async def _every(seconds: float, work: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """`work` once every so many seconds until `stop`."""
    while not stop.is_set():
        try:
            await work()
        except (PaymentError, RPCError, OSError) as error:
            log.warning("sweep_failed", work=work.__name__, error=type(error).__name__)
        except Exception as error:  # ours to mend; the next round goes on meanwhile
            log.error("sweep_broken", work=work.__name__, error=type(error).__name__)
        try:
            async with asyncio.timeout(seconds):
                await stop.wait()
        except TimeoutError:
            continue
