"""Every documented list, with every combination of its filters, reads a bounded part of tables that grow.

Over rows that are as unfavourable as may be: what is looked for is rare and old, or not there at all, and its
reference is every payment's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, event

from api.routes import events as events_module
from payonce.runtime import Runtime
from payonce.storage import events, undelivered
from payonce.storage.merchants import Caller
from tests.api.conftest import Merchant, a_merchant
from tests.api.recorded import execute

ROWS = 60_000  # 20 s apart: 14 days, a thousand in each stretch of six hours
ROWS_READ_MAX = 1_000
BLOCKS_READ_MAX = 900  # of 8 KiB; an index over all rows has about as many
LOOKED_AT = 100

FILTERS: dict[str, tuple[str, ...]] = {
    "status": (),  # of each list its own
    "type": ("payment.captured", "payment.voided", "payment.expired"),
    "delivered": ("true", "false"),
    "merchant_reference": ("always-the-same", "order-7", "unknown"),
    "idempotency_key": ("key-7", '"key-7"', "unknown"),
    "created_after": ("2026-01-02T00:00:00Z",),
    "created_before": ("2026-01-03T00:00:00Z",),
}
STATUSES = {
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
    "/v1/events": "evt_30000",
    "/v1/webhook_endpoints": "we_many",
    "/v1/webhook_endpoints/{id}/deliveries": "dlv_30000",
}


@pytest.fixture(scope="module")
async def many(runtime: Runtime) -> Merchant:
    """A merchant with `ROWS` payments, each with a key, a refund, its attempt, an event, a delivery; others', too."""
    merchant = await a_merchant(runtime, "Many")
    for statement in _MANY:
        await execute(runtime, statement, merchant=merchant.id, rows=ROWS)
    for table in ("payments", "operations", "attempts", "events", "webhook_deliveries", "webhook_endpoints"):
        await execute(runtime, f"ANALYZE {table}")
    for statement in _RARE:  # of which the planner does not know
        await execute(runtime, statement)
    return merchant


@pytest.fixture
async def client(client: httpx.AsyncClient, many: Merchant) -> httpx.AsyncClient:
    client.headers.update(many.headers)
    return client


@pytest.mark.parametrize("path", CURSORS)
@pytest.mark.parametrize("backlog", [False, True], ids=["", "with a backlog"])
async def test_every_documented_list_reads_a_bounded_part_whatever_its_filters(
    runtime: Runtime,
    client: httpx.AsyncClient,
    app: FastAPI,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    *,
    backlog: bool,
) -> None:
    if backlog:
        monkeypatch.setattr(undelivered, "LOOKED_AT_MAX", LOOKED_AT)
        monkeypatch.setattr(events_module, "LOOKED_AT_MAX", LOOKED_AT)
    for query in _combinations(app, path):
        with _statements() as executed:
            response = await client.get(_url(path), params=query)
        assert response.status_code in (200, 400), query
        assert response.status_code == 200 or "go through shorter spans" in response.text, response.text
        for statement, plan in await _explained(runtime, executed):
            _check(plan, about=f"{path} {query}\n{statement}")


def test_every_documented_list_is_looked_at(app: FastAPI) -> None:
    assert {path for path in app.openapi()["paths"] if "limit" in _parameters(app, path)} == set(CURSORS)


@pytest.mark.parametrize("types", [[], ["payment.voided", "payment.expired"], ["payment.captured"]])
async def test_a_stream_that_resumes_reads_a_bounded_part_whatever_its_types(
    runtime: Runtime, many: Merchant, types: list[str]
) -> None:
    with _statements() as executed:
        async with runtime.database.browsing() as connection:
            after, caller = events.EventPlace.before(2), Caller(many.id, "test")
            await events.page(connection, caller, after=after, ended=600, types=types, limit=100)
    for statement, plan in await _explained(runtime, executed):
        _check(plan, about=f"{types}\n{statement}")


def _combinations(app: FastAPI, path: str) -> Iterator[dict[str, str]]:
    """Each filter's values and its absence, with each other's, from the newest and from the middle both ways."""
    names = [
        name for name in _parameters(app, path) if name not in ("limit", "starting_after", "ending_before")
    ]
    choices = [(None, *(STATUSES[path] if name == "status" else FILTERS[name])) for name in names]
    for cursor, *values in product((None, "starting_after", "ending_before"), *choices):
        chosen = {name: value for name, value in zip(names, values, strict=True) if value is not None}
        yield chosen if cursor is None else {**chosen, cursor: CURSORS[path]}


def _parameters(app: FastAPI, path: str) -> list[str]:
    described = app.openapi()["paths"][path].get("get", {})
    return [each["name"] for each in described.get("parameters", ()) if each["in"] == "query"]


def _url(path: str) -> str:
    for beginning, id_ in OF.items():
        if path.startswith(beginning):
            return path.replace("{id}", id_)
    return path


def _check(plan: dict[str, Any], *, about: str) -> None:
    """No table is read as a whole, and few rows and blocks are."""
    scans = [node for node in _nodes(plan) if "Scan" in node["Node Type"] and "Relation Name" in node]
    rows = sum(_rows_read(node) for node in scans)
    blocks = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    assert not [node for node in scans if node["Node Type"] == "Seq Scan"], about
    assert rows <= ROWS_READ_MAX, f"{rows} rows: {about}"
    assert blocks <= BLOCKS_READ_MAX, f"{blocks} blocks: {about}"


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _rows_read(node: dict[str, Any]) -> float:
    left_out = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float((node["Actual Rows"] + left_out) * node["Actual Loops"])


@contextmanager
def _statements() -> Iterator[list[tuple[str, Any]]]:
    """The queries that SQLAlchemy executes meanwhile, and their parameters."""
    executed: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        executed.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield executed
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def _explained(runtime: Runtime, executed: list[tuple[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """The queries of one transaction, executed again after the settings that it made, and how they went."""
    url = runtime.settings.database_url.replace("+psycopg", "")
    explained: list[tuple[str, dict[str, Any]]] = []
    async with await psycopg.AsyncConnection.connect(url) as connection:
        for statement, parameters in executed:
            if statement.startswith("SET "):
                await connection.execute(statement.encode())
                continue
            explain = b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statement.encode()
            ((found,),) = await (await connection.execute(explain, parameters)).fetchall()
            explained.append((statement, found[0]["Plan"]))
    return explained


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
           CASE n % 2 WHEN 0 THEN 'payment.authorized' ELSE 'payment.captured' END, '{}',
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
_RARE = (
    "UPDATE payments SET status = 'voided' WHERE id IN ('pay_1', 'pay_2', 'pay_3')",
    "UPDATE operations SET status = 'failed' WHERE id IN ('re_1', 're_2', 're_3')",
    "UPDATE events SET type = 'payment.voided' WHERE id IN ('evt_1', 'evt_2', 'evt_3')",
    "UPDATE webhook_deliveries SET status = 'exhausted' WHERE xid <= '1'",
)
