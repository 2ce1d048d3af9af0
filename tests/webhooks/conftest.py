"""A merchant in a database of its own, and servers that a test may kill."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from devstack.stack import DevStack
from tests.conftest import MakeStack
from tests.support.databases import PostgresServer
from tests.support.servers import running
from tests.webhooks.shop import Shop, open_shop


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    """A merchant in an empty database."""
    async with open_shop(database_url) as opened:
        yield opened


@pytest.fixture(scope="session")
async def mortal_postgres() -> AsyncIterator[DevStack]:
    """A PostgreSQL that nobody else uses: `kill("postgres")` and `start("postgres")` are its."""
    async with running("postgres") as stack:
        await PostgresServer(stack.port("postgres")).migrate_template()
        yield stack


@pytest.fixture
async def mortal_shop(mortal_postgres: DevStack) -> AsyncIterator[Shop]:
    """A merchant in an empty database of `mortal_postgres`."""
    server = PostgresServer(mortal_postgres.port("postgres"))
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(server.database())
        yield await stack.enter_async_context(open_shop(url))


@pytest.fixture
async def mortal_valkey(make_stack: MakeStack) -> DevStack:
    """A Valkey that nobody else uses: `kill("redis")` and `start("redis")` are its."""
    return await make_stack("redis")
