"""From samples to figures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.samples import (
    BROKEN,
    OVERDUE,
    Run,
    Sample,
    is_held,
    normal_after_s,
    outcomes,
    percentile,
    spread_ms,
    summary,
)
from bench.schedule import Load

NO_DELAY: dict[str, float] = {}


def run_of(*samples: Sample, unsent: int = 0, seconds: float = 1.0) -> Run:
    load = Load(rate_per_s=10, seconds=10)
    return Run(
        load, list(samples), lateness_s=[0.001] * len(samples), unsent=unsent, seconds=seconds, cpu_s=0.02
    )


def answered(latency_s: float, *, due_s: float = 0.0, kind: str = "automatic") -> Sample:
    return Sample(kind, due_s, latency_s, 201, expected=True)


def refused(status: int = 503, *, retry_after: bool = True, due_s: float = 0.0) -> Sample:
    return Sample("automatic", due_s, 0.001, status, expected=False, retry_after=retry_after)


@pytest.mark.parametrize(
    ("quantile", "value"), [(0.5, 50), (0.95, 95), (0.99, 99), (0.999, 100), (1.0, 100), (0.0, 1)]
)
def test_a_percentile_is_a_value_that_occurred(quantile: float, value: int) -> None:
    assert percentile([float(number) for number in range(1, 101)], quantile) == value


def test_the_percentile_of_nothing_is_nothing_and_of_one_value_that_value() -> None:
    assert percentile([], 0.5) is None
    assert percentile([7.0], 0.001) == percentile([7.0], 0.999) == 7.0


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0.001, 1))
def test_at_least_the_quantile_s_share_does_not_exceed_the_percentile(
    values: list[float], quantile: float
) -> None:
    values.sort()
    found = percentile(values, quantile)
    assert found is not None
    assert sum(value <= found for value in values) >= quantile * len(values) - 1e-6


def test_a_spread_is_in_milliseconds() -> None:
    spread = spread_ms([0.001, 0.002, 0.003])
    assert spread == {"p50": 2.0, "p95": 3.0, "p99": 3.0, "p999": 3.0, "max": 3.0}


def test_the_acquirer_s_delay_is_subtracted_where_the_kind_calls_it() -> None:
    run = run_of(answered(0.062), answered(0.004, kind="replay"))
    figures = summary(run, acquirer_s={"automatic": 0.05})
    assert figures["kinds"]["automatic"]["own_ms"]["p50"] == 12.0
    assert figures["kinds"]["replay"]["own_ms"]["p50"] == 4.0


def test_every_request_has_one_outcome() -> None:
    run = run_of(
        answered(0.01),
        refused(),
        refused(429, retry_after=False),
        Sample("automatic", 0, 8.0, 202, expected=False),
        Sample("automatic", 0, 0.1, BROKEN, expected=False),
        Sample("automatic", 0, 15.0, OVERDUE, expected=False),
        unsent=2,
    )
    assert outcomes(run) == {
        "expected": 1,
        "refused": 1,
        "refused_without_retry_after": 1,
        "deferred": 1,
        "failed": 2,
        "unsent": 2,
    }


def test_only_expected_answers_have_own_times_and_throughput() -> None:
    figures = summary(run_of(answered(0.01), refused(), seconds=10.0), acquirer_s=NO_DELAY)
    assert figures["own_ms"]["max"] == 10.0
    assert figures["refused_ms"]["max"] == 1.0
    assert figures["throughput_per_s"] == 0.1
    assert figures["generator_cpu_ms_per_request"] == 10.0


def test_throughput_counts_the_time_until_the_last_answer() -> None:
    late = run_of(*[answered(0.01)] * 100, seconds=20.0)
    assert summary(late, acquirer_s=NO_DELAY)["throughput_per_s"] == 5.0


@pytest.mark.parametrize(
    ("run", "held"),
    [
        (run_of(answered(0.1)), True),
        (run_of(answered(0.6)), False),
        (run_of(*[answered(0.1)] * 9, refused()), False),
        (run_of(*[answered(0.1)] * 9, unsent=1), False),
        (run_of(*[answered(0.1)] * 99, refused()), True),
        (run_of(), False),
        (run_of(refused()), False),
    ],
)
def test_a_rate_is_held_when_nearly_every_answer_is_expected_and_in_time(run: Run, held: bool) -> None:
    assert is_held(run, acquirer_s=NO_DELAY, p99_s_max=0.5, expected_min=0.99) is held


def test_normal_again_after_the_last_request_that_was_not() -> None:
    run = run_of(refused(due_s=0.5), answered(0.9, due_s=2.25), answered(0.1, due_s=9.5))
    assert normal_after_s(run, acquirer_s=NO_DELAY, own_s_max=0.2) == 2.25
    assert normal_after_s(run_of(answered(0.1)), acquirer_s=NO_DELAY, own_s_max=0.2) == 0.0


def test_not_normal_again_when_the_last_second_was_not() -> None:
    assert normal_after_s(run_of(refused(due_s=9.5)), acquirer_s=NO_DELAY, own_s_max=0.2) is None
