"""A transaction's way to Postgres: how often it waits, and what holds when something fails on the way."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import IntegrityError
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult
from sqlalchemy import bindparam, select, text
from sqlalchemy.exc import DBAPIError

from payonce.storage.driver import pool, wire
from payonce.storage.driver.connection import WAITING_MAX, Connection
from payonce.storage.driver.database import CommitUnknown, Database, LockTimedOut, StorageUnavailable
from payonce.storage.driver.statements import Query, Statement, single
from payonce.storage.driver.wire import COMMIT, Command, Wire
from payonce.storage.tables import api_keys, merchants
from tests.storage.ledger import Ledger
from tests.support.eventually import eventually

_NAME = Statement(select(merchants.c.name).where(merchants.c.id == bindparam("id")))
_RENAME = Statement(text("UPDATE merchants SET name = :name WHERE id = :id"))
_FAIL = Statement(text("SELECT 1 / CAST(:divisor AS integer) AS quotient"))
_LOCK_WAIT = Statement(text("SELECT set_config('lock_timeout', :wait, true)"))
_ECHO = Statement(text("SELECT CAST(:said AS text) AS said"))
_SLEEP = Statement(text("SELECT CAST(pg_sleep(CAST(:seconds AS float)) AS text)"))
_PREPARED = text("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%payonce_marker%'")
_READ_ONLY = text("DO $$ BEGIN RAISE 'read-only' USING ERRCODE = '25006'; END $$")
_MARKED = Statement(text("SELECT CAST(:value AS text) AS payonce_marker"))


def _name(merchant_id: str) -> Query[str | None]:
    return single(_NAME, {"id": merchant_id}, lambda row: str(row["name"]))


def _rows(statement: Statement, **values: Any) -> Query[list[dict[str, Any]]]:
    return Query(statement, values, lambda rows: [dict(row) for row in rows])


@dataclass
class Traffic:
    """Statements that were executed, and how often we waited for Postgres before sending more."""

    executed: int = 0
    round_trips: int = 0


@asynccontextmanager
async def _traced(database: Database, path: Path) -> AsyncIterator[tuple[Connection, Traffic]]:
    """A transaction, and after the block what libpq exchanged with Postgres for all of it."""
    traffic = Traffic()
    with path.open("w+") as trace:
        async with database.transaction() as connection:
            libpq = connection._wire._driver.pgconn
            libpq.trace(trace.fileno())
            yield connection, traffic
        libpq.untrace()
        trace.seek(0)
        parts = [line.rstrip("\n").split("\t") for line in trace]
    messages = [part for part in parts if len(part) > 3]  # the others go on with a statement's text
    directions = [message[1] for message in messages]
    traffic.executed = sum(message[1] == "F" and message[3] == "Execute" for message in messages)
    traffic.round_trips = sum(here == "F" and after == "B" for here, after in pairwise(directions))


async def test_a_transaction_that_reads_once_and_writes_takes_two_round_trips(
    shared_ledger: Ledger, tmp_path: Path
) -> None:
    id_ = shared_ledger.merchant_id
    async with _traced(shared_ledger.database, tmp_path / "trace") as (connection, traffic):
        found = await connection.fetch_together(_name(id_), _name("mer_none"), _name(id_))
        await connection.write(_RENAME, {"id": id_, "name": "first"})
        await connection.update(merchants, {"name": found[0]}, where={"id": id_})
    assert found[0] == found[2] is not None
    assert found[1] is None
    assert traffic == Traffic(executed=7, round_trips=2)  # with BEGIN and COMMIT


async def test_a_transaction_that_does_nothing_sends_nothing(shared_ledger: Ledger, tmp_path: Path) -> None:
    async with _traced(shared_ledger.database, tmp_path / "trace") as (connection, traffic):
        await connection.update(merchants, {}, where={"id": "mer_none"})
    assert traffic == Traffic(0, 0)


async def test_what_is_read_sees_what_was_written_before(ledger: Ledger) -> None:
    row = {"id": "mer_a", "name": "a", "created_at": datetime.now(UTC)}
    async with ledger.database.transaction() as connection:
        await connection.insert(merchants, row)
        await connection.update(merchants, {"id": "mer_b"}, where={"id": "mer_a"})
        assert await connection.fetch(_name("mer_b")) == "a"
        await connection.update(merchants, {"name": "b"}, where={"id": "mer_b"})
        seen = await connection.execute(select(merchants.c.name).where(merchants.c.id == "mer_b"))
        assert seen.scalar_one() == "b"


async def test_more_than_may_wait_is_sent(ledger: Ledger) -> None:
    now = datetime.now(UTC)
    async with ledger.database.transaction() as connection:
        for number in range(WAITING_MAX + 5):
            await connection.insert(merchants, {"id": f"mer_{number}", "name": "n", "created_at": now})
            assert len(connection._waiting) <= WAITING_MAX
    assert await ledger.count("merchants") == WAITING_MAX + 6


async def test_the_first_error_is_raised_and_nothing_of_the_transaction_holds(shared_ledger: Ledger) -> None:
    """Also where COMMIT went out with it: Postgres did not execute that, so nothing is unknown."""
    row = {"id": "mer_c", "name": "c", "created_at": datetime.now(UTC)}

    async def insert_twice() -> None:
        async with shared_ledger.database.transaction() as connection:
            await connection.insert(merchants, row)
            await connection.insert(merchants, row)
            await connection.insert(api_keys, {"id": "key_1"})

    with pytest.raises(IntegrityError, match="merchants_pkey"):
        await insert_twice()
    async with shared_ledger.database.transaction() as connection:
        assert await connection.fetch(_name("mer_c")) is None


async def test_a_write_that_waits_too_long_for_a_lock_leaves_nothing_unknown(ledger: Ledger) -> None:
    id_ = ledger.merchant_id

    async def write_too_late() -> None:
        async with ledger.database.transaction() as connection:
            await connection.write(_LOCK_WAIT, {"wait": "50ms"})
            await connection.write(_RENAME, {"id": id_, "name": "late"})

    async with ledger.database.transaction() as holding:
        await holding.write(_RENAME, {"id": id_, "name": "held"})
        assert await holding.fetch(_name(id_)) == "held"
        with pytest.raises(LockTimedOut):
            await write_too_late()
    async with ledger.database.transaction() as connection:
        assert await connection.fetch(_name(id_)) == "held"


async def test_a_transaction_in_which_something_failed_does_not_count_as_committed(ledger: Ledger) -> None:
    """Postgres answers COMMIT with success then, and rolls back."""

    async def fail_and_go_on() -> None:
        async with ledger.database.transaction() as connection:
            await connection.write(_RENAME, {"id": ledger.merchant_id, "name": "lost"})
            with pytest.raises(DBAPIError):
                await connection.execute(text("SELECT 1 / 0"))

    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        await fail_and_go_on()
    async with ledger.database.transaction() as connection:
        assert await connection.fetch(_name(ledger.merchant_id)) != "lost"


async def test_a_connection_serves_again_after_an_error(ledger: Ledger) -> None:
    """Of the same pool of one connection, and with what was prepared on it."""
    pids = []

    async def divide_by(divisor: int) -> None:
        async with database.transaction() as connection:
            pids.append(await _pid(connection))
            assert await connection.fetch(_rows(_FAIL, divisor=divisor)) == [{"quotient": 1}]

    database = Database(ledger.url, pool_size=1)
    try:
        await divide_by(1)
        with pytest.raises(psycopg.errors.DivisionByZero):
            await divide_by(0)
        await divide_by(1)
    finally:
        await database.close()
    assert len(set(pids)) == 1


async def test_after_an_error_nothing_more_runs_outside_of_the_transaction(ledger: Ledger) -> None:
    id_ = ledger.merchant_id

    async def go_on_after_an_error() -> None:
        async with ledger.database.transaction() as connection:
            await connection.write(_RENAME, {"id": id_, "name": "lost"})
            with pytest.raises(psycopg.errors.DivisionByZero):
                await connection.fetch(_rows(_FAIL, divisor=0))
            with pytest.raises(psycopg.errors.InFailedSqlTransaction):
                await connection.execute(text("UPDATE merchants SET name = 'lost'"))
            with pytest.raises(psycopg.errors.InFailedSqlTransaction):
                await connection.fetch(_name(id_))

    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        await go_on_after_an_error()
    async with ledger.database.transaction() as connection:
        assert await connection.fetch(_name(id_)) != "lost"


async def test_a_value_that_cannot_be_sent_is_an_error_at_once(shared_ledger: Ledger) -> None:
    """And not a COMMIT of unknown outcome."""

    async def write_nul() -> None:
        async with shared_ledger.database.transaction() as connection:
            await connection.write(_RENAME, {"id": shared_ledger.merchant_id, "name": "a\0b"})
            raise AssertionError("not reached")

    with pytest.raises(psycopg.DataError):
        await write_nul()


async def test_an_error_that_answers_commit_itself_leaves_it_unknown(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a pooler may answer that lost its server."""
    exchange = Wire.exchange

    async def exchange_and_lose_the_answer(wire: Wire, commands: Sequence[Command]) -> list[PGresult]:
        results = await exchange(wire, commands)
        if commands[-1] is COMMIT:
            results[-1] = wire._driver.pgconn.make_empty_result(ExecStatus.FATAL_ERROR)
        return results

    async def rename() -> None:
        async with ledger.database.transaction() as connection:
            await connection.write(_RENAME, {"id": ledger.merchant_id, "name": "there"})

    monkeypatch.setattr(Wire, "exchange", exchange_and_lose_the_answer)
    with pytest.raises(CommitUnknown):
        await rename()
    monkeypatch.undo()
    async with ledger.database.transaction() as connection:
        assert await connection.fetch(_name(ledger.merchant_id)) == "there"


