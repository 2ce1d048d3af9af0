"""Which transactions have ended: below the oldest one that runs, nothing can appear any more.

A row becomes visible when its COMMIT is answered, however long that takes, so neither a time nor a number that was
drawn before says that nothing earlier is still to come. The id of the writing transaction and Postgres's own
snapshot do. Source: PostgreSQL, "Transaction ID and Snapshot Information Functions".
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from payonce.storage.driver.connection import Connection
from payonce.storage.driver.statements import Query, Row, Statement

LOOK_AGAIN_S: Final = 0.005

_SNAPSHOT: Final = Statement(text("SELECT CAST(pg_current_snapshot() AS text) AS snapshot"))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The transactions of the whole server at one moment."""

    # Every transaction below it has ended: what it wrote is there for good, or never will be.
    oldest_running: int
    next: int  # no transaction from here on had ended
    running: frozenset[int]

    def shows(self, xid: int) -> bool:
        """Whether that transaction had ended."""
        return xid < self.next and xid not in self.running


async def take_snapshot(connection: Connection) -> Snapshot:
    """How it is now. What had ended then is in every later statement's sight."""
    return await connection.fetch(Query(_SNAPSHOT, {}, _snapshot))


async def take_later_snapshot(connection: Connection, asked: Snapshot, *, within_s: float) -> Snapshot:
    """The first one in which all has ended that ran when it was `asked`; the last one after so many seconds."""
    taken, waits_until = asked, time.monotonic() + within_s
    while taken.oldest_running < asked.next and time.monotonic() < waits_until:
        await asyncio.sleep(LOOK_AGAIN_S)
        taken = await take_snapshot(connection)
    return taken


def _snapshot(rows: Sequence[Row]) -> Snapshot:
    (row,) = rows
    oldest_running, next_, running = row["snapshot"].split(":")
    return Snapshot(int(oldest_running), int(next_), frozenset(map(int, filter(None, running.split(",")))))
