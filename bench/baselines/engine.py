"""Temporal clients and workers for the baselines, tuned as the product's are: only the structure differs."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio.client import Client, GrpcCompression
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from payonce.settings import Settings


async def connected(settings: Settings) -> Client:
    """A client of the server that the settings name. Raises `RuntimeError`."""
    return await Client.connect(
        settings.temporal_address,
        namespace=settings.temporal_namespace,
        data_converter=pydantic_data_converter,
        grpc_compression=GrpcCompression.NONE,
    )


def worker_for(
    client: Client,
    settings: Settings,
    task_queue: str,
    *,
    workflows: Sequence[type],
    activities: Sequence[Any],
) -> Worker:
    """A worker with as many slots of each kind as the product has."""
    slots = settings.in_flight_max
    return Worker(
        client,
        task_queue=task_queue,
        workflows=workflows,
        activities=activities,
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_workflow_tasks=slots,
        max_concurrent_local_activities=slots,
        max_concurrent_activities=slots,
        nonsticky_to_sticky_poll_ratio=0.5,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
    )
