"""The tables are what the migrations build, and migrating is safe at any time."""

import asyncio
import os
import re
import sys
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, event, text

from devstack.parts import CHECKOUT
from payonce.sealing import Sealer, SealingKey
from payonce.storage.driver.database import Database, migration_config, upgrade
from payonce.storage.tables import DUE, metadata
from payonce.storage.webhooks.secrets import active_secrets, seal_plain_secrets
from tests.support.databases import PostgresServer

_CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid <> 0 AND contype <> 'n'
"""
_INDEXES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"


def described(connection: Connection) -> set[tuple[str, str, str]]:
    """Every constraint and index by its definition: CHECKs and partial indexes too, which Alembic skips."""
    found = {tuple(row) for query in (_CONSTRAINTS, _INDEXES) for row in connection.execute(text(query))}
    return {(table, name, definition) for table, name, definition in found if table != "alembic_version"}


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


async def test_the_second_migration_keeps_deliveries_and_secrets_that_are_there(
    postgres_server: PostgresServer,
) -> None:
    """As the first release left them; afterwards its deliveries know their place, and its secrets are sealed."""

    def migrate(url: str) -> None:
        config = migration_config(url)
        command.upgrade(config, "0001")
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text(_FIRST_RELEASE))
        engine.dispose()
        upgrade(url)

    sealer = Sealer([SealingKey("test", b"s" * 32)])
    async with postgres_server.empty_database() as url:
        await asyncio.to_thread(migrate, url)
        database = Database(url, pool_size=2)
        async with database.transaction() as connection:
            delivery = (await connection.execute(text("SELECT * FROM webhook_deliveries"))).mappings().one()
            endpoint = (await connection.execute(text("SELECT * FROM webhook_endpoints"))).mappings().one()
            assert await seal_plain_secrets(connection, sealer) == 1
            ((stored,),) = (await active_secrets(connection, ["we_1"])).values()
        await database.close()

    assert (delivery["payment_id"], delivery["sequence"]) == ("pay_1", 3)
    assert (delivery["ordered"], delivery["cause"], delivery["holder"]) == (False, "event", "relay")
    assert (endpoint["signing"], endpoint["failures"], endpoint["warned"]) == ("hmac", 0, 0)
    assert sealer.unseal(stored.sealed, about=stored.about) == "whsec_first"


_FIRST_RELEASE = """
    INSERT INTO merchants VALUES ('mer_1', 'Shop', now());
    INSERT INTO payments (id, merchant_id, mode, status, amount_minor, currency, capture_method, payment_method,
                          idempotency_key, connector, connector_account, created_at, updated_at, metadata, sequence,
                          amount_authorized_minor, amount_captured_minor, amount_refunded_minor,
                          amount_refund_pending_minor)
         VALUES ('pay_1', 'mer_1', 'test', 'failed', 1, 'INR', 'manual', '{}', 'k', 'c', 'c', now(), now(), '{}', 3,
                 0, 0, 0, 0);
    INSERT INTO events VALUES ('evt_1', 'mer_1', 'test', 'pay_1', 3, 'payment.failed', '', now());
    INSERT INTO webhook_endpoints (id, merchant_id, mode, url, events, ordered, enabled, secret, created_at)
         VALUES ('we_1', 'mer_1', 'test', 'https://a.example/', '["*"]', false, true, 'whsec_first', now());
    INSERT INTO webhook_deliveries (id, event_id, endpoint_id, created_at) VALUES ('dlv_1', 'evt_1', 'we_1', now());
