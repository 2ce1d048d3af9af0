"""Checkouts that are measured in turn, and what payonce is held against."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from bench import cost, shares, sides
from bench.cost import TRIES
from bench.plan import SHORT, Pace
from bench.ratios import Ratio
from bench.report import in_turn
from bench.sides import COMMIT, HERE, OURS, THEN, Side
from bench.traffic import Kind, Request
from bench.turns import MEASURED_BY, as_json, checkouts, declare_entry_points, medians, of_turns
from bench.wire import Answered, Pool, Reply
from devstack.errors import StackError
from devstack.parts import CHECKOUT

PRINTED = """
     1  api 9.00  temporal 12.00  all 24.00  mean latency 120.50  per second 66.10
median  api 8.50  temporal 12.10  all 23.90  mean latency 119.00  per second 66.00
"""


def test_a_side_is_a_revision_and_a_target_with_processes_and_a_python() -> None:
    assert Side.named(".:payonce") == OURS
    assert Side.named(f"{COMMIT}:bare") in THEN
    assert Side.named("w-a/b:no_engine*4") == Side("w-a/b", "no_engine", 4)
    other = Side.named(".:payonce*2@/opt/python3.13")
    assert other == Side(".", "payonce", 2, "/opt/python3.13")
    assert Side.named(other.name) == other
    assert OURS.python == sys.executable


@pytest.mark.parametrize(
    "text", ["payonce", ":payonce", "main:other", "main:payonce*0", "--force:payonce", "main:"]
)
def test_what_is_no_side_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="REVISION:TARGET"):
        Side.named(text)


def test_the_medians_of_a_turn_are_those_that_it_printed() -> None:
    found = medians(PRINTED)
    assert found == {"api": 8.5, "temporal": 12.1, "all": 23.9, "mean latency": 119, "per second": 66}
    with pytest.raises(StackError):
        medians("nothing")


def test_a_side_is_the_median_of_its_turns_and_each_turn_is_shown() -> None:
    turns = [
        {"api": ms, "temporal-postgres": 6.0, "temporal": 12.0, "all": 30.0, "per second": 40.0}
        for ms in (9, 7, 8)
    ]
    assert of_turns(turns)["api"] == 8
    assert "| .:payonce | 8 | 9.0, 7.0, 8.0 | 12 | 6 | - | 30 | 40 |" in in_turn(as_json({OURS: turns}))


def test_payonce_is_held_against_the_baselines_of_one_commit_for_good() -> None:
    bare, without = (side.name for side in THEN)
    slowdowns = (1.0, 2.0, 1.5)  # of the machine, from round to round

    def turns(api_ms: float, per_s: float) -> dict[str, Any]:
        return {"turns": [{"api": api_ms * slower, "per second": per_s / slower} for slower in slowdowns]}

    found = {bare: turns(10, 100), without: turns(6, 200), OURS.name: turns(20, 60)}
    assert sides.saturated(found) == sides.Saturated(api=1.25, throughput=0.6)
    assert Ratio("", sides.saturated(None).api, at_most=1.15).met is None


@pytest.mark.parametrize("rate_per_s", [5.0, 30.0, 400.0])
def test_a_p99_rests_on_a_thousand_answers_whatever_the_rate(rate_per_s: float) -> None:
    pace = Pace()
    seconds = pace.seconds(rate_per_s, pace.step_s)
    assert rate_per_s * seconds >= 1_000
    assert seconds >= pace.step_s
    assert SHORT.seconds(rate_per_s, SHORT.step_s) * rate_per_s >= 300


async def test_a_revision_has_a_worktree_that_this_checkout_measures_and_is_gone_afterwards(
    tmp_path: Path,
) -> None:
    if not (CHECKOUT / ".git").exists():
        pytest.skip("no clone")
    async with checkouts({"HEAD", HERE}, tmp_path) as places:
        assert places[HERE] == CHECKOUT
        place = places["HEAD"]
        assert (place / "bench/cost.py").read_bytes() == MEASURED_BY.read_bytes()
        assert str(place) in worktrees()
    assert not place.exists()
    assert str(place) not in worktrees()


def test_a_checkout_has_the_entry_points_of_its_own_revision(tmp_path: Path) -> None:
    connectors = '[project.entry-points."payonce.connectors"]\nold = "somewhere:Old"\n'
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "payonce"\nversion = "1"\n{connectors}')
    declare_entry_points(tmp_path)
    asked = (
        "import importlib.metadata as m; print([e.value for e in m.entry_points(group='payonce.connectors')])"
    )
    command = (sys.executable, "-c", asked)
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    found = subprocess.run(
        command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == "['somewhere:Old']"


async def test_a_revision_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="git worktree"):
        async with checkouts({"no-such-revision"}, tmp_path):
            pass


def worktrees() -> str:
    command = ("git", "worktree", "list")
    return subprocess.run(
        command, cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=30
    ).stdout


class Line:
    """A connection whose server refuses so many times, and answers then."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.asked: list[bytes] = []

    def take(self) -> "Line":
        return self

    def ask(self, request: bytes, answered: Answered) -> None:
        self.asked.append(request)
        answered(Reply(503 if len(self.asked) <= self.refusals else 201))


