"""An idempotency key in which a card number may stand is stored as a keyed hash, and means what it meant."""

from datetime import UTC, datetime

import httpx
import pytest
from sqlalchemy import insert, select

from api.http import key_header
from payonce.domain.card_numbers import looks_like_card_number, may_hold_card_number
from payonce.runtime import Runtime
from payonce.storage import tables
from payonce.storage.merchants import Caller
from payonce.storage.payments import insert_payment
from tests.api.conftest import Merchant, a_merchant
from tests.api.fakes import a_payment

PATH = "/v1/webhook_endpoints"
BODY = {"url": "https://93.184.215.14/hooks"}
# An article's number, a phone number, an order's day before a number, and what was drawn at random.
UNSURE = ["4007782860002", "+4915123456788", "261122-0012345678", "4242424242424242a0b1c2d3"]


def caller_of(merchant: Merchant) -> Caller:
    return Caller(merchant.id, "test")


def form_of(runtime: Runtime, merchant: Merchant, key: str) -> str | None:
    secret = runtime.settings.secret_for("idempotency_keys")
    return key_header.hashed(key, caller=caller_of(merchant), secret=secret)


async def stored_keys(runtime: Runtime, merchant: Merchant) -> list[str]:
    keys = tables.idempotency_keys
    async with runtime.database.transaction() as connection:
        found = await connection.execute(select(keys.c.key).where(keys.c.merchant_id == merchant.id))
    return [row.key for row in found]


async def create(client: httpx.AsyncClient, merchant: Merchant, key: str) -> httpx.Response:
    return await client.post(PATH, json=BODY, headers={**merchant.headers, "Idempotency-Key": key})


@pytest.fixture
async def shop(runtime: Runtime) -> Merchant:
    return await a_merchant(runtime, "Keys")


def with_a_check_digit(key: str) -> str:
    """The key as it is, or with other last digits, so that it may hold a card number and does not show one."""
    candidates = (key, *(f"{key[:-2]}{number:02}" for number in range(100)))
    return next(
        each for each in candidates if may_hold_card_number(each) and not looks_like_card_number(each)
    )


@pytest.mark.parametrize("key", [with_a_check_digit(key) for key in UNSURE])
async def test_a_key_that_may_hold_a_card_number_is_never_stored_in_the_clear(
    client: httpx.AsyncClient, runtime: Runtime, shop: Merchant, key: str
) -> None:
    first, second = await create(client, shop, key), await create(client, shop, f'"{key}"')
    assert (first.status_code, second.content) == (201, first.content)
    assert second.headers["idempotent-replayed"] == "true"
    assert await stored_keys(runtime, shop) == [form_of(runtime, shop, key)]
    assert runtime.ids.endpoint(merchant_id=shop.id, mode="test", key=key) == first.json()["id"]


async def test_other_keys_are_stored_as_they_are(
    client: httpx.AsyncClient, runtime: Runtime, shop: Merchant
) -> None:
    keys = ["order-7", "1764000000000", "00000000-0000-4000-8000-00000000000a", "k" * 255]
    for key in keys:
        assert (await create(client, shop, key)).status_code == 201
    assert sorted(await stored_keys(runtime, shop)) == sorted(keys)


async def add_key(runtime: Runtime, shop: Merchant, key: str, **columns: str) -> None:
    """A key that was used before, in the form that is stored."""
    values = {
        "merchant_id": shop.id,
        "mode": "test",
        "key": key,
        "fingerprint": b"of another request",
        "fingerprint_version": 1,
        "request_id": "req_1",
        "created_at": datetime.now(UTC),
        "answered_at": datetime.now(UTC),
        "answer_kind": "endpoint",
        "answer_body": b"{}",
        **columns,
    }
    async with runtime.database.transaction() as connection:
        await connection.execute(insert(tables.idempotency_keys).values(values))


async def test_a_key_that_was_stored_in_the_clear_before_means_what_it_meant(
    client: httpx.AsyncClient, runtime: Runtime, shop: Merchant
) -> None:
    key = UNSURE[0]
    await add_key(runtime, shop, key, location="/v1/webhook_endpoints/we_1")
    response = await create(client, shop, key)
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
    assert await stored_keys(runtime, shop) == [key]


@pytest.mark.parametrize("hashed", [True, False])
async def test_a_payment_is_found_by_such_a_key_however_it_is_stored(
    client: httpx.AsyncClient, runtime: Runtime, shop: Merchant, hashed: bool
) -> None:
    key = UNSURE[0]
    stored = form_of(runtime, shop, key) if hashed else key
    payment = a_payment(id=f"pay_{shop.id}", merchant_id=shop.id, idempotency_key=stored)
    async with runtime.database.transaction() as connection:
        await insert_payment(connection, payment)
    await add_key(runtime, shop, str(stored), location=f"/v1/payments/{payment.id}", operation_id=payment.id)
    found = await client.get("/v1/payments", params={"idempotency_key": key}, headers=shop.headers)
    assert [each["id"] for each in found.json()["data"]] == [payment.id]


async def test_what_is_stored_of_a_key_is_the_merchants_own_and_no_key_itself(
    runtime: Runtime, merchant: Merchant, other_merchant: Merchant
) -> None:
    mine, others = (form_of(runtime, each, UNSURE[0]) for each in (merchant, other_merchant))
    assert mine is not None
    assert mine != others
    assert not key_header._KEY.fullmatch(mine)
