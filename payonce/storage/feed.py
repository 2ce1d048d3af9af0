"""Events in the order in which they were written, for those who follow them.

`created_at` is set before the commit, so an event may become visible after others that were written later. A
reader who wants them all looks back over `LOOK_BACK_S` and leaves out what it has.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, select, text, tuple_

from payonce.storage.connection import Connection
from payonce.storage.merchants import Caller
from payonce.storage.tables import events

LOOK_BACK_S: Final = 15.0  # a transaction lasts 4 s at most; the rest is for clocks that differ
LOOK_BACK: Final = timedelta(seconds=LOOK_BACK_S)
PING: Final = "webhook_endpoint.ping"  # goes to one endpoint; no list and no stream has it

_UNSEEN: Final = text(
    """
    SELECT event.id, event.merchant_id, event.mode, event.type, event.body, event.created_at, event.sequence
      FROM unnest(CAST(:merchants AS text[]), CAST(:modes AS text[])) AS followed (merchant_id, mode)
      JOIN events AS event USING (merchant_id, mode)
     WHERE event.created_at >= :since AND event.type <> :ping
       AND event.id <> ALL (CAST(:seen AS text[]))
     ORDER BY event.created_at, event.sequence, event.id
     LIMIT :limit
    """
)


@dataclass(frozen=True, slots=True)
class Told:
    """One event as a follower gets it: `body` is what an endpoint gets, byte for byte."""

    id: str
    type: str
    created_at: datetime
    sequence: int
    body: bytes = field(repr=False)

    @property
    def place(self) -> tuple[datetime, int, str]:
        """Where it is among the events of its merchant."""
        return self.created_at, self.sequence, self.id


async def unseen(
    connection: Connection,
    callers: Collection[Caller],
    *,
    since: datetime,
    seen: Collection[str],
    limit: int,
) -> list[tuple[Caller, Told]]:
    """The oldest events of these callers written at or after `since`, without those whose ids are given."""
    parameters = {
        "merchants": [caller.merchant_id for caller in callers],
        "modes": [caller.mode for caller in callers],
        "since": since,
        "ping": PING,
        "seen": list(seen),
        "limit": limit,
    }
    rows = (await connection.execute(_UNSEEN, parameters)).mappings()
    return [(Caller(row["merchant_id"], row["mode"]), _told(row)) for row in rows]


async def recent_ids(connection: Connection, caller: Caller, *, since: datetime) -> dict[str, datetime]:
    """The caller's events written at or after `since`, by id."""
    query = select(events.c.id, events.c.created_at).where(*_of(caller), events.c.created_at >= since)
    return {row.id: row.created_at for row in await connection.execute(query)}


async def find(connection: Connection, caller: Caller, event_id: str) -> Told | None:
    """The caller's event with this id; another merchant's is not there."""
    row = (
        (await connection.execute(_columns().where(*_of(caller), events.c.id == event_id))).mappings().first()
    )
    return None if row is None else _told(row)


async def page(
    connection: Connection,
    caller: Caller,
    *,
    after: tuple[datetime, int, str],
    types: Sequence[str],
    limit: int,
) -> list[Told]:
    """The caller's oldest events after a place, of these types or, when none is given, of all."""
    place = (events.c.created_at, events.c.sequence, events.c.id)
    query = _columns().where(*_of(caller), tuple_(*place) > after).order_by(*place).limit(limit)
    if types:
        query = query.where(events.c.type.in_(types))
    return [_told(row) for row in (await connection.execute(query)).mappings()]


def _columns() -> Select[Any]:
    return select(events.c.id, events.c.type, events.c.created_at, events.c.sequence, events.c.body)


def _of(caller: Caller) -> tuple[ColumnElement[bool], ...]:
    return (
        events.c.merchant_id == caller.merchant_id,
        events.c.mode == caller.mode,
        events.c.type != PING,
    )


def _told(row: Any) -> Told:
    return Told(row["id"], row["type"], row["created_at"], row["sequence"], row["body"])
