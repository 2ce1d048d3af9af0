"""The Schedule by which accounts are compared each hour, and the figures about it."""

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)

from payonce.metrics import RECONCILIATION_ENDED, RECONCILIATION_OPEN, RECONCILIATION_STOPPED
from payonce.reconciling.reading import Reconciler
from payonce.runtime import Runtime
from payonce.storage import reconciliation, reconciliation_runs
from workflows.reconciliation import ReconciliationWorkflow

SCHEDULE_ID: Final = "reconciliation"
EVERY: Final = timedelta(hours=1)
CATCHES_UP_WITHIN: Final = timedelta(
    minutes=10
)  # a run that Temporal could not start; the next one reads it all


class Reconciliation:
    """Safe to run in every process."""

    def __init__(self, runtime: Runtime, client: Client, *, task_queue: str) -> None:
        self._runtime = runtime
        self._client = client
        self._task_queue = task_queue
        self._reconciler = Reconciler(runtime)
        self._is_scheduled = False
        self._began = datetime.now(UTC)

    async def keep_scheduled(self) -> bool:
        """Temporal starts a run each hour; a Schedule that a person has changed or paused stays as it is."""
        if not self._is_scheduled:
            action = ScheduleActionStartWorkflow(
                ReconciliationWorkflow.run, id=SCHEDULE_ID, task_queue=self._task_queue
            )
            spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=EVERY)])
            policy = SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=CATCHES_UP_WITHIN)
            with contextlib.suppress(ScheduleAlreadyRunningError):
                await self._client.create_schedule(
                    SCHEDULE_ID, Schedule(action=action, spec=spec, policy=policy)
                )
            self._is_scheduled = True
        return False

    async def measure(self) -> bool:
        """The gauges say when each account was last compared, and how much nobody has settled.

        One that never was counts from the start of this process: it is told of as if it had been compared then.
        """
        async with self._runtime.database.reading() as connection:
            ended = await reconciliation_runs.last_ends(connection)
            stopped = await reconciliation_runs.stopped(connection)
            opened = await reconciliation.count_open(connection)
        for account in self._reconciler.listed():
            RECONCILIATION_ENDED.labels(account).set(ended.get(account, self._began).timestamp())
            RECONCILIATION_STOPPED.labels(account).set(account in stopped)
        for result, count in opened.items():
            RECONCILIATION_OPEN.labels(result).set(count)
        return False
