"""A database on its way through the migrations: what it is described by, and what is done to it meanwhile."""

import re

from sqlalchemy import Connection, create_engine, text

from devstack.parts import CHECKOUT

_CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid <> 0 AND contype <> 'n'
"""
_INDEXES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"


def described(connection: Connection) -> set[tuple[str, str, str]]:
    """Every constraint and index by its definition: CHECKs and partial indexes too, which Alembic skips."""
    found = {tuple(row) for query in (_CONSTRAINTS, _INDEXES) for row in connection.execute(text(query))}
    return {(table, name, definition) for table, name, definition in found if table != "alembic_version"}


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


def schema_of(url: str) -> set[tuple[str, str, str]]:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = described(connection)
    engine.dispose()
    return found


# Of a release before the fifth migration: a late success of each kind.
LATE_SUCCESSES = """
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