"""


async def test_creates_that_are_given_back_by_now_leave_the_queue_with_the_migration(
    postgres_server: PostgresServer,
) -> None:
    """One that was claimed again does not, nor does a refund that was not sent."""

    def migrate(url: str) -> list[str]:
        command.upgrade(migration_config(url), "0003")
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text(_GIVEN_BACK))
        upgrade(url)
        with engine.connect() as connection:
            found = connection.execute(
                text("SELECT id FROM operations WHERE released_at = created_at AND behind_since IS NULL")
            )
            released = [str(row.id) for row in found]
        engine.dispose()
        return released

    async with postgres_server.empty_database() as url:
        assert await asyncio.to_thread(migrate, url) == ["given_back"]


_GIVEN_BACK = """
    INSERT INTO merchants VALUES ('mer_1', 'Shop', now());
    INSERT INTO payments (id, merchant_id, mode, status, amount_minor, currency, capture_method, payment_method,
                          idempotency_key, connector, connector_account, created_at, updated_at, metadata, sequence,
                          amount_authorized_minor, amount_captured_minor, amount_refunded_minor,
                          amount_refund_pending_minor)
         SELECT id, 'mer_1', 'test', 'init', 1, 'INR', 'manual', '{}', id, 'c', 'c', now(), now(), '{}', 0, 0, 0, 0, 0
           FROM unnest(ARRAY['given_back', 'claimed_again', 'refund', 'closed']) AS id;
    INSERT INTO operations (id, payment_id, merchant_id, mode, kind, amount_minor, currency, created_at, updated_at,
                            status, final, metadata, sweep_at)
         SELECT id, id, 'mer_1', 'test', CASE id WHEN 'refund' THEN 'refund' ELSE 'authorize' END, 1, 'INR', now(),
                now(), CASE id WHEN 'closed' THEN 'failed' ELSE 'pending' END, true, '{}', now()
           FROM payments;
    INSERT INTO attempts (operation_id, number, payment_id, kind, connector, connector_account, reference, state,
                          owner, token, send_before, claimed_at)
         SELECT id, number, payment_id, kind, 'c', 'c', id || number,
                CASE WHEN number = 2 THEN 'claimed' ELSE 'not_sent' END, 'o', 't', now(), now()
           FROM operations, generate_series(1, 2) AS number WHERE number = 1 OR id = 'claimed_again';
"""


async def test_two_processes_may_migrate_at_once(postgres_server: PostgresServer) -> None:
    program = "import sys; from payonce.storage.driver.database import upgrade; upgrade(sys.argv[1])"

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


def released_sql(first_words: str) -> str:
    """The one block of the operations page that begins with these words."""
    page = (CHECKOUT / "docs" / "operations.md").read_text()
    (found,) = re.findall(rf"```sql\n({re.escape(first_words)}.*?)```", page, re.DOTALL)
    return str(found)


def run_sql(url: str, statements: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(statements)
    engine.dispose()


@pytest.mark.parametrize("meanwhile", [False, True], ids=["before", "while both versions run"])
async def test_what_open_cases_of_late_successes_moved_is_held_though_the_version_before_recorded_them(
    postgres_server: PostgresServer, *, meanwhile: bool
) -> None:
    """A refund for a person, a capture being reversed, and what is done; the operations page says what to run."""

    def migrate(url: str) -> None:
        command.upgrade(migration_config(url), "head" if meanwhile else "0003")
        run_sql(url, _LATE_SUCCESSES)
        upgrade(url)
        for _ in range(2 if meanwhile else 0):
            run_sql(url, released_sql("WITH opened"))

    async with postgres_server.empty_database() as url:
        await asyncio.to_thread(migrate, url)
        database = Database(url, pool_size=2)
        async with database.transaction() as connection:
            cases = "SELECT id, target_kind, amount_undecided_minor FROM operations WHERE kind = 'reverse'"
            held = {row.id: tuple(row)[1:] for row in await connection.execute(text(cases))}
            sums = "SELECT amount_capture_undecided_minor, amount_refund_undecided_minor FROM payments"
            (paid,) = [tuple(row) for row in await connection.execute(text(sums))]
        await database.close()

    assert held == {
        "case of re_1": ("refund", 300),
        "case of op_1": ("capture", 40),
        "case of op_2": ("capture", 0),
        "case of pay_1": ("authorize", 0),
    }
    assert paid == (40, 300)


_LATE_SUCCESSES = """
    INSERT INTO merchants VALUES ('mer_1', 'Shop', now());
    INSERT INTO payments (id, merchant_id, mode, status, amount_minor, currency, capture_method, payment_method,
                          idempotency_key, connector, connector_account, created_at, updated_at, metadata, sequence,
                          amount_authorized_minor, amount_captured_minor, amount_refunded_minor,
                          amount_refund_pending_minor)
         VALUES ('pay_1', 'mer_1', 'test', 'partially_captured', 1000, 'INR', 'manual', '{}', 'k', 'c', 'c', now(),
                 now(), '{}', 3, 1000, 500, 0, 0);
    CREATE TEMPORARY TABLE late (id text, kind text, amount_minor bigint, status text) ON COMMIT DROP;
    INSERT INTO late VALUES ('re_1', 'refund', 300, 'failed'), ('op_1', 'capture', 40, 'pending'),
                            ('op_2', 'capture', 50, 'succeeded'), ('pay_1', 'authorize', 1000, 'pending');
    INSERT INTO operations (id, payment_id, merchant_id, mode, kind, amount_minor, currency, created_at, updated_at,
                            status, final, metadata, sweep_at, target_reference)
         SELECT id, 'pay_1', 'mer_1', 'test', kind, amount_minor, 'INR', now(), now(), 'failed', true,
                CAST('{}' AS json), now(), NULL FROM late
      UNION ALL
         SELECT 'case of ' || id, 'pay_1', 'mer_1', 'test', 'reverse', amount_minor, 'INR', now(), now(), status,
                true, CAST('{}' AS json), now(), id || '-1' FROM late;
    INSERT INTO attempts (operation_id, number, payment_id, kind, connector, connector_account, reference, state,
                          owner, token, send_before, claimed_at)
         SELECT id, 1, 'pay_1', kind, 'c', 'c', id || '-1', 'not_processed', 'o', 't', now(), now() FROM late;
