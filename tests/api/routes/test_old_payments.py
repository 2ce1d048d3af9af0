"""What the bench fills a database with is what the product would have written: read back through the product."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from bench.asked import asked_behind
from bench.fates import SIZES
from bench.filling import FILLED, TooLittleRoom, check_room, fill
from bench.growth import Opened, pay
from bench.lives import Filling
from payonce.domain.answers import encode, payment_view
from payonce.domain.payment import PaymentStatus
from payonce.runtime import Runtime
from payonce.storage.events import BODY
from payonce.storage.idempotency import ANSWER_KEPT, find_key
from payonce.storage.packing import body_of
from payonce.storage.payments import PAYMENT_COLUMNS, find_payment, payment_from
from payonce.storage.tables import metadata
from tests.api.conftest import Merchant, a_merchant
from tests.api.recorded import execute, rows

PAYMENTS = 2_000
UNTIL = datetime.now(UTC).replace(microsecond=0)
READ_MAX = 500  # rows, where each table has at least as many as there are payments
# Of a run's time, which is little of a larger table: see docs/performance.md.
GROWING = ("what is missing", "whether anything was claimed since")
OF_A_PAYMENT = ("payments", "operations", "attempts", "events", "idempotency_keys")
AT_REST_MAX = 3_400  # bytes
PAID = 100
WRITTEN_AHEAD_MAX = 6_600
LISTS = {
    "/v1/payments": "SELECT id FROM payments WHERE merchant_id = :merchant AND mode = 'test'",
    "/v1/events": "SELECT id FROM events WHERE merchant_id = :merchant AND mode = 'test'",
    "/v1/refunds": "SELECT id FROM operations WHERE merchant_id = :merchant AND mode = 'test' AND kind = 'refund'",
    "/v1/disputes": "SELECT id FROM disputes WHERE merchant_id = :merchant AND mode = 'test'",
    "/v1/reconciliation": "SELECT id FROM reconciliations WHERE merchant_id = :merchant AND mode = 'test'",
    "/v1/payment_methods": "SELECT id FROM payment_methods WHERE merchant_id = :merchant AND mode = 'test'"
    " AND state = 'active'",
    "/v1/webhook_endpoints/we_old/deliveries": "SELECT id FROM webhook_deliveries",
}


@pytest.fixture(scope="module")
async def shops(runtime: Runtime) -> list[Merchant]:
    return [await a_merchant(runtime, f"Shop {number}") for number in range(len(SIZES))]


@pytest.fixture(scope="module")
async def filling(runtime: Runtime, shops: list[Merchant]) -> Filling:
    """The database is full of old payments; the second merchant has an endpoint."""
    await execute(
        runtime,
        "INSERT INTO webhook_endpoints (id, merchant_id, mode, url, events, ordered, enabled, created_at)"
        " VALUES ('we_old', :merchant, 'test', 'https://a.example/', '[\"*\"]', false, true, now())",
        merchant=shops[1].id,
    )
    given = Filling(PAYMENTS, UNTIL, [shop.id for shop in shops], runtime.ids, endpoint="we_old")
    await fill(runtime.settings.database_url.replace("+psycopg", ""), given)
    return given


async def test_the_same_payments_are_made_each_time(filling: Filling) -> None:
    assert [life.rows for life in filling.lives()] == [life.rows for life in filling.lives()]


async def test_every_row_has_its_parents_and_every_index_is_whole(runtime: Runtime, filling: Filling) -> None:
    for name in FILLED:
        assert await rows(runtime, f"SELECT FROM {name} LIMIT 1"), name
        for key in metadata.tables[name].foreign_keys:
            child, parent = key.parent.name, key.column
            query = f"SELECT FROM {name} AS child WHERE {child} IS NOT NULL AND NOT EXISTS (SELECT FROM"
            query += f" {parent.table.name} WHERE {parent.name} = child.{child}) LIMIT 1"
            assert not await rows(runtime, query), f"{name}.{child}"
    assert not await rows(runtime, "SELECT FROM pg_index WHERE NOT indisready OR NOT indisvalid")


async def test_payments_are_of_merchants_of_unequal_size_in_both_modes_over_a_year(
    runtime: Runtime, shops: list[Merchant], filling: Filling
) -> None:
    counted = await rows(
        runtime,
        "SELECT merchant_id, mode, count(*) AS payments FROM payments GROUP BY 1, 2 ORDER BY 3 DESC",
    )
    assert sum(row["payments"] for row in counted) == PAYMENTS
    assert counted[0]["merchant_id"] == shops[0].id
    assert counted[0]["payments"] > 20 * counted[-1]["payments"]
    assert {row["mode"] for row in counted} == {"test", "live"}
    (span,) = await rows(runtime, "SELECT max(created_at) - min(created_at) AS took FROM payments")
    assert span["took"] > timedelta(days=364)


async def test_the_last_event_of_a_payment_shows_the_payment_as_it_is(
    runtime: Runtime, filling: Filling
) -> None:
    seen = set()
    async with runtime.database.transaction() as connection:
        for row in (await connection.execute(select(*PAYMENT_COLUMNS))).mappings().all():
            payment = payment_from(row)
            seen.add(payment.status)
            (last,) = (
                await connection.execute(
                    select(*BODY)
                    .where(metadata.tables["events"].c.payment_id == payment.id)
                    .order_by(metadata.tables["events"].c.sequence.desc())
                    .limit(1)
                )
            ).mappings()
            assert b'"data":' + encode(payment_view(payment)) in body_of(last)
    usual = {PaymentStatus.CAPTURED, PaymentStatus.FAILED, PaymentStatus.REFUNDED, PaymentStatus.VOIDED}
    assert usual <= seen


async def test_an_answer_is_replayed_as_long_as_it_is_kept(runtime: Runtime, filling: Filling) -> None:
    replayed = forgotten = 0
    async with runtime.database.transaction() as connection:
        for row in (await connection.execute(select(*PAYMENT_COLUMNS))).mappings().all():
            payment = payment_from(row)
            of = {"merchant_id": payment.merchant_id, "mode": payment.mode}
            assert await find_payment(connection, payment.id, **of) == payment
            key = await find_key(connection, **of, key=payment.idempotency_key)
            assert key is not None
            assert key.operation_id == payment.id
            answer = key.answer(UNTIL)
            if answer is not None:
                replayed += 1
                assert payment.id.encode() in answer.body
                assert not key.expired(UNTIL)
            elif key.answered_at is not None:
                forgotten += 1
                assert key.answered_at < UNTIL - ANSWER_KEPT
    assert replayed > PAYMENTS / 20
    assert forgotten > PAYMENTS / 2


@pytest.mark.parametrize("path", LISTS)
async def test_a_list_shows_each_of_them_once(
    runtime: Runtime, app: FastAPI, shops: list[Merchant], filling: Filling, path: str
) -> None:
    shop = shops[1]
    there = [row["id"] for row in await rows(runtime, LISTS[path], merchant=shop.id)]
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://api.test", headers=shop.headers
    ) as client:
        assert sorted(await _paged(client, path)) == sorted(there)
        assert there


async def _paged(client: httpx.AsyncClient, path: str) -> list[str]:
    found: list[str] = []
    query: dict[str, Any] = {"limit": 100}
    while True:
        response = await client.get(path, params=query)
        assert response.status_code == 200, response.text
        page = response.json()
        found += [each["id"] for each in page["data"]]
        if not page["has_more"]:
            return found
        query["starting_after"] = found[-1]


async def test_what_runs_behind_the_api_reads_few_of_them(
    runtime: Runtime, shops: list[Merchant], filling: Filling
) -> None:
    asked = [
        one
        async for one in asked_behind(runtime, merchants=[shop.id for shop in shops], until=filling.until)
        if one.what not in GROWING
    ]
    assert {one.of for one in asked} == {"sweeper", "retention", "relay", "feed", "reconciliation"}
    assert [one for one in asked if one.failed or one.rows > READ_MAX] == []


async def test_a_payment_at_rest_has_its_budget(runtime: Runtime, filling: Filling) -> None:
    """Rows and indexes, whole; 2,970 bytes where there are ten times as many: see docs/performance.md."""
    query = """
        SELECT sum(pg_total_relation_size(CAST(name AS regclass))) AS bytes
          FROM unnest(CAST(:names AS text[])) AS name
    """
    (found,) = await rows(runtime, query, names=list(OF_A_PAYMENT))
    assert int(found["bytes"]) / PAYMENTS < AT_REST_MAX


async def test_what_a_payment_writes_ahead_has_its_budget(
    runtime: Runtime, shops: list[Merchant], filling: Filling
) -> None:
    """Records alone: how many pages are logged whole depends on when the last checkpoint was."""
    here = "SELECT CAST(pg_current_wal_lsn() AS text) AS place"
    await execute(runtime, "CREATE EXTENSION IF NOT EXISTS pg_walinspect")
    opened = Opened(runtime, [shop.id for shop in shops], [], runtime.settings.database_url)
    (began,) = await rows(runtime, here)
    await pay(opened, count(), PAID)
    (ended,) = await rows(runtime, here)
    query = """
        SELECT sum(record_size) AS bytes
          FROM pg_get_wal_stats(CAST(:began AS pg_lsn), CAST(:ended AS pg_lsn), true)
    """
    (found,) = await rows(runtime, query, began=began["place"], ended=ended["place"])
    assert int(found["bytes"]) / PAID < WRITTEN_AHEAD_MAX


async def test_a_payment_locks_no_merchant(runtime: Runtime, shops: list[Merchant], filling: Filling) -> None:
    """Of many at the same time each would make a multixact of all that have the lock."""
    locked_by = "SELECT CAST(xmax AS text) FROM merchants WHERE id = :id"
    opened = Opened(runtime, [shop.id for shop in shops], [], runtime.settings.database_url)
    before = await rows(runtime, locked_by, id=shops[0].id)
    await pay(opened, count(PAID), 1)
    assert await rows(runtime, locked_by, id=shops[0].id) == before


async def test_too_many_for_the_disc_are_refused_in_words(tmp_path: Any) -> None:
    with pytest.raises(TooLittleRoom, match="must be free"):
        check_room(10**12, tmp_path)
