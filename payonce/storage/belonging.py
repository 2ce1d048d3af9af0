"""Whether the settings belong to the database: the other key, cell or accounts would make a mess of it, slowly."""

from collections.abc import Collection

from sqlalchemy import bindparam, text

from payonce.domain.ids import IdFactory, digest_of
from payonce.settings import SettingsWrong
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import Database, words_of

ACCOUNTS_NAMED_MAX = 10

_IS_THERE = text("SELECT to_regclass('events') IS NOT NULL AND to_regclass('operations') IS NOT NULL")
# Any event will do: the first in the table. As JSON, because the schema may still be one without `xid`.
_AN_EVENT = text(
    """
    SELECT id, payment_id, sequence, (to_jsonb(events) - 'body') ->> 'xid' AS xid
    FROM events WHERE payment_id IS NOT NULL LIMIT 1
    """
)
# What the sweeper takes (`tables.DUE`): there are as many as payments under way.
_ACCOUNTS_GONE = text(
    """
    SELECT attempts.connector_account AS account, count(*) AS operations
    FROM operations JOIN attempts ON attempts.operation_id = operations.id
    WHERE operations.status = 'pending'
      AND (operations.released_at IS NULL OR operations.deferred_at IS NOT NULL)
      AND attempts.state IN ('claimed', 'waiting', 'unknown', 'reversing')
      AND attempts.connector_account NOT IN :accounts
    GROUP BY attempts.connector_account ORDER BY 1 LIMIT :named_max
    """
).bindparams(bindparam("accounts", expanding=True))


async def check_reachable(database: Database) -> None:
    """Returns when Postgres answers. Raises `SettingsWrong`, which says why it does not."""
    try:
        await database.ping()
    except Exception as error:
        raise SettingsWrong(f"PAYONCE_DATABASE_URL: Postgres does not answer: {words_of(error)}") from error


async def has_tables(database: Database) -> bool:
    """Whether some release has migrated the database."""
    async with database.reading() as connection:
        return bool((await connection.execute(_IS_THERE)).scalar_one())


async def check_ids(database: Database, *, ids: IdFactory) -> None:
    """Returns when ids of this database are derived as these settings do. Raises `SettingsWrong`."""
    if not await has_tables(database):
        raise SettingsWrong("PAYONCE_DATABASE_URL: the database has no tables; run `payonce db upgrade`")
    async with database.reading() as connection:
        await _check_ids(connection, ids)


async def check_accounts(database: Database, *, accounts: Collection[str]) -> None:
    """Returns when attempts that are not decided have their accounts. Raises `SettingsWrong`."""
    async with database.reading() as connection:
        await _check_accounts(connection, accounts)


async def _check_ids(connection: Connection, ids: IdFactory) -> None:
    event = (await connection.execute(_AN_EVENT)).first()
    if event is None:
        return
    derived = ids.events_of_every_release(
        payment_id=event.payment_id, sequence=event.sequence, xid=int(event.xid or 0)
    )
    if event.id in derived:
        return
    if any(digest_of(event.id) == digest_of(id_) for id_ in derived):
        raise SettingsWrong("PAYONCE_CELL: the ids in this database were made for another cell")
    raise SettingsWrong(
        "PAYONCE_DERIVATION_KEY: it is not the one that this database's ids were made with; with another, no API key"
        " opens and no idempotency key is known"
    )


async def _check_accounts(connection: Connection, accounts: Collection[str]) -> None:
    rows = (
        await connection.execute(
            _ACCOUNTS_GONE, {"accounts": [*accounts, ""], "named_max": ACCOUNTS_NAMED_MAX}
        )
    ).all()
    if rows:
        named = ", ".join(f"{row.account!r} (of {row.operations})" for row in rows)
        raise SettingsWrong(
            f"PAYONCE_CONNECTOR_ACCOUNTS: operations are under way at accounts that are gone: {named}; only there can"
            " be asked what became of them"
        )
