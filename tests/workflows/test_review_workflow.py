"""`ReviewWorkflow`: shows a review, asks the acquirer once in a while, escalates, and ends with it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle
from temporalio.exceptions import ApplicationError

from activities.messages import InquiryDue, OperationRequest, Settled
from activities.review_messages import OpenReview, Over, ReviewRequest, Spoken
from payonce.domain.operations import OperationKind
from payonce.domain.schedules import UNKNOWN_ACCOUNT_INQUIRIES
from tests.support.eventually import eventually
from tests.workflows.rig import Bench, details, event_types, replay, timers_s
from workflows.review import LOOK_EVERY, LOOKS_PER_RUN, REVIEW_CHANGED, ReviewWorkflow

K = OperationKind
HOUR_S, DAY_S = 3600.0, 24 * 3600.0
SETTLED = Settled("captured", open=False, sequence=3)
SILENT = InquiryDue(UNKNOWN_ACCOUNT_INQUIRIES, "timeout")
DECIDED, FOUND = Over("decision"), Over("fact")


def request_of(bench: Bench, reason: str = "undone", ask_at: datetime | None = None) -> ReviewRequest:
    return ReviewRequest(bench.payment_id, f"op_{bench.payment_id}", reason, ask_at)


async def start(bench: Bench, request: ReviewRequest | None = None) -> WorkflowHandle[Any, str]:
    request = request or request_of(bench)
    handle: WorkflowHandle[Any, str] = await bench.environment.client.start_workflow(
        ReviewWorkflow.run, request, id=f"review-{request.operation_id}", task_queue=bench.queue
    )
    return handle


async def in_review(bench: Bench, *, due_in_s: float = 72 * HOUR_S, about: bool = True) -> OpenReview:
    """A review that begins now."""
    now = await bench.environment.get_current_time()
    spoken = Spoken(
        OperationRequest(bench.payment_id, bench.payment_id, K.AUTHORIZE), f"{bench.payment_id}-1"
    )
    return OpenReview(
        reason="undone",
        meaning="the acquirer took it back",
        words="undone_capture op_1: 1000 INR of pay_1 was taken back",
        opened_at=now,
        due_at=now + timedelta(seconds=due_in_s),
        about=spoken if about else None,
    )


def looks(bench: Bench, *standings: Any) -> None:
    bench.fakes.script("look_at_review", *standings)


def after_looks(count: int, standing: OpenReview, last: Over = DECIDED) -> list[Any]:
    return [*[standing] * count, last]


async def test_a_review_that_has_ended_already_ends_its_workflow_at_once(bench: Bench) -> None:
    looks(bench, FOUND)
    handle = await start(bench)
    assert await handle.result() == "fact"
    assert bench.fakes.names == ["look_at_review"]
    assert await details(handle) == "The review is over (fact)."
    await replay(handle)


async def test_a_review_that_postgres_does_not_know_is_gone(bench: Bench) -> None:
    looks(bench, Over(None))
    assert await (await start(bench)).result() == "gone"


async def test_it_looks_in_postgres_at_least_hourly_and_ends_with_the_review(bench: Bench) -> None:
    looks(bench, *after_looks(5, await in_review(bench)))
    handle = await start(bench)
    assert await handle.result() == "decision"
    assert len(bench.fakes.made("look_at_review")) == 6
    assert await timers_s(handle) == [LOOK_EVERY.total_seconds()] * 5
    await replay(handle)


async def test_it_asks_the_acquirer_once_a_day_about_the_attempt(bench: Bench) -> None:
    seen = await in_review(bench, due_in_s=1000 * HOUR_S)
    looks(bench, *after_looks(80, seen))
    bench.fakes.script("hear", SETTLED)
    handle = await start(bench)
    await handle.result()
    began = seen.opened_at.timestamp()
    days = [(call.at_s - began) / DAY_S for call in bench.fakes.made("hear")]
    assert [round(day, 2) for day in days] == [1.0, 2.0, 3.0]
    assert seen.about is not None
    assert bench.fakes.made("hear")[0].request == (seen.about.operation, seen.about.reference)
    await replay(handle)


async def test_a_fact_that_the_acquirer_tells_when_it_is_asked_ends_it_at_once(bench: Bench) -> None:
    seen = await in_review(bench)
    looks(bench, seen)

    async def clears_it() -> Settled:
        looks(bench, FOUND)
        return SETTLED

    bench.fakes.script("hear", clears_it)
    handle = await start(bench)
    assert await handle.result() == "fact"
    assert bench.fakes.names[-2:] == ["hear", "look_at_review"]
    assert len(bench.fakes.made("hear")) == 1


@pytest.mark.parametrize("silence", [SILENT, ApplicationError("NotFound", non_retryable=True)], ids=repr)
async def test_an_acquirer_that_does_not_answer_is_asked_again_within_an_hour(
    bench: Bench, silence: InquiryDue | ApplicationError
) -> None:
    seen = await in_review(bench)
    looks(bench, seen)
    bench.fakes.script("hear", silence, silence, SETTLED)
    handle = await start(bench)

    async def answered() -> bool:
        return len(bench.fakes.made("hear")) == 3

    await bench.environment.sleep(26.5 * HOUR_S)
    assert await answered()
    first, second, third = (call.at_s for call in bench.fakes.made("hear"))
    assert (round((second - first) / HOUR_S), round((third - second) / HOUR_S)) == (1, 1)
    await handle.terminate()


async def test_what_no_attempt_was_made_for_is_not_asked_about(bench: Bench) -> None:
    looks(bench, *after_looks(50, await in_review(bench, about=False)))
    handle = await start(bench)
    await handle.result()
    assert "hear" not in bench.fakes.names


async def test_an_overdue_review_escalates_when_it_is_due_and_once(bench: Bench) -> None:
    seen = await in_review(bench, due_in_s=1.5 * HOUR_S)
    told = replace(seen, overdue_at=seen.due_at)
    looks(bench, seen, seen, seen, *after_looks(5, told))
    handle = await start(bench)
    await handle.result()
    (call,) = bench.fakes.made("escalate_review")
    assert call.request == (request_of(bench), seen.due_at)
    assert 0 <= call.at_s - seen.due_at.timestamp() < 60
    await replay(handle)


async def test_a_review_that_was_due_before_the_run_began_escalates_at_once(bench: Bench) -> None:
    seen = await in_review(bench, due_in_s=-HOUR_S)
    looks(bench, seen, *after_looks(1, replace(seen, overdue_at=seen.due_at)))
    handle = await start(bench)
    await handle.result()
    assert bench.fakes.names[:3] == ["look_at_review", "escalate_review", "look_at_review"]


async def test_a_signal_makes_it_look_at_once(bench: Bench) -> None:
    looks(bench, await in_review(bench))
    handle = await start(bench)

    async def shown() -> bool:
        return bool(bench.fakes.made("look_at_review"))

    await eventually(shown)
    looks(bench, DECIDED)
    before = await bench.now_s()
    await handle.signal(REVIEW_CHANGED)
    assert await handle.result() == "decision"
    assert bench.fakes.calls[-1].at_s - before < HOUR_S / 2
    await replay(handle)


async def test_a_signal_without_news_in_postgres_ends_nothing_and_another_has_no_effect(bench: Bench) -> None:
    looks(bench, await in_review(bench))
    handle = await start(bench)
    for count in (1, 2, 3):  # what comes before the first look is news to that one

        async def looked(count: int = count) -> bool:
            return len(bench.fakes.made("look_at_review")) == count

        await eventually(looked)
        if count < 3:
            await handle.signal(REVIEW_CHANGED, ["whatever", {"it": "holds"}])
    await handle.signal("close_it", "now")
    assert "The last signal had no effect: the only one is review_changed." in await details(handle)
    assert len(bench.fakes.made("look_at_review")) == 3
    assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    await handle.terminate()


async def test_its_details_say_what_is_in_review_since_when_until_when_and_what_to_type(bench: Bench) -> None:
    seen = replace(await in_review(bench), verdicts={"undone": "it stays so", "paid": "it was paid"})
    looks(bench, seen)
    handle = await start(bench)

    async def shown() -> str:
        text = await details(handle)
        assert text
        return text

    text = await eventually(shown)
    assert text.startswith("In **review** (undone): the acquirer took it back.")
    assert seen.words in text
    assert f"Since {seen.opened_at.isoformat(timespec='seconds')}" in text
    assert f"To be decided by {seen.due_at.isoformat(timespec='seconds')}." in text
    assert f"    payonce review show {bench.payment_id}\n" in text
    assert f'    payonce review decide op_{bench.payment_id} <verdict> --why "…"' in text
    assert "- `undone`: it stays so\n- `paid`: it was paid" in text
    await handle.terminate()


async def test_its_details_say_that_it_is_overdue(bench: Bench) -> None:
    seen = await in_review(bench, due_in_s=-HOUR_S)
    looks(bench, replace(seen, overdue_at=datetime.now(UTC)))
    handle = await start(bench)

    async def shown() -> bool:
        return "**Overdue**: it was to be decided by" in await details(handle)

    await eventually(shown)
    await handle.terminate()


async def test_a_review_that_begins_anew_for_another_reason_is_found_by_that(bench: Bench) -> None:
    again = replace(await in_review(bench), reason="contradicted", meaning="it was said otherwise")
    looks(bench, *after_looks(1, again))
    handle = await start(bench)
    await handle.result()
    described = await handle.describe()
    values = {pair.key.name: pair.value for pair in described.typed_search_attributes}
    assert values == {"ReviewReason": "contradicted"}
    await replay(handle)


async def test_a_run_is_followed_by_another_that_goes_on_asking_when_it_is_due(bench: Bench) -> None:
    seen = await in_review(bench, due_in_s=10_000 * HOUR_S)
    looks(bench, *after_looks(LOOKS_PER_RUN + 10, seen))
    bench.fakes.script("hear", SETTLED)
    handle = await start(bench)
    assert await handle.result() == "decision"
    first = bench.environment.client.get_workflow_handle(handle.id, run_id=handle.result_run_id)
    types = await event_types(first)
    assert types[-1] == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW
    assert len(types) < 4_096, "the server would suggest it by then"
    moments = [call.at_s for call in bench.fakes.made("hear")]
    gaps = [round(later - earlier) for earlier, later in pairwise(moments)]
    assert len(gaps) > 8
    assert max(gaps) - min(gaps) < HOUR_S, "the next run does not begin to count anew"
    await replay(first)
