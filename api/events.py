"""Events over HTTP: each in the bytes in which it was recorded and delivered."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, exists, select
from starlette.requests import Request
from starlette.responses import Response

from api.front import Front, path_id
from api.lists import Listing, created_between, fetch, invalid, list_response, read_query
from api.replies import shown
from api.schemas import EVENT_TYPES
from payonce.domain.errors import NotFound
from payonce.storage.connection import Connection
from payonce.storage.feed import PING, PLACE
from payonce.storage.merchants import Caller
from payonce.storage.tables import events
from payonce.storage.tables import webhook_deliveries as deliveries

FILTERS = ("type", "delivered", "created_after", "created_before")


class Undelivered(StrEnum):
    """The statuses of a delivery whose endpoint has not got the event, unless by another delivery."""

    PENDING = "pending"
    EXHAUSTED = "exhausted"


class Events:
    """The handlers under `/v1/events`."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def show(self, request: Request) -> Response:
        event_id = path_id(request)

        async def read(connection: Connection, caller: Caller) -> bytes:
            query = select(events.c.body).where(*_mine(caller), events.c.id == event_id)
            body: bytes | None = (await connection.execute(query)).scalar_one_or_none()
            if body is None:
                raise NotFound
            return body

        return shown(await self._front.read(request, read))

    async def list(self, request: Request) -> Response:
        page, filters = read_query(request, *FILTERS)
        conditions = _conditions(filters)

        async def read(connection: Connection, caller: Caller) -> Response:
            mine = (*_mine(caller), events.c.type != PING)
            query = select(events.c.body).where(*mine, *conditions)
            listing = Listing(query, mine, events.c.id, PLACE, xid=events.c.xid)
            rows, has_more = await fetch(connection, listing, page)
            return list_response([row["body"] for row in rows], has_more=has_more)

        return await self._front.read(request, read)


def _mine(caller: Caller) -> tuple[ColumnElement[bool], ...]:
    return (events.c.merchant_id == caller.merchant_id, events.c.mode == caller.mode)


def _conditions(filters: Mapping[str, str]) -> "list[Any]":
    conditions: list[Any] = created_between(events.c.created_at, filters)
    if "type" in filters:
        if filters["type"] not in EVENT_TYPES:
            raise invalid("type", "must be the type of an event")
        conditions.append(events.c.type == filters["type"])
    if "delivered" in filters:
        if filters["delivered"] not in ("true", "false"):
            raise invalid("delivered", "must be true or false")
        waiting = _waiting()
        conditions.append(~waiting if filters["delivered"] == "true" else waiting)
    return conditions


def _waiting() -> ColumnElement[bool]:
    """Some endpoint has not got the event: none of its deliveries of it succeeded."""
    other = deliveries.alias()
    same = (other.c.event_id == deliveries.c.event_id, other.c.endpoint_id == deliveries.c.endpoint_id)
    got = exists().where(*same, other.c.status == "succeeded")
    return exists().where(
        deliveries.c.event_id == events.c.id, deliveries.c.status.in_(list(Undelivered)), ~got
    )
