"""Payments that a customer completes: waiting, hearing from the acquirer, and asking it on the rail's schedule."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from activities.messages import (
    ActionDue,
    InquiryDue,
    LegDue,
    NothingSent,
    OperationRequest,
    Progress,
    ReversalDue,
    Settled,
)
from payonce.domain.operations import OperationKind
from payonce.domain.schedules import CUSTOMER_INQUIRIES, LOOKS, InquirySchedule
from tests.support.eventually import eventually
from tests.workflows.rig import SPOKE, VOID, Bench, failure_type, replay
from workflows.callback import CallbackWorkflow
from workflows.refund import RefundWorkflow

K = OperationKind
MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 24 * 3600.0
# In minutes: the server's clock goes on while the machine stands still, and skips the rest.
SCHEDULE = InquirySchedule(
    first_s=(5 * MINUTE_S, 10 * MINUTE_S),
    then_every_s=20 * MINUTE_S,
    review_after_s=1000 * MINUTE_S,
    slow_every_s=100 * MINUTE_S,
    give_up_after_s=5000 * MINUTE_S,
)
DAILY = InquirySchedule(
    first_s=(), then_every_s=DAY_S, review_after_s=1e9, slow_every_s=DAY_S, give_up_after_s=1e9
)
CAPTURED = Settled("captured", open=False, sequence=3)
FAILED = Settled("failed", open=False, sequence=2)


async def asked(bench: Bench, *, for_s: float, schedule: InquirySchedule = SCHEDULE) -> ActionDue:
    until = await bench.environment.get_current_time() + timedelta(seconds=for_s)
    return ActionDue(until, schedule, "upi_qr")


def create(bench: Bench) -> OperationRequest:
    return OperationRequest(bench.payment_id, bench.payment_id, K.AUTHORIZE)


async def speak(
    bench: Bench, handle: WorkflowHandle[Any, str], operation: OperationRequest | None = None
) -> None:
    await handle.signal(SPOKE, args=[operation or create(bench), "pay_1-1"])


def made_min(bench: Bench, begun_s: float, kind: OperationKind | None = None) -> list[int]:
    """When the acquirer was asked (about operations of this kind), in minutes from the beginning."""
    asked_about = [call for call in bench.fakes.made("inquire") if kind in (None, call.request.kind)]
    return [round((call.at_s - begun_s) / MINUTE_S) for call in asked_about]


async def waiting(bench: Bench, handle: WorkflowHandle[Any, str]) -> None:
    await bench.authorized(handle)


async def test_the_rail_is_asked_on_its_schedule_and_at_the_windows_end(bench: Bench) -> None:
    due = await asked(bench, for_s=30 * MINUTE_S)
    begun_s = await bench.now_s()
    bench.fakes.script("authorize", due)
    bench.fakes.script("inquire", due, due, InquiryDue(SCHEDULE, "unknown"), CAPTURED)
    handle = await bench.start_payment()
    assert await handle.result() == "captured"
    made = made_min(bench, begun_s)
    assert made[:3] == pytest.approx([5, 15, 30], abs=1)
    assert made[3] > made[2]
    await replay(handle)


async def _legs(bench: Bench, number: int) -> bool:
    return len(bench.fakes.made("resume")) == number


async def test_a_customer_who_is_back_has_a_second_leg_and_after_an_invalid_one_the_next(
    bench: Bench,
) -> None:
    """In activities of their own, so that an operator sees them; then the run waits as before."""
    due = await asked(bench, for_s=HOUR_S, schedule=CUSTOMER_INQUIRIES)
    bench.fakes.script("authorize", due)
    bench.fakes.script("inquire", LegDue(), LegDue())
    bench.fakes.script("resume", LegDue(), due, CAPTURED)
    handle = await bench.start_payment()
    await waiting(bench, handle)
    await speak(bench, handle)
    await eventually(lambda: _legs(bench, 2))
    await speak(bench, handle)
    assert await handle.result() == "captured"
    steps = [name for name in bench.fakes.names if name in ("inquire", "resume")]
    assert steps == ["inquire", "resume", "resume", "inquire", "resume"]
    await replay(handle)


async def test_what_the_acquirer_says_is_asked_about_at_once(bench: Bench) -> None:
    bench.fakes.script("authorize", await asked(bench, for_s=HOUR_S, schedule=CUSTOMER_INQUIRIES))
    bench.fakes.script("inquire", CAPTURED)
    handle = await bench.start_payment()
    await waiting(bench, handle)
    begun_s = await bench.now_s()
    await speak(bench, handle)
    assert await handle.result() == "captured"
    assert made_min(bench, begun_s) == [0]
    await replay(handle)


async def test_what_is_said_in_processing_is_asked_about_at_once_too(bench: Bench) -> None:
    """A window has passed without a definite answer, and the rail is asked once a day."""
    bench.fakes.script("authorize", InquiryDue(DAILY, "unknown"))
    bench.fakes.script("inquire", CAPTURED)
    handle = await bench.start_payment()
    await waiting(bench, handle)
    begun_s = await bench.now_s()
    await speak(bench, handle)
    assert await handle.result() == "captured"
    assert made_min(bench, begun_s) == [0]


async def test_a_lie_costs_an_inquiry_and_nothing_else(bench: Bench) -> None:
    due = await asked(bench, for_s=600 * MINUTE_S)
    bench.fakes.script("authorize", due)
    bench.fakes.script("inquire", due, due, due, CAPTURED)
    handle = await bench.start_payment()
    await waiting(bench, handle)
    for inquiries in range(3):
        await speak(bench, handle)
        await eventually(said(bench, inquiries + 1))
    assert await handle.result() == "captured"
    assert len(bench.fakes.made("inquire")) >= 4


def said(bench: Bench, inquiries: int) -> Callable[[], Any]:
    async def enough() -> bool:
        return len(bench.fakes.made("inquire")) >= inquiries

    return enough


async def test_the_production_schedule_asks_seldom(bench: Bench) -> None:
    """Not before 90 s, at most three times within two hours, then once a day."""
    due = await asked(bench, for_s=15 * 60, schedule=CUSTOMER_INQUIRIES)
    unknown = InquiryDue(CUSTOMER_INQUIRIES, "unknown")
    begun_s = await bench.now_s()
    bench.fakes.script("authorize", due)
    bench.fakes.script("inquire", due, unknown, unknown, unknown, unknown, CAPTURED)
    bench.fakes.script("call_operator")
    assert await (await bench.start_payment()).result() == "captured"
    made = [round(call.at_s - begun_s) for call in bench.fakes.made("inquire")]
    assert made[0] >= 90
    assert len([at for at in made if at <= 2 * HOUR_S]) <= 3
    later = made[3:]
    assert all(after - before >= DAY_S - 60 for before, after in pairwise(later))


async def test_a_definite_no_of_the_rail_ends_it(bench: Bench) -> None:
    bench.fakes.script("authorize", await asked(bench, for_s=30))
    bench.fakes.script("inquire", FAILED)
    assert await (await bench.start_payment()).result() == "failed"


async def test_a_message_while_the_last_answer_is_recorded_is_not_lost(bench: Bench) -> None:
    """The rail said `expired`, and while that was recorded it changed its mind."""
    bench.fakes.script("authorize", await asked(bench, for_s=30))
    bench.fakes.script("hear", FAILED)
    handle: list[WorkflowHandle[Any, str]] = []

    async def expired() -> Progress:
        await speak(bench, handle[0])
        return FAILED

    bench.fakes.script("inquire", expired)
    handle.append(await bench.start_payment())
    assert await handle[0].result() == "failed"
    assert [call.request for call in bench.fakes.made("hear")] == [(create(bench), "pay_1-1")]
    await replay(handle[0])


async def test_an_abandoned_payment_ends_with_its_reversal(bench: Bench) -> None:
    voided = Settled("voided", open=False, sequence=2)
    bench.fakes.script("authorize", await asked(bench, for_s=HOUR_S, schedule=CUSTOMER_INQUIRIES))
    bench.fakes.script("void", ReversalDue(SCHEDULE, "abandoned"))
    bench.fakes.script("reverse", voided)
    bench.fakes.script("inquire", voided)
    handle = await bench.start_payment()
    await waiting(bench, handle)
    begun_s = await bench.now_s()
    assert await handle.execute_update(VOID, bench.operation(K.VOID)) == "voided"
    assert await handle.result() == "voided"
    assert made_min(bench, begun_s) == [0]  # not at the next inquiry, 90 s later
    await replay(handle)


async def test_what_the_acquirer_cannot_cancel_is_asked_about_and_cancelled_in_turn(bench: Bench) -> None:
    """On the rail's schedule, until there is an outcome; the authorization's own run looks on."""
    voided = Settled("voided", open=False, sequence=2)
    due = InquiryDue(SCHEDULE, "ends_itself")
    bench.fakes.script("authorize", await asked(bench, for_s=DAY_S, schedule=DAILY))
    bench.fakes.script("void", ReversalDue(SCHEDULE, "abandoned"))
    bench.fakes.script("reverse", due)
    again = ReversalDue(SCHEDULE, "unknown")
    bench.fakes.script("inquire", again, again, again, voided)
    handle = await bench.start_payment()
    await waiting(bench, handle)
    begun_s = await bench.now_s()
    assert await bench.told_to_end(handle, VOID, bench.operation(K.VOID)) == ("voided", "voided")
    assert made_min(bench, begun_s, K.VOID) == pytest.approx([5, 15, 35, 55], abs=1)
    assert len(bench.fakes.made("reverse")) == 4
    await replay(handle)


async def test_what_was_left_alone_is_cancelled_when_its_time_is_over(bench: Bench) -> None:
    """At once, and again on the schedule where the acquirer does not answer."""
    due = await asked(bench, for_s=4 * MINUTE_S)
    left = ReversalDue(SCHEDULE, "left_alone")
    begun_s = await bench.now_s()
    bench.fakes.script("authorize", due)
    bench.fakes.script("inquire", left)
    bench.fakes.script("reverse", InquiryDue(SCHEDULE, "outcome_unknown"), FAILED)
    handle = await bench.start_payment()
    assert await handle.result() == "failed"
    assert made_min(bench, begun_s) == pytest.approx([4, 14], abs=1)
    assert bench.fakes.names == ["authorize", "inquire", "reverse", "inquire", "reverse"]
    await replay(handle)


async def test_a_success_that_is_authorized_only_is_then_voided(bench: Bench) -> None:
    bench.fakes.script("authorize", await asked(bench, for_s=HOUR_S, schedule=CUSTOMER_INQUIRIES))
    voided = Settled("voided", open=False, sequence=3)
    bench.fakes.script("void", ReversalDue(SCHEDULE, "abandoned"), voided)
    bench.fakes.script("reverse", NothingSent("not_sent", may_retry=True))
    bench.fakes.script("inquire", voided)
    handle = await bench.start_payment()
    await waiting(bench, handle)
    assert await handle.execute_update(VOID, bench.operation(K.VOID)) == "voided"
    assert len(bench.fakes.made("void")) == 2
    assert await handle.result() == "voided"
    await replay(handle)


@pytest.mark.parametrize("resumed", [False, True])
async def test_a_payment_stays_for_a_void_that_a_refund_ends(bench: Bench, resumed: bool) -> None:
    """Nobody may be left who waits for it: a run that resumes another one finds it in Postgres."""
    void = bench.operation(K.VOID)
    refunding = Settled("captured", open=True, sequence=3, pending=void)
    refunded = Settled("refunded", open=False, sequence=5)
    looks = InquiryDue(LOOKS, "refund")
    bench.fakes.script("void", looks)
    bench.fakes.script("inquire", looks, looks, refunded)
    if resumed:
        bench.fakes.script("authorize", refunding)
        handle = await bench.start_payment()
    else:
        bench.fakes.script("authorize", await asked(bench, for_s=HOUR_S, schedule=CUSTOMER_INQUIRIES))
        handle = await bench.start_payment()
        await waiting(bench, handle)
        assert await bench.told_to_end(handle, VOID, void) == ("refunded", "refunded")
    assert await handle.result() == "refunded"
    assert [call.request for call in bench.fakes.made("void")] == [void]
    await replay(handle)


async def test_a_message_about_what_is_not_under_way_is_heard(bench: Bench) -> None:
    bench.fakes.script("authorize", await bench.settled("authorized", 1, ends_in_s=HOUR_S))
    bench.fakes.script("hear", CAPTURED)
    handle = await bench.start_payment()
    await waiting(bench, handle)
    await speak(bench, handle)
    assert await handle.result() == "captured"


async def test_a_refund_hears_too(bench: Bench) -> None:
    bench.fakes.script("refund", InquiryDue(DAILY, "pending"))
    bench.fakes.script("inquire", Settled("refunded", open=False, sequence=4))
    handle = await bench.start(RefundWorkflow.run, K.REFUND)
    await bench.authorized(handle)
    begun_s = await bench.now_s()
    await handle.signal(SPOKE, args=[bench.operation(K.REFUND), "re_1-1"])
    assert await handle.result() == "refunded"
    assert made_min(bench, begun_s) == [0]


async def test_a_message_that_nobody_waits_for_is_followed_up_by_a_workflow_of_its_own(bench: Bench) -> None:
    bench.fakes.script("hear", InquiryDue(SCHEDULE, "timeout"), InquiryDue(SCHEDULE, "timeout"), FAILED)
    handle = await bench.environment.client.start_workflow(
        CallbackWorkflow.run,
        args=[create(bench), "pay_1-1"],
        id=f"cb_{bench.payment_id}",
        task_queue=bench.queue,
    )
    assert await handle.result() == "failed"
    assert len(bench.fakes.made("hear")) == 3
    await replay(handle)


async def test_what_the_acquirer_says_meanwhile_makes_the_one_workflow_ask_again(bench: Bench) -> None:
    """Issue 14, 6: one open run for an attempt; whatever comes in one answer's time costs one more."""
    handle: list[WorkflowHandle[Any, str]] = []

    async def told_meanwhile() -> Progress:
        for _ in range(20):
            await handle[0].signal(SPOKE, args=[create(bench), "pay_1-1"])
        return FAILED

    bench.fakes.script("hear", told_meanwhile, CAPTURED)
    handle.append(
        await bench.environment.client.start_workflow(
            CallbackWorkflow.run,
            args=[create(bench), "pay_1-1"],
            id=f"cb_{bench.payment_id}",
            task_queue=bench.queue,
        )
    )
    assert await handle[0].result() == "captured"
    assert len(bench.fakes.made("hear")) == 2
    await replay(handle[0])


