"""Where the own time of a load went, stage by stage: of all its payments, and of single slow ones."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

METRIC: Final = "payonce_payment_stage_seconds"
SLOW: Final = "payment_was_slow"
TRACED_MAX = 20
Buckets = Mapping[float, float]  # how many took at most so many seconds


@dataclass(frozen=True, slots=True)
class Seen:
    """Of each stage its buckets, all API processes together; how long each of their logs is."""

    buckets: Mapping[str, Buckets]
    log_bytes: Mapping[Path, int]


class Stages:
    """Reads what the API processes count and log."""

    def __init__(self, urls: Sequence[str], logs: Sequence[Path]) -> None:
        self._urls, self._logs = urls, logs

    async def seen(self) -> Seen:
        """What there is now."""
        together: dict[str, dict[float, float]] = {}
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            for url in self._urls:
                for stage, at_most_s, count in _counted((await client.get(url)).raise_for_status().text):
                    buckets = together.setdefault(stage, {})
                    buckets[at_most_s] = buckets.get(at_most_s, 0.0) + count
        return Seen(together, {log: log.stat().st_size for log in self._logs})

    async def since(self, before: Seen) -> dict[str, Any]:
        """In milliseconds, p50 and p99 of each stage (within its bucket), and slow payments, the slowest first."""
        after = await self.seen()
        stages = {stage: _added(before.buckets.get(stage, {}), now) for stage, now in after.buckets.items()}
        slow = [line for log, size in before.log_bytes.items() for line in _slow(log, size)]
        return {
            "stages_ms": {
                stage: {"p50": _quantile_ms(added, 0.5), "p99": _quantile_ms(added, 0.99)}
                for stage, added in stages.items()
                if any(added.values())
            },
            "slow": sorted(slow, key=lambda line: -line["own_ms"])[:TRACED_MAX],
        }


def _counted(metrics: str) -> Iterator[tuple[str, float, float]]:
    for family in text_string_to_metric_families(metrics):
        if family.name == METRIC:
            for sample in family.samples:
                if sample.name == f"{METRIC}_bucket":
                    yield sample.labels["stage"], float(sample.labels["le"]), sample.value


def _added(before: Buckets, after: Buckets) -> Buckets:
    return {at_most_s: count - before.get(at_most_s, 0.0) for at_most_s, count in sorted(after.items())}


def _quantile_ms(buckets: Buckets, share: float) -> float:
    """As Prometheus' `histogram_quantile`: evenly spread within a bucket; the last bound where it is above."""
    wanted = share * max(buckets.values())
    lower_s = below = 0.0
    for at_most_s, count in buckets.items():
        if count >= wanted:
            if at_most_s == float("inf"):
                break
            part = (wanted - below) / (count - below) if count > below else 1.0
            return round((lower_s + part * (at_most_s - lower_s)) * 1000, 2)
        lower_s, below = at_most_s, count
    return round(lower_s * 1000, 2)


def _slow(log: Path, size: int) -> Iterator[dict[str, Any]]:
    """Each line since that it was slow: its `own_ms` and the milliseconds of each stage."""
    with log.open("rb") as file:
        file.seek(size)
        for line in file:
            if SLOW.encode() in line:
                told = json.loads(line)
                yield {name: value for name, value in told.items() if name.endswith("_ms")}
