"""Statements of the fast path: compiled once, and several of them in one round trip.

Through SQLAlchemy's connection a statement takes 0.26 to 0.75 ms of our CPU, most of it spent on looking up how it
was compiled before; compiled here once and given to the driver, several together take as much as one
(docs/performance.md). They run on the transaction's own connection, so that both ways may be mixed.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar, cast, overload

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Json
from sqlalchemy import JSON, Table, bindparam, insert, update
from sqlalchemy.dialects import registry
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

_DIALECT = registry.load("postgresql.psycopg")()
_SHAPES_MAX = 512  # of inserts and updates, each a set of columns

Row = Mapping[str, Any]
T = TypeVar("T")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")


class Statement:
    """A statement as text for the driver; its values are given by name when it runs."""

    __slots__ = ("_constants", "_json", "text")

    def __init__(self, clause: ClauseElement) -> None:
        compiled = clause.compile(dialect=_DIALECT)
        assert isinstance(compiled, SQLCompiler)
        self.text = str(compiled)
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}
        self._json = [name for name, bind in compiled.binds.items() if isinstance(bind.type, JSON)]

    def values(self, given: Row) -> dict[str, Any]:
        """The given values as the driver takes them, with those that are part of the statement."""
        values = {**self._constants, **given}
        for name in self._json:
            if values[name] is not None:
                values[name] = Json(values[name])
        return values


@dataclass(frozen=True, slots=True)
class Query(Generic[T]):
    """A statement with its values, and what its rows mean."""

    statement: Statement
    values: Row
    meaning: Callable[[Sequence[Row]], T]


def single(statement: Statement, values: Row, meaning: Callable[[Row], T]) -> Query[T | None]:
    """A query for at most one row."""
    return Query(statement, values, lambda rows: meaning(rows[0]) if rows else None)


async def fetch(connection: AsyncConnection, query: Query[T]) -> T:
    """What the query finds."""
    cursor = _driver(connection).cursor(row_factory=dict_row)
    await cursor.execute(query.statement.text, query.statement.values(query.values))
    return query.meaning(await cursor.fetchall())


@overload
async def fetch_together(
    connection: AsyncConnection, first: Query[T], second: Query[T2], third: Query[T3], /
) -> tuple[T, T2, T3]: ...


@overload
async def fetch_together(
    connection: AsyncConnection, first: Query[T], second: Query[T2], third: Query[T3], fourth: Query[T4], /
) -> tuple[T, T2, T3, T4]: ...


async def fetch_together(connection: AsyncConnection, *queries: Query[Any]) -> tuple[Any, ...]:
    """What each query finds, in one round trip: one after another, each sees what was committed when it began."""
    driver = _driver(connection)
    cursors = [driver.cursor(row_factory=dict_row) for _ in queries]
    async with driver.pipeline():
        for cursor, query in zip(cursors, queries, strict=True):
            await cursor.execute(query.statement.text, query.statement.values(query.values))
    found = [query.meaning(await cursor.fetchall()) for cursor, query in zip(cursors, queries, strict=True)]
    return tuple(found)


async def run(connection: AsyncConnection, statement: Statement, values: Row) -> None:
    """The statement ran; within `together`, it will have when the block ends."""
    await _driver(connection).execute(statement.text, statement.values(values))


@asynccontextmanager
async def together(connection: AsyncConnection) -> AsyncIterator[None]:
    """What runs in the block goes out in one round trip, in order; the first error is raised when the block ends."""
    async with _driver(connection).pipeline():
        yield


async def insert_row(connection: AsyncConnection, table: Table, row: Row) -> None:
    """The row is in the table."""
    await run(connection, _insertion(table, tuple(row)), row)


async def update_row(connection: AsyncConnection, table: Table, changes: Row, *, where: Row) -> None:
    """The row with this key has these values. Nothing is sent when there are none."""
    if changes:
        statement = _change(table, tuple(changes), tuple(where))
        await run(connection, statement, {**changes, **{_key(name): value for name, value in where.items()}})


@lru_cache(_SHAPES_MAX)
def _insertion(table: Table, names: tuple[str, ...]) -> Statement:
    return Statement(insert(table).values({name: bindparam(name) for name in names}))


@lru_cache(_SHAPES_MAX)
def _change(table: Table, names: tuple[str, ...], key: tuple[str, ...]) -> Statement:
    same = [table.c[name] == bindparam(_key(name)) for name in key]
    return Statement(update(table).where(*same).values({name: bindparam(name) for name in names}))


def _key(name: str) -> str:
    """The parameter for a column of the key, which may be among the changes, too."""
    return f"key_{name}"


def _driver(connection: AsyncConnection) -> psycopg.AsyncConnection[Any]:
    """The driver's connection under the transaction's."""
    driver = connection.sync_connection.connection.driver_connection if connection.sync_connection else None
    return cast("psycopg.AsyncConnection[Any]", driver)
