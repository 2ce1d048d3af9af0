"""Failed deliveries in the hands of workflows: who attempts them, and who does when that one is gone (§2.4, 4)."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, cast

import pytest
from pydantic import SecretStr
from temporalio.client import Client, WorkflowExecutionStatus

from payonce.domain.ids import random_id
from payonce.runtime import open_runtime
from payonce.settings import SealingKeySettings, Settings
from payonce.storage import deliveries as deliveries_module
from payonce.storage.deliveries import Completion, Lease, complete
from payonce.storage.holding import Held, backlog
from payonce.storage.taking import Lane, Standing, take_due, take_held
from payonce.webhooks.delivery import Attempt, Sender
from payonce.webhooks.held import HeldAttempts
from payonce.webhooks.rooms import Rooms
from payonce.webhooks.secrets import SigningSecrets
from tests.support.eventually import eventually
from tests.webhooks.receiver import Received, hang, receiving, status
from tests.webhooks.shop import SEALER, Shop
from workers import handover
from workers.dispatch import NotHandedOver
from workers.handover import HandOver, handing_over
from workers.relay import Relay
from workers.webhook_dispatch import WebhookDispatcher

SECRETS = SigningSecrets(SEALER)
SENDER = Sender(allow_loopback=True, secrets=SECRETS)
URL = "https://merchant.example/"
FAILED = {"at": "2026-11-22T05:46:00.000Z", "status_code": 500, "duration_ms": 3, "error": "timed_out"}
TEMPORAL_AWAY = "127.0.0.1:1"


class CrashingSender(Sender):
    """Sends, and never comes back to say so."""

    async def attempt(self, lease: Lease) -> Attempt:
        await super().attempt(lease)
        await asyncio.Event().wait()
        raise AssertionError


class WithOlderRuns:
    """Temporal, where every delivery has a workflow that sleeps already."""

    async def start_delivery(self, held: Held) -> bool:
        return False


class UnreachableTemporal:
    """Starts nothing."""

    def __init__(self) -> None:
        self.asked = 0

    async def start_delivery(self, held: Held) -> bool:
        self.asked += 1
        raise NotHandedOver("UNAVAILABLE")


@asynccontextmanager
async def relay_process(shop: Shop, redis_url: str, temporal_address: str) -> AsyncIterator[HandOver]:
    """All that `python -m workers relay` runs, while the block runs."""
    settings = Settings(
        database_url=shop.database_url,
        redis_url=redis_url,
        temporal_address=temporal_address,
        derivation_key=SecretStr("k" * 32),
        allow_loopback_webhooks=True,
        webhook_sealing_keys=(
            SealingKeySettings(id="test", key=SecretStr(base64.b64encode(b"s" * 32).decode())),
        ),
    )
    stop, heard = asyncio.Event(), asyncio.Event()
    async with open_runtime(settings) as runtime, handing_over(runtime, SENDER, stop) as hand_over:
        relay = asyncio.create_task(Relay(shop.database, SENDER, hand_over=hand_over).run(stop, heard=heard))
        try:
            yield hand_over
        finally:
            stop.set()
            async with asyncio.timeout(20):
                await relay


@asynccontextmanager
async def relaying(shop: Shop, hand_over: HandOver) -> AsyncIterator[None]:
    stop, heard = asyncio.Event(), asyncio.Event()
    relay = asyncio.create_task(Relay(shop.database, SENDER, hand_over=hand_over).run(stop, heard=heard))
    try:
        yield
    finally:
        stop.set()
        await relay
        await hand_over.drain()


async def fail_first_attempts(shop: Shop, *, hand_over: bool = True, delay_s: float = 0.0) -> list[Lease]:
    """Every due delivery was attempted once, in vain."""
    async with shop.database.transaction() as connection:
        taken = await take_due(
            connection, Lane.FIRST, token="lease_1", lease_s=30, limit=100, room_each=100, rooms={}
        )
        failed = [
            Completion(
                delivery_id=lease.delivery_id,
                token=lease.token,
                event_id=lease.event_id,
                event_type=lease.event_type,
                endpoint_id=lease.endpoint_id,
                attempt=FAILED,
                status="pending",
                delay_s=delay_s,
            )
            for lease in taken.leases
        ]
        await complete(connection, failed, hand_over=hand_over)
    return list(taken.leases)


async def take_it(shop: Shop, lease: Lease, *, attempts: int = 1) -> Lease | Standing | None:
    async with shop.database.transaction() as connection:
        return await take_held(
            connection, lease.delivery_id, attempts=attempts, token=random_id("lease"), lease_s=30
        )


async def holders(shop: Shop) -> list[str]:
    return sorted(row["holder"] for row in await shop.deliveries())


async def status_of(client: Client, workflow_id: str) -> WorkflowExecutionStatus | None:
    with suppress(Exception):
        return (await client.get_workflow_handle(workflow_id).describe()).status
    return None


async def test_a_failed_delivery_is_retried_by_its_workflow_and_shown_to_operators(
    shop: Shop, valkey_url: str, temporal_server: str
) -> None:
    client = await Client.connect(temporal_server)
    async with (
        receiving(answers=[status(500)]) as receiver,
        relay_process(shop, valkey_url, temporal_server) as hand_over,
    ):
        await connected(hand_over)
        endpoint = await shop.endpoint(receiver.url)
        payment_id = await shop.record("payment.captured")
        await shop.attempted(1)
        (row,) = await shop.deliveries()
        assert row["holder"] == "workflow"
        handle = client.get_workflow_handle(row["id"])
        await eventually(lambda: status_of(client, row["id"]))
        await shop.shows("succeeded")
        assert await handle.result() == "delivered"

    description = await handle.describe()
    assert await description.static_summary() == f"payment.captured to {endpoint.id}"
    found = [one.id async for one in client.list_workflows(f"EndpointId = '{endpoint.id}'")]
    assert found == [row["id"]]
    assert description.search_attributes["PaymentId"] == [payment_id]
    first, second = receiver.received
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    second.verified(shop.secrets[endpoint.id])


async def test_a_delivery_that_succeeds_at_once_costs_temporal_nothing(
    shop: Shop, valkey_url: str, temporal_server: str
) -> None:
    client = await Client.connect(temporal_server)
    async with (
        receiving() as receiver,
        relay_process(shop, valkey_url, temporal_server) as hand_over,
    ):
        await connected(hand_over)
        await shop.endpoint(receiver.url)
        await shop.record("payment.captured")
        await shop.shows("succeeded")
        (row,) = await shop.deliveries()

    assert row["holder"] == "relay"
    assert await status_of(client, row["id"]) is None


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


async def test_a_dead_endpoint_gets_only_so_many_workflows(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries_module, "HELD_MAX", 2)
    await shop.endpoint(URL)
    for _ in range(4):
        await shop.record("payment.captured")
        await fail_first_attempts(shop)

    assert await holders(shop) == ["relay", "relay", "workflow", "workflow"]


async def test_the_relay_never_takes_what_a_workflow_holds(shop: Shop) -> None:
    await shop.endpoint(URL)
    await shop.record("payment.captured")
    (failed,) = await fail_first_attempts(shop)

    async with shop.database.transaction() as connection:
        for lane in Lane:
            taken = await take_due(
                connection, lane, token="lease_2", lease_s=30, limit=9, room_each=9, rooms={}
            )
            assert taken.leases == ()
    lease = await take_it(shop, failed)
    assert isinstance(lease, Lease)
    assert (lease.attempts, lease.body, lease.secrets) == (1, failed.body, failed.secrets)


async def test_a_workflow_never_takes_what_the_relay_has_or_what_is_not_its_turn(shop: Shop) -> None:
    await shop.endpoint(URL)
    await shop.record("payment.captured")
    (failed,) = await fail_first_attempts(shop)

    behind = await take_it(shop, failed, attempts=0)
    leased = await take_it(shop, failed)
    again = await take_it(shop, failed)
    await shop.execute("UPDATE webhook_deliveries SET holder = 'relay', lease_until = NULL")
    relayed = await take_it(shop, failed)
    await shop.execute(
        "UPDATE webhook_deliveries SET holder = 'workflow', next_attempt_at = now() + interval '5 s'"
    )
    early = await take_it(shop, failed)

    assert isinstance(leased, Lease)
    standings = [behind, again, relayed, early]
    assert [(one.status, one.holder) for one in standings if isinstance(one, Standing)] == [
        ("pending", "workflow"),
        ("pending", "workflow"),
        ("pending", "relay"),
        ("pending", "workflow"),
    ]


async def test_many_takers_at_once_make_one_attempt(shop: Shop) -> None:
    async with receiving() as receiver:
        await shop.endpoint(receiver.url)
        await shop.record("payment.captured")
        (failed,) = await fail_first_attempts(shop)
        attempts = [HeldAttempts(shop.database, SENDER) for _ in range(6)]
        stood = await asyncio.gather(
            *(one.attempt(failed.delivery_id, endpoint_id=failed.endpoint_id, attempts=1) for one in attempts)
        )

    assert len(receiver.received) == 1
    assert {one.status for one in stood if one is not None} <= {"succeeded", "pending"}
    assert await shop.statuses() == ["succeeded"]


async def test_a_crash_between_sending_and_recording_sends_again_when_the_lease_ends(shop: Shop) -> None:
    async with receiving() as receiver:
        await shop.endpoint(receiver.url)
        await shop.record("payment.captured")
        (failed,) = await fail_first_attempts(shop)
        crashing = HeldAttempts(shop.database, CrashingSender(allow_loopback=True, secrets=SECRETS))
        run = asyncio.create_task(
            crashing.attempt(failed.delivery_id, endpoint_id=failed.endpoint_id, attempts=1)
        )
        await receiver.has(1)
        run.cancel()
        held = HeldAttempts(shop.database, SENDER)

        waiting = await held.attempt(failed.delivery_id, endpoint_id=failed.endpoint_id, attempts=1)
        await shop.end_leases()
        done = await held.attempt(failed.delivery_id, endpoint_id=failed.endpoint_id, attempts=1)

    assert waiting is not None
    assert done is not None
    assert (waiting.status, done.status, done.attempts) == ("pending", "succeeded", 2)
    first, second = receiver.received
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])


async def test_an_attempt_that_is_repeated_after_it_was_recorded_sends_nothing(shop: Shop) -> None:
    async with receiving(otherwise=status(500)) as receiver:
        await shop.endpoint(receiver.url)
        await shop.record("payment.captured")
        (failed,) = await fail_first_attempts(shop)
        held = HeldAttempts(shop.database, SENDER)
        first, second = [
            await held.attempt(failed.delivery_id, endpoint_id=failed.endpoint_id, attempts=1)
            for _ in range(2)
        ]

    assert len(receiver.received) == 1
    assert first is not None
    assert second is not None
    assert (first.attempts, second.attempts) == (2, 2)
    assert first.look_at == second.look_at
    assert first.reason == "unsuccessful_status"


async def test_a_held_delivery_of_a_disabled_endpoint_is_dropped_and_one_that_is_gone_is_nobodys(
    shop: Shop,
) -> None:
    await shop.endpoint(URL)
    await shop.record("payment.captured")
    (failed,) = await fail_first_attempts(shop)
    await shop.execute("UPDATE webhook_endpoints SET enabled = false")
    held = HeldAttempts(shop.database, SENDER)

    dropped = await held.attempt(failed.delivery_id, endpoint_id=failed.endpoint_id, attempts=1)

    assert dropped is not None
    assert dropped.status == "dropped"
    assert await shop.statuses() == ["dropped"]
    assert await held.attempt("dlv_unknown", endpoint_id=failed.endpoint_id, attempts=1) is None


async def test_a_hung_endpoint_keeps_few_workflows_busy(shop: Shop) -> None:
    async with receiving(otherwise=hang) as receiver:
        await shop.endpoint(receiver.url)
        for _ in range(3):
            await shop.record("payment.captured")
        failed = await fail_first_attempts(shop)
        sender = Sender(allow_loopback=True, secrets=SECRETS, deadline_s=0.5)
        held = HeldAttempts(shop.database, sender, rooms=Rooms(2))
        stood = await asyncio.gather(
            *(held.attempt(one.delivery_id, endpoint_id=one.endpoint_id, attempts=1) for one in failed)
        )
        again = await held.attempt(failed[2].delivery_id, endpoint_id=failed[2].endpoint_id, attempts=1)

    reasons = [one.reason for one in stood if one is not None]
    assert sorted(str(reason) for reason in reasons) == ["the endpoint is busy", "timed_out", "timed_out"]
    assert again is not None
    assert again.reason == "timed_out"


async def connected(hand_over: HandOver) -> None:
    """Returns when failed deliveries go to workflows."""

    async def ready() -> bool:
        return hand_over.ready

    await eventually(ready)


async def test_what_waits_is_measured_by_who_has_it(shop: Shop) -> None:
    dead = await shop.endpoint(URL)
    for _ in range(2):
        await shop.record("payment.captured")
    await fail_first_attempts(shop)
    await shop.execute(
        "UPDATE webhook_deliveries SET holder = 'relay' WHERE id = (SELECT min(id) FROM webhook_deliveries)"
    )
    await shop.endpoint(URL)
    await shop.record("payment.voided")
    await shop.execute(
        "UPDATE webhook_deliveries SET next_attempt_at = now() - CASE WHEN endpoint_id = :dead"
        " THEN interval '1 hour' ELSE interval '90 s' END WHERE attempts = '[]'::jsonb",
        dead=dead.id,
    )

    async with shop.database.transaction() as connection:
        waiting = await backlog(connection)

    assert (waiting.first, waiting.again, waiting.held, waiting.failing_endpoints) == (2, 1, 1, 1)
    assert waiting.oldest_due_s == pytest.approx(90, abs=20)  # not the hour at the endpoint that fails


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
            await shop.shows("succeeded", within_s=10)


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
    assert max(waits_s) < 15


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
