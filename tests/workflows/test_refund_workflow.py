"""`RefundWorkflow` and `ReversalWorkflow`: money on its way back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.exceptions import ApplicationError

from activities.messages import InquiryDue, NothingSent, ReversalDue
from activities.replaying import DONE_BY_OTHERS
from payonce.domain.operations import OperationKind
from payonce.domain.schedules import InquirySchedule
from tests.workflows.rig import Bench, details, replay, timers_s
from workflows.refund import RefundWorkflow, ReversalWorkflow

K = OperationKind
SCHEDULE = InquirySchedule(
    first_s=(1, 2), then_every_s=4, review_after_s=10, slow_every_s=100, give_up_after_s=300
)
UNKNOWN = InquiryDue(SCHEDULE, "timeout")
DUE = ReversalDue(SCHEDULE, "outcome_unknown")
DAY_S = 24 * 3600.0
SINCE = datetime(2026, 11, 22, 5, 46, tzinfo=UTC)


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


@pytest.mark.parametrize("claimed", [True, False])
async def test_a_refund_whose_attempt_postgres_forgot_is_inquired_about_before_it_is_sent(
    bench: Bench, claimed: bool
) -> None:
    """Its process may not have seen the fail-over; that there was an attempt, this run has."""
    seen = replace(UNKNOWN, claimed_at=await bench.environment.get_current_time()) if claimed else UNKNOWN
    bench.fakes.script("refund", seen, await bench.settled("refunded", 5))
    bench.fakes.script("inquire", NothingSent("not_sent", may_retry=True, no_attempt=True))
    handle = await bench.start(RefundWorkflow.run, K.REFUND)
    assert await handle.result() == "refunded"
    again = bench.fakes.made("refund")[-1].request
    assert again == replace(bench.operation(K.REFUND), doubted=claimed)
    await replay(handle)


@pytest.mark.parametrize("older_s", [0, 1])
async def test_a_later_attempt_that_postgres_forgot_is_inquired_about_as_well(
    bench: Bench, older_s: int
) -> None:
    """An earlier one, which was not sent, is still there. One that was given back since is none of those."""
    claimed_at = await bench.environment.get_current_time()
    bench.fakes.script("refund", replace(UNKNOWN, claimed_at=claimed_at), await bench.settled("refunded", 5))
    older = claimed_at - timedelta(seconds=older_s)
    bench.fakes.script("inquire", NothingSent("not_sent", may_retry=True, claimed_at=older))
    handle = await bench.start(RefundWorkflow.run, K.REFUND)
    assert await handle.result() == "refunded"
    again = bench.fakes.made("refund")[-1].request
    assert again == replace(bench.operation(K.REFUND), doubted=older_s > 0)
    await replay(handle)


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


async def test_a_refund_that_is_unknown_for_a_month_is_asked_about_daily_and_an_operator_called_once(
    bench: Bench,
) -> None:
    bench.fakes.script("refund", UNKNOWN)
    bench.fakes.script("inquire", *[UNKNOWN] * 40, await bench.settled("refunded", 5))
    handle = await bench.start(RefundWorkflow.run, K.REFUND)
    assert await handle.result() == "refunded"
    assert len(bench.fakes.made("call_operator")) == 1
    assert (await timers_s(handle))[-30:] == [DAY_S] * 30
    await replay(handle)


async def test_its_details_say_that_it_is_in_review_since_when_why_and_what_to_type(bench: Bench) -> None:
    bench.fakes.script("refund", UNKNOWN)
    bench.fakes.script("inquire", replace(UNKNOWN, review_since=SINCE))
    handle = await bench.start(RefundWorkflow.run, K.REFUND)
    await bench.environment.sleep(4)
    command = f"`payonce review show {bench.payment_id}`"
    assert f"In **review** since 2026-11-22T05:46:00+00:00: timeout. {command}" in await details(handle)
    await handle.terminate()


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("lacking", "others moved what it needs"),
        (DONE_BY_OTHERS, "others did the same"),
        ("connection_refused", "the acquirer could not be reached"),
    ],
)
async def test_its_details_say_why_nothing_is_sent(bench: Bench, reason: str, words: str) -> None:
    bench.fakes.script("refund", NothingSent(reason, may_retry=True))
    handle = await bench.start(RefundWorkflow.run, K.REFUND)
    await bench.environment.sleep(4)
    assert words in await details(handle)
    await handle.terminate()


async def test_its_details_say_nothing_of_a_review_before_there_is_one(bench: Bench) -> None:
    bench.fakes.script("refund", UNKNOWN)
    bench.fakes.script("inquire", UNKNOWN)
    handle = await bench.start(RefundWorkflow.run, K.REFUND)
    await bench.environment.sleep(4)
    assert "review" not in await details(handle)
    called = await bench.environment.get_current_time()
    await bench.environment.sleep(20)
    text = await details(handle)
    assert "In **review** since " in text
    since = datetime.fromisoformat(text.partition("since ")[2].partition(": timeout")[0])
    assert called < since < await bench.environment.get_current_time()
    await handle.terminate()


async def test_a_late_success_is_reversed_until_the_acquirer_confirms(bench: Bench) -> None:
    bench.fakes.script("reverse_late", DUE, DUE, DUE, await bench.settled("failed", 5))
    handle = await bench.start(ReversalWorkflow.run, K.REVERSE)
    assert await handle.result() == "failed"
    assert bench.fakes.names == ["reverse_late"] * 4
    assert bench.fakes.calls[0].request == bench.operation(K.REVERSE)
    assert await timers_s(handle) == [1, 2, 4]
    await replay(handle)


async def test_a_reversal_that_is_never_confirmed_calls_an_operator_once_and_goes_on_daily(
    bench: Bench,
) -> None:
    bench.fakes.script("reverse_late", *[DUE] * 12, await bench.settled("failed", 5))
    handle = await bench.start(ReversalWorkflow.run, K.REVERSE)
    assert await handle.result() == "failed"
    assert [call.request[1] for call in bench.fakes.made("call_operator")] == ["outcome_unknown"]
    assert await timers_s(handle) == [1, 2, 4, 4, 100, 100, 100, *[DAY_S] * 5]
    await replay(handle)


async def test_the_details_of_a_reversal_say_what_it_waits_for_and_that_it_is_in_review(bench: Bench) -> None:
    bench.fakes.script("reverse_late", DUE, DUE, replace(DUE, review_since=SINCE))
    handle = await bench.start(ReversalWorkflow.run, K.REVERSE)
    await bench.environment.sleep(2)
    assert await details(handle) == "Waiting for reversal 3: outcome_unknown."
    await bench.environment.sleep(6)
    command = f"`payonce review show {bench.payment_id}`"
    assert await details(handle) == (
        "Waiting for reversal 5: outcome_unknown.\n\n"
        f"In **review** since 2026-11-22T05:46:00+00:00: outcome_unknown. {command}"
    )
    await handle.terminate()
