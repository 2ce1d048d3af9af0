"""Each hour's entries are counted and hashed once it is over, and the log and the receipt store are told.

Every step is safe to repeat, and to be ended between any two: what a seal has was fixed when it was made.
"""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from payonce.domain.audit import AuditEntry, AuditSeal
from payonce.domain.errors import PaymentError
from payonce.logging import get_logger
from payonce.metrics import AUDIT_SEAL_AGE_SECONDS, AUDIT_SEALS_DIFFER
from payonce.receipts.store import ReceiptStore
from payonce.storage import audit_seals
from payonce.storage.audit_seals import Kept
from payonce.storage.driver.database import Database
from payonce.storage.snapshots import take_snapshot

HOUR: Final = timedelta(hours=1)
PAGE: Final = 1_000
LISTED_MAX: Final = 100_000  # entries of a seal that are told one by one: ten megabytes
TOLD_AT_ONCE: Final = 24
LOG, STORE = "log", "store"

log = get_logger(__name__)


class TransactionsWentBack(PaymentError):
    """Postgres counts its transactions from an earlier number than the last seal's: this is a copy by pg_dump."""

    code = "transactions_went_back"


@dataclass(frozen=True, slots=True)
class Summed:
    """What a range of transactions wrote."""

    entries: int
    digest: bytes
    hashes: dict[str, bytes] | None  # by the entry's id; None where there are more than `LISTED_MAX`


async def seal(database: Database) -> AuditSeal | None:
    """The hours that ended since the last seal are sealed; None where none did, or another process sealed them.

    Raises `TransactionsWentBack`.
    """
    async with database.transaction() as connection:
        hour = await audit_seals.open_hour(connection) - HOUR
        before = await audit_seals.last_seal(connection)
        if before is not None and before.hour >= hour:
            return None
        end = (await take_snapshot(connection)).oldest_running  # after the clock: what it shows is older
    first = 0 if before is None else before.next_transaction
    if end < first:
        raise TransactionsWentBack
    summed = await sum_up(database, first, end)
    made = AuditSeal(
        hour=hour,
        since=hour if before is None else before.hour + HOUR,
        first_transaction=first,
        next_transaction=end,
        entries=summed.entries,
        digest=summed.digest,
    )
    async with database.transaction() as connection:
        added = await audit_seals.add_seal(connection, made, after=before)
    return made if added else None


async def tell(database: Database, store: ReceiptStore | None) -> None:
    """The log and the receipt store have the seals that they had not, some at a time. Raises `StoreUnavailable`."""
    async with database.reading() as connection:
        for_log = await audit_seals.untold(connection, LOG, limit=TOLD_AT_ONCE)
        for_store = await audit_seals.untold(connection, STORE, limit=TOLD_AT_ONCE)
    for each in for_log:
        log.info("audit_hour_sealed", **_told(each))
        async with database.transaction() as connection:
            await audit_seals.told_to(connection, each, LOG, agrees=True)
    if store is None:
        return
    for each in for_store:
        agrees = await _put(database, store, each)
        if not agrees:
            AUDIT_SEALS_DIFFER.inc()
            log.error("audit_seal_differs", **_told(each))
        async with database.transaction() as connection:
            await audit_seals.told_to(connection, each, STORE, agrees=agrees)


async def measure(database: Database, *, in_store: bool) -> None:
    """The gauge says how old the latest hour is that is sealed, and where there is a store, that this has.

    An hour that is to come, sealed by a clock that went back since, is as far away: nothing is sealed until then.
    """
    async with database.reading() as connection:
        last = await audit_seals.last_seal(connection)
        waiting = await audit_seals.untold(connection, STORE, limit=1) if in_store else []
    latest = waiting[0].since if waiting else None if last is None else last.hour + HOUR
    if latest is not None:
        AUDIT_SEAL_AGE_SECONDS.set(abs((datetime.now(UTC) - latest).total_seconds()))


async def sum_up(database: Database, first: int, end: int) -> Summed:
    """What the transactions from `first` on and before `end`, all of which have ended, wrote."""
    count, digest, hashes = 0, hashlib.sha256(), dict[str, bytes]()
    async for page in pages(database, first, end):
        for kept in page:
            value = kept.entry.hashed()
            digest.update(value)
            count += 1
            if count <= LISTED_MAX:
                hashes[kept.entry.id] = value
    return Summed(count, digest.digest(), hashes if count <= LISTED_MAX else None)


async def pages(database: Database, first: int, end: int) -> AsyncIterator[list[Kept]]:
    """The entries of the transactions from `first` on and before `end`, in their order, some at a time."""
    after: AuditEntry | None = None
    while True:  # ends: each page is past the one before, and the range has ended
        async with database.browsing() as connection:
            page = await audit_seals.entries_from(connection, first, end, after=after, limit=PAGE)
        if page:
            yield page
        if len(page) < PAGE:
            return
        after = page[-1].entry


async def _put(database: Database, store: ReceiptStore, each: AuditSeal) -> bool:
    """The store holds the seal; False where it held another one, or the entries are not those that were sealed."""
    summed = await sum_up(database, each.first_transaction, each.next_transaction)
    same = (summed.entries, summed.digest) == (each.entries, each.digest)
    content = each.written(summed.hashes if same else None)
    return same if await store.put_once(each.key, content) else await store.get(each.key) == content


def _told(each: AuditSeal) -> dict[str, object]:
    return {
        "hour": each.hour.astimezone(UTC).isoformat(),
        "since": each.since.astimezone(UTC).isoformat(),
        "entries": each.entries,
        "digest": each.digest.hex(),
        "first_transaction": each.first_transaction,
        "next_transaction": each.next_transaction,
    }
