"""With `PAYONCE_API_DATABASE_URL` the product serves API keys as a role that sees one merchant in one mode."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from psycopg import AsyncConnection
from psycopg.errors import InsufficientPrivilege

from devstack.stack import DevStack
from tests.e2e.merchant import Body, Merchant, answered, fresh_key, merchant_with
from tests.support.servers import running

ENDPOINTS = "/v1/webhook_endpoints"
LISTS = ("/v1/payments", "/v1/refunds", "/v1/events", "/v1/disputes", ENDPOINTS)
HOOK = "https://93.184.215.14/hooks"


@pytest.fixture(scope="module")
async def apart() -> AsyncIterator[DevStack]:
    """The whole product with both roles."""
    async with running() as whole:
        yield whole


@pytest.fixture
async def own(apart: DevStack) -> AsyncIterator[Merchant]:
    async with merchant_with(apart.api_url, apart.api_key) as merchant:
        yield merchant


@pytest.fixture
async def stranger(apart: DevStack) -> AsyncIterator[Merchant]:
    async with merchant_with(apart.api_url, apart.api_key_2) as merchant:
        yield merchant


async def test_a_merchant_is_served_as_with_one_role(
    apart: DevStack, own: Merchant, stranger: Merchant
) -> None:
    payment, refund, endpoint = await _went_through_all(own)
    paths = [
        *(f"/v1/payments/{payment['id']}{rest}" for rest in ("", "/refunds", "/attempts", "/events")),
        *(f"/v1/refunds/{refund['id']}", f"{ENDPOINTS}/{endpoint['id']}"),
        f"{ENDPOINTS}/{endpoint['id']}/deliveries",
    ]
    for path in paths:
        answered(await own.get(path), 200)
    for path in LISTS:
        spans = {"created_after": "2020-01-01T00:00:00Z"} if path in ("/v1/payments", "/v1/events") else {}
        listed = answered(await own.get(path, **spans), 200)
        assert listed["data"] or path == "/v1/disputes", path
    for path in paths:
        assert (await stranger.get(path)).status_code == httpx.codes.NOT_FOUND, path
    for path in LISTS:
        assert answered(await stranger.get(path), 200)["data"] == [], path
    await _managed(own, endpoint)
    assert not _refused(apart.log_dir)


async def _went_through_all(shop: Merchant) -> tuple[Body, Body, Body]:
    endpoint = answered(await shop.post(ENDPOINTS, {"url": HOOK}), 201)
    key = fresh_key()
    payment = await shop.paid(key=key, capture_method="manual")
    again = await shop.pay(key=key, capture_method="manual")
    assert (again.status_code, again.json()) == (201, payment)
    assert again.headers["Idempotent-Replayed"] == "true"
    await shop.captured(payment)
    refund = await shop.refunded(payment, amount=1)
    await shop.voided(await shop.authorized())
    assert (await shop.payment(payment))["status"] == "partially_refunded"
    return payment, refund, endpoint


async def _managed(shop: Merchant, endpoint: Body) -> None:
    path = f"{ENDPOINTS}/{endpoint['id']}"
    answered(await shop.post(f"{path}/rotate_secret"), 200)
    answered(await shop.post(f"{path}/ping"), 202)
    deleted = await shop.client.delete(path)
    assert deleted.status_code == httpx.codes.NO_CONTENT, deleted.text


def _refused(logs: Path) -> list[str]:
    """What Postgres would not let a process do."""
    said = (line for log in logs.glob("*.log") for line in log.read_text(errors="replace").splitlines())
    return [line for line in said if "permission denied" in line or "row-level security" in line]


async def test_only_who_sends_cards_may_take_them_out_of_the_vault(apart: DevStack) -> None:
    """By the login of each process, as it was started."""
    for name, may in (("api", True), ("worker", True), ("relay", False), ("renderer", False)):
        assert await _may_take(apart.environ_of(name)["PAYONCE_DATABASE_URL"]) is may, name


async def _may_take(url: str) -> bool:
    async with await AsyncConnection.connect(url.replace("+psycopg", "")) as connection:
        try:
            await connection.execute("SET ROLE payonce_sender")
        except InsufficientPrivilege:
            return False
        await connection.execute("SELECT * FROM vault.vault_take('vlt_1', 'mer_1', 'test', 'card')")
    return True
