"""A database of its own for each test, copied from one that was migrated once."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from devstack.postgres import create_database, drop_database, product_url
from payonce.storage.driver.database import upgrade

TEMPLATE = "migrated"


@dataclass
class PostgresServer:
    """A running server with the database `migrated` on it, which nothing connects to."""

    port: int
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def migrate_template(self) -> None:
        """The template holds every migration."""
        await create_database(self.port, TEMPLATE)
        await asyncio.to_thread(upgrade, product_url(self.port, TEMPLATE))

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