"""


async def test_a_create_that_the_version_before_claimed_again_is_in_the_queue_again(
    postgres_server: PostgresServer,
) -> None:
    def migrate(url: str) -> set[str]:
        upgrade(url)
        run_sql(url, _GIVEN_BACK)
        run_sql(url, "UPDATE operations SET released_at = now() WHERE kind = 'authorize'")
        run_sql(url, released_sql("WITH opened"))
        engine = create_engine(url)
        with engine.connect() as connection:
            found = connection.execute(text(f"SELECT id FROM operations WHERE {DUE}"))
            due = {str(row.id) for row in found}
        engine.dispose()
        return due

    async with postgres_server.empty_database() as url:
        assert await asyncio.to_thread(migrate, url) == {"claimed_again", "refund"}


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
            upgrade(url)
        finally:
            event.remove(Engine, "before_cursor_execute", before)

    async with postgres_server.empty_database() as url:
        await asyncio.to_thread(migrate, url)
    assert len(read) == 34  # four that mark rows, fourteen constraints, sixteen indexes


# The vault's tables are made in the transaction of their indexes: nobody waits for them.
_READS = re.compile(r"UPDATE (operations|payments)|VALIDATE|CREATE INDEX (?!\w+ ON vault\.)")
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
        run_sql(url, _LATE_SUCCESSES)
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
        upgrade(url)
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
        assert schema == await asyncio.to_thread(_schema, modelled)
    assert held == [(40, 300)]


# One of the indexes that are built concurrently was not finished, and one not begun.
_AS_IF_BUILDING_BROKE_OFF = """
    UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'events_made_idx'::regclass;
    DROP INDEX webhook_deliveries_listed_idx;
"""
_NOT_VALID = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"


@pytest.mark.parametrize("meanwhile", [False, True], ids=["before", "while both versions run"])
async def test_what_is_in_review_by_now_has_a_row_of_its_own(
    postgres_server: PostgresServer, *, meanwhile: bool
) -> None:
    """What an earlier version marked and has its outcome has none; the operations page says what to run."""

    def migrate(url: str) -> dict[str, tuple[str, str, bool]]:
        command.upgrade(migration_config(url), "head" if meanwhile else "0008")
        run_sql(url, _IN_REVIEW)
        upgrade(url)
        for _ in range(2 if meanwhile else 0):
            run_sql(url, _OPEN_ALTHOUGH_SETTLED)
            run_sql(url, released_sql("UPDATE operations\n   SET review_at"))
        engine = create_engine(url)
        with engine.connect() as connection:
            query = (
                "SELECT operation_id, reason, words, due_at > opened_at FROM reviews WHERE closed_at IS NULL"
            )
            found = {row[0]: (row[1], row[2], row[3]) for row in connection.execute(text(query))}
        engine.dispose()
        return found

    async with postgres_server.empty_database() as url:
        assert await asyncio.to_thread(migrate, url) == {
            "pay_1": ("engine_refused", "engine_refused", True),
            "pay_2": ("undecided", "not_found_yet", True),
            "pay_4": ("late", "late_refund re_1: 1 INR was refunded", True),
            "pay_5": ("expiry_not_confirmed", "unknown / expiry_not_confirmed", True),
        }


_OPEN_ALTHOUGH_SETTLED = """
    INSERT INTO reviews (operation_id, payment_id, merchant_id, mode, reason, words, opened_at, due_at)
         VALUES ('pay_3', 'pay_3', 'mer_1', 'test', 'undecided', 'unknown', now(), now() + interval '1 day')
    ON CONFLICT DO NOTHING
