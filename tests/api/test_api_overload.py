"""Too many requests: who is refused, how fast, and what becomes of the others and of the keys."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from api import gate, limits
from api.admission import Admission
from api.app import build_app
from api.bodies import BODY_WAIT_S
from api.commands import NewPayment, Post
from api.outcomes import Result
from payonce.domain.answers import Answer, AnswerKind, encode
from payonce.runtime import Runtime
from payonce.storage import idempotency
from payonce.storage.idempotency import Key
from tests.api.conftest import Merchant
from tests.api.fakes import FakeAdmission, payment_body
from tests.support.eventually import eventually

CREATE = "/v1/payments"
CAPTURE = "/v1/payments/pay_a1/capture"
NOBODY = "redis://127.0.0.1:1"

Tasks = list["asyncio.Task[httpx.Response]"]


class Busy(FakeAdmission):
    """Every request waits until it is let go, and keeps its place so long."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.entered: list[Post] = []

    async def create_payment(self, post: Post, payment: NewPayment) -> Result:
        self.entered.append(post)
        await self.go.wait()
        return await super().create_payment(post, payment)


@pytest.fixture
def admission() -> Busy:
    return Busy()


@pytest.fixture(autouse=True)
def nobody_waits_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CALM_WAIT_S", 0.05)


def client_of(app: FastAPI, merchant: Merchant) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=cast("Any", app))
    return httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=merchant.headers)


async def ask(client: httpx.AsyncClient, path: str, key: str) -> httpx.Response:
    body = payment_body() if path == CREATE else {}
    return await client.post(path, json=body, headers={"Idempotency-Key": key})


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, str(response.json()["code"])


@pytest.fixture
async def full(client: httpx.AsyncClient, admission: Busy) -> AsyncIterator[Tasks]:
    """As many creates as may work at once are under way, with the keys `busy-0` and so on."""
    tasks = [
        asyncio.create_task(ask(client, CREATE, f"busy-{number}")) for number in range(limits.LIMIT_START)
    ]

    async def entered() -> bool:
        return len(admission.entered) == limits.LIMIT_START

    await eventually(entered)
    yield tasks
    admission.go.set()
    await asyncio.gather(*tasks)


async def test_what_finds_no_place_is_refused_and_the_others_end_well(
    client: httpx.AsyncClient, admission: Busy, full: Tasks
) -> None:
    refused = await asyncio.gather(*(ask(client, CREATE, f"more-{number}") for number in range(20)))
    assert {code_of(response) for response in refused} == {(503, "unavailable")}
    assert {response.headers["Retry-After"] for response in refused} == {"1"}
    assert all("Request-Id" in response.headers for response in refused)
    assert len(admission.entered) == limits.LIMIT_START
    assert all(post.place and not post.place.only_known for post in admission.entered)
    admission.go.set()
    assert {response.status_code for response in await asyncio.gather(*full)} == {201}
    again = await ask(client, CREATE, "more-0")  # the key is free, and there is room
    assert (again.status_code, "Idempotent-Replayed" in again.headers) == (201, False)


