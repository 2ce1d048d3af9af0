"""Who listens on a port, as the kernel says: a server that answers may be somebody else's. Linux only."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
LISTENING = "0A"
_LINK = "socket:["


def listeners(port: int) -> set[str]:
    """The sockets, by inode, that listen on the port. Source: proc_net(5); the kernel's TCP_LISTEN is 10."""
    return {inode for table in TABLES for inode in _rows(Path(table), f"{port:04X}")}


def sockets_of(pids: Iterable[int]) -> set[str]:
    """Every socket that the processes have open, by inode. Source: proc_pid_fd(5)."""
    return {inode for pid in pids for inode in _open(Path(f"/proc/{pid}/fd"))}


def _rows(table: Path, port: str) -> Iterator[str]:
    with suppress(OSError):
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and fields[1].endswith(f":{port}"):
                yield fields[9]


def _open(directory: Path) -> Iterator[str]:
    with suppress(OSError):
        for link in directory.iterdir():
            with suppress(OSError):
                target = os.readlink(link)
                if target.startswith(_LINK):
                    yield target.removeprefix(_LINK).removesuffix("]")