"""
_IN_REVIEW = """
    INSERT INTO merchants VALUES ('mer_1', 'Shop', now());
    CREATE TEMPORARY TABLE called (id text, kind text, status text, marked boolean, words text) ON COMMIT DROP;
    INSERT INTO called VALUES ('pay_1', 'authorize', 'pending', true, 'engine_refused'),
                              ('pay_2', 'authorize', 'pending', true, 'not_found_yet'),
                              ('pay_3', 'authorize', 'succeeded', true, NULL),
                              ('pay_4', 'reverse', 'failed', true, 'late_refund re_1: 1 INR was refunded'),
                              ('pay_5', 'expire', 'failed', false, 'unknown / expiry_not_confirmed'),
                              ('pay_6', 'refund', 'pending', false, NULL);
    INSERT INTO payments (id, merchant_id, mode, status, amount_minor, currency, capture_method, payment_method,
                          idempotency_key, connector, connector_account, created_at, updated_at, metadata, sequence,
                          amount_authorized_minor, amount_captured_minor, amount_refunded_minor,
                          amount_refund_pending_minor, review)
         SELECT id, 'mer_1', 'test', 'processing', 1, 'INR', 'manual', '{}', id, 'c', 'c', now(), now(), '{}', 0,
                0, 0, 0, 0, CASE WHEN words IS NOT NULL
                                 THEN json_build_object('reason', words, 'since', '2026-11-28T10:00:00.000Z') END
           FROM called;
    INSERT INTO operations (id, payment_id, merchant_id, mode, kind, amount_minor, currency, created_at, updated_at,
                            status, final, metadata, sweep_at, review_at)
         SELECT id, id, 'mer_1', 'test', kind, 1, 'INR', now(), now(), status, true, '{}', now(),
                CASE WHEN marked THEN now() END FROM called;
"""


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
            found.append(_schema(url))
        return found

    async with postgres_server.empty_database() as url:
        old, new, taken_back, again = await asyncio.to_thread(migrate, url)
    assert (taken_back, again) == (old, new)


def _schema(url: str) -> set[tuple[str, str, str]]:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = described(connection)
    engine.dispose()
    return found


async def test_migrations_leave_what_was_made_beforehand_and_the_fourth_orders_what_was_there(
    postgres_server: PostgresServer,
) -> None:
    """The operations page says what to make beforehand."""
    beforehand = released_sql("SET lock_timeout")

    def migrate(url: str, *, prepared: bool) -> tuple[set[tuple[str, str, str]], list[tuple[str, bool]]]:
        config = migration_config(url)
        command.upgrade(config, "0001")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(_FIRST_RELEASE))
            command.upgrade(config, "0003")
            for statement in beforehand.split(";\n") if prepared else ():
                connection.exec_driver_sql(statement)
            upgrade(url)
            connection.execute(text(_ENDPOINT))
            found = connection.execute(text("SELECT id, xid > '0' FROM webhook_endpoints ORDER BY xid, id"))
            described_as = described(connection), [(id_, new) for id_, new in found]
        engine.dispose()
        return described_as

    async with postgres_server.empty_database() as one, postgres_server.empty_database() as two:
        plain = await asyncio.to_thread(migrate, one, prepared=False)
        assert await asyncio.to_thread(migrate, two, prepared=True) == plain
    assert plain[1] == [("we_1", False), ("we_0", True)]


_ENDPOINT = """
    INSERT INTO webhook_endpoints (id, merchant_id, mode, url, events, ordered, enabled, created_at)
         VALUES ('we_0', 'mer_1', 'test', 'https://a.example/', '["*"]', false, true, now())
"""
