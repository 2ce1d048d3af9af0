"""Following lists while others write: nothing is lost, none comes twice, whatever the filters are."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from random import Random
from typing import Any

import httpx
import pytest

from api.http import lists
from payonce.domain.ids import random_id
from payonce.domain.operations import Operation, OperationKind, OperationStatus
from payonce.domain.settlement import Draft
from payonce.runtime import Runtime
from payonce.storage.driver.connection import Connection
from payonce.storage.payments import insert_operation, insert_payment
from payonce.storage.snapshots import take_snapshot
from payonce.storage.webhooks.endpoints import Endpoint, insert_endpoint
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
        response = (await self.client.get(httpx.URL(path).copy_merge_params(query))).raise_for_status()
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
    "payments by status and time": (
        "/v1/payments?status=authorized&created_after=2000-01-01T00:00:00Z&created_before=2999-01-01T00:00:00Z",
        Books.payment,
    ),
    "payments by time": ("/v1/payments?created_after=2000-01-01T00:00:00Z", Books.payment),
    "refunds": ("/v1/refunds", Books.refund),
    "refunds of a payment": ("/v1/payments/{payment}/refunds", Books.refund),
    "events": ("/v1/events", Books.events),
    "events by time and delivery": (
        "/v1/events?created_after=2000-01-01T00:00:00Z&delivered=false",
        Books.events,
    ),
    "deliveries": ("/v1/webhook_endpoints/{endpoint}/deliveries", Books.events),
    "deliveries by status": ("/v1/webhook_endpoints/{endpoint}/deliveries?status=pending", Books.events),
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


async def test_a_list_shows_at_once_what_was_written_while_others_write(books: Books) -> None:
    """Following may begin with the first page: it waits for what runs beside its newest."""
    path, write = LISTS["payments"]
    async with books.runtime.database.transaction() as connection:
        late = await write(books, connection)
        await take_snapshot(connection)
        quick = await books.write(write)
        listing = asyncio.create_task(books.page(path))
        done, _ = await asyncio.wait({listing}, timeout=0.1)
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