async def test_what_the_server_forgot_is_prepared_anew(ledger: Ledger) -> None:
    async def read() -> str | None:
        async with database.transaction() as connection:
            return await connection.fetch(_name(ledger.merchant_id))

    database = Database(ledger.url, pool_size=1)
    try:
        name = await read()
        async with database.transaction() as connection:
            await connection.execute(text("DEALLOCATE ALL"))
        with pytest.raises(StorageUnavailable):
            await read()
        assert await read() == name
    finally:
        await database.close()


async def test_a_statement_is_prepared_once_however_often_it_runs(ledger: Ledger) -> None:
    database = Database(ledger.url, pool_size=1)
    try:
        for _ in range(2):
            async with database.transaction() as connection:
                found = await connection.fetch_together(
                    _rows(_MARKED, value="a"), _rows(_MARKED, value="b"), _rows(_MARKED, value=None)
                )
                assert [rows[0]["payonce_marker"] for rows in found] == ["a", "b", None]
        async with database.transaction() as connection:
            assert (await connection.execute(_PREPARED)).scalar_one() == 1
    finally:
        await database.close()


async def test_a_statement_that_cannot_be_prepared_says_so_each_time(ledger: Ledger) -> None:
    broken = Statement(text("SELECT nothing FROM nowhere WHERE id = :id"))

    async def read() -> None:
        async with ledger.database.transaction() as connection:
            await connection.fetch(_rows(broken, id="x"))

    for _ in range(2):
        with pytest.raises(psycopg.errors.UndefinedTable):
            await read()


