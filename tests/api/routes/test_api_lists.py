"""Reading payments, refunds and events from a real Postgres: objects, pages and filters."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import insert, update
from starlette.requests import Request

from api.http.lists import read_query
from payonce.domain.answers import payment_view
from payonce.domain.operations import Operation, OperationKind, OperationStatus
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.settlement import Draft
from payonce.runtime import Runtime
from payonce.storage.driver.connection import Connection
from payonce.storage.payments import insert_operation, insert_payment
from payonce.storage.tables import idempotency_keys, webhook_deliveries
from payonce.storage.webhooks.endpoints import Endpoint, insert_endpoint
from tests.api.conftest import Merchant, a_merchant
from tests.api.fakes import NOW, a_payment
from tests.webhooks.shop import write_events

COUNT = 7


@dataclass
class Shop:
    """A merchant with payments (the newest first in `payments`), each with two events and a refund."""

    merchant: Merchant
    payments: list[Payment]

    @property
    def ids(self) -> list[str]:
        return [payment.id for payment in self.payments]


@pytest.fixture(scope="module")
async def shop(runtime: Runtime, merchant: Merchant, other_merchant: Merchant) -> Shop:
    async with runtime.database.transaction() as connection:
        endpoint = Endpoint(
            id="we_1",
            merchant_id=merchant.id,
            mode="test",
            url="https://shop.example/",
            events=("payment.captured",),
            description=None,
            ordered=False,
            enabled=True,
            created_at=NOW,
        )
        await insert_endpoint(connection, endpoint)
        made = [_payment(merchant, number) for number in range(COUNT)]
        for payment in [*made, replace(_payment(other_merchant, 0), id="pay_other")]:
            await insert_payment(connection, payment)
            await use_key(connection, payment)
            await _add_history(runtime, connection, payment)
    return Shop(merchant, sorted(made, key=lambda p: (p.created_at, p.id), reverse=True))


async def use_key(connection: Connection, payment: Payment) -> None:
    """The payment's key is known, as after its admission."""
    used = {
        "merchant_id": payment.merchant_id,
        "mode": payment.mode,
        "key": payment.idempotency_key,
        "fingerprint": b"",
        "fingerprint_version": 1,
        "operation_id": payment.id,
        "location": f"/v1/payments/{payment.id}",
        "request_id": "req_1",
        "created_at": payment.created_at,
    }
    await connection.execute(insert(idempotency_keys).values(used))


def _payment(merchant: Merchant, number: int) -> Payment:
    """Two of them each are of the same moment."""
    return a_payment(
        id=f"pay_{number}",
        merchant_id=merchant.id,
        status=PaymentStatus.CAPTURED if number % 2 else PaymentStatus.FAILED,
        merchant_reference=f"order-{number % 3}",
        idempotency_key=f"key-{number}",
        created_at=NOW + timedelta(seconds=number // 2),
        amount_authorized_minor=1099,
        amount_captured_minor=1099,
    )


async def _add_history(runtime: Runtime, connection: Any, payment: Payment) -> None:
    drafts = [
        Draft("payment.authorized", 1, payment_view(payment)),
        Draft("payment.captured", 2, payment_view(payment)),
    ]
    await write_events(connection, payment, drafts, ids=runtime.ids, now=payment.created_at)
    refund = Operation(
        id=payment.id.replace("pay_", "re_"),
        payment_id=payment.id,
        merchant_id=payment.merchant_id,
        mode=payment.mode,
        kind=OperationKind.REFUND,
        amount_minor=1,
        currency=payment.currency,
        created_at=payment.created_at,
        updated_at=payment.created_at,
        status=OperationStatus.SUCCEEDED if payment.id == "pay_1" else OperationStatus.PENDING,
    )
    capture = replace(
        refund, id=payment.id + "_op", kind=OperationKind.CAPTURE, status=OperationStatus.SUCCEEDED
    )
    for operation in (refund, capture):
        await insert_operation(connection, operation, sweep_at=NOW + timedelta(days=9))


async def _pages(
    client: httpx.AsyncClient, path: str, *, cursor: str, **query: Any
) -> AsyncIterator[list[Any]]:
    """Every page, following the cursor in its direction."""
    position: dict[str, str] = {}
    for _ in range(COUNT + 1):
        page = (await client.get(path, params={**query, **position})).raise_for_status().json()
        assert page["object"] == "list"
        yield page["data"]
        if not page["has_more"]:
            return
        position = {cursor: page["data"][-1 if cursor == "starting_after" else 0]["id"]}
    raise AssertionError("the list has no end")


async def _listed(client: httpx.AsyncClient, path: str = "/v1/payments", **query: Any) -> list[str]:
    response = await client.get(path, params=query)
    return [each["id"] for each in response.raise_for_status().json()["data"]]


async def test_a_payment_is_shown_as_the_contract_says(client: httpx.AsyncClient, shop: Shop) -> None:
    response = await client.get("/v1/payments/pay_1")
    assert response.json() == payment_view(shop.payments[shop.ids.index("pay_1")])
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/payments/pay_other",
        "/v1/payments/pay_none",
        "/v1/payments/pay_other/events",
        "/v1/payments/pay_other/refunds",
        "/v1/refunds/re_other",
        "/v1/refunds/pay_1_op",
        "/v1/events/evt_none",
        "/v1/webhook_endpoints/we_none",
    ],
)
async def test_another_merchant_s_object_is_not_there(
    client: httpx.AsyncClient, shop: Shop, path: str
) -> None:
    theirs = await client.get(path)
    missing = await client.get("/v1/payments/pay_none")
    without_id = {**theirs.json(), "request_id": None}
    assert (theirs.status_code, without_id) == (404, {**missing.json(), "request_id": None})


