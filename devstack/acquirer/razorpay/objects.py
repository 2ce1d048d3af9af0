"""Razorpay's entities in the sandbox's file: kept as they are answered, with what is nobody's business beside them.

Source: api/understand: an id is 14 characters, letters and digits; a list is a collection with `count` and `items`.
"""

import json
import secrets
import sqlite3
import string
from dataclasses import dataclass

from devstack.acquirer.razorpay.accounts import Account
from devstack.acquirer.razorpay.errors import Json, missing

_LETTERS = string.ascii_letters + string.digits
EVENT_PREFIX = "rzpevent_"  # within the sandbox; the header has the rest


@dataclass(slots=True)
class Stored:
    """An entity and, `aside`, what the sandbox knows of it. `body` is what is answered."""

    id: str
    body: Json
    aside: Json


def new_id(prefix: str) -> str:
    """An id of Razorpay's look."""
    return f"{prefix}_" + "".join(secrets.choice(_LETTERS) for _ in range(14))


def put(db: sqlite3.Connection, account: Account, stored: Stored) -> None:
    """The entity is stored, new or changed."""
    body, aside = json.dumps(stored.body), json.dumps(stored.aside)
    db.execute(
        "INSERT INTO razorpay_objects (id, account, livemode, type, created, body, aside)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET body = excluded.body, aside = excluded.aside",
        (
            stored.id,
            account.id,
            int(account.livemode),
            stored.body["entity"],
            stored.body["created_at"],
            body,
            aside,
        ),
    )


def find(db: sqlite3.Connection, account: Account, type: str, own_id: str) -> Stored | None:
    """The account's entity. One of another account or mode is not there."""
    row = db.execute(
        "SELECT id, body, aside FROM razorpay_objects WHERE id = ? AND account = ? AND livemode = ? AND type = ?",
        (own_id, account.id, int(account.livemode), type),
    ).fetchone()
    return None if row is None else _stored(row)


def get(db: sqlite3.Connection, account: Account, type: str, own_id: str) -> Stored:
    """The account's entity. Raises `Refusal` where it has none."""
    stored = find(db, account, type, own_id)
    if stored is None:
        raise missing()
    return stored


def owner(db: sqlite3.Connection, own_id: str) -> tuple[str, bool, str] | None:
    """Account, mode and type of an entity."""
    row = db.execute(
        "SELECT account, livemode, type FROM razorpay_objects WHERE id = ?", (own_id,)
    ).fetchone()
    return None if row is None else (row["account"], bool(row["livemode"]), row["type"])


def listed(
    db: sqlite3.Connection,
    account: Account,
    type: str,
    *,
    where: dict[str, str],
    query: Json,
    count: int,
    skip: int,
    newest_first: bool,
) -> list[Stored]:
    """Up to `count` entities after the first `skip`. The members in `where` are this package's own."""
    conditions: list[str] = ["account = ?", "livemode = ?", "type = ?"]
    values: list[str | int] = [account.id, int(account.livemode), type]
    for member, value in where.items():
        conditions.append(f"json_extract(body, '$.{member}') = ?")
        values.append(value)
    for name, sign in (("from", ">="), ("to", "<=")):
        if name in query:
            conditions.append(f"created {sign} ?")
            values.append(query[name])
    rows = db.execute(
        f"SELECT id, body, aside FROM razorpay_objects WHERE {' AND '.join(conditions)}"  # noqa: S608 - ours
        f" ORDER BY position {'DESC' if newest_first else 'ASC'} LIMIT ? OFFSET ?",
        (*values, count, skip),
    ).fetchall()
    return [_stored(row) for row in rows]


def collection(items: list[Json]) -> Json:
    """A list as it is answered."""
    return {"entity": "collection", "count": len(items), "items": items}


def _stored(row: sqlite3.Row) -> Stored:
    return Stored(row["id"], json.loads(row["body"]), json.loads(row["aside"]))
