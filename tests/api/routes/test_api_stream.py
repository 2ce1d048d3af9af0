"""`GET /v1/events/stream` on a real socket: nothing lost, nothing strange, and always an end."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.routes import feed as feed_module
from api.routes import stream as stream_module
from payonce.runtime import Runtime
from payonce.storage.driver.database import StorageUnavailable
from payonce.storage.merchants import list_keys, revoke_key
from payonce.storage.webhooks.redeliveries import add_ping
from tests.api.conftest import Merchant, Serving, a_merchant
from tests.api.recorded import AUTHORIZED, CAPTURED, recorded, shop_of
from tests.support.eventually import eventually
from tests.webhooks.shop import Shop

PATH = "/v1/events/stream"


@pytest.fixture
async def server(app: FastAPI, serving: Serving) -> AsyncIterator["Server"]:
    async with httpx.AsyncClient(base_url=serving.url, trust_env=False, timeout=60) as client:
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

        await eventually(has)

    async def has(self, count: int) -> list[dict[str, str]]:
        """The events, once there are so many."""

        async def has() -> bool:
            return len(self.events) >= count

        await eventually(has)
        return self.events

    async def end(self) -> None:
        async def has_ended() -> bool:
            return self.ended

        await eventually(has_ended)

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
        assert reading.ids() == [await shop.event_id(after, 1)]
        assert await shop.event_id(before, 1) not in reading.ids()


async def test_a_stream_resumes_after_the_last_event_and_loses_none(
    server: Server, merchant: Merchant, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "PAGE", 2)
    last = await shop.event_id(await shop.record(AUTHORIZED), 1)
    missed = [await shop.event_id(await shop.record(AUTHORIZED, CAPTURED), 1) for _ in range(4)]
    async with server.stream(merchant, last_id=last) as reading:
        live = await shop.event_id(await shop.record(AUTHORIZED), 1)
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
    missed = await shop.event_id(await shop.record(AUTHORIZED), 1)
    async with server.stream(merchant, last_id=beginning) as reading:
        await reading.has_text(missed)


async def test_an_event_that_becomes_visible_late_comes_in_its_place(
    server: Server, merchant: Merchant, shop: Shop, runtime: Runtime, looks: "Looks"
) -> None:
    async with server.stream(merchant) as reading:
        async with runtime.database.transaction() as connection:
            (late,) = await shop.write(connection, AUTHORIZED)
            quick = await shop.event_id(await shop.record(AUTHORIZED), 1)  # begun later, visible earlier
            await looks.again()
            assert reading.ids() == []
        await reading.has(2)
        assert reading.ids() == [late, quick]


async def test_an_event_that_becomes_visible_late_is_not_lost_by_resuming(
    server: Server, merchant: Merchant, shop: Shop, runtime: Runtime, looks: "Looks"
) -> None:
    async with server.stream(merchant) as reading:
        first = await shop.event_id(await shop.record(AUTHORIZED), 1)
        await reading.has(1)
        async with runtime.database.transaction() as connection:
            (late,) = await shop.write(connection, AUTHORIZED)
            quick = await shop.event_id(await shop.record(AUTHORIZED), 1)
            await looks.again()
            last = reading.ids()[-1]
            await reading.response.aclose()
    assert last == first
    async with server.stream(merchant, last_id=last) as reading:
        await reading.has(2)
        assert reading.ids() == [late, quick]


async def test_what_sixteen_write_comes_once_each_over_two_connections(
    server: Server, merchant: Merchant, shop: Shop, runtime: Runtime
) -> None:
    async def write(drawn: Random) -> list[str]:
        made = []
        for _ in range(5):
            async with runtime.database.transaction() as connection:
                made += await shop.write(connection, AUTHORIZED, CAPTURED)
                # So that they end in another order than they began.
                await asyncio.sleep(drawn.uniform(0, 0.05))
        return made

    async with server.stream(merchant) as first:
        writing = asyncio.gather(*(write(Random(number)) for number in range(16)))
        await first.has(40)
        await first.response.aclose()
    async with server.stream(merchant, last_id=first.ids()[-1]) as second:
        written = [id_ for made in await writing for id_ in made]
        await second.has(len(written) - len(first.ids()))
        assert sorted(first.ids() + second.ids()) == sorted(written)


async def test_what_was_being_written_when_a_stream_began_comes_and_what_was_there_does_not(
    server: Server, merchant: Merchant, shop: Shop, runtime: Runtime
) -> None:
    async with runtime.database.transaction() as connection:
        (late,) = await shop.write(connection, AUTHORIZED)
        there = await shop.event_id(await shop.record(AUTHORIZED), 1)
        stream = server.stream(merchant)
        reading = await stream.__aenter__()
    after = await shop.event_id(await shop.record(AUTHORIZED), 1)
    await reading.has(2)
    await stream.__aexit__(None, None, None)
    assert reading.ids() == [late, after]
    async with server.stream(
        merchant, last_id=reading.first_id
    ) as again:  # as if it had been cut off at once
        await again.has(3)
        assert again.ids() == [late, there, after]


async def test_a_stream_ends_when_postgres_fails_since_another_may_have_taken_over(
    server: Server, merchant: Merchant, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StorageUnavailable

    async with server.stream(merchant) as reading:
        last = await shop.event_id(await shop.record(AUTHORIZED), 1)
        await reading.has(1)
        with monkeypatch.context() as patch:
            patch.setattr(feed_module, "with_news", fail)
            missed = await shop.event_id(await shop.record(AUTHORIZED), 1)
            await reading.end()
    async with server.stream(merchant, last_id=last) as reading:
        await reading.has(1)
        assert reading.ids() == [missed]


async def test_a_watcher_that_breaks_while_it_is_ended_ends_nobody_who_follows_its_successor(
    server: Server, merchant: Merchant, shop: Shop, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking, hearing = asyncio.Event(), runtime.wakeups.hearing_events
    broken = asyncio.Event()

    @asynccontextmanager
    async def hearing_until_it_breaks() -> AsyncIterator[asyncio.Event]:
        async with hearing() as heard:
            try:
                yield heard
            except asyncio.CancelledError:
                await breaking.wait()
                broken.set()
                raise StorageUnavailable from None

    with monkeypatch.context() as patch:
        patch.setattr(runtime.wakeups, "hearing_events", hearing_until_it_breaks)
        async with server.stream(merchant):
            pass

        async def nobody_follows() -> bool:
            return server.followers == 0

        await eventually(nobody_follows)
    async with server.stream(merchant) as reading:
        breaking.set()
        await broken.wait()
        told = await shop.event_id(await shop.record(AUTHORIZED), 1)
        await reading.has(1)
        assert (reading.ids(), reading.ended) == ([told], False)


async def test_two_merchants_get_all_of_theirs_in_order_where_one_look_takes_little(
    server: Server,
    runtime: Runtime,
    merchant: Merchant,
    other_merchant: Merchant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed_module, "ROWS_MAX", 2)
    async with server.stream(merchant) as mine, server.stream(other_merchant) as others:
        first, second = [], []
        for _ in range(4):
            first += await recorded(runtime, merchant, AUTHORIZED, CAPTURED)
            second += await recorded(runtime, other_merchant, AUTHORIZED)
        await mine.has(len(first))
        await others.has(len(second))
        assert (mine.ids(), others.ids()) == (first, second)


@dataclass
class Looks:
    """How often the feed has looked for what is new."""

    count: int = 0

    async def again(self) -> None:
        """Two looks end, the second of which began after this."""
        before = self.count

        async def twice() -> bool:
            return self.count >= before + 2

        await eventually(twice)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    looking, real = Looks(), feed_module.with_news

    async def with_news(*arguments: Any, **options: Any) -> Any:
        found = await real(*arguments, **options)
        looking.count += 1
        return found

    monkeypatch.setattr(feed_module, "with_news", with_news)
    return looking


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
        await theirs.has_text(await shop.event_id(other, 1))
        mine = await shop.record(AUTHORIZED)
        await reading.has(1)
        assert reading.ids() == [await shop.event_id(mine, 1)]
        assert theirs.ids() == [await shop.event_id(other, 1)]


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
    last = await shop.event_id(await shop.record(AUTHORIZED), 1)
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
        async with asyncio.timeout(60):
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
        await reading.has_text(await shop.event_id(payment_id, 4))
