"""Too many requests of one merchant: 429, and what it does not touch."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, cast

import httpx
import pytest
from redis.asyncio import Redis
from temporalio.client import Client

from api.admission.admission import Admission
from api.app import build_app
from payonce.runtime import Runtime
from tests.api.conftest import Merchant
from tests.api.fakes import FakeAdmission, payment_body
from tests.support.eventually import eventually
from workers.inbox import Inbox

CREATE = "/v1/payments"
NOBODY = "redis://127.0.0.1:1"

Limited = Callable[..., httpx.AsyncClient]


async def ask(client: httpx.AsyncClient, key: str) -> httpx.Response:
    return await client.post(CREATE, json=payment_body(), headers={"Idempotency-Key": key})


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, str(response.json()["code"])


@pytest.fixture
async def limited(runtime: Runtime, admission: FakeAdmission, merchant: Merchant) -> AsyncIterator[Limited]:
    """A client of a process with these rates."""
    opened: list[Redis] = []

    def make(redis_url: str, **rates: float) -> httpx.AsyncClient:
        settings = runtime.settings.model_copy(update=rates)
        redis = Redis.from_url(redis_url)
        opened.append(redis)
        process, inbox = (
            replace(runtime, settings=settings, redis=redis),
            Inbox(runtime, cast("Client", None)),
        )
        app = build_app(process, cast("Admission", admission), {}, inbox)
        transport = httpx.ASGITransport(app=cast("Any", app))
        return httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=merchant.headers)

    yield make
    for redis in opened:
        await redis.aclose()


@pytest.mark.parametrize("with_redis", [True, False])
async def test_more_than_a_merchants_rate_is_429_and_ends_by_itself(
    limited: Limited, valkey_url: str, with_redis: bool
) -> None:
    url = valkey_url if with_redis else NOBODY
    async with limited(url, merchant_writes_per_s=0.5, merchant_writes_burst=5) as client:
        answers = await asyncio.gather(*(ask(client, f"{url}-{number}") for number in range(20)))
        refused = [response for response in answers if response.status_code != 201]
        assert len(refused) >= 10
        assert {code_of(response) for response in refused} == {(429, "rate_limited")}
        assert all(int(response.headers["Retry-After"]) >= 1 for response in refused)
        assert (await client.get("/v1/payments")).status_code == 200  # reads have a rate of their own
        assert (await client.get("/livez")).status_code == 200

        async def served() -> bool:
            return (await ask(client, "again")).status_code == 201

        await eventually(served)


async def test_two_processes_share_the_rate(
    limited: Limited, other_merchant: Merchant, valkey_url: str
) -> None:
    rates = {"merchant_writes_per_s": 0.01, "merchant_writes_burst": 6}
    async with limited(valkey_url, **rates) as one, limited(valkey_url, **rates) as other:
        for client in (one, other):
            client.headers.update(other_merchant.headers)
        answers = [await ask(client, f"k{number}") for number in range(5) for client in (one, other)]
    assert Counter(response.status_code for response in answers) == {201: 6, 429: 4}


async def test_a_request_is_charged_once_and_one_without_a_valid_key_never(
    limited: Limited, merchant: Merchant
) -> None:
    async with limited(NOBODY, merchant_writes_per_s=0.01, merchant_writes_burst=1) as client:
        stranger = {"Authorization": "Bearer sk_test_" + "0" * 48, "Idempotency-Key": "s"}
        for _ in range(3):
            assert (await client.post(CREATE, json=payment_body(), headers=stranger)).status_code == 401
        assert (await ask(client, "one")).status_code == 201
        assert code_of(await ask(client, "two")) == (429, "rate_limited")
        assert (await client.delete("/v1/webhook_endpoints/we_none")).status_code == 429