async def test_payments_are_listed_newest_first(client: httpx.AsyncClient, shop: Shop) -> None:
    assert await _listed(client) == shop.ids


@pytest.mark.parametrize("limit", [1, 2, 3, COUNT, 100])
async def test_pages_join_without_gap_or_repetition(
    client: httpx.AsyncClient, shop: Shop, limit: int
) -> None:
    found = [page async for page in _pages(client, "/v1/payments", cursor="starting_after", limit=limit)]
    assert [each["id"] for page in found for each in page] == shop.ids
    assert all(len(page) <= limit for page in found)


async def test_pages_backwards_join_too(client: httpx.AsyncClient, shop: Shop) -> None:
    query = {"ending_before": shop.ids[-1], "limit": 2}
    page = (await client.get("/v1/payments", params=query)).json()
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (shop.ids[-3:-1], True)
    first = (await client.get("/v1/payments", params={"ending_before": shop.ids[2], "limit": 2})).json()
    assert ([each["id"] for each in first["data"]], first["has_more"]) == (shop.ids[:2], False)


async def test_a_page_stays_where_it_is_when_payments_are_added(
    client: httpx.AsyncClient, runtime: Runtime, shop: Shop
) -> None:
    query = {"starting_after": shop.ids[1], "limit": 2}
    before = await _listed(client, **query)
    newer = replace(shop.payments[0], id="pay_newer", mode="test", created_at=NOW + timedelta(days=1))
    async with runtime.database.transaction() as connection:
        await insert_payment(connection, newer)
    shop.payments.insert(0, newer)
    assert await _listed(client, **query) == before
    assert (await _listed(client))[0] == "pay_newer"


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"status": "failed"}, lambda p: p.status == "failed"),
        ({"merchant_reference": "order-1"}, lambda p: p.merchant_reference == "order-1"),
        ({"idempotency_key": "key-3"}, lambda p: p.id == "pay_3"),
        ({"status": "captured", "merchant_reference": "order-0"}, lambda p: p.id == "pay_3"),
        ({"created_after": "2026-11-22T05:46:01Z"}, lambda p: p.created_at >= NOW + timedelta(seconds=1)),
        ({"created_before": "2026-11-22T05:46:01.000Z"}, lambda p: p.created_at < NOW + timedelta(seconds=1)),
        (
            {"created_after": "2026-11-22T11:16:01+05:30"},
            lambda p: p.created_at >= NOW + timedelta(seconds=1),
        ),
        (
            {"created_before": "2026-11-23T04:10:01+22:24"},
            lambda p: p.created_at < NOW + timedelta(seconds=1),
        ),
        ({"created_after": "0001-01-01T00:00:00+22:24", "created_before": "9999-12-31T23:59:59-22:24"}, bool),
        (
            {"created_after": "2027-01-01T00:00:00Z", "created_before": "2026-01-01T00:00:00Z"},
            lambda p: False,
        ),
        ({"merchant_reference": ""}, lambda p: False),
    ],
)
async def test_filters_narrow_the_list(
    client: httpx.AsyncClient, shop: Shop, query: dict[str, str], wanted: Any
) -> None:
    made = [payment for payment in shop.payments if payment.id != "pay_newer"]
    found = [each for each in await _listed(client, **query) if each != "pay_newer"]
    assert found == [payment.id for payment in made if wanted(payment)]


