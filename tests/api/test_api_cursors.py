"""Following lists while others write: nothing is lost, none comes twice, and each query has its index."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from random import Random
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import Engine, event

from api import lists
from payonce.domain.ids import random_id
from payonce.domain.operations import Operation, OperationKind, OperationStatus
from payonce.domain.settlement import Draft
from payonce.runtime import Runtime
from payonce.storage.connection import Connection
from payonce.storage.endpoints import Endpoint, insert_endpoint
from payonce.storage.payments import insert_operation, insert_payment
from payonce.storage.snapshots import take_snapshot
from tests.api.conftest import Merchant, a_merchant
from tests.api.fakes import a_payment
from tests.api.recorded import execute
from tests.webhooks.shop import write_events

WRITERS, EACH = 16, 5


@dataclass
class Books:
    """A merchant of the test's own, who sees what is written for them."""

    runtime: Runtime
    merchant: Merchant
    client: httpx.AsyncClient
    endpoint: Endpoint
    payment_id: str

    async def payment(self, connection: Connection) -> list[str]:
        return [await self._payment(connection)]

    async def refund(self, connection: Connection) -> list[str]:
        """A refund of the one payment that is always there."""
        now, id_ = datetime.now(UTC), random_id("re")
        refund = Operation(
            id=id_,
            payment_id=self.payment_id,
            merchant_id=self.merchant.id,
            mode="test",
            kind=OperationKind.REFUND,
            amount_minor=1,
            currency="INR",
            created_at=now,
            updated_at=now,
            status=OperationStatus.PENDING,
        )
        await insert_operation(connection, refund, sweep_at=now)
        return [id_]

    async def events(self, connection: Connection) -> list[str]:
        """Two events of a new payment, each with a delivery."""
        id_ = await self._payment(connection)
        drafts = [Draft("payment.authorized", 1, {}), Draft("payment.captured", 2, {})]
        payment = a_payment(id=id_, merchant_id=self.merchant.id)
        return await write_events(connection, payment, drafts, ids=self.runtime.ids)

    async def webhook_endpoint(self, connection: Connection) -> list[str]:
        endpoint = replace(self.endpoint, id=random_id("we"), enabled=False, created_at=datetime.now(UTC))
        await insert_endpoint(connection, endpoint)
        return [endpoint.id]

    async def write(self, what: "Write") -> list[str]:
        """The ids of what is there now."""
        async with self.runtime.database.transaction() as connection:
            return await what(self, connection)

    async def page(self, path: str, **query: Any) -> list[str]:
        """The ids on the page, the oldest first; of deliveries those of their events."""
        path = path.format(payment=self.payment_id, endpoint=self.endpoint.id)
        response = (await self.client.get(path, params=query)).raise_for_status()
        data = response.json()["data"]
        self.newest = data[0]["id"] if data else query.get("ending_before")
        return [each.get("event", each["id"]) for each in reversed(data)]

    async def _payment(self, connection: Connection) -> str:
        id_, now = random_id("pay"), datetime.now(UTC)
        payment = a_payment(id=id_, merchant_id=self.merchant.id, idempotency_key=id_, created_at=now)
        await insert_payment(connection, payment)
        return id_


Write = Callable[[Books, Connection], Awaitable[list[str]]]
LISTS: dict[str, tuple[str, Write]] = {
    "payments": ("/v1/payments", Books.payment),
    "refunds": ("/v1/refunds", Books.refund),
    "refunds of a payment": ("/v1/payments/{payment}/refunds", Books.refund),
    "events": ("/v1/events", Books.events),
    "deliveries": ("/v1/webhook_endpoints/{endpoint}/deliveries", Books.events),
    "webhook endpoints": ("/v1/webhook_endpoints", Books.webhook_endpoint),
}


@pytest.fixture
async def books(runtime: Runtime, client: httpx.AsyncClient) -> Books:
    merchant = await a_merchant(runtime, "Books")
    client.headers.update(merchant.headers)
    endpoint = Endpoint(
        id=random_id("we"),
        merchant_id=merchant.id,
        mode="test",
        url="https://shop.example/",
        events=("*",),
        description=None,
        ordered=False,
        enabled=True,
        created_at=datetime.now(UTC),
    )
    async with runtime.database.transaction() as connection:
        await insert_endpoint(connection, endpoint)
        made = Books(runtime, merchant, client, endpoint, "")
        (made.payment_id,) = await made.payment(connection)
    return made


