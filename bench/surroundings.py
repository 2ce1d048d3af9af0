"""What a target runs among: directories, ports, the acquirer, the stack's options, a foreign Temporal server."""

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client

from bench.measure import Meter, open_meter
from devstack import parts
from devstack.parts import CHECKOUT, NAMESPACE, Part
from devstack.ports import LOOPBACK, Ports
from devstack.postgres import DATABASE, server_url
from devstack.service import Service
from devstack.stack import DevStack, StackOptions

_MEMORY = Path("/dev/shm")  # noqa: S108  # a directory of our own in it
LEDGERS = _MEMORY if _MEMORY.is_dir() else None
ACQUIRER_KEY = secrets.token_hex(32)
NOWHERE = f"{LOOPBACK}:1"  # nothing listens there, and nobody asks


@dataclass(frozen=True, slots=True)
class Server:
    """A Temporal server that runs already, as what started it describes it."""

    address: str
    pids: Mapping[str, int] = field(default_factory=dict)
    database_url: str | None = None

    @classmethod
    def from_file(cls, path: Path | None) -> "Server | None":
        """From the line of JSON that it prints, None without a file. Raises `OSError`, `KeyError`, `ValueError`."""
        if path is None:
            return None
        described = json.loads(path.read_text())
        pids = {_process_name(name): pid for name, pid in described["pids"].items()}
        return cls(described["address"], pids, described["database_url"])


@dataclass(frozen=True, slots=True)
class Setup:
    """What all targets have in common."""

    delay_ms: int
    server: Server | None = None  # else each target's stack has a development server
    product_environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Acquirer:
    """The sandbox acquirer of one target."""

    url: str
    service: Service

    @property
    def pids(self) -> dict[str, int]:
        return {} if self.service.pid is None else {"acquirer": self.service.pid}


@contextmanager
def directory(parent: Path | None = None) -> Iterator[Path]:
    """A directory that an unprivileged account can walk into, as PostgreSQL must when we are root."""
    path = Path(tempfile.mkdtemp(prefix="payonce-bench-", dir=parent))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@contextmanager
def held_port() -> Iterator[int]:
    """A port that stays ours while the block runs."""
    ports = Ports()
    try:
        yield ports.free()
    finally:
        ports.close()


@asynccontextmanager
async def running_acquirer(delay_ms: int) -> AsyncIterator[Acquirer]:
    """The sandbox acquirer with its delay set, its ledger in memory: an acquirer has a disk of its own."""
    with directory(LEDGERS) as path, held_port() as port:
        ledger, url = path / "acquirer.sqlite", f"http://{LOOPBACK}:{port}"
        part = parts.acquirer(port=port, ledger=ledger, key=ACQUIRER_KEY, environ=plain_environ())
        service = service_of(part, path)
        try:
            await service.start()
            await _set_delay(url, delay_ms)
            yield Acquirer(url, service)
        finally:
            await service.end()


def stack_options(
    setup: Setup, path: Path, acquirer: Acquirer, wanted: Sequence[str], *, api_processes: int = 1
) -> StackOptions:
    """A stack of these parts on durable settings, with the acquirer and any foreign server in their places."""
    address = NOWHERE if setup.server is None else setup.server.address
    given = {
        "PAYONCE_SANDBOX_ACQUIRER_URL": acquirer.url,
        "PAYONCE_SANDBOX_ACQUIRER_KEY": ACQUIRER_KEY,
        "PAYONCE_TEMPORAL_ADDRESS": address,
    }
    return StackOptions(
        directory=path,
        parts=tuple(name for name in wanted if name != "temporal" or setup.server is None),
        environ={**plain_environ(), **given},
        product_environ=setup.product_environ,
        any_ports=True,
        api_processes=api_processes,
        temporal_ui=False,
        durable=True,
        restart=False,  # a process that dies must show, not be hidden
    )


@asynccontextmanager
async def metered(
    setup: Setup, stack: DevStack, pids: Callable[[], Mapping[str, int]]
) -> AsyncIterator[Meter]:
    """A meter over the processes and the stack's Postgres, and over a foreign Temporal server with its own."""
    urls = {"postgres": server_url(stack.port("postgres"), DATABASE)}
    foreign: Mapping[str, int] = {}
    if setup.server is not None:
        foreign = setup.server.pids
        await _register_search_attributes(setup.server.address)
        if setup.server.database_url is not None:
            urls["temporal-postgres"] = setup.server.database_url
    async with open_meter(lambda: {**pids(), **foreign}, urls) as meter:
        yield meter


def plain_environ() -> dict[str, str]:
    """Ours without the product's variables: another stack's settings do not reach this one."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PAYONCE_")}
    return {**kept, "PYTHONPATH": str(CHECKOUT)}


def service_of(part: Part, log_dir: Path) -> Service:
    """The part as something that can be started and ended, silently."""
    return Service(part, log_dir / f"{part.name}.log", report=lambda _: None, on_change=lambda: None)


def environ_from(pairs: Sequence[str]) -> dict[str, str]:
    """From PAYONCE_NAME=VALUE arguments. Raises `ValueError`."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.startswith("PAYONCE_"):
            raise ValueError(f"{pair!r} is not PAYONCE_NAME=VALUE")
        found[name] = value
    return found


def _process_name(name: str) -> str:
    return name if name == "temporal" else f"temporal-{name}"


async def _register_search_attributes(address: str) -> None:
    """The server has every search attribute of ours; safe to repeat."""
    client = await Client.connect(address)
    operator = client.operator_service
    there = await operator.list_search_attributes(ListSearchAttributesRequest(namespace=NAMESPACE))
    missing = {
        name: IndexedValueType.Value(f"INDEXED_VALUE_TYPE_{kind.upper()}")
        for name, kind in parts.SEARCH_ATTRIBUTES.items()
        if name not in there.custom_attributes
    }
    if missing:
        request = AddSearchAttributesRequest(namespace=NAMESPACE, search_attributes=missing)
        await operator.add_search_attributes(request)


async def _set_delay(url: str, delay_ms: int) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        (await client.patch("/config", json={"delay_ms": delay_ms})).raise_for_status()
