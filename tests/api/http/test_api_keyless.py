"""Requests that need no API key take nothing from those that have one.

The attacks as they were found, counted: renderings, drawings and look-ups made, and what a merchant got meanwhile.
"""

import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any, cast

import httpx
import pytest

from api import app as application
from api import front
from api.http import auth, lookups
from api.http.lookups import AT_ONCE, MISSES, Lookups, Remembered
from api.http.rate_limits import Rate, TooManyRequests
from api.routes import health, qr_codes
from payonce.domain.errors import NotFound
from payonce.domain.payment import PaymentStatus
from payonce.runtime import Runtime
from payonce.storage import merchants
from payonce.storage.driver import database, pool
from payonce.storage.driver.database import StorageUnavailable
from tests.api.conftest import Merchant, a_merchant, app_of
from tests.api.fakes import FakeAdmission
from tests.api.recorded import ACTION, added

MANY = 200
NewClient = Callable[[Rate], httpx.AsyncClient]


def _counted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[int]:
    """Grows with each call of it."""
    calls: list[int] = []
    does: Callable[..., Any] = getattr(owner, name)

    def doing(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        return does(*arguments, **options)

    monkeypatch.setattr(owner, name, doing)
    return calls


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found counts until the test ends, and an answer is waited for, however slow the machine is."""
    for module in (auth, health, qr_codes):
        monkeypatch.setattr(module, "MOMENT_S", 3600.0)
    monkeypatch.setattr(front, "AUTHENTICATION_S", 60.0)
    for reader in (front, qr_codes):
        monkeypatch.setattr(reader, "READ_S", 60.0)
    monkeypatch.setattr(database, "TRANSACTION_S", 60.0)
    monkeypatch.setattr(pool, "WAIT_S", 60.0)


@pytest.fixture
async def stranger(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Has no API key."""
    client.headers.pop("Authorization")
    return client


async def test_metrics_are_not_on_the_merchants_port(client: httpx.AsyncClient) -> None:
    response = await client.get("/metrics")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(("path", "maker"), [("/openapi.json", "document"), ("/docs", "page")])
async def test_a_document_is_made_once_however_often_it_is_asked_for(
    stranger: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, path: str, maker: str
) -> None:
    made = _counted(monkeypatch, application, maker)
    encoded = _counted(monkeypatch, application, "encode")
    answers = await asyncio.gather(*(stranger.get(path) for _ in range(MANY)))
    assert {answer.status_code for answer in answers} == {200}
    assert (
        len({answer.content for answer in answers})
        == len({answer.headers["ETag"] for answer in answers})
        == 1
    )
    assert len(made) <= 1
    assert len(encoded) <= 1


async def test_documents_are_sent_so_often_and_no_more(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has one already, and only asks, is told so as often as it likes."""
    monkeypatch.setattr(application, "DOCUMENTS", Rate(per_s=0.001, burst=3))
    transport = httpx.ASGITransport(app=cast("Any", app_of(runtime, FakeAdmission())))
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        answers = [await client.get(path) for path in ("/docs", "/openapi.json") * 3]
        assert [answer.status_code for answer in answers] == [200] * 3 + [429] * 3
        assert answers[-1].headers["Retry-After"]
        known = {"If-None-Match": answers[0].headers["ETag"]}
        assert (await client.get("/docs", headers=known)).status_code == 304


@pytest.fixture
async def code(runtime: Runtime, merchant: Merchant) -> str:
    """The path of a payment's QR code, which nobody has asked for."""
    id_ = f"pay_{uuid.uuid4().hex}"
    action = {**ACTION, "url": f"{ACTION['url']}&x={id_}"}
    status = PaymentStatus.REQUIRES_ACTION
    await added(runtime, merchant, id=id_, status=status, next_action=action)
    return f"/v1/payments/{id_}/qr"


async def test_a_qr_code_is_drawn_and_looked_up_once_however_often_it_is_asked_for(
    stranger: httpx.AsyncClient, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = _counted(monkeypatch, qr_codes, "_image")
    looked_up = _counted(monkeypatch, qr_codes, "payment_of_any_merchant")
    assert (await stranger.get(code)).status_code == 200
    answers = await asyncio.gather(*(stranger.get(code) for _ in range(MANY)))
    assert {answer.status_code for answer in answers} == {200}
    assert (len(drawn), len(looked_up)) == (1, 1)


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "code"])
async def test_who_has_the_bytes_already_gets_none(stranger: httpx.AsyncClient, code: str, path: str) -> None:
    path = code if path == "code" else path
    first = await stranger.get(path)
    etag = first.headers["ETag"]
    for named in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await stranger.get(path, headers={"If-None-Match": named})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    for named in ('"other"', etag.strip('"'), ""):
        again = await stranger.get(path, headers={"If-None-Match": named})
        assert (again.status_code, again.content) == (200, first.content)


async def test_drawings_are_bounded(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A merchant's own codes are many, too."""
    monkeypatch.setattr(qr_codes, "DRAWINGS", Rate(per_s=0.001, burst=3))
    found: list[int] = []
    made = qr_codes.Codes(runtime)
    for number in range(10):
        try:
            made._drawing(f"upi://pay?x={number}", qr_codes.SVG)
            found.append(200)
        except TooManyRequests:
            found.append(429)
    assert found == [200] * 3 + [429] * 7
    assert made._drawing("upi://pay?x=0", qr_codes.SVG).body.startswith(b"<?xml")


@pytest.fixture
def new_client(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> NewClient:
    """A client without a key, of a process that bounds look-ups so."""

    def make(misses: Rate) -> httpx.AsyncClient:
        monkeypatch.setattr(lookups, "MISSES", misses)
        transport = httpx.ASGITransport(app=cast("Any", app_of(runtime, FakeAdmission())))
        return httpx.AsyncClient(transport=transport, base_url="http://api.test")

    return make


def _unknown_key() -> dict[str, str]:
    return {"Authorization": f"Bearer sk_test_{uuid.uuid4().hex}"}


async def test_an_unknown_key_is_looked_up_once_in_a_moment(
    stranger: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = _counted(monkeypatch, merchants, "authenticate")
    headers = _unknown_key()
    first = await stranger.get("/v1/payments", headers=headers)
    answers = await asyncio.gather(*(stranger.get("/v1/payments", headers=headers) for _ in range(MANY)))
    assert {answer.status_code for answer in (first, *answers)} == {401}
    assert len(looked_up) == 1


async def test_unknown_keys_take_nothing_from_a_merchant_that_was_here_before(
    new_client: NewClient, merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 32 connections that tried keys, a payment took ten times as long."""
    client = new_client(Rate(per_s=0.001, burst=10))
    client.headers.update(merchant.headers)
    looked_up = _counted(monkeypatch, merchants, "authenticate")
    guesses = [client.get("/v1/payments", headers=_unknown_key()) for _ in range(MANY)]
    own = client.get("/v1/payments")
    assert (await client.get("/v1/payments")).status_code == 200
    found, *answers = await asyncio.gather(own, *guesses)
    assert found.status_code == 200
    assert sorted({answer.status_code for answer in answers}) == [401, 429]
    assert len(looked_up) == 1 + 10


async def test_payments_that_do_not_exist_are_looked_up_so_often_and_no_more(
    new_client: NewClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = new_client(Rate(per_s=0.001, burst=10))
    looked_up = _counted(monkeypatch, qr_codes, "payment_of_any_merchant")
    paths = [f"/v1/payments/pay_{uuid.uuid4().hex}/qr" for _ in range(MANY)]
    answers = await asyncio.gather(*(client.get(path) for path in paths))
    assert {answer.status_code for answer in answers} == {404, 429}
    for answer in answers:
        if answer.status_code == 429:
            assert answer.json()["code"] == "rate_limited"
            assert int(answer.headers["Retry-After"]) > 0
    assert len(looked_up) == 10


async def test_new_merchants_of_a_process_that_has_just_started_are_all_let_in(
    new_client: NewClient, runtime: Runtime
) -> None:
    """Only what finds nothing counts."""
    client = new_client(Rate(per_s=0.001, burst=AT_ONCE))
    shops = [await a_merchant(runtime, f"Shop {number}") for number in range(4 * AT_ONCE)]
    answers = await asyncio.gather(*(client.get("/v1/payments", headers=shop.headers) for shop in shops))
    assert [answer.status_code for answer in answers] == [200] * len(shops)


class TestLookups:
    async def test_so_many_run_at_a_time(self) -> None:
        found, release = Lookups(), asyncio.Event()
        inside = 0

        async def look() -> None:
            nonlocal inside
            async with found.one():
                inside += 1
                await release.wait()

        looking = [asyncio.create_task(look()) for _ in range(5 * AT_ONCE)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert inside == AT_ONCE
        release.set()
        await asyncio.gather(*looking)
        assert inside == 5 * AT_ONCE

    async def test_what_failed_is_no_miss(self) -> None:
        bound = Lookups(clock=lambda: 0.0)
        for _ in range(2 * MISSES.burst):
            with pytest.raises(StorageUnavailable):
                async with bound.one():
                    raise StorageUnavailable("away")

    async def test_misses_are_counted_until_time_passes(self) -> None:
        now = 0.0
        bound = Lookups(clock=lambda: now)

        async def miss() -> None:
            async with bound.one():
                raise NotFound

        for _ in range(MISSES.burst):
            with pytest.raises(NotFound):
                await miss()
        with pytest.raises(TooManyRequests):
            await miss()
        now = 1.0
        with pytest.raises(NotFound):
            await miss()

    def test_no_more_is_remembered_than_the_bound_and_no_longer_than_its_time(self) -> None:
        now = 0.0
        found = Remembered[str, int](1.0, most=2, clock=lambda: now)
        for number, key in enumerate("abc"):
            found.put(key, number)
        assert [found.get(key) for key in "abc"] == [None, 1, 2]
        now = 1.0
        assert [found.get(key) for key in "abc"] == [None, None, None]
        assert ["a" in found, "c" in found] == [False, True]
        found.drop("c")
        assert "c" not in found


async def test_dependencies_are_asked_once_in_a_moment(
    stranger: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [await stranger.get("/readyz") for _ in range(2)]
    pinged = _counted(monkeypatch, type(runtime.database), "ping")
    answers += await asyncio.gather(*(stranger.get("/readyz") for _ in range(MANY)))
    assert {json.dumps(answer.json()) for answer in answers} == {json.dumps(answers[0].json())}
    assert pinged == []
