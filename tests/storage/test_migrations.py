"""The tables are what the migrations build, and migrating is safe at any time."""

import asyncio
import os
import re
import sys
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError

from payonce.storage.driver.database import Database
from payonce.storage.migrating import migration_config, upgrade
from payonce.storage.tables import metadata
from tests.storage.migrating import LATE_SUCCESSES, described, run_sql, schema_of
from tests.support.databases import PostgresServer
from tests.support.eventually import eventually


async def test_the_model_is_what_the_migrations_build(database_url: str) -> None:
    def drift() -> list[object]:
        engine = create_engine(database_url)
        with engine.connect() as connection:
            options = {"compare_type": True, "compare_server_default": True}
            found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        engine.dispose()
        return list(found)

    assert await asyncio.to_thread(drift) == []


async def test_every_check_and_index_of_the_model_is_in_the_database(
    postgres_server: PostgresServer, database_url: str
) -> None:
    def describe(url: str, *, create: bool) -> set[tuple[str, str, str]]:
        engine = create_engine(url)
        with engine.begin() as connection:
            if create:
                metadata.create_all(connection)
            found = described(connection)
        engine.dispose()
        return found

    async with postgres_server.empty_database() as empty_url:
        modelled = await asyncio.to_thread(describe, empty_url, create=True)
    assert await asyncio.to_thread(describe, database_url, create=False) == modelled


async def test_migrating_again_changes_nothing(database_url: str) -> None:
    await asyncio.to_thread(upgrade, database_url)
    database = Database(database_url, pool_size=2)
    await database.ping()
    await database.close()


