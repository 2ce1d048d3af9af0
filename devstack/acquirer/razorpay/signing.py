"""The signatures: of events, and of what the browser brings to `callback_url`.

Source: webhooks/validate-test: `X-Razorpay-Signature` is the HMAC-SHA256 of the raw body with the webhook's secret,
hexadecimal, an older event keeps the older secret, `x-razorpay-event-id` is one event's own (what it looks like is a
*guess*). s2s/json/v2/build-integration/cards, "Verify Payment Signature": order id, a bar, payment id, with the key's
secret.
"""

import hashlib
import hmac
import json
import sqlite3

from devstack.acquirer.razorpay.objects import EVENT_PREFIX

SIGNATURE_HEADER, EVENT_ID_HEADER = "X-Razorpay-Signature", "x-razorpay-event-id"


def headers(db: sqlite3.Connection, event_id: str, body: bytes) -> dict[str, str]:
    """What the request with the event carries besides."""
    row = db.execute("SELECT aside FROM razorpay_objects WHERE id = ?", (event_id,)).fetchone()
    secret = "" if row is None else json.loads(row["aside"])["secret"] or ""
    return {
        SIGNATURE_HEADER: _mac(secret, body),
        EVENT_ID_HEADER: event_id.removeprefix(EVENT_PREFIX),
        "User-Agent": "Razorpay-Webhook/v1",
    }


def of_payment(order_id: str, payment_id: str, *, secret: str) -> str:
    """`razorpay_signature`."""
    return _mac(secret, f"{order_id}|{payment_id}".encode())


def _mac(secret: str, message: bytes) -> str:
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
