"""Idempotency keys, preferences and fingerprints as clients write them."""

import base64
import json
from functools import partial
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api.http.key_header import fingerprint, hash_number
from api.schemas.payments import Context, CreatePayment
from payonce.settings import SealingKeySettings, Settings
from tests.api.conftest import Merchant
from tests.api.fakes import AUTHENTICATION, FakeAdmission, card_method, payment_body

CREATE = "/v1/payments"


async def _create(client: httpx.AsyncClient, key: str | None, **changes: Any) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await client.post(CREATE, json=payment_body(**changes), headers=headers)


@pytest.mark.parametrize("key", [None, "", '""', "  "])
async def test_a_key_is_required(client: httpx.AsyncClient, key: str | None) -> None:
    response = await _create(client, key)
    assert (response.status_code, response.json()["code"]) == (400, "idempotency_key_missing")


@pytest.mark.parametrize(
    "key",
    [
        '"order-1',
        'order-1"',
        "a,b",
        "a b",
        '"a b"',
        '"a", "b"',
        '"a";x=1, "b"',
        '"a"b',
        '"a\\b"',
        "k" * 256,
        f'"{"k" * 256}"',
        "4242424242424242",
        "order-4242-4242-4242-4242",
    ],
)
async def test_a_malformed_key_is_refused(
    client: httpx.AsyncClient, admission: FakeAdmission, key: str
) -> None:
    response = await _create(client, key)
    assert (response.status_code, response.json()["code"]) == (400, "idempotency_key_invalid")
    assert key not in response.text
    assert not admission.calls


async def test_a_key_beyond_ascii_is_refused(client: httpx.AsyncClient) -> None:
    headers = [(b"Idempotency-Key", "schlüssel".encode())]
    response = await client.post(CREATE, json=payment_body(), headers=headers)
    assert response.json()["code"] == "idempotency_key_invalid"


async def test_two_keys_are_refused(client: httpx.AsyncClient) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")]
    response = await client.post(CREATE, json=payment_body(), headers=headers)
    assert response.json()["code"] == "idempotency_key_invalid"


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ("k", "k"),
        ('"k"', "k"),
        ('"k"; a=1;b="x, y"', "k"),
        ('"a,b"', "a,b"),
        ('"say \\"hi\\""'.replace(" ", "-"), 'say-"hi"'),
        ('"back\\\\slash"', "back\\slash"),
        ("k" * 255, "k" * 255),
        ("!#$%&'()*+-./:;<=>?@[]^_`{|}~", "!#$%&'()*+-./:;<=>?@[]^_`{|}~"),
    ],
)
async def test_the_bare_and_the_quoted_form_are_the_same_key(
    client: httpx.AsyncClient, admission: FakeAdmission, sent: str, key: str
) -> None:
    assert (await _create(client, sent)).status_code == 201
    assert admission.last[0].key == key


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ({}, 0),
        ({"Prefer": "wait=10"}, 10),
        ({"Prefer": "respond-async, WAIT=7; x=1"}, 7),
        ({"Prefer": 'wait="5"'}, 5),
        ({"Prefer": "wait=999"}, 30),
        ({"Prefer": "wait=-1"}, 0),
        ({"Prefer": "wait"}, 0),
    ],
)
async def test_a_preference_to_wait_is_understood_or_ignored(
    client: httpx.AsyncClient, admission: FakeAdmission, prefer: dict[str, str], seconds: int
) -> None:
    await client.post(CREATE, json=payment_body(), headers={"Idempotency-Key": "k", **prefer})
    assert admission.last[0].wait_s == seconds


async def test_a_replay_has_the_same_status_and_bytes(client: httpx.AsyncClient) -> None:
    first, second = await _create(client, "k"), await _create(client, '"k"')
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert first.headers["location"] == second.headers["location"] == "/v1/payments/pay_a1"
    assert first.headers["request-id"] != second.headers["request-id"]


SAME = [
    json.dumps(payment_body(), indent=3).encode(),
    json.dumps(dict(reversed(payment_body().items()))).encode(),
    json.dumps(payment_body()).replace("INR", "\\u0049NR").encode(),
    json.dumps(payment_body(capture_method="automatic", metadata={}, description=None)).encode(),
    json.dumps(payment_body(payment_method=card_method(cvc="999"))).encode(),
    json.dumps(payment_body(payment_method=card_method(cvc=None))).encode(),
    json.dumps(payment_body(billing=None, shipping=None, channel=None, statement_descriptor=None)).encode(),
    json.dumps(payment_body(browser={"ip": "203.0.113.7", "user_agent": "a"})).encode(),
    json.dumps(payment_body(sca={})).encode(),
    json.dumps(payment_body(sca={"challenge": "default", "exemption": None})).encode(),
    json.dumps(payment_body(authentication=AUTHENTICATION)).encode(),
]
# As the release before derived it, which did not know all the members.
BEFORE = [
    ({}, "546a2ad9f10cfdccc762c55e1c9e75841a4416fda24ecdaf3241528ce51ff658"),
    ({"customer": {}}, "bfa19113adf439b86cb5c50a16911a4b09fa2a75b49c49e21b54b6f055e1fb6b"),
    (
        {"customer": {"id": "c-1", "email": "a@b.example"}, "description": "d", "metadata": {"a": "b"}},
        "1f8852327a82b799153759c2f04ed0480a01243fb839720f0403366757ef1050",
    ),
    (
        {"payment_method": {"type": "wallet", "wallet": {"provider": "paytm"}}},
        "4eb838c21bfaed83206a6becaac7ca5ab3475c0daea72dd76abd058797a96341",
    ),
]


