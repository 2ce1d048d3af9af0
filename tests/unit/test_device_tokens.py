"""Tokens of device wallets: only what the wallet signed, for that wallet, in test mode."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from payonce.device_tokens import TEST_KEY, read, signed_by_test_wallet
from payonce.domain.errors import InvalidRequest

NUMBER = "4242424242424242"
PAYLOAD = {
    "provider": "apple_pay",
    "number": NUMBER,
    "exp_month": 12,
    "exp_year": 2040,
    "cryptogram": "AAAAAAAAAAAAAAAAAAAAAA==",
    "eci": "05",
}


def signed(payload: Any, *, key: Ed25519PrivateKey = TEST_KEY) -> str:
    body = json.dumps(payload).encode()
    parts = (body, key.sign(body))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def refused(token: str, *, provider: str = "apple_pay") -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        read(token, provider=provider, mode="test")
    return raised.value


@pytest.mark.parametrize(("token", "number"), [("tok_ok", NUMBER), ("tok_declined", "4000000000000002")])
def test_the_documented_tokens_stand_for_signed_ones(token: str, number: str) -> None:
    for provider in ("apple_pay", "google_pay"):
        found = read(token, provider=provider, mode="test")
        assert found == read(
            signed_by_test_wallet(provider=provider, number=number), provider=provider, mode="test"
        )
        assert (found.number, found.last4, found.brand) == (number, number[-4:], "visa")
        assert found.cryptogram
        assert found.eci


def test_a_token_shows_neither_its_number_nor_its_cryptogram() -> None:
    found = read(signed(PAYLOAD), provider="apple_pay", mode="test")
    assert NUMBER not in repr(found)
    assert found.cryptogram not in repr(found)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "tok_unknown",
        "no dot",
        "é.é",
        signed(PAYLOAD, key=Ed25519PrivateKey.generate()),
        signed(PAYLOAD)[:-4] + "AAAA",
        "A" + signed(PAYLOAD),
        signed({**PAYLOAD, "number": "4242424242424241"}),
        signed({**PAYLOAD, "exp_month": 13}),
        signed({**PAYLOAD, "cvc": "123"}),
        signed({name: value for name, value in PAYLOAD.items() if name != "cryptogram"}),
        signed([PAYLOAD]),
    ],
)
def test_what_the_wallet_did_not_sign_is_refused_with_its_pointer(token: str) -> None:
    problem = refused(token)
    assert (problem.problem_code, problem.pointer) == ("invalid_request", "/payment_method/wallet/token")
    assert NUMBER not in str(problem)


def test_one_wallets_token_is_not_anothers() -> None:
    assert refused(signed(PAYLOAD), provider="google_pay").pointer == "/payment_method/wallet/token"


def test_the_sandboxs_key_signs_nothing_in_live_mode() -> None:
    with pytest.raises(InvalidRequest) as raised:
        read("tok_ok", provider="apple_pay", mode="live")
    assert raised.value.problem_code == "payment_method_not_supported"