async def test_answers_larger_than_every_buffer_arrive_while_more_is_sent(ledger: Ledger) -> None:
    said = "x" * 6_000_000
    async with ledger.database.transaction() as connection:
        found = await connection.fetch_together(*(_rows(_ECHO, said=said) for _ in range(4)))
    assert [len(rows[0]["said"]) for rows in found] == [len(said)] * 4


async def _asleep(ledger: Ledger) -> bool:
    """Whether a connection is executing `_SLEEP`."""
    found = await ledger.rows(
        "SELECT count(*) AS n FROM pg_stat_activity"
        " WHERE query LIKE '%pg_sleep%' AND state = 'active' AND pid != pg_backend_pid()"
    )
    return bool(found[0].n)


async def test_who_is_cancelled_leaves_no_statement_running(ledger: Ledger) -> None:
    async def sleep() -> None:
        async with ledger.database.transaction() as connection:
            await connection.write(_RENAME, {"id": ledger.merchant_id, "name": "asleep"})
            await connection.fetch(_rows(_SLEEP, seconds=3.0))

    task = asyncio.create_task(sleep())
    await eventually(lambda: _asleep(ledger))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not await _asleep(ledger)
    async with ledger.database.transaction() as connection:
        assert await connection.fetch(_name(ledger.merchant_id)) != "asleep"


@pytest.fixture
async def small(ledger: Ledger) -> AsyncIterator[Database]:
    """The ledger's database through three connections."""
    database = Database(ledger.url, pool_size=3)
    yield database
    await database.close()


