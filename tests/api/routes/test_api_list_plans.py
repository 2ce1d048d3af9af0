"""Every documented list, with every combination of its filters, reads a bounded part of tables that grow.

Over rows that are as unfavourable as may be: what is looked for is rare and old, or not there at all, and its
reference is every payment's.
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from psycopg import AsyncConnection
from sqlalchemy import text

from api.routes import events as events_module
from bench.plans import (
    Executed,
    Plan,
    blocks_read,
    combinations,
    explained_on,
    lists_of,
    nodes,
    parameters_of,
    rows_read,
    scans,
    statements,
)
from payonce.runtime import Runtime
from payonce.storage import events, undelivered
from payonce.storage.merchants import Caller
from tests.api.conftest import Merchant, a_merchant
from tests.api.recorded import execute

ROWS = 60_000  # 20 s apart: 14 days, a thousand in each stretch of six hours
ROWS_READ_MAX = 1_000
BLOCKS_READ_MAX = 900  # of 8 KiB; an index over all rows has about as many
BLOCKS_OF_A_LOOK_UP = 5  # of one row by its id, as a policy looks up to whom its parent belongs
LOOKED_AT = 100

FILTERS: dict[str, tuple[str, ...]] = {
    "status": (),  # of each list its own
    "type": ("payment.captured", "payment.voided", "payment.expired"),
    "delivered": ("true", "false"),
    "merchant_reference": ("always-the-same", "order-7", "unknown"),
    "idempotency_key": ("key-7", '"key-7"', "unknown"),
    "customer": ("customer-7", "everybody", "unknown"),
    "account": ("account_1", "unknown"),
    "result": ("matched", "orphan", "foreign"),
    "created_after": ("2026-01-02T00:00:00Z",),
    "created_before": ("2026-01-03T00:00:00Z",),
}
STATUSES = {
    "/v1/disputes": ("needs_response", "lost", "won"),
    "/v1/payments": ("captured", "voided", "expired"),
    "/v1/refunds": ("succeeded", "failed", "pending"),
    "/v1/webhook_endpoints/{id}/deliveries": ("pending", "succeeded", "exhausted", "dropped"),
}
OF = {"/v1/payments/{id}/": "pay_30000", "/v1/webhook_endpoints/{id}/": "we_many"}
CURSORS = {
    "/v1/payments": "pay_30000",
    "/v1/refunds": "re_30000",
    "/v1/payments/{id}/refunds": "re_30000",
    "/v1/payments/{id}/attempts": "re_30000-1",
    "/v1/payments/{id}/events": "evt_30000",
    "/v1/payment_methods": "pm_30000",
    "/v1/disputes": "dp_30000",
    "/v1/reconciliation": "rec_30000",
    "/v1/events": "evt_30000",
    "/v1/webhook_endpoints": "we_many",
    "/v1/webhook_endpoints/{id}/deliveries": "dlv_30000",
}
OF_A_BACKLOG = ("/v1/events", "/v1/payments/{id}/events")  # where `undelivered` and its limit are
ASKED_AGAIN = 15
COMMON = (  # of nearly every row
    *(
        "/v1/events?type=payment.captured",
        "/v1/refunds?status=succeeded",
        "/v1/disputes?status=needs_response",
    ),
    *("/v1/payment_methods?customer=everybody", "/v1/reconciliation?account=account_1"),
)


@pytest.fixture(scope="module")
async def many(runtime: Runtime) -> Merchant:
    """A merchant with `ROWS` payments, each with a key, a refund, its attempt, an event, a delivery; others', too."""
    merchant = await a_merchant(runtime, "Many")
    for statement in _MANY:
        await execute(runtime, statement, merchant=merchant.id, rows=ROWS)
    for table in (
        *("payments", "operations", "attempts", "events", "payment_methods", "disputes"),
        "reconciliations",
        *("webhook_deliveries", "webhook_endpoints"),
    ):
        await execute(runtime, f"ANALYZE {table}")
    for statement in _RARE:  # of which the planner does not know
        await execute(runtime, statement)
    return merchant


