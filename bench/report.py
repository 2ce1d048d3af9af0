"""The figures as text: what a reader of a terminal or of the docs wants to see first."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.ratios import Ratio, others_cores
from bench.targets import PAYONCE

Figures = Mapping[str, Any]
LATENCIES = ("p50", "p95", "p99", "p999")


def rendered(figures: Figures, ratios: Sequence[Ratio]) -> str:
    """The whole report in Markdown, as it stands in `docs/performance.md`."""
    ours = figures["targets"][PAYONCE]
    sections = [
        _where(figures),
        "### Against the baselines\n\n" + _targets(figures["targets"]),
        "### Targets\n\n" + _ratios(ratios),
        *(
            ["### At saturation, in turn\n\n" + in_turn(saturated)]
            if (saturated := figures["saturated"])
            else []
        ),
        "### Latency against load\n\n" + _loads([*ours["loads"], ours["mix"], ours["webhooks"]]),
        "### Where the own time goes\n\n" + stages_of(_seventy(ours)),
        "### CPU per payment, ms\n\n" + _cpu(ours),
        "### By kind of request\n\n" + _kinds(ours["kinds"]),
        "### Overload\n\n" + _overload(ours["overload"]),
    ]
    if figures["scaling"]:
        sections.append("### API processes\n\n" + _scaling(ours, figures["scaling"]))
    return "\n\n".join(sections) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; the first column is text, the others are figures."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *([_shown(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def in_turn(sides: Figures) -> str:
    """The medians of what `bench.turns` measured, and how the API's CPU differed from turn to turn."""
    head = ("", "API, ms", "its turns", "Temporal", "its Postgres", "Postgres", "all", "payments/s")
    return table(head, (_side_row(name, side["median"], side["turns"]) for name, side in sides.items()))


def _side_row(name: str, middle: Figures, turns: Sequence[Figures]) -> list[Any]:
    engine = sum(ms for part, ms in middle.items() if part.startswith("temporal") and "postgres" not in part)
    each = ", ".join(f"{turn['api']:.1f}" for turn in turns)
    databases = (middle.get("temporal-postgres"), middle.get("postgres"))
    return [name, middle["api"], each, engine or None, *databases, middle["all"], middle["per second"]]


def _shown(cell: Any) -> str:
    match cell:
        case None:
            return "-"
        case bool():
            return "yes" if cell else "**no**"
        case float():
            return f"{cell:.3g}" if abs(cell) < 100 else f"{cell:.0f}"
        case _:
            return str(cell)


def _where(figures: Figures) -> str:
    at, settings, generator = figures["machine"], figures["settings"], figures["generator"]
    return " ".join(
        [
            f"Commit `{figures['commit']}`, {figures['at']}: {at['cores']} cores of {at['processor']},",
            f"Linux {at['kernel']}, Python {at['python']}, {at['fsync_ms']} ms to make 8 KiB durable.",
            f"Others used up to {others_cores(figures):.2f} cores meanwhile.",
            f"Temporal: {settings['temporal']}, GOGC {at['gogc']}.",
            f"The acquirer's delay of {settings['acquirer_delay_ms']} ms is subtracted.",
            f"The generator costs {generator['generator_cpu_ms_per_request']} ms of CPU per request, on the same",
            f"machine, and sees {generator['own_ms']['p50']} ms (p50) where nothing is done.",
        ]
    )


def _targets(targets: Figures) -> str:
    head = ("", "held/s", "p50 at 10/s, ms", "p99", "API, ms at 10/s", "worker", "Temporal", "Postgres", "commits",
            "transitions", "events")  # fmt: skip
    return table(head, (_target_row(name, found) for name, found in targets.items()))


def _target_row(name: str, found: Figures) -> list[Any]:
    common = found["common"]
    temporal, cpu, own = common.get("temporal", {}), common["cpu_ms"], common["own_ms"]
    engine = sum(ms for process, ms in cpu.items() if process.startswith("temporal"))
    return [
        name.replace("_", " "),
        found["saturation_per_s"],
        own["p50"],
        own["p99"],
        cpu["api"],
        cpu.get("worker"),
        engine or None,
        cpu.get("postgres"),
        common["commits"].get("postgres"),
        temporal.get("state_transitions"),
        temporal.get("history_events"),
    ]


def _ratios(ratios: Sequence[Ratio]) -> str:
    return table(("", "measured", "target", "met"), (_ratio_row(ratio) for ratio in ratios))


