"""The functions of the vault's schema in Postgres: nothing else of it can be reached (migration 0020).

Card numbers pass through two of them, `put` and `take`. Each is part of the caller's transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from payonce.storage.driver.connection import Connection
from payonce.storage.driver.statements import Query, Statement, single
from payonce.vault.envelope import SealedNumber, VaultPlace
from payonce.vault.fingerprints import Hashes
from payonce.vault.keys import Wrapped

_PUT = text(
    "SELECT vault.vault_put(:id, :merchant_id, :mode, :purpose, :format, :ciphertext, :data_key_id, :wrapped_key,"
    " :key_id, :versions, :hashes, :shown, :internal_version, :internal, :saves_max)"
)
_TAKE = Statement(text("SELECT * FROM vault.vault_take(:id, :merchant_id, :mode, :purpose)"))
_SENDER = Statement(text("SELECT set_config('role', :role, true)"))
SENDER = "payonce_sender"
_FINGERPRINT = text("SELECT vault.vault_fingerprint(:id, :merchant_id, :mode)")
_KEEP = text("SELECT vault.vault_keep(:id, :merchant_id, :mode)")
_ERASE = text("SELECT vault.vault_erase(:id, :merchant_id, :mode)")
_ERASE_DUE = text("SELECT vault.vault_erase_due(:at_most)")
_KEYS = text("SELECT key_id, cards FROM vault.vault_keys()")
_WRAPPED = text("SELECT id, key_id, wrapped_key FROM vault.vault_wrapped(:key_id, :after, :at_most)")
_BEAT = text("SELECT vault.vault_beat(:owner, :name, :key_id)")
_LEFT = text("SELECT vault.vault_left(:owner)")
_PROCESSES = text("SELECT name, key_id, seen_s_ago FROM vault.vault_processes(:within_s)")
_KNOWN_KEYS = text("SELECT key_id, retired_at FROM vault.vault_known_keys()")
_RETIRE = text("SELECT vault.vault_retire(:newest, :within_s)")
_REWRAP = text("SELECT vault.vault_rewrap(:id, :old_key_id, :old_wrapped, :new_key_id, :new_wrapped)")


@dataclass(frozen=True, slots=True)
class WrappedCard:
    """A record's data key, by which its number is not read."""

    record_id: str
    wrapped: Wrapped


@dataclass(frozen=True, slots=True)
class UsingProcess:
    """A process that runs, and the key-encryption key with which it wraps."""

    name: str
    key_id: str
    seen_s_ago: float


async def put(
    connection: Connection,
    place: VaultPlace,
    envelope: SealedNumber,
    hashes: Hashes,
    *,
    shown: str,
    saves_max: int,
) -> str | None:
    """The card is there for 24 h, and for good once it is kept: the name by which its merchant knows the number.

    `shown` becomes that name where there is none yet. None: the merchant saved more numbers in an hour than it may.
    A data key that a retired key wraps ends the transaction: `StorageUnavailable`.
    """
    values = {
        **_place(place),
        "format": envelope.format,
        "ciphertext": envelope.ciphertext,
        "data_key_id": envelope.data_key_id,
        "wrapped_key": envelope.wrapped.data,
        "key_id": envelope.wrapped.key_id,
        "versions": list(hashes.versions),
        "hashes": list(hashes.of_merchant),
        "shown": shown,
        "internal_version": hashes.internal_version,
        "internal": hashes.internal,
        "saves_max": saves_max,
    }
    found: str | None = (await connection.execute(_PUT, values)).scalar_one()
    return found


async def take(connection: Connection, place: VaultPlace) -> SealedNumber | None:
    """The sealed card of this place; none where it is erased, or was never kept and is older than 24 h.

    In one round trip, as `payonce_sender` until the transaction ends: Postgres refuses whose login may not be that.
    """
    role = Query(_SENDER, {"role": SENDER}, bool)
    _, found = await connection.fetch_together(role, single(_TAKE, _place(place), _sealed))
    return found


