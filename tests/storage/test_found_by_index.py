"""A payment's operations, the answer of a key and an attempt are found by an index, whatever they are asked for."""

import re
from typing import Any

import psycopg
import pytest
from psycopg import sql

from payonce.storage import attempts, idempotency, payments, receipts
from payonce.storage.driver.statements import Statement

API, ENGINE = "payonce_api", "payonce_engine"
ASKED: dict[str, Statement] = {
    "an answer": idempotency._ANSWER,
    "a create's answer": idempotency._ANSWER_OF_CREATE,
    "to answer": idempotency._STORE_ANSWER,
    "to answer a create": idempotency._STORE_ANSWER_OF_CREATE,
    "what is held": payments._HELD,
    "what was said": payments._WORDS,
    "what others did": payments._DONE_BY_OTHERS,
    "how often it expired": payments._EXPIRIES,
    "what is in review": payments._OLDEST_IN_REVIEW,
    "an attempt": attempts._NUMBERED,
    "the latest attempt": attempts._LATEST,
    "whether it is ours": attempts._KNOWN_AS,
    "its refund": receipts._REFUND,
}
MANY = """
    INSERT INTO merchants VALUES ('mer_1', 'Shop', now());
    INSERT INTO payments (id, merchant_id, mode, status, amount_minor, currency, capture_method, payment_method,
                          idempotency_key, connector, connector_account, created_at, updated_at, metadata, sequence,
                          amount_authorized_minor, amount_captured_minor, amount_refunded_minor,
                          amount_refund_pending_minor)
    SELECT 'pay_' || n, 'mer_1', 'test', 'captured', 1, 'INR', 'automatic', '{}', 'k' || n, 'c', 'c', now(), now(),
           '{}', 1, 1, 1, 0, 0 FROM generate_series(1, 5000) AS n;
    INSERT INTO operations (id, payment_id, merchant_id, mode, kind, amount_minor, currency, created_at, updated_at,
                            status, final, metadata, sweep_at)
    SELECT CASE kind WHEN 'authorize' THEN 'pay_' ELSE 're_' END || n, 'pay_' || n, 'mer_1', 'test', kind, 1, 'INR',
           now(), now(), 'succeeded', true, '{}', now()
      FROM generate_series(1, 5000) AS n, unnest(ARRAY['authorize', 'refund']) AS kind;
    INSERT INTO attempts (operation_id, number, kind, connector, connector_account, state, owner, token, send_before,
                          claimed_at)
    SELECT id, 1, kind, 'c', 'c', 'approved', 'boot_1', 'run_1', now(), now() FROM operations;
    INSERT INTO idempotency_keys (merchant_id, mode, key, fingerprint, fingerprint_version, operation_id, request_id,
                                  created_at)
    SELECT 'mer_1', 'test', id, '', 1, id, 'req_1', now() FROM operations;
    ANALYZE;
"""

OF_MERCHANT = (
    "SELECT set_config('payonce.merchant_id', 'mer_1', false), set_config('payonce.mode', 'test', false)"
)


@pytest.mark.parametrize("role", [API, ENGINE])
async def test_none_of_them_is_looked_for_in_every_row(database_url: str, role: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url.replace("+psycopg", "")) as connection:
        await connection.execute(MANY)
        await connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await connection.execute(OF_MERCHANT)
        plans = {asked: await _plan(connection, statement) for asked, statement in ASKED.items()}
    assert {asked: plan for asked, plan in plans.items() if "Seq Scan" in plan or "Index" not in plan} == {}


async def _plan(connection: psycopg.AsyncConnection[Any], statement: Statement) -> str:
    """As Postgres makes it for whatever values."""
    text = statement._text.decode()
    given = ", ".join(["NULL"] * len(set(re.findall(r"\$\d+", text))))
    await connection.execute(f"PREPARE asked AS {text}".encode())
    found = await connection.execute(f"EXPLAIN EXECUTE asked ({given})".encode())
    lines = [row[0] for row in await found.fetchall()]
    await connection.execute("DEALLOCATE asked")
    return "\n".join(lines)
