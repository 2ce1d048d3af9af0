"""The table of issuers of one process: the one in Postgres, read again when another was imported.

It is in memory: a payment asks Postgres nothing. Without a table, or with one that is too old, no country is known.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

from payonce.domain.cards import Card
from payonce.domain.errors import PaymentError
from payonce.domain.issuers import IssuerTable, country_of
from payonce.logging import get_logger
from payonce.metrics import ISSUER_TABLE_AGE_SECONDS, Rounds
from payonce.storage import issuers as store
from payonce.storage.driver.database import Database
from payonce.storage.issuers import Imported

LOOK_EVERY_S: Final = 30.0

log = get_logger(__name__)


class Issuers:
    """What is known of issuers here, and now."""

    def __init__(self, database: Database | None = None) -> None:
        self._database = database
        self._imported: Imported | None = None
        self._table: IssuerTable | None = None

    def country_of(self, card: Card | None, *, mode: str) -> str | None:
        """The issuer's country, by ISO 3166-1 in two letters; None where it is not known."""
        return country_of(card, mode=mode, table=self._table, now=datetime.now(UTC))

    async def refresh(self) -> None:
        """The table in Postgres is the one here. Raises what storage raises; then the one from before stays."""
        if self._database is None:
            return
        async with self._database.reading() as connection:
            imported = await store.in_force(connection)
            if imported is None or imported == self._imported:
                return
            packed = await store.read(connection, imported)
        if packed is None:
            return  # another one was imported meanwhile: it is read at the next look
        self._imported = imported
        self._table = IssuerTable(packed=packed, imported_at=imported.imported_at)
        log.info("issuer_table_read", ranges=imported.ranges, imported_at=imported.imported_at.isoformat())

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Another table is known within a minute while the block runs."""
        await self._look()
        task = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _follow(self) -> None:
        rounds = Rounds("issuer_table")
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if await self._look():
                rounds.ended()

    async def _look(self) -> bool:
        """Whether Postgres said which table is in force."""
        known = False
        try:
            await self.refresh()
            known = True
        except PaymentError as error:
            log.warning("issuer_table_not_read", error=error.code)
        except Exception as error:  # ours to mend; the table from before serves meanwhile
            log.error("issuer_table_broken", error=type(error).__name__)
        if self._table is not None:
            age = datetime.now(UTC) - self._table.imported_at
            ISSUER_TABLE_AGE_SECONDS.set(age.total_seconds())
        return known
