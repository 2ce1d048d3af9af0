"""`PaymentWorkflow`: from the authorization to capture, void or expiry."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import (
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateHandle,
    WorkflowUpdateStage,
)
from temporalio.exceptions import ApplicationError

from activities.messages import InquiryDue, NothingSent, NotOwner, Progress, ReversalDue, Settled
from payonce.domain.operations import OperationKind
from payonce.domain.schedules import NOT_SENT_RETRIES_S, UNKNOWN_ACCOUNT_INQUIRIES, InquirySchedule
from tests.support.eventually import eventually
from tests.workflows.rig import (
    CAPTURE,
    OWNER,
    VOID,
    Bench,
    details,
    event_types,
    failure_type,
    replay,
    timers_s,
)

K = OperationKind
DAY_S = 24 * 3600.0
SCHEDULE = InquirySchedule(
    first_s=(1, 2), then_every_s=4, review_after_s=10, slow_every_s=100, give_up_after_s=500
)
UNKNOWN = InquiryDue(SCHEDULE, "timeout")


async def test_an_automatic_payment_is_one_local_activity(bench: Bench) -> None:
    bench.fakes.script("authorize", await bench.settled("captured", 2))
    handle = await bench.start_payment()
    assert await handle.result() == "captured"
    assert bench.fakes.names == ["authorize"]
    call = bench.fakes.calls[0]
    assert call.local
    assert (call.request.operation_id, call.request.kind) == (bench.payment_id, K.AUTHORIZE)
    assert await event_types(handle) == [
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
        EventType.EVENT_TYPE_MARKER_RECORDED,
        EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
    ]
    await replay(handle)


async def test_a_declined_payment_ends_as_quickly(bench: Bench) -> None:
    bench.fakes.script("authorize", replace(await bench.settled("failed", 1), failure="insufficient_funds"))
    handle = await bench.start_payment()
    assert await handle.result() == "failed"
    assert bench.fakes.names == ["authorize"]
    upserts = EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES
    assert (await event_types(handle)).count(upserts) == 1
    found_by = {pair.key.name: pair.value for pair in (await handle.describe()).typed_search_attributes}
    assert (found_by["PaymentStatus"], found_by["FailureReason"]) == ("failed", "insufficient_funds")


async def test_a_manual_payment_is_captured_in_parts_until_nothing_is_left(bench: Bench) -> None:
    bench.fakes.script("authorize", await bench.settled("authorized", 1, ends_in_s=7 * DAY_S))
    bench.fakes.script(
        "capture",
        await bench.settled("partially_captured", 2, ends_in_s=7 * DAY_S),
        await bench.settled("captured", 3),
    )
    handle = await bench.start_payment()
    await bench.authorized(handle)
    for number, status in enumerate(["partially_captured", "captured"]):
        operation = bench.operation(K.CAPTURE, number)
        update = handle.execute_update(CAPTURE, operation, id=operation.operation_id)
        assert await update == status
    assert await handle.result() == "captured"
    assert bench.fakes.names == ["authorize", "capture", "capture"]
    assert all(call.local for call in bench.fakes.calls)
    await replay(handle)


async def test_a_voided_payment_is_done(bench: Bench) -> None:
    bench.fakes.script("authorize", await bench.settled("authorized", 1, ends_in_s=DAY_S))
    bench.fakes.script("void", await bench.settled("voided", 2))
    handle = await bench.start_payment()
    await bench.authorized(handle)
    assert await handle.execute_update(VOID, bench.operation(K.VOID)) == "voided"
    assert await handle.result() == "voided"


async def test_a_declined_capture_leaves_the_payment_open(bench: Bench) -> None:
    """Such an outcome has no event, so the sequence stays as it was."""
    still_open = await bench.settled("authorized", 1, ends_in_s=DAY_S)
    bench.fakes.script("authorize", still_open)
    bench.fakes.script("capture", still_open, await bench.settled("captured", 2))
    handle = await bench.start_payment()
    await bench.authorized(handle)
    first, second = bench.operation(K.CAPTURE, 1), bench.operation(K.CAPTURE, 2)
    assert await handle.execute_update(CAPTURE, first) == "authorized"
    assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    assert await handle.execute_update(CAPTURE, second) == "captured"


async def test_an_authorization_expires_at_its_end_and_not_before(bench: Bench) -> None:
    begun = await bench.now_s()
    bench.fakes.script("authorize", await bench.settled("authorized", 1, ends_in_s=7 * DAY_S))
    bench.fakes.script("expire", await bench.settled("expired", 2))
    assert await (await bench.start_payment()).result() == "expired"
    (expiry,) = bench.fakes.made("expire")
    assert expiry.request == bench.payment_id
    assert 0 <= expiry.at_s - begun - 7 * DAY_S < 60


async def test_an_expiry_that_comes_too_early_is_tried_again(bench: Bench) -> None:
    """The database's clock is behind the workflow's."""
    authorized = await bench.settled("authorized", 1, ends_in_s=60)
    bench.fakes.script("authorize", authorized)
    bench.fakes.script("expire", authorized, authorized, await bench.settled("expired", 2))
    handle = await bench.start_payment()
    assert await handle.result() == "expired"
    assert (await timers_s(handle))[1:] == [1.0, 1.0]


async def test_an_expiry_waits_for_the_capture_that_is_pending(bench: Bench) -> None:
    capture = bench.operation(K.CAPTURE)
    authorized = await bench.settled("authorized", 1, ends_in_s=60)
    busy = Settled("authorized", open=True, sequence=1, capture_before=authorized.capture_before)
    bench.fakes.script("authorize", authorized)
    bench.fakes.script(
        "expire",
        Settled(busy.status, busy.open, busy.sequence, busy.capture_before, pending=capture),
        await bench.settled("captured", 3),
    )
    bench.fakes.script("capture", await bench.settled("partially_captured", 2, ends_in_s=-1))
    handle = await bench.start_payment()
    assert await handle.result() == "captured"
    assert bench.fakes.names == ["authorize", "expire", "capture", "expire"]
    assert bench.fakes.made("capture")[0].request == capture
    await replay(handle)


async def test_an_expiry_that_was_interrupted_is_completed(bench: Bench) -> None:
    pending = bench.operation(K.EXPIRE)
    bench.fakes.script("authorize", Settled("authorized", open=True, sequence=1, pending=pending))
    bench.fakes.script("expire", await bench.settled("expired", 2))
    assert await (await bench.start_payment()).result() == "expired"
    assert bench.fakes.names == ["authorize", "expire"]


async def test_the_attempt_goes_to_the_process_that_holds_the_card(bench: Bench) -> None:
    bench.fakes.script("authorize", NotOwner(OWNER))
    bench.owner.script("authorize", await bench.settled("captured", 2))
    async with bench.owner_worker():
        handle = await bench.start_payment()
        assert await handle.result() == "captured"
    assert bench.fakes.names == ["authorize"]
    assert [(call.name, call.local) for call in bench.owner.calls] == [("authorize", False)]
    await replay(handle)


async def test_an_owner_that_does_not_answer_proves_nothing(bench: Bench) -> None:
    """It may have sent before it died: the attempt is inquired about, never sent again."""
    begun = await bench.now_s()
    bench.fakes.script("authorize", NotOwner(OWNER))
    bench.fakes.script("inquire", await bench.settled("captured", 2))
    handle = await bench.start_payment()
    assert await handle.result() == "captured"
    assert bench.fakes.names == ["authorize", "inquire"]
    asked_after_s = bench.fakes.made("inquire")[0].at_s - begun
    assert 2 <= asked_after_s - UNKNOWN_ACCOUNT_INQUIRIES.first_s[0] < 60


@pytest.mark.parametrize("error", [RuntimeError("broken"), ApplicationError("broken", non_retryable=True)])
async def test_an_attempt_that_breaks_proves_nothing(bench: Bench, error: Exception) -> None:
    bench.fakes.script("authorize", error)
    bench.fakes.script("inquire", await bench.settled("failed", 2))
    assert await (await bench.start_payment()).result() == "failed"
    assert bench.fakes.names == ["authorize", "inquire"]


async def test_an_unknown_outcome_is_inquired_about_on_the_rails_schedule(bench: Bench) -> None:
    bench.fakes.script("authorize", UNKNOWN)
    bench.fakes.script("inquire", UNKNOWN, UNKNOWN, UNKNOWN, await bench.settled("captured", 3))
    handle = await bench.start_payment()
    assert await handle.result() == "captured"
    assert await timers_s(handle) == [1, 2, 4, 4]
    assert bench.fakes.names == ["authorize"] + ["inquire"] * 4
    await replay(handle)


async def test_the_schedule_of_the_latest_inquiry_counts(bench: Bench) -> None:
    """An attempt that ended without saying at which account learns its schedule from the first inquiry."""
    slower = InquirySchedule(
        first_s=(), then_every_s=30, review_after_s=100, slow_every_s=100, give_up_after_s=500
    )
    bench.fakes.script("authorize", RuntimeError("broken"))
    bench.fakes.script("inquire", InquiryDue(slower, "not_found_yet"), await bench.settled("failed", 2))
    handle = await bench.start_payment()
    await handle.result()
    assert await timers_s(handle) == [1, 30]


async def test_an_operator_is_called_once_and_the_inquiries_never_end(bench: Bench) -> None:
    """Once the rail's schedule is used up, the acquirer is asked daily: a fact that comes then still counts."""
    bench.fakes.script("authorize", UNKNOWN)
    bench.fakes.script("inquire", *[UNKNOWN] * 11, await bench.settled("failed", 2))
    handle = await bench.start_payment()
    assert await handle.result() == "failed"
    assert [call.request[1] for call in bench.fakes.made("call_operator")] == ["timeout"]
    waited = await timers_s(handle)
    assert waited == [1, 2, 4, 4, 100, 100, 100, 100, 100, DAY_S, DAY_S, DAY_S]
    first_six = ["authorize", "inquire", "inquire", "inquire", "inquire", "call_operator"]
    assert bench.fakes.names[:6] == first_six
    await replay(handle)


