"""What is accepted as a body, and what is said of one that is not."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api.http.bodies import BODY_BYTES_MAX
from api.schemas.payments import METADATA_MAX
from payonce.domain.personal import Address, Browser, Party, PersonalData
from tests.api.fakes import CARD, FakeAdmission, card_method, payment_body

CREATE = "/v1/payments"
KEY = {"Idempotency-Key": "k"}
SAVED = {"type": "card", "token": "pm_x"}
JSON_TYPE = {"Content-Type": "application/json"}


async def _post(client: httpx.AsyncClient, content: bytes, **headers: str) -> httpx.Response:
    return await client.post(CREATE, content=content, headers={**KEY, **JSON_TYPE, **headers})


def _pointers(response: httpx.Response) -> list[str]:
    return [each["pointer"] for each in response.json()["errors"]]


def _assert_problem(response: httpx.Response, status: int, code: str) -> None:
    problem = response.json()
    assert (response.status_code, problem["code"]) == (status, code), problem
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["type"] == f"urn:payonce:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == response.headers["request-id"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b'{"amount":1,"amount":1}',
        b'{"metadata":{"a":"1","a":"1"}}',
        b'{"amount":NaN}',
        b'{"amount":-Infinity}',
        b'{"description":"\xff"}',
        b'{"description":"\\ud800"}',
        b'\xef\xbb\xbf{"amount":1}',
        b'{"amount":1}{}',
        b"{'amount':1}",
        '{"amount":1}'.encode("utf-16"),
        b"[" * 30_000,
        b'{"a":' * 20 + b"1" + b"}" * 20,
        b'{"amount":' + b"1" * 5_000 + b"}",
    ],
)
async def test_what_is_not_strict_json_is_invalid_json(client: httpx.AsyncClient, body: bytes) -> None:
    _assert_problem(await _post(client, body), 400, "invalid_json")


async def test_nul_is_refused_with_its_pointer(client: httpx.AsyncClient) -> None:
    response = await _post(client, json.dumps(payment_body(metadata={"a": "x\0y"})).encode())
    _assert_problem(response, 400, "invalid_request")
    assert _pointers(response) == ["/metadata/a"]


@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null"])
async def test_a_body_is_an_object(client: httpx.AsyncClient, body: bytes) -> None:
    _assert_problem(await _post(client, body), 400, "invalid_request")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "application/jsonx",
    ],
)
async def test_only_json_in_utf8_is_accepted(client: httpx.AsyncClient, content_type: str) -> None:
    response = await _post(client, json.dumps(payment_body()).encode(), **{"Content-Type": content_type})
    _assert_problem(response, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"']
)
async def test_utf8_may_be_spelled_out(client: httpx.AsyncClient, content_type: str) -> None:
    response = await _post(client, json.dumps(payment_body()).encode(), **{"Content-Type": content_type})
    assert response.status_code == 201


async def test_a_body_without_content_type_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post(CREATE, content=b"{}", headers=KEY)
    _assert_problem(response, 415, "unsupported_media_type")


async def test_a_content_encoding_is_refused(client: httpx.AsyncClient) -> None:
    _assert_problem(await _post(client, b"{}", **{"Content-Encoding": "gzip"}), 415, "unsupported_media_type")


async def test_a_body_over_the_limit_is_refused_by_its_length(client: httpx.AsyncClient) -> None:
    _assert_problem(await _post(client, b"x" * (BODY_BYTES_MAX + 1)), 413, "body_too_large")


async def test_a_chunked_body_is_counted_as_it_arrives(client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(BODY_BYTES_MAX // 1_000 + 1):
            yield b" " * 1_000

    response = await client.post(CREATE, content=chunks(), headers={**KEY, **JSON_TYPE})
    _assert_problem(response, 413, "body_too_large")


async def test_a_body_at_the_limit_is_read(client: httpx.AsyncClient) -> None:
    body = json.dumps(payment_body()).encode()
    assert (await _post(client, body + b" " * (BODY_BYTES_MAX - len(body)))).status_code == 201


PARTY = {
    "name": 100 * "{}",
    "address": {
        **dict.fromkeys(("line1", "line2"), 200 * "{}"),
        **dict.fromkeys(("city", "state"), 100 * "{}"),
        "postal_code": 20 * "{}",
        "country": "IN",
    },
}
BROWSER = {"ip": "203.0.113.7", "user_agent": "a"}
FULL = {
    "merchant_reference": 100 * "{}",
    "description": 500 * "{}",
    "return_url": "https://shop.example/" + "r" * 2_000,
    "customer": {
        "id": 100 * "{}",
        "name": 100 * "{}",
        "email": 240 * "e" + "@shop.example",
        "phone": "+1" + "5" * 10,
    },
    "billing": PARTY,
    "shipping": PARTY,
    "browser": {**dict.fromkeys(("user_agent", "accept"), 2048 * "{}"), "ip": "::1", "language": 35 * "{}"},
    "statement_descriptor": 22 * "{}",
}


# With emoji and their like, which take two escapes, not every member can be full.
@pytest.mark.parametrize(
    ("letter", "escaped"), [("अ", False), ("अ", True), ("語", False), ("語", True), ("𝒳", False)]
)
async def test_every_member_may_be_as_long_as_its_limit(
    client: httpx.AsyncClient, admission: FakeAdmission, letter: str, escaped: bool
) -> None:
    """44 metadata values of 500 Devanagari letters are 66 KB, and were refused."""
    metadata = {f"{n:02}{38 * letter}": 500 * letter for n in range(METADATA_MAX)}
    body = payment_body(**json.loads(json.dumps(FULL).replace("{}", letter)), metadata=metadata)
    response = await _post(client, json.dumps(body, ensure_ascii=escaped).encode())
    assert response.status_code == 201, response.text
    assert admission.last[2].metadata == metadata


@pytest.mark.parametrize("form", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("content", [None, b""], ids=["no body", "an empty body"])
async def test_a_form_without_a_body_is_as_none(
    client: httpx.AsyncClient, admission: FakeAdmission, form: str, content: bytes | None
) -> None:
    """`curl -d ''` and the HTML forms of frameworks send it."""
    headers = {**KEY, "Content-Type": form}
    response = await client.post(f"{CREATE}/pay_a1/refunds", content=content, headers=headers)
    assert response.status_code == 201
    assert admission.last[1:] == ("refund", "pay_a1", None, None, {})


async def test_a_form_with_a_body_is_refused_and_one_of_empty_chunks_is_no_object(
    client: httpx.AsyncClient, admission: FakeAdmission
) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        yield b""

    headers = {**KEY, "Content-Type": "application/x-www-form-urlencoded"}
    path = f"{CREATE}/pay_a1/refunds"
    refused = await client.post(path, content=b"amount=300", headers=headers)
    _assert_problem(refused, 415, "unsupported_media_type")
    _assert_problem(await client.post(path, content=nothing(), headers=headers), 400, "invalid_json")
    assert not admission.calls


@pytest.mark.parametrize("content", [b"", b"{}", b'{"reason":null}'])
async def test_an_empty_body_is_an_empty_object(
    client: httpx.AsyncClient, admission: FakeAdmission, content: bytes
) -> None:
    headers = {**KEY, **(JSON_TYPE if content else {})}
    response = await client.post(f"{CREATE}/pay_a1/void", content=content, headers=headers)
    assert response.status_code == 201
    assert admission.last[1:] == ("void", "pay_a1", None)


@pytest.mark.parametrize("content_type", [{}, JSON_TYPE, {"Content-Type": "text/plain"}])
async def test_a_request_without_a_body_may_have_any_media_type(
    client: httpx.AsyncClient, admission: FakeAdmission, content_type: dict[str, str]
) -> None:
    response = await client.post(f"{CREATE}/pay_a1/refunds", content=b"", headers={**KEY, **content_type})
    assert response.status_code == 201
    assert admission.last[1:] == ("refund", "pay_a1", None, None, {})


@pytest.mark.parametrize("announced", ["14", "1", "13", "15", "x", "-1", "1" * 30, ""])
@pytest.mark.parametrize("content", [b"", b"{}"])
async def test_a_body_of_another_length_than_announced_is_refused_whatever_lost_it(
    client: httpx.AsyncClient, admission: FakeAdmission, announced: str, content: bytes
) -> None:
    """Not by the server this time: whichever serves the application, an empty body is not taken for none."""
    headers = {**KEY, **JSON_TYPE, "Content-Length": announced}
    response = await client.post(f"{CREATE}/pay_a1/refunds", content=content, headers=headers)
    _assert_problem(response, 400, "invalid_request")
    assert not admission.calls


@pytest.mark.parametrize("chunks", [[], [b""], [b" "], [b"\r\n", b"\t"], [b"nu", b"ll"]])
async def test_chunks_that_say_nothing_are_no_object(
    client: httpx.AsyncClient, admission: FakeAdmission, chunks: list[bytes]
) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    response = await client.post(f"{CREATE}/pay_a1/refunds", content=stream(), headers={**KEY, **JSON_TYPE})
    assert response.status_code == 400
    assert not admission.calls


async def test_a_query_string_on_a_post_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post(CREATE + "?amount=1", json=payment_body(), headers=KEY)
    _assert_problem(response, 400, "invalid_request")


@pytest.mark.parametrize("amount", [0, -1, 2**53, 1.0, 1e3, "1099", True, [], {}])
async def test_an_amount_is_a_positive_integer(client: httpx.AsyncClient, amount: Any) -> None:
    response = await client.post(CREATE, json=payment_body(amount=amount), headers=KEY)
    _assert_problem(response, 400, "invalid_request")
    assert _pointers(response) == ["/amount"]


@pytest.mark.parametrize("amount", [1, 2**53 - 1])
async def test_the_limits_of_an_amount_are_in_it(
    client: httpx.AsyncClient, admission: FakeAdmission, amount: int
) -> None:
    assert (await client.post(CREATE, json=payment_body(amount=amount), headers=KEY)).status_code == 201
    assert admission.last[2].amount_minor == amount


@pytest.mark.parametrize("currency", ["inr", "XXX", "XTS", "XAU", "XDR", "CLF", "USN", "ABC", "", "IN", 356])
async def test_a_currency_is_a_country_s_money(client: httpx.AsyncClient, currency: Any) -> None:
    response = await client.post(CREATE, json=payment_body(currency=currency), headers=KEY)
    _assert_problem(response, 400, "invalid_request")
    assert _pointers(response) == ["/currency"]


@pytest.mark.parametrize(
    ("method", "status", "code", "pointer"),
    [
        (card_method(number="4242424242424241"), 400, "invalid_card_number", "/payment_method/card/number"),
        (
            card_method(number="4242 4242 4242 4242"),
            400,
            "invalid_card_number",
            "/payment_method/card/number",
        ),
        (card_method(number=4242424242424242), 400, "invalid_request", "/payment_method/card/number"),
        (card_method(exp_year=2020), 400, "card_expired", "/payment_method/card/exp_year"),
        (card_method(exp_year=30), 400, "invalid_request", "/payment_method/card/exp_year"),
        (card_method(exp_month=0), 400, "invalid_request", "/payment_method/card/exp_month"),
        (card_method(cvc="12"), 400, "invalid_request", "/payment_method/card/cvc"),
        (card_method(cvc=123), 400, "invalid_request", "/payment_method/card/cvc"),
        (card_method(name="x"), 400, "invalid_request", "/payment_method/card/name"),
        ({"type": "card"}, 400, "invalid_request", "/payment_method/card"),
        ({**card_method(), "token": "pm_x"}, 400, "invalid_request", "/payment_method/token"),
        ({"type": "cash"}, 400, "invalid_request", "/payment_method/type"),
        ({}, 400, "invalid_request", "/payment_method/type"),
        ("card", 400, "invalid_request", "/payment_method"),
        ({"type": "upi", "upi": {"flow": "collect"}}, 400, "invalid_request", "/payment_method/upi/vpa"),
        (
            {"type": "upi", "upi": {"flow": "collect", "vpa": "nobody"}},
            400,
            "invalid_vpa",
            "/payment_method/upi/vpa",
        ),
        (
            {"type": "wallet", "wallet": {"provider": "apple_pay"}},
            400,
            "invalid_request",
            "/payment_method/wallet/token",
        ),
        (
            {"type": "wallet", "wallet": {"provider": "paytm", "token": "tok_ok"}},
            400,
            "invalid_request",
            "/payment_method/wallet/token",
        ),
        (
            {"type": "wallet", "wallet": {"provider": "apple_pay", "token": "forged.token"}},
            400,
            "invalid_request",
            "/payment_method/wallet/token",
        ),
    ],
)
async def test_a_payment_method_is_checked_before_anything_is_admitted(
    client: httpx.AsyncClient,
    admission: FakeAdmission,
    method: Any,
    status: int,
    code: str,
    pointer: str,
) -> None:
    response = await client.post(CREATE, json=payment_body(payment_method=method), headers=KEY)
    _assert_problem(response, status, code)
    assert _pointers(response) == [pointer]
    assert not admission.calls


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"capture_method": "later"}, "/capture_method"),
        ({"off_session": True, "reason": "recurring"}, "/off_session"),
        ({"reason": "recurring"}, "/reason"),
        ({"off_session": True, "reason": "because", "payment_method": SAVED}, "/reason"),
        ({"off_session": True, "payment_method": SAVED}, "/reason"),
        (
            {"off_session": True, "reason": "no_show", "payment_method": {**SAVED, "cvc": "123"}},
            "/payment_method/cvc",
        ),
        ({"merchant_reference": "x" * 101}, "/merchant_reference"),
        ({"merchant_reference": "4242424242424242"}, "/merchant_reference"),
        ({"description": "x" * 501}, "/description"),
        ({"description": "card 4242-4242-4242-4242"}, "/description"),
        ({"metadata": {"a": 1}}, "/metadata/a"),
        ({"metadata": {"a" * 41: "x"}}, "/metadata/" + "a" * 41),
        ({"metadata": {"a": "x" * 501}}, "/metadata/a"),
        ({"metadata": {"[key]": 1}}, "/metadata/[key]"),
        ({"metadata": {str(n): "x" for n in range(51)}}, "/metadata"),
        ({"metadata": {"a/b~": "4242424242424242"}}, "/metadata/a~1b~0"),
        ({"metadata": {"4242424242424242": "x"}}, "/metadata"),
        ({"metadata": {"sandbox_fault": "explode"}}, "/metadata/sandbox_fault"),
        ({"customer": {"id": "4242424242424242"}}, "/customer/id"),
        ({"customer": {"email": "nobody"}}, "/customer/email"),
        ({"customer": {"name": "x" * 101}}, "/customer/name"),
        ({"customer": {"name": ""}}, "/customer/name"),
        ({"customer": {"name": "a\nb"}}, "/customer/name"),
        ({"customer": {"name": "4242 4242 4242 4242"}}, "/customer/name"),
        ({"customer": {"address": {}}}, "/customer/address"),
        ({"billing": "home"}, "/billing"),
        ({"billing": {"email": "nobody"}}, "/billing/email"),
        ({"billing": {"name": "4242424242424242"}}, "/billing/name"),
        ({"billing": {"address": {"line1": "a"}}}, "/billing/address/country"),
        ({"billing": {"address": {"country": "IN"}}}, "/billing/address/line1"),
        ({"billing": {"address": {"line1": "", "country": "IN"}}}, "/billing/address/line1"),
        ({"billing": {"address": {"line1": "a" * 201, "country": "IN"}}}, "/billing/address/line1"),
        ({"billing": {"address": {"line1": "a", "country": "in"}}}, "/billing/address/country"),
        ({"billing": {"address": {"line1": "a", "country": "IND"}}}, "/billing/address/country"),
        ({"billing": {"address": {"line1": "a", "country": "XX"}}}, "/billing/address/country"),
        ({"shipping": {"address": {"line1": "a", "country": "UK"}}}, "/shipping/address/country"),
        (
            {"shipping": {"address": {"line1": "a", "country": "IN", "postal_code": 411001}}},
            "/shipping/address/postal_code",
        ),
        (
            {"shipping": {"address": {"line1": "a", "country": "IN", "postal_code": "1" * 21}}},
            "/shipping/address/postal_code",
        ),
        (
            {"shipping": {"address": {"line1": "4242/4242/4242/4242", "country": "IN"}}},
            "/shipping/address/line1",
        ),
        ({"browser": {"user_agent": "a"}}, "/browser/ip"),
        ({"browser": {"ip": "203.0.113.7"}}, "/browser/user_agent"),
        ({"browser": {"ip": "203.0.113", "user_agent": "a"}}, "/browser/ip"),
        ({"browser": {"ip": "203.0.113.07", "user_agent": "a"}}, "/browser/ip"),
        ({"browser": {"ip": "203.0.113.7:443", "user_agent": "a"}}, "/browser/ip"),
        ({"browser": {"ip": "fe80::1%4242424242424242", "user_agent": "a"}}, "/browser/ip"),
        ({"browser": {"ip": "203.0.113.7", "user_agent": "a" * 2049}}, "/browser/user_agent"),
        ({"browser": {"ip": "203.0.113.7", "user_agent": "a\r\nb: c"}}, "/browser/user_agent"),
        ({"browser": {"ip": "203.0.113.7", "user_agent": "4242424242424242"}}, "/browser/user_agent"),
        ({"browser": {**BROWSER, "accept": "4242424242424242"}}, "/browser/accept"),
        ({"browser": {**BROWSER, "language": "e" * 36}}, "/browser/language"),
        ({"browser": {**BROWSER, "color_depth": "24"}}, "/browser/color_depth"),
        ({"browser": {**BROWSER, "color_depth": 24.0}}, "/browser/color_depth"),
        ({"browser": {**BROWSER, "screen_width": -1}}, "/browser/screen_width"),
        ({"browser": {**BROWSER, "screen_height": 1_000_000}}, "/browser/screen_height"),
        ({"browser": {**BROWSER, "time_zone_offset": 841}}, "/browser/time_zone_offset"),
        ({"browser": {**BROWSER, "java_enabled": 1}}, "/browser/java_enabled"),
        ({"browser": {**BROWSER, "javascript_enabled": "true"}}, "/browser/javascript_enabled"),
        ({"browser": {**BROWSER, "fonts": []}}, "/browser/fonts"),
        ({"channel": "phone"}, "/channel"),
        ({"channel": "WEB"}, "/channel"),
        ({"statement_descriptor": "x" * 23}, "/statement_descriptor"),
        ({"statement_descriptor": ""}, "/statement_descriptor"),
        ({"statement_descriptor": "4242424242424242"}, "/statement_descriptor"),
        ({"return_url": "http://shop.example/"}, "/return_url"),
        ({"return_url": "http://127.0.0.1/"}, "/return_url"),
        ({"return_url": "javascript:alert(1)"}, "/return_url"),
        ({"unknown": 1}, "/unknown"),
        ({"4242424242424242": 1}, ""),
    ],
)
async def test_a_mistake_has_a_pointer_and_never_shows_the_value(
    client: httpx.AsyncClient, changes: dict[str, Any], pointer: str
) -> None:
    response = await client.post(CREATE, json=payment_body(**changes), headers=KEY)
    _assert_problem(response, 400, "invalid_request")
    assert _pointers(response) == [pointer]
    assert "4242424242424242" not in response.text
    assert "nobody" not in response.text


@pytest.mark.parametrize("name", ["amount", "currency", "payment_method"])
@pytest.mark.parametrize("null", [True, False])
async def test_null_is_the_same_as_absent(client: httpx.AsyncClient, name: str, null: bool) -> None:
    body = {**payment_body(), name: None} if null else {k: v for k, v in payment_body().items() if k != name}
    response = await client.post(CREATE, json=body, headers=KEY)
    _assert_problem(response, 400, "invalid_request")
    assert response.json()["errors"] == [{"pointer": f"/{name}", "detail": "is required"}]


async def test_several_mistakes_are_listed_under_the_general_code(client: httpx.AsyncClient) -> None:
    body = payment_body(amount=0, payment_method=card_method(number="4242424242424241"))
    response = await client.post(CREATE, json=body, headers=KEY)
    _assert_problem(response, 400, "invalid_request")
    assert _pointers(response) == ["/amount", "/payment_method/card/number"]


async def test_a_flood_of_mistakes_is_answered_in_part(client: httpx.AsyncClient) -> None:
    response = await client.post(CREATE, json=payment_body(**{f"m{n}": 1 for n in range(500)}), headers=KEY)
    assert len(response.json()["errors"]) == 20


async def test_a_create_is_admitted_as_validated(client: httpx.AsyncClient, admission: FakeAdmission) -> None:
    extras = {
        "capture_method": "manual",
        "merchant_reference": "order-7",
        "metadata": {"sandbox_fault": "slow:5,capture:timeout_after_charge"},
        "customer": {"email": "a@b.example", "phone": None},
        "return_url": "https://shop.example/back?x=1",
    }
    assert (await client.post(CREATE, json=payment_body(**extras), headers=KEY)).status_code == 201
    new = admission.last[2]
    assert (new.amount_minor, new.currency, new.capture_method) == (1099, "INR", "manual")
    assert (new.card.number, new.card.cvc) == (CARD["number"], "123")
    visible = {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2040}
    assert new.payment_method == {"type": "card", "card": visible}
    assert (new.merchant_reference, new.customer) == ("order-7", {"email": "a@b.example"})
    assert new.metadata == extras["metadata"]


async def test_what_acquirers_need_of_a_customer_is_admitted_as_it_was_given(
    client: httpx.AsyncClient, admission: FakeAdmission
) -> None:
    address = {"line1": "7 Rose Lane", "city": "Pune", "state": None, "country": "IN"}
    extras = {
        "customer": {"id": "c-1", "name": "Asha Rao"},
        "billing": {"name": "Asha Rao", "address": address},
        "shipping": {},
        "browser": {**BROWSER, "ip": "2001:DB8:0::1", "time_zone_offset": -330, "java_enabled": False},
        "channel": "moto",
        "statement_descriptor": "SHOP.EXAMPLE",
    }
    assert (await client.post(CREATE, json=payment_body(**extras), headers=KEY)).status_code == 201
    new = admission.last[2]
    assert new.customer == extras["customer"]
    assert (new.channel, new.statement_descriptor) == ("moto", "SHOP.EXAMPLE")
    bill = Party(name="Asha Rao", address=Address(line1="7 Rose Lane", city="Pune", country="IN"))
    browser = Browser(ip="2001:db8::1", user_agent="a", time_zone_offset=-330, java_enabled=False)
    assert new.personal == PersonalData(billing=bill, shipping=Party(), browser=browser)
    assert new.personal.billing.address.state is None


async def test_a_capture_takes_an_amount_and_whether_it_is_final(
    client: httpx.AsyncClient, admission: FakeAdmission
) -> None:
    await client.post(f"{CREATE}/pay_a1/capture", json={"amount": 5, "final": False}, headers=KEY)
    assert admission.last[1:] == ("capture", "pay_a1", 5, False)
    await client.post(f"{CREATE}/pay_a1/capture", headers={"Idempotency-Key": "k2"})
    assert admission.last[1:] == ("capture", "pay_a1", None, True)


async def test_a_refund_takes_an_amount_a_reason_and_metadata(
    client: httpx.AsyncClient, admission: FakeAdmission
) -> None:
    body = {"amount": 5, "reason": "returned", "metadata": {"a": "b"}}
    await client.post(f"{CREATE}/pay_a1/refunds", json=body, headers=KEY)
    assert admission.last[1:] == ("refund", "pay_a1", 5, "returned", {"a": "b"})
