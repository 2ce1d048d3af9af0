"""Leases and completions in Postgres."""

import asyncio
from collections import Counter
from typing import Any

from payonce.domain.ids import random_id
from payonce.storage.packing import unpack_event
from payonce.storage.webhooks.completions import Completion, Lease, complete, release
from payonce.storage.webhooks.endpoints import delete_endpoint, update_endpoint
from payonce.storage.webhooks.queue import Lane, LeasedBatch, lease_due
from payonce.webhooks.secrets import SigningSecrets
from tests.webhooks.shop import SEALER, Shop

SECRETS = SigningSecrets(SEALER)
URL = "https://merchant.example/"
ATTEMPT = {
    "at": "2026-11-22T05:46:00.000Z",
    "status_code": 500,
    "duration_ms": 3,
    "error": "unsuccessful_status",
}


async def take(shop: Shop, *, limit: int = 100, room_each: int = 100, **rooms: int) -> LeasedBatch:
    """What is due in both lanes."""
    limits = {"lease_s": 30.0, "room_each": room_each, "rooms": rooms}
    async with shop.database.transaction() as connection:
        first, again = [
            await lease_due(connection, lane, token=random_id("lease"), limit=limit, **limits)
            for lane in Lane
        ]
    return LeasedBatch(first.leases + again.leases, first.more or again.more)


async def finish(shop: Shop, lease: Lease, status: Any, **more: Any) -> bool:
    """Whether the lease still held."""
    completion = Completion(
        delivery_id=lease.delivery_id,
        token=lease.token,
        event_id=lease.event_id,
        event_type=lease.event_type,
        endpoint_id=lease.endpoint_id,
        attempt=ATTEMPT,
        status=status,
        **more,
    )
    async with shop.database.transaction() as connection:
        return lease.delivery_id in await complete(connection, [completion])


def _body(lease: Lease) -> bytes:
    return unpack_event(
        lease.body, id_=lease.event_id, payment_id=lease.payment_id, created_at=lease.event_at
    )


async def test_a_lease_has_all_that_an_attempt_needs(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)
    await shop.record("payment.authorized", "payment.captured")

    leases = (await take(shop)).leases

    rows = await shop.deliveries()
    assert [(lease.event_id, _body(lease)) for lease in leases] == [
        (row["event_id"], row["body"]) for row in rows
    ]
    assert {(lease.url, SECRETS.of(lease.secrets), lease.mode, lease.attempts) for lease in leases} == {
        (URL, (shop.secrets[endpoint.id],), "test", 0)
    }


async def test_takers_at_the_same_time_never_own_the_same_delivery(shop: Shop) -> None:
    await shop.endpoint(URL)
    for _ in range(20):
        await shop.record("payment.authorized", "payment.captured")

    taken = await asyncio.gather(*(take(shop, limit=7) for _ in range(8)))
    rest = await take(shop)

    owned = Counter(lease.delivery_id for each in [*taken, rest] for lease in each.leases)
    assert (len(owned), set(owned.values())) == (40, {1})


async def test_a_leased_delivery_is_taken_again_only_when_the_lease_has_ended(shop: Shop) -> None:
    await shop.endpoint(URL)
    await shop.record("payment.authorized")
    (first,) = (await take(shop)).leases
    assert (await take(shop)).leases == ()

    await shop.end_leases()

    (second,) = (await take(shop)).leases
    assert second.delivery_id == first.delivery_id
    assert second.token != first.token


async def test_a_completion_counts_only_under_the_present_lease(shop: Shop) -> None:
    await shop.endpoint(URL)
    await shop.record("payment.authorized")
    (first,) = (await take(shop)).leases
    await shop.end_leases()
    (second,) = (await take(shop)).leases

    assert not await finish(shop, first, "pending", delay_s=5.0)
    assert await finish(shop, second, "succeeded")
    assert not await finish(shop, second, "succeeded")  # repeated after a COMMIT whose outcome was unknown

    (row,) = await shop.deliveries()
    assert (row["status"], row["attempts"], row["next_attempt_at"]) == ("succeeded", [ATTEMPT], None)


async def test_a_late_completion_counts_while_nobody_else_took_the_delivery(shop: Shop) -> None:
    await shop.endpoint(URL)
    await shop.record("payment.authorized")
    (lease,) = (await take(shop)).leases
    await shop.end_leases()

    assert await finish(shop, lease, "succeeded")


