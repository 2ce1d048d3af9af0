"""The whole product on loopback, as one object: used by `make dev` and by the tests."""

import asyncio
import base64
import json
import os
import secrets
import shutil
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from devstack import adyen_account, parts, razorpay_account, stripe_account
from devstack.errors import PortTaken, StackError
from devstack.parts import CHECKOUT, NAMESPACE, Part
from devstack.ports import LOOPBACK, Ports
from devstack.postgres import (
    API_ROLE,
    ENGINE_ROLE,
    WORKER_ROLE,
    as_role,
    create_database,
    open_logins,
    place_cluster,
    product_url,
)
from devstack.processes import last_line
from devstack.seed import payonce, seed
from devstack.service import Service
from devstack.state import State, write_json

INFRASTRUCTURE = ("postgres", "redis", "temporal", "acquirer")
PRODUCT = ("api", "worker", "relay", "renderer")
DEFAULT_PORTS = {
    "api": ("PAYONCE_API_PORT", 8080),
    "temporal": ("PAYONCE_TEMPORAL_PORT", 7233),
    "temporal-ui": ("PAYONCE_TEMPORAL_UI_PORT", 8233),
    "postgres": ("PAYONCE_POSTGRES_PORT", 5433),
    "redis": ("PAYONCE_REDIS_PORT", 6380),
    "acquirer": ("PAYONCE_ACQUIRER_PORT", 9090),
}
METRICS_PORTS = ("PAYONCE_METRICS_PORT", 9101)  # of the first process; the others have the next ones
API_DATABASE_URL = "PAYONCE_API_DATABASE_URL"  # given, both roles' logins are the caller's
MAX_API_PROCESSES = 64
PORT_TRIES = 4


