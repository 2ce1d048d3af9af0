"""A part as something that runs: started until ready, restarted when it dies, paused, killed, ended."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

from devstack.errors import PortTaken, StackError
from devstack.listeners import listeners, sockets_of
from devstack.parts import Part
from devstack.processes import Process, descendants, last_line, last_words

READY_POLL_S = 0.05
SHORT_LIFE_S = 2.0
FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 4.0
IN_USE = "already in use"  # Source: strerror(EADDRINUSE), which every part of ours repeats


class Service:
    """One part of the stack and its present process, if any."""

    def __init__(
        self,
        part: Part,
        log: Path,
        *,
        report: Callable[[str], None],
        on_change: Callable[[], None],
    ) -> None:
        self.part = part
        self.log = log
        self._report = report
        self._on_change = on_change
        self._process: Process | None = None
        self._supervised = False
        self._watcher: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs (a stopped process runs, too), else None."""
        if self._process is None or self._process.returncode is not None:
            return None
        return self._process.pid

    async def start(self) -> None:
        """The part runs and answers. Safe to repeat. Raises StackError when it ends or takes too long, and PortTaken
        when another program has its port.
        """
        if self.pid is None:
            await self._unwatch()
            await self._spawn()
        await self._until_ready()
        if self._supervised and self._watcher is None:
            self._watcher = asyncio.create_task(self._restart_whenever_it_dies())

    def supervise(self) -> None:
        """From now on the part is started again whenever it dies by itself or by a stranger's hand."""
        self._supervised = True
        self._watcher = asyncio.create_task(self._restart_whenever_it_dies())

    def pause(self) -> None:
        """It keeps its memory and its connections and does nothing (SIGSTOP)."""
        self._running().send_to_tree(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on where it was paused (SIGCONT)."""
        self._running().send_to_tree(signal.SIGCONT)

    async def kill(self) -> None:
        """It was ended without warning (SIGKILL) and stays down until `start`."""
        await self._unwatch()
        if self._process is not None:
            await self._process.kill()
            self._on_change()

    async def end(self) -> None:
        """It was asked to end, then made to, and stays down until `start`."""
        await self._unwatch()
        if self._process is not None:
            await self._process.end(self.part.end_signal, within_s=self.part.end_within_s)
            self._on_change()

    def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            raise StackError(f"{self.part.name} does not run")
        return self._process

    async def _spawn(self) -> None:
        self._process = await Process.start(self.part.command, self.log)
        self._on_change()

    async def _until_ready(self) -> None:
        deadline = time.monotonic() + self.part.ready_within_s
        while True:
            if self._process is None or self._process.returncode is not None:
                raise self._why_it_ended()
            if await self.part.is_ready() and self._listens(self._process):
                return
            if time.monotonic() > deadline:
                limit_s = self.part.ready_within_s
                raise StackError(f"{self.part.name} is not ready after {limit_s:.0f} s; see {self.log}")
            await asyncio.sleep(READY_POLL_S)

    def _listens(self, process: Process) -> bool:
        """Whether what answers is this process. Raises PortTaken where another stack's, or a stranger's, does."""
        self._look_for_strangers()
        own = sockets_of(process.tree())
        return all(listeners(port) & own for port in self.part.ports)

    def _look_for_strangers(self) -> None:
        """Raises PortTaken for what listens twice and is none of ours either time.

        The second look is for a child of ours that began to listen since the first looked at our processes.
        """
        for port in self.part.ports:
            if _foreign(port) & _foreign(port):
                message = f"another program listens on port {port}, which {self.part.name} was to have"
                raise PortTaken(message, port)

    def _why_it_ended(self) -> StackError:
        """That of a port which is free again is known from its last words alone."""
        message = f"{self.part.name} did not start: {last_line(self.log)} (see {self.log})"
        try:
            self._look_for_strangers()
        except PortTaken as taken:
            return taken
        said = last_words(self.log)
        if IN_USE in said.lower() and self.part.ports:
            named = [port for port in self.part.ports if re.search(rf"\b{port}\b", said)]
            return PortTaken(message, (named or self.part.ports)[0])
        return StackError(message)

    async def _restart_whenever_it_dies(self) -> None:
        """At most one start every LONGEST_DELAY_S while it keeps dying young."""
        short_lives = 0
        while True:
            started_at = time.monotonic()
            assert self._process is not None  # it was spawned before it was supervised
            returncode = await self._process.wait()
            died_young = time.monotonic() - started_at < SHORT_LIFE_S
            short_lives = short_lives + 1 if died_young else 0
            delay_s = min(FIRST_DELAY_S * 2**short_lives, LONGEST_DELAY_S)
            self._report(f"{self.part.name} {how_it_ended(returncode)}; starting it again in {delay_s:.1f} s")
            await asyncio.sleep(delay_s)
            await self._spawn()

    async def _unwatch(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.wait([watcher])


def _foreign(port: int) -> set[str]:
    """The sockets that listen on the port and are none of our processes'.

    Listeners first: what is opened between the two looks is in the second alone, and so is not foreign.
    """
    listening = listeners(port)
    return listening - sockets_of(descendants(os.getpid())) if listening else listening


def how_it_ended(returncode: int) -> str:
    """The return code in words."""
    if returncode < 0:
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"ended with code {returncode}"
