"""Saturation, costs and the processes' CPU."""

import os

import pytest

from bench.measure import Reading, cores, cost, is_quiet
from bench.processes import busy_ticks, cpu_s, group_of, ticks_of
from bench.saturation import RATE_MAX, highest_held


class System:
    """Holds rates up to its limit; `flukes` are the numbers of the looks that fail all the same."""

    def __init__(self, limit: float, *, flukes: frozenset[int] = frozenset()) -> None:
        self.limit = limit
        self.flukes = flukes
        self.asked: list[float] = []

    async def holds(self, rate: float) -> bool:
        self.asked.append(rate)
        return rate <= self.limit and len(self.asked) not in self.flukes


@pytest.mark.parametrize(
    ("looks", "quiet"),
    [
        ([0.1], True),
        ([0.9, 0.1], True),
        ([0.22, 0.2, 0.25, 0.21], True),
        ([0.9, 0.22, 0.2, 0.25, 0.21], True),
        ([0.22, 0.2, 0.25], False),
        ([0.4, 0.35, 0.3, 0.25], False),
        ([0.9, 0.9, 0.9, 0.9], False),
    ],
)
def test_quiet_is_little_in_use_or_no_less_than_before(looks: list[float], quiet: bool) -> None:
    """A Temporal server on Postgres is never below what others are at rest: each run waited for it in vain."""
    assert is_quiet(looks) is quiet


@pytest.mark.parametrize("limit", [30, 47, 111, 400, 1234])
async def test_saturation_is_found_from_below_within_the_last_gap(limit: float) -> None:
    found = await highest_held(System(limit).holds, first=30, growth=1.4, refinements=3)
    assert limit / (1 + 0.4 / 8) - 0.01 <= found <= limit


async def test_a_system_slower_than_the_first_rate_is_found_too() -> None:
    found = await highest_held(System(20).holds, first=40, refinements=3)
    assert 15 <= found <= 20


async def test_the_gap_is_halved_until_something_held() -> None:
    assert await highest_held(System(2).holds, first=40, refinements=1) == 1.25


async def test_a_system_that_holds_nothing_has_no_saturation() -> None:
    system = System(0)
    assert await highest_held(system.holds, first=30, refinements=2) == 0
    assert min(system.asked) >= 0.5


async def test_one_bad_second_does_not_end_the_search() -> None:
    assert await highest_held(System(100, flukes=frozenset({1})).holds, first=30) > 90


async def test_the_search_ends_at_its_own_limit() -> None:
    system = System(1e9)
    await highest_held(system.holds, first=30)
    assert len(system.asked) < 40
    assert max(system.asked) <= RATE_MAX * 1.4


def reading(at_s: float, api_s: float, written: int, wal: int) -> Reading:
    return Reading(at_s, at_s / 5, {"api": api_s}, {"postgres": written}, {"postgres": wal})


def test_costs_are_per_payment() -> None:
    before, after = reading(10, 1.0, 1000, 50_000), reading(20, 1.5, 1200, 850_000)
    assert cost(before, after, 100) == {
        "cpu_ms": {"api": 5.0},
        "commits": {"postgres": 2.0},
        "wal_bytes": {"postgres": 8000.0},
    }
    assert cores(before, after) == {"api": 0.05, "others": 0.15}


def test_a_process_that_began_meanwhile_counts_from_its_beginning() -> None:
    before, after = Reading(0, 0, {}, {}, {}), Reading(1, 1, {"api": 0.25}, {}, {})
    assert cost(before, after, 10)["cpu_ms"] == {"api": 25.0}


def test_ticks_are_those_of_the_process_and_of_its_ended_children_whatever_its_name() -> None:
    line = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 11 22 33 44 20 0 1 0 5 6 7"
    assert ticks_of(line) == 11 + 22 + 33 + 44


def test_a_machine_is_busy_with_all_but_idling_and_waiting_for_disks() -> None:
    assert busy_ticks("cpu  1 2 4 8000 16000 32 64 128 9000 9000") == 1 + 2 + 4 + 32 + 64 + 128


def test_cpu_of_this_process_grows_and_of_none_is_zero() -> None:
    before = cpu_s(os.getpid())
    while cpu_s(os.getpid()) <= before:
        sum(range(10_000))
    assert cpu_s(99_999_999) == 0


@pytest.mark.parametrize(
    ("name", "group"), [("api", "api"), ("api-2", "api"), ("temporal-postgres", "temporal-postgres")]
)
def test_processes_of_one_kind_count_together(name: str, group: str) -> None:
    assert group_of(name) == group
