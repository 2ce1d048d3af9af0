"""Lists over HTTP: filters, cursors and pages that stay stable while rows are inserted."""

import asyncio
from datetime import datetime, timedelta

import pytest

from tests.e2e.merchant import Body, Merchant, answered, card, fresh_key, pointers, refused

PAGES_MAX = 50


async def pages(shop: Merchant, path: str, *, limit: int, **query: str) -> list[Body]:
    """Every object of the list, page by page."""
    found: list[Body] = []
    cursor: Body = {}
    for _ in range(PAGES_MAX):
        page = answered(await shop.get(path, limit=limit, **query, **cursor), 200)
        assert page["object"] == "list"
        assert len(page["data"]) <= limit
        found += page["data"]
        if not page["has_more"]:
            return found
        cursor = {"starting_after": page["data"][-1]["id"]}
    raise AssertionError(f"more than {PAGES_MAX} pages")


async def test_payments_are_listed_newest_first_in_pages(shop: Merchant) -> None:
    reference = fresh_key()
    made = [(await shop.paid(merchant_reference=reference))["id"] for _ in range(5)]
    for limit in (1, 2, 5, 100):
        listed = await pages(shop, "/v1/payments", limit=limit, merchant_reference=reference)
        assert [payment["id"] for payment in listed] == made[::-1]


async def test_pages_are_stable_while_payments_are_made(shop: Merchant) -> None:
    reference = fresh_key()
    made = [(await shop.paid(merchant_reference=reference))["id"] for _ in range(4)]
    first = answered(await shop.get("/v1/payments", limit=2, merchant_reference=reference), 200)
    newer = await shop.paid(merchant_reference=reference)
    cursor = first["data"][-1]["id"]
    second = await shop.get("/v1/payments", limit=2, merchant_reference=reference, starting_after=cursor)
    assert [payment["id"] for payment in second.json()["data"]] == [made[1], made[0]]
    before = await shop.get("/v1/payments", merchant_reference=reference, ending_before=made[3])
    assert [payment["id"] for payment in before.json()["data"]] == [newer["id"]]
    between = await shop.get("/v1/payments", limit=1, merchant_reference=reference, ending_before=made[1])
    assert [payment["id"] for payment in between.json()["data"]] == [made[2]]
    assert between.json()["has_more"] is True


async def test_payments_are_found_by_status_key_and_time(shop: Merchant) -> None:
    reference, key = fresh_key(), fresh_key()
    captured = answered(await shop.pay(merchant_reference=reference, key=key), 201)
    declined = card("4000000000000002")
    failed = (await shop.pay(merchant_reference=reference, payment_method=declined)).json()["payment"]
    manual = await shop.authorized(merchant_reference=reference)

    async def ids(**query: str) -> list[str]:
        page = answered(await shop.get("/v1/payments", merchant_reference=reference, **query), 200)
        return [payment["id"] for payment in page["data"]]

    assert await ids(status="captured") == [captured["id"]]
    assert await ids(status="failed") == [failed["id"]]
    assert await ids(status="authorized") == [manual["id"]]
    assert await ids(idempotency_key=key) == [captured["id"]]
    assert (await ids(created_after=captured["created_at"]))[-1:] == [captured["id"]]
    first = datetime.fromisoformat(captured["created_at"])
    assert await ids(created_before=first.isoformat().replace("+00:00", "Z")) == []
    assert await ids(created_after=(first + timedelta(hours=1)).isoformat()) == []
    assert len(await ids(created_before=(first + timedelta(hours=1)).isoformat())) == 3


async def test_a_merchant_sees_only_its_own(shop: Merchant, other_shop: Merchant) -> None:
    reference = fresh_key()
    payment = await shop.paid(merchant_reference=reference)
    refund = await shop.refunded(payment)
    [event, *_] = await shop.events(payment)
    page = answered(await other_shop.get("/v1/payments", merchant_reference=reference), 200)
    assert page == {"object": "list", "data": [], "has_more": False}
    paths = [
        *(f"/v1/payments/{payment['id']}", f"/v1/payments/{payment['id']}/events"),
        *(
            f"/v1/payments/{payment['id']}/refunds",
            f"/v1/payments/{payment['id']}/attempts",
            f"/v1/refunds/{refund['id']}",
            f"/v1/events/{event['id']}",
        ),
    ]
    for path in paths:
        theirs = refused(await other_shop.get(path), 404, "not_found")
        nobodys = refused(await other_shop.get(path.replace(payment["id"], "pay_nothing")), 404, "not_found")
        assert {**theirs, "request_id": ""} == {**nobodys, "request_id": ""}
    for what in ("capture", "void", "refunds"):
        refused(await other_shop.post(f"/v1/payments/{payment['id']}/{what}"), 404, "not_found")
    cursor = await other_shop.get("/v1/payments", starting_after=payment["id"])
    assert pointers(refused(cursor, 400, "invalid_request")) == {"/starting_after"}


