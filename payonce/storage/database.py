"""Connections and transactions, and the settings of Postgres on which the promises rest."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from psycopg import Error as DriverError
from psycopg import InterfaceError, OperationalError
from sqlalchemy import NullPool, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from payonce.domain.errors import PaymentError
from payonce.storage.connection import Connection
from payonce.storage.pool import Pool

CONNECT_S = 3
STATEMENT_MS = 3_500
LOCK_WAIT_MS = 3_000
TRANSACTION_S = 4.0  # over a whole transaction, so that a stopped Postgres holds no request for longer


T = TypeVar("T")


class StorageUnavailable(PaymentError):
    """Postgres could not be reached or refused the statement; nothing of the transaction holds."""

    code = "unavailable"
    retryable = True


class GaveUp(StorageUnavailable):
    """Nobody waits any longer: what was being written may hold or not, or may yet."""


class CommitUnknown(PaymentError):
    """The connection failed once COMMIT was on its way: the transaction may hold or not. Read, then repeat."""

    code = "commit_unknown"
    retryable = True


class Database:
    """One pool of connections to the primary."""

    def __init__(self, url: str, *, pool_size: int = 20) -> None:
        options = (
            f"-c statement_timeout={STATEMENT_MS} -c lock_timeout={LOCK_WAIT_MS}"
            " -c idle_in_transaction_session_timeout=15000 -c timezone=UTC"
        )
        engine = create_async_engine(
            url,
            poolclass=NullPool,
            hide_parameters=True,
            isolation_level="AUTOCOMMIT",  # transactions begin and end in `Connection`
            connect_args={"connect_timeout": CONNECT_S, "options": options},
        )
        self._pool = Pool(engine, size=pool_size)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Commits when the block ends, rolls back when it raises.

        Raises `StorageUnavailable` when nothing holds and `CommitUnknown` when that cannot be told.
        """
        connection: Connection | None = None
        try:
            async with asyncio.timeout(TRANSACTION_S):
                async with self._pool.one() as pooled:
                    connection = Connection(pooled)
                    try:
                        yield connection
                        await connection.commit()
                    except BaseException:
                        await connection.rollback()
                        raise
        except (DBAPIError, DriverError, OSError, TimeoutError) as error:
            in_doubt = connection is not None and connection.in_doubt
            raise _storage_error(error, in_doubt=in_doubt) from error

    async def ping(self) -> None:
        """Returns when Postgres answers. Raises `StorageUnavailable`."""
        async with self.transaction() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self._pool.close()


def _storage_error(error: Exception, *, in_doubt: bool) -> Exception:
    """What a foreign error means; one that Postgres raised about the statement itself is ours to fix."""
    if in_doubt:
        return CommitUnknown()
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error  # the driver's, either way
    if isinstance(cause, DriverError) and not _transient(cause):
        return cause
    return StorageUnavailable(type(cause).__name__)


def _transient(error: DriverError) -> bool:
    """Connection loss, shutdown, resources, cancelled or locked statements (SQLSTATE classes 08, 57, 53, 55, 40).

    Without a state it is the driver's own: of the connection, or of a value that it refuses to send.
    """
    if error.sqlstate is None:
        return isinstance(error, OperationalError | InterfaceError)
    return error.sqlstate[:2] in {"08", "57", "53", "55", "40"}


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns. Raises `GaveUp` after so many seconds, and waits no longer.

    A stopped Postgres answers no cancellation either: the driver gives up after about 10 s, and until then the
    work is left to itself, cancelled. What it was committing may then hold or not.
    """
    task = asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        _abandon(task)
        raise
    if not done:
        _abandon(task)
        raise GaveUp("Postgres did not answer in time")
    return task.result()


_abandoned: set[asyncio.Task[Any]] = set()


def _abandon(task: asyncio.Task[Any]) -> None:
    task.cancel()
    _abandoned.add(task)
    task.add_done_callback(_forget)


def _forget(task: asyncio.Task[Any]) -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()  # looked at: nobody waits for it any more


async def check_durability(database: Database, *, live: bool) -> None:
    """Returns when a commit means what the promises need; raises `StorageUnavailable` otherwise.

    `synchronous_commit` must not be off; in live mode a synchronous standby must be connected (RPO 0).
    """
    async with database.transaction() as connection:
        names = ("synchronous_commit", "fsync", "full_page_writes") if live else ("synchronous_commit",)
        for name in names:
            value = (await connection.execute(text(f"SHOW {name}"))).scalar_one()
            if value in ("off", "local" if live else "off"):
                raise StorageUnavailable(f"Postgres runs with {name} = {value}: a commit could be lost")
        if live:
            rows = await connection.execute(
                text("SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')")
            )
            if rows.scalar_one() == 0:
                raise StorageUnavailable("live mode needs a synchronous standby, and none is connected")


def upgrade(url: str) -> None:
    """Every migration is applied. Safe to repeat."""
    command.upgrade(migration_config(url), "head")


def migration_config(url: str) -> Config:
    """What Alembic needs to know to migrate the database."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["url"] = url
    return config
