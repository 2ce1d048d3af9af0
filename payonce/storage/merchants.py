"""Merchants and their API keys: a key is shown once and stored as a keyed hash."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import RowMapping, func, insert, null, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from payonce.domain.card_numbers import looks_like_card_number
from payonce.domain.errors import InvalidRequest, NotFound
from payonce.domain.ids import random_id
from payonce.domain.payment_methods import CARD_STORAGES, CardStorage
from payonce.domain.returning import origin_of
from payonce.domain.risk import Policy
from payonce.storage.driver.connection import Connection
from payonce.storage.tables import api_keys, merchant_profiles, merchants

NAME_MAX_LENGTH, ADDRESS_MAX_LENGTH = 200, 500
RETURN_ORIGINS_MAX, ORIGIN_MAX_LENGTH = 50, 300
_KEY_BYTES = 24
# A door of the API's role, which sees neither API keys nor merchants. The transaction speaks for the caller from then
# on, as by `Connection.speak_for`, without an exchange more.
_CALLER = text(
    "SELECT key_id AS id, merchant_id, mode, merchant -> 'return_origins' AS return_origins,"
    " merchant ->> 'card_storage' AS card_storage, merchant -> 'risk' AS risk,"
    " set_config('payonce.merchant_id', merchant_id, true), set_config('payonce.mode', mode, true)"
    " FROM tenant_of_key(:key_hash)"
)
_SHOWN_TAIL = 4


@dataclass(frozen=True, slots=True)
class Merchant:
    id: str
    name: str
    created_at: datetime
    return_origins: tuple[str, ...] = ()  # whose pages customers of live payments may be sent back to
    card_storage: CardStorage = "none"


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
    )  # the merchant's, when it was looked up; so is the next
    card_storage: CardStorage = field(default="none", compare=False)
    key_id: str = field(
        default="", compare=False
    )  # of the API key; "": nobody's, as where none was presented
    risk: Policy = field(default_factory=Policy, compare=False)  # the merchant's, in this mode


def hash_key(key: str, *, secret: bytes) -> bytes:
    """What is stored of an API key. A fast keyed hash serves: the key has 192 random bits."""
    return hmac.new(secret, key.encode(), hashlib.sha256).digest()


async def create_merchant(connection: Connection, *, name: str) -> Merchant:
    """Raises `InvalidRequest` for an empty or long name, and for one in which a card number stands."""
    merchant = Merchant(random_id("mer"), _name(name), datetime.now(UTC))
    values = {"id": merchant.id, "name": merchant.name, "created_at": merchant.created_at}
    await connection.execute(insert(merchants).values(values))
    return merchant


async def check_merchant(connection: Connection, merchant_id: str) -> None:
    """Raises `NotFound` where there is none with this id."""
    known = await connection.execute(select(merchants.c.id).where(merchants.c.id == merchant_id))
    if known.first() is None:
        raise NotFound(f"There is no merchant {merchant_id}.")


async def list_merchants(connection: Connection, *, limit: int = 1_000) -> list[Merchant]:
    """The newest merchants first, at most `limit`."""
    rows = await connection.execute(select(merchants).order_by(merchants.c.created_at.desc()).limit(limit))
    return [_merchant_from(row) for row in rows.mappings()]


async def change_merchant(
    connection: Connection,
    merchant_id: str,
    *,
    return_origins: Sequence[str] | None = None,
    card_storage: str | None = None,
    name: str | None = None,
    address: str | None = None,
    logo: bytes | None = None,
) -> Merchant:
    """The merchant is as it is said here; what is None stays.

    `return_origins`: live customers may be sent back to these, and to no others any more. `card_storage`: where the
    cards of its customers are saved from now on; those that are saved stay where they are. `name`, `address` and
    `logo` are on receipts that are made from now on; empty, the last two are not. Raises `NotFound`, and
    `InvalidRequest` for what is no https origin, for too many, for a storage that there is not, and for texts that
    are long or hold a card number.
    """
    profile = _profile(address, logo)
    changes: dict[str, Any] = {}
    if return_origins is not None:
        changes["return_origins"] = _origins(return_origins)
    if card_storage is not None:
        if card_storage not in CARD_STORAGES:
            raise InvalidRequest(f"It is one of {', '.join(CARD_STORAGES)}.", pointer="/card_storage")
        changes["card_storage"] = card_storage
    if name is not None:
        changes["name"] = _name(name)
    if not changes and not profile:
        raise InvalidRequest("Nothing is to be changed.")
    changes = changes or {"id": merchant_id}  # the profile alone
    query = update(merchants).where(merchants.c.id == merchant_id).values(**changes).returning(*merchants.c)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no merchant {merchant_id}.")
    if profile:
        shown = upsert(merchant_profiles).values(merchant_id=merchant_id, **profile)
        newer = {**profile, "updated_at": func.now()}
        await connection.execute(shown.on_conflict_do_update(index_elements=["merchant_id"], set_=newer))
    return _merchant_from(row)


def _name(name: str) -> str:
    """As it is kept. Raises `InvalidRequest`."""
    if looks_like_card_number(name):
        raise InvalidRequest(
            "A merchant's name must not hold anything that looks like a card number.", pointer="/name"
        )
    if not 1 <= len(name.strip()) <= NAME_MAX_LENGTH:
        raise InvalidRequest(f"A merchant's name has 1 to {NAME_MAX_LENGTH} characters.", pointer="/name")
    return name.strip()


def _profile(address: str | None, logo: bytes | None) -> dict[str, Any]:
    """What receipts show besides the name, where it is said. Raises `InvalidRequest`."""
    if address is not None and (len(address) > ADDRESS_MAX_LENGTH or looks_like_card_number(address)):
        raise InvalidRequest(
            f"An address has at most {ADDRESS_MAX_LENGTH} characters, and no card number.", pointer="/address"
        )
    return {
        **({} if address is None else {"address": address}),
        **({} if logo is None else {"logo": logo or null()}),
    }


def _origins(origins: Sequence[str]) -> list[str]:
    if len(origins) > RETURN_ORIGINS_MAX:
        raise InvalidRequest(
            f"A merchant has at most {RETURN_ORIGINS_MAX} origins.", pointer="/return_origins"
        )
    return list(dict.fromkeys(map(_as_origin, origins)))


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
    return Merchant(
        row["id"], row["name"], row["created_at"], tuple(row["return_origins"]), row["card_storage"]
    )


async def create_key(
    connection: Connection, *, merchant_id: str, mode: str, secret: bytes
) -> tuple[ApiKey, str]:
    """The new key's record and the key itself, which cannot be read again. Raises `NotFound`."""
    await check_merchant(connection, merchant_id)
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