@pytest.mark.parametrize("name", LISTS)
async def test_what_a_transaction_that_began_earlier_commits_later_is_followed_too(
    books: Books, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "SETTLE_S", 0.01)  # as if it hung for minutes
    path, write = LISTS[name]
    await books.write(write)
    await books.page(path)
    first = books.newest
    async with books.runtime.database.transaction() as connection:
        late = await write(books, connection)
        await take_snapshot(connection)  # so that Postgres has it
        quick = await books.write(write)
        assert await books.page(path, ending_before=first) == []
        assert (await books.page(path))[-len(quick) :] == quick, "it was written, and the list hides it"

    assert await books.page(path, ending_before=first) == [*late, *quick]
    assert await books.page(path, ending_before=books.newest) == []


async def test_a_list_shows_at_once_what_was_written_while_others_write(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Following may begin with the first page: it waits for what runs beside its newest."""
    path, write = LISTS["payments"]
    async with books.runtime.database.transaction() as connection:
        late = await write(books, connection)
        await take_snapshot(connection)
        quick = await books.write(write)
        listing = asyncio.create_task(books.page(path))
        done, _ = await asyncio.wait({listing}, timeout=lists.SETTLE_S / 5)
        assert not done
    assert (await listing)[-2:] == [*late, *quick]


@pytest.mark.parametrize("name", LISTS)
async def test_following_the_newest_of_sixteen_writers_loses_none_and_repeats_none(
    books: Books, name: str
) -> None:
    path, write = LISTS[name]
    before = set(await books.page(path))
    numbers = count()

    async def write_some() -> list[str]:
        drawn, made = Random(next(numbers)), []
        for _ in range(EACH):
            async with books.runtime.database.transaction() as connection:
                made += await write(books, connection)
                await take_snapshot(connection)
                # So that they end in another order than they began.
                await asyncio.sleep(drawn.uniform(0, 0.05))
        return made

    writing = asyncio.gather(*(write_some() for _ in range(WRITERS)))
    followed = [id_ async for id_ in _followed(books, path, until=writing)]
    written = [id_ for made in await writing for id_ in made]
    assert len(written) >= WRITERS * EACH
    assert sorted(set(followed) - before) == sorted(written)
    assert len(followed) == len(set(followed))


async def _followed(books: Books, path: str, *, until: "asyncio.Future[Any]") -> AsyncIterator[str]:
    """What a merchant sees who begins with the list and follows its newest, up to what is there in the end."""
    cursor: dict[str, str] = {}
    while True:
        ended = until.done()
        found = await books.page(path, limit=100, **cursor)
        for id_ in found:
            yield id_
        if books.newest:
            cursor = {"ending_before": books.newest}
        if ended and not found:
            return


async def test_rows_from_before_the_cursors_stay_in_the_order_of_their_times(books: Books) -> None:
    made = [id_ for _ in range(4) for id_ in await books.write(Books.payment)]
    await execute(
        books.runtime, "UPDATE payments SET xid = '0' WHERE merchant_id = :id", id=books.merchant.id
    )
    (newer,) = await books.write(Books.payment)
    assert (await books.page("/v1/payments"))[1:] == [*made, newer]
    assert await books.page("/v1/payments", starting_after=made[2]) == [books.payment_id, *made[:2]]


async def test_an_object_is_ordered_by_the_transaction_that_admitted_it(books: Books) -> None:
    (first,), (second,) = await books.write(Books.payment), await books.write(Books.payment)
    await execute(books.runtime, "UPDATE payments SET status = 'failed' WHERE id = :id", id=first)
    assert (await books.page("/v1/payments"))[-2:] == [first, second]


QUERIES = {
    "/v1/payments": "payments_place_idx",
    "/v1/payments?starting_after=pay_900": "payments_place_idx",
    "/v1/payments?ending_before=pay_900": "payments_place_idx",
    "/v1/payments?status=voided": "payments_status_idx",
    "/v1/payments?status=voided&ending_before=pay_900": "payments_status_idx",
    "/v1/payments?merchant_reference=order-7": "payments_reference_idx",
    "/v1/payments?idempotency_key=key-7": "payments_key_idx",
    "/v1/payments?created_after=2026-01-01T00:00:00Z&created_before=2026-01-01T00:01:00Z": "payments_list_idx",
    "/v1/refunds": "operations_place_idx",
    "/v1/refunds?ending_before=re_900": "operations_place_idx",
    "/v1/refunds?status=failed": "operations_status_idx",
    "/v1/payments/pay_900/refunds": "operations_payment_idx",
    "/v1/payments/pay_900/events": "events_payment_id_sequence_key",
    "/v1/events": "events_place_idx",
    "/v1/events?ending_before=evt_900": "events_place_idx",
    "/v1/events?type=payment.voided": "events_type_idx",
    "/v1/events?type=payment.voided&ending_before=evt_900": "events_type_idx",
    "/v1/events?created_after=2026-01-01T00:00:00Z&created_before=2026-01-01T00:01:00Z": "events_list_idx",
    "/v1/webhook_endpoints/we_many/deliveries": "webhook_deliveries_place_idx",
    "/v1/webhook_endpoints/we_many/deliveries?ending_before=dlv_900": "webhook_deliveries_place_idx",
    "/v1/webhook_endpoints/we_many/deliveries?status=exhausted": "webhook_deliveries_status_idx",
    "/v1/webhook_endpoints": "webhook_endpoints_list_idx",
}


@pytest.fixture(scope="module")
async def many(runtime: Runtime) -> Merchant:
    """A merchant with 20,000 payments, a second apart, each with a refund, an event and a delivery; others' too."""
    merchant = await a_merchant(runtime, "Many")
    for statement in _MANY:
        await execute(runtime, statement, merchant=merchant.id)
    for table in ("payments", "operations", "events", "webhook_deliveries", "webhook_endpoints"):
        await execute(runtime, f"ANALYZE {table}")
    return merchant


@pytest.mark.parametrize("path", QUERIES)
async def test_every_list_and_filter_is_served_by_an_index(
    runtime: Runtime, client: httpx.AsyncClient, many: Merchant, path: str
) -> None:
    client.headers.update(many.headers)
    with _statements("LIMIT") as executed:
        (await client.get(path)).raise_for_status()
    plan = await _explained(runtime, executed[-1])
    assert QUERIES[path] in plan
    assert "Seq Scan" not in plan


@contextmanager
def _statements(text: str) -> Iterator[list[tuple[str, Any]]]:
    """The statements with this text that SQLAlchemy executes meanwhile, and their parameters."""
    executed: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if text in statement:
            executed.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield executed
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def _explained(runtime: Runtime, executed: tuple[str, Any]) -> str:
    statement, parameters = executed
    url = runtime.settings.database_url.replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        found = await connection.execute(b"EXPLAIN " + statement.encode(), parameters)
        return "\n".join(line for (line,) in await found.fetchall())


_MANY = (
    """
    INSERT INTO payments (id, merchant_id, mode, status, amount_minor, currency, capture_method, payment_method,
                          idempotency_key, connector, connector_account, created_at, updated_at, metadata, sequence,
                          amount_authorized_minor, amount_captured_minor, amount_refunded_minor,
                          amount_refund_pending_minor, merchant_reference, xid)
    SELECT 'pay_' || n, :merchant, 'test', CASE WHEN n % 5000 = 0 THEN 'voided' ELSE 'captured' END, 1, 'INR',
           'manual', '{}', 'key-' || n, 'c', 'c', '2026-01-01T00:00:00Z'::timestamptz + n * interval '1 s', now(),
           '{}', 1, 1, 1, 0, 0, 'order-' || n, n::text::xid8
      FROM generate_series(1, 20000) AS n
    """,
    """
    INSERT INTO operations (id, payment_id, merchant_id, mode, kind, amount_minor, currency, created_at, updated_at,
                            status, final, metadata, sweep_at, xid)
    SELECT 're_' || n, 'pay_' || n, :merchant, 'test', 'refund', 1, 'INR', now(), now(),
           CASE WHEN n % 5000 = 0 THEN 'failed' ELSE 'succeeded' END, false, '{}', now(), n::text::xid8
      FROM generate_series(1, 20000) AS n
    """,
    """
    INSERT INTO events (id, merchant_id, mode, payment_id, sequence, type, body, created_at, xid)
    SELECT 'evt_' || n, :merchant, 'test', 'pay_' || n, 1,
           CASE WHEN n % 5000 = 0 THEN 'payment.voided' ELSE 'payment.captured' END, '{}',
           '2026-01-01T00:00:00Z'::timestamptz + n * interval '1 s', n::text::xid8
      FROM generate_series(1, 20000) AS n
    """,
    """
    INSERT INTO webhook_endpoints (id, merchant_id, mode, url, events, ordered, enabled, created_at)
    VALUES ('we_many', :merchant, 'test', 'https://a.example/', '["*"]', false, true, now())
    """,
    """
    INSERT INTO webhook_deliveries (id, event_id, endpoint_id, status, created_at, xid)
    SELECT 'dlv_' || n, 'evt_' || n, 'we_many', CASE WHEN n % 5000 = 0 THEN 'exhausted' ELSE 'succeeded' END,
           now(), n::text::xid8
      FROM generate_series(1, 20000) AS n
    """,
    "INSERT INTO merchants SELECT 'mer_' || n, 'Other', now() FROM generate_series(1, 2000) AS n",
    """
    INSERT INTO webhook_endpoints (id, merchant_id, mode, url, events, ordered, enabled, created_at)
    SELECT 'we_' || n, 'mer_' || n, 'test', 'https://a.example/', '["*"]', false, true, now()
      FROM generate_series(1, 2000) AS n
    """,
)
