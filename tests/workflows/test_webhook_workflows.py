"""Deliveries that failed and jobs, on a server that skips time, with activities that do what a test says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.webhook_messages import (
    Delivered,
    DeliveryProgress,
    DeliveryRequest,
    Dropped,
    Exhausted,
    JobEnded,
    JobProgress,
    JobRequest,
    LeftToRelay,
    NextAttempt,
    NotNow,
    PageTaken,
    Waiting,
)
from payonce.domain.ids import random_id
from tests.workflows.rig import timers_s
from workflows.webhook_delivery import STEPS_MAX, WebhookDeliveryWorkflow
from workflows.webhook_job import WebhookJobWorkflow

DELAYS_S = (5, 300, 1_800)
FIRST_S = 600  # a machine that stands still for seconds changes nothing


@dataclass
class Fakes:
    """Takes the next step of its script, and remembers what it was asked."""

    steps: list[Any] = field(default_factory=list)
    asked: list[NextAttempt | JobRequest] = field(default_factory=list)

    @activity.defn(name="deliver")
    async def deliver(self, request: NextAttempt) -> DeliveryProgress:
        self.asked.append(request)
        step: DeliveryProgress = self.steps.pop(0)
        return step

    @activity.defn(name="redeliver_page")
    async def redeliver_page(self, request: JobRequest) -> JobProgress:
        self.asked.append(request)
        step: JobProgress = self.steps.pop(0)
        return step


@dataclass
class Bench:
    environment: WorkflowEnvironment
    queue: str = field(default_factory=lambda: random_id("queue"))
    fakes: Fakes = field(default_factory=Fakes)

    async def in_s(self, seconds: float) -> datetime:
        return await self.environment.get_current_time() + timedelta(seconds=seconds)

    async def deliver(self, *steps: DeliveryProgress, attempts: int = 1) -> WorkflowHandle[Any, str]:
        self.fakes.steps = list(steps)
        request = DeliveryRequest(
            "dlv_1", "we_1", "payment.captured", attempts, await self.in_s(FIRST_S), "timed_out"
        )
        return await self.environment.client.start_workflow(
            WebhookDeliveryWorkflow.run, request, id=random_id("dlv"), task_queue=self.queue
        )

    async def job(self, *steps: JobProgress) -> WorkflowHandle[Any, str]:
        self.fakes.steps = list(steps)
        return await self.environment.client.start_workflow(
            WebhookJobWorkflow.run, JobRequest("whj_1"), id=random_id("whj"), task_queue=self.queue
        )


@asynccontextmanager
async def working(environment: WorkflowEnvironment) -> AsyncIterator[Bench]:
    bench = Bench(environment)
    async with Worker(
        environment.client,
        task_queue=bench.queue,
        workflows=[WebhookDeliveryWorkflow, WebhookJobWorkflow],
        activities=[bench.fakes.deliver, bench.fakes.redeliver_page],
    ):
        yield bench


async def test_each_attempt_is_made_when_postgres_says_that_it_is_due(
    time_skipping: WorkflowEnvironment,
) -> None:
    async with working(time_skipping) as bench:
        steps = [Waiting(await bench.in_s(FIRST_S + 3_600), 2, "unsuccessful_status"), Delivered(3)]
        handle = await bench.deliver(*steps)
        assert await handle.result() == "delivered"

    assert [request.attempts for request in bench.fakes.asked] == [1, 2]
    assert await timers_s(handle) == [pytest.approx(FIRST_S, abs=60), pytest.approx(3_600, abs=60)]


@pytest.mark.parametrize("end", [Delivered(2), Exhausted(10, "timed_out"), Dropped(1), LeftToRelay(1)])
async def test_a_delivery_that_nobody_is_to_try_again_ends_its_workflow(
    time_skipping: WorkflowEnvironment, end: DeliveryProgress
) -> None:
    async with working(time_skipping) as bench:
        handle = await bench.deliver(end)
        assert await handle.result() == end.kind

    assert bench.fakes.steps == []


async def test_a_delivery_that_waits_for_a_busy_endpoint_very_often_begins_a_new_history(
    time_skipping: WorkflowEnvironment,
) -> None:
    async with working(time_skipping) as bench:
        busy = Waiting(await bench.in_s(1), 1, "the endpoint is busy")
        handle = await bench.deliver(*[busy] * STEPS_MAX, Delivered(2))
        assert await handle.result() == "delivered"

    assert len(bench.fakes.asked) == STEPS_MAX + 1
    assert len((await handle.fetch_history()).events) < 20


async def test_a_job_takes_page_after_page_and_pauses_longer_and_longer_behind_a_backlog(
    time_skipping: WorkflowEnvironment,
) -> None:
    full = NotNow(500, 900, "1000 deliveries wait for the endpoint")
    async with working(time_skipping) as bench:
        handle = await bench.job(
            PageTaken(500, 900), full, full, PageTaken(800, 900), JobEnded(900, 900, "finished")
        )
        assert await handle.result() == "finished"

    assert await timers_s(handle) == [2, 4]
    assert bench.fakes.asked == [JobRequest("whj_1")] * 5