async def test_a_burst_that_drains_is_served(
    client: httpx.AsyncClient, admission: Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CALM_WAIT_S", 10.0)
    admission.go.set()
    answers = await asyncio.gather(*(ask(client, CREATE, f"burst-{number}") for number in range(60)))
    assert Counter(response.status_code for response in answers) == {201: 60}


async def test_captures_get_through_while_creates_are_refused(client: httpx.AsyncClient, full: Tasks) -> None:
    create, capture = await asyncio.gather(ask(client, CREATE, "new"), ask(client, CAPTURE, "capture"))
    assert code_of(create) == (503, "unavailable")
    assert capture.status_code == 201  # as the fake answers everything


async def test_a_key_that_is_under_way_is_never_said_to_be_unavailable(
    client: httpx.AsyncClient, full: Tasks
) -> None:
    """Its 503 would say that nothing was admitted, while the first request is."""
    assert code_of(await ask(client, CREATE, "busy-0")) == (409, "idempotency_key_in_use")


async def test_a_known_key_gets_its_answer_where_a_new_one_is_refused(
    runtime: Runtime, client: httpx.AsyncClient, merchant: Merchant, admission: Busy
) -> None:
    await _use(runtime, merchant, "known")
    admission.go.set()
    assert (await ask(client, CREATE, "known")).status_code == 201
    admission.go.clear()
    busy = [asyncio.create_task(ask(client, CREATE, f"b-{number}")) for number in range(limits.LIMIT_START)]

    async def entered() -> bool:
        return len(admission.entered) == limits.LIMIT_START + 1

    await eventually(entered)
    known = asyncio.create_task(ask(client, CREATE, "known"))

    async def let_through() -> bool:
        return len(admission.entered) == limits.LIMIT_START + 2

    await eventually(let_through)
    place = admission.entered[-1].place
    assert place is not None
    assert place.only_known
    assert code_of(await ask(client, CREATE, "unknown")) == (503, "unavailable")
    admission.go.set()
    assert (await known).headers["Idempotent-Replayed"] == "true"
    await asyncio.gather(*busy)


async def _use(runtime: Runtime, merchant: Merchant, key: str) -> None:
    """The key is in Postgres, answered."""
    async with runtime.database.transaction() as connection:
        row = Key(
            merchant_id=merchant.id,
            mode="test",
            key=key,
            fingerprint=b"f",
            operation_id=None,
            location="",
            request_id="req_1",
            created_at=datetime.now(UTC),
        )
        assert await idempotency.claim_key(connection, row)
        answer = Answer(AnswerKind.PAYMENT, encode({}))
        await idempotency.answer_key(connection, row, answer=answer, location="/v1/payments/pay_a1")


async def test_where_keys_cannot_be_looked_up_nothing_is_said_of_them(
    client: httpx.AsyncClient, full: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "LOOK_UPS_MAX", 0)
    response = await ask(client, CREATE, "new")
    assert code_of(response) == (429, "rate_limited")
    assert int(response.headers["Retry-After"]) >= 1


async def test_reads_and_health_are_answered_while_there_is_no_place(
    client: httpx.AsyncClient, full: Tasks
) -> None:
    for path in ("/livez", "/metrics", "/v1/payments"):
        assert (await client.get(path)).status_code == 200


async def test_a_body_that_does_not_come_keeps_no_place(client: httpx.AsyncClient, admission: Busy) -> None:
    admission.go.set()
    sent, asked_for = asyncio.Event(), 0

    async def slowly() -> AsyncIterator[bytes]:
        nonlocal asked_for
        asked_for += 1
        await sent.wait()
        yield b"{}"

    headers = {"Content-Type": "application/json"}
    waiting = [
        asyncio.create_task(
            client.post(CREATE, content=slowly(), headers=headers | {"Idempotency-Key": f"s{n}"})
        )
        for n in range(3 * limits.LIMIT_START)
    ]

    async def all_are_read() -> bool:
        return asked_for == len(waiting)

    await eventually(all_are_read, timeout_s=BODY_WAIT_S / 2)
    assert (await ask(client, CREATE, "whole")).status_code == 201
    sent.set()
    await asyncio.gather(*waiting)


Limited = Callable[..., httpx.AsyncClient]


@pytest.fixture
async def limited(runtime: Runtime, admission: Busy, merchant: Merchant) -> AsyncIterator[Limited]:
    """A client of a process with these rates."""
    admission.go.set()
    opened: list[Redis] = []

    def make(redis_url: str, **rates: float) -> httpx.AsyncClient:
        settings = runtime.settings.model_copy(update=rates)
        redis = Redis.from_url(redis_url)
        opened.append(redis)
        app = build_app(replace(runtime, settings=settings, redis=redis), cast("Admission", admission), {})
        return client_of(app, merchant)

    yield make
    for redis in opened:
        await redis.aclose()


@pytest.mark.parametrize("with_redis", [True, False])
async def test_more_than_a_merchants_rate_is_429_and_ends_by_itself(
    limited: Limited, valkey_url: str, with_redis: bool
) -> None:
    url = valkey_url if with_redis else NOBODY
    async with limited(url, merchant_writes_per_s=10.0, merchant_writes_burst=5) as client:
        assert (await ask(client, CREATE, "first")).status_code == 201
        answers = await asyncio.gather(*(ask(client, CREATE, f"{url}-{number}") for number in range(20)))
        refused = [response for response in answers if response.status_code != 201]
        assert len(refused) >= 10
        assert {code_of(response) for response in refused} == {(429, "rate_limited")}
        assert all(int(response.headers["Retry-After"]) >= 1 for response in refused)
        assert (await client.get("/v1/payments")).status_code == 200  # reads have a rate of their own
        assert (await client.get("/livez")).status_code == 200

        async def served() -> bool:
            return (await ask(client, CREATE, "again")).status_code == 201

        await eventually(served)


async def test_two_processes_share_the_rate(
    limited: Limited, other_merchant: Merchant, valkey_url: str
) -> None:
    rates = {"merchant_writes_per_s": 0.01, "merchant_writes_burst": 6}
    async with limited(valkey_url, **rates) as one, limited(valkey_url, **rates) as other:
        for client in (one, other):
            client.headers.update(other_merchant.headers)
            await ask(client, CREATE, "first")  # a process charges an API key that it knows
        answers = [await ask(client, CREATE, f"k{number}") for number in range(5) for client in (one, other)]
    assert Counter(response.status_code for response in answers) == {201: 6, 429: 4}
