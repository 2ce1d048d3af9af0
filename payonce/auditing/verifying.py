"""Whether the audit log is still what was sealed: each hour against the receipt store, entry by entry.

The store's word counts before the database's own: who can write to the database could have changed both there.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from payonce.auditing.sealing import HOUR, STORE, pages
from payonce.domain.audit import AuditSeal, folder_of
from payonce.receipts.store import ReceiptStore
from payonce.storage import audit_seals
from payonce.storage.audit_seals import Kept
from payonce.storage.driver.database import Database

NAMED_MAX: Final = 20
KEPT: Final = timedelta(days=400)  # by migration 0023; a day is left for hours that are being forgotten
TELLING: Final = 2 * HOUR  # that long a seal may be on its way to the store


@dataclass(frozen=True, slots=True)
class StoredSeal:
    """What one place has of an hour."""

    seal: AuditSeal
    hashes: Mapping[str, bytes] | None = None


@dataclass(slots=True)
class Verified:
    """What was compared, and what differs, by hour."""

    seals: int = 0
    entries: int = 0
    not_sealed: int = 0  # written since the last seal
    without_store: bool = False
    differs: dict[str, list[str]] = field(default_factory=dict)

    def add(self, hour: datetime, says: Iterable[str]) -> None:
        for each in says:
            self.differs.setdefault(hour.astimezone(UTC).isoformat(), []).append(each)


async def verify(
    database: Database, store: ReceiptStore | None, *, since: datetime, until: datetime
) -> Verified:
    """What differs in the hours from `since` on and before `until`. Raises `StoreUnavailable`."""
    since = max(since, datetime.now(UTC) - KEPT + timedelta(days=1))
    done = Verified(without_store=store is None)
    async with database.browsing() as connection:
        ours = {each.hour: each for each in await audit_seals.seals_between(connection, since, until)}
        last = await audit_seals.last_seal(connection)
        told = await audit_seals.hours_told(connection, STORE, list(ours))
        unsealed_from = 0 if last is None else last.next_transaction
        done.not_sealed = await audit_seals.count_from(connection, unsealed_from)
    theirs = {} if store is None else await _stored(store, done, since, until)
    before: AuditSeal | None = None
    for hour in sorted({*ours, *theirs}):
        if store is not None:
            done.add(hour, _of_places(ours.get(hour), theirs.get(hour), told=hour in told))
        trusted = theirs.get(hour) or StoredSeal(ours[hour])
        done.add(hour, _gap(before, trusted.seal))
        await _compare(database, done, trusted)
        before = trusted.seal
    return done


async def _stored(
    store: ReceiptStore, done: Verified, since: datetime, until: datetime
) -> dict[datetime, StoredSeal]:
    """What the store has of each hour, by the hour that its name says."""
    found = {}
    day = since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    while day < min(until, datetime.now(UTC) + HOUR):
        for key in await store.list(folder_of(day)):
            content = await store.get(key)
            try:
                seal, hashes = AuditSeal.read(content or b"")
                hour = day.replace(hour=int(key.rpartition("/")[2].removesuffix(".seal")))
                if (seal.hour, seal.key) != (hour, key):
                    raise ValueError("another hour's")
            except (ValueError, UnicodeDecodeError, IndexError):
                done.add(day, [f"{key} in the receipt store is no seal of that hour"])
                continue
            if since <= hour < until:
                found[hour] = StoredSeal(seal, hashes)
        day += timedelta(days=1)
    return found


def _of_places(ours: AuditSeal | None, theirs: StoredSeal | None, *, told: bool) -> list[str]:
    if ours is None:
        return ["the database has no seal of it, and the receipt store has: it was removed, or is lost"]
    if theirs is None and told:
        return ["the receipt store had its seal, and has it no more"]
    if theirs is None:
        late = ours.hour + HOUR + TELLING < datetime.now(UTC)
        return ["its seal never came to the receipt store"] if late else []
    return (
        [] if theirs.seal == ours else ["the database's seal of it is another than that in the receipt store"]
    )


def _gap(before: AuditSeal | None, seal: AuditSeal) -> list[str]:
    if before is None or before.next_transaction == seal.first_transaction:
        return []
    return ["it does not begin where the seal before it ends"]


async def _compare(database: Database, done: Verified, trusted: StoredSeal) -> None:
    """The entries that are there now, with the seal's."""
    seal, digest, now, personal = trusted.seal, hashlib.sha256(), dict[str, bytes](), list[str]()
    count = 0
    async for page in pages(database, seal.first_transaction, seal.next_transaction):
        for kept in page:
            value = kept.entry.hashed()
            digest.update(value)
            count += 1
            if trusted.hashes is not None:
                now[kept.entry.id] = value
        personal += await _personal(database, page)
    done.seals += 1
    done.entries += count
    done.add(seal.hour, _named("the personal members were changed, or erased by nobody, of", personal))
    if (count, digest.digest()) != (seal.entries, seal.digest):
        done.add(seal.hour, _differences(seal, count, trusted.hashes, now))


def _differences(
    seal: AuditSeal, count: int, then: Mapping[str, bytes] | None, now: Mapping[str, bytes]
) -> list[str]:
    if then is None:
        what = "entries are missing" if count < seal.entries else "entries were added"
        said = what if count != seal.entries else "entries were changed, or replaced"
        return [f"{seal.entries} entries were sealed, and {count} are there: {said}"]
    found = [
        *_named("missing:", [id_ for id_ in then if id_ not in now]),
        *_named("added:", [id_ for id_ in now if id_ not in then]),
        *_named("changed:", [id_ for id_, value in now.items() if then.get(id_, value) != value]),
    ]
    return found or ["the seal does not agree with its own list of entries"]


def _named(what: str, ids: list[str]) -> list[str]:
    more = f" and {len(ids) - NAMED_MAX} more" if len(ids) > NAMED_MAX else ""
    return [f"{what} {', '.join(ids[:NAMED_MAX])}{more}"] if ids else []


async def _personal(database: Database, page: list[Kept]) -> list[str]:
    """The entries whose personal members are not theirs, or went though nobody decided to erase them."""
    changed, gone = [], []
    for kept in page:
        if kept.members is None and kept.entry.personal_hash is not None:
            gone.append(kept.entry.id)
        elif not kept.personal_agree():
            changed.append(kept.entry.id)
    if gone:
        async with database.browsing() as connection:
            decided = await audit_seals.erased_by_decision(connection, gone)
        changed += [id_ for id_ in gone if id_ not in decided]
    return changed