async def revoke_key(connection: Connection, *, key_id: str) -> ApiKey:
    """The key opens nothing from the commit on. Safe to repeat: the first time stays. Raises `NotFound`."""
    revoked = await connection.execute(
        update(api_keys)
        .where(api_keys.c.id == key_id)
        .values(revoked_at=func.coalesce(api_keys.c.revoked_at, datetime.now(UTC)))
        .returning(*(api_keys.c[name] for name in ApiKey.__slots__))
    )
    row = revoked.mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no API key {key_id}.")
    return ApiKey(**row)


async def authenticate(connection: Connection, *, key_hash: bytes) -> Caller | None:
    """Who presents the key with this hash, for whom the transaction speaks; None for an unknown or a revoked one."""
    of_merchant = (merchants.c.return_origins, merchants.c.card_storage, merchants.c.risk)
    query = (
        select(api_keys.c.id, api_keys.c.merchant_id, api_keys.c.mode, *of_merchant)
        .join(merchants, merchants.c.id == api_keys.c.merchant_id)
        .where(api_keys.c.key_hash == key_hash, api_keys.c.revoked_at.is_(None))
    )
    asked = (
        connection.execute(_CALLER, {"key_hash": key_hash})
        if connection.of_api
        else connection.execute(query)
    )
    row = (await asked).one_or_none()
    if row is None:
        return None
    policy = Policy.of((row.risk or {}).get(row.mode))
    return Caller(row.merchant_id, row.mode, tuple(row.return_origins), row.card_storage, row.id, policy)