def silent(_line: str) -> None:
    """Says nothing."""


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What to start, where, and how.

    `environ` is what `make dev` reads its PAYONCE_* variables from; `any_ports` ignores its ports.
    `product_environ` goes over what the product's processes would get. Not `durable` is quicker, and
    survives a killed process all the same. `temporal_settings` go over the server's dynamic configuration.
    `restart` brings back what dies by itself.
    """

    directory: Path
    parts: tuple[str, ...] = (*INFRASTRUCTURE, *PRODUCT)
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    product_environ: Mapping[str, str] = field(default_factory=dict)
    temporal_settings: Mapping[str, object] = field(default_factory=dict)
    any_ports: bool = False
    api_processes: int = 1
    temporal_ui: bool = True
    durable: bool = True
    restart: bool = True
    report: Callable[[str], None] = silent
    on_change: Callable[[], None] | None = None


class DevStack:
    """`async with DevStack(options) as stack`: every part asked for answers; afterwards none is left."""

    def __init__(self, options: StackOptions) -> None:
        self.options = options
        self.log_dir = options.directory / "logs"
        self._ports = Ports()
        self._port_of: dict[str, int] = {}
        self._metrics_port_of: dict[str, int] = {}
        self._asked_for: set[str] = set()  # variables that name a port
        self._services: dict[str, Service] = {}
        self._state = State(options.directory / "state.json")

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()

    # Where things are

    @property
    def api_url(self) -> str:
        """The base URL of the HTTP API."""
        return f"http://{LOOPBACK}:{self._port_of['api']}"

    @property
    def acquirer_url(self) -> str:
        """The base URL of the sandbox acquirer."""
        if "acquirer" in self._port_of:
            return f"http://{LOOPBACK}:{self._port_of['acquirer']}"
        return self.options.environ["PAYONCE_SANDBOX_ACQUIRER_URL"]

    @property
    def temporal_address(self) -> str:
        """Host and port of Temporal's gRPC front end."""
        if "temporal" in self._port_of:
            return f"{LOOPBACK}:{self._port_of['temporal']}"
        return self.options.environ["PAYONCE_TEMPORAL_ADDRESS"]

    @property
    def temporal_ui_url(self) -> str:
        """The base URL of Temporal's Web UI."""
        return f"http://{LOOPBACK}:{self._port_of['temporal-ui']}"

    @property
    def database_url(self) -> str:
        """The database as its owner, who migrates it: the product connects as its two roles (`product_environ`)."""
        given = self._given("PAYONCE_DATABASE_URL")
        return given or product_url(self._port_of["postgres"])

    @property
    def redis_url(self) -> str:
        """PAYONCE_REDIS_URL of the product's processes."""
        return self._given("PAYONCE_REDIS_URL") or f"redis://{LOOPBACK}:{self._port_of['redis']}/0"

    @property
    def receipts_url(self) -> str:
        """Where receipts are kept: a folder, unless told otherwise."""
        return self._given("PAYONCE_RECEIPTS_URL") or (self.options.directory / "receipts").resolve().as_uri()

    @property
    def api_key(self) -> str:
        """The first merchant's test key."""
        return self._state.merchants[0].key

    @property
    def api_key_2(self) -> str:
        """The second merchant's test key."""
        return self._state.merchants[1].key

    def port(self, name: str) -> int:
        """The port of a part: postgres redis temporal temporal-ui acquirer api."""
        return self._port_of[name]

    @property
    def metrics_urls(self) -> dict[str, str]:
        """Where each process of the product serves what it counts."""
        return {name: f"http://{LOOPBACK}:{port}/metrics" for name, port in self._metrics_port_of.items()}

    @property
    def pids(self) -> dict[str, int]:
        """The process id of every part that runs now."""
        return {name: service.pid for name, service in self._services.items() if service.pid is not None}

    def describe(self) -> dict[str, Any]:
        """The content of `.payonce/dev.json`; `api.md` is its contract."""
        return {
            "api_url": self.api_url,
            "api_key": self.api_key,
            "api_key_2": self.api_key_2,
            "temporal_address": self.temporal_address,
            "temporal_namespace": NAMESPACE,
            "temporal_ui_url": self.temporal_ui_url,
            "acquirer_url": self.acquirer_url,
            "database_url": self.database_url,
            "redis_url": self.redis_url,
            "receipts_url": self.receipts_url,
            "metrics_urls": self.metrics_urls,
            "log_dir": str(self.log_dir.resolve()),
            "pids": self.pids,
        }

    # What tests do to parts, by name: postgres redis temporal acquirer api api-2 … worker relay renderer

    async def start(self, name: str) -> None:
        """The part runs again, on its port, and answers."""
        await self._service(name).start()

    async def end(self, name: str) -> None:
        """The part was asked to end and is down until `start`."""
        await self._service(name).end()

    async def kill(self, name: str) -> None:
        """The part was killed (SIGKILL) and is down until `start`."""
        await self._service(name).kill()

    async def restart(self, name: str) -> None:
        """The part was killed and answers again."""
        await self.kill(name)
        await self.start(name)

    def pause(self, name: str) -> None:
        """The part stands still with all it holds (SIGSTOP)."""
        self._service(name).pause()

    def resume(self, name: str) -> None:
        """The paused part goes on (SIGCONT)."""
        self._service(name).resume()

    async def close(self) -> None:
        """No process of the stack is left; safe to repeat."""
        product = [service for name, service in self._services.items() if name not in INFRASTRUCTURE]
        await asyncio.gather(*(service.end() for service in product))
        await asyncio.gather(*(service.end() for service in self._services.values()))
        self._ports.close()

    async def kill_all(self) -> None:
        """No process of the stack is left, and none was asked."""
        await asyncio.gather(*(service.kill() for service in self._services.values()))

    async def migrate(self) -> None:
        """The database has its tables, and the product's roles may log in there."""
        environ = {**self.product_environ(), "PAYONCE_DATABASE_URL": self.database_url}
        # No other process uses a Postgres of the stack's own.
        upgrade = ("db", "upgrade", *(("--replaced",) if self._wants("postgres") else ()))
        await payonce(*upgrade, environ=environ, log=self.log_dir / "migrate.log", capture=False)
        if not self._given(API_DATABASE_URL):
            await open_logins(self.database_url)

    # The start

    async def _start(self) -> None:
        self._prepare_directory()
        self._choose_ports()
        wanted = [name for name in INFRASTRUCTURE if self._wants(name)]
        if wanted:
            self.options.report(f"starting {', '.join(wanted)}")
        others = [self._start_infrastructure(name) for name in wanted if name != "postgres"]
        await _together(self._start_database(), *others)
        if self._wants_product():
            await self._start_product()
        self._check_that_all_run()
        if self.options.restart:
            for service in self._services.values():
                service.supervise()

    def _prepare_directory(self) -> None:
        shutil.rmtree(self.log_dir, ignore_errors=True)
        self.log_dir.mkdir(parents=True)
        (self.options.directory / "receipts").mkdir(exist_ok=True)
        self._state = State.load(self._state.path)
        self._state.derivation_key = self._given("PAYONCE_DERIVATION_KEY") or self._state.derivation_key
        self._state.acquirer_key = self._given("PAYONCE_SANDBOX_ACQUIRER_KEY") or self._state.acquirer_key
        self._state.save()
        if not self._vault_key_file.exists():
            key = {"id": "development", "key": base64.b64encode(secrets.token_bytes(32)).decode()}
            write_json(self._vault_key_file, {"keys": [key]})

    @property
    def _vault_key_file(self) -> Path:
        return (self.options.directory / "vault-keys.json").resolve()

    def _choose_ports(self) -> None:
        for name, (variable, default) in DEFAULT_PORTS.items():
            if self._wants("temporal" if name == "temporal-ui" else name):
                self._port_of[name] = self._choose_port(name, variable, default)
        variable, first = METRICS_PORTS
        for number, name in enumerate(self._product_names()):
            self._metrics_port_of[name] = self._choose_port(f"{name}'s metrics", variable, first, number)

    def _choose_port(self, name: str, variable: str, first: int, number: int = 0) -> int:
        """The port `number` (from 0) of those that begin where the variable says, or else at `first`."""
        if self.options.any_ports:
            return self._ports.free()
        if variable in self.options.environ:
            self._asked_for.add(variable)
        default = first + number
        chosen = self._ports.choose(self.options.environ, variable, default, number=number)
        if chosen != default and variable not in self.options.environ:
            self.options.report(f"port {default} is busy: {name} is on {chosen}")
        return chosen

    async def _start_infrastructure(self, name: str) -> None:
        match name:
            case "redis":
                await self._run(self._redis)
            case "temporal":
                await self._run(self._temporal)
            case _:
                await self._run(self._acquirer)

    async def _start_database(self) -> None:
        """The database answers and, when the product needs it, is migrated."""
        if self._wants("postgres"):
            await self._start_postgres()
        if self._wants_product():
            await self.migrate()
            self.options.report("the database is migrated")

    async def _start_postgres(self) -> None:
        options = self.options
        cluster = place_cluster(options.directory, self._plain_environ(), options.report)
        await cluster.initialise(self.log_dir / "postgres.log", durable=options.durable)
        await self._run(lambda: cluster.part(port=self._port_of["postgres"], durable=options.durable))
        await create_database(self._port_of["postgres"])

    def _redis(self) -> Part:
        port, directory = self._port_of["redis"], self.options.directory
        return parts.redis(port=port, directory=directory, environ=self._plain_environ())

    def _acquirer(self) -> Part:
        return parts.acquirer(
            port=self._port_of["acquirer"],
            ledger=self.options.directory / "acquirer.sqlite",
            key=self._state.acquirer_key,
            environ=self._plain_environ(),
        )

    def _temporal(self) -> Part:
        return parts.temporal(
            port=self._port_of["temporal"],
            ui_port=self._port_of["temporal-ui"] if self.options.temporal_ui else None,
            database=self.options.directory / "temporal.sqlite",
            durable=self.options.durable,
            settings=self.options.temporal_settings,
            environ=self._plain_environ(),
        )

    async def _start_product(self) -> None:
        """The first API process comes first: the others are told its port, which may move until it answers."""
        first, *others = self._product_names()
        await self._run_product(first)
        await _together(self._seed(), *(self._run_product(name) for name in others))

    async def _run_product(self, name: str) -> None:
        await self._run(lambda: self._product_part(name))

    async def _seed(self) -> None:
        if self._wants("api"):
            log = self.log_dir / "seed.log"
            await seed(self._state, api_url=self.api_url, environ=self.product_environ(), log=log)
            self.options.report("two merchants have API keys")
        if self._wants("api") and self._wants("acquirer"):
            for played in (stripe_account, razorpay_account, adyen_account):
                await played.play(self.acquirer_url, self._state.acquirer_key, api_url=self.api_url)

    def _product_names(self) -> list[str]:
        """What the processes of the product are called, those that were asked for."""
        apis = ["api", *(f"api-{number}" for number in range(2, self.options.api_processes + 1))]
        return [
            name for name in (*apis, "worker", "relay", "renderer") if self._wants(name.partition("-")[0])
        ]

    def _product_part(self, name: str) -> Part:
        environ = self.environ_of(name)
        match name:
            case "worker":
                return parts.worker(environ=environ)
            case "relay":
                return parts.relay(environ=environ)
            case "renderer":
                return parts.renderer(environ=environ)
            case _:
                number = int(name.partition("-")[2] or 1)
                return parts.api(number=number, port=self._port_of["api"], environ=environ)

    async def _run(self, make: Callable[[], Part]) -> None:
        """The part that `make` makes runs, on another port where another program took its own meanwhile."""
        for _ in range(PORT_TRIES):
            part = make()
            try:
                await self._run_part(part)
                return
            except PortTaken as taken:
                await self._services[part.name].end()
                self._move(taken)
        raise StackError(f"{part.name} found no free port in {PORT_TRIES} tries")

    async def _run_part(self, part: Part) -> None:
        on_change = self.options.on_change or (lambda: None)
        log = self.log_dir / f"{part.name}.log"
        service = Service(part, log, report=self.options.report, on_change=on_change)
        self._services[part.name] = service
        await service.start()
        self.options.report(f"{part.name} {'is started' if part.is_ready is parts.runs else 'is ready'}")

    def _move(self, taken: PortTaken) -> None:
        """Whatever had the port has a free one. Raises `taken` where the port was asked for."""
        for held, variable_of in (
            (self._port_of, {name: variable for name, (variable, _) in DEFAULT_PORTS.items()}),
            (self._metrics_port_of, dict.fromkeys(self._metrics_port_of, METRICS_PORTS[0])),
        ):
            for name in [name for name, port in held.items() if port == taken.port]:
                if variable_of[name] in self._asked_for:
                    raise StackError(f"port {taken.port} ({variable_of[name]}) is busy") from taken
                held[name] = self._ports.free()
                self.options.report(f"port {taken.port} was taken meanwhile: {name} moves to {held[name]}")
                return
        raise taken

    def _check_that_all_run(self) -> None:
        for name, service in self._services.items():
            if service.pid is None:
                raise StackError(f"{name} ended at once: {last_line(service.log)} (see {service.log})")

    # Settings

    def _played_accounts(self) -> list[Any]:
        """The accounts of other acquirers that the sandbox plays."""
        where = (self.acquirer_url, self._state.acquirer_key)
        others = [razorpay_account.account(*where), adyen_account.account(*where)]
        return [*json.loads(stripe_account.settings(*where)), *others]

    def environ_of(self, name: str) -> dict[str, str]:
        """The environment of one of the product's processes: none of what it has no use for."""
        sends = name.startswith("api") or name == "worker"
        environ = self.product_environ(engine=WORKER_ROLE if sends else ENGINE_ROLE)
        if not name.startswith("api"):
            environ.pop(API_DATABASE_URL, None)
        return environ | {"PAYONCE_METRICS_PORT": str(self._metrics_port_of[name])}

    def product_environ(self, *, engine: str = WORKER_ROLE) -> dict[str, str]:
        """The environment of the product's processes and of the `payonce` command. `engine`: as whom it logs in."""
        port_of = self._port_of
        environ = self._plain_environ() | {
            "PAYONCE_DATABASE_URL": self.database_url,
            "PAYONCE_REDIS_URL": self.redis_url,
            "PAYONCE_TEMPORAL_ADDRESS": self.temporal_address,
            "PAYONCE_TEMPORAL_NAMESPACE": NAMESPACE,
            "PAYONCE_SANDBOX_ACQUIRER_URL": self.acquirer_url,
            "PAYONCE_SANDBOX_ACQUIRER_KEY": self._state.acquirer_key,
            "PAYONCE_CONNECTOR_ACCOUNTS": self._given("PAYONCE_CONNECTOR_ACCOUNTS")
            or json.dumps(self._played_accounts()),
            "PAYONCE_DERIVATION_KEY": self._state.derivation_key,
            "PAYONCE_RECEIPTS_URL": self.receipts_url,
            "PAYONCE_RECEIPTS_REQUIREMENTS": str(CHECKOUT / "requirements-receipts.txt"),
            "PAYONCE_ALLOW_LOOPBACK_WEBHOOKS": "true",
            "PAYONCE_PACK_BODIES": self._given("PAYONCE_PACK_BODIES") or "true",
            "PAYONCE_API_HOST": LOOPBACK,
            "PAYONCE_METRICS_HOST": LOOPBACK,
        }
        if not self._given(API_DATABASE_URL):
            environ["PAYONCE_DATABASE_URL"] = as_role(self.database_url, engine)
            environ[API_DATABASE_URL] = as_role(self.database_url, API_ROLE)
        if not self._given("PAYONCE_VAULT_TRANSIT_URL"):
            environ["PAYONCE_VAULT_KEY_FILE"] = self._given("PAYONCE_VAULT_KEY_FILE") or str(
                self._vault_key_file
            )
        if os.geteuid() != 0:  # root sees on which ports a process listens, whatever that allows
            environ["PAYONCE_ALLOW_DEBUGGERS"] = "true"
        if "api" in port_of:
            environ["PAYONCE_API_PORT"] = str(port_of["api"])
        environ.pop("PAYONCE_METRICS_PORT", None)  # each process has one of its own
        return {**environ, **self.options.product_environ}

    def _plain_environ(self) -> dict[str, str]:
        """Ours, without what would send a part to somebody else's server."""
        foreign = ("PG", "TEMPORAL_")
        kept = {key: value for key, value in self.options.environ.items() if not key.startswith(foreign)}
        return {**kept, "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"}

    def _given(self, variable: str) -> str | None:
        return self.options.environ.get(variable) or None

    def _wants(self, name: str) -> bool:
        """The part was asked for, and no address of another one was given in its place."""
        replaced = {"postgres": "PAYONCE_DATABASE_URL", "redis": "PAYONCE_REDIS_URL"}
        return name in self.options.parts and not (name in replaced and self._given(replaced[name]))

    def _wants_product(self) -> bool:
        return any(self._wants(name) for name in PRODUCT)

    def _service(self, name: str) -> Service:
        if name not in self._services:
            raise StackError(f"no part is called {name}: there are {', '.join(self._services)}")
        return self._services[name]


def api_processes(environ: Mapping[str, str]) -> int:
    """PAYONCE_API_PROCESSES, 1 when it is not set."""
    text = environ.get("PAYONCE_API_PROCESSES", "1")
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_API_PROCESSES:
        raise StackError(f"PAYONCE_API_PROCESSES={text!r} is not a number from 1 to {MAX_API_PROCESSES}")
    return int(text)


async def _together(*steps: Coroutine[Any, Any, None]) -> None:
    """Every step is done; the first failure ends the others and is raised alone."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(step)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
