"""Endpoints that fail: warned about, disabled, recovered, and told to the merchant's others (§2.4, 7)."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from payonce.storage.webhooks.endpoints import Endpoint, find_endpoint, update_endpoint
from payonce.storage.webhooks.queue import Lane
from tests.webhooks.attempting import ended, record, take
from tests.webhooks.shop import Shop

URL = "https://merchant.example/"
PAYMENTS = ("payment.captured",)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


async def now_is(shop: Shop, endpoint: Endpoint) -> Endpoint:
    async with shop.database.transaction() as connection:
        found = await find_endpoint(connection, endpoint.id, merchant_id=shop.merchant.id, mode="test")
    assert found is not None
    return found


async def told(shop: Shop) -> list[tuple[str, str, dict[str, Any]]]:
    """The operational events: their type, the endpoint that gets each, and what they say."""
    rows = [row for row in await shop.deliveries() if row["type"].startswith("webhook_endpoint.")]
    return [(row["type"], row["endpoint_id"], json.loads(row["body"])["data"]) for row in rows]


async def fail(shop: Shop, *, times: int, at: datetime) -> None:
    """The only delivery to the endpoint that wants payments failed so often."""
    for number in range(times):
        lane = Lane.AGAIN if (await payment_rows(shop))[0]["attempts"] else Lane.FIRST
        leases = [lease for lease in await take(shop, lane) if lease.event_type in PAYMENTS]
        assert leases, number
        await record(shop, *(ended(lease, "pending") for lease in leases), now=at)


async def payment_rows(shop: Shop) -> list[dict[str, Any]]:
    return [row for row in await shop.deliveries() if row["type"] in PAYMENTS]


async def test_failures_are_counted_and_a_success_ends_the_count(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)
    await shop.record("payment.captured")
    await fail(shop, times=2, at=NOON)
    failing = await now_is(shop, endpoint)

    (lease,) = await take(shop, Lane.AGAIN)
    await record(shop, ended(lease, "succeeded"), now=NOON + timedelta(minutes=1))

    assert (failing.failures, failing.failing_since) == (2, NOON)
    well = await now_is(shop, endpoint)
    assert (well.failures, well.failing_since, well.last_success_at) == (0, None, NOON + timedelta(minutes=1))


async def test_successes_of_a_healthy_endpoint_do_not_write_its_row_each_time(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)
    await shop.execute("UPDATE webhook_endpoints SET last_success_at = now()")
    before = await now_is(shop, endpoint)
    await shop.record("payment.captured")
    (lease,) = await take(shop)

    await record(shop, ended(lease, "succeeded"))

    assert await now_is(shop, endpoint) == before


async def test_a_completion_that_came_too_late_says_nothing_about_the_endpoint(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)
    await shop.record("payment.captured")
    (lease,) = await take(shop)
    await shop.end_leases()
    await take(shop)

    assert await record(shop, ended(lease, "pending"), now=NOON) == {}

    assert (await now_is(shop, endpoint)).failures == 0


async def test_the_merchant_s_other_endpoints_are_told_of_trouble_and_of_its_end(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL, events=PAYMENTS)
    other = await shop.endpoint(URL, events=("webhook_endpoint.failing", "webhook_endpoint.recovered"))
    await shop.endpoint(URL, events=("payment.voided",))
    await shop.record("payment.captured")
    for hours in (0, 1, 25, 26, 73, 74):
        await fail(shop, times=1, at=NOON + timedelta(hours=hours))

    (lease,) = [one for one in await take(shop, Lane.AGAIN) if one.event_type in PAYMENTS]
    await record(shop, ended(lease, "succeeded"), now=NOON + timedelta(hours=75))

    events = await told(shop)
    assert [(type_, to) for type_, to, _ in events] == [
        ("webhook_endpoint.failing", other.id),
        ("webhook_endpoint.failing", other.id),
        ("webhook_endpoint.recovered", other.id),
    ]
    assert {data["id"] for _, _, data in events} == {endpoint.id}
    assert not [data for _, _, data in events if "secret" in data]


async def test_an_endpoint_without_a_success_for_five_days_is_disabled_and_its_deliveries_dropped(
    shop: Shop,
) -> None:
    endpoint = await shop.endpoint(URL, events=PAYMENTS)
    other = await shop.endpoint(URL, events=("webhook_endpoint.disabled",))
    await shop.record("payment.captured")
    await fail(shop, times=19, at=NOON)
    await fail(shop, times=1, at=NOON + timedelta(days=5))
    await shop.record("payment.captured")

    disabled = await now_is(shop, endpoint)
    assert (disabled.enabled, disabled.disabled_reason) == (False, "failing")
    assert [row["status"] for row in await payment_rows(shop)] == ["dropped"]
    assert [(type_, to) for type_, to, _ in await told(shop)] == [("webhook_endpoint.disabled", other.id)]
    assert (await told(shop))[0][2]["enabled"] is False


async def test_a_delivery_of_a_disabled_endpoint_is_not_handed_over(shop: Shop) -> None:
    await shop.endpoint(URL)
    await shop.record("payment.captured")
    await fail(shop, times=19, at=NOON)
    (lease,) = await take(shop, Lane.AGAIN)

    recorded = await record(shop, ended(lease, "pending"), now=NOON + timedelta(days=5), hand_over=True)

    assert recorded[lease.delivery_id].status == "dropped"
    assert recorded[lease.delivery_id].next_attempt_at is None


async def test_enabled_again_an_endpoint_may_fail_for_five_days_more(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)
    await shop.record("payment.captured")
    await fail(shop, times=19, at=NOON)
    await fail(shop, times=1, at=NOON + timedelta(days=5))
    async with shop.database.transaction() as connection:
        owner = {"merchant_id": shop.merchant.id, "mode": "test"}
        await update_endpoint(connection, endpoint.id, **owner, changes={"enabled": True})
    await shop.record("payment.captured")

    for lease in await take(shop):
        await record(shop, ended(lease, "pending"), now=NOON + timedelta(days=6))

    again = await now_is(shop, endpoint)
    assert (again.enabled, again.failures, again.failing_since) == (True, 1, NOON + timedelta(days=6))


async def test_an_exhausted_delivery_is_told_with_its_event_and_never_of_an_operational_one(
    shop: Shop,
) -> None:
    endpoint = await shop.endpoint(URL)
    other = await shop.endpoint(URL, events=("webhook_endpoint.exhausted",))
    await shop.record("payment.captured")
    (lease,) = await take(shop)
    await record(shop, ended(lease, "exhausted"), now=NOON)
    (operational,) = await take(shop)
    await record(shop, ended(operational, "exhausted"), now=NOON)

    ((type_, to, data),) = await told(shop)
    assert (type_, to, operational.endpoint_id) == ("webhook_endpoint.exhausted", other.id, other.id)
    assert (data["id"], data["delivery"], data["event"]) == (endpoint.id, lease.delivery_id, lease.event_id)


async def test_a_410_disables_at_once_and_says_so(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL, events=PAYMENTS)
    other = await shop.endpoint(URL, events=("webhook_endpoint.disabled",))
    await shop.record("payment.captured")
    (lease,) = await take(shop)

    await record(shop, ended(lease, "dropped", gone_url=URL), now=NOON)

    gone = await now_is(shop, endpoint)
    assert (gone.enabled, gone.disabled_reason) == (False, "gone")
    assert [(type_, to) for type_, to, _ in await told(shop)] == [("webhook_endpoint.disabled", other.id)]


async def test_a_410_from_an_attempt_that_lost_its_lease_disables_nothing(shop: Shop) -> None:
    """A relay stood still for an hour; meanwhile the merchant mended and enabled the endpoint."""
    endpoint = await shop.endpoint(URL)
    await shop.record("payment.captured")
    (lease,) = await take(shop)
    await shop.end_leases()
    scope = {"merchant_id": shop.merchant.id, "mode": "test"}
    for enabled in (False, True):
        async with shop.database.transaction() as connection:
            await update_endpoint(connection, endpoint.id, **scope, changes={"enabled": enabled})
    recorded = await record(shop, ended(lease, "dropped", gone_url=URL))
    async with shop.database.transaction() as connection:
        found = await update_endpoint(connection, endpoint.id, **scope, changes={})
    assert recorded == {}
    assert found is not None
    assert found.enabled
