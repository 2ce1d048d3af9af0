"""Whether this process lives, and whether another could do better in its place.

A dependency that all processes share never makes one of them unready: a balancer would drop all of them, with the
reads, callbacks and payments that can be answered all the same. It is named in the body, and in a metric.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from api.http.lookups import MOMENT_S, Remembered
from api.http.responses import shown
from api.problems import STATUS, UNAVAILABLE
from payonce.domain.answers import encode
from payonce.logging import get_logger
from payonce.metrics import DEPENDENCY_UP

_ALL = "all"
PROBE_S = 1.0  # for all dependencies together: they are asked at the same time

Probe = Callable[[], Awaitable[object]]

log = get_logger(__name__)


class Health:
    """The handlers for those who run the service; none needs an API key."""

    def __init__(self, probes: Mapping[str, Probe], faults: Mapping[str, Callable[[], bool]]) -> None:
        self._probes = probes
        self._faults = faults
        self._stopping = False
        self._asking: dict[str, asyncio.Task[str]] = {}
        self._found = Remembered[str, dict[str, str]](MOMENT_S, most=1)

    def stop(self) -> None:
        """The process is about to end, and not ready from now on."""
        self._stopping = True

    async def livez(self, _request: Request) -> Response:
        """Answers on the event loop that does the work, so that a blocked loop is noticed."""
        return shown(b'{"status":"ok"}')

    async def readyz(self, _request: Request) -> Response:
        """503 for faults of this process only. One of its event loop shows as no answer: this is on it, too."""
        states = await self._ask()
        faults = [name for name, stands in self._faults.items() if stands()]
        faults += ["shutting_down"] if self._stopping else []
        status = "not_ready" if faults else "ready"
        body = encode({"status": status, "faults": faults, "dependencies": states})
        return shown(body, status=STATUS[UNAVAILABLE] if faults else 200)

    async def _ask(self) -> dict[str, str]:
        """What each dependency is: `ok`, `failed`, or `timeout` when it did not answer in time.

        A probe that hangs is left to end; there is one of each at most. Where all have ended, what they found is
        remembered for a moment: whoever asks needs no key.
        """
        if (found := self._found.get(_ALL)) is not None:
            return found
        for name, probe in self._probes.items():
            if name not in self._asking:
                self._asking[name] = asyncio.create_task(_state(name, probe))
        tasks = dict(self._asking)
        if tasks:
            await asyncio.wait(tasks.values(), timeout=PROBE_S)
        for name in [name for name, task in self._asking.items() if task.done()]:
            del self._asking[name]
        states = {name: task.result() if task.done() else "timeout" for name, task in tasks.items()}
        for name, state in states.items():
            DEPENDENCY_UP.labels(name).set(state == "ok")
        if not self._asking:
            self._found.put(_ALL, states)
        return states


async def _state(name: str, probe: Probe) -> str:
    try:
        await probe()
    except Exception as error:  # whatever it raises, the dependency does not work
        log.warning("dependency_failed", dependency=name, error=type(error).__name__)
        return "failed"
    return "ok"
