"""Receipts of the running product: made when they are first asked for, and then there for good."""

import re

import httpx

from tests.e2e.merchant import Merchant
from tests.support.eventually import eventually


async def receipt(
    shop: Merchant, payment_id: str, *, refund: str | None = None, accept: str = "text/html"
) -> httpx.Response:
    """The receipt, however long it takes to be made."""
    query = {} if refund is None else {"refund": refund}

    async def ask() -> httpx.Response | None:
        path = f"/v1/payments/{payment_id}/receipt"
        response = await shop.client.get(path, params=query, headers={"Accept": accept})
        if response.status_code == 409 and "Retry-After" in response.headers:
            assert response.json()["code"] == "receipt_not_ready"
            return None
        return response

    return await eventually(ask)


async def test_a_receipt_is_made_when_it_is_first_asked_for(shop: Merchant) -> None:
    payment = await shop.paid(customer={"name": "Asha Rao"}, merchant_reference="order-7")
    first = await shop.client.get(f"/v1/payments/{payment['id']}/receipt")
    assert (first.status_code, first.json()["code"]) == (409, "receipt_not_ready")
    assert 1 <= int(first.headers["Retry-After"]) <= 30
    made = await receipt(shop, payment["id"])
    assert (made.status_code, made.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "no-store" in made.headers["Cache-Control"]
    assert "sandbox" in made.headers["Content-Security-Policy"]
    for text in ("INR\xa010.99", "•••• 4242", "Asha Rao", "order-7", payment["id"], "no tax invoice"):
        assert text in made.text, text
    assert (await receipt(shop, payment["id"])).content == made.content


async def test_a_receipt_is_a_tagged_pdf_by_accept(shop: Merchant) -> None:
    payment = await shop.paid()
    made = await receipt(shop, payment["id"], accept="application/pdf")
    assert (made.status_code, made.headers["Content-Type"]) == (200, "application/pdf")
    assert made.content.startswith(b"%PDF-1.7")
    assert b"/MarkInfo" in made.content
    assert b"/Marked true" in made.content


async def test_a_receipt_follows_the_payment(shop: Merchant) -> None:
    payment = await shop.paid()
    before = await receipt(shop, payment["id"])
    refund = await shop.refunded(payment, amount=300, reason="one was broken")
    after = await receipt(shop, payment["id"])
    assert after.content != before.content
    for text in (refund["id"], "INR\xa0−3.00", "INR\xa07.99", "one was broken"):
        assert text in after.text, text
    alone = await receipt(shop, payment["id"], refund=refund["id"])
    assert "Refund receipt" in alone.text
    assert "INR\xa03.00" in alone.text


async def test_where_no_money_moved_there_is_no_receipt(shop: Merchant, other_shop: Merchant) -> None:
    held = await shop.authorized()
    refused = await shop.client.get(f"/v1/payments/{held['id']}/receipt")
    assert (refused.status_code, refused.json()["code"]) == (409, "receipt_not_ready")
    assert "Retry-After" not in refused.headers
    assert (await other_shop.client.get(f"/v1/payments/{held['id']}/receipt")).status_code == 404
    paid, another = await shop.paid(), await shop.paid()
    refund = await shop.refunded(another)
    query = {"refund": refund["id"]}
    assert (await shop.client.get(f"/v1/payments/{paid['id']}/receipt", params=query)).status_code == 404
    unknown = await shop.client.get(f"/v1/payments/{paid['id']}/receipt", params={"as": "pdf"})
    assert (unknown.status_code, unknown.json()["code"]) == (400, "invalid_request")


async def test_minor_units_are_the_currency_s_own(shop: Merchant) -> None:
    for currency, shown in (("JPY", "JPY\xa01,099"), ("KWD", "KWD\xa01.099"), ("INR", "INR\xa010.99")):
        payment = await shop.paid(currency=currency)
        assert re.search(rf">{shown}<", (await receipt(shop, payment["id"])).text), currency