@pytest.mark.parametrize(("refusals", "status"), [(0, 201), (2, 201), (TRIES, 503)])
async def test_what_is_refused_for_want_of_room_is_asked_again_under_its_key(
    refusals: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "AGAIN_AFTER_S", 0)
    line = Line(refusals)
    reply = await cost.ask(cast("Pool", line), Request(Kind.AUTOMATIC, b"POST"))
    assert reply.status == status
    assert line.asked == [b"POST"] * min(refusals + 1, TRIES)


class Shop:
    """Whose payments are all answered otherwise than expected."""

    def request(self, kind: Kind) -> Request:
        return Request(kind, b"POST")


async def test_a_round_with_too_many_unexpected_answers_is_no_figure() -> None:
    class Target:
        shop = Shop()

    class Elsewhere(Line):
        def ask(self, request: bytes, answered: Answered) -> None:
            answered(Reply(202))

    target: Any = Target()
    with pytest.raises(RuntimeError, match="10 unexpected answers, the first: automatic: 202"):
        await cost.answer_all(target, cast("Pool", Elsewhere(0)), Kind.AUTOMATIC, 10, at_once=2)


async def test_a_process_is_held_to_its_share_and_let_go_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A root of version 1 as files: the kernel's own is the machine's."""
    (tmp_path / "cgroup.procs").touch()
    made: list[Path] = []

    def limit(group: Path, share: float) -> None:
        made.append(group)
        (group / "cgroup.procs").touch()
        assert share == 0.25

    monkeypatch.setattr(shares, "ROOTS", (tmp_path,))
    monkeypatch.setattr(shares, "limit", limit)
    monkeypatch.setattr(Path, "rmdir", lambda path: [each.unlink() for each in path.iterdir()])
    process = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        with shares.held({"api-2": process.pid}, 0.25):
            (group,) = made
            assert group.name.endswith("-api-2")
            assert (group / "cgroup.procs").read_text() == str(process.pid)
        assert (tmp_path / "cgroup.procs").read_text() == str(process.pid)
    finally:
        process.kill()
        await process.wait()


def test_what_a_killed_bench_left_is_gone_and_what_another_uses_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cgroup.procs").touch()
    dead, alive = tmp_path / f"{shares.PREFIX}99999999-api-2", tmp_path / f"{shares.PREFIX}{os.getpid()}-api"
    for group in (dead, alive):
        group.mkdir()
    monkeypatch.setattr(shares, "ROOTS", (tmp_path,))
    with shares.held({}, 0.5):
        assert not dead.exists()
        assert alive.exists()


def test_without_cgroups_nobody_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "ROOTS", (tmp_path,))
    with pytest.raises(StackError, match="cgroups"), shares.held({}, 0.5):
        pass
