"""When to ask again."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payonce.domain.schedules import (
    NOT_SENT_RETRIES_S,
    UNKNOWN_ACCOUNT_INQUIRIES,
    InquirySchedule,
    retry_delay_s,
)

SCHEDULE = InquirySchedule(
    first_s=(1, 2, 4), then_every_s=8, review_after_s=60, slow_every_s=600, give_up_after_s=6000
)


def delays(schedule: InquirySchedule) -> list[float]:
    """Every delay of a payment that nobody can tell anything about."""
    found: list[float] = []
    while (delay_s := schedule.delay_s(inquiries=len(found), since_s=sum(found))) is not None:
        found.append(delay_s)
        assert len(found) < 10_000
    return found


def test_the_first_inquiries_follow_one_by_one_then_regularly_then_slowly_then_none() -> None:
    found = delays(SCHEDULE)
    assert found[:5] == [1, 2, 4, 8, 8]
    assert sum(delay for delay in found if delay <= 8) >= SCHEDULE.review_after_s
    assert set(found[10:]) == {600}
    assert SCHEDULE.give_up_after_s <= sum(found) < SCHEDULE.give_up_after_s + 600


def test_the_schedule_ends_and_stays_ended() -> None:
    assert SCHEDULE.delay_s(inquiries=0, since_s=6000) is None
    assert SCHEDULE.delay_s(inquiries=10_000, since_s=7000) is None


def test_an_unknown_outcome_in_the_sandbox_is_asked_about_often_enough_to_end_within_a_minute() -> None:
    assert delays(UNKNOWN_ACCOUNT_INQUIRIES)[:6] == [1, 2, 4, 8, 8, 8]


def test_the_inquiries_fit_the_steps_of_one_workflow() -> None:
    assert len(delays(UNKNOWN_ACCOUNT_INQUIRIES)) < 1_000


@given(st.integers(0, 149))
def test_a_retry_waits_no_longer_than_ten_minutes_and_never_less_than_the_one_before(retries: int) -> None:
    delay_s, next_s = retry_delay_s(retries), retry_delay_s(retries + 1)
    assert delay_s is not None
    assert 0.5 <= delay_s <= 600
    assert next_s is None or next_s >= delay_s


def test_retries_end_after_about_a_day() -> None:
    found = [delay_s for n in range(1_000) if (delay_s := retry_delay_s(n)) is not None]
    assert len(found) == 150
    assert 20 * 3600 < sum(found) < 28 * 3600
    assert all(one <= other for one, other in pairwise(found))


def test_a_create_is_tried_again_within_the_patience_of_its_request() -> None:
    assert len(NOT_SENT_RETRIES_S) == 2
    assert sum(NOT_SENT_RETRIES_S) < 1


@pytest.mark.parametrize("retries", [150, 10**9])
def test_no_number_of_retries_is_too_large_to_answer(retries: int) -> None:
    assert retry_delay_s(retries) is None
