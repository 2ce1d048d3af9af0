"""`RefundWorkflow` and `ReversalWorkflow`: money on its way back."""

from temporalio.exceptions import ApplicationError

from activities.messages import InquiryDue, NothingSent, ReversalDue
from payonce.domain.operations import OperationKind
from payonce.domain.schedules import InquirySchedule
from tests.workflows.rig import Bench, failure_type, replay, timers_s
from workflows.refund import RefundWorkflow, ReversalWorkflow

K = OperationKind
SCHEDULE = InquirySchedule(
    first_s=(1, 2), then_every_s=4, review_after_s=10, slow_every_s=100, give_up_after_s=300
)
UNKNOWN = InquiryDue(SCHEDULE, "timeout")
DUE = ReversalDue(SCHEDULE, "outcome_unknown")


async def test_a_refund_is_one_local_activity(bench: Bench) -> None:
    bench.fakes.script("refund", await bench.settled("refunded", 5))
    handle = await bench.start(RefundWorkflow.run, K.REFUND)
    assert await handle.result() == "refunded"
    (call,) = bench.fakes.calls
    assert (call.name, call.local, call.request) == ("refund", True, bench.operation(K.REFUND))
    await replay(handle)


async def test_an_unknown_refund_is_inquired_about_to_its_end(bench: Bench) -> None:
    bench.fakes.script("refund", UNKNOWN)
    bench.fakes.script("inquire", UNKNOWN, UNKNOWN, await bench.settled("captured", 5))
    handle = await bench.start(RefundWorkflow.run, K.REFUND)
    assert await handle.result() == "captured"
    assert await timers_s(handle) == [1, 2, 4]
    await replay(handle)


async def test_a_refund_that_broke_is_inquired_about_and_never_sent_again(bench: Bench) -> None:
    bench.fakes.script("refund", ApplicationError("broken"))
    bench.fakes.script("inquire", await bench.settled("refunded", 5))
    handle = await bench.start(RefundWorkflow.run, K.REFUND)
    assert await handle.result() == "refunded"
    assert bench.fakes.names == ["refund", "inquire"]


async def test_a_release_of_its_own_is_carried_out_like_a_refund(bench: Bench) -> None:
    bench.fakes.script("undo", UNKNOWN)
    bench.fakes.script("inquire", UNKNOWN, await bench.settled("captured", 5))
    handle = await bench.start(RefundWorkflow.run, K.REVERSE)
    assert await handle.result() == "captured"
    assert bench.fakes.names == ["undo", "inquire", "inquire"]
    await replay(handle)


async def test_a_refund_that_cannot_be_sent_for_a_day_fails(bench: Bench) -> None:
    nothing = NothingSent("not_sent", may_retry=True)
    bench.fakes.script("refund", nothing)
    bench.fakes.script("give_up", await bench.settled("captured", 5))
    handle = await bench.start(RefundWorkflow.run, K.REFUND)
    assert await handle.result() == "captured"
    assert 20 * 3600 < sum(await timers_s(handle)) < 28 * 3600
    assert len(bench.fakes.made("refund")) == 151
    assert bench.fakes.names[-1] == "give_up"


async def test_a_refund_that_nobody_can_tell_anything_about_ends_with_an_operator(bench: Bench) -> None:
    bench.fakes.script("refund", UNKNOWN)
    bench.fakes.script("inquire", UNKNOWN)
    handle = await bench.start(RefundWorkflow.run, K.REFUND)
    assert await failure_type(handle) == "unresolved"
    assert len(bench.fakes.made("call_operator")) == 1


async def test_a_late_success_is_reversed_until_the_acquirer_confirms(bench: Bench) -> None:
    bench.fakes.script("reverse_late", DUE, DUE, DUE, await bench.settled("failed", 5))
    handle = await bench.start(ReversalWorkflow.run, K.REVERSE)
    assert await handle.result() == "failed"
    assert bench.fakes.names == ["reverse_late"] * 4
    assert bench.fakes.calls[0].request == bench.operation(K.REVERSE)
    assert await timers_s(handle) == [1, 2, 4]
    await replay(handle)


async def test_a_reversal_that_is_never_confirmed_calls_an_operator_and_ends(bench: Bench) -> None:
    bench.fakes.script("reverse_late", DUE)
    handle = await bench.start(ReversalWorkflow.run, K.REVERSE)
    assert await failure_type(handle) == "unresolved"
    assert [call.request[1] for call in bench.fakes.made("call_operator")] == ["outcome_unknown"]
    assert await timers_s(handle) == [1, 2, 4, 4, 100, 100, 100]
    await replay(handle)
