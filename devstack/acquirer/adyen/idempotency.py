"""What was answered under an idempotency key is answered again.

Source: development-resources/api-idempotency: the header `Idempotency-Key`, at most 64 characters; the answer of the
first attempt comes again; keys are unique within a company account, valid for at least 31 days; the key comes back in
the answer's header. Nothing is said of another body, or path, under the same key: that it gets the first answer, too,
is a *guess*.
"""

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta

from devstack.acquirer import store
from devstack.acquirer.adyen.accounts import Account
from devstack.acquirer.adyen.errors import invalid
from devstack.acquirer.config import Config

KEY_MAX = 64


@dataclass(frozen=True, slots=True)
class Saved:
    """An answer that was given."""

    status_code: int
    body: str


@dataclass(frozen=True, slots=True)
class Key:
    """A company's key."""

    company: str
    text: str


def of(company: str, text: str) -> Key:
    """The key of a request. Raises `Refusal`."""
    if len(text) > KEY_MAX:
        raise invalid("702", f"Idempotency-Key can be up to {KEY_MAX} characters")
    return Key(company, text)


def saved(db: sqlite3.Connection, key: Key, account: Account, config: Config, now: datetime) -> Saved | None:
    """The answer to repeat, if there is one."""
    since = config.honoured_since(now)
    if since is None:
        return None
    since = max(since, now - timedelta(seconds=account.idempotency_s))
    row = db.execute(
        "SELECT * FROM adyen_keys WHERE company = ? AND key = ? AND saved_at > ?"
        " ORDER BY position DESC LIMIT 1",
        (key.company, key.text, store.timestamp(since)),
    ).fetchone()
    return None if row is None else Saved(row["status_code"], row["body"])


def save(db: sqlite3.Connection, key: Key, status_code: int, body: object, now: datetime) -> None:
    """The answer will be repeated."""
    store.inserted(
        db,
        "adyen_keys",
        company=key.company,
        key=key.text,
        status_code=status_code,
        body=json.dumps(body),
        saved_at=store.timestamp(now),
    )
