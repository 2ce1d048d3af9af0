"""The open loop: what is due is fixed before the run."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.schedule import Load, draw, due_times

RATES = st.floats(min_value=0.5, max_value=500)
SECONDS = st.floats(min_value=0.1, max_value=10)


@given(rate=RATES, seconds=SECONDS, seed=st.integers(0, 10), uniform=st.booleans())
def test_every_arrival_of_a_load_is_due_within_it_in_order(
    rate: float, seconds: float, seed: int, uniform: bool
) -> None:
    load = Load(rate, seconds, seed, uniform)
    dues = due_times(load)
    assert len(dues) == round(rate * seconds)
    assert dues == sorted(dues)
    assert all(0 <= due <= seconds + 1 / rate for due in dues)


def test_the_same_seed_gives_the_same_moments_and_another_seed_others() -> None:
    assert due_times(Load(50, 4, seed=1)) == due_times(Load(50, 4, seed=1))
    assert due_times(Load(50, 4, seed=1)) != due_times(Load(50, 4, seed=2))


def test_a_uniform_load_is_evenly_spaced() -> None:
    assert due_times(Load(4, 1, uniform=True)) == [0, 0.25, 0.5, 0.75]


def test_poisson_arrivals_come_in_bursts_and_pauses() -> None:
    dues = due_times(Load(100, 100, seed=3))
    gaps = [later - earlier for earlier, later in pairwise(dues)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert mean == pytest.approx(0.01, rel=0.05)
    assert variance**0.5 == pytest.approx(mean, rel=0.1)  # of an exponential distribution


@pytest.mark.parametrize(("rate", "seconds"), [(0, 1), (1, 0), (-1, 1), (1_000_001, 1)])
def test_a_load_without_an_end_or_a_beginning_is_refused(rate: float, seconds: float) -> None:
    with pytest.raises(ValueError, match="a load has"):
        Load(rate, seconds)


@given(
    weights=st.dictionaries(st.text(max_size=3), st.floats(0, 100), min_size=1).filter(
        lambda weights: sum(weights.values()) > 0.01
    ),
    count=st.integers(0, 500),
    seed=st.integers(0, 5),
)
def test_a_mix_holds_each_member_as_often_as_its_weight_says(
    weights: dict[str, float], count: int, seed: int
) -> None:
    drawn = draw(weights, count, seed=seed)
    assert len(drawn) == count
    total = sum(weights.values())
    for name, weight in weights.items():
        assert abs(drawn.count(name) - count * weight / total) <= 1


def test_a_mix_is_shuffled_the_same_way_for_the_same_seed() -> None:
    weights = {"a": 1.0, "b": 1.0}
    assert draw(weights, 100, seed=1) == draw(weights, 100, seed=1)
    assert draw(weights, 100, seed=1) != draw(weights, 100, seed=2)
    assert draw(weights, 100, seed=1) != sorted(draw(weights, 100, seed=1))


@pytest.mark.parametrize("weights", [{"a": 0.0}, {"a": -1.0, "b": 2.0}])
def test_a_mix_without_weight_is_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a mix has weights"):
        draw(weights, 10, seed=1)
