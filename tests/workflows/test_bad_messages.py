"""What a person or a bug sends to a workflow never stops it: refused or ignored in words, and the run goes on.

A handler that raises fails the workflow task, which is then tried again for ever: nothing of the payment moves.
"""

import asyncio
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from activities.messages import InquiryDue, OperationRequest, Progress
from payonce.domain.operations import OperationKind
from payonce.domain.schedules import UNKNOWN_ACCOUNT_INQUIRIES
from tests.support.eventually import eventually
from tests.workflows.rig import CAPTURE, SPOKE, VOID, WORKFLOWS, Bench, details, event_types, replay
from workers.webhooks.dispatch import WEBHOOK_WORKFLOWS
from workflows.callback import CallbackWorkflow
from workflows.refund import RefundWorkflow, ReversalWorkflow

K = OperationKind
DAY_S = 24 * 3600.0
OTHERS = OperationRequest("pay_of_another", "op_of_another", K.CAPTURE)
BROKEN = RawValue(Payload(metadata={"encoding": b"json/plain"}, data=b"{"))
FOREIGN = RawValue(Payload(metadata={"encoding": b"binary/encrypted"}, data=b"\x00"))
BYTES = RawValue(Payload(metadata={"encoding": b"binary/plain"}, data=b"pay_1"))
UNUSABLE: dict[str, list[Any]] = {
    "nothing": [],
    "null": [None],
    "two nulls": [None, None],
    "a text": ["capture it"],
    "a number": [1, 2],
    "a list": [[1, 2], "pay_1-1"],
    "an empty object": [{}, "pay_1-1"],
    "an unknown kind": [{"payment_id": "pay_1", "operation_id": "op_1", "kind": "steal"}, "pay_1-1"],
    "no JSON": [BROKEN],
    "no JSON, twice": [BROKEN, BROKEN],
    "an encoding of nobody's": [FOREIGN, FOREIGN],
    "bytes": [BYTES, BYTES],
    "another payment's": [OTHERS, "op_of_another-1"],
}
WRONG_OF_A_SIGNAL: dict[str, list[Any]] = {
    "one too few": [OTHERS],
    "one too many": [OTHERS, "pay_1-1", "pay_1-1"],
}


def wrong_references(bench: Bench) -> dict[str, list[Any]]:
    """The payment's own operation, with what is no reference of ours."""
    ours = bench.operation(K.CAPTURE)
    return {
        repr(text)[:20]: [ours, text]
        for text in (None, 1, "", "a\x00b", "with space", "x" * 300, ["pay_1-1"])
    }


async def failed_tasks(handle: WorkflowHandle[Any, Any]) -> int:
    return list(await event_types(handle)).count(EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)


async def authorized(bench: Bench) -> WorkflowHandle[Any, str]:
    """An open payment that will be captured when it is asked for."""
    bench.fakes.script("authorize", await bench.settled("authorized", 1, ends_in_s=7 * DAY_S))
    bench.fakes.script("capture", await bench.settled("captured", 2))
    handle = await bench.start_payment()
    await bench.authorized(handle)
    return handle


async def is_captured(bench: Bench, handle: WorkflowHandle[Any, str]) -> None:
    """The run did not stand still: the next capture succeeds, and all that came before replays."""
    assert await handle.execute_update(CAPTURE, bench.operation(K.CAPTURE), id="op") == "captured"
    assert await handle.result() == "captured"
    assert await failed_tasks(handle) == 0
    await replay(handle)


@pytest.mark.parametrize("name", ["acquirer_spoke", "capture", "no such signal", ""])
async def test_a_signal_without_input_does_not_stop_a_payment(bench: Bench, name: str) -> None:
    """As `temporal workflow signal` and the Web UI send it."""
    handle = await authorized(bench)
    await bench.environment.client.workflow_service.signal_workflow_execution(
        SignalWorkflowExecutionRequest(
            namespace="default", workflow_execution=WorkflowExecution(workflow_id=handle.id), signal_name=name
        )
    )
    await is_captured(bench, handle)
    assert bench.fakes.made("hear") == []


async def test_a_signal_of_no_use_has_no_effect_and_the_details_say_so(bench: Bench) -> None:
    handle = await authorized(bench)
    for sent in [*UNUSABLE.values(), *WRONG_OF_A_SIGNAL.values(), *wrong_references(bench).values()]:
        await handle.signal(SPOKE, args=sent)
    assert "The last signal had no effect: " in await details(handle)
    await is_captured(bench, handle)
    assert bench.fakes.made("hear") == []


async def test_a_signal_about_an_operation_that_does_not_exist_ends_no_run(bench: Bench) -> None:
    handle = await authorized(bench)
    bench.fakes.script("hear", ApplicationError("no such attempt", type="NotFound", non_retryable=True))
    await handle.signal(SPOKE, args=[bench.operation(K.CAPTURE, 9), "op_9-1"])

    async def asked() -> bool:
        return bool(bench.fakes.made("hear"))

    await eventually(asked)
    await is_captured(bench, handle)


