"""Recovery and replay over HTTP: jobs, and how they are handed over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import pytest
from temporalio.client import Client

from api.admission.admission import Admission
from api.app import build_app
from payonce.domain.errors import NotHandedOver
from payonce.domain.ids import random_id
from payonce.runtime import Runtime
from tests.api.conftest import Merchant
from tests.api.fakes import FakeAdmission
from tests.api.recorded import ENDPOINTS, execute, recorded, registered, rows, wrong
from workers.inbox import Inbox

pytestmark = pytest.mark.usefixtures("no_endpoints")


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
