"""The signature of an event.

Source: webhooks/signature: `t` is the time in seconds, each `v1` the hexadecimal HMAC-SHA256 of that time, a dot
and the raw body, with the endpoint's secret; after a secret was rolled there is one signature for each.
"""

import hashlib
import hmac
import sqlite3
from datetime import datetime

from devstack.acquirer.stripe import accounts, objects

HEADER = "Stripe-Signature"


def headers(db: sqlite3.Connection, event_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """What the request with the event carries besides."""
    owner = objects.owner(db, event_id)
    account = None if owner is None else accounts.of(db, owner[0], livemode=owner[1])
    secrets = [] if account is None or account.webhook is None else account.webhook.secrets
    seconds = int(now.timestamp())
    macs = [
        hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
        for secret in secrets
    ]
    signed = ",".join([f"t={seconds}", *(f"v1={mac}" for mac in macs)])
    return {HEADER: signed, "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)"}
