"""`PaymentWorkflow` with captures that stand aside: their updates end, and the run carries them to their outcome."""

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle, WorkflowUpdateHandle, WorkflowUpdateStage
from temporalio.exceptions import ApplicationError

from activities.messages import InquiryDue, OperationRequest, Progress
from payonce.domain.operations import OperationKind
from payonce.domain.schedules import UNKNOWN_ACCOUNT_INQUIRIES
from tests.support.eventually import eventually
from tests.workflows.rig import CAPTURE, Bench, replay

K = OperationKind
DAY_S = 24 * 3600.0
ACCEPTED = InquiryDue(UNKNOWN_ACCOUNT_INQUIRIES, "accepted")


async def _update(handle: WorkflowHandle[Any, str], request: OperationRequest) -> WorkflowUpdateHandle[str]:
    return await handle.start_update(
        CAPTURE, request, id=request.operation_id, wait_for_stage=WorkflowUpdateStage.ACCEPTED
    )


async def _times(bench: Bench, name: str, of: OperationRequest, times: int) -> bool:
    return [call.request for call in bench.fakes.made(name)].count(replace(of, aside=True)) >= times


async def test_the_update_ends_and_the_run_goes_on_until_each_has_its_outcome(bench: Bench) -> None:
    first, second = bench.operation(K.CAPTURE, 1), bench.operation(K.CAPTURE, 2)
    authorized = await bench.settled("authorized", 1, ends_in_s=DAY_S)
    one, both = replace(authorized, accepted=[first]), replace(authorized, accepted=[first, second])
    told, captured = asyncio.Event(), list[str]()

    async def when_told() -> Progress:
        of, earlier = bench.fakes.made("inquire")[-1].request, len(captured)
        await told.wait()
        if of.operation_id == first.operation_id:
            captured.append(of.operation_id)
            return replace(authorized, status="partially_captured", sequence=2, accepted=[second])
        return await bench.settled("captured", 3) if earlier else ACCEPTED

    bench.fakes.script("authorize", authorized)
    bench.fakes.script("capture", one, ACCEPTED, both, ACCEPTED)
    bench.fakes.script("inquire", when_told)
    handle = await bench.start_payment()
    await bench.authorized(handle)
    for number, of in enumerate((first, second), start=1):
        assert await (await _update(handle, of)).result() == "authorized"
        await eventually(partial(_times, bench, "capture", of, 1))
        assert len(bench.fakes.made("capture")) == 2 * number
    told.set()
    assert await handle.result() == "captured"
    assert "expire" not in bench.fakes.names
    await replay(handle)


async def test_it_does_not_expire_while_one_stands_aside(bench: Bench) -> None:
    of = bench.operation(K.CAPTURE, 1)
    soon = await bench.settled("authorized", 1, ends_in_s=60)
    slow = replace(ACCEPTED, schedule=replace(UNKNOWN_ACCOUNT_INQUIRIES, first_s=(DAY_S,)))
    bench.fakes.script("authorize", replace(soon, accepted=[of]))
    bench.fakes.script("capture", slow)
    bench.fakes.script("inquire", replace(soon, status="partially_captured", sequence=2))
    bench.fakes.script("expire", await bench.settled("captured", 3))
    handle = await bench.start_payment()
    assert await handle.result() == "captured"
    assert bench.fakes.names == ["authorize", "capture", "inquire", "expire"]
    asked, expired = bench.fakes.made("inquire")[0], bench.fakes.made("expire")[0]
    assert asked.at_s < expired.at_s, "its time was over a day before"
    await replay(handle)


async def test_a_run_that_resumes_carries_on_what_stands_aside_beside_what_is_pending(bench: Bench) -> None:
    of, pending = bench.operation(K.CAPTURE, 1), bench.operation(K.CAPTURE, 2)
    found = await bench.settled("authorized", 1, ends_in_s=DAY_S)
    bench.fakes.script("authorize", replace(found, accepted=[of], pending=pending))
    done = await bench.settled("captured", 3)

    async def of_either() -> Progress:
        asked = bench.fakes.made("capture")[-1].request
        return (
            ACCEPTED if asked.operation_id == of.operation_id else replace(found, sequence=2, accepted=[of])
        )

    bench.fakes.script("capture", of_either)
    bench.fakes.script("inquire", done)
    handle = await bench.start_payment()
    assert await handle.result() == "captured"
    asked = {(call.request.operation_id, call.request.aside) for call in bench.fakes.made("capture")}
    assert asked == {(of.operation_id, True), (pending.operation_id, False)}
    assert [call.request.operation_id for call in bench.fakes.made("inquire")] == [of.operation_id]
    await replay(handle)


async def test_one_that_cannot_be_carried_on_fails_the_run_so_that_another_begins(bench: Bench) -> None:
    of = bench.operation(K.CAPTURE, 1)
    found = await bench.settled("authorized", 1, ends_in_s=DAY_S)
    bench.fakes.script("authorize", replace(found, accepted=[of]))
    bench.fakes.script("capture", ACCEPTED)
    bench.fakes.script("inquire", ApplicationError("broken", type="unresolved", non_retryable=True))
    handle = await bench.start_payment()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    await replay(handle)


async def test_what_the_acquirer_says_of_it_is_asked_at_once(bench: Bench) -> None:
    of = bench.operation(K.CAPTURE, 1)
    found = await bench.settled("authorized", 1, ends_in_s=30 * DAY_S)
    slow = replace(ACCEPTED, schedule=replace(UNKNOWN_ACCOUNT_INQUIRIES, first_s=(20 * DAY_S,)))
    bench.fakes.script("authorize", replace(found, accepted=[of]))
    bench.fakes.script("capture", slow)
    bench.fakes.script("inquire", await bench.settled("captured", 2))
    handle = await bench.start_payment()
    await eventually(partial(_times, bench, "capture", of, 1))
    await handle.signal("acquirer_spoke", args=[of, "op-1"])
    assert await handle.result() == "captured"
    assert "hear" not in bench.fakes.names
    await replay(handle)
