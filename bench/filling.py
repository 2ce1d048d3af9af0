"""A migrated database is full of old payments: written by COPY, with all indexes off, which are built afterwards."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Any, Final

from psycopg import AsyncConnection, sql
from sqlalchemy import JSON, Table

from bench.lives import Filling, Life
from payonce.storage import tables
from payonce.storage.driver.statements import as_json

AT_ONCE: Final = 5_000  # payments between two COPYs of a table
BYTES_EACH: Final = 6_000  # of a payment with its indexes: 4.1 KB measured, and some room
FREE_TIMES: Final = 3  # of what is filled: the WAL and the building of indexes take their part
WAL_AND_REST: Final = 2_000_000_000
FILLED: Final = (
    *("payments", "operations", "attempts", "events", "idempotency_keys"),
    *("webhook_deliveries", "disputes", "payment_methods", "acquirer_objects", "reconciliations"),
)

# As the superuser that owns them: no row is looked up for a foreign key, and no index is written.
_QUIET: Final = "SET session_replication_role = replica; SET synchronous_commit = off"
_INDEXES_OFF: Final = """
    UPDATE pg_index SET indisready = false, indisvalid = false WHERE indrelid = ANY (%s::regclass[])
"""
# Rows tell which transaction wrote them, and what lists show is below the oldest that runs.
_COUNT_ON: Final = """
    DO $$ BEGIN
        WHILE pg_current_xact_id() < '{last}'::xid8 LOOP COMMIT; END LOOP;
    END $$
"""


class TooLittleRoom(Exception):
    """The disc has less room than the filling and its building need."""


def check_room(payments: int, directory: Path) -> str:
    """How much disc so many payments need, in words. Raises `TooLittleRoom`."""
    needed = payments * BYTES_EACH * FREE_TIMES + WAL_AND_REST
    free = shutil.disk_usage(directory).free
    words = (
        f"{payments:,} payments take about {payments * BYTES_EACH / 1e9:.1f} GB; {needed / 1e9:.1f} GB must be"
        f" free in {directory}, and {free / 1e9:.1f} GB are"
    )
    if free < needed:
        raise TooLittleRoom(words)
    return words


async def fill(url: str, filling: Filling) -> None:
    """Every row is there, vacuumed and analysed, and every index is whole; `url` is a superuser's.

    Nothing else may use the database meanwhile, which held nothing of these tables.
    """
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(_QUIET)
        await connection.execute(_COUNT_ON.format(last=filling.last_xid + 100).encode())
        await connection.execute(_INDEXES_OFF, [list(FILLED)])
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(_QUIET)
        for lives in _batches(filling.lives()):
            for name in FILLED:
                await _copy(connection, name, [row for life in lives for row in life.rows.get(name, ())])
        await connection.execute("SET maintenance_work_mem = '256MB'")
        for name in FILLED:
            await connection.execute(sql.SQL("REINDEX TABLE {}").format(sql.Identifier(name)))
            await connection.execute(sql.SQL("VACUUM ANALYZE {}").format(sql.Identifier(name)))


def _batches(lives: Iterator[Life]) -> Iterator[list[Life]]:
    while batch := list(islice(lives, AT_ONCE)):
        yield batch


async def _copy(connection: AsyncConnection[Any], name: str, rows: Sequence[dict[str, Any]]) -> None:
    """A row that lacks a column has NULL there; a column that no row names has its default."""
    if not rows:
        return
    names = sorted({each for row in rows for each in row})
    table: Table = tables.metadata.tables[name]
    as_json = [isinstance(table.c[each].type, JSON) for each in names]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(name), columns)
    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            await copy.write_row(_cells((row.get(each) for each in names), as_json))


def _cells(values: Iterable[Any], as_json: Sequence[bool]) -> list[Any]:
    return [_cell(value, is_json=is_json) for value, is_json in zip(values, as_json, strict=True)]


def _cell(value: Any, *, is_json: bool) -> Any:
    if value is None:
        return None
    if is_json:
        return as_json(value)
    return value.value if isinstance(value, Enum) else value
