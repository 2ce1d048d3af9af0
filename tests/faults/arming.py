"""Arms the faults that `site/sitecustomize.py` meets, and starts the processes that are to meet them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from devstack import parts
from devstack.parts import CHECKOUT
from devstack.ports import LOOPBACK, Ports
from devstack.service import Service
from devstack.stack import DevStack
from tests.support.eventually import eventually

SITE = Path(__file__).parent / "site"
FOLDER = "TESTS_FAULTS_FOLDER"

Point = Literal[
    "admitted", "handed_over", "before_claim", "before_send", "after_check", "after_send", "after_record"
]
CallbackPoint = Literal["before_inbox", "received", "spoken"]
Action = Literal["kill", "stop", "lazily"]


def environ_with_faults(folder: Path) -> dict[str, str]:
    """What a process of the product needs in order to meet the faults armed in `folder`."""
    return {"PYTHONPATH": f"{SITE}:{CHECKOUT}", FOLDER: str(folder)}


@dataclass(frozen=True)
class Doomed:
    """An API process of its own, on a port of its own, for a test to kill or stop."""

    service: Service
    url: str
    folder: Path

    def arm(
        self, kind: str, point: Point | CallbackPoint, payment_id: str, *, action: Action, together: int = 1
    ) -> None:
        """This process acts at the point of that payment's attempt, once `together` points are reached."""
        assert self.service.pid is not None
        armed = self.folder / f"{kind}.{point}.{payment_id}"
        armed.write_text(f"{self.service.pid} {action} {together}")

    async def reached(self, kind: str, point: Point | CallbackPoint, payment_id: str) -> None:
        """Returns when the process is dead, or stopped, at the point."""
        path = self.folder / f"{kind}.{point}.{payment_id}.reached"

        async def acted() -> bool:
            return path.exists() and (self.service.pid is None or self.is_stopped())

        await eventually(acted, timeout_s=60.0)

    def is_stopped(self) -> bool:
        """Whether SIGSTOP holds it. Source: proc_pid_stat(5)."""
        try:
            stat = Path(f"/proc/{self.service.pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):  # it died meanwhile
            return False
        return stat.rpartition(") ")[2].startswith("T")


@asynccontextmanager
async def doomed_api(stack: DevStack, *, name: str) -> AsyncIterator[Doomed]:
    """One more API process of the stack answers on a port that nobody else knows; afterwards it is gone."""
    ports = Ports()
    environ = stack.product_environ() | {"PAYONCE_API_PORT": str(port := ports.free())}
    part = parts.api(number=1, port=port, environ=environ)
    log = stack.log_dir / f"doomed-{name}.log"
    service = Service(part, log, report=lambda _line: None, on_change=lambda: None)
    try:
        await service.start()
        yield Doomed(service, f"http://{LOOPBACK}:{port}", Path(environ[FOLDER]))
    finally:
        await service.kill()
        ports.close()
