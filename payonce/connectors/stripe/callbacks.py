"""Stripe's webhooks: who signed them, and which attempt of ours they make us ask about.

Source: docs.stripe.com/webhooks/signature and /api/events/object. Read, not tried.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from payonce.connectors.base import Callback
from payonce.connectors.stripe.objects import REFERENCE, REVERSAL, StripeEvent
from payonce.domain.errors import CallbackInvalid
from payonce.domain.facts import FraudWarned

AGE_S_MAX: Final = 300
SIGNATURES_MAX: Final = 16  # of one header: Stripe signs with each secret that is being rolled over
HEADER_LENGTH_MAX: Final = 2048
_WARNING: Final = "radar.early_fraud_warning.created"
_OF_BANKS: Final = ("dispute", "radar.early_fraud_warning")
_AT: Final = re.compile(r"[0-9]{1,12}")
_MAC: Final = re.compile(r"[0-9a-f]{64}")
_REFERENCE: Final = re.compile(r"[!-~]{1,128}")


def read(
    header: str, body: bytes, *, secrets: Sequence[str], live: bool, identity: str | None, now: datetime
) -> Callback:
    """The callback, once one of the secrets has signed its raw bytes not long ago. Raises `CallbackInvalid`.

    An event of the other mode, or of an account that is not ours, is none of this account's. What names no attempt of
    ours has Stripe's own id as its reference.
    """
    _verify(header, body, secrets=secrets, now=now)
    try:
        event = StripeEvent.model_validate_json(body)
    except ValidationError:
        raise CallbackInvalid from None  # the error holds the raw body
    another = event.account is not None and event.account != identity
    if event.livemode is not live or another:
        raise CallbackInvalid
    told = event.data.object
    fact = FraudWarned(told.id) if event.type == _WARNING else None
    return Callback(event_id=event.id, reference=_about(event), fact=fact)


def _about(event: StripeEvent) -> str:
    """Our reference where the object has it, else Stripe's of the intent, or of whatever it is about.

    A charge has the metadata of its intent, and so our reference. A dispute or a warning has none of ours: by its own
    id the payment is found (`Disputing.locate`).
    """
    told = event.data.object
    if told.object in _OF_BANKS:
        return told.id
    metadata = told.metadata or {}
    ours = metadata.get(REFERENCE) or metadata.get(REVERSAL)
    if ours is not None and _REFERENCE.fullmatch(ours):
        return ours
    return told.payment_intent or told.id


def _verify(header: str, body: bytes, *, secrets: Sequence[str], now: datetime) -> None:
    at, macs = _parsed(header)
    signed = at.encode() + b"." + body
    held = False
    for secret in secrets:
        expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        for mac in macs:
            held |= hmac.compare_digest(expected, mac)
    if not held or abs(now.timestamp() - int(at)) > AGE_S_MAX:
        raise CallbackInvalid


def _parsed(header: str) -> tuple[str, list[str]]:
    """The time and the signatures of the scheme v1; others are passed over, as Stripe says."""
    if len(header) > HEADER_LENGTH_MAX:
        raise CallbackInvalid
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t" and _AT.fullmatch(value)]
    macs = [value for name, _, value in parts if name == "v1" and _MAC.fullmatch(value)]
    if len(times) != 1 or not 0 < len(macs) <= SIGNATURES_MAX:
        raise CallbackInvalid
    return times[0], macs
