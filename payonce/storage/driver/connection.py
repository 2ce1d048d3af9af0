"""One transaction: what it writes goes out with its next read, or with the COMMIT.

So a transaction that reads once and then writes takes two round trips. Statements of the fast path are compiled
(`payonce.storage.driver.statements`) and go over the wire; all others are SQLAlchemy's, on the same connection.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast, overload

import psycopg
from psycopg.errors import InFailedSqlTransaction
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult
from sqlalchemy import CursorResult, Executable, Table, text
from sqlalchemy.exc import DBAPIError

from payonce.storage.driver.pool import Pooled
from payonce.storage.driver.statements import Query, Row, Statement, changing, inserting, key_values
from payonce.storage.driver.wire import BEGIN, COMMIT, ROLLBACK, Command, check, failed

_CHANGES = frozenset({b"INSERT", b"UPDATE", b"DELETE"})
# Not SET LOCAL: PostgreSQL 18 was reported not to show that to the policies of an INSERT. To the transaction's end.
_SPEAK_FOR = Statement(
    text(
        "SELECT set_config('payonce.merchant_id', :merchant_id, true), set_config('payonce.mode', :mode, true)"
    )
)
WAITING_MAX = 100  # writes that wait to be sent
ROLLBACK_S = 1.0

T = TypeVar("T")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")


class Tenant(Protocol):
    """Whose rows a transaction is about: one merchant's in one mode."""

    @property
    def merchant_id(self) -> str: ...

    @property
    def mode(self) -> str: ...


@dataclass(slots=True)
class Written:
    """How many rows a statement wrote; none until it has run."""

    rows: int = 0