async def test_a_payments_details_say_that_what_it_carries_out_is_in_review(bench: Bench) -> None:
    since = datetime(2026, 11, 22, 5, 46, tzinfo=UTC)
    open_ = await bench.settled("authorized", 1, ends_in_s=7 * DAY_S)
    bench.fakes.script("authorize", open_)
    bench.fakes.script("capture", replace(UNKNOWN, review_since=since))
    bench.fakes.script("inquire", replace(UNKNOWN, review_since=since))
    handle = await bench.start_payment()
    await bench.authorized(handle)
    capture = bench.operation(K.CAPTURE)
    await handle.start_update(
        CAPTURE, capture, id=capture.operation_id, wait_for_stage=WorkflowUpdateStage.ACCEPTED
    )
    await bench.environment.sleep(1)
    lines = (await details(handle)).split("\n\n")
    command = f"`payonce review show {bench.payment_id}`"
    assert lines[0] == "**authorized**"
    assert lines[2] == f"In **review** since 2026-11-22T05:46:00+00:00: timeout. {command}"
    bench.fakes.script("inquire", await bench.settled("captured", 2))
    assert await handle.result() == "captured"
    assert "review" not in await details(handle)
    await replay(handle)


async def test_what_must_be_undone_is_reversed_until_the_acquirer_confirms(bench: Bench) -> None:
    due = ReversalDue(SCHEDULE, "amount_mismatch")
    bench.fakes.script("authorize", due)
    bench.fakes.script("reverse", due, due, await bench.settled("failed", 2))
    handle = await bench.start_payment()
    assert await handle.result() == "failed"
    assert bench.fakes.names == ["authorize", "reverse", "reverse", "reverse"]
    assert await timers_s(handle) == [1, 2]
    await replay(handle)


