"""What is wrong is refused in one shape, says where, never shows the value, and moves no money."""

import asyncio
import json
import re
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.e2e.merchant import Body, Merchant, answered, card, fresh_key, order, pointers, refused
from tests.support.witness import Witness

CANARY = "0123456789"  # what no problem document may show again


async def post_bytes(
    shop: Merchant, content: bytes, *, path: str = "/v1/payments", **headers: str
) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await shop.client.post(
        path,
        content=content,
        headers={"Idempotency-Key": fresh_key(), "Content-Type": "application/json", **named},
    )


@pytest.mark.parametrize(
    "amount", [0, -1, 2**53, 10**30, 10.99, 1099.0, "1099", True, None, [], {}], ids=repr
)
async def test_an_amount_is_a_positive_integer_below_2_to_the_53(shop: Merchant, amount: object) -> None:
    assert pointers(refused(await shop.pay(amount=amount), 400, "invalid_request")) == {"/amount"}


@pytest.mark.parametrize("literal", ["1e3", "1099.0", "NaN", "Infinity", "-0", "1_000", "0x10", "01"])
async def test_an_amount_is_written_as_an_integer(shop: Merchant, literal: str) -> None:
    body = json.dumps(order()).replace("1099", literal)
    answer = await post_bytes(shop, body.encode())
    assert answered(answer, 400)["code"] in ("invalid_request", "invalid_json")


@pytest.mark.parametrize(
    "currency", ["inr", "XXX", "XTS", "XAU", "XDR", "ABC", "", "INRR", "₹", 356], ids=repr
)
async def test_a_currency_is_an_upper_case_code_of_a_countrys_money(shop: Merchant, currency: object) -> None:
    assert pointers(refused(await shop.pay(currency=currency), 400, "invalid_request")) == {"/currency"}


@pytest.mark.parametrize(
    "number",
    ["4242424242424241", "4242 4242 4242 4242", "42", "4" * 20, "", "４２４２４２４２４２４２４２４２"],
)
async def test_a_card_number_must_pass_luhn(shop: Merchant, number: str) -> None:
    problem = refused(await shop.pay(payment_method=card(number)), 400, "invalid_card_number")
    assert pointers(problem) == {"/payment_method/card/number"}
    assert not number or number not in json.dumps(problem, ensure_ascii=False)