async def fingerprint(connection: Connection, place: VaultPlace) -> str | None:
    """The name by which its merchant knows the number."""
    found: str | None = (await connection.execute(_FINGERPRINT, _tenant(place))).scalar_one()
    return found


async def keep(connection: Connection, place: VaultPlace) -> bool:
    """The card stays until it is erased. False: it is not there any more. Safe to repeat."""
    return bool((await connection.execute(_KEEP, _tenant(place))).scalar_one())


async def erase(connection: Connection, place: VaultPlace) -> bool:
    """The card is gone, and its number's name with the last card of it. False: it was not there."""
    return bool((await connection.execute(_ERASE, _tenant(place))).scalar_one())


async def erase_due(connection: Connection, *, at_most: int) -> int:
    """So many of those that were not kept within 24 h are gone."""
    return int((await connection.execute(_ERASE_DUE, {"at_most": at_most})).scalar_one())


async def used_keys(connection: Connection) -> dict[str, int]:
    """How many cards each key-encryption key holds."""
    return {row.key_id: row.cards for row in await connection.execute(_KEYS)}


async def wrapped_by_others(
    connection: Connection, *, key_id: str, after: str, at_most: int
) -> Sequence[WrappedCard]:
    """The next data keys that another key than this one wraps, in the order of their records."""
    values = {"key_id": key_id, "after": after, "at_most": at_most}
    rows = await connection.execute(_WRAPPED, values)
    return [WrappedCard(row.id, Wrapped(row.key_id, row.wrapped_key)) for row in rows]


async def rewrap(connection: Connection, card: WrappedCard, new: Wrapped) -> bool:
    """The data key is wrapped anew. False, and nothing changed, where it is not as it was read."""
    values = {
        "id": card.record_id,
        "old_key_id": card.wrapped.key_id,
        "old_wrapped": card.wrapped.data,
        "new_key_id": new.key_id,
        "new_wrapped": new.data,
    }
    return bool((await connection.execute(_REWRAP, values)).scalar_one())


async def beat(connection: Connection, *, owner: str, name: str, key_id: str) -> bool:
    """The process runs, and wraps with this key. False: nothing can be wrapped with it any more."""
    values = {"owner": owner, "name": name, "key_id": key_id}
    return bool((await connection.execute(_BEAT, values)).scalar_one())


async def left(connection: Connection, *, owner: str) -> None:
    """The process does not run any more."""
    await connection.execute(_LEFT, {"owner": owner})


async def processes(connection: Connection, *, within_s: int) -> list[UsingProcess]:
    """Those that were heard of within this time."""
    rows = await connection.execute(_PROCESSES, {"within_s": within_s})
    return [UsingProcess(row.name, row.key_id, row.seen_s_ago) for row in rows]


async def known_keys(connection: Connection) -> dict[str, datetime | None]:
    """When each key that ever wrapped, or could have, was retired; None: it was not."""
    return {row.key_id: row.retired_at for row in await connection.execute(_KNOWN_KEYS)}


async def retire(connection: Connection, *, newest: str, within_s: int) -> int:
    """How many of the other keys can wrap nothing any more: those that no card needs, and no process uses."""
    values = {"newest": newest, "within_s": within_s}
    return int((await connection.execute(_RETIRE, values)).scalar_one())


def _sealed(row: Mapping[str, Any]) -> SealedNumber:
    wrapped = Wrapped(row["key_id"], row["wrapped_key"])
    return SealedNumber(row["format"], row["data_key_id"], wrapped, row["ciphertext"])


def _tenant(place: VaultPlace) -> dict[str, str]:
    return {"id": place.record_id, "merchant_id": place.merchant_id, "mode": place.mode}


def _place(place: VaultPlace) -> dict[str, str]:
    return {**_tenant(place), "purpose": place.purpose}
