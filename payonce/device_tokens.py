"""Tokens that a device wallet signed: checked, and turned into what a card acquirer takes.

A token is a payload and an Ed25519 signature over its bytes, both base64url, joined by a dot. The payload names the
provider, a network token with its expiry, the cryptogram of one payment and its ECI. Only the sandbox's wallets sign
here, with a key that everybody may know; a live wallet brings its own certificates, and encryption besides.
"""

import base64
import hashlib
import json
from typing import Annotated, Final, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from payonce.domain.card_numbers import passes_luhn
from payonce.domain.cards import NetworkToken
from payonce.domain.errors import InvalidRequest

PROVIDERS: Final = frozenset({"apple_pay", "google_pay"})
TEST_KEY: Final = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"payonce sandbox wallet").digest())
"""The sandbox wallets' key: no secret, it signs nothing that is worth anything."""
TEST_NUMBERS: Final = {"tok_ok": "4242424242424242", "tok_declined": "4000000000000002"}
_TEST_CRYPTOGRAM: Final = base64.b64encode(b"payonce-sandbox-cryptogram").decode()


class _Payload(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    provider: Literal["apple_pay", "google_pay"]
    number: Annotated[str, Field(pattern="^[0-9]{12,19}$", repr=False)]
    exp_month: Annotated[int, Field(ge=1, le=12)]
    exp_year: Annotated[int, Field(ge=2000, le=2099)]
    cryptogram: Annotated[str, Field(min_length=16, max_length=64, repr=False)]
    eci: Annotated[str, Field(pattern="^0?[0-7]$")]


def read(token: str, *, provider: str, mode: str) -> NetworkToken:
    """The network token, once its signature is known to be the wallet's. Raises `InvalidRequest`."""
    if mode != "test":
        raise InvalidRequest(
            f"No connector account takes {provider} payments in {mode} mode.",
            pointer="/payment_method/type",
            code="payment_method_not_supported",
        )
    if token in TEST_NUMBERS:
        token = signed_by_test_wallet(provider=provider, number=TEST_NUMBERS[token])
    payload = _verified(token)
    if payload is None or payload.provider != provider or not passes_luhn(payload.number):
        raise InvalidRequest("This is not a token of that wallet.", pointer="/payment_method/wallet/token")
    return NetworkToken(payload.number, payload.exp_month, payload.exp_year, payload.cryptogram, payload.eci)


def signed_by_test_wallet(*, provider: str, number: str) -> str:
    """A token as the sandbox's wallet would give it for this card."""
    payload = {
        "provider": provider,
        "number": number,
        "exp_month": 12,
        "exp_year": 2040,
        "cryptogram": _TEST_CRYPTOGRAM,
        "eci": "05",
    }
    body = json.dumps(payload, sort_keys=True).encode()
    return f"{_text(body)}.{_text(TEST_KEY.sign(body))}"


def _verified(token: str) -> _Payload | None:
    """The payload, looked into only when its signature holds."""
    body, _, signature = token.partition(".")
    try:
        raw = base64.urlsafe_b64decode(body + "==")
        TEST_KEY.public_key().verify(base64.urlsafe_b64decode(signature + "=="), raw)
        return _Payload.model_validate_json(raw)
    except (ValueError, InvalidSignature, ValidationError):
        return None


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
