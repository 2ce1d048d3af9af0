"""Events in the order of the transactions that wrote them, for those who follow them.

Nobody is told anything of a transaction while an older one runs: so what was told is complete up to its place, and
all that becomes visible later comes after it, however long a COMMIT takes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, bindparam, literal, select, text, tuple_

from payonce.storage.driver.connection import Connection
from payonce.storage.driver.statements import Query, Statement
from payonce.storage.merchants import Caller
from payonce.storage.merging import first_of_each, in_order
from payonce.storage.packing import body_of
from payonce.storage.tables import events

PING: Final = "webhook_endpoint.ping"  # goes to one endpoint; no list and no stream has it
PLACE: Final = (events.c.xid, events.c.created_at, events.c.sequence, events.c.id)
# What `packing.body_of` makes a body of.
BODY: Final = (events.c.id, events.c.payment_id, events.c.created_at, events.c.body)
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)


class EventPlace(NamedTuple):
    """Where an event is among all: one transaction writes its events at one time, so the sequence comes next."""

    xid: int
    created_at: datetime
    sequence: int
    id: str

    @classmethod
    def before(cls, xid: int) -> "EventPlace":
        """Before whatever this transaction and later ones write."""
        return cls(xid, _EARLIEST, 0, "")


_WITH_NEWS: Final = text(
    """
    SELECT followed.merchant_id, followed.mode
      FROM unnest(CAST(:merchants AS text[]), CAST(:modes AS text[])) AS followed (merchant_id, mode)
     WHERE EXISTS (
           SELECT FROM events
            WHERE merchant_id = followed.merchant_id AND mode = followed.mode AND type <> :ping
              AND (xid, created_at, sequence, id) > (CAST(:xid AS xid8), :created_at, :sequence, :id)
              AND xid < CAST(:ended AS xid8))
    """
)


@dataclass(frozen=True, slots=True)
class StreamedEvent:
    """One event as a follower gets it: `body` is what an endpoint gets, byte for byte."""

    id: str
    type: str
    created_at: datetime
    sequence: int
    xid: int
    body: bytes = field(repr=False)

    @property
    def place(self) -> EventPlace:
        """Where it is among the events of its merchant."""
        return EventPlace(self.xid, self.created_at, self.sequence, self.id)


_WAS_TOLD: Final = Statement(
    select(events.c.id)
    .where(events.c.payment_id == bindparam("payment_id"), events.c.type == bindparam("type"))
    .limit(1)
)


def was_told(payment_id: str, type_: str) -> Query[bool]:
    """Whether the payment has an event of that type."""
    return Query(_WAS_TOLD, {"payment_id": payment_id, "type": type_}, bool)


async def with_news(
    connection: Connection, callers: Collection[Caller], *, after: EventPlace, ended: int
) -> list[Caller]:
    """Those who have events after a place, of transactions below `ended`: all of those have ended."""
    parameters = {
        "merchants": [caller.merchant_id for caller in callers],
        "modes": [caller.mode for caller in callers],
        **after._asdict(),
        "xid": str(after.xid),
        "ended": str(ended),
        "ping": PING,
    }
    rows = (await connection.execute(_WITH_NEWS, parameters)).mappings()
    return [Caller(row["merchant_id"], row["mode"]) for row in rows]


async def find(connection: Connection, caller: Caller, event_id: str) -> StreamedEvent | None:
    """The caller's event with this id; another merchant's is not there."""
    row = (
        (await connection.execute(_columns().where(*_of(caller), events.c.id == event_id))).mappings().first()
    )
    return None if row is None else _told(row)


async def newest(connection: Connection, caller: Caller, *, ended: int) -> StreamedEvent | None:
    """The caller's last event of transactions below `ended`; all of those have ended."""
    query = _columns().where(*_of(caller), events.c.xid < ended)
    order = [column.desc() for column in PLACE]
    row = (await connection.execute(query.order_by(*order).limit(1))).mappings().first()
    return None if row is None else _told(row)


async def page(
    connection: Connection, caller: Caller, *, after: EventPlace, ended: int, types: Sequence[str], limit: int
) -> list[StreamedEvent]:
    """The caller's oldest events after a place, of transactions below `ended`: of these types, or of all."""
    place = tuple_(*(literal(value, column.type) for value, column in zip(after, PLACE, strict=True)))
    query = _columns().where(*_of(caller), tuple_(*PLACE) > place, events.c.xid < ended)
    if types:
        found = first_of_each(query, events.c.type, types, order=PLACE, descending=False, limit=limit)
    else:
        found = in_order(query, PLACE, descending=False, limit=limit)
    return [_told(row) for row in (await connection.execute(found)).mappings()]


def _columns() -> Select[Any]:
    return select(*BODY, events.c.type, events.c.sequence, events.c.xid)


def _of(caller: Caller) -> tuple[ColumnElement[bool], ...]:
    return (
        events.c.merchant_id == caller.merchant_id,
        events.c.mode == caller.mode,
        events.c.type != PING,
    )


def _told(row: Any) -> StreamedEvent:
    return StreamedEvent(
        row["id"], row["type"], row["created_at"], row["sequence"], int(row["xid"]), body_of(row)
    )
