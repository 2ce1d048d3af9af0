"""Latency against load as a PNG; needs the extra `bench` (matplotlib)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.targets import PAYONCE

Figures = Mapping[str, Any]
SIZE_INCHES, DOTS_PER_INCH = (8.0, 4.8), 120
LABELS = {
    PAYONCE: "payonce",
    "bare": "bare engine",
    "no_engine": "no engine",
    "textbook_one": "textbook, one activity",
    "textbook_four": "textbook, four activities",
}


def draw(figures: Figures, path: Path) -> None:
    """The file holds the plot: p50 and p99 of own time over the arrival rate, every target up to where it broke.

    Raises `ImportError` without matplotlib.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    for number, (name, target) in enumerate(figures["targets"].items()):
        points = curve(target)
        rates, color, width = [rate for rate, _, _ in points], f"C{number}", 2.4 if name == PAYONCE else 1.2
        label = LABELS.get(name, name)
        axes.plot(rates, [p50 for _, p50, _ in points], color=color, lw=width, marker="o", ms=3, label=label)
        axes.plot(rates, [p99 for _, _, p99 in points], color=color, lw=width, ls="--", marker="o", ms=3)
    axes.axhline(200, color="0.6", lw=0.8, ls=":")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="arrivals per second",
        ylabel="own time, ms (solid p50, dashed p99)",
    )
    axes.set_title(_title(figures), fontsize=9)
    axes.grid(visible=True, which="both", color="0.9", lw=0.6)
    axes.legend(fontsize=8)
    figure.savefig(path)


def curve(target: Figures) -> list[tuple[float, float, float]]:
    """Rate, p50 and p99 of every automatic run, by rate; of several at one rate the longest counts."""
    runs: Sequence[Figures] = [target["common"], target["half"], *target["steps"], *target.get("loads", ())]
    longest: dict[float, Figures] = {}
    for run in sorted(runs, key=lambda run: run["seconds"]):
        if run["own_ms"]["p50"] is not None:
            longest[run["rate_per_s"]] = run
    return [(rate, run["own_ms"]["p50"], run["own_ms"]["p99"]) for rate, run in sorted(longest.items())]


def _title(figures: Figures) -> str:
    at = figures["machine"]
    return f"Own time against load, {at['cores']} cores with everything on them, commit {figures['commit']}"
