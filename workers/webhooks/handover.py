"""The relay's way to Temporal: failed deliveries go to workflows, and what nobody carries on is picked up.

Webhooks need no Temporal: while it does not answer, failed deliveries stay with the relay, and those that
workflows should have attempted come back to it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.webhook_deliveries import Delivering
from payonce import metrics
from payonce.clock import boot_clock_s
from payonce.domain.errors import NotHandedOver, PaymentError
from payonce.logging import get_logger
from payonce.runtime import Runtime
from payonce.storage.driver.database import Database
from payonce.storage.webhooks import handover
from payonce.storage.webhooks.handover import HandedOver
from payonce.storage.webhooks.jobs import JobPages, unstarted
from payonce.waiting import first
from payonce.webhooks.attempt import Sender
from payonce.webhooks.workflow_attempts import WorkflowAttempts
from workers.build import build_id
from workers.temporal import connect
from workers.webhooks.dispatch import WEBHOOK_WORKFLOWS, WEBHOOKS_QUEUE, WebhookDispatcher

SWEEP_EVERY_S: Final = 5.0
OVERDUE_AT_ONCE, JOBS_AT_ONCE = 500, 20
STARTS_AT_ONCE: Final = 8
STARTS_PENDING_MAX: Final = 2_000  # beyond them the relay keeps what fails
UNREACHABLE_S: Final = 5.0  # after a start that failed, nothing is handed over for so long
RECONNECT_S: Final = 5.0
STUCK_AFTER: Final = timedelta(minutes=10)  # overdue: it leaves a workflow that runs and gets nowhere
WORKFLOW_SLOTS, ACTIVITY_SLOTS, CACHED_WORKFLOWS_MAX = 10, 64, 200
# Supervisors kill after 10 s; the lease of what is cut off ends.
GRACEFUL_SHUTDOWN: Final = timedelta(seconds=8)
SHUTDOWN_S: Final = 9.0  # of the worker and of starts under way, if Temporal does not answer

log = get_logger(__name__)


class HandOver:
    """Starts workflows for deliveries that are recorded as with one, or returns them to the relay."""

    def __init__(self, database: Database, dispatcher: WebhookDispatcher | None = None) -> None:
        self._database = database
        self.dispatcher = dispatcher  # None: Temporal did not answer yet
        self._unreachable_until_s = 0.0
        self._starts = asyncio.Semaphore(STARTS_AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """Whether a delivery that fails now may go to a workflow."""
        return (
            self.dispatcher is not None
            and boot_clock_s() >= self._unreachable_until_s
            and len(self._running) < STARTS_PENDING_MAX
        )

    def carry_on(self, deliveries: Sequence[HandedOver]) -> None:
        """The deliveries, just recorded as failed, will have their workflows, or come back to the relay."""
        for one in deliveries:
            task = asyncio.create_task(self._carry_on(one, just_failed=True))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def drain(self) -> None:
        """Nothing is being started any more; what took longer than `SHUTDOWN_S` is left to the sweeps."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=SHUTDOWN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def sweep(self) -> None:
        """What workflows should have attempted by now is started again, or returned to the relay; so are jobs.

        A start that is answered "already started" changes nothing, for ten minutes: then the workflow is stuck,
        or sleeps until a time that does not count any more, and the relay has the delivery.
        Raises `StorageUnavailable`.
        """
        async with self._database.reading() as connection:
            overdue = await handover.overdue(connection, limit=OVERDUE_AT_ONCE)
            jobs = await unstarted(connection, limit=JOBS_AT_ONCE)
        await asyncio.gather(*(self._carry_on(one) for one in overdue))
        for job_id in jobs if self.ready else ():
            with suppress(NotHandedOver):
                await self._start_job(job_id)

    async def _carry_on(self, delivery: HandedOver, *, just_failed: bool = False) -> None:
        """One that fails here holds up no other; the sweep finds it again."""
        try:
            async with self._starts:
                handed = await self._started(delivery, just_failed=just_failed)
                metrics.DELIVERIES_HANDED_OVER.labels(result="started" if handed else "kept").inc()
                if not handed:
                    await self._return_to_relay(delivery)
        except PaymentError as error:
            log.warning("webhook_not_taken_back", delivery_id=delivery.delivery_id, error=error.code)
        except Exception as error:
            log.error(
                "webhook_hand_over_broken", delivery_id=delivery.delivery_id, error=type(error).__name__
            )

    async def _return_to_relay(self, delivery: HandedOver) -> None:
        async with self._database.transaction() as connection:
            await handover.return_to_relay(connection, [delivery])

    async def _started(self, delivery: HandedOver, *, just_failed: bool) -> bool:
        """Whether a workflow carries it on. One that ran before it failed sleeps until a time that is not its."""
        if self.dispatcher is None or boot_clock_s() < self._unreachable_until_s:
            return False
        try:
            began = await self.dispatcher.start_delivery(delivery)
        except NotHandedOver as error:
            self._unreachable_until_s = boot_clock_s() + UNREACHABLE_S
            log.warning("webhook_not_handed_over", delivery_id=delivery.delivery_id, error=error.message)
            return False
        return began or not (just_failed or _stuck(delivery))

    async def _start_job(self, job_id: str) -> None:
        assert self.dispatcher is not None
        await self.dispatcher.start_job(job_id)


