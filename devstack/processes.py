"""Child processes: started in a group of their own, logged, signalled as a tree, ended for certain."""

import asyncio
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from devstack.errors import StackError

TETHER = Path(__file__).with_name("tether.py")
LAST_WORDS_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, with which whole environment, where, and as whom (None: as ourselves)."""

    arguments: tuple[str, ...]
    environ: Mapping[str, str]
    directory: Path
    account: str | None = None


class Child(Protocol):
    """What runs, as `asyncio.subprocess.Process` has it."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    async def wait(self) -> int: ...

    async def communicate(self) -> tuple[bytes | None, bytes | None]: ...


Launch = Callable[[Command, Path, bool], Awaitable[Child]]


async def launch_interpreter(command: Command, log: Path, capture: bool) -> Child:
    """The command runs as a program of its own."""
    tie = (sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), command.account or "-")
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *tie,
            *command.arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if capture else output,
            stderr=output,
            env=dict(command.environ),
            cwd=command.directory,
            start_new_session=True,
        )


class Process:
    """One running command; it dies with this process, even when this process is killed."""

    launch: ClassVar[Launch] = staticmethod(launch_interpreter)

    def __init__(self, process: Child) -> None:
        self._process = process

    @classmethod
    async def start(cls, command: Command, log: Path, *, capture: bool = False) -> "Process":
        """The command runs; its output is appended to the log (with `capture`, only its stderr)."""
        return cls(await cls.launch(command, log, capture))

    @property
    def pid(self) -> int:
        """Its process id, which is also its group's."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended (minus the signal's number when a signal ended it); None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Its return code, once it ended."""
        return await self._process.wait()

    async def output(self) -> str:
        """What it wrote to a captured stdout, once it ended."""
        stdout, _ = await self._process.communicate()
        return (stdout or b"").decode(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """The process has the signal; what its own children do is its business."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def send_to_tree(self, number: signal.Signals) -> None:
        """The process and everything below it have the signal (Postgres's children leave its group)."""
        if self.returncode is not None:
            return
        for pid in self.tree():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def tree(self) -> list[int]:
        """The ids of the process and of everything below it."""
        return [self.pid, *descendants(self.pid)]

    async def end(self, number: signal.Signals, *, within_s: float) -> None:
        """The process is gone: asked first, killed when it takes longer than the limit."""
        self.send(number)
        self.send_to_tree(signal.SIGCONT)  # a stopped process would not hear the first signal
        try:
            await asyncio.wait_for(self.wait(), within_s)
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """The process and everything below it are gone."""
        self.send_to_tree(signal.SIGKILL)
        await self.wait()


def descendants(pid: int) -> Iterator[int]:
    """Every living process below this one, as one look at all of them says.

    Not by `children` of proc_pid_task(5), which may leave one out while another ends.
    """
    children = defaultdict(list)
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            children[parent_in((directory / "stat").read_text())].append(int(directory.name))
    below = children.pop(pid, [])
    while below:
        each = below.pop()
        yield each
        below += children.pop(each, [])


def parent_in(stat: str) -> int:
    """The parent's id, from a line of /proc/PID/stat. Source: proc_pid_stat(5)."""
    return int(stat.rpartition(") ")[2].split()[1])  # the name before may hold anything, brackets too


async def run(name: str, command: Command, log: Path, *, within_s: float, capture: bool = False) -> str:
    """The command succeeded; its captured stdout. Raises StackError when it fails or takes too long."""
    process = await Process.start(command, log, capture=capture)
    try:
        output = await asyncio.wait_for(process.output(), within_s)
    except TimeoutError as error:
        raise StackError(f"{name} took longer than {within_s:.0f} s; see {log}") from error
    finally:
        await process.kill()
    if process.returncode:
        raise StackError(f"{name} failed with status {process.returncode}: {last_line(log)} (see {log})")
    return output


def last_words(log: Path) -> str:
    """The end of what was written, a page at most."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LAST_WORDS_BYTES))
        return file.read().decode(errors="replace")


def last_line(log: Path) -> str:
    """The last line with something in it, for a message of one line."""
    lines = [line.strip() for line in last_words(log).splitlines() if line.strip()]
    return lines[-1] if lines else "it wrote nothing"
