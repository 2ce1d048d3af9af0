"""What the figures amount to: each as a ratio, with the target it is held against."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench import sides
from bench.measure import GENERATOR, OTHERS
from bench.targets import BARE, NO_ENGINE, PAYONCE, TEXTBOOK_FOUR, TEXTBOOK_ONE
from bench.traffic import Kind

Figures = Mapping[str, Any]
APART = ("acquirer", GENERATOR)  # not ours to make cheaper
SEVENTY = 0.7


@dataclass(frozen=True, slots=True)
class Ratio:
    """One figure and its limit: `at_most`, or `at_least`."""

    name: str
    value: float | None
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool | None:
        """None where there is no figure."""
        if self.value is None:
            return None
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )


def ratios(figures: Figures) -> list[Ratio]:
    """Every target of the issue "The fast path, proven", in its order."""
    targets = figures["targets"]
    ours, bare, without = targets[PAYONCE], targets[BARE], targets[NO_ENGINE]
    four, one = targets[TEXTBOOK_FOUR], targets[TEXTBOOK_ONE]
    parts = _api_ms(bare["common"]) + _api_ms(without["common"])  # at one rate: a lonely request costs more
    saturated = sides.saturated(figures.get("saturated"))
    two = next((_held(found) for found in figures["scaling"] if found["api_processes"] == 2), None)
    return [
        Ratio("API CPU at saturation, to bare + no engine of then", saturated.api, at_most=1.15),
        Ratio("throughput at saturation, to bare of then", saturated.throughput, at_least=0.65),
        Ratio("held, to bare", _ratio(_held(ours), _held(bare)), at_least=0.65),
        Ratio(
            "API CPU at the common rate, to bare + no engine",
            _ratio(_api_ms(ours["common"]), parts),
            at_most=1.5,
        ),
        Ratio("throughput, to four activities", _ratio(_held(ours), _held(four)), at_least=5),
        Ratio("p50, to four activities", _ratio(_p50(ours), _p50(four)), at_most=0.2),
        Ratio("throughput, to one activity", _ratio(_held(ours), _held(one)), at_least=2),
        Ratio(
            "the same with two API processes, as the textbook has two", _ratio(two, _held(one)), at_least=2
        ),
        Ratio("p50, to one activity", _ratio(_p50(ours), _p50(one)), at_most=0.5),
        Ratio("p99 at 70 % of saturation, ms", _p99_at_seventy(ours), at_most=200),
        Ratio("CPU of a replay, to a fresh payment", _replay(ours), at_most=0.1),
        Ratio("p99 accepted at 3x saturation, ms", ours["overload"]["own_ms"]["p99"], at_most=500),
        Ratio("payments per second on this machine", _held(ours), at_least=123),
        Ratio("p50 at the common rate, ms", _p50(ours), at_most=12),
    ]


def as_json(found: list[Ratio]) -> list[dict[str, Any]]:
    return [{**asdict(ratio), "met": ratio.met} for ratio in found]


def server_cpu_ms(load: Figures, *, idle_cores: Mapping[str, float]) -> float:
    """CPU per request of every process of ours, without what they use when nothing is asked of them."""
    total = 0.0
    for name, ms in load["cpu_ms"].items():
        if name not in APART:
            total += max(ms - idle_cores.get(name, 0.0) * 1000 / load["rate_per_s"], 0.0)
    return total


def others_cores(figures: Figures) -> float:
    """The most that processes of others used during any of the longer runs: above a tenth, do not trust them."""
    targets = figures["targets"].values()
    runs = [target[name] for target in targets for name in ("common", "half")]
    runs += [load for target in targets for load in target.get("loads", ())]
    return max(float(run["cores"][OTHERS]) for run in runs)


def _replay(ours: Figures) -> float | None:
    kinds, idle = ours["kinds"], ours["idle_cores"]
    fresh = server_cpu_ms(kinds[Kind.AUTOMATIC], idle_cores=idle)
    return _ratio(server_cpu_ms(kinds[Kind.REPLAY], idle_cores=idle), fresh)


def _p99_at_seventy(ours: Figures) -> float | None:
    near: Callable[[Figures], float] = lambda load: abs(load["rate_per_s"] - SEVENTY * _held(ours))  # noqa: E731 - a key, typed
    found: float | None = min(ours["loads"], key=near)["own_ms"]["p99"]
    return found


def _api_ms(load: Figures) -> float:
    return float(load["cpu_ms"]["api"])


def _held(target: Figures) -> float:
    return float(target["saturation_per_s"])


def _p50(target: Figures) -> float | None:
    value: float | None = target["common"]["own_ms"]["p50"]
    return value


def _ratio(value: float | None, to: float | None) -> float | None:
    return None if value is None or not to else round(value / to, 3)
