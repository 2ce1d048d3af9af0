"""Endpoints in Postgres."""

from datetime import UTC, datetime

from payonce.storage.webhooks.endpoints import (
    delete_endpoint,
    endpoint_view,
    find_endpoint,
    update_endpoint,
)
from tests.webhooks.shop import Shop

URL = "https://merchant.example/"


async def test_an_endpoint_is_found_by_its_merchant_in_its_mode_only(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL, events=("payment.captured", "refund.failed"))

    mine = {"merchant_id": shop.merchant.id, "mode": "test"}
    async with shop.database.transaction() as connection:
        assert await find_endpoint(connection, endpoint.id, **mine) == endpoint
        assert await find_endpoint(connection, endpoint.id, **{**mine, "merchant_id": "mer_2"}) is None
        assert await find_endpoint(connection, endpoint.id, **{**mine, "mode": "live"}) is None


async def test_changes_are_written_and_returned(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)
    owner = {"merchant_id": shop.merchant.id, "mode": "test"}

    async with shop.database.transaction() as connection:
        changes = {"events": ("refund.failed",), "description": "new"}
        changed = await update_endpoint(connection, endpoint.id, **owner, changes=changes)
        assert changed == await find_endpoint(connection, endpoint.id, **owner)
        assert changed is not None
        assert (changed.events, changed.description, changed.url) == (("refund.failed",), "new", URL)
        assert await update_endpoint(connection, endpoint.id, **owner, changes={}) == changed
        assert await update_endpoint(connection, "we_2", **owner, changes=changes) is None


async def test_only_wanted_types_and_enabled_endpoints_get_deliveries(shop: Shop) -> None:
    await shop.endpoint(URL, events=("payment.captured",))
    await shop.endpoint(URL, enabled=False)
    await shop.endpoint(URL, mode="live")

    await shop.record("payment.authorized", "payment.captured")

    assert [row["type"] for row in await shop.deliveries()] == ["payment.captured"]


async def test_a_deleted_endpoint_drops_what_waits_for_it(shop: Shop) -> None:
    endpoint, other = await shop.endpoint(URL), await shop.endpoint(URL)
    await shop.record("payment.authorized")
    owner = {"merchant_id": shop.merchant.id, "mode": "test"}

    async with shop.database.transaction() as connection:
        assert not await delete_endpoint(connection, endpoint.id, merchant_id="mer_2", mode="test")
        assert await delete_endpoint(connection, endpoint.id, **owner)
        assert not await delete_endpoint(connection, endpoint.id, **owner)

    statuses = {row["endpoint_id"]: row["status"] for row in await shop.deliveries()}
    assert statuses == {endpoint.id: "dropped", other.id: "pending"}


async def test_a_disabled_endpoint_drops_what_waits_for_it(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)
    await shop.record("payment.authorized")

    async with shop.database.transaction() as connection:
        owner = {"merchant_id": shop.merchant.id, "mode": "test"}
        await update_endpoint(connection, endpoint.id, **owner, changes={"enabled": False})

    (row,) = await shop.deliveries()
    assert (row["status"], row["next_attempt_at"]) == ("dropped", None)


async def test_an_hmac_endpoint_is_shown_with_its_secret_only_where_that_is_asked_for(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)

    assert endpoint_view(endpoint, secret="whsec_x")["secret"] == "whsec_x"
    members = {"id", "object", "url", "events", "description", "ordered", "enabled", "created_at"}
    assert set(endpoint_view(endpoint)) == members


async def test_enabled_again_an_endpoint_starts_with_a_clean_record(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)
    await shop.execute(
        "UPDATE webhook_endpoints SET enabled = false, failures = 30, failing_since = now(), warned = 2,"
        " disabled_reason = 'failing'"
    )

    async with shop.database.transaction() as connection:
        owner = {"merchant_id": shop.merchant.id, "mode": "test"}
        assert await update_endpoint(connection, endpoint.id, **owner, changes={"enabled": True}) == endpoint


async def test_an_endpoint_that_is_enabled_already_keeps_its_record(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL, failures=3, warned=1, failing_since=datetime.now(UTC))

    async with shop.database.transaction() as connection:
        owner = {"merchant_id": shop.merchant.id, "mode": "test"}
        assert await update_endpoint(connection, endpoint.id, **owner, changes={"enabled": True}) == endpoint


async def test_who_disabled_an_endpoint_first_is_on_record(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)
    gone = await shop.endpoint(URL, enabled=False, disabled_reason="gone")

    async with shop.database.transaction() as connection:
        owner = {"merchant_id": shop.merchant.id, "mode": "test"}
        for one, reason in ((endpoint, "merchant"), (gone, "gone")):
            changed = await update_endpoint(connection, one.id, **owner, changes={"enabled": False})
            assert changed is not None
            assert changed.disabled_reason == reason
