"""What a migration makes of the rows that are there."""

import asyncio

import pytest
from alembic import command
from sqlalchemy import create_engine, text

from payonce.sealing import Sealer, SealingKey
from payonce.storage.driver.database import Database
from payonce.storage.migrating import migration_config, upgrade
from payonce.storage.tables import DUE
from payonce.storage.webhooks.secrets import active_secrets, seal_plain_secrets
from tests.storage.migrating import LATE_SUCCESSES, described, released_sql, run_sql
from tests.support.databases import PostgresServer


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


@pytest.mark.parametrize("meanwhile", [False, True], ids=["before", "while both versions run"])
async def test_what_open_cases_of_late_successes_moved_is_held_though_the_version_before_recorded_them(
    postgres_server: PostgresServer, *, meanwhile: bool
) -> None:
    """A refund for a person, a capture being reversed, and what is done; the operations page says what to run."""

    def migrate(url: str) -> None:
        command.upgrade(migration_config(url), "head" if meanwhile else "0003")
        run_sql(url, LATE_SUCCESSES)
        upgrade(url)
        run_sql(url, "UPDATE attempts SET reference = NULL WHERE operation_id IN ('re_1', 'op_1')")  # packed
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


async def test_an_answer_that_is_there_is_forgotten_when_it_is_old_enough(
    postgres_server: PostgresServer,
) -> None:
    def migrate(url: str) -> list[tuple[str, bool, bool]]:
        command.upgrade(migration_config(url), "0036")
        run_sql(url, _KEYS)
        upgrade(url)
        engine = create_engine(url)
        with engine.connect() as connection:
            found = [(row[0], row[1], row[2]) for row in connection.execute(text(_FORGOTTEN_AT))]
        engine.dispose()
        return found

    async with postgres_server.empty_database() as url:
        found = await asyncio.to_thread(migrate, url)
    assert found == [
        ("answered", True, False),
        ("forgotten", False, False),
        ("later", True, True),
        ("open", True, True),
    ]


_KEYS = """
    INSERT INTO merchants (id, name, created_at) VALUES ('mer_1', 'Shop', now());
    INSERT INTO idempotency_keys (merchant_id, mode, key, fingerprint, fingerprint_version, location, request_id,
                                  created_at, answered_at, answer_kind, answer_body)
    VALUES ('mer_1', 'test', 'answered', '', 1, '', '', now() - interval '40 days', now() - interval '40 days',
            'payment', 'x'),
           ('mer_1', 'test', 'forgotten', '', 1, '', '', now() - interval '90 days', now() - interval '90 days',
            'payment', NULL),
           ('mer_1', 'test', 'later', '', 1, '', '', now() - interval '40 days', now() - interval '1 day',
            'payment', 'x'),
           ('mer_1', 'test', 'open', '', 1, '', '', now() - interval '40 days', NULL, NULL, NULL);
"""
_FORGOTTEN_AT = """
    SELECT key, forget_at IS NOT NULL, coalesce(forget_at > now(), false) FROM idempotency_keys ORDER BY key
"""


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
