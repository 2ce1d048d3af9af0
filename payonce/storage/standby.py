"""Whether the standby has what this process commits and reads, where durability rests on one (`design.md` §2.8).

The gate closes with the first COMMIT that is not answered in time, or with a look that finds no synchronous standby,
and opens with a probe that writes. What was read is proven by any COMMIT that began after the read: the standby gets
the log in order.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from payonce.clock import boot_clock_s
from payonce.domain.claiming import COMMIT_ANSWER_S, CommitEnd
from payonce.logging import get_logger
from payonce.metrics import COMMITS_UNPROVEN, GATE_CLOSED
from payonce.storage.driver.statements import Query, Row, Statement

LOOKED_WITHIN_S: Final = 3.0  # one look a second; without any for so long nothing is believed
IDLE_PROOF_EVERY_S: Final = 10.0  # for what other processes wrote
FAIL_OVER_RECENT_S: Final = 600.0  # so long a create is inquired about before it is sent
_XIDS: Final = 2**32  # rows carry the lower half of a transaction's id

# Source: PostgreSQL 18: `sync_state` is null without the role `pg_read_all_stats`; the first eight digits of a WAL
# file's name are its timeline.
_LOOK = Statement(
    text(
        """
    SELECT current_setting('synchronous_standby_names') <> ''
           AND EXISTS (SELECT FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')) AS standby,
           CASE WHEN NOT pg_is_in_recovery()
                THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END AS timeline,
           CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS oldest_running,
           CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS next
    """
    )
)
# Written to the log and nowhere else; a transaction that only has an id does not wait for the standby.
_EMPTY_WRITE = Statement(text("SELECT pg_logical_emit_message(true, 'payonce', '') IS NOT NULL AS written"))

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look at the server found."""

    standby: bool  # a synchronous one is named and connected
    timeline: str | None  # none while the server recovers, as a standby does
    oldest_running: int  # the id below which every transaction has ended
    next: int  # no transaction from here on had ended


def look() -> Query[Sight]:
    """How the server stands."""
    return Query(_LOOK, {}, lambda rows: _sight(rows[0]))


def empty_write() -> Query[bool]:
    """Something that makes COMMIT wait for the standby, and changes nothing."""
    return Query(_EMPTY_WRITE, {}, bool)


def _sight(row: Row) -> Sight:
    return Sight(bool(row["standby"]), row["timeline"], int(row["oldest_running"]), int(row["next"]))


class Gate:
    """Closed: no COMMIT of this process is believed. It stays open where durability rests on no standby."""

    def __init__(self, *, follows_standby: bool) -> None:
        self.follows_standby = follows_standby
        self._opened = asyncio.Event()
        self._opened.set()
        self._looked_at: float | None = None  # when a look last found the standby

    @property
    def open(self) -> bool:
        if self._looked_at is not None and boot_clock_s() - self._looked_at > LOOKED_WITHIN_S:
            self.close("the standby was not looked at for too long")
        return self._opened.is_set()

    def looked(self) -> None:
        """A look has just found the standby; from the first one on the gate needs the next in time."""
        self._looked_at = boot_clock_s()

    async def opened(self) -> None:
        """Returns when it is open."""
        await self._opened.wait()

    def close(self, reason: str) -> None:
        """POSTs are answered without a transaction from now on."""
        if self.follows_standby and self._opened.is_set():
            self._opened.clear()
            GATE_CLOSED.set(1)
            log.error("gate_closed", reason=reason)

    def reopen(self) -> None:
        """A probe that writes was answered."""
        if not self._opened.is_set():
            self._opened.set()
            GATE_CLOSED.set(0)
            log.warning("gate_opened")


class FailOver:
    """Whether this process saw, not long ago, that the primary is another one than before."""

    def __init__(self, clock: Callable[[], float] = boot_clock_s) -> None:
        self._clock = clock
        self.timeline: str | None = None  # of the primary, as far as this process knows
        self._seen_at: float | None = None

    @property
    def recent(self) -> bool:
        return self._seen_at is not None and self._clock() - self._seen_at < FAIL_OVER_RECENT_S

    def saw(self, timeline: str | None) -> bool:
        """The server is on this timeline; a promotion begins a later one, and a predecessor's is no news.

        Whether it is another primary than before.
        """
        if timeline is None or (self.timeline is not None and timeline <= self.timeline):
            return False
        promoted = self.timeline is not None
        if promoted:
            self._seen_at = self._clock()
            log.warning("fail_over_seen", timeline=timeline)
        self.timeline = timeline
        return promoted


class Proofs:
    """Which COMMITs of this process on one server were believed, in the order in which they began."""

    def __init__(self) -> None:
        self._begun = 0
        self._proven = 0
        self._writing: asyncio.Future[object] | None = None
        # Of a look: COMMITs that had begun, the oldest transaction that ran, changes below it.
        self._looked: tuple[int, int, int] | None = None
        self._proven_below = 0
        self._changes = 0  # COMMITs that were begun for what they write
        self._under_way = 0  # of them
        self._ended = 0  # changes that had ended when the latest look was done
        self._to_cover: tuple[int, int] | None = None  # changes that had ended, and an id above all of theirs
        self._covered = 0  # changes whose ids are all below the oldest transaction that ran
        self._proven_changes = 0  # how many of them the latest proof covers
        self._proven_at_s = 0.0

    def begin(self, *, empty: bool = False) -> int:
        """The number of a COMMIT that is about to be sent; `empty`: it was begun for its own sake."""
        self._begun += 1
        self._under_way += not empty
        self._changes += not empty
        return self._begun

    def ended(self, number: int, end: CommitEnd, *, wrote: bool, empty: bool = False) -> None:
        """How it ended. One that wrote nothing was answered without the standby, and so proves nothing."""
        self._under_way -= not empty
        if not end.proves:
            COMMITS_UNPROVEN.labels(end).inc()
        if not end.proves or not wrote:
            return
        self._proven = max(self._proven, number)
        if self._looked is not None and self._looked[0] < self._proven:
            self._proven_below = max(self._proven_below, self._looked[1])
            self._proven_changes, self._proven_at_s = self._looked[2], boot_clock_s()
            self._looked = None

    def look(self, sight: Sight) -> bool:
        """Every transaction below the oldest that runs has ended by now: the next COMMIT proves them.

        Whether one should be made for that: until all changes of this process are proven, else seldom.
        """
        if self._to_cover is None:  # what has ended since the last look may have done so after this sight
            self._to_cover = (self._ended, sight.next)
        if self._to_cover[1] <= sight.oldest_running:
            self._covered, self._to_cover = self._to_cover[0], None
        self._ended = self._changes - self._under_way
        if self._looked is None:
            self._looked = (self._begun, sight.oldest_running, self._covered)
        idle = (
            self._changes == self._proven_changes and boot_clock_s() - self._proven_at_s < IDLE_PROOF_EVERY_S
        )
        return sight.oldest_running > self._proven_below and not idle

    def has(self, xid: int) -> bool:
        """Whether what the transaction wrote is proven, without asking; `xid` as a row's `xmin` shows it.

        A row that is too old to tell counts as not proven.
        """
        return 0 < (self._proven_below - xid) % _XIDS < _XIDS // 2 if self._proven_below else False

    async def passed(self, write: Callable[[], Awaitable[object]]) -> bool:
        """Whether what this process has read so far is proven, by a COMMIT that begins after this call.

        One `write` serves all that wait.
        """
        before = self._begun
        for _ in range(2):  # the write that is under way may have begun before this call
            if self._writing is None:
                self._writing = asyncio.ensure_future(write())
                self._writing.add_done_callback(self._written)
            await asyncio.wait({self._writing}, timeout=COMMIT_ANSWER_S)
            if self._proven > before:
                return True
        return False

    def _written(self, task: asyncio.Future[object]) -> None:
        self._writing = None
        if not task.cancelled():
            task.exception()  # looked at: those who wait see that nothing is proven
