"""Payments, endpoints and events that are there, and what Postgres holds of them."""

from datetime import UTC, datetime
from itertools import count
from typing import Any

import httpx
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

from payonce.domain.ids import random_id
from payonce.domain.payment import Payment
from payonce.domain.settlement import Draft
from payonce.runtime import Runtime
from payonce.storage.merchants import Merchant as StoredMerchant
from payonce.storage.payments import insert_payment
from tests.api.conftest import Merchant
from tests.api.fakes import a_payment
from tests.webhooks.shop import Shop, write_events

ENDPOINTS = "/v1/webhook_endpoints"
URL = "https://93.184.215.14/hooks"  # an address, so that no name is looked up
AUTHORIZED, CAPTURED = "payment.authorized", "payment.captured"
LINK = "upi://pay?pa=shop@sandbox&pn=Shop&tr=upi1&am=10.99&cu=INR&tn=Order"
ACTION = {
    "type": "upi_qr",
    "url": LINK,
    "image_url": "http://api.test/qr",
    "expires_at": "2026-11-22T05:46:30Z",
}
_NUMBERS = count()  # of payments: tests share a database


async def added(runtime: Runtime, merchant: Merchant, **changes: Any) -> Payment:
    paid = a_payment(merchant_id=merchant.id, **changes)
    async with runtime.database.transaction() as connection:
        await insert_payment(connection, paid)
    return paid


def shop_of(runtime: Runtime, merchant: Merchant) -> Shop:
    return Shop(runtime.database, "", StoredMerchant(merchant.id, "Shop", datetime.now(UTC)), _NUMBERS)


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
        return await write_events(connection, payment, drafts, ids=runtime.ids, now=now)


async def execute(runtime: Runtime, statement: str, **parameters: Any) -> None:
    """However long it takes: what a test fills a table with has none of the product's limits."""
    engine = create_async_engine(runtime.settings.database_url, poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.execute(text(statement), parameters)


async def rows(runtime: Runtime, query: str, **parameters: Any) -> list[dict[str, Any]]:
    async with runtime.database.transaction() as connection:
        return [dict(row) for row in (await connection.execute(text(query), parameters)).mappings()]


def wrong(response: httpx.Response) -> tuple[int, str, str]:
    """Status, code and the first pointer of a refusal."""
    problem = response.json()
    return response.status_code, problem["code"], problem["errors"][0]["pointer"]
