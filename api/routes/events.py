"""Events over HTTP: each in the bytes in which it was recorded and delivered."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from sqlalchemy import ColumnElement, all_, select
from starlette.requests import Request
from starlette.responses import Response

from api.front import Front, path_id
from api.http.lists import Checked, Listing, created_between, fetch, invalid, list_response, read_query
from api.http.responses import shown
from payonce.domain.errors import NotFound
from payonce.domain.events import EVENT_TYPES
from payonce.storage.driver.connection import Connection
from payonce.storage.events import BODY, PING, PLACE
from payonce.storage.merchants import Caller
from payonce.storage.merging import texts
from payonce.storage.packing import body_of
from payonce.storage.tables import events
from payonce.storage.undelivered import LOOKED_AT_MAX, undelivered

FILTERS = ("type", "delivered", "created_after", "created_before")


class Events:
    """The handlers under `/v1/events`."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def show(self, request: Request) -> Response:
        event_id = path_id(request)

        async def read(connection: Connection, caller: Caller) -> bytes:
            query = select(*BODY).where(*_mine(caller), events.c.id == event_id)
            row = (await connection.execute(query)).mappings().one_or_none()
            if row is None:
                raise NotFound
            return body_of(row)

        return shown(await self._front.read(request, read))

    async def list(self, request: Request) -> Response:
        page, filters = read_query(request, *FILTERS)
        span, wanted, delivered = created_between(filters), _of_type(filters), _delivered(filters)

        async def read(connection: Connection, caller: Caller) -> Response:
            mine = (*_mine(caller), events.c.type != PING)
            listing = Listing(BODY, mine, events.c.id, PLACE, xid=events.c.xid, wanted=wanted, span=span)
            if delivered is not None:
                refined = partial(_by_delivery, connection, caller, delivered=delivered)
                listing = replace(listing, refined=refined)
            rows, has_more = await fetch(connection, listing, page)
            return list_response([body_of(row) for row in rows], has_more=has_more)

        return await self._front.read(request, read)


def _mine(caller: Caller) -> tuple[ColumnElement[bool], ...]:
    return (events.c.merchant_id == caller.merchant_id, events.c.mode == caller.mode)


def _of_type(filters: Mapping[str, str]) -> tuple[ColumnElement[bool], ...]:
    if "type" not in filters:
        return ()
    if filters["type"] not in EVENT_TYPES:
        raise invalid("type", "must be the type of an event")
    return (events.c.type == filters["type"],)


def _delivered(filters: Mapping[str, str]) -> bool | None:
    if "delivered" not in filters:
        return None
    if filters["delivered"] not in ("true", "false"):
        raise invalid("delivered", "must be true or false")
    return filters["delivered"] == "true"


async def _by_delivery(
    connection: Connection, caller: Caller, listing: Listing, *, delivered: bool
) -> Listing:
    """The list of what every endpoint has got, or of what some has not."""
    waiting = await undelivered(connection, caller)
    if waiting.event_ids is None:

        def fits(event_id: ColumnElement[str]) -> ColumnElement[bool]:
            return ~waiting.has(event_id) if delivered else waiting.has(event_id)

        return replace(listing, checked=Checked("delivered", fits, LOOKED_AT_MAX))
    if delivered:
        return replace(listing, wanted=(*listing.wanted, events.c.id != all_(texts(waiting.event_ids))))
    return replace(listing, among=waiting.event_ids)
