"""From a bench's JSON to cells: `python -m bench.capacity docs/bench.json`. Explained in docs/capacity.md.

Measured costs per payment go in; what has to be assumed is in `Assumptions`, one line each, with its source.
"""

import argparse
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bench.report import table
from bench.targets import PAYONCE

RATES = (100.0, 1_000.0, 5_000.0)
RUNS = ("webhooks", "half", "mix")
SECONDS_PER_DAY = 86_400
MB, GB = 1e6, 1e9
NOT_OURS = ("acquirer", "generator")


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What no bench on one machine can measure. Each is an option of the command."""

    busy_max: float = 0.6  # of a core, so that a lost machine and a peak fit in
    commits_per_s_max: float = 6_000.0  # of one Postgres primary with group commit; prove it on yours
    commits_per_transition: float = 2.0  # Temporal on SQL (reference/temporal.md §1.1), where not measured
    acquirer_ms: float = 300.0  # a real acquirer's answer
    shard_write_s: float = 0.01  # one shard writes one thing at a time
    shard_busy_max: float = 0.05  # so that hardly any write waits for another of its shard
    shards_min: float = 1_024.0  # immutable, and the field's advice for a production cell
    not_eager: float = 0.1  # share of starts that go through Matching after all
    tasks_per_partition: float = 100.0  # per second, of a task queue's partition
    retention_days: float = 3.0


@dataclass(frozen=True, slots=True)
class Costs:
    """What one payment costs, as measured."""

    cpu_ms: Mapping[str, float]
    commits: float
    wal_bytes: float
    transitions: float
    history_bytes: float
    temporal_commits: float | None = None  # None: the bench ran against the development server
    temporal_wal_bytes: float | None = None

    @property
    def temporal_ms(self) -> dict[str, float]:
        """By service where the server ran as several processes; its Postgres apart."""
        engine = {name: ms for name, ms in self.cpu_ms.items() if name.startswith("temporal")}
        return {name: ms for name, ms in engine.items() if name != "temporal-postgres"}


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of Temporal's dynamic configuration. Source: reference/temporal.md §2.2, defaults of 1.32."""

    key: str
    default: int
    each: float  # per payment
    what: str


