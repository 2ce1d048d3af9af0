"""Webhook endpoints: created once, shown without their secret, changed, deleted."""

import asyncio
import socket
from typing import Any

import httpx
import pytest

from api.routes import endpoints
from payonce.runtime import Runtime
from tests.api.conftest import Merchant, a_merchant

PATH = "/v1/webhook_endpoints"
URL = "https://shop.example/hooks"


async def _create(client: httpx.AsyncClient, key: str, **body: Any) -> httpx.Response:
    return await client.post(PATH, json={"url": URL, **body}, headers={"Idempotency-Key": key})


async def test_an_endpoint_is_created_once_with_its_secret(client: httpx.AsyncClient) -> None:
    first, second = await _create(client, "once"), await _create(client, "once", events=["*"], ordered=False)
    endpoint = first.json()
    assert first.status_code == 201
    assert first.headers["location"] == f"{PATH}/{endpoint['id']}"
    assert (second.status_code, second.content) == (201, first.content)
    assert second.headers["idempotent-replayed"] == "true"
    assert endpoint["secret"].startswith("whsec_")
    shown = (await client.get(first.headers["location"])).json()
    assert shown == {name: value for name, value in endpoint.items() if name != "secret"}
    assert (shown["url"], shown["events"], shown["enabled"]) == (URL, ["*"], True)


async def test_a_merchant_has_a_limited_number_and_may_delete_one_for_another(
    client: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "ENDPOINTS_MAX", 2)
    client.headers.update((await a_merchant(runtime, "Limited")).headers)
    created = [await _create(client, f"limit-{number}") for number in range(2)]
    refused = await _create(client, "limit-2")
    replayed = await _create(client, "limit-1")
    await client.delete(created[0].headers["location"])

    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    assert "delete one first" in refused.json()["detail"]
    assert (replayed.status_code, replayed.content) == (201, created[1].content)
    assert (await _create(client, "limit-2")).status_code == 201


async def test_many_creations_at_once_stay_within_the_limit(
    client: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "ENDPOINTS_MAX", 3)
    client.headers.update((await a_merchant(runtime, "Eager")).headers)
    answers = await asyncio.gather(*(_create(client, f"many-{number}") for number in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [400] * 5


async def test_an_unknown_event_is_told_once_where_it_stands(client: httpx.AsyncClient) -> None:
    refused = await _create(client, "unknown-event", events=["payment.captured", "payment.*"])
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/events/1"]


async def test_another_request_under_the_key_creates_nothing(client: httpx.AsyncClient) -> None:
    await _create(client, "other")
    response = await _create(client, "other", description="x")
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "https://10.0.0.1/", "ftp://a.example/", "https://a.example:22/", "x"]
)
async def test_a_forbidden_url_is_refused_and_uses_no_key_up(client: httpx.AsyncClient, url: str) -> None:
    response = await _create(client, "forbidden-" + url.encode().hex(), url=url)
    assert (response.status_code, response.json()["code"]) == (422, "webhook_url_forbidden")
    assert response.json()["errors"][0]["pointer"] == "/url"
    assert (await _create(client, "forbidden-" + url.encode().hex())).status_code == 201


async def test_registration_looks_no_name_up_and_so_tells_of_none(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 14, 9: 422 for a name that resolves to a private address told that it exists."""
    asked = []

    def internal(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", internal)
    created = await _create(client, "internal", url="https://vault.merchant.example/")
    path = created.headers["location"]
    changed = await client.patch(path, json={"url": "https://ldap.merchant.example/"})

    assert (created.status_code, changed.status_code) == (201, 200)
    assert asked == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"url": 5}, "/url"),
        ({"url": None}, "/url"),
        ({"events": []}, "/events"),
        ({"events": ["payment.lost"]}, None),
        ({"events": "*"}, "/events"),
        ({"ordered": "yes"}, "/ordered"),
        ({"secret": "x"}, "/secret"),
        ({"description": "4242424242424242"}, "/description"),
    ],
)
async def test_mistakes_are_named(
    client: httpx.AsyncClient, body: dict[str, Any], pointer: str | None
) -> None:
    response = await _create(client, "mistake", **body)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    if pointer is not None:
        assert response.json()["errors"][0]["pointer"] == pointer


async def test_an_endpoint_is_changed_in_part(client: httpx.AsyncClient) -> None:
    path = (await _create(client, "change", description="first")).headers["location"]
    changed = await client.patch(path, json={"enabled": False, "events": ["payment.captured"], "url": None})
    assert changed.status_code == 200
    endpoint = changed.json()
    assert (endpoint["enabled"], endpoint["events"]) == (False, ["payment.captured"])
    assert (endpoint["url"], endpoint["description"]) == (URL, "first")
    assert "secret" not in endpoint
    assert (await client.patch(path)).json() == endpoint
    assert (await client.patch(path, json={"url": "https://10.0.0.1/"})).status_code == 422
    assert (await client.patch(path, json={"ordered": True})).status_code == 400
    assert (await client.get(path)).json() == endpoint


async def test_a_deleted_endpoint_is_gone(client: httpx.AsyncClient) -> None:
    path = (await _create(client, "delete")).headers["location"]
    deleted = await client.delete(path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    for method in ("GET", "DELETE", "PATCH"):
        assert (await client.request(method, path)).status_code == 404


async def test_endpoints_are_the_merchant_s_own(client: httpx.AsyncClient, other_merchant: Merchant) -> None:
    path = (await _create(client, "mine")).headers["location"]
    for method in ("GET", "DELETE", "PATCH"):
        assert (await client.request(method, path, headers=other_merchant.headers)).status_code == 404
    theirs = (await client.get(PATH, headers=other_merchant.headers)).json()
    assert theirs == {"object": "list", "data": [], "has_more": False}
    mine = (await client.get(PATH, params={"limit": 100})).json()["data"]
    assert path.rpartition("/")[2] in [endpoint["id"] for endpoint in mine]
    assert not any("secret" in endpoint for endpoint in mine)