@pytest.mark.parametrize(("month", "year"), [(12, 2020), (1, 1999)])
async def test_a_card_whose_month_is_over_is_refused(shop: Merchant, month: int, year: int) -> None:
    answer = await shop.pay(payment_method=card(exp_month=month, exp_year=year))
    assert pointers(refused(answer, 400, "card_expired")) <= {
        *("/payment_method/card/exp_month", "/payment_method/card/exp_year")
    }


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"colour": "red"}, "/colour"),
        ({"metadata": {"a": 1}}, "/metadata/a"),
        ({"metadata": {"k" * 41: "v"}}, f"/metadata/{'k' * 41}"),
        ({"metadata": {"k": "v" * 501}}, "/metadata/k"),
        ({"metadata": {f"k{number}": "v" for number in range(51)}}, "/metadata"),
        ({"description": "d" * 501}, "/description"),
        ({"merchant_reference": "r" * 101}, "/merchant_reference"),
        ({"capture_method": "later"}, "/capture_method"),
        ({"return_url": "ftp://shop.example"}, "/return_url"),
        ({"return_url": "javascript:alert(1)"}, "/return_url"),
        ({"customer": {"name": "A" * 101}}, "/customer/name"),
        ({"billing": {"address": {"line1": "7 Rose Lane", "country": "India"}}}, "/billing/address/country"),
        ({"browser": {"ip": "localhost", "user_agent": "a"}}, "/browser/ip"),
        ({"statement_descriptor": "S" * 23}, "/statement_descriptor"),
        ({"payment_method": {"type": "cash"}}, "/payment_method/type"),
        ({"payment_method": {"type": "card"}}, "/payment_method/card"),
        ({"payment_method": card(cvc="12")}, "/payment_method/card/cvc"),
        ({"payment_method": card(cvc=123)}, "/payment_method/card/cvc"),
        ({"payment_method": card(exp_month=13)}, "/payment_method/card/exp_month"),
        ({"payment_method": card(colour="red")}, "/payment_method/card/colour"),
        ({"description": "my card 4242 4242 4242 4242"}, "/description"),
        ({"merchant_reference": "4242424242424242"}, "/merchant_reference"),
        ({"metadata": {"card": "4242-4242-4242-4242"}}, "/metadata/card"),
        ({"customer": {"id": "4242424242424242"}}, "/customer/id"),
        ({"metadata": {"sandbox_fault": "explode"}}, "/metadata/sandbox_fault"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_wrong_member_is_named_by_its_pointer(shop: Merchant, change: Body, pointer: str) -> None:
    problem = refused(await shop.pay(**change), 400, "invalid_request")
    assert pointers(problem) == {pointer}
    assert not re.search("4242[ -]?4242", json.dumps(problem))  # four digits may be a request's id's


async def test_a_metadata_key_that_looks_like_a_card_number_is_shown_nowhere(shop: Merchant) -> None:
    problem = refused(await shop.pay(metadata={"4242424242424242": "v"}), 400, "invalid_request")
    assert "4242424242424242" not in json.dumps(problem)


async def test_everything_that_is_wrong_is_said_at_once(shop: Merchant) -> None:
    problem = refused(await shop.pay(amount=0, currency="inr", colour="red"), 400, "invalid_request")
    assert pointers(problem) == {"/amount", "/currency", "/colour"}


async def test_no_problem_shows_the_rejected_value(shop: Merchant) -> None:
    for change in ({"currency": CANARY}, {"capture_method": CANARY}, {"payment_method": {"type": CANARY}}):
        assert CANARY not in (await shop.pay(**change)).text
    assert CANARY not in (await shop.pay(payment_method=card(cvc=CANARY))).text


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"amount": 1, "amount": 2}',
        b'{"metadata": {"a": "1", "a": "2"}}',
        b'{"description": "\\ud800"}',
        b"[" * 30_000 + b"]" * 30_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    ],
    ids=lambda content: content[:20].decode("latin-1"),
)
async def test_what_is_not_one_json_object_is_refused(shop: Merchant, content: bytes) -> None:
    assert answered(await post_bytes(shop, content), 400)["code"] in ("invalid_json", "invalid_request")


async def test_the_character_nul_is_refused(shop: Merchant) -> None:
    refused(await shop.pay(description="a\0b"), 400, "invalid_request")


async def test_a_payment_whose_texts_are_full_in_any_script_is_paid_and_shown(shop: Merchant) -> None:
    """The limit of the body fits those of its members: here, and in every row and event that holds them."""
    metadata = {f"{n:02}{38 * 'अ'}": 500 * "अ" for n in range(50)}
    paid = answered(await shop.pay(metadata=metadata, description=500 * "अ"), 201)
    assert paid["metadata"] == metadata
    events = answered(await shop.get(f"/v1/payments/{paid['id']}/events"), 200)["data"]
    assert [event["data"]["metadata"] for event in events] == [metadata, metadata]


async def test_a_body_over_256_kib_is_refused(shop: Merchant) -> None:
    large = json.dumps(order(description="d" * 262_144)).encode()
    refused(await post_bytes(shop, large), 413, "body_too_large")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(257):
            yield b" " * 1024

    headers = {"Idempotency-Key": fresh_key(), "Content-Type": "application/json"}
    answer = await shop.client.post("/v1/payments", content=chunks(), headers=headers)
    refused(answer, 413, "body_too_large")


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""]
)
async def test_only_json_is_taken(shop: Merchant, media_type: str) -> None:
    answer = await post_bytes(shop, json.dumps(order()).encode(), Content_Type=media_type)
    refused(answer, 415, "unsupported_media_type")


async def test_an_encoded_body_is_not_taken(shop: Merchant) -> None:
    answer = await post_bytes(shop, b"\x1f\x8b", Content_Encoding="gzip")
    refused(answer, 415, "unsupported_media_type")


