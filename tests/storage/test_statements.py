"""Statements given to the driver: several go out in one round trip, and an error leaves nothing behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from psycopg import IntegrityError
from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from payonce.storage.statements import (
    Query,
    Statement,
    fetch,
    fetch_together,
    insert_row,
    run,
    single,
    together,
    update_row,
)
from payonce.storage.tables import api_keys, merchants
from tests.storage.ledger import Ledger

_NAME = Statement(select(merchants.c.name).where(merchants.c.id == bindparam("id")))
_RENAME = Statement(text("UPDATE merchants SET name = :name WHERE id = :id"))


def _name(merchant_id: str) -> Query[str | None]:
    return single(_NAME, {"id": merchant_id}, lambda row: str(row["name"]))


@dataclass
class Traffic:
    """Statements that were executed, and how often we waited for Postgres before sending more."""

    executed: int = 0
    round_trips: int = 0


@contextmanager
def _traced(connection: AsyncConnection, path: Path) -> Iterator[Traffic]:
    """What libpq exchanged with Postgres while the block ran."""
    assert connection.sync_connection is not None
    driver = connection.sync_connection.connection.driver_connection
    assert driver is not None
    traffic = Traffic()
    with path.open("w+") as trace:
        driver.pgconn.trace(trace.fileno())
        try:
            yield traffic
        finally:
            driver.pgconn.untrace()
        trace.seek(0)
        parts = [line.rstrip("\n").split("\t") for line in trace]
    messages = [part for part in parts if len(part) > 3]  # the others go on with a statement's text
    directions = [message[1] for message in messages]
    traffic.executed = sum(message[1] == "F" and message[3] == "Execute" for message in messages)
    traffic.round_trips = sum(here == "F" and after == "B" for here, after in pairwise(directions))


def test_a_statement_brings_its_own_constants() -> None:
    constant = Statement(
        select(merchants.c.id).where(merchants.c.name == "x", merchants.c.id == bindparam("id"))
    )
    assert constant.values({"id": "mer_1"}) == {"name_1": "x", "id": "mer_1"}


async def test_queries_that_are_fetched_together_take_one_round_trip(
    shared_ledger: Ledger, tmp_path: Path
) -> None:
    id_ = shared_ledger.merchant_id
    async with shared_ledger.database.transaction() as connection:
        await fetch(connection, _name(id_))  # psycopg begins a transaction in a round trip of its own
        with _traced(connection, tmp_path / "trace") as traffic:
            found = await fetch_together(connection, _name(id_), _name("mer_none"), _name(id_))
    assert found[0] == found[2] is not None
    assert found[1] is None
    assert traffic == Traffic(executed=3, round_trips=1)


async def test_what_runs_together_takes_one_round_trip_and_keeps_its_order(
    shared_ledger: Ledger, tmp_path: Path
) -> None:
    id_ = shared_ledger.merchant_id
    async with shared_ledger.database.transaction() as connection:
        before = await fetch(connection, _name(id_))
        with _traced(connection, tmp_path / "trace") as traffic:
            async with together(connection):
                await run(connection, _RENAME, {"id": id_, "name": "first"})
                await update_row(connection, merchants, {"name": "second"}, where={"id": id_})
                await update_row(connection, merchants, {}, where={"id": id_})
        assert await fetch(connection, _name(id_)) == "second"
        await update_row(connection, merchants, {"name": before}, where={"id": id_})
    assert traffic == Traffic(executed=2, round_trips=1)


async def test_a_column_may_be_key_and_change_at_once(shared_ledger: Ledger) -> None:
    async with shared_ledger.database.transaction() as connection:
        row = {"id": "mer_a", "name": "a", "created_at": datetime.now(UTC)}
        await insert_row(connection, merchants, row)
        await update_row(connection, merchants, {"id": "mer_b"}, where={"id": "mer_a"})
        assert await fetch(connection, _name("mer_b")) == "a"


async def test_the_first_error_of_several_is_raised_and_nothing_of_the_transaction_holds(
    shared_ledger: Ledger,
) -> None:
    row = {"id": "mer_c", "name": "c", "created_at": datetime.now(UTC)}

    async def insert_twice() -> None:
        async with shared_ledger.database.transaction() as connection, together(connection):
            await insert_row(connection, merchants, row)
            await insert_row(connection, merchants, row)
            await insert_row(connection, api_keys, {"id": "key_1"})

    with pytest.raises(IntegrityError, match="merchants_pkey"):
        await insert_twice()
    async with shared_ledger.database.transaction() as connection:
        assert await fetch(connection, _name("mer_c")) is None