async def test_refunds_are_listed_newest_first_and_by_status(shop: Merchant) -> None:
    payment = await shop.paid()
    made = [(await shop.refunded(payment, amount=10))["id"] for _ in range(3)]
    of_payment = await pages(shop, f"/v1/payments/{payment['id']}/refunds", limit=2)
    assert [refund["id"] for refund in of_payment] == made[::-1]
    newest = answered(await shop.get("/v1/refunds", limit=3, status="succeeded"), 200)
    assert [refund["id"] for refund in newest["data"]] == made[::-1]
    assert all(
        refund["status"] == "failed" for refund in await pages(shop, "/v1/refunds", limit=50, status="failed")
    )


async def test_a_payments_attempts_say_where_each_request_went_and_why(shop: Merchant) -> None:
    payment = await shop.authorized()
    await shop.captured(payment, amount=500)
    await shop.refunded(payment, amount=10)
    listed = answered(await shop.get(f"/v1/payments/{payment['id']}/attempts"), 200)["data"]
    assert [(each["operation"], each["state"], each["reason"]) for each in listed] == [
        ("refund", "approved", "payment"),
        ("capture", "approved", "payment"),
        ("authorize", "approved", "settings"),
    ]
    assert {(each["number"], each["connector"]) for each in listed} == {(1, payment["connector"])}
    assert all(each["account"] for each in listed)


async def test_a_declined_attempt_has_the_issuers_code(shop: Merchant) -> None:
    response = await shop.pay(payment_method=card("4000000000009995"))
    failed = refused(response, 402, "payment_declined")["payment"]
    [tried] = answered(await shop.get(f"/v1/payments/{failed['id']}/attempts"), 200)["data"]
    assert (tried["state"], tried["decline_code"]) == ("declined", "insufficient_funds")


async def test_a_payments_events_are_listed_oldest_first_in_pages(shop: Merchant) -> None:
    payment = await shop.paid()
    await asyncio.gather(*(shop.refunded(payment, amount=1) for _ in range(4)))
    all_events = await shop.events(payment)
    assert len(all_events) == 2 + 2 * 4
    paged = await pages(shop, f"/v1/payments/{payment['id']}/events", limit=3)
    assert paged == all_events
    third = all_events[2]["id"]
    before = answered(
        await shop.get(f"/v1/payments/{payment['id']}/events", ending_before=third, limit=1), 200
    )
    assert before == {"object": "list", "data": [all_events[1]], "has_more": True}


async def test_events_are_shown_alone_and_listed_by_type(shop: Merchant) -> None:
    payment = await shop.authorized()
    await shop.voided(payment)
    events = await shop.events(payment)
    assert answered(await shop.get(f"/v1/events/{events[0]['id']}"), 200) == events[0]
    voided = answered(await shop.get("/v1/events", type="payment.voided", limit=1), 200)["data"]
    assert voided == [events[1]]
    assert events[1]["data"] == await shop.payment(payment)
    assert events[0]["data"]["status"] == "authorized"


@pytest.mark.parametrize(
    "query",
    [
        *(
            "limit=0",
            "limit=101",
            "limit=x",
            "limit=1&limit=2",
            "status=paid",
            "unknown=1",
            "created_after=now",
        ),
        *("starting_after=pay_nothing", "ending_before=pay_nothing", "starting_after=a&ending_before=b"),
        *("starting_after=", "created_before=2026-13-01T00:00:00Z", "idempotency_key=a%00b"),
    ],
)
async def test_a_query_that_is_not_understood_is_refused(shop: Merchant, query: str) -> None:
    refused(await shop.client.get(f"/v1/payments?{query}"), 400, "invalid_request")
