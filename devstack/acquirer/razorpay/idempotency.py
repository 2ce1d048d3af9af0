"""What was answered under a refund's key is answered again; no other request has a key.

Source: api/refunds/normal-refunds-idempotent: header, charset, length; the body must be the same, else 409, and so
while the first is in progress. Two sentences of that page differ on the former (a table says 409, a tip says
BAD_REQUEST): here it is 409 with that code. That errors are not kept, that a key is an account's in its mode, and how
long it is kept, is a *guess*.
"""

import hashlib
import json
import re
import sqlite3
from dataclasses import dataclass

from devstack.acquirer import store
from devstack.acquirer.config import Config
from devstack.acquirer.movements import Terms
from devstack.acquirer.razorpay.accounts import Account
from devstack.acquirer.razorpay.errors import Json, elsewhere

HEADER = "x-refund-idempotency"
KEY_MIN, KEY_MAX = 10, 255


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the request that it came with."""

    account: Account
    text: str
    fingerprint: str

    def identity(self) -> tuple[str, bool, str]:
        """Within what it is one key."""
        return self.account.id, self.account.livemode, self.text


def key(account: Account, text: str, path: str, body: Json) -> Key:
    """The key, well-formed. Raises `Refusal`."""
    if len(text) < KEY_MIN:
        raise elsewhere(400, f"The idempotency key must be at least {KEY_MIN} characters long.")
    if len(text) > KEY_MAX or not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        description = (
            "The idempotency key must only contain alphanumeric characters, underscores, and hyphens"
        )
        raise elsewhere(400, description)
    fingerprint = hashlib.sha256(json.dumps([path, body], sort_keys=True).encode()).hexdigest()
    return Key(account, text, fingerprint)


def saved(db: sqlite3.Connection, key: Key, config: Config, terms: Terms) -> str | None:
    """The answer to repeat, if there is one. Raises `Refusal` where the key was another request's."""
    since = config.honoured_since(terms.now)
    if since is None:
        return None
    row = db.execute(
        "SELECT * FROM razorpay_keys WHERE account = ? AND livemode = ? AND key = ? AND saved_at > ?"
        " ORDER BY position DESC LIMIT 1",
        (key.account.id, int(key.account.livemode), key.text, store.timestamp(since)),
    ).fetchone()
    if row is None:
        return None
    if row["fingerprint"] != key.fingerprint:
        raise elsewhere(409, "Different request with the same idempotency key has already been processed.")
    return str(row["body"])


def save(db: sqlite3.Connection, key: Key, body: str, terms: Terms) -> None:
    """The answer will be repeated."""
    store.inserted(
        db,
        "razorpay_keys",
        account=key.account.id,
        livemode=int(key.account.livemode),
        key=key.text,
        fingerprint=key.fingerprint,
        body=body,
        saved_at=store.timestamp(terms.now),
    )
