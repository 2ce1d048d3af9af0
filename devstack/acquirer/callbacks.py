"""Callbacks: what the merchant's side is told, when, and how it is signed. Inside the caller's transaction."""

import hashlib
import hmac
import json
import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from devstack.acquirer import store

RETRY_AFTER_S = (1, 2, 4, 8, 16)  # then it is dropped
SIGNATURE_HEADER = "Acquirer-Signature"


@dataclass(frozen=True, slots=True)
class Callback:
    """One that is due. Its body is the same bytes on every attempt."""

    position: int
    own_id: str
    reference: str
    url: str
    body: bytes


def queued(
    db: sqlite3.Connection,
    about: sqlite3.Row | Mapping[str, Any],
    *,
    status: str,
    amount: int,
    rrn: str | None,
    at: datetime,
    send_at: datetime,
    type: str = "payment.updated",
    operation: str = "authorize",
) -> None:
    """What became of the payment or operation will be told to its `callback_url`, if it has one."""
    if about["callback_url"] is None:
        return
    own_id = f"cb_{secrets.token_hex(12)}"
    body = {
        "id": own_id,
        "type": type,
        "created_at": store.timestamp(at),
        "reference": about["reference"],
        "payment_reference": about["payment_reference"],
        "operation": operation,
        "status": status,
        "amount": amount,
        "currency": about["currency"],
        **({} if rrn is None else {"rrn": rrn}),
    }
    put(db, own_id, about, url=about["callback_url"], body=body, at=at, send_at=send_at)


def put(
    db: sqlite3.Connection,
    own_id: str,
    about: sqlite3.Row | Mapping[str, Any],
    *,
    url: str,
    body: Mapping[str, Any],
    at: datetime,
    send_at: datetime,
) -> None:
    """The body will be sent to `url`, under its own id."""
    store.inserted(
        db,
        "callbacks",
        id=own_id,
        reference=about["reference"],
        payment_reference=about["payment_reference"],
        url=url,
        body=json.dumps(body),
        next_attempt_at=store.timestamp(send_at),
        created_at=store.timestamp(at),
    )


def due(db: sqlite3.Connection, now: datetime, *, limit: int) -> list[Callback]:
    """Up to `limit` callbacks whose time has come, in the order in which they are to leave."""
    rows = db.execute(
        "SELECT position, id, reference, url, body FROM callbacks WHERE next_attempt_at <= ?"
        " ORDER BY next_attempt_at, position LIMIT ?",
        (store.timestamp(now), limit),
    ).fetchall()
    return [
        Callback(row["position"], row["id"], row["reference"], row["url"], row["body"].encode())
        for row in rows
    ]


def silenced(db: sqlite3.Connection, now: datetime) -> None:
    """What is due now is never sent."""
    db.execute(
        "UPDATE callbacks SET next_attempt_at = NULL, outcome = 'off' WHERE next_attempt_at <= ?",
        (store.timestamp(now),),
    )


def tried(db: sqlite3.Connection, position: int, *, answer: str, delivered: bool, now: datetime) -> None:
    """The attempt is recorded: the callback is delivered, due again, or dropped after the last retry."""
    row = db.execute("SELECT attempts FROM callbacks WHERE position = ?", (position,)).fetchone()
    attempts = int(row["attempts"]) + 1
    outcome, next_attempt_at = "delivered" if delivered else None, None
    if not delivered and attempts <= len(RETRY_AFTER_S):
        next_attempt_at = store.timestamp(now + timedelta(seconds=RETRY_AFTER_S[attempts - 1]))
    elif not delivered:
        outcome = "dropped"
    db.execute(
        "UPDATE callbacks SET attempts = ?, last_answer = ?, outcome = ?, next_attempt_at = ?"
        " WHERE position = ?",
        (attempts, answer, outcome, next_attempt_at, position),
    )


def signature(body: bytes, *, key: bytes, now: datetime) -> str:
    """The header's value: the time in seconds, and the MAC over that time and the raw body."""
    seconds = int(now.timestamp())
    mac = hmac.new(key, f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={mac}"