@pytest.fixture(scope="module")
async def explaining(runtime: Runtime) -> AsyncIterator[AsyncConnection[Any]]:
    """A connection as the API's role, on which each statement is planned for its own values."""
    url = (runtime.settings.api_database_url or "").replace("+psycopg", "")
    async with await AsyncConnection.connect(url, prepare_threshold=None) as connection:
        yield connection


@pytest.fixture(scope="module")
async def other(runtime: Runtime, many: Merchant) -> Merchant:
    """A merchant with a fifth as many rows, none of them such as nearly all rows are."""
    merchant = await a_merchant(runtime, "Other than most")
    for table, differing in _OTHER.items():
        await execute(
            runtime, _COPIED.format(table=table, differing=differing), merchant=merchant.id, many=many.id
        )
        await execute(runtime, f"ANALYZE {table}")
    return merchant


@pytest.fixture
async def client(client: httpx.AsyncClient, many: Merchant) -> httpx.AsyncClient:
    client.headers.update(many.headers)
    return client


@pytest.mark.parametrize(
    ("path", "backlog"),
    [*((path, False) for path in CURSORS), *((path, True) for path in OF_A_BACKLOG)],
    ids=[*CURSORS, *(f"with a backlog-{path}" for path in OF_A_BACKLOG)],
)
async def test_every_documented_list_reads_a_bounded_part_whatever_its_filters(
    explaining: AsyncConnection[Any],
    client: httpx.AsyncClient,
    many: Merchant,
    app: FastAPI,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    *,
    backlog: bool,
) -> None:
    if backlog:
        monkeypatch.setattr(undelivered, "LOOKED_AT_MAX", LOOKED_AT)
        monkeypatch.setattr(events_module, "LOOKED_AT_MAX", LOOKED_AT)
    values = {**FILTERS, "status": STATUSES.get(path, ())}
    for query in combinations(app, path, values, cursor=CURSORS[path]):
        with statements() as executed:
            response = await client.get(_url(path), params=query)
        assert response.status_code in (200, 400), query
        assert response.status_code == 200 or "go through shorter spans" in response.text, response.text
        for statement, plan in await _explained(explaining, many, executed):
            _check(plan, about=f"{path} {query}\n{statement}")


def test_every_documented_list_is_looked_at(app: FastAPI) -> None:
    assert set(lists_of(app)) == set(CURSORS)
    waited_for = {path for path in lists_of(app) if "delivered" in parameters_of(app, path)}
    assert waited_for <= set(OF_A_BACKLOG)


@pytest.mark.parametrize("cursor", [None, "starting_after", "ending_before"])
@pytest.mark.parametrize("asked", COMMON)
async def test_what_nearly_all_rows_are_and_a_merchants_are_not_is_found_not_to_be_there(
    explaining: AsyncConnection[Any],
    client: httpx.AsyncClient,
    other: Merchant,
    asked: str,
    cursor: str | None,
) -> None:
    path, _, query = asked.partition("?")
    name, _, value = query.partition("=")
    among = {} if cursor is None else {cursor: f"other-{CURSORS[path]}".replace("30000", "6000")}
    with statements() as executed:
        response = await client.get(path, params={name: value, **among}, headers=other.headers)
    assert response.json()["data"] == [], response.text
    for statement, plan in await _explained(explaining, other, executed):
        assert rows_read(plan) <= 10, f"{asked} {among}\n{statement}"
        _check(plan, about=f"{asked} {among}\n{statement}")


async def test_a_list_asked_for_again_and_again_is_planned_for_its_own_filter(
    runtime: Runtime, client: httpx.AsyncClient, many: Merchant
) -> None:
    for _ in range(ASKED_AGAIN):
        response = await client.get("/v1/events", params={"type": "payment.voided"})
        assert response.status_code == 200
    async with runtime.tenants.browsing(Caller(many.id, "test")) as connection:
        (plans,) = (await connection.execute(text(_PLANS))).mappings()
    assert plans["own"] > 5  # Postgres makes one for any value after that many
    assert plans["any"] == 0


