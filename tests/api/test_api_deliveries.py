"""New secrets, pings, deliveries, redelivery and recovery over HTTP."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import pytest
from sqlalchemy import text
from temporalio.client import Client

from api.admission import Admission
from api.app import build_app
from payonce.domain.ids import random_id
from payonce.domain.settlement import Draft
from payonce.runtime import Runtime
from payonce.storage.outbox import add_events
from payonce.storage.payments import insert_payment
from payonce.storage.secrets import active_secrets
from payonce.webhooks.secrets import SigningSecrets
from payonce.webhooks.signing import public_key
from tests.api.conftest import Merchant
from tests.api.fakes import FakeAdmission, a_payment
from workers.callbacks import Inbox
from workers.dispatch import NotHandedOver

ENDPOINTS = "/v1/webhook_endpoints"
URL = "https://93.184.215.14/hooks"  # an address, so that no name is looked up


@pytest.fixture(autouse=True)
async def nothing_before(runtime: Runtime) -> None:
    """Every test begins without endpoints, events and what was made of them."""
    async with runtime.database.transaction() as connection:
        await connection.execute(text("TRUNCATE events, webhook_jobs, webhook_endpoints CASCADE"))


async def registered(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    """A new endpoint as its merchant sees it at creation."""
    headers = {"Idempotency-Key": random_id("key")}
    response = await client.post(ENDPOINTS, json={"url": URL, **body}, headers=headers)
    assert response.status_code == 201, response.text
    return dict(response.json())


async def recorded(
    runtime: Runtime, merchant: Merchant, *types: str, at: datetime | None = None
) -> list[str]:
    """The ids of a payment's events, recorded as the product does it."""
    now, id_ = at or datetime.now(UTC), random_id("pay")
    payment = a_payment(
        id=id_, merchant_id=merchant.id, idempotency_key=id_, created_at=now, amount_authorized_minor=1099
    )
    drafts = [Draft(type_, number, {"id": id_}) for number, type_ in enumerate(types, 1)]
    async with runtime.database.transaction() as connection:
        await insert_payment(connection, payment)
        await add_events(connection, payment, drafts, ids=runtime.ids, now=now)
    return [runtime.ids.event(payment_id=id_, sequence=draft.sequence) for draft in drafts]


async def execute(runtime: Runtime, statement: str, **parameters: Any) -> None:
    async with runtime.database.transaction() as connection:
        await connection.execute(text(statement), parameters)


async def rows(runtime: Runtime, query: str, **parameters: Any) -> list[dict[str, Any]]:
    async with runtime.database.transaction() as connection:
        return [dict(row) for row in (await connection.execute(text(query), parameters)).mappings()]


async def signing(runtime: Runtime, endpoint_id: str) -> tuple[str, ...]:
    """What the endpoint's deliveries are signed with now."""
    async with runtime.database.transaction() as connection:
        found = await active_secrets(connection, [endpoint_id])
    return SigningSecrets(runtime.sealer).of(found[endpoint_id])


def wrong(response: httpx.Response) -> tuple[int, str, str]:
    """Status, code and the first pointer of a refusal."""
    problem = response.json()
    return response.status_code, problem["code"], problem["errors"][0]["pointer"]


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


async def test_what_an_endpoint_missed_is_counted_and_recovered_by_a_job(
    client: httpx.AsyncClient, runtime: Runtime, merchant: Merchant
) -> None:
    now = datetime.now(UTC)
    since = now - timedelta(minutes=10)
    await recorded(runtime, merchant, "payment.captured", at=since - timedelta(seconds=1))
    await recorded(runtime, merchant, "payment.captured", "refund.succeeded", at=since)
    endpoint = await registered(client, events=["payment.captured"])
    (got,), (pending,), (exhausted,), (dropped,) = [
        await recorded(runtime, merchant, "payment.captured", at=now - timedelta(minutes=number))
        for number in range(1, 5)
    ]
    for event, status in ((got, "succeeded"), (exhausted, "exhausted"), (dropped, "dropped")):
        await execute(
            runtime,
            "UPDATE webhook_deliveries SET status = :status WHERE event_id = :id",
            id=event,
            status=status,
        )
    await client.post(f"{ENDPOINTS}/{endpoint['id']}/ping")
    assert pending

    path = f"{ENDPOINTS}/{endpoint['id']}/recover"
    response = await client.post(path, json={"since": since.isoformat()})

    assert (response.status_code, response.json()) == (202, {"count": 3})
    job = (await client.get(response.headers["location"])).json()
    assert {
        name: job[name] for name in ("object", "kind", "endpoint", "status", "total", "done", "types")
    } == {
        "object": "webhook_job",
        "kind": "recover",
        "endpoint": endpoint["id"],
        "status": "pending",
        "total": 3,
        "done": 0,
        "types": ["payment.captured"],
    }
    (row,) = await rows(runtime, "SELECT * FROM webhook_jobs")
    assert (row["id"], row["since"], row["merchant_id"]) == (job["id"], since, merchant.id)
    assert row["request_id"] == response.headers["request-id"]


