"""Servers and databases for every tier. Each pytest process has its own, started when first asked for.

Nothing is left behind, even when a test fails or the run is killed: the stack ends its processes, and each of
them dies with this one.
"""

import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from devstack.stack import DevStack
from tests.support import authorities, forks, logs, memory_files, patience
from tests.support.databases import PostgresServer
from tests.support.servers import running
from tests.support.sockets import forbid_connections
from tests.support.witness import Witness, witness_of

UNIT_TESTS = Path(__file__).parent / "unit"

patience.be_patient()
forks.fork_programs()
authorities.read_once()
memory_files.keep_files_in_memory()
logs.to_standard_error()

MakeStack = Callable[..., Awaitable[DevStack]]


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What is there before the first test stays: no collection of garbage looks through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def unit_tests_connect_to_nothing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if UNIT_TESTS in request.path.parents:
        forbid_connections(monkeypatch)


@pytest.fixture
def product_limits() -> Iterator[None]:
    """For a test that is about a limit of the product's; for the others they are long (`tests.support.patience`)."""
    with patience.product_limits():
        yield


@pytest.fixture(scope="session")
async def postgres_server() -> AsyncIterator[PostgresServer]:
    """A PostgreSQL with a migrated template; `database()` gives copies of it."""
    async with running("postgres") as stack:
        server = PostgresServer(stack.port("postgres"))
        await server.migrate_template()
        yield server


@pytest.fixture
async def database_url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """A migrated, empty database for one test."""
    async with postgres_server.database() as url:
        yield url


@pytest.fixture(scope="module")
async def module_database_url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """A migrated database for the tests of one module."""
    async with postgres_server.database() as url:
        yield url


@pytest.fixture(scope="session")
async def valkey_url() -> AsyncIterator[str]:
    """A Valkey for all tests; who needs it empty flushes it, or uses keys of its own."""
    async with running("redis") as stack:
        yield stack.redis_url


@pytest.fixture(scope="session")
async def temporal_server() -> AsyncIterator[str]:
    """The address of a Temporal server with our search attributes, namespace `default`."""
    async with running("temporal") as stack:
        yield stack.temporal_address


@pytest.fixture(scope="session")
async def acquirer_process() -> AsyncIterator[DevStack]:
    """The sandbox acquirer: `kill("acquirer")`, `pause`, `resume`, `start` are its."""
    async with running("acquirer") as stack:
        yield stack


@pytest.fixture
async def acquirer(acquirer_process: DevStack) -> AsyncIterator[Witness]:
    """The acquirer's ledger, record of requests and configuration; its `url` is where it listens.

    Its configuration is as it was afterwards; its ledger is shared, so look entries up by payment.
    """
    async with witness_of(acquirer_process.acquirer_url) as witness:
        before = (await witness.client.get("/config")).raise_for_status().json()
        yield witness
        await witness.configure(**before)


@pytest.fixture(scope="session")
async def stack() -> AsyncIterator[DevStack]:
    """The whole product as processes, for tests that leave it as it was."""
    async with running() as whole:
        yield whole


@pytest.fixture(scope="session")
async def witness(stack: DevStack) -> AsyncIterator[Witness]:
    """The witness of `stack`."""
    async with witness_of(stack.acquirer_url) as found:
        yield found


@pytest.fixture
async def make_stack() -> AsyncIterator[MakeStack]:
    """Starts stacks that a test may break: `await make_stack(api_processes=2)`; see `running` for more."""
    async with AsyncExitStack() as stacks:

        async def make(*parts: str, **options: Any) -> DevStack:
            return await stacks.enter_async_context(running(*parts, **options))

        yield make