@pytest.mark.parametrize("types", [[], ["payment.voided", "payment.expired"], ["payment.captured"]])
async def test_a_stream_that_resumes_reads_a_bounded_part_whatever_its_types(
    explaining: AsyncConnection[Any], runtime: Runtime, many: Merchant, types: list[str]
) -> None:
    with statements() as executed:
        after, caller = events.EventPlace.before(2), Caller(many.id, "test")
        async with runtime.tenants.browsing(caller) as connection:
            await events.page(connection, caller, after=after, ended=600, types=types, limit=100)
    for statement, plan in await _explained(explaining, many, executed):
        _check(plan, about=f"{types}\n{statement}")


def _url(path: str) -> str:
    for beginning, id_ in OF.items():
        if path.startswith(beginning):
            return path.replace("{id}", id_)
    return path


def _check(plan: Plan, *, about: str) -> None:
    """No table is read as a whole, and few rows and blocks are."""
    looked_up = sum(
        node["Actual Loops"] for node in nodes(plan) if node.get("Parent Relationship") == "SubPlan"
    )
    blocks = blocks_read(plan) - BLOCKS_OF_A_LOOK_UP * looked_up
    assert not [node for node in scans(plan) if node["Node Type"] == "Seq Scan"], about
    assert rows_read(plan) <= ROWS_READ_MAX, f"{rows_read(plan)} rows: {about}"
    assert blocks <= BLOCKS_READ_MAX, f"{blocks} blocks: {about}"


async def _explained(
    connection: AsyncConnection[Any], merchant: Merchant, executed: Executed
) -> list[tuple[str, Plan]]:
    """The queries of one transaction, executed again as its role for its tenant, and how they went."""
    settings = {"payonce.merchant_id": merchant.id, "payonce.mode": "test"}
    return await explained_on(connection, executed, settings=settings)