async def test_a_query_string_on_a_post_is_refused(shop: Merchant) -> None:
    answer = await post_bytes(shop, json.dumps(order()).encode(), path="/v1/payments?amount=1")
    refused(answer, 400, "invalid_request")


async def test_an_empty_body_is_an_empty_object(shop: Merchant) -> None:
    payment = await shop.authorized()
    headers = {"Idempotency-Key": fresh_key()}
    answer = await shop.client.post(f"/v1/payments/{payment['id']}/capture", headers=headers)
    assert answered(answer, 200)["status"] == "captured"


@pytest.mark.parametrize("path", ["/capture", "/void", "/refunds"])
async def test_bodies_of_operations_are_checked_too(shop: Merchant, witness: Witness, path: str) -> None:
    payment = await shop.authorized()
    problem = refused(
        await shop.post(f"/v1/payments/{payment['id']}{path}", {"x": 1}), 400, "invalid_request"
    )
    assert pointers(problem) == {"/x"}
    if path != "/void":
        for amount in (0, -1, 1.5, "1", 2**53):
            answer = await shop.post(f"/v1/payments/{payment['id']}{path}", {"amount": amount})
            assert pointers(refused(answer, 400, "invalid_request")) == {"/amount"}
    assert await witness.movements(payment["id"]) == [("authorize", 1099)]


@pytest.mark.parametrize(
    "payment_id", ["pay_nothing", "x", "p" * 64, "p" * 65, "pay_%00", "pay_%F0%9F%92%B3", "..%2Fpayments"]
)
async def test_an_unknown_id_is_not_found(shop: Merchant, payment_id: str) -> None:
    refused(await shop.client.get(f"/v1/payments/{payment_id}"), 404, "not_found")
    for what in ("capture", "void", "refunds"):
        refused(await shop.post(f"/v1/payments/{payment_id}/{what}"), 404, "not_found")


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer x", "Basic c2s6", "Bearer sk_test_" + "a" * 32, "sk_test_" + "a" * 32],
)
async def test_without_a_valid_key_nothing_is_told(shop: Merchant, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with httpx.AsyncClient(base_url=shop.client.base_url, trust_env=False, timeout=60) as stranger:
        answer = await stranger.get("/v1/payments", headers=headers)
        refused(answer, 401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        refused(await stranger.post("/v1/payments", content=b"{", headers=headers), 401, "unauthenticated")


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/v1/payments"), ("DELETE", "/v1/payments/pay_x"), ("GET", "/v1/payments/pay_x/capture")],
)
async def test_another_method_is_not_allowed_and_says_what_is(shop: Merchant, method: str, path: str) -> None:
    answer = await shop.client.request(method, path)
    refused(answer, 405, "method_not_allowed")
    assert "OPTIONS" in answer.headers["Allow"]


async def test_there_is_nothing_at_another_path(shop: Merchant) -> None:
    for path in ("/", "/v1", "/v1/payments/", "/v2/payments", "/v1/charges"):
        refused(await shop.client.get(path), 404, "not_found")


@pytest.mark.parametrize("behind", [b'{"amount":300}', b'\r\n{"amount":300}'])
async def test_a_body_that_nobody_announced_moves_nothing(
    shop: Merchant, witness: Witness, behind: bytes
) -> None:
    """Taken as a request without a body it would refund all."""
    payment = await shop.paid(amount=1000)
    url, authorization = shop.client.base_url, shop.client.headers["Authorization"]
    head = (
        f"POST /v1/payments/{payment['id']}/refunds HTTP/1.1\r\nHost: {url.host}\r\n"
        f"Authorization: {authorization}\r\nIdempotency-Key: {fresh_key()}\r\n"
        "Content-Type: application/json\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        writer.write(head.encode() + behind)
        async with asyncio.timeout(60):
            answer = await reader.read()
    finally:
        writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert (await shop.payment(payment))["amount_refundable"] == 1000
    assert "refund" not in [kind for kind, _ in await witness.movements(payment["id"])]
