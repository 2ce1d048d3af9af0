"""Adyen's webhooks: who signed them, and what they say of our attempts.

Adyen cannot be asked: what is signed is a fact. That is the reference of what happened, of the payment it belongs to,
the merchant account, our reference, the amount, the event and its yes or no; the rest is kept and decides nothing.
Source: docs.adyen.com/development-resources/webhooks/verify-hmac-signatures and /webhook-types, Webhooks v1.
Read, not tried.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import structlog
from pydantic import ValidationError

from payonce.connectors.adyen import disputing, reading, references
from payonce.connectors.adyen.answers import NotificationItem
from payonce.connectors.adyen.references import Asked
from payonce.connectors.base import Callback
from payonce.domain.errors import CallbackInvalid, OutcomeUnknown
from payonce.domain.facts import (
    Approved,
    DeclineCode,
    Declined,
    Expired,
    Foreign,
    Redone,
    Reversed,
    Told,
    Undone,
)

log = structlog.get_logger(__name__)

ITEMS_MAX: Final = 50
SEPARATOR: Final = ":"
_ESCAPE: Final = "\\"
_SIGNATURE: Final = "hmacSignature"
_CANCELS: Final = ("CANCELLATION", "TECHNICAL_CANCEL", "CANCEL_OR_REFUND")
_CAME_BACK: Final = ("REFUND_FAILED", "REFUNDED_REVERSED")
# By which events what was asked for under a reference is said to be done, and to be taken back.
_OWN: Final[Mapping[Asked, tuple[str, ...]]] = {
    Asked.CAPTURE: ("CAPTURE",),
    Asked.CANCEL: ("CANCELLATION",),
    Asked.REFUND: ("REFUND",),
    Asked.REVERSAL: ("TECHNICAL_CANCEL", "CANCEL_OR_REFUND"),
}
_UNDOING: Final[Mapping[Asked, tuple[str, ...]]] = {
    Asked.CAPTURE: ("CAPTURE_FAILED",),
    Asked.CANCEL: (),
    Asked.REFUND: _CAME_BACK,
    Asked.REVERSAL: _CAME_BACK,
}
_BY_OTHERS: Final[Mapping[str, Literal["capture", "refund", "void"]]] = {
    "CAPTURE": "capture",
    "REFUND": "refund",
    "CANCELLATION": "void",
    "EXPIRE": "void",
}


def read(
    headers: Mapping[str, str],
    body: bytes,
    *,
    keys: Sequence[bytes],
    logins: Sequence[str],
    merchant_account: str,
) -> Callback:
    """What the items say, once each is signed by one of the keys. Raises `CallbackInvalid`.

    An item of another merchant account, or one with a signed member that could be read as two, makes the whole
    message invalid. So does a missing login, where the account has one.
    """
    if logins and not _logged_in(headers.get("authorization", ""), logins):
        raise CallbackInvalid
    said = [
        _callback(item, _verified(item, keys=keys, merchant_account=merchant_account))
        for item in _items(body)
    ]
    first, *beside = said
    return Callback(first.event_id, first.reference, first.fact, tuple(beside))


def signature(signed: Sequence[str], key: bytes) -> str:
    """Adyen's over these members."""
    text = SEPARATOR.join(signed)
    return base64.b64encode(
        hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    ).decode()


