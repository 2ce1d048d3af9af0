"""The secrets of webhook endpoints, sealed: one is current, those before it sign until they expire."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, RowMapping, delete, func, insert, or_, select, update

from payonce.domain.ids import random_id
from payonce.sealing import Sealed, Sealer
from payonce.storage.driver.connection import Connection
from payonce.storage.tables import webhook_endpoints as endpoints
from payonce.storage.tables import webhook_secrets as table

OVERLAP: Final = timedelta(hours=24)  # both sign, so that a merchant may change over at any time of a day
ACTIVE_MAX: Final = 10  # a signature each on every attempt: rotated more often, the oldest ends sooner
SEALED_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSecret:
    """One secret as it lies in Postgres."""

    id: str
    endpoint_id: str
    algorithm: str
    sealed: Sealed
    created_at: datetime
    expires_at: datetime | None = None  # none: the current one

    @property
    def about(self) -> tuple[str, ...]:
        """What the sealed value is bound to."""
        return about(self.id, endpoint_id=self.endpoint_id, algorithm=self.algorithm)


def about(secret_id: str, *, endpoint_id: str, algorithm: str) -> tuple[str, ...]:
    """What a secret's sealed value is bound to: moved to another row, it does not open."""
    return ("webhook_secrets", endpoint_id, secret_id, algorithm)


def seal_secret(
    sealer: Sealer, plain: str, *, endpoint_id: str, algorithm: str, at: datetime
) -> StoredSecret:
    """The secret as it may be stored, as the endpoint's current one."""
    id_ = random_id("whs")
    bound = about(id_, endpoint_id=endpoint_id, algorithm=algorithm)
    return StoredSecret(
        id=id_,
        endpoint_id=endpoint_id,
        algorithm=algorithm,
        sealed=sealer.seal(plain, about=bound),
        created_at=at,
    )


async def insert_secret(connection: Connection, secret: StoredSecret) -> None:
    """A new endpoint's deliveries are signed with it."""
    values = {
        "id": secret.id,
        "endpoint_id": secret.endpoint_id,
        "algorithm": secret.algorithm,
        "key_id": secret.sealed.key_id,
        "sealed": secret.sealed.data,
        "created_at": secret.created_at,
        "expires_at": secret.expires_at,
    }
    await connection.execute(insert(table), values)


async def rotate_secret(connection: Connection, secret: StoredSecret) -> bool:
    """The secret is current; those before sign for `OVERLAP` more, at most `ACTIVE_MAX` in all.

    Two rotations at a time are one after the other: the endpoint's row is locked. False: it is gone.
    """
    endpoint = select(endpoints.c.id).where(endpoints.c.id == secret.endpoint_id).with_for_update()
    if (await connection.execute(endpoint)).first() is None:
        return False
    mine = table.c.endpoint_id == secret.endpoint_id
    await connection.execute(
        update(table)
        .where(mine, table.c.expires_at.is_(None))
        .values(expires_at=func.clock_timestamp() + OVERLAP)
    )
    await insert_secret(connection, secret)
    newest = select(table.c.id).where(mine, _active()).order_by(*_NEWEST_FIRST).limit(ACTIVE_MAX)
    await connection.execute(delete(table).where(mine, table.c.id.not_in(newest)))
    return True


async def active_secrets(
    connection: Connection, endpoint_ids: Sequence[str]
) -> Mapping[str, tuple[StoredSecret, ...]]:
    """What signs for each endpoint now, the current one first; none for an endpoint that is gone."""
    query = select(table).where(table.c.endpoint_id.in_(endpoint_ids), _active()).order_by(*_NEWEST_FIRST)
    found: defaultdict[str, list[StoredSecret]] = defaultdict(list)
    for row in (await connection.execute(query)).mappings():
        found[row["endpoint_id"]].append(_secret_from(row))
    return {endpoint_id: tuple(secrets) for endpoint_id, secrets in found.items()}


async def seal_plain_secrets(
    connection: Connection,
    sealer: Sealer,
    *,
    endpoint_id: str | None = None,
    limit: int = SEALED_AT_ONCE,
) -> int:
    """How many endpoints, or whether this one, had a secret in the clear; now it is sealed, and only so.

    At most `limit` at a time: until it returns 0, repeat it. Safe at any time.
    """
    query = select(endpoints.c.id, endpoints.c.secret, endpoints.c.created_at).where(
        endpoints.c.secret.is_not(None)
    )
    if endpoint_id is not None:
        query = query.where(endpoints.c.id == endpoint_id)
    rows = (await connection.execute(query.order_by(endpoints.c.id).limit(limit).with_for_update())).all()
    for row in rows:
        secret = seal_secret(sealer, row.secret, endpoint_id=row.id, algorithm="hmac", at=row.created_at)
        await insert_secret(connection, secret)
    await connection.execute(
        update(endpoints).where(endpoints.c.id.in_([row.id for row in rows])).values(secret=None)
    )
    return len(rows)


async def seal_again(connection: Connection, sealer: Sealer, *, limit: int = SEALED_AT_ONCE) -> int:
    """How many secrets were sealed with another key than the sealer's first; now they are sealed with that one.

    At most `limit` at a time: once it returns 0, no secret needs another key. Raises `CannotUnseal`.
    """
    query = select(table).where(table.c.key_id != sealer.key_id).order_by(table.c.id).limit(limit)
    found = (await connection.execute(query.with_for_update())).mappings().all()
    for secret in map(_secret_from, found):
        sealed = sealer.seal(sealer.unseal(secret.sealed, about=secret.about), about=secret.about)
        await connection.execute(
            update(table).where(table.c.id == secret.id).values(key_id=sealed.key_id, sealed=sealed.data)
        )
    return len(found)


_NEWEST_FIRST = (table.c.expires_at.desc().nulls_first(), table.c.created_at.desc(), table.c.id)


def _active() -> ColumnElement[bool]:
    return or_(table.c.expires_at.is_(None), table.c.expires_at > func.clock_timestamp())


def _secret_from(row: RowMapping) -> StoredSecret:
    return StoredSecret(
        id=row["id"],
        endpoint_id=row["endpoint_id"],
        algorithm=row["algorithm"],
        sealed=Sealed(row["key_id"], bytes(row["sealed"])),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
    )