async def _pid(connection: Connection) -> int:
    return int((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())


async def test_the_connection_that_was_used_last_is_used_next(small: Database) -> None:
    async with small.transaction() as first, small.transaction() as second:
        assert await _pid(first) != (pid := await _pid(second))
    async with small.transaction() as first, small.transaction() as second:
        pids = [await _pid(first), await _pid(second)]
    async with small.transaction() as third:
        assert await _pid(third) == pids[0] != pid


async def test_who_finds_no_connection_free_is_told_and_later_served(
    small: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "WAIT_S", 0.05)
    async with small.transaction(), small.transaction(), small.transaction():
        with pytest.raises(StorageUnavailable):
            async with small.transaction():
                pass
        await small.ping()  # reads have connections of their own
    async with small.transaction() as connection:
        await _pid(connection)


async def test_where_one_connection_broke_the_others_are_opened_anew(small: Database, ledger: Ledger) -> None:
    """As after a restart of Postgres: what the server ended at rest is not used, so no transaction fails."""
    async with small.transaction() as first, small.transaction() as second, small.transaction() as third:
        pids = [await _pid(connection) for connection in (first, second, third)]
    await ledger.rows(
        "SELECT pg_terminate_backend(pid, 5000) FROM unnest(CAST(:pids AS integer[])) AS pid", pids=pids
    )
    async with small.transaction() as first, small.transaction() as second, small.transaction() as third:
        assert not {await _pid(connection) for connection in (first, second, third)} & set(pids)


async def test_who_is_cancelled_closes_no_connection_of_others(small: Database, ledger: Ledger) -> None:
    async def sleep() -> None:
        async with small.transaction() as connection:
            await connection.execute(text("SELECT pg_sleep(3)"))

    async with small.transaction() as first, small.transaction() as second:
        pids = {await _pid(first), await _pid(second)}
    task = asyncio.create_task(sleep())
    await eventually(lambda: _asleep(ledger))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with small.transaction() as first:
        assert await _pid(first) in pids


async def test_a_connection_on_which_much_was_prepared_is_replaced(
    small: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "PREPARED_MAX", 2)
    pids = []
    for statement, values in ((_ECHO, {"said": "a"}), (_FAIL, {"divisor": 1}), (_MARKED, {"value": "a"})):
        async with small.transaction() as connection:
            await connection.fetch(_rows(statement, **values))
            pids.append(await _pid(connection))
    assert pids[0] == pids[1] != pids[2]


async def test_a_closed_database_leaves_no_connection_behind(ledger: Ledger) -> None:
    database = Database(ledger.url, pool_size=2)
    async with database.transaction() as lasting:
        async with database.transaction() as brief:
            pids = [await _pid(lasting), await _pid(brief)]
        await database.close()
    alive = "SELECT count(*) AS n FROM pg_stat_activity WHERE pid = ANY (CAST(:pids AS integer[]))"

    async def gone() -> bool:
        return (await ledger.rows(alive, pids=pids))[0].n == 0

    await eventually(gone)


async def test_where_one_leads_to_a_demoted_primary_reads_do_not_stay_there_either(small: Database) -> None:
    """A read raises nothing there, and finds the past: those that rest are closed, and those in use afterwards."""
    async with small.reading() as first, small.reading() as second:
        pids = {await _pid(first), await _pid(second)}
    async with small.reading() as in_use:
        assert await _pid(in_use) in pids
        with pytest.raises(StorageUnavailable):
            await _refused_as_read_only(small)
    async with small.reading() as first, small.reading() as second:
        assert not {await _pid(first), await _pid(second)} & pids


async def test_a_process_that_lost_its_connections_says_so(
    small: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "OUT_MAX_S", -1.0)  # whatever is out is lost
    async with small.transaction(), small.transaction():
        assert not small.is_stuck()
        async with small.transaction():
            assert small.is_stuck()
    async with small.reading(), small.reading():
        assert small.is_stuck()
    assert not small.is_stuck()


async def test_connections_opened_since_one_broke_are_kept(small: Database) -> None:
    """Each of those that broke with it closed all others again: a fail-over was followed by a storm of connects."""

    async def break_twice() -> None:
        async with small.transaction() as broken_as_well:
            await _pid(broken_as_well)
            with pytest.raises(StorageUnavailable):
                await _refused_as_read_only(small)
            async with small.transaction() as connection:
                pids.append(await _pid(connection))
            await broken_as_well.execute(_READ_ONLY)

    pids: list[int] = []
    with pytest.raises(StorageUnavailable):
        await break_twice()
    async with small.transaction() as connection:
        assert [await _pid(connection)] == pids


async def _refused_as_read_only(database: Database) -> None:
    """A transaction that ends as on a server that is not the primary any more."""
    async with database.transaction() as connection:
        await connection.execute(_READ_ONLY)
