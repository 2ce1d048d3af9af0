"""The limit of this engine: an eager start and one empty local activity, answered from memory. `bare PORT`.

Client and worker share one process and one connection, tuned as the product's are.
"""

import asyncio
import sys
from datetime import timedelta

import uvloop
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy, WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from bench.baselines.engine import connected, worker_for
from bench.baselines.front import serve
from payonce.settings import settings_from_environment

TASK_QUEUE = "bench-bare"


@workflow.defn
class Bare:
    """One empty local activity."""

    @workflow.run
    async def run(self, workflow_id: str) -> None:
        await workflow.execute_local_activity(
            "nothing",
            workflow_id,
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(maximum_attempts=1),
        )


class Engine:
    """Starts workflows and answers as soon as their activity ran."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: dict[str, asyncio.Future[None]] = {}

    @activity.defn
    async def nothing(self, workflow_id: str) -> None:
        waiter = self._waiting.get(workflow_id)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def answer(self, key: bytes) -> bytes:
        workflow_id = key.decode()
        waiter = self._waiting[workflow_id] = asyncio.get_running_loop().create_future()
        try:
            await self._client.start_workflow(
                Bare.run,
                workflow_id,
                id=workflow_id,
                task_queue=TASK_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                request_eager_start=True,
            )
            await waiter
        finally:
            del self._waiting[workflow_id]
        return b'{"id":"%b"}' % key


async def main(port: int) -> None:
    settings = settings_from_environment()
    client = await connected(settings)
    engine = Engine(client)
    async with worker_for(client, settings, TASK_QUEUE, workflows=[Bare], activities=[engine.nothing]):
        await serve(engine.answer, port=port)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
