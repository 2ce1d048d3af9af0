"""The inbox of callbacks: what an acquirer told us, once, until somebody has followed it up.

Of the message itself only our reference is kept, and the fact that it carries where facts come by callback. Of any
other it is believed in nothing: it only makes us ask.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CTE, ColumnElement, CursorResult, Row, and_, delete, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from payonce.storage.driver.connection import Connection
from payonce.storage.references import attempt_has
from payonce.storage.tables import attempts, callbacks

SWEEP_AFTER = timedelta(seconds=2)  # whoever received it hands it over at once
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2, 600  # between two tries to hand over the same one
# Longer than acquirers tell again; what comes later costs an inquiry. What carries a fact is kept as long as its
# payment: told again years later, it is known.
KEPT = timedelta(days=30)
FACTS_MAX = 100  # about one attempt: an acquirer takes it back, and does it again, a few times
UNKNOWN_FOR = timedelta(hours=1)  # our own COMMIT of the attempt may come after the acquirer's word of it


@dataclass(frozen=True, slots=True)
class Received:
    """A callback in the inbox."""

    connector: str
    account: str  # that verified it; empty: of a version that did not say
    event_id: str
    reference: str
    fact: Mapping[str, Any] | None = None  # encoded: see `storage.told`


@dataclass(frozen=True, slots=True)
class KeptFact:
    """A callback that carries a fact, as it lies in the inbox. `open`: it is still to be handed over."""

    received: Received
    received_at: datetime
    open: bool


async def put(
    connection: Connection, received: Received, *, now: datetime, later: timedelta = timedelta()
) -> bool:
    """The callback is in the inbox. False: it was there already, and nothing happens.

    `later`: so much later than at once whoever received it means to hand it over.
    """
    values: dict[str, Any] = {
        "connector": received.connector,
        "connector_account": received.account,
        "event_id": received.event_id,
        "reference": received.reference,
        "received_at": now,
        "sweep_at": now + later + SWEEP_AFTER,
    }
    if received.fact is not None:
        values["fact"] = received.fact
    added = await connection.execute(
        insert(callbacks).values(values).on_conflict_do_nothing().returning(callbacks.c.event_id)
    )
    return added.scalar_one_or_none() is not None


async def handled(connection: Connection, received: Sequence[Received], *, now: datetime) -> None:
    """Nobody needs to look at them any more."""
    await connection.execute(update(callbacks).where(_are(received)).values(handled_at=now))


async def give_up_unknown(connection: Connection, received: Sequence[Received], *, now: datetime) -> int:
    """Nobody looks any more for what those of them are about that came long ago; returns how many that are.

    A person finds them, who may have them looked for again. The others stay for the sweeper.
    """
    long_ago = callbacks.c.received_at < now - UNKNOWN_FOR
    done: CursorResult[None] = await connection.execute(
        update(callbacks).where(_are(received), long_ago).values(handled_at=now, unknown_at=now)
    )
    return done.rowcount


async def dequeue(connection: Connection, *, limit: int) -> list[Received]:
    """Callbacks that nobody has followed up, at most `limit`, oldest first.

    Other sweepers do not see them for a while.
    """
    due = (
        select(*_KEY)
        .where(callbacks.c.handled_at.is_(None), callbacks.c.sweep_at <= func.now())
        .order_by(callbacks.c.sweep_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    pause_s = func.least(FIRST_PAUSE_S * func.power(2, func.least(callbacks.c.sweeps, 16)), LONGEST_PAUSE_S)
    taken = (
        update(callbacks)
        .where(*_same_as(due))
        .values(
            sweep_at=func.now() + pause_s * text("interval '1 second'"),
            sweeps=callbacks.c.sweeps + 1,
        )
        .returning(*_RECEIVED, callbacks.c.received_at)
    )
    rows = sorted(await connection.execute(taken), key=lambda row: row.received_at)
    return [_received(row) for row in rows]


async def again(connection: Connection, received: Sequence[Received]) -> None:
    """They are to be handed over once more, at once."""
    if received:
        await connection.execute(
            update(callbacks)
            .where(_are(received))
            .values(handled_at=None, unknown_at=None, sweep_at=func.now(), sweeps=0)
        )


async def told(
    connection: Connection,
    account: str,
    *,
    since: datetime,
    until: datetime,
    after: tuple[datetime, str] | None,
    limit: int,
) -> list[KeptFact]:
    """What carries a fact and came to the account in that time, at most `limit`, oldest first, after this one."""
    came = (
        callbacks.c.connector_account == account,
        callbacks.c.fact.is_not(None),
        callbacks.c.received_at >= since,
        callbacks.c.received_at < until,
    )
    place = callbacks.c.received_at, callbacks.c.event_id
    query = select(*_RECEIVED, callbacks.c.received_at, callbacks.c.handled_at).where(*came)
    if after is not None:
        query = query.where(tuple_(*place) > after)
    return [
        KeptFact(_received(row), row.received_at, row.handled_at is None)
        for row in await connection.execute(query.order_by(*place).limit(limit))
    ]


async def known_by_now(
    connection: Connection, account: str, *, identity: str | None, limit: int
) -> list[Received]:
    """What nobody knew when it came, and is about an attempt at the account that is there by now; some at a time.

    `identity`: as the acquirer calls the account; what was claimed for another one stays for a person.
    """
    same = and_(
        attempt_has(callbacks.c.reference),
        attempts.c.connector == callbacks.c.connector,
        attempts.c.connector_account == callbacks.c.connector_account,
        attempts.c.acquirer_identity.is_not_distinct_from(identity),
    )
    unknown = callbacks.c.unknown_at.is_not(None), callbacks.c.connector_account == account
    query = select(*_RECEIVED).join(attempts, same).where(*unknown).order_by(callbacks.c.unknown_at)
    return [_received(row) for row in await connection.execute(query.limit(limit))]


async def facts_about(connection: Connection, received: Received) -> list[Mapping[str, Any]]:
    """Every fact that came about the same reference, encoded, oldest first; at most `FACTS_MAX`."""
    same = (
        callbacks.c.connector == received.connector,
        callbacks.c.connector_account == received.account,
        callbacks.c.reference == received.reference,
        callbacks.c.fact.is_not(None),
    )
    query = select(callbacks.c.fact).where(*same).order_by(callbacks.c.received_at).limit(FACTS_MAX)
    return list((await connection.execute(query)).scalars())


async def forget(connection: Connection, *, now: datetime, limit: int) -> int:
    """At most `limit` callbacks that were followed up long ago, and carry no fact, are gone."""
    followed_up = callbacks.c.received_at < now - KEPT, callbacks.c.handled_at.is_not(None)
    old = select(*_KEY).where(*followed_up, callbacks.c.fact.is_(None)).limit(limit).cte("old")
    gone: CursorResult[None] = await connection.execute(delete(callbacks).where(*_same_as(old)))
    return gone.rowcount


_KEY = (callbacks.c.connector, callbacks.c.connector_account, callbacks.c.event_id)
_RECEIVED = (*_KEY, callbacks.c.reference, callbacks.c.fact)


def _received(row: Row[Any]) -> Received:
    return Received(row.connector, row.connector_account, row.event_id, row.reference, row.fact)


def _are(received: Sequence[Received]) -> ColumnElement[bool]:
    return tuple_(*_KEY).in_([(one.connector, one.account, one.event_id) for one in received])


def _same_as(found: CTE) -> list[ColumnElement[bool]]:
    return [column == found.c[column.name] for column in _KEY]
