"""The inbox of callbacks: what an acquirer told us, once, until somebody has followed it up.

Of the message itself only our reference is kept: a callback is believed in nothing, it only makes us ask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import CursorResult, delete, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from payonce.storage.driver.connection import Connection
from payonce.storage.tables import callbacks

SWEEP_AFTER = timedelta(seconds=2)  # whoever received it hands it over at once
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2, 600  # between two tries to hand over the same one
KEPT = timedelta(days=3)  # as long as acquirers tell again; what comes later costs an inquiry


@dataclass(frozen=True, slots=True)
class Received:
    """A callback in the inbox."""

    connector: str
    event_id: str
    reference: str


async def put(
    connection: Connection, received: Received, *, now: datetime, later: timedelta = timedelta()
) -> bool:
    """The callback is in the inbox. False: it was there already, and nothing happens.

    `later`: so much later than at once whoever received it means to hand it over.
    """
    values = {
        "connector": received.connector,
        "event_id": received.event_id,
        "reference": received.reference,
        "received_at": now,
        "sweep_at": now + later + SWEEP_AFTER,
    }
    added = await connection.execute(
        insert(callbacks).values(values).on_conflict_do_nothing().returning(callbacks.c.event_id)
    )
    return added.scalar_one_or_none() is not None


async def handled(connection: Connection, received: Sequence[Received], *, now: datetime) -> None:
    """Nobody needs to look at them any more."""
    ids = [(one.connector, one.event_id) for one in received]
    await connection.execute(
        update(callbacks)
        .where(tuple_(callbacks.c.connector, callbacks.c.event_id).in_(ids))
        .values(handled_at=now)
    )


async def dequeue(connection: Connection, *, limit: int) -> list[Received]:
    """Callbacks that nobody has followed up, at most `limit`; other sweepers do not see them for a while."""
    due = (
        select(callbacks.c.connector, callbacks.c.event_id)
        .where(callbacks.c.handled_at.is_(None), callbacks.c.sweep_at <= func.now())
        .order_by(callbacks.c.sweep_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    pause_s = func.least(FIRST_PAUSE_S * func.power(2, func.least(callbacks.c.sweeps, 16)), LONGEST_PAUSE_S)
    taken = (
        update(callbacks)
        .where(callbacks.c.connector == due.c.connector, callbacks.c.event_id == due.c.event_id)
        .values(
            sweep_at=func.now() + pause_s * text("interval '1 second'"),
            sweeps=callbacks.c.sweeps + 1,
        )
        .returning(callbacks.c.connector, callbacks.c.event_id, callbacks.c.reference)
    )
    return [Received(**row) for row in (await connection.execute(taken)).mappings()]


async def forget(connection: Connection, *, now: datetime, limit: int) -> int:
    """At most `limit` callbacks that were followed up long ago are gone."""
    old = (
        select(callbacks.c.connector, callbacks.c.event_id)
        .where(callbacks.c.received_at < now - KEPT, callbacks.c.handled_at.is_not(None))
        .limit(limit)
        .cte("old")
    )
    gone: CursorResult[None] = await connection.execute(
        delete(callbacks).where(
            callbacks.c.connector == old.c.connector, callbacks.c.event_id == old.c.event_id
        )
    )
    return gone.rowcount
