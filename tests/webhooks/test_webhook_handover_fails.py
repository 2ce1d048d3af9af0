"""Failed deliveries when Temporal is away, or their workflow is (§2.4, 4)."""

import asyncio
from datetime import datetime
from typing import Any, cast

import pytest
from temporalio.client import Client

from tests.support.eventually import eventually
from tests.webhooks.handing_over import (
    TEMPORAL_AWAY,
    UnreachableTemporal,
    WithOlderRuns,
    connected,
    fail_first_attempts,
    holders,
    relay_process,
    relaying,
    status_of,
)
from tests.webhooks.receiver import Received, receiving, status
from tests.webhooks.shop import Shop
from workers.webhooks import handover
from workers.webhooks.dispatch import WebhookDispatcher
from workers.webhooks.handover import HandOver


async def test_a_terminated_workflow_is_resumed(
    shop: Shop, valkey_url: str, temporal_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "SWEEP_EVERY_S", 0.2)
    client = await Client.connect(temporal_server)
    async with (
        receiving(answers=[status(500)]) as receiver,
        relay_process(shop, valkey_url, temporal_server) as hand_over,
    ):
        await connected(hand_over)
        await shop.endpoint(receiver.url)
        await shop.record("payment.captured")
        await shop.attempted(1)
        (row,) = await shop.deliveries()
        await eventually(lambda: status_of(client, row["id"]))
        await client.get_workflow_handle(row["id"]).terminate("one click in the Web UI")
        await shop.execute("UPDATE webhook_deliveries SET next_attempt_at = now() - interval '2 minutes'")

        await shop.shows("succeeded")

    assert (await shop.deliveries())[0]["holder"] == "workflow"


async def test_without_temporal_the_relay_takes_back_what_workflows_should_have_attempted(
    shop: Shop, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "SWEEP_EVERY_S", 0.2)
    async with receiving() as receiver:
        await shop.endpoint(receiver.url)
        await shop.record("payment.captured")
        await fail_first_attempts(shop, delay_s=-120)
        assert await holders(shop) == ["workflow"]
        async with relay_process(shop, valkey_url, TEMPORAL_AWAY):
            await shop.shows("succeeded")

    assert await holders(shop) == ["relay"]


async def test_without_temporal_failed_deliveries_stay_with_the_relay(shop: Shop) -> None:
    hand_over = HandOver(shop.database)
    async with receiving(answers=[status(500)]) as receiver, relaying(shop, hand_over):
        await shop.endpoint(receiver.url)
        await shop.record("payment.captured")
        await shop.attempted(1)
        assert await holders(shop) == ["relay"]
        await shop.make_due()
        await shop.shows("succeeded")


async def test_a_start_that_fails_gives_the_delivery_back_and_the_next_is_not_handed_over(shop: Shop) -> None:
    temporal: Any = UnreachableTemporal()
    hand_over = HandOver(shop.database, temporal)
    async with receiving(otherwise=status(500)) as receiver, relaying(shop, hand_over):
        await shop.endpoint(receiver.url)
        await shop.record("payment.captured")
        await shop.attempted(1)

        async def back() -> bool:
            return await holders(shop) == ["relay"]

        await eventually(back)
        assert not hand_over.ready
        await shop.make_due()
        await shop.attempted(2)

    assert temporal.asked == 1
    assert await holders(shop) == ["relay"]


async def test_a_delivery_whose_workflow_stands_is_carried_on(
    shop: Shop, valkey_url: str, temporal_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A workflow that runs and never gets anywhere (here: on a queue nobody serves) is not the end."""
    monkeypatch.setattr(handover, "SWEEP_EVERY_S", 0.2)
    client = await Client.connect(temporal_server)
    async with receiving() as receiver:
        await shop.endpoint(receiver.url)
        await shop.record("payment.captured")
        await fail_first_attempts(shop, delay_s=-3_600)
        (row,) = await shop.deliveries()
        await client.start_workflow("WebhookDeliveryWorkflow", id=row["id"], task_queue="nobody-serves-this")
        async with relay_process(shop, valkey_url, temporal_server) as hand_over:
            await connected(hand_over)
            await shop.shows("succeeded")


async def test_a_short_outage_is_retried_when_the_schedule_says(
    shop: Shop, valkey_url: str, temporal_server: str
) -> None:
    """A blip that failed 40 first attempts: each second attempt comes 5 s later, not half a minute or two."""
    count = 40

    async def unhurried(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)  # as real receivers are
        await status(204)(request, writer)

    async with (
        receiving(answers=[status(503)] * count, otherwise=unhurried) as receiver,
        relay_process(shop, valkey_url, temporal_server) as hand_over,
    ):
        await connected(hand_over)
        await shop.endpoint(receiver.url)
        for _ in range(count):
            await shop.record("payment.captured")
        await receiver.has(2 * count)
        await shop.shows(*["succeeded"] * count)
        rows = await shop.deliveries()

    waits_s = [_seconds_between(*row["attempts"]) for row in rows]
    assert max(waits_s) < 28  # a machine that stands still for seconds, and more than once


def _seconds_between(first: dict[str, str], second: dict[str, str]) -> float:
    return (datetime.fromisoformat(second["at"]) - datetime.fromisoformat(first["at"])).total_seconds()


async def test_a_delivery_whose_older_workflow_sleeps_on_stays_with_the_relay(shop: Shop) -> None:
    """As after a recovery that was in vain: that workflow wakes when it would have been due."""
    async with receiving(otherwise=status(500)) as receiver:
        await shop.endpoint(receiver.url)
        await shop.record("payment.captured")
        hand_over = HandOver(shop.database, cast("WebhookDispatcher", WithOlderRuns()))
        async with relaying(shop, hand_over):
            await shop.attempted(1)

            async def back() -> bool:
                return await holders(shop) == ["relay"]

            await eventually(back)
            await shop.make_due()
            await shop.attempted(2)
