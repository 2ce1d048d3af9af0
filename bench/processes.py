"""What processes have used of the processors. Linux only."""

import os
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from devstack.processes import descendants

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Seconds of a process and of everything below it, those that ended included.

    A child that ended and was waited for is in its parent's sums, so the total never goes back. Source:
    proc_pid_stat(5), fields 14 to 17.
    """
    return sum(_ticks(one) for one in {pid, *descendants(pid)}) / _TICKS_PER_S


def cpu_by_name(pids: Mapping[str, int]) -> dict[str, float]:
    """The same by name; `api-2` counts as `api`."""
    used: defaultdict[str, float] = defaultdict(float)
    for name, pid in pids.items():
        used[group_of(name)] += cpu_s(pid)
    return dict(used)


def machine_s() -> float:
    """Seconds that all processors together were not idle since the start. Source: proc_stat(5), the line `cpu`."""
    with Path("/proc/stat").open() as file:
        return busy_ticks(file.readline()) / _TICKS_PER_S


def busy_ticks(line: str) -> int:
    """All of the line but `idle` and `iowait`; guests' time is in `user` already."""
    fields = [int(field) for field in line.split()[1:9]]
    return sum(fields) - fields[3] - fields[4]


def group_of(name: str) -> str:
    """The name without the number of one among several."""
    stem, _, number = name.rpartition("-")
    return stem if number.isdigit() else name


def ticks_of(stat: str) -> int:
    """User and system time, own and of children that were waited for, from a line of /proc/PID/stat."""
    fields = stat.rpartition(") ")[2].split()  # the name before may hold anything; this begins with field 3
    return sum(int(field) for field in fields[11:15])


def _ticks(pid: int) -> int:
    with suppress(FileNotFoundError, ProcessLookupError):
        return ticks_of(Path(f"/proc/{pid}/stat").read_text())
    return 0
