"""Stripe's webhooks: signed, of this account and mode, and believed in nothing but what they are about.

Source: docs.stripe.com/webhooks ("Verify webhook signatures manually"): HMAC-SHA256 of `{t}.{body}` in the header's
`v1`, of which there are several while a secret is rolled.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from payonce.connectors.base import Callback
from payonce.connectors.stripe.answers import StripeEvent
from payonce.connectors.stripe.wire import REFERENCE, REVERSAL
from payonce.domain.errors import CallbackInvalid

TOLERANCE_S: Final = 300
HEADER_LENGTH_MAX: Final = 4096
SIGNATURES_MAX: Final = 16


def read(
    headers: Mapping[str, str], body: bytes, *, secrets: Sequence[str], livemode: bool, now: datetime
) -> Callback:
    """The callback. Raises `CallbackInvalid`.

    What carries no reference of ours is about nothing that payonce did, or is told by another event that does; it is
    kept under Stripe's own id of it.
    """
    _verify(headers.get("stripe-signature", ""), body, secrets=secrets, now=now)
    try:
        event = StripeEvent.model_validate_json(body)
    except ValidationError:
        raise CallbackInvalid from None  # the error holds the raw body
    if event.livemode is not livemode:
        raise CallbackInvalid
    told = event.data.object
    metadata = told.metadata or {}
    reference = metadata.get(REVERSAL) or metadata.get(REFERENCE) or told.payment_intent or told.id
    if not (reference.isascii() and reference.isprintable() and len(reference) <= 128):
        raise CallbackInvalid
    return Callback(event_id=event.id, reference=reference)


def _verify(header: str, body: bytes, *, secrets: Sequence[str], now: datetime) -> None:
    """Over the bytes as they came, in constant time, before anything is read of them."""
    if len(header) > HEADER_LENGTH_MAX or not header.isascii():
        raise CallbackInvalid
    pairs = [part.strip().partition("=")[::2] for part in header.split(",")]
    times = [value for name, value in pairs if name == "t"]
    given = [value for name, value in pairs if name == "v1"][:SIGNATURES_MAX]
    if len(times) != 1 or not times[0].isdigit() or len(times[0]) > 12 or not given:
        raise CallbackInvalid
    signed = times[0].encode() + b"." + body
    expected = [hmac.new(one.encode(), signed, hashlib.sha256).hexdigest() for one in secrets if one]
    fits = [hmac.compare_digest(mac, each) for mac in expected for each in given]
    if not any(fits) or abs(now.timestamp() - int(times[0])) > TOLERANCE_S:
        raise CallbackInvalid
