"""The secrets of endpoints over HTTP: shown once, replaced, and kept sealed."""

import json

import httpx
import pytest

from payonce.domain.ids import random_id
from payonce.runtime import Runtime
from payonce.storage.webhooks.secrets import active_secrets
from payonce.webhooks.secrets import SigningSecrets
from payonce.webhooks.signing import public_key
from tests.api.recorded import ENDPOINTS, URL, execute, registered, rows

pytestmark = pytest.mark.usefixtures("no_endpoints")


async def signing(runtime: Runtime, endpoint_id: str) -> tuple[str, ...]:
    """What the endpoint's deliveries are signed with now."""
    async with runtime.database.transaction() as connection:
        found = await active_secrets(connection, [endpoint_id])
    return SigningSecrets(runtime.sealer).of(found[endpoint_id])


async def test_a_new_secret_is_shown_once_and_signs_next_to_the_old_one(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    endpoint = await registered(client)
    path = f"{ENDPOINTS}/{endpoint['id']}"

    response = await client.post(f"{path}/rotate_secret")

    assert response.status_code == 200
    assert response.json() == {**endpoint, "secret": response.json()["secret"]}
    assert response.json()["secret"] != endpoint["secret"]
    assert await signing(runtime, endpoint["id"]) == (response.json()["secret"], endpoint["secret"])
    assert "secret" not in (await client.get(path)).json()


async def test_a_secret_that_was_stored_in_the_clear_signs_on_after_a_rotation(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    endpoint = await registered(client)
    await execute(runtime, "DELETE FROM webhook_secrets")
    await execute(runtime, "UPDATE webhook_endpoints SET secret = 'whsec_plain'")

    new = (await client.post(f"{ENDPOINTS}/{endpoint['id']}/rotate_secret")).json()["secret"]

    assert await signing(runtime, endpoint["id"]) == (new, "whsec_plain")


async def test_under_one_key_the_secret_is_replaced_once(client: httpx.AsyncClient, runtime: Runtime) -> None:
    endpoint = await registered(client)
    path, headers = f"{ENDPOINTS}/{endpoint['id']}/rotate_secret", {"Idempotency-Key": random_id("key")}

    first = await client.post(path, headers=headers)
    second = await client.post(path, headers=headers, json={})

    assert (second.status_code, second.content) == (200, first.content)
    assert second.headers["idempotent-replayed"] == "true"
    assert len(await signing(runtime, endpoint["id"])) == 2
    elsewhere = await client.post(f"{ENDPOINTS}/{endpoint['id']}/ping", headers=headers)
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (422, "idempotency_key_reused")


async def test_after_a_day_a_replay_is_without_the_secret(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    key = random_id("key")
    created = await client.post(ENDPOINTS, json={"url": URL}, headers={"Idempotency-Key": key})
    path, rotation = f"{created.headers['location']}/rotate_secret", {"Idempotency-Key": random_id("key")}
    await client.post(path, headers=rotation)
    await execute(runtime, "UPDATE idempotency_keys SET answered_at = answered_at - interval '25 hours'")

    again = await client.post(ENDPOINTS, json={"url": URL}, headers={"Idempotency-Key": key})
    replayed = await client.post(path, headers=rotation)

    without = {name: value for name, value in created.json().items() if name != "secret"}
    assert (again.status_code, again.json()) == (201, without)
    assert (replayed.status_code, replayed.json()) == (200, without)


async def test_no_table_has_a_secret_in_the_clear(client: httpx.AsyncClient, runtime: Runtime) -> None:
    endpoint = await registered(client)
    rotated = (await client.post(f"{ENDPOINTS}/{endpoint['id']}/rotate_secret")).json()
    under_key = await client.post(
        f"{ENDPOINTS}/{endpoint['id']}/rotate_secret", headers={"Idempotency-Key": random_id("key")}
    )
    secrets = [endpoint["secret"], rotated["secret"], under_key.json()["secret"]]

    found = await rows(runtime, "SELECT e::text FROM webhook_endpoints e")
    found += await rows(runtime, "SELECT s::text FROM webhook_secrets s")
    found += await rows(runtime, "SELECT k::text, encode(answer_body, 'escape') FROM idempotency_keys k")

    for secret in secrets:
        assert secret not in str(found)
        assert secret.encode().hex() not in str(found)


async def test_an_ed25519_endpoint_shows_its_public_key_and_no_secret(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    endpoint = await registered(client, signing="ed25519")
    path = f"{ENDPOINTS}/{endpoint['id']}"

    assert endpoint["signing"] == "ed25519"
    assert "secret" not in endpoint
    assert (await client.get(path)).json() == endpoint
    assert (await client.get(ENDPOINTS)).json()["data"] == [endpoint]
    assert (await client.patch(path, json={"description": "x"})).json()["public_key"] == endpoint[
        "public_key"
    ]
    assert [public_key(key) for key in await signing(runtime, endpoint["id"])] == [endpoint["public_key"]]
    rotated = (await client.post(f"{path}/rotate_secret")).json()
    assert rotated["public_key"] != endpoint["public_key"]
    assert (await client.get(path)).json()["public_key"] == rotated["public_key"]
    assert "whsk_" not in json.dumps([endpoint, rotated])


async def test_an_hmac_endpoint_has_the_members_of_the_contract(client: httpx.AsyncClient) -> None:
    members = {"id", "object", "url", "events", "description", "ordered", "enabled", "secret", "created_at"}

    assert set(await registered(client)) == members
    assert set(await registered(client, signing="hmac")) == members
