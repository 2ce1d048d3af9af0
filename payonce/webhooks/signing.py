"""The headers that prove where a delivery comes from. Source: Standard Webhooks 1.0.0."""

import base64
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook

SECRET_PREFIX = "whsec_"  # noqa: S105 - the format's public prefix
SECRET_BYTES = 32  # the format asks for 24 to 64


def new_secret() -> str:
    """A secret that no endpoint had before: `whsec_` and the base64 of 32 random bytes."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(
    *, event_id: str, at: datetime, body: bytes, signing_secrets: Sequence[str]
) -> dict[str, str]:
    """The three headers of an attempt at this time; every secret signs, so that one may be replaced."""
    moment = at.astimezone(UTC)
    text = body.decode()
    signatures = [Webhook(secret).sign(event_id, moment, text) for secret in signing_secrets]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