async def test_two_processes_may_migrate_at_once(postgres_server: PostgresServer) -> None:
    program = "import sys; from payonce.storage.migrating import upgrade; upgrade(sys.argv[1])"

    async def migrate(url: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            url,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()
        return process.returncode, errors.decode()

    async with postgres_server.empty_database() as url:
        ended = await asyncio.gather(migrate(url), migrate(url))
    assert [code for code, _ in ended] == [0, 0], ended


async def test_no_table_is_read_under_an_exclusive_lock_from_the_fifth_migration_on(
    postgres_server: PostgresServer,
) -> None:
    read: list[str] = []

    def before(_: Any, cursor: Any, statement: str, *_rest: Any) -> None:
        if not _READS.search(statement):
            return
        with cursor.connection.cursor() as looking:
            assert looking.execute(_LOCKED).fetchall() == [], statement
        read.append(statement)

    def migrate(url: str) -> None:
        command.upgrade(migration_config(url), "0004")
        event.listen(Engine, "before_cursor_execute", before)
        try:
            upgrade(url, replaced=True)
        finally:
            event.remove(Engine, "before_cursor_execute", before)

    async with postgres_server.empty_database() as url:
        await asyncio.to_thread(migrate, url)
    assert len(read) == 60  # four that mark rows, twenty constraints, thirty-six indexes


# These tables are made in the transaction of their indexes: nobody waits for them.
_NEW = (
    r"CREATE INDEX (?!\w+ ON (?:vault|audit)\."
    r"|IF NOT EXISTS (?:payment_methods|disputes|reconciliation\w*|acquirer_objects)_)"
)
_READS = re.compile(rf"UPDATE (operations|payments)|VALIDATE|{_NEW}")
_LOCKED = """
    SELECT relation::regclass::text FROM pg_locks JOIN pg_class ON pg_class.oid = relation
     WHERE pid = pg_backend_pid() AND mode = 'AccessExclusiveLock' AND relkind = 'r'
"""


async def test_a_migration_that_broke_off_before_it_was_noted_begins_again(
    postgres_server: PostgresServer,
) -> None:
    """Those of several transactions; what is held is not held twice."""

    def migrate(url: str) -> tuple[set[tuple[str, str, str]], list[tuple[int, int]]]:
        config = migration_config(url)
        command.upgrade(config, "0003")
        run_sql(url, LATE_SUCCESSES)
        for before, revision in (("0004", "0005"), ("0006", "0007"), ("0008", "0009"), ("0010", "0011")):
            command.upgrade(config, revision)
            command.stamp(config, before)
        run_sql(url, _AS_IF_BUILDING_BROKE_OFF)
        command.upgrade(config, "0013")
        command.stamp(config, "0012")
        command.upgrade(config, "0014")
        command.stamp(config, "0013")
        command.upgrade(config, "0015")
        command.stamp(config, "0014")
        command.upgrade(config, "0037")
        command.stamp(config, "0036")
        command.upgrade(config, "0043")
        command.stamp(config, "0040")
        command.upgrade(config, "0045")
        command.stamp(config, "0044")
        command.upgrade(config, "0050")
        command.stamp(config, "0046")
        upgrade(url, replaced=True)
        engine = create_engine(url)
        with engine.connect() as connection:
            sums = "SELECT amount_capture_undecided_minor, amount_refund_undecided_minor FROM payments"
            assert connection.execute(text(_NOT_VALID)).scalars().all() == []
            found = described(connection), [(row[0], row[1]) for row in connection.execute(text(sums))]
        engine.dispose()
        return found

    async with postgres_server.empty_database() as url, postgres_server.empty_database() as modelled:
        schema, held = await asyncio.to_thread(migrate, url)
        await asyncio.to_thread(upgrade, modelled)
        assert schema == await asyncio.to_thread(schema_of, modelled)
    assert held == [(40, 300)]


# One of the indexes that are built concurrently was not finished, and one not begun.
_AS_IF_BUILDING_BROKE_OFF = """
    UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'events_made_idx'::regclass;
    DROP INDEX webhook_deliveries_listed_idx;
"""
_NOT_VALID = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"


async def test_migrations_from_the_fourth_on_can_be_taken_back(postgres_server: PostgresServer) -> None:
    def migrate(url: str) -> list[set[tuple[str, str, str]]]:
        config = migration_config(url)
        found = []
        for move, revision in (
            (command.upgrade, "0003"),
            (command.upgrade, "head"),
            (command.downgrade, "0003"),
            (command.upgrade, "head"),
        ):
            move(config, revision)
            found.append(schema_of(url))
        return found

    async with postgres_server.empty_database() as url:
        old, new, taken_back, again = await asyncio.to_thread(migrate, url)
    assert (taken_back, again) == (old, new)


async def test_what_the_version_before_needs_goes_once_it_is_replaced(
    postgres_server: PostgresServer,
) -> None:
    def migrate(url: str) -> list[tuple[bool, set[str]]]:
        command.upgrade(migration_config(url), "0045")
        found = []
        for replaced in (False, False, True, False):
            newest = upgrade(url, replaced=replaced)
            found.append((newest, _OF_THE_VERSION_BEFORE & {name for _, name, _ in schema_of(url)}))
        return found

    async with postgres_server.empty_database() as url:
        found = await asyncio.to_thread(migrate, url)
    assert found == [(False, _OF_THE_VERSION_BEFORE)] * 2 + [(True, set())] * 2


_OF_THE_VERSION_BEFORE = {
    *(
        "attempts_reference_key",
        "operations_payment_idx",
        "idempotency_keys_operation_idx",
        "events_time_idx",
    ),
    "payments_open_idx",
}


async def test_a_new_database_has_the_newest_schema_at_once(postgres_server: PostgresServer) -> None:
    async with postgres_server.empty_database() as url:
        assert await asyncio.to_thread(upgrade, url)


@pytest.mark.parametrize(("before", "after"), [("0045", "0046"), ("0047", "0048")])
async def test_a_create_that_has_its_key_never_waits_for_a_migration(
    postgres_server: PostgresServer, before: str, after: str
) -> None:
    """Which waits for what the create has: each would wait for the other, and one break off."""
    async with postgres_server.empty_database() as url:
        config = migration_config(url)
        await asyncio.to_thread(command.upgrade, config, before)
        await asyncio.to_thread(run_sql, url, "INSERT INTO merchants VALUES ('mer_1', 'Shop', now())")
        async with await psycopg.AsyncConnection.connect(url.replace("+psycopg", "")) as create:
            await create.execute(_CLAIMED)
            migrating = asyncio.create_task(asyncio.to_thread(command.upgrade, config, after))

            async def waits() -> bool:
                return bool(await (await create.execute(_WAITING)).fetchall())

            await eventually(waits)
            await create.execute("LOCK TABLE payments, operations, attempts IN ROW EXCLUSIVE MODE NOWAIT")
        await migrating


_CLAIMED = """
    INSERT INTO idempotency_keys (merchant_id, mode, key, fingerprint, fingerprint_version, operation_id, location,
                                  request_id, created_at)
         VALUES ('mer_1', 'test', 'k', '', 1, 'pay_1', '/v1/payments/pay_1', 'req_1', now())
"""
_WAITING = """
    SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


async def test_a_way_back_is_refused_while_a_row_lacks_what_derives(postgres_server: PostgresServer) -> None:
    """And leaves the schema as it was, so that rows can be written as before."""

    def migrate(url: str) -> tuple[set[tuple[str, str, str]], set[tuple[str, str, str]]]:
        config = migration_config(url)
        command.upgrade(config, "0046")
        run_sql(url, _ACCEPTING + _WITHOUT_REFERENCE)
        before = schema_of(url)
        with pytest.raises(RuntimeError, match="payonce db unpack"):
            command.downgrade(config, "0045")
        after = schema_of(url)
        run_sql(url, "UPDATE attempts SET reference = 'op_1-1', payment_id = 'pay_1'")
        command.downgrade(config, "0045")
        return before, after

    async with postgres_server.empty_database() as url:
        before, after = await asyncio.to_thread(migrate, url)
    assert after == before


async def test_a_refused_way_back_leaves_acceptances_as_they_were(postgres_server: PostgresServer) -> None:
    """One that is under way is recorded as before."""

    def migrate(url: str) -> tuple[set[tuple[str, str, str]], set[tuple[str, str, str]]]:
        config = migration_config(url)
        command.upgrade(config, "0044")
        run_sql(url, _ACCEPTING)
        before = schema_of(url)
        with pytest.raises(DBAPIError, match="disputes were accepted"):
            command.downgrade(config, "0043")
        run_sql(url, "UPDATE operations SET status = 'succeeded'")
        return before, schema_of(url)

    async with postgres_server.empty_database() as url:
        before, after = await asyncio.to_thread(migrate, url)
    assert after == before


_ACCEPTING = """
    INSERT INTO merchants VALUES ('mer_1', 'Shop', now());
    INSERT INTO payments (id, merchant_id, mode, status, amount_minor, currency, capture_method, payment_method,
                          idempotency_key, connector, connector_account, created_at, updated_at, metadata, sequence,
                          amount_authorized_minor, amount_captured_minor, amount_refunded_minor,
                          amount_refund_pending_minor)
         VALUES ('pay_1', 'mer_1', 'test', 'captured', 1, 'INR', 'automatic', '{}', 'k', 'c', 'c', now(), now(), '{}',
                 1, 1, 1, 0, 0);
    INSERT INTO operations (id, payment_id, merchant_id, mode, kind, amount_minor, currency, created_at, updated_at,
                            status, final, metadata, sweep_at, dispute_id)
         VALUES ('op_1', 'pay_1', 'mer_1', 'test', 'accept', 1, 'INR', now(), now(), 'pending', true, '{}', now(),
                 'dp_1');
"""
_WITHOUT_REFERENCE = """
    INSERT INTO attempts (operation_id, number, kind, connector, connector_account, state, owner, token, send_before,
                          claimed_at)
         VALUES ('op_1', 1, 'accept', 'c', 'c', 'claimed', 'boot_1', 'run_1', now(), now());
"""
