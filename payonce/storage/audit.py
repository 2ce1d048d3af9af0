"""The audit log: an entry is written in the transaction that does what it tells, and holds or is lost with it.

The schema `audit` (migration 0023) belongs to a role of its own; others may add to it, and nobody changes it. No
entry waits for another: their order is that of the transactions.
"""

import secrets
from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, DateTime, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from payonce.domain.audit import Act, Actor, AuditAction, EntryKind, checked_why, hash_of_personal
from payonce.domain.ids import random_id
from payonce.storage.driver.connection import Connection
from payonce.storage.tables import Xid

SALT_BYTES: Final = 16

_schema = MetaData(schema="audit")
entries = Table(
    "entries",
    _schema,
    Column("id", Text, primary_key=True),
    Column("transaction_id", Xid),  # by default the writing one
    Column("at", DateTime(timezone=True)),  # by default now
    Column("kind", Text),
    Column("action", Text),
    Column("actor_kind", Text),
    Column("actor", Text),
    Column("subject", Text),
    Column("merchant_id", Text),
    Column("mode", Text),
    Column("details", JSONB),
    Column("personal_hash", LargeBinary),
)
personal = Table(
    "personal",
    _schema,
    Column("entry_id", Text, primary_key=True),
    Column("salt", LargeBinary),
    Column("members", JSONB),
)
seals = Table(
    "seals",
    _schema,
    Column("hour", DateTime(timezone=True), primary_key=True),
    Column("since", DateTime(timezone=True)),
    Column("first_transaction", Xid),
    Column("next_transaction", Xid),
    Column("entries", BigInteger),
    Column("digest", LargeBinary),
    Column("sealed_at", DateTime(timezone=True)),
)
told = Table(
    "told",
    _schema,
    Column("hour", DateTime(timezone=True), primary_key=True),
    Column("place", Text, primary_key=True),
    Column("agrees", Boolean),
    Column("told_at", DateTime(timezone=True)),
)


async def decided(connection: Connection, by: Actor, act: Act, *, why: str | None = None) -> None:
    """The decision is in the log once this transaction holds; where it cannot be written, nothing holds.

    Sent with the next read, or with the COMMIT. Raises `InvalidRequest` for a reason that is not to be kept.
    """
    await _add(connection, EntryKind.DECISION, by, act, why=checked_why(why))


async def accessed(
    connection: Connection,
    by: Actor,
    *,
    record_id: str,
    payment_id: str,
    merchant_id: str,
    mode: str,
    purpose: str,
) -> None:
    """That this card's number is taken is in the log once this transaction holds. As `decided`: no round trip."""
    act = Act(
        action=AuditAction.CARD_TAKEN,
        subject=record_id,
        merchant_id=merchant_id,
        mode=mode,
        details={"payment_id": payment_id, "purpose": purpose},
    )
    await _add(connection, EntryKind.ACCESS, by, act, why=None)


async def _add(connection: Connection, kind: EntryKind, by: Actor, act: Act, *, why: str | None) -> None:
    members = {name: text for name, text in (("origin", by.origin), ("why", why)) if text}
    salt = secrets.token_bytes(SALT_BYTES)
    row = {
        "id": random_id("aud"),
        "kind": kind,
        "action": act.action,
        "actor_kind": by.kind,
        "actor": by.id,
        "subject": act.subject,
        "merchant_id": act.merchant_id,
        "mode": act.mode,
        "details": dict(act.details),
        "personal_hash": hash_of_personal(salt, members) if members else None,
    }
    await connection.insert(entries, row)
    if members:
        await connection.insert(personal, {"entry_id": row["id"], "salt": salt, "members": members})
