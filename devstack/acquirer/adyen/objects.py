"""Payments and modifications in the sandbox's file, with what is nobody's business."""

import json
import secrets
import sqlite3
import string
from typing import Any

from devstack.acquirer.adyen.errors import Json

_LETTERS = string.ascii_uppercase + string.digits
NOTIFICATION_PREFIX = "adyen_"


def new_psp_reference() -> str:
    """16 characters. Source: spec, `pspReference`: globally unique."""
    return "".join(secrets.choice(_LETTERS) for _ in range(16))


def put(db: sqlite3.Connection, kind: str, body: Json) -> None:
    """It is stored, new or changed."""
    db.execute(
        "INSERT INTO adyen_objects (id, account, kind, reference, body) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET body = excluded.body",
        (body["psp"], body["account"], kind, body["reference"], json.dumps(body)),
    )


def find(db: sqlite3.Connection, kind: str, psp: str) -> Json | None:
    """The payment or modification of this reference."""
    row = db.execute("SELECT body FROM adyen_objects WHERE id = ? AND kind = ?", (psp, kind)).fetchone()
    return None if row is None else dict(json.loads(row["body"]))


def of_reference(db: sqlite3.Connection, account: str, reference: str) -> Json | None:
    """The latest payment that the merchant named so; *guess*: no page says which of several is meant."""
    row = db.execute(
        "SELECT body FROM adyen_objects WHERE account = ? AND kind = 'payment' AND reference = ?"
        " ORDER BY position DESC LIMIT 1",
        (account, reference),
    ).fetchone()
    return None if row is None else dict(json.loads(row["body"]))


def of_member(db: sqlite3.Connection, member: str, value: Any) -> Json | None:
    """The latest payment whose own member is this. The member's name is this package's."""
    row = db.execute(
        f"SELECT body FROM adyen_objects WHERE kind = 'payment' AND json_extract(body, '$.{member}') = ?"  # noqa: S608
        " ORDER BY position DESC LIMIT 1",
        (value,),
    ).fetchone()
    return None if row is None else dict(json.loads(row["body"]))