async def test_a_reversal_that_came_too_early_goes_back_to_asking(bench: Bench) -> None:
    bench.fakes.script("authorize", UNKNOWN)
    bench.fakes.script("inquire", ReversalDue(SCHEDULE, "not_found"), await bench.settled("captured", 2))
    bench.fakes.script("reverse", UNKNOWN)
    assert await (await bench.start_payment()).result() == "captured"
    assert bench.fakes.names == ["authorize", "inquire", "reverse", "inquire"]


async def test_a_create_that_cannot_be_sent_fails_its_run_and_leaves_the_payment_as_it_is(
    bench: Bench,
) -> None:
    nothing = NothingSent("not_sent", may_retry=True)
    bench.fakes.script("authorize", nothing)
    bench.fakes.script("give_up", NothingSent("not_sent", may_retry=False))
    handle = await bench.start_payment()
    assert await failure_type(handle) == "nothing_sent"
    assert await timers_s(handle) == list(NOT_SENT_RETRIES_S)
    assert bench.fakes.names == ["authorize"] * (1 + len(NOT_SENT_RETRIES_S)) + ["give_up"]
    await replay(handle)


async def test_a_create_without_its_card_is_not_tried_again(bench: Bench) -> None:
    nothing = NothingSent("not_sent", may_retry=False)
    bench.fakes.script("authorize", nothing)
    bench.fakes.script("give_up", nothing)
    handle = await bench.start_payment()
    assert await failure_type(handle) == "nothing_sent"
    assert (bench.fakes.names, await timers_s(handle)) == (["authorize", "give_up"], [])


