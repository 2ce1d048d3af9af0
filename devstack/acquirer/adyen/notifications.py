"""Standard webhooks: one item each, signed.

Source: spec, Webhooks: `NotificationRequestItem` and its examples; development-resources/webhooks/
verify-hmac-signatures: eight members joined by colons, HMAC-SHA256 with the key as hexadecimal, base64, in
`additionalData.hmacSignature`; an absent `originalReference` is empty.
"""

import base64
import binascii
import hashlib
import hmac
import json
import sqlite3
from datetime import datetime

from devstack.acquirer.adyen import accounts
from devstack.acquirer.adyen.accounts import Account
from devstack.acquirer.adyen.errors import Json


def item(
    account: Account,
    *,
    event: str,
    psp: str,
    original: str | None,
    reference: str,
    amount: Json,
    method: str,
    success: bool,
    reason: str,
    at: datetime,
    more: dict[str, str],
) -> Json:
    """The body of one webhook.

    Source: spec, Webhooks: `success` and `live` are texts; `operations`, of a successful AUTHORISATION only: what may
    follow; `eventDate` with seconds and a zone.
    """
    found: Json = {
        "eventCode": event,
        "success": "true" if success else "false",
        "pspReference": psp,
        "merchantAccountCode": account.id,
        "merchantReference": reference,
        "amount": amount,
        "paymentMethod": method,
        "reason": reason,
        "eventDate": at.isoformat(timespec="seconds"),
    }
    if original is not None:
        found["originalReference"] = original
    if event == "AUTHORISATION" and success:
        found["operations"] = ["CANCEL", "CAPTURE", "REFUND"]
    assert account.webhook is not None
    found["additionalData"] = {**more, "hmacSignature": signature(found, account.webhook.hmac_key)}
    return {
        "live": "true" if account.live else "false",
        "notificationItems": [{"NotificationRequestItem": found}],
    }


def signature(members: Json, key: str) -> str:
    """Of the eight members that are signed. A colon inside of one is not escaped."""
    parts = (
        members["pspReference"],
        members.get("originalReference", ""),
        members["merchantAccountCode"],
        members["merchantReference"],
        members["amount"]["value"],
        members["amount"]["currency"],
        members["eventCode"],
        members["success"],
    )
    signed = ":".join(str(part) for part in parts).encode()
    return base64.b64encode(hmac.new(binascii.a2b_hex(key), signed, hashlib.sha256).digest()).decode()


def headers(db: sqlite3.Connection, body: bytes) -> dict[str, str]:
    """What the request carries besides. Source: spec, Webhooks, `BasicAuth`."""
    code = json.loads(body)["notificationItems"][0]["NotificationRequestItem"]["merchantAccountCode"]
    account = accounts.of(db, code)
    webhook = None if account is None else account.webhook
    if webhook is None or webhook.username is None:
        return {}
    given = f"{webhook.username}:{webhook.password or ''}".encode()
    return {"Authorization": f"Basic {base64.b64encode(given).decode()}"}
