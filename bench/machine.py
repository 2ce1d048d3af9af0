"""Where a run took place: figures without it mean nothing."""

import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from devstack.parts import TEMPORAL_GOGC

PROBES, PROBE_BYTES = 100, 8192
GIT_WITHIN_S = 5.0


def described() -> dict[str, Any]:
    """Processors, memory, system, and how long the disk takes for a commit."""
    return {
        "cores": os.cpu_count(),
        "processor": _field(Path("/proc/cpuinfo"), "model name"),
        "memory": _field(Path("/proc/meminfo"), "MemTotal"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "fsync_ms": fsync_ms(),
        "gogc": os.environ.get("GOGC", TEMPORAL_GOGC),
    }


def fsync_ms() -> float:
    """The median time to make one more 8 KiB of a temporary file durable, in milliseconds.

    Of a file with a name: ext4 hardly writes for one that no crash could bring back.
    """
    took: list[float] = []
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(PROBES):
            began = time.perf_counter()
            os.write(file.fileno(), bytes(PROBE_BYTES))
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return round(median(took) * 1000, 3)


def commit() -> str:
    """The commit that was measured, with `-dirty` when files differ from it; `unknown` outside of a clone."""
    command = ("git", "describe", "--always", "--dirty", "--abbrev=12", "--match", "")
    try:
        done = subprocess.run(  # noqa: S603 - a constant
            command,
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=GIT_WITHIN_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def _field(path: Path, name: str) -> str:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"
