"""The data keys are wrapped by the newest key-encryption key; no card is read for it, and none waits.

Each is opened and wrapped again: the key server's own rewrap refuses what is bound to a record. It may be ended at
any moment and run again, also twice at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from payonce.storage.driver.database import Database
from payonce.vault import doors
from payonce.vault.doors import WrappedCard
from payonce.vault.keys import CannotOpen, Wrapped, WrappingKeys

PAGE: Final = 100
PASSES_MAX: Final = 100  # while processes that know only the old key go on saving


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


async def rotate(database: Database, keys: WrappingKeys, *, tell: Callable[[Rotated], None]) -> Rotated:
    """Every card that opens is wrapped by the newest key, as far as nobody saves with an older one meanwhile.

    `tell` hears of each page. Raises `VaultUnavailable`; what was done until then holds.
    """
    begun = await progress(database, await keys.newest())
    rewrapped = refused = 0
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
    return replace(await progress(database, begun.newest), rewrapped=rewrapped, refused=refused)


async def progress(database: Database, newest: str) -> Rotated:
    """How many cards each key holds now. It counts all of them."""
    async with database.reading() as connection:
        used = await doors.used_keys(connection)
    return Rotated(newest, 0, 0, used.pop(newest, 0), used)


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