class Connection:
    """A connection of the pool for one transaction, which begins with the first statement."""

    def __init__(
        self, pooled: Pooled, *, begin: Command = BEGIN, of_api: bool = False, packs: bool = False
    ) -> None:
        self._sqlalchemy, self._wire = pooled.sqlalchemy, pooled.wire
        self._waiting = [(begin, Written())]
        self.of_api = of_api  # as the role that sees one tenant, and reaches the rest through doors
        self.packs = packs  # whether what it writes of bodies is packed: see `payonce.storage.packing`
        self._beginning = 1  # how many commands wait that only say how the transaction begins
        self.wrote = False  # rows: then COMMIT waits for the standby; a transaction that only read does not
        self.empty = False  # it was begun for its COMMIT alone
        self._failed = False  # then nothing more runs on it, lest it do so outside of the transaction
        self.in_doubt = False  # COMMIT was sent, and not skipped: the transaction may hold

    def speak_for(self, tenant: Tenant) -> None:
        """The transaction is about this tenant's rows: as the API's role it sees no others from now on.

        It goes out with what is asked or written next. On other connections nothing is said.
        """
        if not self.of_api:
            return
        whose = {"merchant_id": tenant.merchant_id, "mode": tenant.mode}
        self._waiting.append((_SPEAK_FOR.command(whose, self._wire), Written()))
        if len(self._waiting) == self._beginning + 1:
            self._beginning += 1

    async def fetch(self, query: Query[T]) -> T:
        """What the query finds."""
        (found,) = await self._fetch((query,))
        return cast("T", found)

    @overload
    async def fetch_together(self, first: Query[T], second: Query[T2], /) -> tuple[T, T2]: ...

    @overload
    async def fetch_together(
        self, first: Query[T], second: Query[T2], third: Query[T3], /
    ) -> tuple[T, T2, T3]: ...

    @overload
    async def fetch_together(
        self, first: Query[T], second: Query[T2], third: Query[T3], fourth: Query[T4], /
    ) -> tuple[T, T2, T3, T4]: ...

    async def fetch_together(self, *queries: Query[Any]) -> tuple[Any, ...]:
        """What each query finds, in one round trip: one after another, each sees what was committed when it began."""
        return tuple(await self._fetch(queries))

    async def write(self, statement: Statement, values: Row) -> Written:
        """The statement will have run, in its order, when anything is read next or the transaction has ended.

        So its error is raised there, and how many rows it wrote is known from then on.
        """
        written = Written()
        self._waiting.append((statement.command(values, self._wire), written))
        if len(self._waiting) > WAITING_MAX:
            await self._send()
        return written

    async def insert(self, table: Table, row: Row) -> None:
        """As `write`: the row is in the table."""
        await self.write(inserting(table, tuple(row)), row)

    async def update(self, table: Table, changes: Row, *, where: Row) -> None:
        """As `write`: the row with this key has these values. Nothing is sent when there are none."""
        if changes:
            statement = changing(table, tuple(changes), tuple(where))
            await self.write(statement, {**changes, **key_values(where)})

    async def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """The result of a statement that SQLAlchemy compiles, after all that was written before it."""
        await self._send()
        try:
            return await self._sqlalchemy.execute(statement, parameters)
        except BaseException as error:
            self._failed = True
            if isinstance(error, DBAPIError):
                self._wire.lost |= error.connection_invalidated
                self._wire.notice_states([state] if (state := getattr(error.orig, "sqlstate", None)) else [])
            raise

    @property
    def timeline(self) -> str | None:
        """Of the server that was read from: what another server commits later proves nothing of it."""
        return self._wire.timeline

    @property
    def untouched(self) -> bool:
        """Whether nothing was asked of Postgres, not even to begin."""
        return len(self._waiting) == self._beginning

    @property
    def warned(self) -> bool:
        """Whether Postgres warned of something in the exchange that carried COMMIT."""
        return self._wire.warned

    async def commit(self) -> None:
        """Postgres answered COMMIT. Where this raises, nothing holds, unless the connection is then `in_doubt`.

        Must not be cancelled (`Wire.exchange`). What the answer is worth, `payonce.domain.claiming` says.
        """
        if self.untouched:
            return
        self._go_on()
        self.in_doubt = True
        results, (committed,) = await self._exchange(COMMIT)
        skipped = committed.status == ExecStatus.PIPELINE_ABORTED  # since a write before it failed
        self.in_doubt = not skipped
        check([*results, committed])
        if committed.command_status != b"COMMIT":
            self.in_doubt = False
            raise InFailedSqlTransaction("rolled back instead")

    async def rollback(self) -> None:
        """Nothing holds of what is not committed. Where Postgres does not answer, that ends with the connection."""
        self._failed = True
        if self._wire.alive and not self._wire.idle:
            with suppress(psycopg.Error, OSError, TimeoutError):
                async with asyncio.timeout(ROLLBACK_S):
                    await self._wire.exchange([ROLLBACK])

    async def _fetch(self, queries: Sequence[Query[Any]]) -> list[Any]:
        commands = [query.statement.command(query.values, self._wire) for query in queries]
        results = await self._send(*commands)
        rows = [self._wire.rows(command, result) for command, result in zip(commands, results, strict=True)]
        return [query.meaning(found) for query, found in zip(queries, rows, strict=True)]

    async def _send(self, *commands: Command) -> list[PGresult]:
        """What waited has run, and these have. Raises the first error."""
        self._go_on()
        if not self._waiting and not commands:
            return []
        results, answers = await self._exchange(*commands)
        check([*results, *answers])
        return answers

    async def _exchange(self, *commands: Command) -> tuple[list[PGresult], list[PGresult]]:
        """The answers to what waited, and to these commands."""
        waited, self._waiting = self._waiting, []
        self._beginning = -1
        self._failed = True
        answers = await self._wire.exchange([*(command for command, _ in waited), *commands])
        self._failed = failed(answers)
        results, answers = answers[: len(waited)], answers[len(waited) :]
        for (_, written), result in zip(waited, results, strict=True):
            written.rows = result.command_tuples or 0
            self.wrote |= written.rows > 0 and (result.command_status or b"")[:6] in _CHANGES
        return results, answers

    def _go_on(self) -> None:
        if self._failed:
            raise InFailedSqlTransaction("something failed before in this transaction")
