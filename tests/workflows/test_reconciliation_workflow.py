"""`ReconciliationWorkflow`: each account after the other, whatever becomes of one."""

from collections.abc import Callable
from uuid import uuid4

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from payonce.domain.reconciling import STOPPED
from workflows.reconciliation import ReconciliationWorkflow


def activities(tried: list[str]) -> list[Callable[..., object]]:
    @activity.defn
    async def accounts_with_lists() -> list[str]:
        return ["live", "stopped", "test"]

    @activity.defn
    async def reconcile(account: str) -> dict[str, int]:
        tried.append(account)
        if account == "stopped":
            raise ApplicationError("restored", type=STOPPED, non_retryable=True)
        if account == "live" and tried.count("live") < 3:
            raise ApplicationError("the acquirer is away")
        return {"orphan": 1, "matched": 7} if account == "test" else {}

    return [accounts_with_lists, reconcile]


async def test_an_account_that_fails_holds_up_no_other(time_skipping: WorkflowEnvironment) -> None:
    tried: list[str] = []
    queue = f"reconciliation-{uuid4()}"
    async with Worker(
        time_skipping.client,
        task_queue=queue,
        workflows=[ReconciliationWorkflow],
        activities=activities(tried),
    ):
        said = await time_skipping.client.execute_workflow(
            ReconciliationWorkflow.run, id=queue, task_queue=queue
        )
    assert said == {"live": "nothing new", "stopped": said["stopped"], "test": "7 matched, 1 orphan"}
    assert said["stopped"].startswith("failed: ")
    assert tried == ["live", "live", "live", "stopped", "test"]