LIMITS = (
    Limit("frontend.rps", 2_400, 2, "requests: the start, and the task's completion"),
    Limit("frontend.namespaceRPS", 2_400, 2, "the same"),
    Limit("history.rps", 3_000, 2, "the same, at the history service"),
    Limit("history.persistenceMaxQPS", 9_000, 8, "reads and writes: about 4 for each transition"),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One Temporal cluster, its Postgres, ours, and the processes beside them."""

    payments_per_s: float
    api: int
    worker: int
    relay: int
    temporal_cores: Mapping[str, float]
    temporal_postgres_cores: float | None
    temporal_commits_per_s: float
    commits_per_s: float
    postgres_cores: float
    wal_mb_per_s: float
    temporal_wal_mb_per_s: float | None
    history_gb: float
    shards: int
    partitions: int
    in_flight_per_api: float


def costs_of(run: Mapping[str, Any]) -> Costs:
    """From one run of a bench's JSON. Raises `KeyError`."""
    temporal = run["temporal"]
    return Costs(
        cpu_ms=run["cpu_ms"],
        commits=run["commits"]["postgres"],
        wal_bytes=run["wal_bytes"]["postgres"],
        transitions=temporal["state_transitions"],
        history_bytes=temporal["history_bytes"],
        temporal_commits=run["commits"].get("temporal-postgres"),
        temporal_wal_bytes=run["wal_bytes"].get("temporal-postgres"),
    )


def cell_limit_per_s(costs: Costs, given: Assumptions) -> float:
    """The most that one cell takes: what its busiest Postgres primary can commit, with room to spare."""
    each = max(costs.commits, temporal_commits(costs, given))
    return given.busy_max * given.commits_per_s_max / each


def temporal_commits(costs: Costs, given: Assumptions) -> float:
    """Commits of Temporal's own Postgres per payment: measured, else so many per state transition."""
    if costs.temporal_commits is not None:
        return costs.temporal_commits
    return costs.transitions * given.commits_per_transition


def cells_for(rate_per_s: float, costs: Costs, given: Assumptions) -> int:
    """How many cells share the rate."""
    return math.ceil(rate_per_s / cell_limit_per_s(costs, given))


def cell_for(rate_per_s: float, costs: Costs, given: Assumptions) -> Cell:
    """A cell for this rate. At least two of each process, so that one may be lost."""
    api = processes(rate_per_s, costs.cpu_ms["api"], given)
    temporal_wal, own = costs.temporal_wal_bytes, costs.cpu_ms.get("temporal-postgres")
    tasks_per_s = rate_per_s * given.not_eager
    return Cell(
        payments_per_s=rate_per_s,
        api=api,
        worker=processes(rate_per_s, costs.cpu_ms.get("worker", 0.0), given),
        relay=processes(rate_per_s, costs.cpu_ms.get("relay", 0.0), given),
        temporal_cores={name: cores(rate_per_s, ms, given) for name, ms in costs.temporal_ms.items()},
        temporal_postgres_cores=None if own is None else cores(rate_per_s, own, given),
        temporal_commits_per_s=rate_per_s * temporal_commits(costs, given),
        commits_per_s=rate_per_s * costs.commits,
        postgres_cores=cores(rate_per_s, costs.cpu_ms["postgres"], given),
        wal_mb_per_s=rate_per_s * costs.wal_bytes / MB,
        temporal_wal_mb_per_s=None if temporal_wal is None else rate_per_s * temporal_wal / MB,
        history_gb=rate_per_s * costs.history_bytes * SECONDS_PER_DAY * given.retention_days / GB,
        shards=shards_for(rate_per_s * costs.transitions, given),
        partitions=power_of_two(max(tasks_per_s / given.tasks_per_partition, 4)),
        in_flight_per_api=rate_per_s / api * given.acquirer_ms / 1000,
    )


def processes(rate_per_s: float, cpu_ms: float, given: Assumptions) -> int:
    """Python processes, each of which uses one core at most."""
    return max(2, math.ceil(cores(rate_per_s, cpu_ms, given)))


def cores(rate_per_s: float, cpu_ms: float, given: Assumptions) -> float:
    """Cores that are busy to the limit and no further."""
    return rate_per_s * cpu_ms / 1000 / given.busy_max


def shards_for(transitions_per_s: float, given: Assumptions) -> int:
    """History shards: each writes one thing at a time, and must hardly ever make another wait."""
    needed = transitions_per_s * given.shard_write_s / given.shard_busy_max
    return power_of_two(max(needed, given.shards_min))


def power_of_two(number: float) -> int:
    """The smallest one that is not below the number."""
    return 1 << max(math.ceil(number) - 1, 0).bit_length()


def settings_for(cell: Cell) -> list[tuple[str, str, str]]:
    """Key, value and reason of what must differ from the defaults when one of two instances is lost."""
    found = [("persistence.numHistoryShards", str(cell.shards), "static, and for ever")]
    for limit in LIMITS:
        needed = math.ceil(cell.payments_per_s * limit.each * 2)  # peaks of twice the mean
        if needed > limit.default:
            found.append((limit.key, str(needed), f"default {limit.default}; {limit.what}"))
    if cell.partitions > 4:
        for way in ("Read", "Write"):
            found.append((f"matching.numTaskqueue{way}Partitions", str(cell.partitions), "default 4"))
    return found


def rendered(costs: Costs, given: Assumptions, rates: Iterable[float] = RATES) -> str:
    """The cells and their arithmetic, in Markdown."""
    wanted = [(rate, cells_for(rate, costs, given)) for rate in rates]
    cells = [(rate, count, cell_for(rate / count, costs, given)) for rate, count in wanted]
    sections = [
        _arithmetic(costs, given),
        _table(cells),
        "Cores of each part, in all cells together:",
        _parts(costs, given, [rate for rate, _, _ in cells]),
        *(_settings(rate, cell) for rate, _, cell in cells),
    ]
    return "\n\n".join(sections) + "\n"


def _arithmetic(costs: Costs, given: Assumptions) -> str:
    each, limit = temporal_commits(costs, given), cell_limit_per_s(costs, given)
    source = "measured" if costs.temporal_commits is not None else (
        f"{costs.transitions:g} transitions x {given.commits_per_transition:g}, not measured"
    )  # fmt: skip
    cpu = ", ".join(f"{name} {ms:.2f}" for name, ms in sorted(costs.cpu_ms.items()))
    return "\n".join(
        [
            f"Per payment: CPU in ms: {cpu}; {costs.commits:g} commits and {costs.wal_bytes / 1000:.1f} kB of WAL "
            f"in our Postgres; {each:g} commits in Temporal's ({source}); {costs.history_bytes:.0f} B of history.",
            "",
            f"A cell ends at {given.busy_max:g} x {given.commits_per_s_max:g} commits/s / "
            f"{max(costs.commits, each):g} = **{limit:.0f} payments/s**, where its busier Postgres primary does.",
            "",
            "Assumed: " + ", ".join(f"{name} {value:g}" for name, value in asdict(given).items()) + ".",
        ]
    )


def _table(cells: Sequence[tuple[float, int, Cell]]) -> str:
    head = ("payments per second", *(f"{rate:g}" for rate, _, _ in cells))
    services = list(cells[0][2].temporal_cores)
    rows: list[list[Any]] = [
        ["cells", *(count for _, count, _ in cells)],
        ["API processes in all", *(count * cell.api for _, count, cell in cells)],
        ["in each cell: payments/s", *(cell.payments_per_s for _, _, cell in cells)],
        ["API processes", *(cell.api for _, _, cell in cells)],
        ["open at the acquirer, per API process", *(cell.in_flight_per_api for _, _, cell in cells)],
        ["worker processes", *(cell.worker for _, _, cell in cells)],
        ["relay processes", *(cell.relay for _, _, cell in cells)],
        *([f"{name}, cores", *(cell.temporal_cores[name] for _, _, cell in cells)] for name in services),
        ["Temporal's Postgres, cores", *(cell.temporal_postgres_cores for _, _, cell in cells)],
        ["Temporal's Postgres, commits/s", *(cell.temporal_commits_per_s for _, _, cell in cells)],
        ["Temporal's Postgres, WAL MB/s", *(cell.temporal_wal_mb_per_s for _, _, cell in cells)],
        ["our Postgres, commits/s", *(cell.commits_per_s for _, _, cell in cells)],
        ["our Postgres, cores", *(cell.postgres_cores for _, _, cell in cells)],
        ["our Postgres, WAL MB/s", *(cell.wal_mb_per_s for _, _, cell in cells)],
        ["history kept, GB", *(cell.history_gb for _, _, cell in cells)],
        ["history shards", *(cell.shards for _, _, cell in cells)],
        ["task queue partitions", *(cell.partitions for _, _, cell in cells)],
    ]
    return table(head, rows)


def parts_of(costs: Costs) -> dict[str, float]:
    """CPU of each part of a production, in ms a payment: without the acquirer and the load generator."""
    return {name: ms for name, ms in sorted(costs.cpu_ms.items()) if name not in NOT_OURS}


def _parts(costs: Costs, given: Assumptions, rates: Sequence[float]) -> str:
    parts = parts_of(costs)
    rows = [[name, ms, *(cores(rate, ms, given) for rate in rates)] for name, ms in parts.items()]
    together = sum(parts.values())
    rows.append(["together", together, *(cores(rate, together, given) for rate in rates)])
    return table(("", "ms a payment", *(f"{rate:g} payments/s" for rate in rates)), rows)


def _settings(rate_per_s: float, cell: Cell) -> str:
    lines = [f"- `{key}: {value}` ({reason})" for key, value, reason in settings_for(cell)]
    return f"Temporal's settings in a cell at {rate_per_s:g}/s:\n\n" + "\n".join(lines)


def main() -> None:
    """The cells for 100, 1,000 and 5,000 payments per second are on the terminal."""
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description=__doc__)
    parser.add_argument("figures", type=Path, help="what `make bench` wrote")
    parser.add_argument("--run", choices=RUNS, default=RUNS[0], help="whose costs per payment count")
    for assumed in fields(Assumptions):
        parser.add_argument(f"--{assumed.name.replace('_', '-')}", type=float, default=assumed.default)
    arguments = vars(parser.parse_args())
    given = Assumptions(**{assumed.name: arguments[assumed.name] for assumed in fields(Assumptions)})
    figures = json.loads(arguments["figures"].read_text())
    print(rendered(costs_of(figures["targets"][PAYONCE][arguments["run"]]), given))


if __name__ == "__main__":
    main()
