"""Whether this process lives, whether it can do its work, and what it counted."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from api.problems import STATUS, UNAVAILABLE
from api.replies import shown
from payonce.domain.answers import encode
from payonce.logging import get_logger

PROBE_S = 1.0  # for all dependencies together: they are asked at the same time
NEEDED: Final = frozenset({"postgres", "temporal"})  # Redis may be lost: that costs latency only

Probe = Callable[[], Awaitable[object]]

log = get_logger(__name__)


class Health:
    """The handlers for those who run the service; none needs an API key."""

    def __init__(self, probes: Mapping[str, Probe]) -> None:
        self._probes = probes
        self._asking: dict[str, asyncio.Task[str]] = {}

    async def livez(self, _request: Request) -> Response:
        """Answers on the event loop that does the work, so that a blocked loop is noticed."""
        return shown(b'{"status":"ok"}')

    async def readyz(self, _request: Request) -> Response:
        states = await self._ask()
        ready = all(states[name] == "ok" for name in NEEDED & states.keys())
        body = encode({"status": "ready" if ready else "not_ready", "dependencies": states})
        return shown(body, status=200 if ready else STATUS[UNAVAILABLE])

    async def metrics(self, _request: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    async def _ask(self) -> dict[str, str]:
        """What each dependency is: `ok`, `failed`, or `timeout` when it did not answer in time.

        A probe that hangs is left to end; there is one of each at most.
        """
        for name, probe in self._probes.items():
            if name not in self._asking:
                self._asking[name] = asyncio.create_task(_state(name, probe))
        tasks = dict(self._asking)
        if tasks:
            await asyncio.wait(tasks.values(), timeout=PROBE_S)
        for name in [name for name, task in self._asking.items() if task.done()]:
            del self._asking[name]
        return {name: task.result() if task.done() else "timeout" for name, task in tasks.items()}


async def _state(name: str, probe: Probe) -> str:
    try:
        await probe()
    except Exception as error:  # whatever it raises, the dependency does not work
        log.warning("dependency_failed", dependency=name, error=type(error).__name__)
        return "failed"
    return "ok"