async def test_a_plus_that_became_a_space_is_understood(client: httpx.AsyncClient, shop: Shop) -> None:
    response = await client.get("/v1/payments?created_before=2026-11-22T11:16:01+05:30")
    assert [each["id"] for each in response.json()["data"]] == ["pay_1", "pay_0"]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("limit=-1", "limit"),
        ("limit=1&limit=2", "limit"),
        ("starting_after=pay_1&ending_before=pay_2", "ending_before"),
        ("starting_after=pay_none", "starting_after"),
        ("starting_after=", "starting_after"),
        ("ending_before=pay_other", "ending_before"),
        ("starting_after=%00", "starting_after"),
        ("status=paid", "status"),
        ("created_after=yesterday", "created_after"),
        ("created_after=2026-02-30T00:00:00Z", "created_after"),
        ("created_before=2026-01-01", "created_before"),
        ("merchant_reference=%00", "merchant_reference"),
        ("page=2", "page"),
    ],
)
async def test_a_wrong_parameter_is_named(
    client: httpx.AsyncClient, shop: Shop, query: str, parameter: str
) -> None:
    response = await client.get(f"/v1/payments?{query}")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert response.json()["errors"][0]["pointer"] == f"/{parameter}"


SPELLINGS = {
    "key-3": [
        "key-3",
        "%22key-3%22",
        "%27key-3%27",
        '"key-3"',
        "%20key-3",
        "key-3%0A",
        "%22key-3%22;x=1",
        "key%2D3",
        "key%252D3",
    ],
    "a+b": ["a%2Bb", "a+b", "%22a%2Bb%22", "%22a+b%22"],
    "a,b": ["a,b", "%22a,b%22", "a%2Cb"],
    'q"u"o': ["q%22u%22o", "%22q%5C%22u%5C%22o%22"],
    '"in-quotes"': ["%22in-quotes%22", "%22%5C%22in-quotes%5C%22%22"],
    "100%25": ["100%2525"],
    "a%2Bb": ["a%252Bb"],
}


@pytest.fixture(scope="module")
async def spelled(runtime: Runtime) -> Merchant:
    """A merchant whose payments have keys and references that are hard to spell, and the same."""
    merchant = await a_merchant(runtime, "Spelled")
    async with runtime.database.transaction() as connection:
        for number, name in enumerate(SPELLINGS):
            payment = a_payment(
                id=f"pay_spelled{number}",
                merchant_id=merchant.id,
                idempotency_key=name,
                merchant_reference=REFERENCES[number],
            )
            await insert_payment(connection, payment)
            await use_key(connection, payment)
    return merchant


REFERENCES = ("order 7", " padded ", "Zo\u00eb", "a+b", "'quoted'", "50%25", "x" * 100)
REFERENCES_SPELLED = {
    "order 7": ["order+7", "order%207", "%22order+7%22", "order%25207", "order+7+", "%0Aorder+7"],
    " padded ": ["+padded+", "%20padded%20"],
    "Zo\u00eb": ["Zo%C3%AB", "Zoe%CC%88", "Zo%25C3%25AB"],
    "a+b": ["a%2Bb", "a+b"],
    "'quoted'": ["'quoted'", "%27quoted%27"],
    "50%25": ["50%2525"],
    "x" * 100: ["x" * 100, "%22" + "x" * 100 + "%22"],
}


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        ("idempotency_key", value, number)
        for number, spellings in enumerate(SPELLINGS.values())
        for value in spellings
    ]
    + [
        ("merchant_reference", value, number)
        for number, spellings in enumerate(REFERENCES_SPELLED.values())
        for value in spellings
    ],
)
async def test_a_look_up_finds_the_payment_however_it_is_spelled(
    client: httpx.AsyncClient, spelled: Merchant, name: str, value: str, number: int
) -> None:
    response = await client.get(f"/v1/payments?{name}={value}", headers=spelled.headers)
    assert [each["id"] for each in response.raise_for_status().json()["data"]] == [f"pay_spelled{number}"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("idempotency_key=", "visible ASCII"),
        ("idempotency_key=a%20b%C3%A9", "visible ASCII"),
        ("idempotency_key=" + "k" * 256, "visible ASCII"),
        ("merchant_reference=" + "x" * 101, "at most 100"),
        ("merchant_reference=%FF", "not UTF-8"),
        ("idempotency-key=k", "not a parameter"),
        ("Idempotency_Key=k", "not a parameter"),
        ("&".join(f"a{n}=1" for n in range(51)), "more than 50 parameters"),
    ],
)
async def test_what_can_be_no_spelling_is_refused_in_words(
    client: httpx.AsyncClient, shop: Shop, query: str, words: str
) -> None:
    response = await client.get(f"/v1/payments?{query}")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert words in response.json()["detail"]


async def test_a_key_as_it_was_sent_goes_before_the_same_with_quotes_of_its_own(
    client: httpx.AsyncClient, runtime: Runtime, shop: Shop
) -> None:
    """`"key-2"` finds what `key-2` finds, although a key has these quotes in it."""
    async with runtime.database.transaction() as connection:
        odd = replace(shop.payments[0], id="pay_odd", mode="test", idempotency_key='"key-2"')
        await use_key(connection, odd)
    assert await _listed(client, idempotency_key='"key-2"') == ["pay_2"]


