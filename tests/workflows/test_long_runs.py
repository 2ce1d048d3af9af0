"""Runs that the server finds long end for another to go on: no limit of one run stops a payment.

On a development server with lowered limits; the test server that skips time has none.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from activities.messages import InquiryDue, OperationRequest, Progress, ReversalDue, Settled
from activities.review_messages import OpenReview, Over, ReviewRequest
from payonce.domain.operations import OperationKind
from payonce.domain.schedules import InquirySchedule
from tests.support.eventually import eventually
from tests.support.servers import running
from tests.workflows.rig import CAPTURE, SPOKE, Bench, event_types, replay
from workers.converter import data_converter
from workflows.refund import RefundWorkflow, ReversalWorkflow
from workflows.renewal import BEGUN_ANEW
from workflows.review import REVIEW_CHANGED, ReviewWorkflow

K = OperationKind
UPDATES_MAX, SIGNALS_MAX, SUGGESTED_AFTER = 6, 100, 50
LIMITS = {
    "history.maxTotalUpdates": UPDATES_MAX,
    "history.maximumSignalsPerExecution": SIGNALS_MAX,
    "limit.historyCount.suggestContinueAsNew": SUGGESTED_AFTER,
}
OPEN_UNTIL = datetime.now(UTC) + timedelta(days=7)
AUTHORIZED = Settled("authorized", open=True, sequence=1, capture_before=OPEN_UNTIL)
NEVER = InquirySchedule(
    first_s=(), then_every_s=3600, review_after_s=10, slow_every_s=3600, give_up_after_s=1e6
)
UNKNOWN = InquiryDue(NEVER, "timeout")


@pytest.fixture(scope="module")
async def small_server() -> AsyncIterator[Client]:
    async with running("temporal", temporal_settings=LIMITS) as stack:
        yield await Client.connect(stack.temporal_address, data_converter=data_converter)


@pytest.fixture
async def bench(small_server: Client) -> AsyncIterator[Bench]:
    made = Bench(WorkflowEnvironment.from_client(small_server))
    async with made.worker():
        yield made


async def first_and_latest(
    bench: Bench, handle: WorkflowHandle[object, str]
) -> tuple[WorkflowHandle[object, str], WorkflowHandle[object, str]]:
    """The handles of the first run, and of the one after all others."""
    client = bench.environment.client
    latest = await client.get_workflow_handle(handle.id).describe()
    return (
        client.get_workflow_handle(handle.id, run_id=handle.result_run_id),
        client.get_workflow_handle(handle.id, run_id=latest.run_id),
    )


async def began_anew(bench: Bench, handle: WorkflowHandle[object, str]) -> bool:
    first, _ = await first_and_latest(bench, handle)
    return (await first.describe()).status is WorkflowExecutionStatus.CONTINUED_AS_NEW


def told(bench: Bench, count: int, name: str) -> list[OperationRequest]:
    """What the activity of this name was asked, from the beginning."""
    return [call.request for call in bench.fakes.made(name)[:count]]


async def test_captures_go_on_past_the_limit_of_updates(bench: Bench) -> None:
    """Each is answered, also those at the seam; every run of the payment replays."""
    captures = [bench.operation(K.CAPTURE, number) for number in range(4 * UPDATES_MAX + 2)]
    bench.fakes.script("authorize", AUTHORIZED)
    bench.fakes.script("capture", *(replace(AUTHORIZED, sequence=2 + at) for at, _ in enumerate(captures)))
    handle = await bench.start_payment()
    for capture in captures:
        status = await handle.execute_update(CAPTURE, capture, id=capture.operation_id)
        assert status == "authorized"
    assert told(bench, 99, "capture") == captures
    assert len(bench.fakes.made("authorize")) > 2, "a run begins with a look at the authorization"
    first, latest = await first_and_latest(bench, handle)
    assert (await first.describe()).status is WorkflowExecutionStatus.CONTINUED_AS_NEW
    for run in (first, latest):
        await replay(run)


async def test_signals_go_on_past_their_limit(bench: Bench) -> None:
    bench.fakes.script("authorize", AUTHORIZED)
    bench.fakes.script("capture", Settled("captured", open=False, sequence=2))
    handle = await bench.start_payment()
    await flood(handle, 3 * SIGNALS_MAX)
    assert await began_anew(bench, handle)
    assert await handle.execute_update(CAPTURE, bench.operation(K.CAPTURE)) == "captured"
    await replay((await first_and_latest(bench, handle))[0])


async def test_a_capture_without_outcome_is_carried_on_by_the_next_run(bench: Bench) -> None:
    """It waits to ask again while callbacks come: its update ends, and says that the next run has it."""
    capture = bench.operation(K.CAPTURE)
    bench.fakes.script("authorize", AUTHORIZED, replace(AUTHORIZED, pending=capture))
    bench.fakes.script("capture", UNKNOWN)
    bench.fakes.script("inquire", UNKNOWN)
    bench.fakes.script("hear", replace(AUTHORIZED, pending=capture))
    handle = await bench.start_payment()
    update = asyncio.create_task(handle.execute_update(CAPTURE, capture, id=capture.operation_id))
    await asked_until_it_begins_anew(bench, handle, capture)
    with pytest.raises(WorkflowUpdateFailedError) as ended:
        await update
    assert isinstance(ended.value.cause, ApplicationError)
    assert ended.value.cause.type == BEGUN_ANEW
    assert set(told(bench, 99, "capture")) == {capture}
    bench.fakes.script("inquire", Settled("captured", open=False, sequence=2))
    await eventually(partial(has_attempted, handle, times=2))
    await handle.signal(SPOKE, args=[capture, "op_1-1"])
    assert await handle.result() == "captured"
    assert len(bench.fakes.made("capture")) == len(bench.fakes.made("authorize")), "once a run"
    await replay((await first_and_latest(bench, handle))[0])


async def test_a_create_and_a_refund_without_outcome_are_carried_on_too(bench: Bench) -> None:
    bench.fakes.script("authorize", UNKNOWN)
    bench.fakes.script("refund", UNKNOWN)
    bench.fakes.script("inquire", UNKNOWN)
    bench.fakes.script("hear", Settled("processing", open=True, sequence=1))
    create = OperationRequest(bench.payment_id, bench.payment_id, K.AUTHORIZE)
    payment = await bench.start_payment()
    refund = await bench.start(RefundWorkflow.run, K.REFUND)
    for handle, operation in ((payment, create), (refund, bench.operation(K.REFUND))):
        await asked_until_it_begins_anew(bench, handle, operation)
        await replay((await first_and_latest(bench, handle))[0])
    bench.fakes.script("inquire", Settled("captured", open=False, sequence=2))
    for handle, operation in ((payment, create), (refund, bench.operation(K.REFUND))):
        await eventually(partial(has_attempted, handle, times=1))
        await handle.signal(SPOKE, args=[operation, "op_1-1"])
        assert await handle.result() == "captured"


async def test_a_reversal_that_takes_long_is_carried_on(bench: Bench) -> None:
    """Some ten events each time: at 50 the next run begins."""
    due = ReversalDue(replace(NEVER, then_every_s=0.01), "timeout")
    bench.fakes.script("reverse_late", *[due] * 7, Settled("failed", open=False, sequence=2))
    handle = await bench.start(ReversalWorkflow.run, K.REVERSE)
    assert await handle.result() == "failed"
    assert await began_anew(bench, handle)
    for run in await first_and_latest(bench, handle):
        await replay(run)


async def test_a_review_that_was_signalled_often_is_carried_on(bench: Bench) -> None:
    now = datetime.now(UTC)
    seen = OpenReview("undone", "it was taken back", "1000 INR", now, now + timedelta(days=3))
    bench.fakes.script("look_at_review", seen)
    request = ReviewRequest(bench.payment_id, f"op_{bench.payment_id}", "undone")
    handle = await bench.environment.client.start_workflow(
        ReviewWorkflow.run, request, id=f"review-{request.operation_id}", task_queue=bench.queue
    )

    async def goes_on() -> bool:
        await bench.environment.client.get_workflow_handle(handle.id).signal(REVIEW_CHANGED)
        return await began_anew(bench, handle)

    await eventually(goes_on)
    bench.fakes.script("look_at_review", Over("decision"))
    await bench.environment.client.get_workflow_handle(handle.id).signal(REVIEW_CHANGED)
    assert await handle.result() == "decision"
    await replay((await first_and_latest(bench, handle))[0])


async def test_a_long_run_waits_for_what_only_it_knows(bench: Bench) -> None:
    """What the acquirer spoke of is asked first, and its success is not lost between two runs."""
    may_answer = asyncio.Event()

    async def when_told() -> Progress:
        await may_answer.wait()
        return AUTHORIZED

    bench.fakes.script("authorize", AUTHORIZED)
    bench.fakes.script("hear", when_told)
    handle = await bench.start_payment()
    await handle.signal(SPOKE, args=[bench.operation(K.CAPTURE, 9), "op_9-1"])

    async def asked() -> bool:
        return bool(bench.fakes.made("hear"))

    await eventually(asked)
    while len(await event_types(handle)) < SUGGESTED_AFTER + 8:
        await handle.signal("no such signal")
    assert not await began_anew(bench, handle)
    may_answer.set()
    await eventually(partial(began_anew, bench, handle))
    assert len(bench.fakes.made("hear")) == 1


@pytest.mark.parametrize("due", [UNKNOWN, ReversalDue(NEVER, "not_found")])
async def test_a_run_that_goes_on_with_an_old_doubt_calls_an_operator_after_its_first_look(
    bench: Bench, due: InquiryDue | ReversalDue
) -> None:
    """However often runs begin anew, what is overdue since the claim is told; not before anybody has asked."""
    schedule = replace(NEVER, then_every_s=0.1)
    old = replace(due, schedule=schedule, claimed_at=datetime.now(UTC) - timedelta(hours=1))
    bench.fakes.script("authorize", old)
    bench.fakes.script("inquire", old, Settled("captured", open=False, sequence=2))
    bench.fakes.script("reverse", old, old, Settled("failed", open=False, sequence=2))
    handle = await bench.start_payment()
    assert await handle.result() in ("captured", "failed")
    ask = "inquire" if isinstance(due, InquiryDue) else "reverse"
    assert bench.fakes.names.index(ask) < bench.fakes.names.index("call_operator")
    assert len(bench.fakes.made("call_operator")) == 1


async def test_the_next_run_is_found_as_its_predecessor_was(bench: Bench) -> None:
    bench.fakes.script("authorize", AUTHORIZED)
    handle = await bench.start_payment()

    async def shown() -> str | None:
        _, latest = await first_and_latest(bench, handle)
        attributes = (await latest.describe()).typed_search_attributes
        return next((str(pair.value) for pair in attributes if pair.key.name == "PaymentStatus"), None)

    await eventually(shown)
    await flood(handle, SIGNALS_MAX)
    assert await began_anew(bench, handle)
    assert await shown() == "authorized"


async def has_attempted(handle: WorkflowHandle[object, str], *, times: int) -> bool:
    """Whether the latest run has found that many operations as they are, and waits."""
    return list(await event_types(handle)).count(EventType.EVENT_TYPE_MARKER_RECORDED) >= times


async def flood(handle: WorkflowHandle[object, str], signals: int) -> None:
    """So many signals of no use, not faster than the run can look at them."""
    for number in range(1, signals + 1):
        await handle.signal("no such signal", "whatever")
        if not number % 10:
            await handle.query("__temporal_workflow_metadata")


def times_asked(bench: Bench) -> int:
    """A run that has just begun hears of the operation before it works on it."""
    return len(bench.fakes.made("inquire")) + len(bench.fakes.made("hear"))


async def asked_until_it_begins_anew(
    bench: Bench, handle: WorkflowHandle[object, str], operation: OperationRequest
) -> None:
    """The acquirer speaks of the operation again and again, which is asked about each time."""
    for _ in range(SIGNALS_MAX):
        before = times_asked(bench)
        await handle.signal(SPOKE, args=[operation, "op_1-1"])

        async def asked(before: int = before) -> bool:
            return times_asked(bench) > before

        await eventually(asked)
        if await began_anew(bench, handle):
            return
    types = [EventType.Name(kind) for kind in await event_types(handle)]
    raise AssertionError(f"no second run after {len(types)} events")