async def test_an_acquirer_that_never_answers_what_it_spoke_of_ends_no_run(bench: Bench) -> None:
    """What it spoke of is not under way: the inquiries are used up, and the payment is open all the same."""
    handle = await authorized(bench)
    brief = UNKNOWN_ACCOUNT_INQUIRIES.__class__(
        first_s=(), then_every_s=1, review_after_s=5, slow_every_s=1, give_up_after_s=5
    )
    bench.fakes.script("hear", InquiryDue(brief, "timeout"))
    await handle.signal(SPOKE, args=[bench.operation(K.CAPTURE, 9), "op_9-1"])

    async def given_up() -> bool:
        return len(bench.fakes.made("hear")) > 5

    await eventually(given_up)
    await bench.environment.sleep(10)
    await is_captured(bench, handle)


@pytest.mark.parametrize("update", ["capture", "void"])
async def test_an_update_of_no_use_is_refused_and_nothing_happens(bench: Bench, update: str) -> None:
    handle = await authorized(bench)
    for name, sent in UNUSABLE.items():
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await asyncio.wait_for(handle.execute_update(update, args=sent), timeout=20)
        assert isinstance(refused.value.cause, ApplicationError), name
    assert bench.fakes.names == ["authorize"]
    await is_captured(bench, handle)


async def test_an_update_says_why_it_is_refused(bench: Bench) -> None:
    handle = await authorized(bench)
    for update, sent, why in (
        (CAPTURE, OTHERS, "another payment's operation"),
        (CAPTURE, bench.operation(K.VOID), "not a capture: void"),
        (VOID, bench.operation(K.AUTHORIZE), "not a void: authorize"),
        (CAPTURE, OperationRequest(bench.payment_id, "op\x00", K.CAPTURE), "no operation's id"),
    ):
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await asyncio.wait_for(handle.execute_update(update, sent), timeout=20)
        assert isinstance(refused.value.cause, ApplicationError)
        assert (refused.value.cause.message, refused.value.cause.type) == (why, "refused")
    await is_captured(bench, handle)


async def test_an_unknown_update_and_an_unknown_query_are_refused(bench: Bench) -> None:
    handle = await authorized(bench)
    with pytest.raises(WorkflowUpdateFailedError):
        await asyncio.wait_for(handle.execute_update("refund", "please"), timeout=20)
    with pytest.raises(Exception, match="secrets"):
        await handle.query("secrets")
    await is_captured(bench, handle)


async def test_a_signal_of_no_use_does_not_stop_a_refund(bench: Bench) -> None:
    may_go_on = asyncio.Event()
    done = await bench.settled("refunded", 5)

    async def when_told() -> Progress:
        await may_go_on.wait()
        return done

    bench.fakes.script("refund", InquiryDue(UNKNOWN_ACCOUNT_INQUIRIES, "timeout"))
    bench.fakes.script("inquire", when_told)
    handle = await bench.start(RefundWorkflow.run, K.REFUND)
    another = OperationRequest(bench.payment_id, "re_another", K.REFUND)
    for sent in [*UNUSABLE.values(), *WRONG_OF_A_SIGNAL.values(), [another, "re_another-1"]]:
        await handle.signal(SPOKE, args=sent)
    await handle.signal("no such signal")
    assert "The last signal had no effect: " in await details(handle)
    may_go_on.set()
    assert await handle.result() == "refunded"
    assert bench.fakes.names == ["refund", "inquire"]
    assert await failed_tasks(handle) == 0
    await replay(handle)


async def test_what_a_refund_is_told_wrongly_does_not_fail_it_after_its_outcome(bench: Bench) -> None:
    """The reference is none of its attempts': when it is asked about at last, nobody knows it."""
    bench.fakes.script("refund", InquiryDue(UNKNOWN_ACCOUNT_INQUIRIES, "timeout"))
    handle: list[WorkflowHandle[Any, str]] = []
    done = await bench.settled("refunded", 5)

    async def told_meanwhile() -> Progress:
        await handle[0].signal(SPOKE, args=[bench.operation(K.REFUND), "re_unknown-1"])
        return done

    bench.fakes.script("inquire", told_meanwhile)
    bench.fakes.script("hear", ApplicationError("no such attempt", type="NotFound", non_retryable=True))
    handle.append(await bench.start(RefundWorkflow.run, K.REFUND))
    assert await handle[0].result() == "refunded"
    assert bench.fakes.names == ["refund", "inquire", "hear"]


async def test_signals_do_not_stop_a_reversal_and_a_follow_up(bench: Bench) -> None:
    bench.fakes.script("reverse_late", await bench.settled("failed", 5))
    bench.fakes.script("hear", await bench.settled("captured", 5))
    reversal = await bench.start(ReversalWorkflow.run, K.REVERSE)
    callback: WorkflowHandle[Any, str] = await bench.environment.client.start_workflow(
        CallbackWorkflow.run,
        args=[bench.operation(K.CAPTURE), "op-1"],
        id=f"cb_{bench.payment_id}",
        task_queue=bench.queue,
        start_signal=SPOKE,
    )
    assert [await reversal.result(), await callback.result()] == ["failed", "captured"]
    assert [await failed_tasks(reversal), await failed_tasks(callback)] == [0, 0]


@pytest.mark.parametrize("workflow", [*WEBHOOK_WORKFLOWS, *WORKFLOWS])
def test_every_workflow_takes_whatever_is_signalled(workflow: Any) -> None:
    """As raw payloads: the SDK decodes nothing, so that nothing can fail before our code looks at it."""
    signals = workflow.__temporal_workflow_definition.signals
    assert list(signals) == [None], "one handler, whatever the name"
    assert not signals[None].dynamic_vararg