def _items(body: bytes) -> list[dict[str, Any]]:
    try:
        message = json.loads(body)
        items = [each["NotificationRequestItem"] for each in message["notificationItems"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise CallbackInvalid from None  # the error holds the raw body
    if not 0 < len(items) <= ITEMS_MAX or not all(isinstance(item, dict) for item in items):
        raise CallbackInvalid
    return items


def _verified(raw: dict[str, Any], *, keys: Sequence[bytes], merchant_account: str) -> NotificationItem:
    try:
        item = NotificationItem.model_validate(raw)
    except ValidationError:
        raise CallbackInvalid from None
    if any(SEPARATOR in member or _ESCAPE in member for member in item.signed):
        raise CallbackInvalid
    given, held = item.additional.get(_SIGNATURE, "").encode("utf-8", "surrogatepass"), False
    for key in keys:
        held |= hmac.compare_digest(signature(item.signed, key).encode(), given)
    if not held or item.account != merchant_account:
        raise CallbackInvalid
    return item


def _logged_in(header: str, logins: Sequence[str]) -> bool:
    held = False
    for login in logins:
        expected = "Basic " + base64.b64encode(login.encode()).decode()
        held |= hmac.compare_digest(expected.encode(), header.encode())
    return held


def _callback(raw: dict[str, Any], item: NotificationItem) -> Callback:
    """Of an attempt of ours with its fact. Which event it is is not signed, so it is known by all that it says."""
    whole = json.dumps(raw, sort_keys=True, separators=(",", ":"))
    event_id = hashlib.sha256(whole.encode()).hexdigest()
    ours = references.read(item.reference)
    if ours is None:  # a payment that was made elsewhere, a report, a test
        return Callback(event_id, item.reference or item.psp)
    reference, what = ours
    try:
        return Callback(event_id, reference, _fact(item, what, event_id=event_id))
    except OutcomeUnknown as unknown:
        log.error("acquirer_amount_unreadable", reference=reference, reason=unknown.message)
        return Callback(event_id, reference)


def _fact(item: NotificationItem, what: Asked, *, event_id: str) -> Told | None:
    """What a signed item says of the attempt whose reference it has; None: nothing that is certain.

    A bank's word is about the payment, whatever was asked for under its reference. What was not done says nothing,
    but for a payment, a capture and a refund that were turned down: a cancel may have been refused since it was done
    before.
    """
    yes = item.success == "true"
    if item.event in disputing.EVENTS:
        return disputing.read(item) if yes else None
    if what.is_payment:
        fact = _of_payment(item, what, event_id=event_id) if yes else _turned_down(item, ("AUTHORISATION",))
    else:
        fact = _of_modification(item, what, event_id=event_id) if yes else _turned_down(item, _OWN[what])
    if fact is None:
        log.warning("acquirer_event_unmapped", event_code=item.event, success=item.success)
    return fact


def _turned_down(item: NotificationItem, events: Sequence[str]) -> Declined | None:
    """Of a modification the request, and not the payment. The reason is not signed: our code does not follow it."""
    if item.event not in events or item.event in _CANCELS:
        return None
    raw = {} if item.reason is None else {"reason": item.reason}
    return Declined(DeclineCode.GENERIC_DECLINE, item.psp, raw)


def _of_modification(item: NotificationItem, what: Asked, *, event_id: str) -> Told | None:
    if item.event in _OWN[what]:
        reverses = what is Asked.REVERSAL
        return Reversed() if reverses else Approved(item.psp, *reading.money(item.amount), event=event_id)
    if item.event not in _UNDOING[what]:
        return None
    if what is Asked.REVERSAL:  # it had been a refund: what was reversed stands again
        return Redone(event_id, *reading.money(item.amount))
    return _undone(item, event_id=event_id)


def _of_payment(item: NotificationItem, what: Asked, *, event_id: str) -> Told | None:
    """How it was authorized, and what was done with it without a request of ours."""
    match item.event:
        case "AUTHORISATION":
            return _authorised(item, what, psp=item.psp, event=None)
        case "CAPTURE" if what is Asked.SALE:
            psp = item.original or ""
            return _authorised(item, what, psp=psp, event=event_id) if psp else None
        case "CAPTURE_FAILED":
            return replace(_undone(item, event_id=event_id), about=item.original or None)
        case event if event in _CAME_BACK:
            return _refund_undone(item)
        case "OFFER_CLOSED":
            return Expired(item.psp)
        case "TECHNICAL_CANCEL":
            return Reversed(about=item.original or None)
        case event if event in _BY_OTHERS:
            ended = "/expired" if event == "EXPIRE" else ""  # under the payment's own reference
            return Foreign(
                f"{item.psp}{ended}",
                _BY_OTHERS[event],
                *reading.money(item.amount),
                about=item.original or None,
            )
        case _:
            return None


def _authorised(item: NotificationItem, what: Asked, *, psp: str, event: str | None) -> Approved:
    known = reading.evidence(item.additional, scheme=item.method, signed=False)
    return Approved(psp, *reading.money(item.amount), stage=reading.stage(what), evidence=known, event=event)


def _undone(item: NotificationItem, *, event_id: str) -> Undone:
    return Undone(event_id, *reading.money(item.amount), item.reason or "")


def _refund_undone(item: NotificationItem) -> Undone | None:
    """Of a refund that others made, whose reference the failure has. Each of its two names counts once.

    The second is news only where a person had said after the first that it was paid. None where it does not say
    which refund, or has the payment's own reference: then nothing is taken out of the payment.
    """
    if not item.original or item.original == item.psp:
        return None
    return Undone(f"{item.psp}/{item.event}", *reading.money(item.amount), item.reason or "", refund=item.psp)