@pytest.mark.parametrize("spelling", ["PAY_1", "Pay_1", "%20pay_1", "pay_1%0A", "%22pay_1%22", "pay%5F1"])
async def test_an_id_is_found_however_it_is_spelled(
    client: httpx.AsyncClient, shop: Shop, spelling: str
) -> None:
    assert (await client.get(f"/v1/payments/{spelling}")).raise_for_status().json()["id"] == "pay_1"
    assert (await client.get(f"/v1/payments/{spelling}/events")).raise_for_status().json()["data"]
    page = await client.get(f"/v1/payments?starting_after={spelling}&limit=1")
    assert page.raise_for_status().json()["data"][0]["id"] == "pay_0"


def test_a_query_that_is_not_encoded_is_read_as_it_is() -> None:
    assert read_query(_request("merchant_reference=Zo\u00eb".encode()), "merchant_reference")[1] == {
        "merchant_reference": "Zo\u00eb"
    }


def _request(query: bytes) -> Request:
    return Request({"type": "http", "query_string": query, "headers": []})


async def test_lists_and_look_ups_take_no_connection_that_payments_use(
    client: httpx.AsyncClient, app: FastAPI, runtime: Runtime, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does finding out who asks."""
    for name in ("reading", "transaction"):
        monkeypatch.setattr(runtime.database, name, None)
    described = app.openapi()["paths"]
    paths = {path for path, methods in described.items() if path.startswith("/v1") and "get" in methods}
    assert len(paths) >= 12
    for path in paths - {"/v1/events/stream"}:
        for id_ in ("pay_1", "re_1", "we_1", "evt_none"):
            response = await client.get(path.replace("{id}", id_))
            assert response.status_code in (200, 404, 409), path  # 409: nothing captured, so no receipt


async def test_refunds_are_listed_of_all_payments_of_one_and_by_status(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    assert len(await _listed(client, "/v1/refunds")) == COUNT
    assert await _listed(client, "/v1/refunds", status="succeeded") == ["re_1"]
    assert await _listed(client, "/v1/payments/pay_2/refunds") == ["re_2"]
    assert (await client.get("/v1/refunds?status=lost")).status_code == 400
    refund = (await client.get("/v1/refunds/re_1")).json()
    assert (refund["object"], refund["payment"], refund["status"]) == ("refund", "pay_1", "succeeded")


async def test_a_cursor_of_another_payment_s_list_is_unknown(client: httpx.AsyncClient, shop: Shop) -> None:
    response = await client.get("/v1/payments/pay_2/refunds?starting_after=re_1")
    assert response.status_code == 400


async def test_a_payment_s_events_are_listed_oldest_first(client: httpx.AsyncClient, shop: Shop) -> None:
    pages = [p async for p in _pages(client, "/v1/payments/pay_1/events", cursor="starting_after", limit=1)]
    assert [(each["sequence"], each["type"]) for page in pages for each in page] == [
        (1, "payment.authorized"),
        (2, "payment.captured"),
    ]


async def test_an_event_has_the_same_bytes_everywhere(client: httpx.AsyncClient, shop: Shop) -> None:
    listed = await client.get("/v1/payments/pay_1/events?limit=1")
    event = await client.get(f"/v1/events/{listed.json()['data'][0]['id']}")
    assert event.content in listed.content


async def test_events_are_listed_newest_first_and_within_a_moment_by_sequence(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    pages = [page async for page in _pages(client, "/v1/events", cursor="starting_after", limit=5)]
    found = [(each["timestamp"], each["sequence"]) for page in pages for each in page]
    assert len(found) == 2 * COUNT
    assert found == sorted(found, reverse=True)


async def test_events_are_filtered_by_type_time_and_delivery(
    client: httpx.AsyncClient, runtime: Runtime, shop: Shop
) -> None:
    assert len(await _listed(client, "/v1/events", type="payment.captured")) == COUNT
    late = "2026-11-22T05:46:03Z"
    assert len(await _listed(client, "/v1/events", created_after=late)) == 2
    waiting = await _listed(client, "/v1/events", delivered="false")
    assert len(waiting) == COUNT
    async with runtime.database.transaction() as connection:
        done = update(webhook_deliveries).where(webhook_deliveries.c.event_id == waiting[0])
        await connection.execute(done.values(status="succeeded"))
    assert len(await _listed(client, "/v1/events", delivered="false")) == COUNT - 1
    assert waiting[0] in await _listed(client, "/v1/events", delivered="true")
    for query in ("type=payment.lost", "delivered=maybe"):
        assert (await client.get(f"/v1/events?{query}")).status_code == 400
