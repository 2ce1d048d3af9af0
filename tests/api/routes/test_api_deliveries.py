"""Pings, deliveries, redelivery and the events about endpoints over HTTP."""

import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from payonce.domain.ids import random_id
from payonce.runtime import Runtime
from tests.api.conftest import Merchant
from tests.api.recorded import ENDPOINTS, execute, recorded, registered, rows, wrong

pytestmark = pytest.mark.usefixtures("no_endpoints")


async def test_a_ping_goes_to_its_endpoint_only_and_is_listed_nowhere(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    endpoint, _other = await registered(client, events=["payment.captured"]), await registered(client)

    response = await client.post(f"{ENDPOINTS}/{endpoint['id']}/ping")

    event = response.json()
    assert (response.status_code, event["type"], event["sequence"]) == (202, "webhook_endpoint.ping", 0)
    assert event["data"]["id"] == endpoint["id"]
    assert "secret" not in event["data"]
    assert response.headers["location"] == f"/v1/events/{event['id']}"
    assert (await client.get(response.headers["location"])).content == response.content
    assert event["id"] not in (await client.get("/v1/events", params={"limit": 100})).text
    (delivery,) = await rows(runtime, "SELECT * FROM webhook_deliveries WHERE event_id = :id", id=event["id"])
    assert (delivery["endpoint_id"], delivery["cause"]) == (endpoint["id"], "ping")
    assert (delivery["payment_id"], delivery["status"]) == (None, "pending")
    again = await client.post(f"/v1/events/{event['id']}/redeliver")
    assert again.status_code == 404


async def test_under_one_key_there_is_one_ping(client: httpx.AsyncClient, runtime: Runtime) -> None:
    endpoint = await registered(client)
    path, headers = f"{ENDPOINTS}/{endpoint['id']}/ping", {"Idempotency-Key": random_id("key")}

    first, second = await client.post(path, headers=headers), await client.post(path, headers=headers)

    assert (second.status_code, second.content) == (202, first.content)
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["idempotent-replayed"] == "true"
    assert len(await rows(runtime, "SELECT id FROM webhook_deliveries")) == 1
    await client.post(path)
    assert len(await rows(runtime, "SELECT id FROM webhook_deliveries")) == 2


async def test_deliveries_are_listed_newest_first_with_their_attempts(
    client: httpx.AsyncClient, runtime: Runtime, merchant: Merchant
) -> None:
    endpoint, other = await registered(client), await registered(client)
    now = datetime.now(UTC)
    old = await recorded(runtime, merchant, "payment.authorized", at=now - timedelta(minutes=1))
    first, second = await recorded(runtime, merchant, "payment.authorized", "payment.captured", at=now)
    attempt = {
        "at": "2026-01-31T12:00:00.000Z",
        "status_code": 500,
        "duration_ms": 7,
        "error": "unsuccessful_status",
    }
    await execute(
        runtime,
        "UPDATE webhook_deliveries SET status = 'exhausted', attempts = :attempts, next_attempt_at = NULL"
        " WHERE event_id = :id",
        id=old[0],
        attempts=json.dumps([{**attempt, "body": "internal", "ip": "93.184.215.14"}]),
    )
    path = f"{ENDPOINTS}/{endpoint['id']}/deliveries"

    page = (await client.get(path)).json()

    assert [delivery["event"] for delivery in page["data"]] == [second, first, *old]
    assert page["has_more"] is False
    newest, *_, oldest = page["data"]
    assert set(newest) == {"id", "event", "status", "attempts", "next_attempt_at"}
    assert (newest["status"], newest["attempts"]) == ("pending", [])
    assert newest["next_attempt_at"].endswith("Z")
    assert (oldest["status"], oldest["attempts"], oldest["next_attempt_at"]) == ("exhausted", [attempt], None)
    one = (await client.get(path, params={"limit": 1})).json()
    assert (one["data"], one["has_more"]) == ([newest], True)
    rest = (await client.get(path, params={"starting_after": newest["id"]})).json()
    assert rest["data"] == page["data"][1:]
    back = (await client.get(path, params={"ending_before": oldest["id"]})).json()
    assert back["data"] == page["data"][:2]
    exhausted = (await client.get(path, params={"status": "exhausted"})).json()
    assert exhausted["data"] == [oldest]
    assert wrong(await client.get(path, params={"status": "lost"})) == (400, "invalid_request", "/status")
    theirs = (await client.get(f"{ENDPOINTS}/{other['id']}/deliveries")).json()["data"][0]["id"]
    assert (await client.get(path, params={"starting_after": theirs})).status_code == 400


async def test_an_event_is_delivered_again_to_everyone_who_wants_it(
    client: httpx.AsyncClient, runtime: Runtime, merchant: Merchant
) -> None:
    wanting = await registered(client, events=["payment.captured"], ordered=True)
    await registered(client, events=["payment.failed"])
    disabled = await registered(client)
    await client.patch(f"{ENDPOINTS}/{disabled['id']}", json={"enabled": False})
    _, event = await recorded(runtime, merchant, "payment.authorized", "payment.captured")
    await execute(runtime, "UPDATE webhook_deliveries SET status = 'succeeded', next_attempt_at = NULL")

    response = await client.post(f"/v1/events/{event}/redeliver")

    assert (response.status_code, response.headers["location"]) == (202, f"/v1/events/{event}")
    (shown,) = response.json()["data"]
    assert (shown["event"], shown["status"], shown["attempts"]) == (event, "pending", [])
    (row,) = await rows(runtime, "SELECT * FROM webhook_deliveries WHERE cause = 'redelivery'")
    assert row["id"] == shown["id"]
    assert (row["endpoint_id"], row["event_id"]) == (wanting["id"], event)
    assert (row["sequence"], row["ordered"], row["holder"]) == (2, True, "relay")
    assert row["payment_id"].startswith("pay_")
    listed = (await client.get(f"{ENDPOINTS}/{wanting['id']}/deliveries")).json()["data"]
    assert [delivery["status"] for delivery in listed] == ["pending", "succeeded"]


async def test_an_event_is_delivered_to_the_endpoint_that_is_named(
    client: httpx.AsyncClient, runtime: Runtime, merchant: Merchant, other_merchant: Merchant
) -> None:
    (event,) = await recorded(runtime, merchant, "payment.authorized")
    endpoint, disabled = await registered(client, events=["payment.failed"]), await registered(client)
    await client.patch(f"{ENDPOINTS}/{disabled['id']}", json={"enabled": False})
    path = f"/v1/events/{event}/redeliver"

    assert (await client.post(path, json={"endpoint": endpoint["id"]})).status_code == 202
    (row,) = await rows(runtime, "SELECT * FROM webhook_deliveries")
    assert row["endpoint_id"] == endpoint["id"]
    for wrong_endpoint in (disabled["id"], "we_none", "not an id"):
        response = await client.post(path, json={"endpoint": wrong_endpoint})
        assert wrong(response) == (400, "invalid_request", "/endpoint")
    assert (await client.post("/v1/events/evt_none/redeliver")).status_code == 404
    assert (await client.post(path, headers=other_merchant.headers)).status_code == 404
    assert len(await rows(runtime, "SELECT id FROM webhook_deliveries")) == 1


async def test_an_event_counts_as_delivered_when_every_endpoint_got_it_by_any_delivery(
    client: httpx.AsyncClient, runtime: Runtime, merchant: Merchant
) -> None:
    endpoint, _other = await registered(client), await registered(client)
    (event,) = await recorded(runtime, merchant, "payment.authorized")
    await execute(
        runtime,
        "UPDATE webhook_deliveries SET status = CASE WHEN endpoint_id = :id THEN 'exhausted' ELSE 'succeeded' END",
        id=endpoint["id"],
    )

    async def delivered() -> list[bool]:
        pages = [
            (await client.get("/v1/events", params={"delivered": value, "limit": 100})).json()["data"]
            for value in ("true", "false")
        ]
        return [event in [each["id"] for each in page] for page in pages]

    assert await delivered() == [False, True]
    await client.post(f"/v1/events/{event}/redeliver", json={"endpoint": endpoint["id"]})
    assert await delivered() == [False, True]
    await execute(runtime, "UPDATE webhook_deliveries SET status = 'succeeded' WHERE cause = 'redelivery'")
    assert await delivered() == [True, False]
    await client.post(f"/v1/events/{event}/redeliver")
    assert await delivered() == [True, False]


@pytest.mark.parametrize(
    ("action", "body"),
    [("rotate_secret", None), ("ping", None), ("recover", {"since": "now"}), ("replay", {"since": "now"})],
)
async def test_an_endpoint_s_actions_are_its_merchant_s_own(
    client: httpx.AsyncClient, other_merchant: Merchant, action: str, body: dict[str, str] | None
) -> None:
    if body is not None:
        body = {"since": (datetime.now(UTC) - timedelta(hours=1)).isoformat()}
    endpoint = await registered(client)

    for path in (f"{ENDPOINTS}/{endpoint['id']}/{action}", f"{ENDPOINTS}/we_none/{action}"):
        response = await client.post(path, json=body or {}, headers=other_merchant.headers)
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
    deliveries = await client.get(f"{ENDPOINTS}/{endpoint['id']}/deliveries", headers=other_merchant.headers)
    assert deliveries.status_code == 404


async def test_what_a_disabled_endpoint_would_drop_is_refused(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    path = f"{ENDPOINTS}/{(await registered(client))['id']}"
    await client.patch(path, json={"enabled": False})
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()

    for action, body in (("ping", {}), ("recover", {"since": since}), ("replay", {"since": since})):
        response = await client.post(f"{path}/{action}", json=body)
        assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
        assert "disabled" in response.json()["detail"]
    assert (await client.post(f"{path}/rotate_secret")).status_code == 200
    assert await rows(runtime, "SELECT id FROM webhook_deliveries") == []


async def test_events_about_endpoints_are_listed_and_may_be_asked_for(
    client: httpx.AsyncClient, runtime: Runtime, merchant: Merchant
) -> None:
    about = await registered(client)
    event_id, now = random_id("evt"), datetime.now(UTC)
    body = {
        "id": event_id,
        "type": "webhook_endpoint.failing",
        "timestamp": "x",
        "sequence": 0,
        "data": about,
    }
    await execute(
        runtime,
        "INSERT INTO events (id, merchant_id, mode, sequence, type, body, created_at)"
        " VALUES (:id, :merchant, 'test', 0, :type, :body, :now)",
        id=event_id,
        merchant=merchant.id,
        type=body["type"],
        body=json.dumps(body).encode(),
        now=now,
    )

    found = (await client.get("/v1/events", params={"type": "webhook_endpoint.failing"})).json()["data"]

    assert [event["id"] for event in found] == [event_id]
    assert (await registered(client, events=["webhook_endpoint.failing"]))["events"] == [
        "webhook_endpoint.failing"
    ]
    assert (await client.get(f"/v1/events/{event_id}")).json() == body
    refused = await client.get("/v1/events", params={"type": "webhook_endpoint.ping"})
    assert wrong(refused) == (400, "invalid_request", "/type")