async def test_an_acquirer_that_never_answers_ends_unresolved(bench: Bench) -> None:
    bench.fakes.script("hear", InquiryDue(SCHEDULE, "timeout"))
    handle = await bench.environment.client.start_workflow(
        CallbackWorkflow.run,
        args=[create(bench), "pay_1-1"],
        id=f"cb_{bench.payment_id}",
        task_queue=bench.queue,
    )
    assert await failure_type(handle) == "unresolved"


async def test_a_create_that_needs_nothing_in_memory_is_tried_again_for_minutes(bench: Bench) -> None:
    unsent = NothingSent("not_sent", may_retry=True, patient=True)
    bench.fakes.script("authorize", *([unsent] * 5), CAPTURED)
    assert await (await bench.start_payment()).result() == "captured"
    assert len(bench.fakes.made("authorize")) == 6


async def test_what_the_rail_let_expire_is_watched_for_a_while(bench: Bench) -> None:
    """Without any callback: the rail may approve it after all."""
    watch = InquirySchedule(
        first_s=(8 * MINUTE_S,),
        then_every_s=20 * MINUTE_S,
        review_after_s=60 * MINUTE_S,
        slow_every_s=60 * MINUTE_S,
        give_up_after_s=60 * MINUTE_S,
    )
    expired = Settled("failed", open=False, sequence=2, watched="pay_1-1", watch=watch)
    bench.fakes.script("authorize", await asked(bench, for_s=30))
    bench.fakes.script("inquire", expired)
    bench.fakes.script("hear", FAILED)
    handle = await bench.start_payment()
    assert await handle.result() == "failed"
    heard = bench.fakes.made("hear")
    assert [call.request for call in heard] == [(create(bench), "pay_1-1")] * 4
    await replay(handle)


async def test_a_message_that_comes_while_the_void_is_recorded_is_answered(bench: Bench) -> None:
    """The reversal was on record, so that the inquiry found the payment settled and asked nobody."""
    voided = Settled("voided", open=False, sequence=2)
    bench.fakes.script("authorize", await asked(bench, for_s=HOUR_S, schedule=CUSTOMER_INQUIRIES))
    bench.fakes.script("void", ReversalDue(SCHEDULE, "abandoned"))
    bench.fakes.script("inquire", replace(voided, asked=False))
    bench.fakes.script("hear", voided)
    handle: list[WorkflowHandle[Any, str]] = []

    async def reversed_() -> Progress:
        await speak(bench, handle[0])
        return voided

    bench.fakes.script("reverse", reversed_)
    handle.append(await bench.start_payment())
    await waiting(bench, handle[0])
    assert await handle[0].execute_update(VOID, bench.operation(OperationKind.VOID)) == "voided"
    assert await handle[0].result() == "voided"
    assert [call.request for call in bench.fakes.made("hear")] == [(create(bench), "pay_1-1")]
    await replay(handle[0])