@pytest.mark.parametrize(("members", "expected"), BEFORE)
def test_a_request_of_yesterday_has_the_same_fingerprint(members: dict[str, Any], expected: str) -> None:
    secret = b"s" * 32
    body = CreatePayment.model_validate(
        payment_body(**members), context=Context(mode="test", allow_loopback=False)
    )
    understood = body.model_dump(mode="json", context=partial(hash_number, secret=secret))
    found = fingerprint(understood, method="POST", path="/v1/payments", secret=secret)
    assert found.hex() == expected


async def test_another_browser_alone_is_the_same_request(client: httpx.AsyncClient) -> None:
    await _create(client, "k", browser={"ip": "203.0.113.7", "user_agent": "a"}, channel="web")
    again = await _create(client, "k", browser={"ip": "203.0.113.8", "user_agent": "b"}, channel="web")
    assert again.headers["idempotent-replayed"] == "true"


async def test_another_wallet_token_alone_is_the_same_request(client: httpx.AsyncClient) -> None:
    await _create(client, "k", payment_method=_wallet("apple_pay", token="tok_ok"))
    again = await _create(client, "k", payment_method=_wallet("apple_pay", token="tok_declined"))
    other = await _create(client, "k", payment_method=_wallet("google_pay", token="tok_ok"))
    assert again.headers.get("idempotent-replayed") == "true", again.text
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def _wallet(provider: str, **members: str) -> dict[str, Any]:
    return {"type": "wallet", "wallet": {"provider": provider, **members}}


def test_what_a_merchant_hands_in_is_in_no_fingerprint() -> None:
    body = CreatePayment.model_validate(
        payment_body(authentication=AUTHENTICATION), context=Context(mode="test", allow_loopback=False)
    )
    understood = body.model_dump(mode="json", context=partial(hash_number, secret=b"s"))
    assert "authentication" not in understood
    assert AUTHENTICATION["cavv"] not in str(understood) + repr(body)


@pytest.mark.parametrize("body", SAME)
async def test_a_request_that_is_understood_the_same_is_a_replay(
    client: httpx.AsyncClient, body: bytes
) -> None:
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    await _create(client, "k")
    response = await client.post(CREATE, content=body, headers=headers)
    assert response.headers.get("idempotent-replayed") == "true", response.text


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 1100},
        {"currency": "USD"},
        {"capture_method": "manual"},
        {"metadata": {"cvc": "1"}},
        {"customer": {}},
        {"customer": {"name": "Asha"}},
        {"billing": {}},
        {"billing": {"name": "Asha"}},
        {"shipping": {"address": {"line1": "7 Rose Lane", "country": "IN"}}},
        {"channel": "web"},
        {"statement_descriptor": "SHOP"},
        {"sca": {"challenge": "force"}},
        {"sca": {"exemption": "low_value"}},
        {"setup": "on_session"},
        {"payment_method": card_method(number="4000000000000002")},
        {"payment_method": card_method(exp_month=11)},
    ],
)
async def test_another_request_under_the_key_is_refused(
    client: httpx.AsyncClient, changes: dict[str, Any]
) -> None:
    await _create(client, "k")
    response = await _create(client, "k", **changes)
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")


async def test_another_path_under_the_key_is_refused(client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k"}
    await client.post(f"{CREATE}/pay_a1/capture", headers=headers)
    for path in (f"{CREATE}/pay_a1/void", f"{CREATE}/pay_a2/capture"):
        assert (await client.post(path, headers=headers)).json()["code"] == "idempotency_key_reused"


async def test_a_key_is_scoped_to_the_merchant(
    client: httpx.AsyncClient, admission: FakeAdmission, other_merchant: Merchant
) -> None:
    await _create(client, "k")
    response = await client.post(
        CREATE, json=payment_body(amount=5), headers={**other_merchant.headers, "Idempotency-Key": "k"}
    )
    assert response.status_code == 201
    assert len(admission.calls) == 2


async def test_a_fingerprint_depends_on_the_number_and_holds_nothing_of_it(
    client: httpx.AsyncClient, admission: FakeAdmission
) -> None:
    await _create(client, "k1")
    await _create(client, "k2", payment_method=card_method(number="4000000000000002"))
    first, second = (call[0].fingerprint for call in admission.calls)
    assert first != second
    assert len(first) == 32


def test_the_card_in_a_fingerprint_is_hashed_with_no_key_of_the_vault_s() -> None:
    """Neither helps to find the other, and replacing the vault's keys changes no stored fingerprint."""
    key = {"id": "new", "key": base64.b64encode(b"n" * 32).decode()}
    before, after = (
        Settings(
            database_url="postgresql+psycopg://x",
            redis_url="redis://x",
            temporal_address="x:1",
            derivation_key=SecretStr("d" * 32),
            vault_fingerprint_keys=tuple(keys),
        )
        for keys in ([], [SealingKeySettings.model_validate(key)])
    )
    secret = after.secret_for("fingerprints")

    assert secret == before.secret_for("fingerprints")
    assert secret not in [one.key for one in after.fingerprint_keys()]
    assert [one.id for one in after.fingerprint_keys()] == ["new", "derived"]
