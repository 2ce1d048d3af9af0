"""What servers of tests write is in memory where there is room for it: a database on a disk costs ten times the CPU.

A process that was killed leaves its files behind: whoever wants none in memory sets TMPDIR.
"""

import os
import shutil
import tempfile
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
ROOM_BYTES = 8 * 2**30  # a run of two processes takes less than half of it
_AVAILABLE = "MemAvailable:"


def keep_files_in_memory() -> None:
    """This process and what it starts make their temporary files in memory, unless TMPDIR says where."""
    if "TMPDIR" not in os.environ and has_room(SHARED_MEMORY):
        os.environ["TMPDIR"] = tempfile.tempdir = str(SHARED_MEMORY)


def has_room(place: Path) -> bool:
    """Whoever we are may write there and run programs, and memory will not run out."""
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return False
    if os.statvfs(place).f_flag & os.ST_NOEXEC:
        return False
    return min(shutil.disk_usage(place).free, _available_bytes()) >= ROOM_BYTES


def _available_bytes() -> int:
    """Source: proc_meminfo(5), in KiB."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(_AVAILABLE))
