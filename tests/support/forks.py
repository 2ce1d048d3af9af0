"""Python programs forked from a process that has imported them already: a start costs a tenth of an interpreter's.

Tests start some hundreds: APIs, workers, acquirers, the command. `make dev` and production start interpreters, and so
does whatever tests `python -m devstack`.
"""

import asyncio
import gc
import os
import runpy
import select
import signal
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import forkserver, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import NamedTemporaryFile

from devstack import tether
from devstack.parts import CHECKOUT
from devstack.processes import Child, Command, Process, launch_interpreter

PROGRAMS = ("api", "workers", "payonce", "devstack.acquirer", "tests.support.command")
_IMPORTED = (__name__, "api.main", "workers.__main__", "payonce.cli", "devstack.acquirer.__main__")

_FORKS = get_context("forkserver")
_FORKS.set_forkserver_preload(list(_IMPORTED))
# A start looks how those before it ended. How one ended can be read once, and whoever reads it second hears 255.
_ONE_AT_A_TIME = ThreadPoolExecutor(max_workers=1, thread_name_prefix="forks")


def fork_programs() -> None:
    """From now on this process forks what it starts of `PROGRAMS`."""
    Process.launch = launch


async def launch(command: Command, log: Path, capture: bool) -> Child:
    """The command runs, forked where it is one of `PROGRAMS`."""
    python, *arguments = command.arguments
    if python != sys.executable or arguments[:1] != ["-m"] or arguments[1] not in PROGRAMS or command.account:
        return await launch_interpreter(command, log, capture)
    return await Forked.start(command, log, capture=capture)


@dataclass(frozen=True)
class Ran:
    """How a program ended, and what it printed."""

    status: int
    out: str
    error: str


async def ran(
    program: str,
    *arguments: str,
    environ: Mapping[str, str],
    within_s: float = 60.0,
    directory: Path = CHECKOUT,
    given: bytes = b"",
) -> Ran:
    """One of `PROGRAMS` has ended, in the directory, with this environment and nothing else, and `given` to read."""
    with NamedTemporaryFile() as errors:
        command = Command((sys.executable, "-m", program, *arguments), environ, directory)
        process = await Forked.start(command, Path(errors.name), capture=True, given=given)
        try:
            out, _ = await asyncio.wait_for(process.communicate(), within_s)
        finally:
            process.send_signal(signal.SIGKILL)
        status = await process.wait()
        return Ran(status, (out or b"").decode(), errors.read().decode())


class Forked:
    """One that runs, as `asyncio.subprocess.Process` shows it."""

    def __init__(self, process: BaseProcess, told: Connection | None) -> None:
        self._process = process
        self._told = told
        self._over = asyncio.get_running_loop().create_task(self._ended())

    @classmethod
    async def start(
        cls, command: Command, log: Path | None, *, capture: bool = False, given: bytes = b""
    ) -> "Forked":
        """It runs; its output is appended to the log (with `capture`, only its stderr, which is captured without a
        log), and it reads what it is given.
        """
        assert len(given) <= select.PIPE_BUF, "it is written before anybody reads"
        told, theirs = _FORKS.Pipe(duplex=False) if capture else (None, None)
        _, _, program, *arguments = command.arguments
        process = _FORKS.Process(
            target=_run,
            args=(
                (program, *arguments),
                dict(command.environ),
                str(command.directory),
                str(log or ""),
                theirs,
                given,
            ),
            daemon=True,
        )
        # The first one waits until the modules are imported.
        await asyncio.get_running_loop().run_in_executor(_ONE_AT_A_TIME, process.start)
        if theirs is not None:
            theirs.close()
        return cls(process, told)

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._over.result() if self._over.done() else None

    def send_signal(self, number: signal.Signals) -> None:
        """Once it has ended, nothing."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def wait(self) -> int:
        return await asyncio.shield(self._over)

    async def communicate(self) -> tuple[bytes | None, None]:
        told = None if self._told is None else await asyncio.to_thread(_read, self._told)
        await self.wait()
        return told, None

    async def line(self) -> bytes:
        """The next that it prints; nothing, if it ends before."""
        assert self._told is not None
        return await asyncio.to_thread(_line, self._told)

    async def _ended(self) -> int:
        """Its return code, once there is one."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._process.sentinel, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        await loop.run_in_executor(_ONE_AT_A_TIME, self._process.join)
        assert self._process.exitcode is not None
        return self._process.exitcode


def _read(told: Connection) -> bytes:
    with os.fdopen(os.dup(told.fileno()), "rb") as file:
        return file.read()


def _line(told: Connection) -> bytes:
    with os.fdopen(os.dup(told.fileno()), "rb", buffering=0) as file:
        return file.readline()


def _run(
    arguments: tuple[str, ...],
    environ: Mapping[str, str],
    directory: str,
    log: str,
    told: Connection | None,
    given: bytes,
) -> None:
    """This process is the program, as an interpreter of its own would be."""
    gc.freeze()  # what was imported stays: to look through it would copy it into this process
    os.setsid()
    _let_forkserver_end()
    tether.tie_to(os.getppid())
    _redirect(log, told)
    _give(given)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(directory)
    sys.path[:0] = [path for path in environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.modules.pop("sitecustomize", None)
    with suppress(ModuleNotFoundError):
        import sitecustomize  # noqa: F401
    sys.argv = list(arguments)
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


def _let_forkserver_end() -> None:
    """The fork server ends with the process of pytest, and this one with it: none holds the other any more.

    A child keeps its server alive, so that it may fork by it, too; ours die with theirs. It has no public name.
    """
    held: int = forkserver._forkserver._forkserver_alive_fd  # type: ignore[attr-defined]
    os.close(held)


def _redirect(log: str, told: Connection | None) -> None:
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if log else None
    kept = [each for each in (output, None if told is None else told.fileno()) if each is not None]
    os.dup2(kept[-1], 1)
    os.dup2(kept[0], 2)
    if output is not None:
        os.close(output)
    if told is not None:
        told.close()


def _give(content: bytes) -> None:
    """The standard input is this and then ends."""
    theirs, ours = os.pipe()
    os.write(ours, content)
    os.close(ours)
    os.dup2(theirs, 0)
    os.close(theirs)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - the process has it until it ends
