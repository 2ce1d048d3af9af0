"""The headers that prove where a delivery comes from. Source: Standard Webhooks 1.0.0.

An endpoint signs in one of two ways: `hmac` (v1) with a secret that both sides know, or `ed25519` (v1a) with a
private key that never leaves us, of which the merchant gets the public one.
"""

import base64
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks import Webhook

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the format's public prefix
SIGNING_KEY_PREFIX: Final = "whsk_"
PUBLIC_KEY_PREFIX: Final = "whpk_"
SECRET_BYTES: Final = 32  # the format asks for 24 to 64; an ed25519 seed has 32 (RFC 8032 §5.1.5)


class Signing(StrEnum):
    """How an endpoint's deliveries are signed."""

    HMAC = "hmac"
    ED25519 = "ed25519"


def new_secret(signing: Signing = Signing.HMAC) -> str:
    """A secret that no endpoint had before: its prefix and the base64 of 32 random bytes.

    In a `whsk_` key the public key follows them, as Svix, whose scheme `v1a` was first, writes such keys.
    """
    random = secrets.token_bytes(SECRET_BYTES)
    if signing is Signing.HMAC:
        return SECRET_PREFIX + _base64(random)
    public = Ed25519PrivateKey.from_private_bytes(random).public_key().public_bytes_raw()
    return SIGNING_KEY_PREFIX + _base64(random + public)


def public_key(signing_key: str) -> str:
    """What verifies the signatures of a `whsk_` key: `whpk_` and the base64 of the public key's 32 bytes."""
    return PUBLIC_KEY_PREFIX + _base64(_private_key(signing_key).public_key().public_bytes_raw())


def signed_headers(
    *, event_id: str, at: datetime, body: bytes, signing_secrets: Sequence[str]
) -> dict[str, str]:
    """The three headers of an attempt at this time; every secret signs, so that one may be replaced.

    A `whsec_` secret signs as `v1`, a `whsk_` key as `v1a`.
    """
    moment = at.astimezone(UTC)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(_signature(key, event_id, moment, body) for key in signing_secrets),
    }


def _signature(secret: str, event_id: str, at: datetime, body: bytes) -> str:
    if not secret.startswith(SIGNING_KEY_PREFIX):
        return Webhook(secret).sign(event_id, at, body.decode())
    content = f"{event_id}.{int(at.timestamp())}.".encode() + body
    return "v1a," + _base64(_private_key(secret).sign(content))


def _private_key(signing_key: str) -> Ed25519PrivateKey:
    key = base64.b64decode(signing_key.removeprefix(SIGNING_KEY_PREFIX), validate=True)
    return Ed25519PrivateKey.from_private_bytes(key[:SECRET_BYTES])


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
