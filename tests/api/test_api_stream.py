"""`GET /v1/events/stream` on a real socket: nothing lost, nothing strange, and always an end."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

import httpx
import pytest
from fastapi import FastAPI

from api import feed as feed_module
from api import stream as stream_module
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.settlement import Draft
from payonce.runtime import Runtime
from payonce.storage.merchants import Merchant as StoredMerchant
from payonce.storage.merchants import list_keys, revoke_key
from payonce.storage.outbox import add_events
from payonce.storage.payments import insert_payment
from payonce.storage.redelivery import add_ping
from tests.api.conftest import Merchant, Serving, a_merchant
from tests.support.eventually import eventually
from tests.webhooks.shop import IDS, Shop

PATH = "/v1/events/stream"
AUTHORIZED, CAPTURED = "payment.authorized", "payment.captured"


@pytest.fixture
async def server(app: FastAPI, serving: Serving) -> AsyncIterator["Server"]:
    async with httpx.AsyncClient(base_url=serving.url, trust_env=False, timeout=10) as client:
        yield Server(client, app, serving)


@dataclass
class Server:
    client: httpx.AsyncClient
    app: FastAPI
    serving: Serving

    @asynccontextmanager
    async def stream(
        self, merchant: Merchant, *, last_id: str | None = None, types: str = ""
    ) -> AsyncIterator["Reading"]:
        """What comes on one connection while the block runs."""
        headers = {**merchant.headers, **({"Last-Event-ID": last_id} if last_id else {})}
        parameters = {"types": types} if types else {}
        async with self.client.stream("GET", PATH, headers=headers, params=parameters) as response:
            assert response.status_code == 200, await response.aread()
            reading = Reading(response)
            task = asyncio.create_task(reading.read())
            await reading.has_text("id: ")
            yield reading
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @property
    def followers(self) -> int:
        count: int = self.app.state.feed.followers
        return count


@dataclass
class Reading:
    response: httpx.Response
    text: str = ""
    ended: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        async for chunk in self.response.aiter_raw():
            self.text += chunk.decode()
        self.ended = True

    async def has_text(self, text: str) -> None:
        async def has() -> bool:
            return text in self.text

        await eventually(has, 20)

    async def has(self, count: int) -> list[dict[str, str]]:
        """The events, once there are so many."""

        async def has() -> bool:
            return len(self.events) >= count

        await eventually(has, 20)
        return self.events

    async def end(self) -> None:
        async def has_ended() -> bool:
            return self.ended

        await eventually(has_ended, 20)

    @property
    def events(self) -> list[dict[str, str]]:
        """The fields of the complete messages that have data."""
        blocks = self.text.split("\n\n")[:-1]
        messages = [
            dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
            for block in blocks
        ]
        return [message for message in messages if "data" in message]

    @property
    def first_id(self) -> str:
        """Where the stream began."""
        return self.text.split("id: ", 1)[1].split("\n", 1)[0]

    def ids(self) -> list[str]:
        return [event["id"] for event in self.events]


@pytest.fixture
def shop(runtime: Runtime, merchant: Merchant) -> Shop:
    return shop_of(runtime, merchant)


def shop_of(runtime: Runtime, merchant: Merchant) -> Shop:
    return Shop(runtime.database, "", StoredMerchant(merchant.id, "Shop", datetime.now(UTC)), _NUMBERS)


_NUMBERS = count()  # of the module's payments: its tests share a database


def event_id(payment_id: str, sequence: int) -> str:
    return IDS.event(payment_id=payment_id, sequence=sequence)


async def test_an_event_comes_in_the_bytes_that_the_api_shows(
    server: Server, merchant: Merchant, shop: Shop
) -> None:
    async with server.stream(merchant) as reading:
        payment_id = await shop.record(AUTHORIZED, CAPTURED)
        first, second = await reading.has(2)
        shown = await server.client.get(f"/v1/events/{first['id']}", headers=merchant.headers)
        assert [first["event"], second["event"]] == [AUTHORIZED, CAPTURED]
        assert first["data"].encode() == shown.content
        assert json.loads(second["data"])["data"]["id"] == payment_id
        assert reading.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert reading.response.headers["request-id"].startswith("req_")


async def test_a_stream_begins_with_what_comes_after_its_beginning(
    server: Server, merchant: Merchant, shop: Shop
) -> None:
    before = await shop.record(AUTHORIZED)
    async with server.stream(merchant) as reading:
        after = await shop.record(AUTHORIZED)
        await reading.has(1)
        assert reading.ids() == [event_id(after, 1)]
        assert event_id(before, 1) not in reading.ids()


async def test_a_stream_resumes_after_the_last_event_and_loses_none(
    server: Server, merchant: Merchant, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "PAGE", 2)
    last = event_id(await shop.record(AUTHORIZED), 1)
    missed = [event_id(await shop.record(AUTHORIZED, CAPTURED), 1) for _ in range(4)]
    async with server.stream(merchant, last_id=last) as reading:
        live = event_id(await shop.record(AUTHORIZED), 1)
        await reading.has_text(live)
        ids = reading.ids()
        assert set(missed) <= set(ids)
        assert len(ids) == len(set(ids)), "an event came twice on one connection"
        assert [id_ for id_ in ids if id_ in missed] == missed


async def test_a_stream_resumes_from_where_one_began_that_got_nothing(
    server: Server, merchant: Merchant, shop: Shop
) -> None:
    async with server.stream(merchant) as reading:
        beginning = reading.first_id
    missed = event_id(await shop.record(AUTHORIZED), 1)
    async with server.stream(merchant, last_id=beginning) as reading:
        await reading.has_text(missed)


async def test_an_event_that_became_visible_late_is_not_lost(
    server: Server, merchant: Merchant, shop: Shop, runtime: Runtime
) -> None:
    async with server.stream(merchant) as reading:
        slow = _a_payment(merchant, "slow")
        async with runtime.database.transaction() as connection:
            await insert_payment(connection, slow)
            draft = Draft(AUTHORIZED, 1, {"id": slow.id})
            await add_events(connection, slow, [draft], ids=IDS, now=datetime.now(UTC))
            quick = await shop.record(AUTHORIZED)  # written later, visible earlier
            await reading.has_text(event_id(quick, 1))
            assert event_id(slow.id, 1) not in reading.ids()
        await reading.has_text(event_id(slow.id, 1))


async def test_an_event_that_became_visible_late_is_not_lost_by_resuming(
    server: Server, merchant: Merchant, shop: Shop, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "LOOK_BACK", timedelta(0))  # else what is new would have it, too
    slow = _a_payment(merchant, "slow, and nobody follows")
    async with runtime.database.transaction() as connection:
        await insert_payment(connection, slow)
        draft = Draft(AUTHORIZED, 1, {"id": slow.id})
        await add_events(connection, slow, [draft], ids=IDS, now=datetime.now(UTC))
        last = event_id(await shop.record(AUTHORIZED), 1)
    async with server.stream(merchant, last_id=last) as reading:
        await reading.has_text(event_id(slow.id, 1))


def _a_payment(merchant: Merchant, key: str) -> Payment:
    now = datetime.now(UTC)
    return Payment(
        id=IDS.payment(merchant_id=merchant.id, mode="test", key=key),
        merchant_id=merchant.id,
        mode="test",
        status=PaymentStatus.AUTHORIZED,
        amount_minor=1099,
        currency="INR",
        capture_method="manual",
        payment_method={},
        idempotency_key=key,
        connector="sandbox_card",
        connector_account="sandbox_card",
        created_at=now,
        updated_at=now,
        amount_authorized_minor=1099,
        sequence=1,
    )


async def test_only_the_types_that_were_asked_for_come(
    server: Server, merchant: Merchant, shop: Shop
) -> None:
    async with server.stream(merchant, types=f"{CAPTURED},refund.succeeded") as reading:
        await shop.record(AUTHORIZED, CAPTURED)
        await shop.record("refund.succeeded")
        assert [event["event"] for event in await reading.has(2)] == [CAPTURED, "refund.succeeded"]


async def test_another_merchants_events_and_pings_do_not_come(
    server: Server, merchant: Merchant, other_merchant: Merchant, shop: Shop, runtime: Runtime
) -> None:
    endpoint = await shop.endpoint("https://shop.example/hooks")
    async with server.stream(merchant) as reading, server.stream(other_merchant) as theirs:
        async with runtime.database.transaction() as connection:
            await add_ping(connection, endpoint, now=datetime.now(UTC))
        other = await shop_of(runtime, other_merchant).record(AUTHORIZED)
        await theirs.has_text(event_id(other, 1))
        mine = await shop.record(AUTHORIZED)
        await reading.has(1)
        assert reading.ids() == [event_id(mine, 1)]
        assert theirs.ids() == [event_id(other, 1)]


@pytest.mark.parametrize(
    ("query", "headers", "pointer"),
    [
        ("?types=payment.lost", {}, "/types"),
        ("?limit=5", {}, "/limit"),
        ("", {"Last-Event-ID": "evt_of_nobody"}, "/Last-Event-ID"),
        ("", {"Last-Event-ID": "no id"}, "/Last-Event-ID"),
    ],
)
async def test_mistakes_are_named_before_anything_is_streamed(
    server: Server, merchant: Merchant, query: str, headers: dict[str, str], pointer: str
) -> None:
    response = await server.client.get(PATH + query, headers={**merchant.headers, **headers})
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (400, pointer)
    assert server.followers == 0


async def test_another_merchants_event_is_no_place_to_resume(
    server: Server, merchant: Merchant, other_merchant: Merchant, shop: Shop
) -> None:
    last = event_id(await shop.record(AUTHORIZED), 1)
    response = await server.client.get(PATH, headers={**other_merchant.headers, "Last-Event-ID": last})
    assert response.status_code == 400


async def test_without_a_key_nothing_is_streamed(server: Server) -> None:
    assert (await server.client.get(PATH)).status_code == 401


async def test_head_shows_the_headers_and_follows_nothing(server: Server, merchant: Merchant) -> None:
    response = await server.client.head(PATH, headers=merchant.headers)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"].startswith("text/event-stream")


async def test_a_merchant_has_a_limited_number_of_streams(
    server: Server, merchant: Merchant, other_merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "FOLLOWERS_PER_MERCHANT_MAX", 1)
    async with server.stream(merchant):
        refused = await server.client.get(PATH, headers=merchant.headers)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert int(refused.headers["retry-after"]) >= 1
        async with server.stream(other_merchant):
            pass
    await eventually(lambda: _none_follow(server))
    async with server.stream(merchant):
        pass


async def _none_follow(server: Server) -> bool:
    return server.followers == 0


async def test_a_process_has_a_limited_number_of_streams(
    server: Server, merchant: Merchant, other_merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "FOLLOWERS_MAX", 1)
    async with server.stream(merchant):
        assert (await server.client.get(PATH, headers=other_merchant.headers)).status_code == 429


async def test_a_stream_that_was_left_is_forgotten(server: Server, merchant: Merchant) -> None:
    async with server.stream(merchant):
        assert server.followers == 1
    await eventually(lambda: _none_follow(server))


async def test_the_order_to_stop_ends_streams_at_once(server: Server, merchant: Merchant) -> None:
    async with server.stream(merchant) as reading:
        server.serving.stop()
        await reading.end()
        async with asyncio.timeout(10):
            await asyncio.shield(server.serving.ended)


async def test_a_comment_comes_while_nothing_happens(
    server: Server, merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "HEARTBEAT_S", 0.05)
    async with server.stream(merchant) as reading:
        await reading.has_text(": \n\n: \n\n")
        assert reading.events == []


async def test_a_stream_ends_after_its_life(
    server: Server, merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "LIFE_S", 0.1)
    async with server.stream(merchant) as reading:
        await reading.end()


async def test_a_stream_ends_when_its_key_is_revoked(
    server: Server, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "HEARTBEAT_S", 0.05)
    leaving = await a_merchant(runtime, "Leaving")
    async with server.stream(leaving) as reading:
        async with runtime.database.transaction() as connection:
            for key in await list_keys(connection, merchant_id=leaving.id):
                await revoke_key(connection, key_id=key.id)
        await reading.end()


async def test_a_reader_who_does_not_keep_up_is_cut_off_and_resumes(
    server: Server, merchant: Merchant, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "QUEUE_MAX", 1)
    async with server.stream(merchant) as reading:
        payment_id = await shop.record(AUTHORIZED, CAPTURED, "refund.pending", "refund.succeeded")
        await reading.end()
        last = reading.ids()[-1] if reading.ids() else reading.first_id
    monkeypatch.undo()
    async with server.stream(merchant, last_id=last) as reading:
        await reading.has_text(event_id(payment_id, 4))
