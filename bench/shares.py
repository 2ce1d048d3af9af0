"""Processes held to a share of one processor by cgroups, as if each had a smaller machine of its own."""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from devstack.errors import StackError
from devstack.processes import descendants

PREFIX: Final = "payonce-bench-"
PERIOD_US: Final = 20_000  # short, so that a process waits for little when it has used its share
ROOTS: Final = (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup"))  # of version 1, and of version 2


@contextmanager
def held(pids: Mapping[str, int], share: float) -> Iterator[None]:
    """Each process, with what is below it, has no more than this share of a processor while the block runs.

    Raises `StackError` where we may make no cgroups.
    """
    root = next((root for root in ROOTS if (root / "cgroup.procs").exists()), None)
    if root is None or not os.access(root, os.W_OK):
        raise StackError("a share of the machine needs cgroups that we may make: run as root")
    _forget_dead(root)
    with ExitStack() as exits:
        for name, pid in pids.items():
            exits.enter_context(_group(root, f"{PREFIX}{os.getpid()}-{name}", pid, share))
        yield


def _forget_dead(root: Path) -> None:
    """What a bench left that was killed is gone."""
    for group in root.glob(f"{PREFIX}*"):
        pid = group.name.removeprefix(PREFIX).partition("-")[0]
        if not Path(f"/proc/{pid}").exists():
            with suppress(OSError):  # something runs in it
                group.rmdir()


@contextmanager
def _group(root: Path, name: str, pid: int, share: float) -> Iterator[None]:
    group = root / name
    group.mkdir()
    try:
        limit(group, share)
        for each in (pid, *descendants(pid)):
            (group / "cgroup.procs").write_text(str(each))
        yield
    finally:
        _empty(group, root)
        group.rmdir()


def limit(group: Path, share: float) -> None:
    quota_us = round(PERIOD_US * share)
    if (group / "cpu.cfs_quota_us").exists():
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(quota_us))
    else:
        (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")


def _empty(group: Path, root: Path) -> None:
    """What still runs there is in the group above."""
    for pid in (group / "cgroup.procs").read_text().split():
        try:
            (root / "cgroup.procs").write_text(pid)
        except OSError as error:
            if error.errno != errno.ESRCH:  # it has just ended
                raise
