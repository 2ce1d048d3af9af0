"""A database of its own for each test, copied from one that was migrated once."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from devstack.postgres import (
    API_ROLE,
    ENGINE_ROLE,
    as_role,
    create_database,
    drop_database,
    open_logins,
    product_url,
)
from payonce.storage.migrating import upgrade

TEMPLATE = "migrated"


def as_api(url: str) -> str:
    """The database as the API's role, which sees one tenant at a time, which the server lets in."""
    return as_role(url, API_ROLE)


def as_engine(url: str) -> str:
    """The database as the engine, which sees every row and is not its owner."""
    return as_role(url, ENGINE_ROLE)


@dataclass
class PostgresServer:
    """A running server with the database `migrated` on it, which nothing connects to."""

    port: int
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def migrate_template(self) -> None:
        """The template holds every migration, and both roles, which are the whole server's, may log in."""
        await create_database(self.port, TEMPLATE)
        await asyncio.to_thread(upgrade, product_url(self.port, TEMPLATE))
        await open_logins(product_url(self.port, TEMPLATE), doors=False)

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """The URL of a migrated, empty database that nobody else uses."""
        name = f"test_{next(self._numbers)}"
        await create_database(self.port, name, template=TEMPLATE)
        try:
            yield product_url(self.port, name)
        finally:
            await drop_database(self.port, name)

    @asynccontextmanager
    async def empty_database(self) -> AsyncIterator[str]:
        """The URL of a database without any table, for tests of the migrations themselves."""
        name = f"empty_{next(self._numbers)}"
        await create_database(self.port, name)
        try:
            yield product_url(self.port, name)
        finally:
            await drop_database(self.port, name)