async def test_a_failed_delivery_is_due_again_after_its_delay(shop: Shop) -> None:
    await shop.endpoint(URL)
    await shop.record("payment.authorized")
    (lease,) = (await take(shop)).leases

    await finish(shop, lease, "pending", delay_s=3600.0)

    (row,) = await shop.deliveries()
    assert (row["status"], row["lease_owner"]) == ("pending", None)
    assert (row["next_attempt_at"] - row["created_at"]).total_seconds() >= 3600
    assert (await take(shop)).leases == ()
    await shop.make_due()
    assert [again.attempts for again in (await take(shop)).leases] == [1]


async def test_a_released_delivery_may_be_taken_at_once_and_another_s_lease_stays(shop: Shop) -> None:
    await shop.endpoint(URL)
    await shop.record("payment.authorized")
    (first,) = (await take(shop)).leases
    async with shop.database.transaction() as connection:
        await release(connection, [first])
    (second,) = (await take(shop)).leases

    async with shop.database.transaction() as connection:
        await release(connection, [first])

    assert (await take(shop)).leases == ()
    assert await finish(shop, second, "succeeded")


async def test_one_endpoint_s_backlog_leaves_room_for_the_others(shop: Shop) -> None:
    crowded = await shop.endpoint(URL, events=("payment.authorized",))
    for _ in range(10):
        await shop.record("payment.authorized")
    quiet = await shop.endpoint(URL, events=("payment.captured",))
    await shop.record("payment.captured")

    first = await take(shop, limit=8, room_each=3)
    second = await take(shop, limit=8, room_each=3, **{crowded.id: 0})

    assert Counter(lease.endpoint_id for lease in first.leases) == {crowded.id: 3, quiet.id: 1}
    assert not second.leases


async def test_the_room_of_a_busy_endpoint_is_kept(shop: Shop) -> None:
    busy = await shop.endpoint(URL)
    await shop.record(*["payment.partially_captured"] * 5)

    taken = await take(shop, room_each=8, **{busy.id: 2})

    assert len(taken.leases) == 2


async def test_deliveries_of_an_endpoint_that_nobody_has_are_dropped_when_due(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)
    await shop.record("payment.authorized")
    # A state change that read the endpoint before it was deleted commits after that.
    await shop.execute("DELETE FROM webhook_endpoints WHERE id = :id", id=endpoint.id)

    assert (await take(shop)).leases == ()

    assert await shop.statuses() == ["dropped"]


async def test_a_delivery_under_way_when_its_endpoint_is_deleted_is_completed(shop: Shop) -> None:
    owner = {"merchant_id": shop.merchant.id, "mode": "test"}
    endpoint = await shop.endpoint(URL)
    await shop.record("payment.authorized", "payment.captured")
    first, second = (await take(shop)).leases
    async with shop.database.transaction() as connection:
        await delete_endpoint(connection, endpoint.id, **owner)

    assert await finish(shop, first, "succeeded")
    assert await finish(shop, second, "pending", delay_s=5.0)

    assert await shop.statuses() == ["succeeded", "dropped"]
    assert [len(row["attempts"]) for row in await shop.deliveries()] == [1, 1]


async def test_a_410_disables_the_endpoint_and_drops_what_waits_for_it(shop: Shop) -> None:
    await shop.endpoint(URL)
    await shop.record("payment.authorized", "payment.captured")
    (lease,) = (await take(shop, limit=1)).leases

    await finish(shop, lease, "dropped", gone_url=URL)
    await shop.record("payment.authorized")

    assert await shop.statuses() == ["dropped", "dropped"]


async def test_a_410_from_a_url_that_was_replaced_disables_nothing(shop: Shop) -> None:
    owner = {"merchant_id": shop.merchant.id, "mode": "test"}
    endpoint = await shop.endpoint(URL)
    await shop.record("payment.authorized")
    (lease,) = (await take(shop)).leases
    async with shop.database.transaction() as connection:
        await update_endpoint(connection, endpoint.id, **owner, changes={"url": "https://new.example/"})

    await finish(shop, lease, "dropped", gone_url=URL)
    await shop.record("payment.authorized")

    assert await shop.statuses() == ["dropped", "pending"]


async def test_the_lag_is_measured_where_the_first_attempt_is_due_at_once(shop: Shop) -> None:
    await shop.endpoint(URL)
    await shop.endpoint(URL, ordered=True)
    await shop.record("payment.captured")
    await shop.record("payment.authorized")
    await shop.execute(
        "UPDATE webhook_deliveries SET cause = 'recovery'"
        " WHERE event_id = (SELECT id FROM events WHERE type = 'payment.authorized')"
    )

    leases = (await take(shop)).leases

    (measured,) = [lease for lease in leases if lease.lag_from is not None]
    assert len(leases) == 4
    assert (measured.event_type, measured.lag_from) == ("payment.captured", measured.event_at)
