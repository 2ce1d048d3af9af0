"""The data keys are wrapped by the newest key-encryption key; no card is read for it, and none waits.

Each is opened and wrapped again: the key server's own rewrap refuses what is bound to a record. It may be ended at
any moment and run again, also twice at once. It is complete when no card needs an older key, no running process
wraps with one, and none can any more.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from payonce.clock import boot_clock_s
from payonce.domain.errors import PaymentError
from payonce.storage.driver.database import Database
from payonce.vault import doors
from payonce.vault.doors import UsingProcess, WrappedCard
from payonce.vault.heartbeats import EVERY_S, GONE_AFTER_S
from payonce.vault.keys import CannotOpen, Wrapped, WrappingKeys

PAGE: Final = 100
PASSES_MAX: Final = 100  # while processes that know only the old key go on saving
WAIT_S: Final = EVERY_S + 10  # until every process has said with which key it wraps
_LOOK_EVERY_S: Final = 1.0


class KeyRetired(PaymentError):
    """The key that is the newest here was retired by an earlier rotation; a new key needs an id of its own."""

    code = "key_retired"


@dataclass(frozen=True, slots=True)
class Rotated:
    """How far it is: how many cards were changed, and how many the newest key and the others held when it began.

    At the end the cards are counted again.
    """

    newest: str
    rewrapped: int
    refused: int  # what did not open: changed by somebody, or its key is gone
    by_newest: int
    by_others: dict[str, int]
    processes: tuple[UsingProcess, ...]
    retired: dict[str, datetime]
    in_use: tuple[str, ...]  # older keys that could still wrap

    @property
    def lagging(self) -> tuple[UsingProcess, ...]:
        """The running processes that wrap with an older key."""
        return tuple(process for process in self.processes if process.key_id != self.newest)

    @property
    def complete(self) -> bool:
        """Whether the older keys are needed for nothing but backups."""
        return not (self.by_others or self.lagging or self.in_use)


async def rotate(
    database: Database, keys: WrappingKeys, *, tell: Callable[[Rotated], None], wait_s: float = 0
) -> Rotated:
    """Every card that opens is wrapped by the newest key, and the others are retired where nothing needs them.

    Processes have `wait_s` to say that they wrap with the newest. `tell` hears of each page. Raises
    `VaultUnavailable` and `KeyRetired`; what was done until then holds.
    """
    begun = await progress(database, await keys.newest())
    if begun.newest in begun.retired:
        raise KeyRetired(f"The key {begun.newest} was retired: a new key needs an id of its own.")
    done = await _wrap_all(database, keys, begun, tell)
    if await _waited(database, begun.newest, wait_s=wait_s):
        done = await _wrap_all(database, keys, done, tell)
    async with database.transaction() as connection:
        await doors.retire(connection, newest=begun.newest, within_s=GONE_AFTER_S)
    ended = await progress(database, begun.newest)
    return replace(ended, rewrapped=done.rewrapped, refused=done.refused)


async def progress(database: Database, newest: str) -> Rotated:
    """How many cards each key holds now, and who wraps with which. It counts all of them."""
    async with database.reading() as connection:
        used = await doors.used_keys(connection)
        processes = await doors.processes(connection, within_s=GONE_AFTER_S)
        known = await doors.known_keys(connection)
    return Rotated(
        newest=newest,
        rewrapped=0,
        refused=0,
        by_newest=used.pop(newest, 0),
        by_others=used,
        processes=tuple(processes),
        retired={key_id: at for key_id, at in known.items() if at is not None},
        in_use=tuple(key_id for key_id, at in known.items() if at is None and key_id != newest),
    )


async def _wrap_all(
    database: Database, keys: WrappingKeys, begun: Rotated, tell: Callable[[Rotated], None]
) -> Rotated:
    """As far as nobody saves with an older key meanwhile."""
    rewrapped, refused = begun.rewrapped, 0
    for _ in range(PASSES_MAX):
        before = rewrapped
        refused = 0
        after = ""
        while page := await _page(database, key_id=begun.newest, after=after):
            done, not_opened = await _wrap_again(database, keys, page)
            rewrapped, refused, after = rewrapped + done, refused + not_opened, page[-1].record_id
            tell(replace(begun, rewrapped=rewrapped, refused=refused))
        if rewrapped == before:
            break
    return replace(begun, rewrapped=rewrapped, refused=refused)


async def _waited(database: Database, newest: str, *, wait_s: float) -> bool:
    """Whether there was something to wait for: processes that wrapped with an older key."""
    until, waited = boot_clock_s() + wait_s, False
    while boot_clock_s() < until:
        async with database.reading() as connection:
            running = await doors.processes(connection, within_s=GONE_AFTER_S)
        if all(process.key_id == newest for process in running):
            break
        waited = True
        await asyncio.sleep(_LOOK_EVERY_S)
    return waited


async def _wrap_again(database: Database, keys: WrappingKeys, page: Sequence[WrappedCard]) -> tuple[int, int]:
    """How many data keys of the page were wrapped anew, and how many did not open."""
    changed = [(card, new) for card in page if (new := await _again(card, keys)) is not None]
    done = 0
    async with database.transaction() as connection:
        for card, new in changed:
            done += await doors.rewrap(connection, card, new)
    return done, len(page) - len(changed)


async def _page(database: Database, *, key_id: str, after: str) -> Sequence[WrappedCard]:
    async with database.reading() as connection:
        return await doors.wrapped_by_others(connection, key_id=key_id, after=after, at_most=PAGE)


async def _again(card: WrappedCard, keys: WrappingKeys) -> Wrapped | None:
    """The data key, opened and wrapped again outside of any transaction; None where it does not open."""
    try:
        data_key = await keys.unwrap(card.wrapped, record_id=card.record_id)
    except CannotOpen:
        return None
    return await keys.wrap(data_key, record_id=card.record_id)
