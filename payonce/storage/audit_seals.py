"""The seals of the audit log in Postgres: each has all entries of a range of transactions that have ended.

Below the oldest transaction that runs nothing can appear any more, so a range that ends there is whole for good; an
entry whose COMMIT came late lies in a later one, whatever its time says (`payonce.storage.snapshots`).
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import RowMapping, func, insert, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert

from payonce.domain.audit import AuditAction, AuditEntry, AuditSeal, hash_of_personal
from payonce.storage.audit import entries, personal, seals, told
from payonce.storage.driver.connection import Connection

SEALS_MAX: Final = 24 * 400
_LOCK: Final = 4_815_162_342  # of Postgres's advisory ones
_ENTRY: Final = tuple(entries.c[field.name] for field in fields(AuditEntry))
_SEAL: Final = tuple(seals.c[field.name] for field in fields(AuditSeal))
_NOW = text("SELECT date_trunc('hour', clock_timestamp(), 'UTC')")
_ERASE = text("SELECT audit.erase_personal(:id)")
_FORGET = text("SELECT audit.forget_old(:at_most)")
_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(:lock)")


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry, and the personal members that are there beside it."""

    entry: AuditEntry
    salt: bytes | None
    members: dict[str, str] | None

    def personal_agree(self) -> bool:
        """Whether the members are those that the entry was written with; none always are."""
        if self.members is None or self.salt is None:
            return True
        return hash_of_personal(self.salt, self.members) == self.entry.personal_hash


async def open_hour(connection: Connection) -> datetime:
    """The hour that is not over, by Postgres's clock."""
    found: datetime = (await connection.execute(_NOW)).scalar_one()
    return found


async def last_seal(connection: Connection) -> AuditSeal | None:
    row = (
        (await connection.execute(select(*_SEAL).order_by(seals.c.hour.desc()).limit(1)))
        .mappings()
        .one_or_none()
    )
    return None if row is None else _seal_from(row)


async def add_seal(connection: Connection, seal: AuditSeal, *, after: AuditSeal | None) -> bool:
    """The seal is there once the transaction holds; False where another process seals, or has sealed meanwhile."""
    mine = (await connection.execute(_TRY_LOCK, {"lock": _LOCK})).scalar_one()
    if not mine or await last_seal(connection) != after:
        return False
    await connection.execute(insert(seals).values(asdict(seal)))
    return True


async def seals_between(connection: Connection, since: datetime, until: datetime) -> list[AuditSeal]:
    """Those of hours from `since` on and before `until`, in their order; at most `SEALS_MAX`."""
    query = select(*_SEAL).where(seals.c.hour >= since, seals.c.hour < until).order_by(seals.c.hour)
    return [_seal_from(row) for row in (await connection.execute(query.limit(SEALS_MAX))).mappings()]


async def untold(connection: Connection, place: str, *, limit: int) -> list[AuditSeal]:
    """The oldest seals that this place was not told."""
    known = select(told.c.hour).where(told.c.hour == seals.c.hour, told.c.place == place).exists()
    query = select(*_SEAL).where(~known).order_by(seals.c.hour).limit(limit)
    return [_seal_from(row) for row in (await connection.execute(query)).mappings()]


async def told_to(connection: Connection, seal: AuditSeal, place: str, *, agrees: bool) -> None:
    """The place was told of the seal; `agrees`: it holds nothing else under its name. Safe to repeat."""
    row = {"hour": seal.hour, "place": place, "agrees": agrees}
    await connection.execute(upsert(told).values(row).on_conflict_do_nothing())


async def hours_told(connection: Connection, place: str, hours: Collection[datetime]) -> set[datetime]:
    """Of these hours those that the place was told."""
    query = select(told.c.hour).where(told.c.place == place, told.c.hour.in_(hours))
    return set((await connection.execute(query)).scalars())


async def entries_from(
    connection: Connection, first: int, end: int, *, after: AuditEntry | None, limit: int
) -> list[Kept]:
    """The next `limit` entries of the transactions from `first` on and before `end`, in their order."""
    query = (
        select(*_ENTRY, personal.c.salt, personal.c.members)
        .outerjoin(personal, personal.c.entry_id == entries.c.id)
        .where(entries.c.transaction_id >= first, entries.c.transaction_id < end)
        .order_by(entries.c.transaction_id, entries.c.id)
        .limit(limit)
    )
    if after is not None:
        place = tuple_(entries.c.transaction_id, entries.c.id)
        query = query.where(place > (after.transaction_id, after.id))
    return [_kept_from(row) for row in (await connection.execute(query)).mappings()]


async def count_from(connection: Connection, first: int) -> int:
    """How many entries there are of the transactions from `first` on."""
    query = select(func.count()).select_from(entries).where(entries.c.transaction_id >= first)
    return int((await connection.execute(query)).scalar_one())


async def erased_by_decision(connection: Connection, ids: Collection[str]) -> set[str]:
    """Of these entries those whose personal members somebody erased, as the log says."""
    query = select(entries.c.subject).where(
        entries.c.action == AuditAction.PERSONAL_ERASED, entries.c.subject.in_(ids)
    )
    return set((await connection.execute(query)).scalars())


async def erase_personal(connection: Connection, entry_id: str) -> bool:
    """The entry's personal members are gone, and their salt; False where there were none."""
    return bool((await connection.execute(_ERASE, {"id": entry_id})).scalar_one())


async def forget_old(connection: Connection, *, limit: int) -> int:
    """How many entries were older than 400 days, and sealed; they are gone. At most `limit`."""
    return int((await connection.execute(_FORGET, {"at_most": limit})).scalar_one())


async def newest(
    connection: Connection, filters: dict[str, Any], *, since: datetime, until: datetime, limit: int
) -> list[Kept]:
    """The newest entries in which these columns have these values, at most `limit`."""
    query = (
        select(*_ENTRY, personal.c.salt, personal.c.members)
        .outerjoin(personal, personal.c.entry_id == entries.c.id)
        .where(entries.c.at >= since, entries.c.at < until)
        .where(*(entries.c[name] == value for name, value in filters.items()))
        .order_by(entries.c.transaction_id.desc(), entries.c.id.desc())
        .limit(limit)
    )
    return [_kept_from(row) for row in (await connection.execute(query)).mappings()]


def _seal_from(row: RowMapping) -> AuditSeal:
    return AuditSeal(**{**row, "digest": bytes(row["digest"])})


def _kept_from(row: RowMapping) -> Kept:
    values = {field.name: row[field.name] for field in fields(AuditEntry)}
    if values["personal_hash"] is not None:
        values["personal_hash"] = bytes(values["personal_hash"])
    salt = row["salt"]
    return Kept(AuditEntry(**values), None if salt is None else bytes(salt), row["members"])
