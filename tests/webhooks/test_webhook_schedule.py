"""When a delivery is tried again, by a clock that the tests hold (§2.4, 2)."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payonce.domain.delivery import DELAYS_S, next_delay_s
from payonce.webhooks.attempt import retry_after_s

NOW = datetime(2026, 11, 22, 5, 46, tzinfo=UTC)


def test_the_published_schedule_is_kept() -> None:
    waits = [next_delay_s(attempts=made, retry_after_s=None, jitter=0) for made in range(1, 11)]

    assert waits == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400, None]
    assert timedelta(seconds=sum(DELAYS_S)) == timedelta(hours=75, minutes=35, seconds=5)


@given(attempts=st.integers(1, 9), jitter=st.floats(-1, 1), asked=st.none() | st.floats(0, 1e12))
def test_a_wait_is_within_a_tenth_of_the_schedule_or_prolonged_to_twice_it(
    attempts: int, jitter: float, asked: float | None
) -> None:
    delay_s = DELAYS_S[attempts]

    wait_s = next_delay_s(attempts=attempts, retry_after_s=asked, jitter=jitter)

    assert wait_s is not None
    assert 0.9 * delay_s - 1e-6 <= wait_s <= max(1.1 * delay_s + 1e-6, min(asked or 0, 2 * delay_s))


@pytest.mark.parametrize(
    ("asked_s", "wait_s"), [(0, 300), (299, 300), (301, 301), (600, 600), (601, 600), (10**9, 600)]
)
def test_retry_after_prolongs_up_to_twice_the_delay_and_never_shortens(asked_s: float, wait_s: float) -> None:
    assert next_delay_s(attempts=2, retry_after_s=asked_s, jitter=0) == wait_s


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120),
        ("0", 0),
        ("9" * 400, 9_999_999_999),
        ("Sun, 22 Nov 2026 05:48:00 GMT", 120),
        ("Sunday, 22-Nov-26 05:48:00 GMT", 120),
        ("Sun, 22 Nov 2026 05:00:00 GMT", None),
        ("Sun, 22 Nov 2026 05:48:00 GMT" + " " * 100, None),
        ("-1", None),
        ("Wed, 1 Jan 2020 00:00:00 +99999999999999999999", None),
        ("Wed, 1 Jan 99999999999999999999 00:00:00 GMT", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("١٢", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, now=NOW) == seconds
