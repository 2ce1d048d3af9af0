"""The capacity model's arithmetic."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.capacity import (
    Assumptions,
    Costs,
    cell_for,
    cell_limit_per_s,
    cells_for,
    cores,
    costs_of,
    power_of_two,
    processes,
    rendered,
    settings_for,
    shards_for,
)

GIVEN = Assumptions(busy_max=0.5, commits_per_s_max=6_000)
COSTS = Costs(
    cpu_ms={"api": 10.0, "worker": 0.1, "relay": 2.0, "temporal": 6.0, "postgres": 5.0},
    commits=2,
    wal_bytes=8_000,
    transitions=2,
    history_bytes=1_000,
)


def test_a_cell_ends_where_its_busier_postgres_does() -> None:
    assert cell_limit_per_s(COSTS, GIVEN) == 0.5 * 6_000 / 4  # Temporal's: two for each transition
    measured = replace(COSTS, temporal_commits=6.0)
    assert cell_limit_per_s(measured, GIVEN) == 500
    ours = replace(COSTS, temporal_commits=1.0)
    assert cell_limit_per_s(ours, GIVEN) == 1_500


@given(st.floats(1, 20_000))
def test_cells_share_a_rate_so_that_none_is_beyond_its_limit(rate: float) -> None:
    count = cells_for(rate, COSTS, GIVEN)
    limit = cell_limit_per_s(COSTS, GIVEN)
    assert rate / count <= limit
    assert count == 1 or rate / (count - 1) > limit


def test_a_process_is_one_core_at_most_and_never_alone() -> None:
    assert cores(100, 10.0, GIVEN) == 2.0
    assert processes(100, 10.0, GIVEN) == 2
    assert processes(101, 10.0, GIVEN) == 3
    assert processes(1, 0.0, GIVEN) == 2


def test_a_cell_s_load_follows_from_the_costs() -> None:
    cell = cell_for(500, COSTS, GIVEN)
    assert (cell.api, cell.worker, cell.relay) == (10, 2, 2)
    assert cell.temporal_cores == {"temporal": 6.0}
    assert (cell.commits_per_s, cell.temporal_commits_per_s) == (1_000, 2_000)
    assert cell.wal_mb_per_s == 4.0
    assert cell.history_gb == pytest.approx(500 * 1_000 * 86_400 * 3 / 1e9)
    assert cell.in_flight_per_api == pytest.approx(50 * 0.3)


@given(st.floats(0, 1e6))
def test_shards_are_a_power_of_two_of_which_each_is_hardly_ever_busy(transitions_per_s: float) -> None:
    shards = shards_for(transitions_per_s, GIVEN)
    assert shards & (shards - 1) == 0
    assert shards >= GIVEN.shards_min
    assert transitions_per_s * GIVEN.shard_write_s / shards <= GIVEN.shard_busy_max + 1e-9


@pytest.mark.parametrize(
    ("number", "power"), [(1, 1), (2, 2), (2.1, 4), (3, 4), (4, 4), (1024, 1024), (1025, 2048)]
)
def test_the_next_power_of_two(number: float, power: int) -> None:
    assert power_of_two(number) == power


def test_only_limits_that_would_be_reached_are_raised() -> None:
    assert [key for key, _, _ in settings_for(cell_for(100, COSTS, GIVEN))] == [
        "persistence.numHistoryShards"
    ]
    raised = {key: value for key, value, _ in settings_for(cell_for(700, COSTS, GIVEN))}
    assert raised["frontend.rps"] == "2800"
    assert "history.rps" not in raised


def test_costs_come_from_a_run_and_know_what_was_not_measured() -> None:
    run = {
        "cpu_ms": {"api": 1.0, "postgres": 2.0, "temporal-history": 3.0, "temporal-postgres": 4.0},
        "commits": {"postgres": 2.0},
        "wal_bytes": {"postgres": 9.0},
        "temporal": {"state_transitions": 2.0, "history_bytes": 5},
    }
    costs = costs_of(run)
    assert costs.temporal_commits is None
    assert costs.temporal_ms == {"temporal-history": 3.0}
    run["commits"]["temporal-postgres"] = 7.0
    assert costs_of(run).temporal_commits == 7.0


def test_the_report_shows_every_rate_and_where_a_cell_ends() -> None:
    text = rendered(replace(COSTS, cpu_ms={**COSTS.cpu_ms, "acquirer": 9.0, "generator": 9.0}), GIVEN)
    assert "**750 payments/s**" in text
    assert "| cells | 1 | 2 | 7 |" in text
    assert "| postgres | 5 | 1 | 10 | 50 |" in text  # cores, busy to a half
    assert "| together | 23.1 | 4.62 | 46.2 | 231 |" in text  # what is not ours left out
