"""Lists: filters, cursors and pages. A page is found by position: it is stable while rows are inserted.

The position begins with the transaction that wrote the row. A page before a cursor, with which the newest are
followed, ends below the oldest transaction that runs: what becomes visible later comes after it. A page without a
cursor shows all that is there, so that whoever made an object finds it; but it waits `SETTLE_S` at most for what was
being written beside that, so that following may begin with it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from sqlalchemy import ColumnElement, RowMapping, Select, literal, select, tuple_
from starlette.requests import Request
from starlette.responses import Response

from api.problems import JSON, Mistake, Problem, pointer_of
from api.times import read_time
from payonce.domain.ids import ID_PATTERN
from payonce.storage.connection import Connection
from payonce.storage.snapshots import take_later_snapshot, take_snapshot

LIMIT_DEFAULT, LIMIT_MAX = 20, 100
FILTER_MAX_LENGTH = 300
SETTLE_S: Final = 0.5  # a transaction takes some milliseconds; one that waits for a standby, minutes
PAGE_PARAMETERS: Final = ("limit", "starting_after", "ending_before")

_LIMIT = re.compile(r"[0-9]{1,3}")
_LOST_PLUS = re.compile(r" (?=\d{2}:\d{2}$)")

E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list: the first rows, or those after or before the object with an id."""

    limit: int
    after: str | None
    before: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """A list of one table: what is in it, and by which columns, unique together, it is ordered.

    `scope` finds the rows that a cursor may name: the caller's, whatever the filters are. `xid` is the transaction
    that wrote a row; none where rows become visible in the list's order anyway.
    """

    query: Select[Any]
    scope: tuple[ColumnElement[bool], ...]
    id: ColumnElement[str]
    position: tuple[ColumnElement[Any], ...]
    xid: ColumnElement[int] | None = None
    newest_first: bool = True


def read_query(request: Request, *filters: str) -> tuple[Page, dict[str, str]]:
    """The page and the filters that are there. Raises `Problem` for a parameter that is not one of them."""
    query = request.scope["query_string"].decode("ascii", "replace")
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, max_num_fields=50):
        if name not in PAGE_PARAMETERS and name not in filters:
            raise invalid(name, "is not a parameter of this list")
        if name in found:
            raise invalid(name, "must be there once")
        if "\0" in value or len(value) > FILTER_MAX_LENGTH:
            raise invalid(name, f"must have at most {FILTER_MAX_LENGTH} characters, none of them NUL")
        found[name] = value
    return _page(found), {name: value for name, value in found.items() if name in filters}


def invalid(parameter: str, detail: str) -> Problem:
    """A query parameter is wrong; its pointer is its name."""
    pointer = pointer_of([parameter])
    return Problem(
        "invalid_request", f"{pointer or 'A parameter'} {detail}.", mistakes=[Mistake(pointer, detail)]
    )


def one_of(enum: type[E], filters: Mapping[str, str], name: str) -> E | None:
    """The filter's value as a member. Raises `Problem`."""
    if name not in filters:
        return None
    try:
        return enum(filters[name])
    except ValueError:
        raise invalid(name, f"must be one of {', '.join(enum)}") from None


def moment(filters: Mapping[str, str], name: str) -> datetime | None:
    """The filter's value as a time (RFC 3339; a `+` that became a space counts as one). Raises `Problem`."""
    if name not in filters:
        return None
    try:
        return read_time(_LOST_PLUS.sub("+", filters[name]))
    except ValueError as error:
        raise invalid(name, str(error)) from None


def created_between(column: ColumnElement[datetime], filters: Mapping[str, str]) -> list[ColumnElement[bool]]:
    """`created_after` is inclusive, `created_before` exclusive. Raises `Problem`."""
    after, before = moment(filters, "created_after"), moment(filters, "created_before")
    return [
        *([] if after is None else [column >= after]),
        *([] if before is None else [column < before]),
    ]


async def fetch(connection: Connection, listing: Listing, page: Page) -> tuple[list[RowMapping], bool]:
    """The page's rows in the list's order, and whether more follow in the page's direction.

    Raises `Problem` for a cursor that names nothing of the caller's.
    """
    backwards = page.before is not None
    descending = listing.newest_first is not backwards
    query = listing.query
    if listing.xid is not None and page.after is None:
        query = query.where(*await _ended(connection, listing.xid, following=backwards))
    if cursor := page.after or page.before:
        edge = await _position(connection, listing, cursor, parameter=PAGE_PARAMETERS[2 if backwards else 1])
        here = tuple_(*listing.position)
        there = tuple_(
            *(literal(value, column.type) for value, column in zip(edge, listing.position, strict=True))
        )
        query = query.where(here < there if descending else here > there)
    order = [column.desc() if descending else column.asc() for column in listing.position]
    rows = (await connection.execute(query.order_by(*order).limit(page.limit + 1))).mappings().all()
    found = list(rows[: page.limit])
    return (found[::-1] if backwards else found), len(rows) > page.limit


async def _ended(
    connection: Connection, xid: ColumnElement[int], *, following: bool
) -> list[ColumnElement[bool]]:
    """What leaves out transactions beside which older ones still run; nothing is left out but in following."""
    asked = await take_snapshot(connection)
    taken = await take_later_snapshot(connection, asked, within_s=SETTLE_S)
    complete = taken.oldest_running >= asked.next
    return [xid < taken.oldest_running] if following or complete else []


def list_response(items: Sequence[bytes], *, has_more: bool) -> Response:
    """The list object around the items' own bytes."""
    more = b"true" if has_more else b"false"
    body = b'{"object":"list","data":[' + b",".join(items) + b'],"has_more":' + more + b"}"
    return Response(body, media_type=JSON, headers={"Cache-Control": "no-store"})


def _page(query: Mapping[str, str]) -> Page:
    limit = query.get("limit", str(LIMIT_DEFAULT))
    if not _LIMIT.fullmatch(limit) or not 1 <= int(limit) <= LIMIT_MAX:
        raise invalid("limit", f"must be an integer from 1 to {LIMIT_MAX}")
    after, before = query.get("starting_after"), query.get("ending_before")
    if after is not None and before is not None:
        raise invalid("ending_before", "must not come with starting_after")
    for name, cursor in (("starting_after", after), ("ending_before", before)):
        if cursor is not None and not ID_PATTERN.match(cursor):
            raise _unknown_cursor(name)
    return Page(int(limit), after, before)


async def _position(
    connection: Connection, listing: Listing, cursor: str, *, parameter: str
) -> tuple[Any, ...]:
    query: Select[Any] = select(*listing.position).where(*listing.scope, listing.id == cursor)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise _unknown_cursor(parameter)
    return tuple(row)


def _unknown_cursor(parameter: str) -> Problem:
    return invalid(parameter, "must be the id of an object in this list")