def _ratio_row(ratio: Ratio) -> list[Any]:
    limit = f"≤ {ratio.at_most:g}" if ratio.at_most is not None else f"≥ {ratio.at_least:g}"
    return [ratio.name, ratio.value, limit, ratio.met]


def _loads(loads: Sequence[Figures]) -> str:
    head = ("requests/s", "answered as expected", *LATENCIES, "max, ms", "API cores", "kinds")
    return table(head, (_load_row(load) for load in loads))


def _load_row(load: Figures) -> list[Any]:
    own, kinds = load["own_ms"], ", ".join(load["kinds"])
    answered = f"{load['expected']} of {load['requests'] + load['unsent']}"
    return [f"{load['rate_per_s']:.1f}", answered, *(own[name] for name in LATENCIES), own["max"],
            load["cores"]["api"], kinds]  # fmt: skip


def _seventy(ours: Figures) -> Figures:
    """The load nearest to 70 % of saturation."""
    wanted = 0.7 * ours["saturation_per_s"]
    nearest: Figures = min(ours["loads"], key=lambda load: abs(load["rate_per_s"] - wanted))
    return nearest


def stages_of(load: Figures) -> str:
    """p50 and p99 of each stage, and each of the slow payments that the log has, in milliseconds."""
    stages = load["stages_ms"]
    rows = [
        [f"{name} of {load['rate_per_s']:.0f}/s", None, *(found[name] for found in stages.values())]
        for name in ("p50", "p99")
    ]
    rows += [
        ["one of them", line["own_ms"], *(line.get(f"{stage}_ms") for stage in stages)]
        for line in load["slow"]
    ]
    return table(("", "own", *stages), rows)


def _cpu(ours: Figures) -> str:
    runs = {"half of saturation": ours["half"], "with webhooks": ours["webhooks"], "mix": ours["mix"]}
    processes = sorted({name for run in runs.values() for name in run["cpu_ms"]})
    idle = ["idle, cores", *(ours["idle_cores"].get(process) for process in processes)]
    rows = [[name, *(run["cpu_ms"].get(process) for process in processes)] for name, run in runs.items()]
    return table(("", *processes), [*rows, idle])


def _kinds(kinds: Figures) -> str:
    head = ("", "p50, ms", "p99, ms", "API", "Temporal", "Postgres", "commits", "WAL bytes", "transitions", "events",
            "history bytes")  # fmt: skip
    return table(head, (_kind_row(name, load) for name, load in kinds.items()))


def _kind_row(name: str, load: Figures) -> list[Any]:
    cpu, temporal = load["cpu_ms"], load.get("temporal", {})
    engine = sum(ms for process, ms in cpu.items() if process.startswith("temporal"))
    found = ("state_transitions", "history_events", "history_bytes")
    return [
        name, load["own_ms"]["p50"], load["own_ms"]["p99"], cpu["api"], engine, cpu["postgres"],
        load["commits"]["postgres"], load["wal_bytes"]["postgres"], *(temporal.get(each) for each in found),
    ]  # fmt: skip


def _overload(load: Figures) -> str:
    normal_s, left = load["normal_after_s"], load["unfinished"]
    normal = "not as usual again" if normal_s is None else f"as usual after {normal_s} s"
    lines = [
        f"{load['rate_per_s']:.0f} arrivals/s: {load['expected']} accepted with p99 {load['own_ms']['p99']} ms, "
        f"{load['refused']} refused with Retry-After (p99 {load['refused_ms']['p99']} ms), "
        f"{load['refused_without_retry_after']} refused without, {load['deferred']} answered 202, "
        f"{load['failed']} failed, {load['unsent']} not sent.",
        f"At half of saturation right afterwards: {normal}. "
        f"{left['operations']} operations without an outcome {left['after_s']} s after that run.",
    ]
    return "\n".join(lines)


def _scaling(ours: Figures, scaling: Sequence[Figures]) -> str:
    rows = [{"api_processes": 1, **ours, "seventy": _seventy(ours)}, *scaling]
    head = ("API processes", "held/s", "p50 at 70 %, ms", "p99 at 70 %, ms", "API CPU, ms")
    return table(head, (_scaling_row(row) for row in rows))


def _scaling_row(row: Figures) -> list[Any]:
    own = row["seventy"]["own_ms"]
    return [
        row["api_processes"],
        row["saturation_per_s"],
        own["p50"],
        own["p99"],
        row["half"]["cpu_ms"]["api"],
    ]