_MANY = (
    """
    INSERT INTO payments (id, merchant_id, mode, status, amount_minor, currency, capture_method, payment_method,
                          idempotency_key, connector, connector_account, created_at, updated_at, metadata, sequence,
                          amount_authorized_minor, amount_captured_minor, amount_refunded_minor,
                          amount_refund_pending_minor, merchant_reference, xid)
    SELECT 'pay_' || n, :merchant, 'test', 'captured', 1, 'INR',
           'manual', '{}', 'key-' || n, 'c', 'c', '2026-01-01T00:00:00Z'::timestamptz + n * interval '20 s', now(),
           '{}', 1, 1, 1, 0, 0, CASE WHEN n % 10 = 7 THEN 'order-' || n ELSE 'always-the-same' END,
           (n / 100)::text::xid8
      FROM generate_series(1, :rows) AS n
    """,
    """
    INSERT INTO idempotency_keys (merchant_id, mode, key, fingerprint, fingerprint_version, operation_id, location,
                                  request_id, created_at)
    SELECT :merchant, 'test', 'key-' || n, '', 1, 'pay_' || n, '', '', now() FROM generate_series(1, :rows) AS n
    """,
    """
    INSERT INTO operations (id, payment_id, merchant_id, mode, kind, amount_minor, currency, created_at, updated_at,
                            status, final, metadata, sweep_at, xid)
    SELECT 're_' || n, 'pay_' || n, :merchant, 'test', 'refund', 1, 'INR', now(), now(),
           'succeeded', false, '{}', now(), (n / 100)::text::xid8
      FROM generate_series(1, :rows) AS n
    """,
    """
    INSERT INTO attempts (operation_id, number, payment_id, kind, connector, connector_account, reference, state,
                          owner, token, send_before, claimed_at)
    SELECT 're_' || n, 1, 'pay_' || n, 'refund', 'c', 'c', 're_' || n || '-1', 'approved', 'o', 't', now(), now()
      FROM generate_series(1, :rows) AS n
    """,
    """
    INSERT INTO events (id, merchant_id, mode, payment_id, sequence, type, body, created_at, xid)
    SELECT 'evt_' || n, :merchant, 'test', 'pay_' || n, 1,
           CASE n % 50 WHEN 0 THEN 'payment.authorized' ELSE 'payment.captured' END, '{}',
           '2026-01-01T00:00:00Z'::timestamptz + n * interval '20 s', (n / 100)::text::xid8
      FROM generate_series(1, :rows) AS n
    """,
    """
    INSERT INTO payment_methods (id, merchant_id, mode, state, setup, customer_id, brand, last4, exp_month, exp_year,
                                 created_at, updated_at, deleted_at, xid)
    SELECT 'pm_' || n, :merchant, 'test', CASE WHEN n <= :rows / 2 THEN 'active' ELSE 'deleted' END, 'on_session',
           CASE n WHEN 7 THEN 'customer-7' ELSE 'everybody' END, 'visa', '4242', 1, 2040,
           now(), now(), CASE WHEN n > :rows / 2 THEN now() END, (n / 100)::text::xid8
      FROM generate_series(1, :rows) AS n
    """,
    """
    INSERT INTO disputes (id, payment_id, merchant_id, mode, connector, connector_account, acquirer_id, amount_minor,
                          currency, amount_withdrawn_minor, stage, status, reason, refunded_before_minor, said_at,
                          created_at, updated_at, xid)
    SELECT 'dp_' || n, 'pay_' || n, :merchant, 'test', 'c', 'c', 'd-' || n, 1, 'INR', 1, 'chargeback',
           'needs_response', 'fraudulent', 0, now(), now(), now(), (n / 100)::text::xid8
      FROM generate_series(1, :rows) AS n
    """,
    """
    INSERT INTO reconciliations (id, merchant_id, mode, account, run, result, created_at, xid)
    SELECT 'rec_' || n, :merchant, 'test', 'account_1', 'rcr_1', 'matched',
           '2026-01-01T00:00:00Z'::timestamptz + n * interval '20 s', (n / 100)::text::xid8
      FROM generate_series(1, :rows) AS n
    """,
    """
    INSERT INTO webhook_endpoints (id, merchant_id, mode, url, events, ordered, enabled, created_at)
    VALUES ('we_many', :merchant, 'test', 'https://a.example/', '["*"]', false, true, now())
    """,
    """
    INSERT INTO webhook_deliveries (id, event_id, endpoint_id, status, created_at, xid)
    SELECT 'dlv_' || n, 'evt_' || n, 'we_many', 'succeeded',
           now(), (n / 100)::text::xid8
      FROM generate_series(1, :rows) AS n
    """,
    "INSERT INTO merchants SELECT 'mer_' || n, 'Other', now() FROM generate_series(1, 2000) AS n",
    """
    INSERT INTO webhook_endpoints (id, merchant_id, mode, url, events, ordered, enabled, created_at)
    SELECT 'we_' || n, 'mer_' || n, 'test', 'https://a.example/', '["*"]', false, true, now()
      FROM generate_series(1, 2000) AS n
    """,
)
_PLANS = """
    SELECT CAST(sum(custom_plans) AS integer) AS own, CAST(sum(generic_plans) AS integer) AS any
      FROM pg_prepared_statements WHERE statement LIKE '%FROM events%ORDER BY%'
"""
_COPIED = """
    INSERT INTO {table}
    SELECT (jsonb_populate_record(copied, jsonb_build_object(
               'id', 'other-' || id, 'merchant_id', CAST(:merchant AS text), {differing}))).*
      FROM {table} AS copied WHERE merchant_id = :many AND xid <= '120'
"""
_OTHER = {
    "payments": "'status', 'captured'",
    "events": "'type', 'payment.authorized', 'payment_id', 'other-' || payment_id",
    "operations": "'status', 'failed', 'payment_id', 'other-' || payment_id",
    "disputes": "'status', 'won', 'payment_id', 'other-' || payment_id, 'acquirer_id', 'other-' || acquirer_id",
    "payment_methods": "'customer_id', 'somebody'",
    "reconciliations": "'account', 'account_2'",
}
_RARE = (
    "UPDATE payments SET status = 'voided' WHERE id IN ('pay_1', 'pay_2', 'pay_3')",
    "UPDATE operations SET status = 'failed' WHERE id IN ('re_1', 're_2', 're_3')",
    "UPDATE disputes SET status = 'lost' WHERE id IN ('dp_1', 'dp_2', 'dp_3')",
    "UPDATE reconciliations SET result = 'orphan' WHERE id IN ('rec_1', 'rec_2', 'rec_3')",
    "UPDATE events SET type = 'payment.voided' WHERE id IN ('evt_1', 'evt_2', 'evt_3')",
    "UPDATE webhook_deliveries SET status = 'exhausted' WHERE xid <= '1'",
)
