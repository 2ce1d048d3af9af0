"""Transactions in which Postgres shows the rows of one merchant in one mode, whatever a statement says.

So it is where the API has a role of its own; without one these are plain transactions, as `Database` has them. They
run as that role, on connections of their own: what Postgres planned for one role it plans again for another
(`payonce/storage/migrations/tenancy.py` says who sees what).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from payonce.storage.driver.connection import Connection, Tenant
from payonce.storage.driver.pools import Pools

if TYPE_CHECKING:
    from payonce.storage.driver.database import Database


class Tenants:
    """As `Database`, as the role that sees one tenant; with no tenant none, until the connection speaks for one.

    `pools` None: the API has no role of its own.
    """

    def __init__(self, database: "Database", pools: Pools | None) -> None:
        self._database = database
        self._pools = () if pools is None else (pools,)

    @property
    def are_apart(self) -> bool:
        """Whether there is such a role."""
        return bool(self._pools)

    @asynccontextmanager
    async def transaction(self, tenant: Tenant | None) -> AsyncIterator[Connection]:
        """As `Database.transaction`."""
        async with self._database.transaction(*self._pools) as connection:
            if tenant is not None:
                connection.speak_for(tenant)
            yield connection

    @asynccontextmanager
    async def reading(self, tenant: Tenant | None) -> AsyncIterator[Connection]:
        """As `Database.reading`."""
        async with self._database.reading(*self._pools) as connection:
            if tenant is not None:
                connection.speak_for(tenant)
            yield connection

    @asynccontextmanager
    async def browsing(self, tenant: Tenant | None) -> AsyncIterator[Connection]:
        """As `Database.browsing`."""
        async with self._database.browsing(*self._pools) as connection:
            if tenant is not None:
                connection.speak_for(tenant)
            yield connection
