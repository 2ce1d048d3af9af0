"""`python -m bench.turns REVISION:TARGET …`: what a payment costs in several checkouts, in turn, in one run.

REVISION is a commit, of which a worktree is made beside, or `.` for this checkout. TARGET is one of `bench.cost`;
with `*N` it has N API processes, and N times as much is asked of them; with `@PYTHON` that interpreter runs all of
ours, else this one. One Temporal server serves them all, so that what differs is what was named.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import tomllib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import uvloop

from bench.report import in_turn
from bench.sides import HERE, Side
from bench.surroundings import Server, plain_environ
from bench.temporal_server import DEVELOPMENT, POSTGRES, chosen_server
from devstack.errors import StackError
from devstack.parts import CHECKOUT
from devstack.processes import Command, run

MEASURED_BY: Final = CHECKOUT / "bench/cost.py"  # in every checkout
TIMES, AT_ONCE, PAYMENTS, ROUNDS = 3, 8, 400, 3
GIT_WITHIN_S, TURN_WITHIN_S = 60.0, 600.0
Figures = Mapping[str, float]
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Turns:
    """How each side is measured, and how often it has its turn."""

    times: int = TIMES
    at_once: int = AT_ONCE
    payments: int = PAYMENTS
    rounds: int = ROUNDS
    delay_ms: int = 0
    api_share: float | None = None
    product_environ: Sequence[str] = ()

    async def taken(
        self, sides: Sequence[Side], server: Server | None, report: Report
    ) -> dict[Side, list[Figures]]:
        """Of each side one `bench.cost` for each of its turns."""
        found: dict[Side, list[Figures]] = {side: [] for side in sides}
        with tempfile.TemporaryDirectory(prefix="payonce-turns-") as name:
            path = Path(name)
            given = [] if server is None else ["--temporal-server", str(_described(server, path))]
            async with checkouts({side.revision for side in sides}, path) as places:
                for _ in range(self.times):
                    for side in sides:
                        figures = await self._turn(side, places[side.revision], given, path / "turns.log")
                        found[side].append(figures)
                        report(f"{side.name}: " + shown(figures))
        return found

    async def _turn(self, side: Side, place: Path, given: Sequence[str], log: Path) -> Figures:
        arguments = [
            *(side.python, "-m", "bench.cost", "--target", side.target),
            *("--at-once", str(self.at_once * side.api_processes)),
            *("--payments", str(self.payments * side.api_processes)),
            *("--rounds", str(self.rounds), "--delay-ms", str(self.delay_ms), *given),
            *("--api-processes", str(side.api_processes)),
            *(() if self.api_share is None else ("--api-share", str(self.api_share))),
            *(part for pair in self.product_environ for part in ("--product-environ", pair)),
        ]
        environ = {**plain_environ(), "PYTHONPATH": str(place)}
        command = Command(tuple(arguments), environ, place)
        printed = await run(side.name, command, log, within_s=TURN_WITHIN_S, capture=True)
        return medians(printed)


@asynccontextmanager
async def checkouts(revisions: Iterable[str], path: Path) -> AsyncIterator[dict[str, Path]]:
    """A worktree of each revision while the block runs. Raises `StackError` for one that is none."""
    async with AsyncExitStack() as exits:
        places = {HERE: CHECKOUT}
        for number, revision in enumerate(sorted(set(revisions) - {HERE})):
            places[revision] = path / f"checkout-{number}"
            await _git(path, "worktree", "add", "--detach", str(places[revision]), revision)
            exits.push_async_callback(_git, path, "worktree", "remove", "--force", str(places[revision]))
            shutil.copy(MEASURED_BY, places[revision] / MEASURED_BY.relative_to(CHECKOUT))
            declare_entry_points(places[revision])
        yield places


def declare_entry_points(place: Path) -> None:
    """Its connectors are found as if it were installed, before those of what is installed for this checkout."""
    project = tomllib.loads((place / "pyproject.toml").read_text())["project"]
    metadata = place / f"{project['name']}.egg-info"
    metadata.mkdir(exist_ok=True)
    version = project.get("version", "0")
    (metadata / "PKG-INFO").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {version}\n"
    )
    groups = project.get("entry-points", {})
    lines = [f"[{group}]\n{_lines(entries)}\n" for group, entries in groups.items()]
    (metadata / "entry_points.txt").write_text("\n".join(lines))


def _lines(entries: Mapping[str, str]) -> str:
    return "\n".join(f"{name} = {value}" for name, value in entries.items())


async def _git(path: Path, *arguments: str) -> None:
    command = Command(("git", *arguments), dict(os.environ), CHECKOUT)
    await run(f"git {arguments[0]}", command, path / "git.log", within_s=GIT_WITHIN_S)


def medians(printed: str) -> Figures:
    """The figures of the line `median` that `bench.cost` prints. Raises `StackError` without one."""
    for line in reversed(printed.splitlines()):
        title, *parts = line.strip().split("  ")
        if title == "median":
            return {name: float(value) for name, _, value in (part.rpartition(" ") for part in parts)}
    raise StackError("bench.cost printed no medians")


def of_turns(turns: Sequence[Figures]) -> Figures:
    """The median of each figure."""
    return {name: median(figures[name] for figures in turns) for name in turns[0]}


def shown(figures: Figures) -> str:
    return "  ".join(f"{name} {value:.2f}" for name, value in figures.items())


def as_json(found: Mapping[Side, Sequence[Figures]]) -> dict[str, Any]:
    return {side.name: {"median": of_turns(turns), "turns": list(turns)} for side, turns in found.items()}


async def main(arguments: argparse.Namespace, sides: Sequence[Side]) -> None:
    """The figures of each turn are on the terminal, and the table of their medians."""
    turns = Turns(
        times=arguments.times,
        at_once=arguments.at_once,
        payments=arguments.payments,
        rounds=arguments.rounds,
        delay_ms=arguments.delay_ms,
        api_share=arguments.api_share,
        product_environ=arguments.product_environ,
    )
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # nothing is left behind
    load = os.getloadavg()
    async with chosen_server(arguments.temporal) as server:
        found = await turns.taken(sides, server, lambda line: print(line, flush=True))
    print("\n" + in_turn(as_json(found)))
    after = os.getloadavg()
    print(f"\nload average {load[0]:.1f} before, {after[0]:.1f} after; Temporal: {arguments.temporal}")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(as_json(found), indent=1) + "\n")


def _described(server: Server, path: Path) -> Path:
    """A file that says where the server is, as `--temporal-server` takes it."""
    file = path / "temporal.json"
    pids = {name.removeprefix("temporal-"): pid for name, pid in server.pids.items()}
    file.write_text(
        json.dumps({"address": server.address, "pids": pids, "database_url": server.database_url})
    )
    return file


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m bench.turns", description=__doc__)
    made.add_argument(
        "sides", nargs="+", metavar="REVISION:TARGET", help="for example 045838e:bare .:payonce"
    )
    made.add_argument("--times", type=int, default=TIMES, help="turns of each side")
    made.add_argument("--at-once", type=int, default=AT_ONCE, help="for each API process")
    made.add_argument("--payments", type=int, default=PAYMENTS, help="in each round, for each API process")
    made.add_argument("--rounds", type=int, default=ROUNDS, help="in each turn")
    made.add_argument("--delay-ms", type=int, default=0, help="that the acquirer adds")
    made.add_argument("--temporal", choices=(POSTGRES, DEVELOPMENT), default=POSTGRES)
    made.add_argument(
        "--api-share", type=float, help="of a processor, that each API process is held to (root)"
    )
    made.add_argument("--product-environ", action="append", default=[], metavar="PAYONCE_NAME=VALUE")
    made.add_argument("--out", type=Path, help="the figures as JSON")
    return made


if __name__ == "__main__":
    given = parser().parse_args()
    try:
        wanted = [Side.named(text) for text in given.sides]
        uvloop.run(main(given, wanted))
    except ValueError as error:
        parser().error(str(error))
    except (StackError, asyncio.CancelledError) as error:
        sys.exit(f"bench: {str(error) or 'ended'}")
