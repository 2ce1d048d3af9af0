"""Ordered endpoints get each payment's events one after the other, whatever fails (§2.4, 6)."""

import asyncio
import json
from collections import defaultdict
from datetime import UTC, datetime

from sqlalchemy import select

from payonce.storage.tables import events
from payonce.storage.webhooks.queue import Lane, NotDue, lease_handed_over
from payonce.storage.webhooks.redeliveries import deliver_again
from payonce.webhooks.attempt import Sender
from payonce.webhooks.secrets import SigningSecrets
from tests.webhooks.attempting import ended, record, take
from tests.webhooks.receiver import Receiver, receiving, status
from tests.webhooks.relaying import relaying
from tests.webhooks.shop import SEALER, Shop

URL = "https://merchant.example/"
THREE = ("payment.processing", "payment.authorized", "payment.captured")
SENDER = Sender(allow_loopback=True, secrets=SigningSecrets(SEALER))


def sequences(receiver: Receiver) -> dict[str, list[int]]:
    """What arrived of each payment, in the order of arrival."""
    arrived: defaultdict[str, list[int]] = defaultdict(list)
    for request in receiver.received:
        event = json.loads(request.body)
        arrived[event["data"]["id"]].append(event["sequence"])
    return arrived


async def test_a_later_event_waits_for_the_earlier_one(shop: Shop) -> None:
    await shop.endpoint(URL, ordered=True)
    await shop.record(*THREE)

    (first,) = await take(shop)
    assert first.event_type == THREE[0]
    assert await take(shop) == []
    await record(shop, ended(first, "succeeded"))

    (second,) = await take(shop)
    assert second.event_type == THREE[1]


async def test_events_of_other_payments_and_of_other_endpoints_do_not_wait(shop: Shop) -> None:
    ordered = await shop.endpoint(URL, ordered=True)
    loose = await shop.endpoint(URL)
    for _ in range(2):
        await shop.record(*THREE)

    leases = await take(shop)

    assert sum(lease.endpoint_id == ordered.id for lease in leases) == 2
    assert sum(lease.endpoint_id == loose.id for lease in leases) == 6


async def test_a_failed_event_holds_up_the_later_ones_until_it_is_given_up(shop: Shop) -> None:
    await shop.endpoint(URL, ordered=True)
    await shop.record(*THREE)
    (first,) = await take(shop)
    await record(shop, ended(first, "pending", delay_s=3_600.0))
    await shop.execute("UPDATE webhook_deliveries SET next_attempt_at = now() WHERE attempts = '[]'::jsonb")
    assert await take(shop) == []
    waiting = [row["next_attempt_at"] for row in await shop.deliveries()]
    assert waiting[0] == waiting[1] == waiting[2]  # not looked at all the time

    await shop.execute("UPDATE webhook_deliveries SET next_attempt_at = now() WHERE attempts <> '[]'::jsonb")
    (again,) = await take(shop, Lane.AGAIN)
    await record(shop, ended(again, "exhausted"))

    (second,) = await take(shop)
    assert second.event_type == THREE[1]


async def test_a_held_event_waits_for_an_earlier_one_that_is_delivered_again(shop: Shop) -> None:
    await shop.endpoint(URL, ordered=True)
    await shop.record(*THREE)
    first, later = (await shop.deliveries())[:2]
    await shop.execute(
        "UPDATE webhook_deliveries SET attempts = '[{}]', holder = 'workflow' WHERE id = :id", id=later["id"]
    )

    async with shop.database.transaction() as connection:
        found = await lease_handed_over(connection, later["id"], attempts=1, token="lease_1", lease_s=30)

    assert isinstance(found, NotDue)
    assert found.reason == "an earlier event comes first"
    assert (await shop.deliveries())[0]["id"] == first["id"]


async def test_order_holds_through_failures_and_crashes(shop: Shop) -> None:
    answers = [status(500) if number % 3 == 0 else status(204) for number in range(24)]
    async with receiving(answers=answers) as receiver:
        await shop.endpoint(receiver.url, ordered=True)
        payments = [await shop.record(*THREE) for _ in range(4)]
        async with relaying(shop.database, sender=SENDER) as crashed:
            await receiver.has(3)
            await crashed.crash()
        await shop.end_leases()
        async with asyncio.timeout(120), relaying(shop.database, sender=SENDER) as relay:
            while set(await shop.statuses()) != {"succeeded"}:
                await shop.execute(
                    "UPDATE webhook_deliveries SET next_attempt_at = now()"
                    " WHERE status = 'pending' AND attempts <> '[]'::jsonb AND lease_owner IS NULL"
                )
                relay.heard.set()
                await asyncio.sleep(0.05)

    arrived = sequences(receiver)
    assert set(arrived) == set(payments)
    for order in arrived.values():
        assert order == sorted(order), order  # repeated perhaps, and never behind a later one
        assert set(order) == {1, 2, 3}


async def test_an_ordered_payment_goes_on_when_its_held_up_event_was_redelivered(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL, ordered=True)
    await shop.record("payment.authorized", "payment.captured")
    (first,) = await take(shop)
    await record(shop, ended(first, "pending", delay_s=72_000.0))
    async with shop.database.transaction() as connection:
        event = (
            (await connection.execute(select(events).where(events.c.id == first.event_id))).mappings().one()
        )
        await deliver_again(connection, event, [endpoint], cause="redelivery", now=datetime.now(UTC))
    (again,) = [lease for lease in await take(shop) if lease.event_id == first.event_id]
    await record(shop, ended(again, "succeeded"))
    await shop.execute(
        "UPDATE webhook_deliveries SET next_attempt_at = now() WHERE attempts = '[]'::jsonb AND status = 'pending'"
    )
    assert [lease.event_type for lease in await take(shop)] == ["payment.captured"]
