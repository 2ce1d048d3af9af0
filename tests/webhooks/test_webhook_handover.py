"""Failed deliveries in the hands of workflows: who attempts them, and who does when that one is gone (§2.4, 4)."""

import asyncio

import pytest
from temporalio.client import Client

from payonce.storage.webhooks import completions as deliveries_module
from payonce.storage.webhooks.completions import Lease
from payonce.storage.webhooks.handover import backlog
from payonce.storage.webhooks.queue import Lane, NotDue, lease_due
from payonce.webhooks.attempt import Sender
from payonce.webhooks.endpoint_limits import Rooms
from payonce.webhooks.workflow_attempts import WorkflowAttempts
from tests.support.eventually import eventually
from tests.webhooks.handing_over import (
    SECRETS,
    SENDER,
    URL,
    CrashingSender,
    connected,
    fail_first_attempts,
    holders,
    relay_process,
    status_of,
    take_it,
)
from tests.webhooks.receiver import hang, receiving, status
from tests.webhooks.shop import Shop


async def listed(client: Client, query: str, workflow_id: str) -> bool:
    """Whether the query lists this workflow and no other; the lists are a little behind (ADR 0014)."""
    return [one.id async for one in client.list_workflows(query)] == [workflow_id]


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
    await eventually(lambda: listed(client, f"EndpointId = '{endpoint.id}'", row["id"]))
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


async def test_a_dead_endpoint_gets_only_so_many_workflows(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries_module, "HANDED_OVER_MAX", 2)
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
            taken = await lease_due(
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
    assert [(one.status, one.holder) for one in standings if isinstance(one, NotDue)] == [
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
        attempts = [WorkflowAttempts(shop.database, SENDER) for _ in range(6)]
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
        crashing = WorkflowAttempts(shop.database, CrashingSender(allow_loopback=True, secrets=SECRETS))
        run = asyncio.create_task(
            crashing.attempt(failed.delivery_id, endpoint_id=failed.endpoint_id, attempts=1)
        )
        await receiver.has(1)
        run.cancel()
        held = WorkflowAttempts(shop.database, SENDER)

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
        held = WorkflowAttempts(shop.database, SENDER)
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
    held = WorkflowAttempts(shop.database, SENDER)

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
        held = WorkflowAttempts(shop.database, sender, rooms=Rooms(2))
        stood = await asyncio.gather(
            *(held.attempt(one.delivery_id, endpoint_id=one.endpoint_id, attempts=1) for one in failed)
        )
        again = await held.attempt(failed[2].delivery_id, endpoint_id=failed[2].endpoint_id, attempts=1)

    reasons = [one.reason for one in stood if one is not None]
    assert sorted(str(reason) for reason in reasons) == ["the endpoint is busy", "timed_out", "timed_out"]
    assert again is not None
    assert again.reason == "timed_out"


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
