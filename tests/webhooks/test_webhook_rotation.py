"""Secrets are replaced while deliveries go out (§2.4, 8)."""

import asyncio
from datetime import UTC, datetime

from payonce.storage.webhooks.secrets import rotate_secret
from payonce.webhooks.secrets import make_secret
from payonce.webhooks.signing import Signing
from tests.webhooks.receiver import receiving
from tests.webhooks.relaying import relaying
from tests.webhooks.shop import SEALER, Shop

EVENTS = 20  # on their way during each rotation


async def rotated(shop: Shop, endpoint_id: str) -> str:
    """The endpoint's new secret, once it is committed."""
    new = make_secret(SEALER, endpoint_id=endpoint_id, signing=Signing.HMAC, at=datetime.now(UTC))
    async with shop.database.transaction() as connection:
        assert await rotate_secret(connection, new.stored)
    assert new.secret is not None
    return new.secret


async def test_a_receiver_may_change_over_at_any_time_after_a_rotation(shop: Shop) -> None:
    async with receiving() as receiver, relaying(shop.database) as relay:
        endpoint = await shop.endpoint(receiver.url)
        for rotation in range(1, 4):
            recording = asyncio.gather(*(shop.record("payment.authorized") for _ in range(EVENTS)))
            relay.heard.set()
            new = await rotated(shop, endpoint.id)  # while those are on their way
            await recording
            payment_id = await shop.record("payment.captured")
            relay.heard.set()
            await shop.shows(*["succeeded"] * (EVENTS + 1) * rotation)

            for request in receiver.received:
                request.verified(shop.secrets[endpoint.id])  # who has not changed over yet
            (since,) = [row["event_id"] for row in await shop.deliveries() if row["payment_id"] == payment_id]
            (request,) = [each for each in receiver.received if each.headers["webhook-id"] == since]
            request.verified(new)  # who has


async def test_old_and_new_key_sign_the_same_bytes_in_one_header(shop: Shop) -> None:
    async with receiving() as receiver, relaying(shop.database) as relay:
        endpoint = await shop.endpoint(receiver.url)
        new = await rotated(shop, endpoint.id)
        await shop.record("payment.authorized")
        relay.heard.set()
        await shop.shows("succeeded")

    (request,) = receiver.received
    assert len(request.headers["webhook-signature"].split(" ")) == 2
    assert request.verified(new) == request.verified(shop.secrets[endpoint.id])