async def test_a_create_that_was_answered_with_202_ends_as_failed(bench: Bench) -> None:
    bench.fakes.script("authorize", NothingSent("not_sent", may_retry=False))
    bench.fakes.script("give_up", await bench.settled("failed", 2))
    assert await (await bench.start_payment()).result() == "failed"


async def test_a_create_that_fails_goes_on_with_its_key(bench: Bench) -> None:
    nothing = NothingSent("not_sent", may_retry=False)
    bench.fakes.script("authorize", nothing, await bench.settled("captured", 2))
    bench.fakes.script("give_up", nothing)
    assert await failure_type(await bench.start_payment()) == "nothing_sent"
    assert await (await bench.start_payment()).result() == "captured"


async def test_a_capture_that_cannot_be_sent_is_tried_again_ever_more_slowly(bench: Bench) -> None:
    nothing = NothingSent("not_sent", may_retry=True)
    bench.fakes.script("authorize", await bench.settled("authorized", 1, ends_in_s=7 * DAY_S))
    bench.fakes.script("capture", *[nothing] * 5, await bench.settled("captured", 2))
    handle = await bench.start_payment()
    await bench.authorized(handle)
    update = await start_capture(handle, bench)
    assert await handle.result() == "captured"
    assert await update.result() == "captured"
    assert (await timers_s(handle))[1:] == [0.5, 1, 2, 4, 8]
    assert bench.fakes.names == ["authorize"] + ["capture"] * 6


async def test_a_terminated_workflow_resumes_with_what_is_pending_in_postgres(bench: Bench) -> None:
    capture = bench.operation(K.CAPTURE)
    authorized = await bench.settled("authorized", 1, ends_in_s=DAY_S)
    bench.fakes.script(
        "authorize",
        authorized,
        Settled("authorized", True, 1, authorized.capture_before, pending=capture),
    )
    bench.fakes.script("capture", await bench.settled("captured", 2))
    first = await bench.start_payment()
    await bench.authorized(first)
    await first.terminate("one click in the Web UI")
    resumed = await bench.start_payment()
    assert await resumed.result() == "captured"
    assert bench.fakes.names == ["authorize", "authorize", "capture"]
    assert bench.fakes.made("capture")[0].request == capture
    await replay(resumed)


