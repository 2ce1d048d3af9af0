"""Which events some endpoint has not got, found from the deliveries that wait or gave up, or event by event.

There may be few such deliveries among millions of events, or many: looked for from the smaller side, up to a bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, any_, literal, select, text

from payonce.storage.driver.connection import Connection
from payonce.storage.merchants import Caller
from payonce.storage.merging import texts
from payonce.storage.tables import webhook_deliveries as deliveries
from payonce.storage.tables import webhook_endpoints as endpoints

LOOKED_AT_MAX: Final = 5_000  # deliveries, and then events, for one page

# In an order, so that the index by status is read and no more of it than the limit, which is said in words of SQL:
# without either, Postgres read the whole table. Each delivery's others are looked up by themselves (`OFFSET 0`), and
# by the event (`|| ''`), as in `job_pages`.
_WAITING: Final = """
    WITH waiting AS MATERIALIZED (
        SELECT delivery.event_id, delivery.endpoint_id
          FROM unnest(CAST(:endpoints AS text[])) AS endpoint (id)
         CROSS JOIN (VALUES ('pending'), ('exhausted')) AS unfinished (status)
         CROSS JOIN LATERAL (
               SELECT event_id, endpoint_id FROM webhook_deliveries
                WHERE endpoint_id = endpoint.id AND status = unfinished.status
                ORDER BY xid, created_at, sequence, id
                LIMIT {read} + 1) AS delivery
         LIMIT {read} + 1)
    SELECT (SELECT count(*) FROM waiting) AS seen,
           ARRAY(SELECT DISTINCT event_id FROM waiting
                  WHERE NOT EXISTS (
                        SELECT FROM webhook_deliveries AS got
                         WHERE got.event_id = waiting.event_id AND got.endpoint_id || '' = waiting.endpoint_id
                           AND got.status = 'succeeded'
                        OFFSET 0)) AS event_ids
"""


@dataclass(frozen=True, slots=True)
class Undelivered:
    """The merchant's endpoints, and the events that some of them has not got; None: there may be too many to tell."""

    endpoint_ids: Sequence[str]
    event_ids: Sequence[str] | None

    def has(self, event_id: ColumnElement[str]) -> ColumnElement[bool]:
        """Whether the event is one, looked up for each: of an endpoint's deliveries of it none succeeded."""
        other = deliveries.alias()
        got = (
            select(literal(1))
            .where(
                other.c.event_id == deliveries.c.event_id,
                other.c.endpoint_id == deliveries.c.endpoint_id,
                other.c.status == "succeeded",
            )
            .limit(1)
            .scalar_subquery()
        )
        waiting = select(literal(1)).where(
            deliveries.c.event_id == event_id,
            deliveries.c.endpoint_id == any_(texts(self.endpoint_ids)),
            deliveries.c.status.in_(["pending", "exhausted"]),
            got.is_(None),
        )
        return waiting.limit(1).scalar_subquery().is_not(None)


async def undelivered(connection: Connection, caller: Caller) -> Undelivered:
    """What the caller's endpoints, those that were not deleted, have not got."""
    mine = (endpoints.c.merchant_id == caller.merchant_id, endpoints.c.mode == caller.mode)
    endpoint_ids = list((await connection.execute(select(endpoints.c.id).where(*mine))).scalars())
    query = text(_WAITING.format(read=LOOKED_AT_MAX))
    found = await connection.execute(query, {"endpoints": endpoint_ids})
    row = found.one()
    return Undelivered(endpoint_ids, row.event_ids if row.seen <= LOOKED_AT_MAX else None)
