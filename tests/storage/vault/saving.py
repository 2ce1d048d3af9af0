"""A vault on a migrated database, and its cards."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from sqlalchemy import text

from payonce.sealing import SealingKey
from payonce.storage.driver.database import Database
from payonce.vault import doors
from payonce.vault.fingerprints import Fingerprints
from payonce.vault.keys import FileKeys, WrappingKeys
from payonce.vault.saving import SealedCard, Vault

NUMBER = "4242424242424242"
OTHER_NUMBER = "4000000000000002"
MERCHANT = "mer_1"
OLD: Mapping[str, bytes] = {"old": b"o" * 32}
NEW: Mapping[str, bytes] = {"new": b"n" * 32, **OLD}


def a_vault(
    keys: WrappingKeys | None = None, *, fingerprint_keys: tuple[str, ...] = ("f1",), saves_max: int = 1_000
) -> Vault:
    prints = Fingerprints([SealingKey(id_, id_.encode() * 16) for id_ in fingerprint_keys])
    return Vault(keys or FileKeys(OLD), prints, saves_max=saves_max)


async def saved(
    database: Database,
    vault: Vault,
    number: str = NUMBER,
    *,
    merchant_id: str = MERCHANT,
    mode: str = "test",
    kept: bool = True,
) -> tuple[SealedCard, str]:
    """The card in Postgres, and the fingerprint that its merchant is shown."""
    card = await vault.seal(number, merchant_id=merchant_id, mode=mode)
    async with database.transaction() as connection:
        shown = await vault.put(connection, card)
        if kept:
            assert await doors.keep(connection, card.place)
    return card, shown


async def read(database: Database, vault: Vault, card: SealedCard) -> str:
    """The number, as one that sends reads it."""
    async with database.reading() as connection:
        envelope = await doors.take(connection, card.place)
    return await vault.open(envelope, card.place)


async def ran(database: Database, statement: str) -> int:
    """The statement ran, as somebody with every right would run it; how many rows it changed."""
    async with database.transaction() as connection:
        return (await connection.execute(text(statement))).rowcount  # type: ignore[attr-defined,no-any-return]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = Database(url, pool_size=4)
    try:
        yield database
    finally:
        await database.close()
