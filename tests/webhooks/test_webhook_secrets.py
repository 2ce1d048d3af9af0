"""The secrets of endpoints in Postgres: sealed, one current, the ones before it for a day."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from payonce.sealing import CannotUnseal, Sealer, SealingKey
from payonce.storage.webhooks.endpoints import delete_endpoint
from payonce.storage.webhooks.secrets import (
    ACTIVE_MAX,
    OVERLAP,
    StoredSecret,
    active_secrets,
    insert_secret,
    rotate_secret,
    seal_again,
    seal_plain_secrets,
    seal_secret,
)
from payonce.webhooks.secrets import SigningSecrets, make_secret, public_key_of
from payonce.webhooks.signing import Signing
from tests.webhooks.shop import SEALER, Shop

URL = "https://merchant.example/"
NOW = datetime.now(UTC)


def sealed(endpoint_id: str, plain: str) -> StoredSecret:
    return seal_secret(SEALER, plain, endpoint_id=endpoint_id, algorithm="hmac", at=NOW)


async def active(shop: Shop, *endpoint_ids: str) -> dict[str, tuple[str, ...]]:
    """What signs for the endpoints, as the relay sees it."""
    async with shop.database.transaction() as connection:
        found = await active_secrets(connection, endpoint_ids)
    return {id_: SigningSecrets(SEALER).of(secrets) for id_, secrets in found.items()}


async def rotate(shop: Shop, endpoint_id: str, plain: str) -> None:
    async with shop.database.transaction() as connection:
        assert await rotate_secret(connection, sealed(endpoint_id, plain))


async def test_nothing_in_postgres_shows_a_secret(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)
    plain = shop.secrets[endpoint.id]

    async with shop.database.transaction() as connection:
        rows = await connection.execute(
            text("SELECT e::text, s::text FROM webhook_endpoints e, webhook_secrets s")
        )
        shown = str(rows.all())
        (stored,) = (await active_secrets(connection, [endpoint.id]))[endpoint.id]

    assert plain not in shown
    assert plain.encode().hex() not in shown
    assert plain not in repr(stored)
    assert await active(shop, endpoint.id) == {endpoint.id: (plain,)}


async def test_after_a_rotation_the_new_secret_and_the_old_one_sign_for_a_day(shop: Shop) -> None:
    endpoint, other = await shop.endpoint(URL), await shop.endpoint(URL)
    old = shop.secrets[endpoint.id]

    await rotate(shop, endpoint.id, "whsec_new")

    assert await active(shop, endpoint.id, other.id) == {
        endpoint.id: ("whsec_new", old),
        other.id: (shop.secrets[other.id],),
    }
    async with shop.database.transaction() as connection:
        current, before = (await active_secrets(connection, [endpoint.id]))[endpoint.id]
    assert current.expires_at is None
    assert before.expires_at is not None
    assert abs(before.expires_at - (datetime.now(UTC) + OVERLAP)) < timedelta(minutes=5)


async def test_after_a_day_only_the_new_secret_signs_and_the_next_rotation_removes_the_old_one(
    shop: Shop,
) -> None:
    endpoint = await shop.endpoint(URL)
    await rotate(shop, endpoint.id, "whsec_2")
    await shop.execute("UPDATE webhook_secrets SET expires_at = now() WHERE expires_at IS NOT NULL")

    assert await active(shop, endpoint.id) == {endpoint.id: ("whsec_2",)}
    await rotate(shop, endpoint.id, "whsec_3")
    async with shop.database.transaction() as connection:
        left = await connection.execute(text("SELECT count(*) FROM webhook_secrets"))
        assert left.scalar_one() == 2


async def test_rotated_too_often_the_oldest_ends_sooner(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)
    for number in range(ACTIVE_MAX + 2):
        await rotate(shop, endpoint.id, f"whsec_{number}")

    newest_first = tuple(f"whsec_{number}" for number in range(ACTIVE_MAX + 1, 1, -1))
    assert await active(shop, endpoint.id) == {endpoint.id: newest_first}


async def test_a_deleted_endpoint_s_secrets_are_gone_and_it_gets_no_new_one(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)

    async with shop.database.transaction() as connection:
        await delete_endpoint(connection, endpoint.id, merchant_id=shop.merchant.id, mode="test")
        assert not await rotate_secret(connection, sealed(endpoint.id, "whsec_new"))

    assert await active(shop, endpoint.id) == {}


async def test_a_secret_copied_to_another_endpoint_does_not_open(shop: Shop) -> None:
    endpoint, other = await shop.endpoint(URL), await shop.endpoint(URL)
    await shop.execute("DELETE FROM webhook_secrets WHERE endpoint_id = :id", id=other.id)
    await shop.execute("UPDATE webhook_secrets SET endpoint_id = :to", to=other.id)

    with pytest.raises(CannotUnseal):
        await active(shop, endpoint.id, other.id)


async def test_secrets_in_the_clear_are_sealed_and_sign_as_before(shop: Shop) -> None:
    endpoints = [await shop.endpoint(URL) for _ in range(3)]
    await shop.execute("DELETE FROM webhook_secrets")
    await shop.execute("UPDATE webhook_endpoints SET secret = 'whsec_' || id")

    for limit, done in ((2, 2), (2, 1), (2, 0)):
        async with shop.database.transaction() as connection:
            assert await seal_plain_secrets(connection, SEALER, limit=limit) == done

    ids = [endpoint.id for endpoint in endpoints]
    assert await active(shop, *ids) == {id_: (f"whsec_{id_}",) for id_ in ids}
    async with shop.database.transaction() as connection:
        left = await connection.execute(
            text("SELECT count(*) FROM webhook_endpoints WHERE secret IS NOT NULL")
        )
        assert left.scalar_one() == 0


async def test_a_new_sealing_key_opens_what_the_old_one_sealed(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)
    both = Sealer([SealingKey("next", b"n" * 32), SealingKey("test", b"s" * 32)])
    new = make_secret(both, endpoint_id=endpoint.id, signing=Signing.HMAC, at=NOW)

    async with shop.database.transaction() as connection:
        await rotate_secret(connection, new.stored)
        found = (await active_secrets(connection, [endpoint.id]))[endpoint.id]

    assert [secret.sealed.key_id for secret in found] == ["next", "test"]
    assert SigningSecrets(both).of(found) == (new.secret, shop.secrets[endpoint.id])


async def test_of_an_ed25519_endpoint_only_the_public_key_is_shown(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL, signing="ed25519")
    new = make_secret(SEALER, endpoint_id=endpoint.id, signing=Signing.ED25519, at=NOW)

    assert new.secret is None
    assert new.public_key is not None
    assert new.public_key.startswith("whpk_")
    assert public_key_of(SEALER, new.stored) == new.public_key
    assert "whsk_" not in repr(new)
    async with shop.database.transaction() as connection:
        await insert_secret(connection, new.stored)


def test_a_secret_is_opened_once_and_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("payonce.webhooks.secrets.OPENED_MAX", 2)
    stored = [sealed("we_1", f"whsec_{number}") for number in range(3)]
    opener = SigningSecrets(SEALER)

    assert opener.of(stored) == ("whsec_0", "whsec_1", "whsec_2")
    spoiled = [replace(each, sealed=replace(each.sealed, data=b"")) for each in stored]
    assert opener.of(spoiled[1:]) == ("whsec_1", "whsec_2")
    with pytest.raises(CannotUnseal):
        opener.of(spoiled[:1])


async def test_before_a_sealing_key_goes_what_it_sealed_is_sealed_again(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)
    await rotate(shop, endpoint.id, "whsec_new")
    after = Sealer([SealingKey("next", b"n" * 32), SealingKey("test", b"s" * 32)])

    for limit, done in ((1, 1), (10, 1), (10, 0)):
        async with shop.database.transaction() as connection:
            assert await seal_again(connection, after, limit=limit) == done

    async with shop.database.transaction() as connection:
        found = (await active_secrets(connection, [endpoint.id]))[endpoint.id]
    alone = Sealer([SealingKey("next", b"n" * 32)])
    assert SigningSecrets(alone).of(found) == ("whsec_new", shop.secrets[endpoint.id])


async def test_one_endpoint_s_secret_is_sealed_without_the_others(shop: Shop) -> None:
    endpoint, other = await shop.endpoint(URL), await shop.endpoint(URL)
    await shop.execute("DELETE FROM webhook_secrets")
    await shop.execute("UPDATE webhook_endpoints SET secret = 'whsec_plain'")

    async with shop.database.transaction() as connection:
        assert await seal_plain_secrets(connection, SEALER, endpoint_id=endpoint.id) == 1

    assert await active(shop, endpoint.id, other.id) == {endpoint.id: ("whsec_plain",)}
