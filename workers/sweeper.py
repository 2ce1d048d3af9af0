"""The sweeper: whatever was admitted is carried out, whoever died. Every process may run it.

(a) Every second: operations without outcome whose time has come are handed to Temporal again, by their own ids,
and callbacks that nobody has handed over. Each kind of operation has a queue and a pace of its own, so that none
waits for another; a queue that has more is looked at again at once.
Where Temporal says that an operation is done and Postgres, twice and a minute apart, that it is not, then Postgres
has lost what was recorded (a fail-over, a restore): it runs again, and asks the acquirer.
Reviews have a queue as well: each open one has a workflow that shows it. And saved cards of which something is to be
erased: see `workers.saved_cards`.
(b) Every minute: payments open in Postgres whose workflow Temporal lists as terminated, cancelled, failed or timed
out are resumed; a slow walk over all authorizations resumes those that Temporal does not know at all; creates that
were given back a day ago are closed; personal data is erased once its 30 days are over, and a card in the vault
that nobody kept within its 24 h; merchants are told of disputes whose evidence is due soon; and the audit log's hours
that are over are sealed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import assert_never

from temporalio.client import Client, RPCError, WorkflowExecutionStatus
from temporalio.service import RPCStatusCode

from payonce.clock import boot_clock_s
from payonce.domain.disputes import WARNED_BEFORE
from payonce.domain.errors import EngineRefused, NotHandedOver, PaymentError
from payonce.domain.facts import FailureCode
from payonce.domain.operations import Operation, OperationKind, OperationStatus, Subject
from payonce.domain.payment import Payment, PaymentStatus
from payonce.logging import get_logger
from payonce.metrics import BEHIND, RESUMED, SWEPT, VAULT_ERASED, Rounds
from payonce.runtime import Runtime
from payonce.storage import (
    attempts,
    callbacks,
    disputes,
    idempotency,
    personal_data,
    returns,
    risk_facts,
    sweeping,
)
from payonce.storage.sweeping import count_refusal
from payonce.vault import doors
from payonce.waiting import first
from workers.audit import AuditSealer
from workers.dispatch import Dispatcher, UpdateEnd
from workers.inbox import Inbox
from workers.reconciliation import Reconciliation
from workers.reviews import Reviews, reopen
from workers.saved_cards import SavedCards
from workers.temporal import TASK_QUEUE
from workflows.attributes import PAYMENT_STATUS

OPERATIONS_EVERY_S, PAYMENTS_EVERY_S = 1.0, 60.0
OPERATIONS_AT_ONCE = 50  # of each kind
HAND_OVER_WITHIN_S = 8.0  # one that takes longer holds up its own kind no more
PAYMENTS_AT_ONCE, CLOSED_AT_ONCE = 200, 1_000
RELEASED_AT_ONCE = 10  # each with a connection of its own; the process has others to serve
ANSWERS_AT_ONCE = 1_000
ERASED_AT_ONCE = 500  # of payments whose rows others may be about to lock
CARDS_AT_ONCE = 200
DISPUTES_AT_ONCE = 50
REFUSALS_MAX = 3  # of one operation by Temporal, or by its running workflow: then it does not mend itself
CALLBACKS_AT_ONCE = 100
REVIEWS_AT_ONCE, REVIEWS_MEASURED_EVERY_S = 50, 15.0
# Between two looks at the same disagreement: then Postgres has lost something.
BEHIND_FOR = timedelta(seconds=60)
UPDATE_WAIT = timedelta(seconds=2)  # for the outcome of one handed over again; it goes on without us
_SETTLED_FOR = timedelta(seconds=5)  # a payment changed less long ago has somebody working on it
# A payment in `init` is in the sweeper's queue, or waits for its merchant; of the latter there may be many.
_CLOSED_BADLY = (
    "WorkflowType = 'PaymentWorkflow' AND ExecutionStatus IN ('Terminated', 'Canceled', 'Failed', 'TimedOut')"
    f" AND {PAYMENT_STATUS.name} != '{PaymentStatus.INIT}'"
)
_PASSES = (PaymentError, RPCError, OSError)  # by itself

log = get_logger(__name__)


class Sweeper:
    """Safe to run in every process: what one takes, the others do not see for a while."""

    def __init__(self, runtime: Runtime, client: Client, *, behind_for: timedelta = BEHIND_FOR) -> None:
        self._runtime = runtime
        self._client = client
        self._behind_for = behind_for
        self._dispatcher = Dispatcher(client)
        self._inbox = Inbox(runtime, client)
        self._reviews = Reviews(runtime, self._dispatcher)
        self._audit = AuditSealer(runtime)
        self._saved_cards = SavedCards(runtime)
        self._reconciliation = Reconciliation(runtime, client, task_queue=TASK_QUEUE)
        self._walked_to = ""
        self._completed: dict[str, float] = {}  # workflows of open payments, and since when they are seen so

    async def run(self, stop: asyncio.Event) -> None:
        """Sweeps until `stop`; no error ends it."""
        operations = {
            f"operations_{kind}": partial(self.sweep, kind) for kind in OperationKind if kind.carried_out
        }
        await asyncio.gather(
            *(_every(OPERATIONS_EVERY_S, what, work, stop) for what, work in operations.items()),
            _every(OPERATIONS_EVERY_S, "callbacks", self.sweep_callbacks, stop),
            _every(OPERATIONS_EVERY_S, "reviews", self.sweep_reviews, stop),
            _every(OPERATIONS_EVERY_S, "saved_cards", self._saved_cards.sweep, stop),
            _every(REVIEWS_MEASURED_EVERY_S, "reviews_measured", self._reviews.measure, stop),
            _every(PAYMENTS_EVERY_S, "payments", self.sweep_payments, stop),
            _every(PAYMENTS_EVERY_S, "answers", self.forget_answers, stop),
            _every(PAYMENTS_EVERY_S, "released", self.close_released, stop),
            _every(PAYMENTS_EVERY_S, "personal_data", self.erase_personal_data, stop),
            _every(PAYMENTS_EVERY_S, "cards", self.erase_cards, stop),
            _every(PAYMENTS_EVERY_S, "disputes", self.warn_of_disputes, stop),
            _every(PAYMENTS_EVERY_S, "audit", self._audit.run, stop),
            _every(PAYMENTS_EVERY_S, "reconciliation", self._reconciliation.keep_scheduled, stop),
            _every(REVIEWS_MEASURED_EVERY_S, "reconciliation_measured", self._reconciliation.measure, stop),
        )

    async def sweep(self, kind: OperationKind) -> bool:
        """The longest overdue operations of this kind are handed over once; whether to look again at once.

        That is where there may be more, and Temporal takes them.
        """
        async with self._runtime.database.transaction() as connection:
            due = await sweeping.dequeue(connection, kind, limit=OPERATIONS_AT_ONCE)
        reached = await asyncio.gather(
            *(_surviving(self._hand_over(one), operation_id=one.operation.id) for one in due)
        )
        return len(due) == OPERATIONS_AT_ONCE and all(reached)

    async def sweep_callbacks(self) -> bool:
        """Callbacks that were received and not handed over are handed over; whether to look again at once."""
        return await self._inbox.sweep(limit=CALLBACKS_AT_ONCE) == CALLBACKS_AT_ONCE

    async def sweep_reviews(self) -> bool:
        """Reviews that opened have a workflow, and those that ended told it; whether to look again at once."""
        due = await self._reviews.dequeue(limit=REVIEWS_AT_ONCE)
        reached = await asyncio.gather(
            *(_surviving(self._reviews.show(one), operation_id=one.operation.id) for one in due)
        )
        return len(due) == REVIEWS_AT_ONCE and all(reached)

    async def sweep_payments(self) -> bool:
        """Workflows that ended although their payment is open run again; whether to look again at once: no."""
        await self._resume_closed()
        await self._walk_authorized()
        return False

    async def forget_answers(self) -> bool:
        """What was kept for replays, and callbacks that were followed up, are gone; whether to look again at once."""
        now = datetime.now(UTC)
        async with self._runtime.database.transaction() as connection:
            answers = await idempotency.forget_answers(connection, now=now, limit=ANSWERS_AT_ONCE)
            await idempotency.forget_secrets(connection, now=now, limit=ANSWERS_AT_ONCE)
            told = await callbacks.forget(connection, now=now, limit=ANSWERS_AT_ONCE)
        return ANSWERS_AT_ONCE in (answers, told)

    async def close_released(self) -> bool:
        """Creates that were given back a day ago failed, as never processed; whether to look again at once."""
        async with self._runtime.database.transaction() as connection:
            over = await sweeping.dequeue_released(connection, limit=RELEASED_AT_ONCE)
        closed = await asyncio.gather(*(_surviving(self._close(one), operation_id=one.id) for one in over))
        return len(over) == RELEASED_AT_ONCE and all(closed)

    async def erase_personal_data(self) -> bool:
        """What was kept of customers for as long as it may be is erased; whether to look again at once.

        What their browsers brought back, too, where no outcome erased it.
        """
        async with self._runtime.database.transaction() as connection:
            erased = await personal_data.erase(connection, limit=ERASED_AT_ONCE)
            brought = await returns.erase(connection, limit=ERASED_AT_ONCE)
            counted = await risk_facts.erase(connection, limit=ERASED_AT_ONCE)
        return ERASED_AT_ONCE in (erased, brought, counted)

    async def erase_cards(self) -> bool:
        """Cards that were not kept in time are gone from the vault; whether to look again at once."""
        async with self._runtime.database.transaction() as connection:
            erased = await doors.erase_due(connection, at_most=CARDS_AT_ONCE)
        if erased:
            VAULT_ERASED.inc(erased)
            log.info("cards_erased", cards=erased)
        return erased == CARDS_AT_ONCE

    async def warn_of_disputes(self) -> bool:
        """Merchants know of evidence that is due soon; whether to look again at once."""
        async with self._runtime.database.transaction() as connection:
            due = await disputes.due(connection, before=WARNED_BEFORE, limit=DISPUTES_AT_ONCE)
        warned = await asyncio.gather(
            *(
                _surviving(self._warn(payment_id, dispute_id), payment_id=payment_id)
                for payment_id, dispute_id in due
            )
        )
        return len(due) == DISPUTES_AT_ONCE and all(warned)

    async def _warn(self, payment_id: str, dispute_id: str) -> bool:
        await self._runtime.recorder.warn(payment_id=payment_id, dispute_id=dispute_id)
        return True

    async def _close(self, create: Operation) -> bool:
        """Failed; or in the queue again, where it was claimed by a process that knew of no queue to put it in."""
        subject = Subject(create.payment_id, create.id)
        closed = await self._runtime.recorder.give_up(subject, code=FailureCode.NOT_PROCESSED)
        if closed.operation.status is OperationStatus.PENDING:
            async with self._runtime.database.transaction() as connection:
                await sweeping.claimed_again(connection, create.id)
        return True

    async def _hand_over(self, due: sweeping.Due) -> bool:
        """Whether Temporal could be told of it."""
        operation = due.operation
        try:
            async with asyncio.timeout(HAND_OVER_WITHIN_S):
                if await self._carry_on(due) and await self._is_behind(operation):
                    await self._carry_on_again(due)
        except (NotHandedOver, TimeoutError) as error:
            reached = isinstance(error, NotHandedOver) and error.reached
            log.warning("sweep_deferred", operation_id=operation.id, error=str(error) or "timed out")
            if isinstance(error, EngineRefused):
                await self._refused(operation, reason="engine_refused")
            if not reached:
                async with self._runtime.database.transaction() as connection:
                    await sweeping.requeue(connection, operation.id)
            return reached
        SWEPT.labels(operation.kind).inc()
        log.info("operation_swept", operation_id=operation.id, kind=operation.kind)
        return True

    async def _refused(self, operation: Operation, *, reason: str) -> None:
        """Counted; from the third time on an operator is told, once. It is handed over again all the same."""
        async with self._runtime.database.transaction() as connection:
            refusals = await count_refusal(connection, operation.id)
        if refusals >= REFUSALS_MAX:
            subject = Subject(operation.payment_id, operation.id)
            await self._runtime.recorder.review(subject, reason=reason)

    async def _carry_on(self, due: sweeping.Due) -> bool:
        """Its workflow runs, or has it; whether that says that it is done."""
        operation, payment = due.operation, due.payment
        match operation.kind:
            case OperationKind.AUTHORIZE:
                began = await self._carry_on_create(due)
            case OperationKind.REFUND:
                began = await self._dispatcher.start_refund(payment, operation, resume=True, eager=False)
            case OperationKind.ACCEPT:
                began = await self._dispatcher.start_acceptance(payment, operation, resume=True, eager=False)
            case OperationKind.REVERSE:
                began = await self._dispatcher.start_reversal(payment, operation)
            case OperationKind.EXPIRE:
                began = await self._dispatcher.start_payment(payment, resume=True, eager=False)
            case OperationKind.CAPTURE | OperationKind.VOID:
                taken = await self._dispatcher.update_payment(
                    payment, operation, within=UPDATE_WAIT, sweeps=due.sweeps
                )
                if taken is UpdateEnd.DONE and operation.accepted_at is None:  # else the payment's run has it
                    return True
                began = taken is UpdateEnd.STARTED
            case OperationKind.UNDO | OperationKind.REDO:
                raise AssertionError("what the acquirer did is never pending")
            case _:
                assert_never(operation.kind)
        return not began and await self._dispatcher.is_done(payment, operation)

    async def _carry_on_create(self, due: sweeping.Due) -> bool:
        """One that was given back since it was taken, or by a process that left it in the queue, leaves it.

        A claim that is seen for the first time may have waited for the standby until now, invisible, and be given
        back any moment by the task that waits for its COMMIT: a run would find it stale and end it as lost.
        """
        async with self._runtime.database.transaction() as connection:
            if await sweeping.set_aside_if_released(connection, due.operation):
                return True
            if due.sweeps == 1 and await sweeping.left_for_its_owner(connection, due.operation):
                return True
        return await self._dispatcher.start_payment(due.payment, resume=True, eager=False)

    async def _is_behind(self, operation: Operation) -> bool:
        """Whether Postgres, looked at after Temporal, has no outcome, and had none when it was seen so before."""
        async with self._runtime.database.transaction() as connection:
            return await sweeping.is_behind(connection, operation.id, behind_for=self._behind_for)

    async def _carry_on_again(self, due: sweeping.Due) -> None:
        """It is carried out as if nobody had, and the acquirer asked before it is told anything.

        An authorization whose workflow goes on past it is only asked about: where that finds nothing, or no attempt
        is left to ask about, an operator decides.
        """
        operation, payment = due.operation, due.payment
        BEHIND.labels(operation.kind).inc()
        log.error("recording_lost", operation_id=operation.id, payment_id=payment.id, kind=operation.kind)
        if await self._dispatcher.start_again(payment, operation):
            return
        if operation.kind is OperationKind.AUTHORIZE:  # its workflow goes on, past it
            async with self._runtime.database.transaction() as connection:
                attempt = await connection.fetch(attempts.latest(operation.id))
            if attempt is not None:
                await self._dispatcher.acquirer_spoke(operation, attempt.reference)
            await self._refused(operation, reason="recording_lost")
        elif operation.kind in (OperationKind.CAPTURE, OperationKind.VOID):
            await self._dispatcher.update_again(payment, operation, within=UPDATE_WAIT)

    async def _resume_closed(self) -> None:
        """What Temporal lists as ended badly, newest first, and Postgres has as open."""
        ids: list[str] = []
        async for execution in self._client.list_workflows(_CLOSED_BADLY, limit=CLOSED_AT_ONCE):
            ids.append(execution.id)
        async with self._runtime.database.transaction() as connection:
            stranded = await sweeping.still_open(connection, ids, older_than=datetime.now(UTC) - _SETTLED_FOR)
        for payment in stranded:
            await _surviving(self._resume(payment), payment_id=payment.id)

    async def _walk_authorized(self) -> None:
        """A part of all authorizations each time: even a lost Temporal is rebuilt, and none outlives its time."""
        async with self._runtime.database.transaction() as connection:
            some = await sweeping.capturable_payments(
                connection, after=self._walked_to, limit=PAYMENTS_AT_ONCE
            )
        completed = [
            id_ for id_ in self._completed if await self._status(id_) is WorkflowExecutionStatus.COMPLETED
        ]
        for payment in some:
            self._walked_to = payment.id  # before: one that breaks ends the walk once, and not for ever
            status = await self._status(payment.id)
            if status is WorkflowExecutionStatus.COMPLETED:
                completed.append(payment.id)
            elif status is not WorkflowExecutionStatus.RUNNING:
                await self._resume(payment)
        if len(some) < PAYMENTS_AT_ONCE:
            self._walked_to = ""
        await self._run_completed_again(completed)

    async def _run_completed_again(self, payment_ids: list[str]) -> None:
        """Payments that are open though their workflow completed: those seen so long enough ago run again.

        Those that the acquirer opened again do so at once: nothing is lost.
        """
        async with self._runtime.database.transaction() as connection:
            stranded = await sweeping.still_open(
                connection, payment_ids, older_than=datetime.now(UTC) - _SETTLED_FOR
            )
        for payment in stranded:
            if payment.taken_back:
                await _surviving(reopen(self._dispatcher, payment), payment_id=payment.id)
        behind = [payment for payment in stranded if not payment.taken_back]
        now, seen = boot_clock_s(), self._completed
        over = [
            payment
            for payment in behind
            if payment.id in seen and now - seen[payment.id] >= self._behind_for.total_seconds()
        ]
        self._completed = {one.id: seen.get(one.id, now) for one in behind if one not in over}
        for payment in over:
            log.error("recording_lost", payment_id=payment.id, status=payment.status)
            await _surviving(self._dispatcher.start_again(payment), payment_id=payment.id)

    async def _status(self, payment_id: str) -> WorkflowExecutionStatus | None:
        """Of the latest run of the payment's workflow; None where Temporal knows of none."""
        try:
            return (await self._client.get_workflow_handle(payment_id).describe()).status
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise

    async def _resume(self, payment: Payment) -> bool:
        await self._dispatcher.start_payment(payment, resume=True, eager=False)
        RESUMED.inc()
        log.warning("workflow_resumed", payment_id=payment.id, status=payment.status)
        return True


async def _every(seconds: float, what: str, work: Callable[[], Awaitable[bool]], stop: asyncio.Event) -> None:
    """`work` until `stop`, with a pause after it unless it says that there is more. No error ends it."""
    rounds = Rounds(what)
    while not stop.is_set():
        more = await _surviving(_round(work, rounds), work=what)
        if not more:
            await first(stop, timeout_s=seconds)


async def _round(work: Callable[[], Awaitable[bool]], rounds: Rounds) -> bool:
    more = await work()
    rounds.ended()
    return more


async def _surviving(work: Awaitable[bool], /, **about: str) -> bool:
    """What `work` returns; False where it breaks, which is logged and holds up nothing else."""
    try:
        return await work
    except _PASSES as error:
        log.warning("sweep_failed", error=type(error).__name__, **about)
    except Exception as error:  # ours to repair; the sweeps go on
        log.error("sweep_failed", error=type(error).__name__, exc_info=True, **about)
    return False
