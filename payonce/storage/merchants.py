"""Merchants and their API keys: a key is shown once and stored as a keyed hash."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

from sqlalchemy import RowMapping, func, insert, select, update

from payonce.domain.card_numbers import looks_like_card_number
from payonce.domain.errors import InvalidRequest, NotFound
from payonce.domain.ids import random_id
from payonce.domain.returning import origin_of
from payonce.storage.driver.connection import Connection
from payonce.storage.tables import api_keys, merchants

NAME_MAX_LENGTH = 200
RETURN_ORIGINS_MAX, ORIGIN_MAX_LENGTH = 50, 300
_KEY_BYTES = 24
_SHOWN_TAIL = 4


@dataclass(frozen=True, slots=True)
class Merchant:
    id: str
    name: str
    created_at: datetime
    return_origins: tuple[str, ...] = ()  # whose pages customers of live payments may be sent back to


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it may be shown: never the key itself."""

    id: str
    merchant_id: str
    mode: str
    prefix: str
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request speaks for: one merchant in one mode."""

    merchant_id: str
    mode: str
    return_origins: tuple[str, ...] = field(
        default=(), compare=False
    )  # the merchant's, when it was looked up


def hash_key(key: str, *, secret: bytes) -> bytes:
    """What is stored of an API key. A fast keyed hash serves: the key has 192 random bits."""
    return hmac.new(secret, key.encode(), hashlib.sha256).digest()


async def create_merchant(connection: Connection, *, name: str) -> Merchant:
    """Raises `InvalidRequest` for an empty or long name, and for one in which a card number stands."""
    if looks_like_card_number(name):
        raise InvalidRequest(
            "A merchant's name must not hold anything that looks like a card number.", pointer="/name"
        )
    if not 1 <= len(name.strip()) <= NAME_MAX_LENGTH:
        raise InvalidRequest(f"A merchant's name has 1 to {NAME_MAX_LENGTH} characters.", pointer="/name")
    merchant = Merchant(random_id("mer"), name.strip(), datetime.now(UTC))
    values = {"id": merchant.id, "name": merchant.name, "created_at": merchant.created_at}
    await connection.execute(insert(merchants).values(values))
    return merchant


async def list_merchants(connection: Connection, *, limit: int = 1_000) -> list[Merchant]:
    """The newest merchants first, at most `limit`."""
    rows = await connection.execute(select(merchants).order_by(merchants.c.created_at.desc()).limit(limit))
    return [_merchant_from(row) for row in rows.mappings()]


async def set_return_origins(connection: Connection, merchant_id: str, *, origins: Sequence[str]) -> Merchant:
    """The merchant's live customers may be sent back to these origins, and to no others any more.

    Raises `NotFound`, and `InvalidRequest` for what is no https origin, and for too many.
    """
    if len(origins) > RETURN_ORIGINS_MAX:
        raise InvalidRequest(
            f"A merchant has at most {RETURN_ORIGINS_MAX} origins.", pointer="/return_origins"
        )
    kept = list(dict.fromkeys(map(_as_origin, origins)))
    query = (
        update(merchants)
        .where(merchants.c.id == merchant_id)
        .values(return_origins=kept)
        .returning(*merchants.c)
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no merchant {merchant_id}.")
    return _merchant_from(row)


def _as_origin(text: str) -> str:
    """In the spelling in which origins are compared. Raises `InvalidRequest`."""
    origin = origin_of(text) if len(text) <= ORIGIN_MAX_LENGTH and text.isascii() else None
    bare = origin is not None and urlsplit(text).path in ("", "/") and not set(text) & set("?#@")
    if origin is None or not bare or not origin.startswith("https://"):
        raise InvalidRequest(
            f"{text[:100]!r} is no origin such as https://shop.example.", pointer="/return_origins"
        )
    return origin


def _merchant_from(row: RowMapping) -> Merchant:
    return Merchant(row["id"], row["name"], row["created_at"], tuple(row["return_origins"]))


async def create_key(
    connection: Connection, *, merchant_id: str, mode: str, secret: bytes
) -> tuple[ApiKey, str]:
    """The new key's record and the key itself, which cannot be read again. Raises `NotFound`."""
    known = await connection.execute(select(merchants.c.id).where(merchants.c.id == merchant_id))
    if known.first() is None:
        raise NotFound(f"There is no merchant {merchant_id}.")
    key = f"sk_{mode}_{secrets.token_hex(_KEY_BYTES)}"
    shown = f"sk_{mode}_…{key[-_SHOWN_TAIL:]}"
    record = ApiKey(random_id("key"), merchant_id, mode, shown, datetime.now(UTC), None)
    await connection.execute(
        insert(api_keys).values(
            id=record.id,
            merchant_id=merchant_id,
            mode=mode,
            key_hash=hash_key(key, secret=secret),
            prefix=shown,
            created_at=record.created_at,
        )
    )
    return record, key


async def list_keys(connection: Connection, *, merchant_id: str | None, limit: int = 1_000) -> list[ApiKey]:
    """The newest keys first, revoked ones included, at most `limit`."""
    columns = [api_keys.c[name] for name in ApiKey.__slots__]
    query = select(*columns).order_by(api_keys.c.created_at.desc()).limit(limit)
    if merchant_id is not None:
        query = query.where(api_keys.c.merchant_id == merchant_id)
    return [ApiKey(**row) for row in (await connection.execute(query)).mappings()]


async def revoke_key(connection: Connection, *, key_id: str) -> None:
    """The key opens nothing from the commit on. Safe to repeat: the first time stays. Raises `NotFound`."""
    revoked = await connection.execute(
        update(api_keys)
        .where(api_keys.c.id == key_id)
        .values(revoked_at=func.coalesce(api_keys.c.revoked_at, datetime.now(UTC)))
        .returning(api_keys.c.id)
    )
    if revoked.first() is None:
        raise NotFound(f"There is no API key {key_id}.")


async def authenticate(connection: Connection, *, key_hash: bytes) -> Caller | None:
    """Who presents the key with this hash; None for an unknown or a revoked one."""
    query = (
        select(api_keys.c.merchant_id, api_keys.c.mode, merchants.c.return_origins)
        .join(merchants, merchants.c.id == api_keys.c.merchant_id)
        .where(api_keys.c.key_hash == key_hash, api_keys.c.revoked_at.is_(None))
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Caller(row.merchant_id, row.mode, tuple(row.return_origins))
