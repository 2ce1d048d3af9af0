"""What was answered under an idempotency key is answered again.

Source: api/idempotent_requests: the first answer's status and body come again, a 500's too; other parameters are an
error; keys have up to 255 characters and may be pruned once they are 24 hours old; nothing is saved where the
endpoint did not begin. error-low-level: `Idempotent-Replayed` marks a repeat, a conflict is 409.
error-codes: `idempotency_key_in_use`.
"""

import hashlib
import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta

from devstack.acquirer import store
from devstack.acquirer.config import Config
from devstack.acquirer.stripe.accounts import Account
from devstack.acquirer.stripe.errors import Json, Refusal

KEY_MAX = 255


@dataclass(frozen=True, slots=True)
class Saved:
    """An answer that was given."""

    status_code: int
    body: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the request that it came with."""

    account: Account
    text: str
    fingerprint: str

    def identity(self) -> tuple[str, bool, str]:
        """Keys are an account's own, in each mode. *Guess*: no page says within what they are unique."""
        return self.account.id, self.account.livemode, self.text


def fingerprint(method: str, path: str, form: Json) -> str:
    """Two requests are the same where this is."""
    return hashlib.sha256(json.dumps([method, path, form], sort_keys=True).encode()).hexdigest()


def saved(db: sqlite3.Connection, key: Key, config: Config, now: datetime) -> Saved | None:
    """The answer to repeat, if there is one. Raises `Refusal` where the key was another request's."""
    if len(key.text) > KEY_MAX:
        raise Refusal(400, f"Idempotency keys can be up to {KEY_MAX} characters.", began=False)
    since = config.honoured_since(now)
    if since is None:
        return None
    since = max(since, now - timedelta(seconds=key.account.idempotency_s))
    row = db.execute(
        "SELECT * FROM stripe_keys WHERE account = ? AND livemode = ? AND key = ? AND saved_at > ?"
        " ORDER BY position DESC LIMIT 1",
        (key.account.id, int(key.account.livemode), key.text, store.timestamp(since)),
    ).fetchone()
    if row is None:
        return None
    if row["fingerprint"] != key.fingerprint:
        message = "Keys for idempotent requests can only be used with the same parameters they were first used with."
        raise Refusal(400, message, type="idempotency_error", began=False)
    return Saved(row["status_code"], row["body"], row["request_id"])


def in_use() -> Refusal:
    """Another request with this key is being executed."""
    message = "There is currently another in-progress request using this idempotency key."
    return Refusal(409, message, code="idempotency_key_in_use", type="idempotency_error", began=False)


def save(db: sqlite3.Connection, key: Key, answer: Saved, now: datetime) -> None:
    """The answer will be repeated."""
    store.inserted(
        db,
        "stripe_keys",
        account=key.account.id,
        livemode=int(key.account.livemode),
        key=key.text,
        fingerprint=key.fingerprint,
        status_code=answer.status_code,
        body=answer.body,
        request_id=answer.request_id,
        saved_at=store.timestamp(now),
    )
