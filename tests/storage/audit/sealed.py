"""A log with entries, whose hours end when a test says so."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from obstore.store import LocalStore
from sqlalchemy import text

from payonce.auditing import sealing, verifying
from payonce.auditing.verifying import Verified
from payonce.domain.audit import Act, Actor, ActorKind, AuditAction
from payonce.receipts.store import ReceiptStore
from payonce.storage import audit, audit_seals
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import Database

BY = Actor(kind=ActorKind.PERSON, id="ann@desk", origin="192.0.2.7")


class Log:
    """`hours`: how many have ended since the test began."""

    def __init__(self, database: Database, store: ReceiptStore, patch: pytest.MonkeyPatch) -> None:
        self.database, self.store = database, store
        self.now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=48)

        async def open_hour(_: Connection) -> datetime:
            return self.now

        patch.setattr(audit_seals, "open_hour", open_hour)

    async def add(self, subject: str, *, why: str | None = None) -> None:
        async with self.database.transaction() as connection:
            await audit.decided(connection, BY, an_act(subject), why=why)

    async def hour_ends(self) -> None:
        """And is sealed, and told."""
        self.now += timedelta(hours=1)
        await sealing.seal(self.database)
        await sealing.tell(self.database, self.store)

    async def id_of(self, subject: str) -> str:
        return str((await self.rows(f"SELECT id FROM audit.entries WHERE subject = '{subject}'"))[0][0])

    async def tampered(self, *statements: str) -> None:
        """As the log's owner could, who takes the guards off first."""
        async with self.database.transaction() as connection:
            for table in ("entries", "personal", "seals"):
                await connection.execute(text(f"ALTER TABLE audit.{table} DISABLE TRIGGER USER"))
            for statement in statements:
                await connection.execute(text(statement))

    async def rows(self, query: str) -> list[tuple[object, ...]]:
        async with self.database.reading() as connection:
            return [tuple(row) for row in await connection.execute(text(query))]

    async def verified(self, store: ReceiptStore | None = None) -> Verified:
        since = self.now - timedelta(days=2)
        return await verifying.verify(self.database, store or self.store, since=since, until=self.now)

    async def differences(self) -> list[str]:
        return [each for said in (await self.verified()).differs.values() for each in said]


def an_act(subject: str) -> Act:
    return Act(action=AuditAction.KEY_REVOKED, subject=subject, merchant_id="mer_1", mode="test")


@asynccontextmanager
async def opened_log(url: str, folder: Path, patch: pytest.MonkeyPatch) -> AsyncIterator[Log]:
    database = Database(url, pool_size=4)
    try:
        yield Log(database, ReceiptStore(LocalStore(folder)), patch)
    finally:
        await database.close()