def _stuck(delivery: HandedOver) -> bool:
    """Whether a workflow that runs should have attempted the delivery long ago."""
    return datetime.now(UTC) - delivery.next_attempt_at > STUCK_AFTER


@asynccontextmanager
async def handing_over(runtime: Runtime, sender: Sender, stop: asyncio.Event) -> AsyncIterator[HandOver]:
    """Temporal is connected to in the background, and a worker serves what it has for webhooks until `stop`."""
    hand_over = HandOver(runtime.database)
    serving = asyncio.create_task(_serve(runtime, sender, hand_over, stop))
    sweeping = asyncio.create_task(_sweep(runtime.database, hand_over))
    try:
        yield hand_over
    finally:
        sweeping.cancel()
        await hand_over.drain()
        if not stop.is_set():  # the relay broke
            serving.cancel()
        await asyncio.gather(serving, sweeping, return_exceptions=True)


def webhooks_worker(runtime: Runtime, client: Client, sender: Sender) -> Worker:
    """Deliveries that failed, and jobs: few at a time, since first attempts come first."""
    delivering = Delivering(
        attempts=WorkflowAttempts(runtime.database, sender),
        pages=JobPages(),
        database=runtime.database,
        wakeups=runtime.wakeups,
    )
    return Worker(
        client,
        task_queue=WEBHOOKS_QUEUE,
        build_id=build_id(),
        workflows=WEBHOOK_WORKFLOWS,
        activities=[delivering.deliver, delivering.redeliver_page],
        workflow_runner=UnsandboxedWorkflowRunner(),  # replay tests use the sandbox
        max_concurrent_workflow_tasks=WORKFLOW_SLOTS,
        max_concurrent_activities=ACTIVITY_SLOTS,
        max_cached_workflows=CACHED_WORKFLOWS_MAX,
        max_concurrent_workflow_task_polls=2,
        max_concurrent_activity_task_polls=2,
        graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
    )


async def _serve(runtime: Runtime, sender: Sender, hand_over: HandOver, stop: asyncio.Event) -> None:
    """The worker runs whenever Temporal answers; it is built anew after an error that ended it."""
    while not stop.is_set():
        try:
            client = await _connected(runtime, stop)
            if client is None:
                return
            async with asyncio.timeout(None) as limit, webhooks_worker(runtime, client, sender):
                hand_over.dispatcher = WebhookDispatcher(client)
                await stop.wait()
                limit.reschedule(asyncio.get_running_loop().time() + SHUTDOWN_S)
        except Exception as error:  # whatever it is, webhooks go on without
            log.warning("webhooks_without_temporal", error=type(error).__name__, retry_in_s=RECONNECT_S)
            await first(stop, timeout_s=RECONNECT_S)
        finally:
            hand_over.dispatcher = None


async def _connected(runtime: Runtime, stop: asyncio.Event) -> Client | None:
    """A client as soon as Temporal answers; None if `stop` comes first."""
    connecting, stopping = asyncio.create_task(connect(runtime.settings)), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return None if stop.is_set() else await connecting
    finally:
        connecting.cancel()
        stopping.cancel()


async def _sweep(database: Database, hand_over: HandOver) -> None:
    rounds = metrics.Rounds("deliveries_handed_over")
    while True:
        await asyncio.sleep(SWEEP_EVERY_S)
        try:
            await hand_over.sweep()
            await _measure(database)
            rounds.ended()
        except PaymentError as error:
            log.warning("webhook_sweep_failed", error=error.code)
        except Exception as error:  # ours to repair; deliveries go on meanwhile
            log.error("webhook_sweep_broken", error=type(error).__name__, exc_info=True)


async def _measure(database: Database) -> None:
    async with database.reading() as connection:
        backlog = await handover.backlog(connection)
    for lane, count in (("first", backlog.first), ("again", backlog.again), ("workflow", backlog.held)):
        metrics.DELIVERIES_PENDING.labels(lane=lane).set(count)
    metrics.DELIVERY_OLDEST_DUE_SECONDS.set(backlog.oldest_due_s)
    metrics.ENDPOINTS_FAILING.set(backlog.failing_endpoints)
