"""What a run observed, and the figures that are made of it."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from bench.schedule import Load

BROKEN, OVERDUE = 0, -1  # in place of a status: the connection broke; no answer in time
REFUSALS: Final = (429, 503)
DEFERRED: Final = 202
QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p999": 0.999}


class Sample(NamedTuple):
    """One request. `due_s` counts from the start of the run, `latency_s` from when it was due."""

    kind: str
    due_s: float
    latency_s: float
    status: int
    expected: bool  # the definite answer that this kind of request must get
    retry_after: bool = False


@dataclass(slots=True)
class Run:
    """Everything that one load gave."""

    load: Load
    samples: list[Sample] = field(default_factory=list)
    lateness_s: list[float] = field(default_factory=list)  # of the generator: sent after it was due
    unsent: int = 0  # due while as many were open as the generator may have
    ids: list[str] = field(default_factory=list)  # of what was created, to look up later
    seconds: float = 0.0  # from the start to the last answer
    cpu_s: float = 0.0  # the generator's own


def percentile(ascending: Sequence[float], quantile: float) -> float | None:
    """The smallest value that at least this share of the values does not exceed (nearest rank)."""
    if not ascending:
        return None
    rank = math.ceil(round(quantile * len(ascending), 9))
    return ascending[min(max(rank, 1), len(ascending)) - 1]


def spread_ms(values_s: Iterable[float]) -> dict[str, float | None]:
    """p50 to p99.9 and the maximum, in milliseconds."""
    ascending = sorted(values_s)
    found = {name: percentile(ascending, quantile) for name, quantile in QUANTILES.items()}
    found["max"] = ascending[-1] if ascending else None
    return {name: None if value is None else round(value * 1000, 2) for name, value in found.items()}


def summary(run: Run, *, acquirer_s: Mapping[str, float]) -> dict[str, Any]:
    """The figures of a run. Own time: latency without the delay that the acquirer was told to add.

    `acquirer_s` is that delay for each kind of request, as often as the kind calls. Whatever else the acquirer
    takes, and the generator's lateness, counts as ours.
    """
    by_kind: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in run.samples:
        by_kind[sample.kind].append(sample)
    expected = [sample for sample in run.samples if sample.expected]
    requests = max(len(run.samples), 1)
    return {
        "rate_per_s": round(run.load.rate_per_s, 2),
        "seconds": run.load.seconds,
        "requests": len(run.samples),
        **outcomes(run),
        "throughput_per_s": round(len(expected) / max(run.seconds, run.load.seconds), 2),
        "own_ms": spread_ms(own_times(expected, acquirer_s)),
        "kinds": {kind: _kind(found, acquirer_s) for kind, found in sorted(by_kind.items())},
        "refused_ms": spread_ms(one.latency_s for one in run.samples if one.status in REFUSALS),
        "lateness_ms": spread_ms(run.lateness_s),
        "generator_cpu_ms_per_request": round(run.cpu_s * 1000 / requests, 4),
    }


def outcomes(run: Run) -> dict[str, int]:
    """How many requests ended in which way; together with `unsent` they are all that were due."""
    counts = Counter(_outcome(sample) for sample in run.samples)
    names = ("expected", "refused", "refused_without_retry_after", "deferred", "failed")
    return {**{name: counts[name] for name in names}, "unsent": run.unsent}


def own_times(samples: Iterable[Sample], acquirer_s: Mapping[str, float]) -> list[float]:
    """Latencies without the acquirer's delay."""
    return [sample.latency_s - acquirer_s.get(sample.kind, 0.0) for sample in samples]


def is_held(run: Run, *, acquirer_s: Mapping[str, float], p99_s_max: float, expected_min: float) -> bool:
    """Whether the system kept up: nearly every answer was the expected one, and in time."""
    due = len(run.samples) + run.unsent
    expected = [sample for sample in run.samples if sample.expected]
    p99 = percentile(sorted(own_times(expected, acquirer_s)), 0.99)
    return p99 is not None and p99 <= p99_s_max and len(expected) >= expected_min * due


def normal_after_s(run: Run, *, acquirer_s: Mapping[str, float], own_s_max: float) -> float | None:
    """When the last request was due that was not answered as it should be; None: the last second still was so."""
    late = [
        sample.due_s
        for sample in run.samples
        if not sample.expected or sample.latency_s - acquirer_s.get(sample.kind, 0.0) > own_s_max
    ]
    last = max(late, default=0.0)
    return None if last > run.load.seconds - 1 else round(last, 2)


def _outcome(sample: Sample) -> str:
    if sample.expected:
        return "expected"
    if sample.status in REFUSALS:
        return "refused" if sample.retry_after else "refused_without_retry_after"
    return "deferred" if sample.status == DEFERRED else "failed"


def _kind(samples: Sequence[Sample], acquirer_s: Mapping[str, float]) -> dict[str, Any]:
    expected = [sample for sample in samples if sample.expected]
    statuses = Counter(str(sample.status) for sample in samples)
    return {
        "requests": len(samples),
        "statuses": dict(sorted(statuses.items())),
        "own_ms": spread_ms(own_times(expected, acquirer_s)),
    }
