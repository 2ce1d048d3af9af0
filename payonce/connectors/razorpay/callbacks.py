"""Razorpay's webhooks: who signed them, and which attempt of ours they make us ask about.

The signature is over the body alone: there is no time in it, and the id of the event, which comes in a header, is not
signed. So a body is known again by itself. Events are sent again for 24 hours, with the secret that they were first
signed with. Source: razorpay.com/docs/webhooks/validate-test and /docs/webhooks/faqs. Read, not tried.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

import structlog
from pydantic import ValidationError

from payonce.connectors.base import Callback, body_id
from payonce.connectors.razorpay import disputing
from payonce.connectors.razorpay.objects import REFERENCE, RazorpayEvent, RazorpayPayload
from payonce.domain.errors import CallbackInvalid
from payonce.domain.facts import Disputed

log = structlog.get_logger(__name__)

_MAC: Final = re.compile(r"[0-9a-f]{64}")
_REFERENCE: Final = re.compile(r"[!-~]{1,128}")


def read(signature: str, body: bytes, *, secrets: Sequence[str], identity: str | None) -> Callback:
    """The callback, once one of the secrets has signed its raw bytes. Raises `CallbackInvalid`.

    An event of another merchant is none of this account's. What names no attempt of ours has Razorpay's own id as its
    reference; what is about no payment at all (a settlement, say) its own: refused, it would be sent again, and count
    against the webhook.
    """
    if not (_MAC.fullmatch(signature) and _is_signed(signature, body, secrets)):
        raise CallbackInvalid
    try:
        event = RazorpayEvent.model_validate_json(body)
    except ValidationError:
        raise CallbackInvalid from None  # the error holds the raw body
    if identity is not None and event.account_id != identity:
        log.error("acquirer_event_of_another_merchant", event_name=event.event)
        raise CallbackInvalid
    event_id = body_id(body)
    return Callback(event_id=event_id, reference=_about(event.payload) or event_id, fact=_disputed(event))


def _disputed(event: RazorpayEvent) -> Disputed | None:
    """How the dispute stands that the event is about: nobody can be asked for the disputes of a payment."""
    raw = event.payload.dispute
    return None if raw is None else disputing.read(raw, name=event.event, at=event.created_at)


def _is_signed(signature: str, body: bytes, secrets: Sequence[str]) -> bool:
    held = False
    for secret in filter(None, secrets):  # one that was not given is kept as an empty text
        expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        held |= hmac.compare_digest(expected, signature)
    return held


def _about(payload: RazorpayPayload) -> str | None:
    """Our reference, of the refund before that of its payment; else Razorpay's id of the payment.

    A refund without one is somebody else's, or Razorpay's own: the authorization says what became of it.
    """
    refund, payment = payload.refund, payload.payment
    notes = [one.entity.notes for one in (refund, payment) if one is not None]
    ours = [text for text in (each.get(REFERENCE) for each in notes) if text and _REFERENCE.fullmatch(text)]
    if ours:
        return ours[0]
    if payment is not None:
        return payment.entity.id
    return None if refund is None else refund.entity.payment_id