async def test_an_update_and_a_resumed_run_share_one_settling(bench: Bench) -> None:
    capture, may_go_on = bench.operation(K.CAPTURE), asyncio.Event()
    done = await bench.settled("captured", 3)

    async def when_told() -> Progress:
        await may_go_on.wait()
        return done

    bench.fakes.script("authorize", Settled("authorized", open=True, sequence=1, pending=capture))
    bench.fakes.script("capture", UNKNOWN)
    bench.fakes.script("inquire", when_told)
    handle = await bench.start_payment()
    ended = asyncio.create_task(handle.result())

    async def asked() -> bool:
        return "inquire" in bench.fakes.names

    await eventually(asked)
    update = await start_capture(handle, bench)
    may_go_on.set()
    assert [await ended, await update.result()] == ["captured", "captured"]
    assert bench.fakes.names == ["authorize", "capture", "inquire"]
    await replay(handle)


async def test_what_is_older_than_what_is_known_is_not_taken_over(bench: Bench) -> None:
    """A second look at the payment that was read before the capture arrives after its outcome."""
    may_go_on = asyncio.Event()
    stale = await bench.settled("authorized", 1, ends_in_s=DAY_S)

    async def when_told() -> Progress:
        await may_go_on.wait()
        return stale

    bench.fakes.script("authorize", stale)
    bench.fakes.script("capture", UNKNOWN)
    bench.fakes.script("inquire", when_told)
    bench.fakes.script("void", await bench.settled("captured", 3))
    handle = await bench.start_payment()
    await bench.authorized(handle)
    slow = await start_capture(handle, bench)
    assert await handle.execute_update(VOID, bench.operation(K.VOID)) == "captured"
    may_go_on.set()
    assert await handle.result() == "captured"
    assert await slow.result() == "authorized"


async def test_a_cancelled_workflow_ends_as_cancelled(bench: Bench) -> None:
    bench.fakes.script("authorize", await bench.settled("authorized", 1, ends_in_s=DAY_S))
    handle = await bench.start_payment()
    await bench.authorized(handle)
    await handle.cancel()

    async def cancelled() -> bool:
        return (await handle.describe()).status is WorkflowExecutionStatus.CANCELED

    await eventually(cancelled)


async def start_capture(handle: WorkflowHandle[Any, str], bench: Bench) -> WorkflowUpdateHandle[str]:
    operation = bench.operation(K.CAPTURE)
    update: WorkflowUpdateHandle[str] = await handle.start_update(
        CAPTURE,
        operation,
        id=operation.operation_id,
        wait_for_stage=WorkflowUpdateStage.ACCEPTED,
    )
    return update


async def test_a_run_that_is_doubted_attempts_nothing_that_is_not(bench: Bench) -> None:
    """Neither the authorization, nor what it finds pending, nor an update that comes later."""
    found = bench.operation(K.CAPTURE, 1)
    still_open = await bench.settled("authorized", 1, ends_in_s=DAY_S)
    bench.fakes.script("authorize", replace(still_open, pending=found))
    bench.fakes.script("capture", replace(still_open, sequence=2), await bench.settled("captured", 3))
    handle = await bench.start_payment(doubted=True)

    async def carried_on() -> bool:
        return len(bench.fakes.made("capture")) == 1

    await eventually(carried_on)
    assert await handle.execute_update(CAPTURE, bench.operation(K.CAPTURE, 2)) == "captured"
    assert bench.fakes.names == ["authorize", "capture", "capture"]
    assert all(call.request.doubted for call in bench.fakes.calls)
    await replay(handle)


async def test_a_change_that_is_doubted_is_attempted_so_by_a_run_that_is_not(bench: Bench) -> None:
    bench.fakes.script("authorize", await bench.settled("authorized", 1, ends_in_s=DAY_S))
    bench.fakes.script("capture", await bench.settled("captured", 2))
    handle = await bench.start_payment()
    await bench.authorized(handle)
    doubted = replace(bench.operation(K.CAPTURE), doubted=True)
    assert await handle.execute_update(CAPTURE, doubted) == "captured"
    assert [call.request.doubted for call in bench.fakes.calls] == [False, True]
