"""What is measured: payonce itself and each baseline, started on a stack of its own."""

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from temporalio.client import Client

from bench import shares
from bench.baselines.orders import MERCHANT_VARIABLE
from bench.measure import Meter, open_meter
from bench.processes import group_of
from bench.stages import Stages
from bench.surroundings import (
    Setup,
    directory,
    held_port,
    metered,
    plain_environ,
    running_acquirer,
    service_of,
    stack_options,
)
from bench.traffic import ACQUIRER_CALLS, Kind, Shop
from devstack import parts
from devstack.parts import CHECKOUT, Part
from devstack.ports import LOOPBACK
from devstack.postgres import DATABASE, server_url
from devstack.processes import Command
from devstack.seed import payonce
from devstack.service import Service
from devstack.stack import PRODUCT, DevStack

NULL, PAYONCE = "null", "payonce"
INFRASTRUCTURE = ("postgres", "redis", "temporal")


@dataclass(frozen=True, slots=True)
class Target:
    """Something that takes the generator's requests, with all that is needed to measure it."""

    name: str
    port: int
    shop: Shop
    meter: Meter
    temporal: Client | None = None
    database_url: str | None = None
    acquirer_s: Mapping[str, float] = field(default_factory=dict)  # the delay set, by kind of request
    api_key: str = ""
    host: str = LOOPBACK
    stages: Stages | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Baseline:
    """The processes by name, as module and arguments; `api` answers HTTP. How often a payment calls the acquirer."""

    processes: Mapping[str, Sequence[str]]
    acquirer_calls: int
    has_engine: bool = True


BARE, NO_ENGINE, TEXTBOOK_FOUR, TEXTBOOK_ONE = "bare", "no_engine", "textbook_four", "textbook_one"
BASELINES: Final[Mapping[str, Baseline]] = {
    BARE: Baseline({"api": ("bench.baselines.bare", "{port}")}, 0),
    NO_ENGINE: Baseline({"api": ("bench.baselines.no_engine",)}, 1, has_engine=False),
    TEXTBOOK_ONE: Baseline(
        {
            "worker": ("bench.baselines.textbook", "worker", "one"),
            "api": ("bench.baselines.textbook", "api", "one"),
        },
        1,
    ),
    TEXTBOOK_FOUR: Baseline(
        {
            "worker": ("bench.baselines.textbook", "worker", "four"),
            "api": ("bench.baselines.textbook", "api", "four"),
        },
        2,
    ),
}


@asynccontextmanager
async def open_payonce(
    setup: Setup, *, api_processes: int = 1, api_share: float | None = None
) -> AsyncIterator[Target]:
    """The whole product runs and answers, on durable settings; each API process has that share of a processor."""
    async with AsyncExitStack() as exits:
        path = exits.enter_context(directory())
        acquirer = await exits.enter_async_context(running_acquirer(setup.delay_ms))
        wanted = (*INFRASTRUCTURE, *PRODUCT)
        options = stack_options(setup, path, acquirer, wanted, api_processes=api_processes)
        stack = await exits.enter_async_context(DevStack(options))
        if api_share is not None:
            api = {name: pid for name, pid in stack.pids.items() if group_of(name) == "api"}
            exits.enter_context(shares.held(api, api_share))
        meter = await exits.enter_async_context(
            metered(setup, stack, lambda: {**stack.pids, **acquirer.pids})
        )
        delay_s = setup.delay_ms / 1000
        apis = [name for name in stack.metrics_urls if group_of(name) == "api"]
        yield Target(
            name=PAYONCE,
            port=stack.port("api"),
            shop=Shop(host=LOOPBACK, api_key=stack.api_key),
            meter=meter,
            temporal=await Client.connect(stack.temporal_address),
            database_url=server_url(stack.port("postgres"), DATABASE),
            acquirer_s={kind: calls * delay_s for kind, calls in ACQUIRER_CALLS.items()},
            api_key=stack.api_key,
            stages=Stages(
                [stack.metrics_urls[name] for name in apis],
                [stack.log_dir / f"{name}.log" for name in apis],
            ),
        )


@asynccontextmanager
async def open_baseline(setup: Setup, name: str) -> AsyncIterator[Target]:
    """The baseline's processes run beside the infrastructure that it needs, and answer."""
    baseline = BASELINES[name]
    wanted = INFRASTRUCTURE if baseline.has_engine else ("postgres", "redis")
    async with AsyncExitStack() as exits:
        path, port = exits.enter_context(directory()), exits.enter_context(held_port())
        acquirer = await exits.enter_async_context(running_acquirer(setup.delay_ms))
        stack = await exits.enter_async_context(DevStack(stack_options(setup, path, acquirer, wanted)))
        environ = {**await _prepared(stack), "PAYONCE_API_PORT": str(port)}
        services = await _serve(exits, stack.log_dir, baseline, port, environ)
        meter = await exits.enter_async_context(
            metered(setup, stack, lambda: {**stack.pids, **acquirer.pids, **_pids(services)})
        )
        yield Target(
            name=name,
            port=port,
            shop=Shop(host=LOOPBACK),
            meter=meter,
            temporal=await Client.connect(stack.temporal_address) if baseline.has_engine else None,
            acquirer_s={Kind.AUTOMATIC: baseline.acquirer_calls * setup.delay_ms / 1000},
        )


@asynccontextmanager
async def open_null() -> AsyncIterator[Target]:
    """A server that answers at once: the generator's own cost, and a sink for webhooks."""
    async with AsyncExitStack() as exits:
        path, port = exits.enter_context(directory()), exits.enter_context(held_port())
        baseline = Baseline({"api": ("bench.baselines.null", "{port}")}, 0)
        services = await _serve(exits, path, baseline, port, plain_environ())
        meter = await exits.enter_async_context(open_meter(lambda: _pids(services), {}))
        yield Target(NULL, port, Shop(host=LOOPBACK), meter)


async def _prepared(stack: DevStack) -> dict[str, str]:
    """The environment of a baseline's processes; Postgres is migrated and has a merchant."""
    environ, log = stack.product_environ(), stack.log_dir / "prepare.log"
    await stack.migrate()
    printed = await payonce("merchants", "create", "--name", "Bench", "--json", environ=environ, log=log)
    return {**environ, MERCHANT_VARIABLE: json.loads(printed)["id"]}


async def _serve(
    exits: AsyncExitStack, log_dir: Path, baseline: Baseline, port: int, environ: Mapping[str, str]
) -> dict[str, Service]:
    """Every process of the baseline runs; it ends with the exits."""
    services: dict[str, Service] = {}
    for name, (module, *arguments) in baseline.processes.items():
        given = [argument.format(port=port) for argument in arguments]
        command = Command((sys.executable, "-m", module, *given), environ, CHECKOUT)
        is_ready = _answers(port) if name == "api" else parts.runs
        services[name] = service_of(Part(name=name, command=command, is_ready=is_ready), log_dir)
        exits.push_async_callback(services[name].end)
        await services[name].start()
    return services


def _answers(port: int) -> Callable[[], Awaitable[bool]]:
    return lambda: parts.answers_http(f"http://{LOOPBACK}:{port}/livez")


def _pids(services: Mapping[str, Service]) -> dict[str, int]:
    return {name: service.pid for name, service in services.items() if service.pid is not None}