async def test_under_one_key_there_is_one_recovery(client: httpx.AsyncClient, runtime: Runtime) -> None:
    endpoint = await registered(client)
    path, headers = f"{ENDPOINTS}/{endpoint['id']}/recover", {"Idempotency-Key": random_id("key")}
    since = datetime.now(UTC) - timedelta(minutes=10)
    other_spelling = since.astimezone().isoformat().replace("+00:00", "Z")

    first = await client.post(path, json={"since": since.isoformat()}, headers=headers)
    second = await client.post(path, json={"since": other_spelling}, headers=headers)

    assert (first.status_code, second.status_code, second.content) == (202, 202, first.content)
    assert first.headers["location"] == second.headers["location"]
    assert len(await rows(runtime, "SELECT id FROM webhook_jobs")) == 1


@pytest.mark.parametrize(
    "since",
    [
        datetime.now(UTC) + timedelta(days=1),
        datetime.now(UTC) - timedelta(days=31),
        "yesterday",
        "2026-02-30T00:00:00Z",
        1_760_000_000,
        None,
    ],
)
async def test_a_recovery_begins_in_the_last_30_days(
    client: httpx.AsyncClient, runtime: Runtime, since: Any
) -> None:
    path = f"{ENDPOINTS}/{(await registered(client))['id']}/recover"
    value = since.isoformat() if isinstance(since, datetime) else since

    assert wrong(await client.post(path, json={"since": value})) == (400, "invalid_request", "/since")
    assert await rows(runtime, "SELECT id FROM webhook_jobs") == []


async def test_a_range_is_replayed_by_type_whether_it_was_delivered_or_not(
    client: httpx.AsyncClient, runtime: Runtime, merchant: Merchant
) -> None:
    now = datetime.now(UTC)
    endpoint = await registered(client)
    for minutes in (3, 2, 1):
        await recorded(
            runtime, merchant, "payment.authorized", "payment.captured", at=now - timedelta(minutes=minutes)
        )
    await execute(runtime, "UPDATE webhook_deliveries SET status = 'succeeded', next_attempt_at = NULL")
    path = f"{ENDPOINTS}/{endpoint['id']}/replay"
    body = {
        "since": (now - timedelta(minutes=3)).isoformat(),
        "until": (now - timedelta(minutes=1)).isoformat(),
        "types": ["payment.captured"],
    }

    response = await client.post(path, json=body)

    assert (response.status_code, response.json()) == (202, {"count": 2})
    job = (await client.get(response.headers["location"])).json()
    assert (job["kind"], job["types"]) == ("replay", ["payment.captured"])
    backwards = await client.post(path, json={**body, "until": body["since"]})
    assert wrong(backwards) == (400, "invalid_request", "/since")
    assert (await client.post(path, json={**body, "types": ["webhook_endpoint.ping"]})).status_code == 400


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


async def test_another_merchant_s_job_is_not_there(
    client: httpx.AsyncClient, other_merchant: Merchant
) -> None:
    path = f"{ENDPOINTS}/{(await registered(client))['id']}/recover"
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    location = (await client.post(path, json={"since": since})).headers["location"]

    assert (await client.get(location)).status_code == 200
    assert (await client.get(location, headers=other_merchant.headers)).status_code == 404


@asynccontextmanager
async def handing_over(
    runtime: Runtime, merchant: Merchant, start_job: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API that hands jobs over so."""
    real = Admission(runtime, cast("Any", None))
    inbox = Inbox(runtime, cast("Client", None))
    app = build_app(runtime, cast("Admission", FakeAdmission(real=real)), {}, inbox, start_job)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://api", headers=merchant.headers
    ) as client:
        yield client


async def test_a_job_is_handed_over_once_after_its_commit(runtime: Runtime, merchant: Merchant) -> None:
    found: list[list[dict[str, Any]]] = []

    async def start(job_id: str) -> None:
        found.append(await rows(runtime, "SELECT id FROM webhook_jobs WHERE id = :id", id=job_id))

    async with handing_over(runtime, merchant, start) as client:
        path, headers = (
            f"{ENDPOINTS}/{(await registered(client))['id']}/recover",
            {"Idempotency-Key": random_id("k")},
        )
        since = {"since": (datetime.now(UTC) - timedelta(hours=1)).isoformat()}
        first = await client.post(path, json=since, headers=headers)
        await client.post(path, json=since, headers=headers)

    assert found == [[{"id": first.headers["location"].rpartition("/")[2]}]]


async def test_a_job_that_cannot_be_handed_over_is_accepted_all_the_same(
    runtime: Runtime, merchant: Merchant
) -> None:
    async def start(job_id: str) -> None:
        raise NotHandedOver("UNAVAILABLE")

    async with handing_over(runtime, merchant, start) as client:
        path = f"{ENDPOINTS}/{(await registered(client))['id']}/recover"
        since = {"since": (datetime.now(UTC) - timedelta(hours=1)).isoformat()}
        assert (await client.post(path, json=since)).status_code == 202

    (row,) = await rows(runtime, "SELECT state FROM webhook_jobs")
    assert row["state"] == "pending"


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
