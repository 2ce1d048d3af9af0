"""What a payment costs: state transitions, history events and commits, which no machine makes faster or slower.

Measured on a stack of its own, without the dedicated worker, the sweeper and the relay: all that happens between
two readings was done for the one request in between.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from psycopg import AsyncConnection
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from devstack.postgres import server_url
from devstack.stack import DevStack
from tests.e2e.merchant import Body, Merchant, card, fresh_key, merchant_with
from tests.support.eventually import eventually
from tests.support.servers import running

TRANSITIONS, EVENTS_MAX = 2, 7
COMMITS_OF_AUTOMATIC, COMMITS_OF_OTHERS_MAX = 2, 3


@dataclass(frozen=True)
class Meter:
    """Counts on the servers themselves."""

    shop: Merchant
    temporal: Client
    postgres: AsyncConnection

    async def commits(self, work: Callable[[], Awaitable[Body]]) -> tuple[Body, int]:
        """What `work` returned, and the transactions that wrote meanwhile."""
        before = await self._written()
        done = await work()
        return done, await self._written() - before

    async def history(self, workflow_id: str) -> tuple[int, list[str]]:
        """State transitions, and the types of the history's events."""
        handle = self.temporal.get_workflow_handle(workflow_id)
        events = (await handle.fetch_history()).events
        described = (await handle.describe()).raw_description.workflow_execution_info
        return described.state_transition_count, [_name(event.event_type) for event in events]

    async def _written(self) -> int:
        """The next transaction id: only transactions that write are given one, and looking takes none."""
        row = await (await self.postgres.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())")).fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture(scope="module")
async def quiet_stack() -> AsyncIterator[DevStack]:
    async with running("postgres", "redis", "temporal", "acquirer", "api") as stack:
        yield stack


@pytest.fixture(scope="module")
async def meter(quiet_stack: DevStack) -> AsyncIterator[Meter]:
    """A meter on a Postgres where nobody else writes."""
    stack = quiet_stack
    temporal = await Client.connect(stack.temporal_address)
    url = server_url(stack.port("postgres"), "payonce")
    async with (
        await AsyncConnection.connect(url, autocommit=True) as postgres,
        merchant_with(stack.api_url, stack.api_key) as shop,
    ):
        await postgres.execute("ALTER SYSTEM SET autovacuum = off")
        await postgres.execute("SELECT pg_reload_conf()")
        await shop.paid()  # the first request of a process opens connections
        yield Meter(shop, temporal, postgres)


async def test_an_automatic_payment_takes_two_transitions_seven_events_and_two_commits(meter: Meter) -> None:
    payment, commits = await meter.commits(meter.shop.paid)
    assert payment["status"] == "captured"
    assert commits == COMMITS_OF_AUTOMATIC
    transitions, events = await _closed(meter, payment["id"])
    assert transitions == TRANSITIONS
    assert len(events) <= EVENTS_MAX, events


async def test_a_decline_takes_two_transitions_seven_events_and_two_commits(meter: Meter) -> None:
    async def declined() -> Body:
        problem: Body = (await meter.shop.pay(payment_method=card("4000000000000002"))).json()
        payment: Body = problem["payment"]
        return payment

    payment, commits = await meter.commits(declined)
    assert commits == COMMITS_OF_AUTOMATIC
    transitions, events = await _closed(meter, payment["id"])
    assert transitions == TRANSITIONS
    assert len(events) <= EVENTS_MAX, events


async def test_an_authorization_takes_two_commits(meter: Meter) -> None:
    _, commits = await meter.commits(meter.shop.authorized)
    assert commits == COMMITS_OF_AUTOMATIC


async def test_a_capture_takes_at_most_three_commits(meter: Meter) -> None:
    payment = await meter.shop.authorized()
    captured, commits = await meter.commits(lambda: meter.shop.captured(payment))
    assert captured["status"] == "captured"
    assert commits <= COMMITS_OF_OTHERS_MAX


async def test_a_void_takes_at_most_three_commits(meter: Meter) -> None:
    payment = await meter.shop.authorized()
    voided, commits = await meter.commits(lambda: meter.shop.voided(payment))
    assert voided["status"] == "voided"
    assert commits <= COMMITS_OF_OTHERS_MAX


async def test_a_refund_takes_at_most_three_commits_and_two_transitions(meter: Meter) -> None:
    payment = await meter.shop.paid()
    refund, commits = await meter.commits(lambda: meter.shop.refunded(payment))
    assert refund["status"] == "succeeded"
    assert commits <= COMMITS_OF_OTHERS_MAX
    transitions, _ = await _closed(meter, refund["id"])
    assert transitions == TRANSITIONS


async def test_a_replay_and_a_refusal_before_admission_commit_nothing(meter: Meter) -> None:
    key = fresh_key()
    await meter.shop.paid(key=key)
    _, commits = await meter.commits(lambda: meter.shop.paid(key=key))
    assert commits == 0

    async def refused() -> Body:
        problem: Body = (await meter.shop.pay(amount=0)).json()
        return problem

    _, commits = await meter.commits(refused)
    assert commits == 0


async def test_the_server_took_the_start_as_an_eager_one(meter: Meter) -> None:
    payment = await meter.shop.paid()
    history = await meter.temporal.get_workflow_handle(payment["id"]).fetch_history()
    assert history.events[0].workflow_execution_started_event_attributes.eager_execution_accepted


@workflow.defn
class Nothing:
    """Ends at once."""

    @workflow.run
    async def run(self) -> None:
        return


@pytest.mark.parametrize("eager", [True, False])
async def test_the_sdk_says_on_its_private_attribute_whether_a_start_was_eager(
    temporal_server: str, eager: bool
) -> None:
    client = await Client.connect(temporal_server)
    queue = fresh_key()
    runner = UnsandboxedWorkflowRunner()
    async with Worker(client, task_queue=queue, workflows=[Nothing], workflow_runner=runner):
        handle: WorkflowHandle[Nothing, None] = await client.start_workflow(
            Nothing.run, id=queue, task_queue=queue, request_eager_start=eager
        )
        assert getattr(handle, "__temporal_eagerly_started") is eager  # a plain name would be mangled
        await handle.result()


async def _closed(meter: Meter, workflow_id: str) -> tuple[int, list[str]]:
    """The history, once its last event is there: the answer does not wait for it."""

    async def ended() -> tuple[int, list[str]]:
        transitions, events = await meter.history(workflow_id)
        assert events[-1] == "WORKFLOW_EXECUTION_COMPLETED"
        return transitions, events

    return await eventually(ended)


def _name(event_type: EventType.ValueType) -> str:
    return EventType.Name(event_type).removeprefix("EVENT_TYPE_")
