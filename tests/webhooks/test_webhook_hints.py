"""Hints from whoever recorded an event to the relay, through a real Valkey."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from devstack.stack import DevStack
from payonce.runtime import open_runtime
from payonce.settings import Settings
from payonce.wakeups import CHANNEL_DELIVERIES, CHANNEL_EVENTS, CHANNEL_OUTCOMES, WakeUps
from tests.storage.ledger import FakeRedis
from tests.support.eventually import eventually
from tests.webhooks.receiver import receiving
from tests.webhooks.shop import SEALING_KEYS, Shop
from workers.webhooks import relay as relay_module
from workers.webhooks.relay import run_relay


def settings_for(shop: Shop, redis_url: str) -> Settings:
    return Settings(
        database_url=shop.database_url,
        redis_url=redis_url,
        temporal_address="127.0.0.1:1",  # the relay needs no Temporal
        derivation_key=SecretStr("k" * 32),
        allow_loopback_webhooks=True,
        webhook_sealing_keys=SEALING_KEYS,
    )


@asynccontextmanager
async def hinting(redis_url: str) -> AsyncIterator[tuple[WakeUps, Redis]]:
    """A process's hints, and its connections, which no hint opens again after the block."""
    redis = Redis.from_url(redis_url)
    wakeups = WakeUps(redis)
    try:
        yield wakeups, redis
    finally:
        await wakeups.close()
        await redis.aclose()


async def test_a_hint_of_another_process_wakes_the_relay(
    shop: Shop, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "POLL_S", 3600.0)
    stop = asyncio.Event()
    async with receiving() as receiver, open_runtime(settings_for(shop, valkey_url)) as runtime:
        relay = asyncio.create_task(run_relay(runtime, stop))
        await shop.endpoint(receiver.url)
        await shop.record("payment.authorized")
        await _hinting_until(runtime.wakeups, lambda: len(receiver.received) == 1)
        stop.set()
        await relay

    assert await shop.statuses() == ["succeeded"]


async def test_the_relay_is_woken_for_what_no_operation_recorded(valkey_url: str) -> None:
    async with (
        hinting(valkey_url) as (wakeups, _),
        wakeups.hearing_deliveries() as heard,
        asyncio.timeout(60),
    ):
        while not heard.is_set():
            wakeups.wake_relay()
            await asyncio.sleep(0.05)


async def test_a_burst_of_hints_is_told_at_once_and_once_more_after_its_last() -> None:
    """A hint says only that there is something: with each payment's it was one of the dearest calls of a payment."""
    redis = FakeRedis()
    wakeups = WakeUps(cast("Redis", redis))

    def told(channel: str) -> int:
        return [each for each, _ in redis.published].count(channel)

    def burst() -> None:
        for _ in range(20):
            wakeups.wake("op_1", events=True, deliveries=True)
            wakeups.wake("op_2", events=True)

    async def both_were_told_so_often(hints: int) -> None:
        async def they_were() -> bool:
            return told(CHANNEL_DELIVERIES) == hints == told(CHANNEL_EVENTS)

        await eventually(they_were)

    burst()
    await both_were_told_so_often(2)
    wakeups.wake("op_3", deliveries=True)
    wakeups.wake("op_3", events=True)
    await both_were_told_so_often(3)
    assert told(CHANNEL_OUTCOMES) == 42  # which say whose it is


async def test_a_hint_after_a_timer_that_came_early_is_told() -> None:
    """Timers are as exact as the event loop's clock. It was taken for one of those that were told by then."""
    redis = FakeRedis()
    wakeups = WakeUps(cast("Redis", redis))
    for _ in range(2):
        wakeups.wake_relay()
    wakeups._nudges[CHANNEL_DELIVERIES].cancel()
    wakeups._nudge_now(CHANNEL_DELIVERIES)
    wakeups.wake_relay()

    async def all_were_told() -> bool:
        return redis.published == [(CHANNEL_DELIVERIES, "")] * 3

    await eventually(all_were_told)


async def test_a_process_that_ends_tells_its_last_hint_and_none_after_its_connections_are_closed() -> None:
    redis = FakeRedis()
    wakeups = WakeUps(cast("Redis", redis))
    for _ in range(3):
        wakeups.wake_relay()
    await wakeups.close()
    assert redis.published == [(CHANNEL_DELIVERIES, "")] * 2
    wakeups.wake_renderer()
    await asyncio.sleep(0)  # whatever began has run
    assert len(redis.published) == 2


async def test_a_process_knows_whether_it_hears_what_others_record(valkey_url: str) -> None:
    async with hinting(valkey_url) as (wakeups, _):

        async def hears() -> bool:
            return wakeups.hears_others

        async with wakeups.hearing_deliveries():
            assert not wakeups.hears_others
        async with wakeups.listening():
            await eventually(hears)
        assert not wakeups.hears_others


async def test_the_relay_does_not_listen_for_events_that_nobody_is_sent(valkey_url: str) -> None:
    """Who follows events hears of all."""
    async with hinting(valkey_url) as (wakeups, redis):

        async def listeners() -> list[int]:
            counted = await redis.pubsub_numsub(CHANNEL_DELIVERIES, CHANNEL_EVENTS)
            return [number for _, number in counted]

        async with wakeups.hearing_deliveries():
            await eventually(lambda: _are(listeners, [1, 0]))
            async with wakeups.hearing_events():
                await eventually(lambda: _are(listeners, [2, 1]))


async def _are(listeners: Callable[[], Awaitable[list[int]]], expected: list[int]) -> bool:
    return await listeners() == expected


async def test_events_are_delivered_while_redis_is_away(shop: Shop, mortal_valkey: DevStack) -> None:
    stop = asyncio.Event()
    async with receiving() as receiver, open_runtime(settings_for(shop, mortal_valkey.redis_url)) as runtime:
        relay = asyncio.create_task(run_relay(runtime, stop))
        await mortal_valkey.kill("redis")
        await shop.endpoint(receiver.url)
        await shop.record("payment.authorized")
        await shop.shows("succeeded")
        stop.set()
        await relay


async def test_hints_are_heard_again_when_redis_comes_back(mortal_valkey: DevStack) -> None:
    async with hinting(mortal_valkey.redis_url) as (wakeups, _), wakeups.hearing_events() as heard:
        await _hinting_until(wakeups, heard.is_set)
        await mortal_valkey.kill("redis")
        heard.clear()
        await mortal_valkey.start("redis")
        await _hinting_until(wakeups, heard.is_set)


async def _hinting_until(wakeups: WakeUps, check: Callable[[], bool]) -> None:
    """Hints again and again until the check holds: a subscription takes a moment, and hints may be lost."""
    async with asyncio.timeout(60):
        while not check():
            wakeups.wake("op_1", events=True, deliveries=True)
            await asyncio.sleep(0.05)
