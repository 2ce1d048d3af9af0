"""Lists: filters, cursors and pages. A page is found by position: it is stable while rows are inserted.

The position begins with the transaction that wrote the row. A page before a cursor, with which the newest are
followed, ends below the oldest transaction that runs: what becomes visible later comes after it. A page without a
cursor shows all that is there, so that whoever made an object finds it; but it waits `SETTLE_S` at most for what was
being written beside that, so that following may begin with it.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from sqlalchemy import (
    Column,
    ColumnElement,
    FromClause,
    RowMapping,
    Select,
    any_,
    literal,
    select,
    text,
    true,
    tuple_,
)
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import NamedColumn
from starlette.requests import Request
from starlette.responses import Response

from api.http.spellings import id_meant
from api.http.targets import PARAMETERS_MAX
from api.problems import JSON, Mistake, Problem, pointer_of
from api.schemas.times import read_time
from payonce.domain.ids import ID_PATTERN
from payonce.storage.driver.connection import Connection
from payonce.storage.merging import first_of_each, in_order, texts
from payonce.storage.snapshots import take_later_snapshot, take_snapshot
from payonce.storage.spans import ALL_TIME, Span, written_in

LIMIT_DEFAULT, LIMIT_MAX = 20, 100
FILTER_MAX_LENGTH = 1_000  # the longest key with each of its characters encoded
SETTLE_S: Final = 0.5  # a transaction takes some milliseconds; one that waits for a standby, minutes
PAGE_PARAMETERS: Final = ("limit", "starting_after", "ending_before")

# A list reads the index that has its rows in its order, and ends with the page. Where the planner took conditions on
# time and transaction for independent, it sorted all rows of a span, to show twenty. And it is planned for its own
# values each time: a plan for any value of a filter read all of a merchant's events for a type that never happened.
_AS_THE_INDEX_HAS_THEM: Final = text(
    "SELECT set_config('enable_sort', 'off', true), set_config('plan_cache_mode', 'force_custom_plan', true)"
)
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
class Merged:
    """A column that stands before the list's order in the index, and all its values: no filter names one."""

    column: Column[str]
    values: Sequence[str]


@dataclass(frozen=True, slots=True)
class Checked:
    """A condition that no index serves: `rows_max` rows are looked at, one by one by their id.

    What is not found among them is refused in words: a list never says "no" of what it did not look at.
    """

    parameter: str
    condition: Callable[[ColumnElement[str]], ColumnElement[bool]]
    rows_max: int

    @property
    def refusal(self) -> str:
        return (
            f"is looked up for {self.rows_max} objects at a time, and of the nearest ones none is so: say"
            " created_after and created_before, and go through shorter spans"
        )


@dataclass(frozen=True, slots=True)
class Listing:
    """A list of one table: what it shows, and by which columns, unique together, it is ordered.

    `scope` finds the rows that a cursor may name: the caller's; those that are also `wanted` are in the list. `xid`
    is the transaction that wrote a row; none where rows become visible in the list's order anyway. `span` is by
    `created_at`. `among`: the ids of few rows, of which the list has those that fit; none: it may have any.
    `sorted_by_index`: an index has its rows in its order; otherwise there are few. `refined`: the list by what is
    read once it is known where the page ends; read before, it would lack what became visible in between.
    """

    columns: Sequence[NamedColumn[Any]]
    scope: tuple[ColumnElement[bool], ...]
    id: NamedColumn[str]
    position: tuple[Column[Any], ...]
    xid: Column[int] | None = None
    newest_first: bool = True
    wanted: tuple[ColumnElement[bool], ...] = ()
    span: Span = ALL_TIME
    merged: Merged | None = None
    among: Sequence[str] | None = None
    checked: Checked | None = None
    sorted_by_index: bool = True
    refined: Callable[["Listing"], Awaitable["Listing"]] | None = None


def read_query(request: Request, *filters: str) -> tuple[Page, dict[str, str]]:
    """The page and the filters that are there. Raises `Problem` for a parameter that is not one of them."""
    found: dict[str, str] = {}
    for name, value in parameters(request.scope["query_string"]):
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


def created_between(filters: Mapping[str, str]) -> Span:
    """`created_after` is inclusive, `created_before` exclusive. Raises `Problem`."""
    return Span(moment(filters, "created_after"), moment(filters, "created_before"))


async def fetch(connection: Connection, listing: Listing, page: Page) -> tuple[list[RowMapping], bool]:
    """The page's rows in the list's order, and whether more follow in the page's direction.

    Raises `Problem` for a cursor that names nothing of the caller's, and for what is looked for among too many rows.
    """
    backwards = page.before is not None
    way = _Way(listing.position, descending=listing.newest_first is not backwards, count=page.limit + 1)
    conditions: list[ColumnElement[bool]] = []
    if listing.xid is not None and page.after is None:
        conditions += await _ended(connection, listing.xid, following=backwards)
    if listing.refined is not None:
        listing = await listing.refined(listing)
    if cursor := page.after or page.before:
        edge = await _position(connection, listing, cursor, parameter=PAGE_PARAMETERS[2 if backwards else 1])
        conditions.append(way.beyond(edge))
    if not listing.span.is_all:
        within = await _within(connection, listing)
        if within is None:
            return [], False
        conditions += within
    if listing.sorted_by_index:
        await connection.execute(_AS_THE_INDEX_HAS_THEM)
    rows = (await connection.execute(_page_of(listing, conditions, way))).mappings().all()
    found, has_more = list(rows[: page.limit]), len(rows) > page.limit
    if listing.checked is not None and not has_more:
        has_more = await _goes_on_unchecked(connection, listing, conditions, way)
        if has_more and not found:
            raise invalid(listing.checked.parameter, listing.checked.refusal)
    return (found[::-1] if backwards else found), has_more


@dataclass(frozen=True, slots=True)
class _Way:
    """So many rows in one direction of the list's order."""

    position: tuple[Column[Any], ...]
    descending: bool
    count: int

    def beyond(self, edge: Sequence[Any]) -> ColumnElement[bool]:
        """Whether a row comes after the one at this edge."""
        here = tuple_(*self.position)
        there = tuple_(
            *(literal(value, column.type) for value, column in zip(edge, self.position, strict=True))
        )
        return here < there if self.descending else here > there

    def first_of(self, query: Select[Any], of: FromClause | None = None, *, count: int = 0) -> Select[Any]:
        """The query's first rows by its own columns or by those of `of`."""
        columns = [column if of is None else of.c[column.name] for column in self.position]
        return in_order(query, columns, descending=self.descending, limit=count or self.count)


def _page_of(listing: Listing, conditions: Sequence[ColumnElement[bool]], way: _Way) -> Select[Any]:
    conditions = [*listing.scope, *listing.wanted, *conditions]
    if listing.among is not None:
        return _of_few(listing, listing.among, conditions, way)
    query = select(*listing.columns).where(*conditions)
    if listing.checked is not None:
        return _checked(listing, listing.checked, query.with_only_columns(*way.position), way)
    if listing.merged is not None:
        return first_of_each(
            query,
            listing.merged.column,
            listing.merged.values,
            order=way.position,
            descending=way.descending,
            limit=way.count,
        )
    return way.first_of(query)


def _of_few(
    listing: Listing, ids: Sequence[str], conditions: Sequence[ColumnElement[bool]], way: _Way
) -> Select[Any]:
    """Found by their ids before anything else is looked at: no other index is tried."""
    rows = select(listing.position[0].table).where(listing.id == any_(texts(ids)))
    few = rows.cte("few").prefix_with("MATERIALIZED")

    def of_few(element: Any, **_: Any) -> Any:
        return few.c[element.name] if isinstance(element, Column) else None

    fitting = [visitors.replacement_traverse(condition, {}, of_few) for condition in conditions]
    return way.first_of(select(*(few.c[column.name] for column in listing.columns)).where(*fitting), few)


def _checked(listing: Listing, checked: Checked, places: Select[Any], way: _Way) -> Select[Any]:
    """The rows at those of the nearest places that hold the condition, each fetched by its id."""
    walked = way.first_of(places, count=checked.rows_max).subquery("walked")
    held = select(walked).where(checked.condition(walked.c[listing.id.name]))
    nearest = way.first_of(held, walked).subquery("nearest")
    row = select(*listing.columns).where(listing.id == nearest.c[listing.id.name]).offset(0).lateral("row")
    return way.first_of(select(row).select_from(nearest.join(row, true())), nearest)


async def _goes_on_unchecked(
    connection: Connection, listing: Listing, conditions: Sequence[ColumnElement[bool]], way: _Way
) -> bool:
    """Whether there are more rows than were looked at."""
    assert listing.checked is not None
    rows = way.first_of(select(listing.id).where(*listing.scope, *listing.wanted, *conditions), count=1)
    return (await connection.execute(rows.offset(listing.checked.rows_max))).first() is not None


async def _within(connection: Connection, listing: Listing) -> list[ColumnElement[bool]] | None:
    """What was made in the span, by its times and by the transactions that wrote it; None: nothing was."""
    assert listing.xid is not None
    table = listing.xid.table
    written = await written_in(connection, table, listing.span)
    if written is None:
        return None
    first, last = (literal(xid, listing.xid.type) for xid in written)
    after, before = listing.span.after, listing.span.before
    return [
        listing.xid >= first,
        listing.xid <= last,
        *([] if after is None else [table.c.created_at >= after]),
        *([] if before is None else [table.c.created_at < before]),
    ]


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


def parameters(query: bytes) -> list[tuple[str, str]]:
    """Names and values. Raises `Problem`: with a character that is guessed, nothing would be found."""
    try:
        return parse_qsl(
            query.decode(), keep_blank_values=True, max_num_fields=PARAMETERS_MAX, errors="strict"
        )
    except UnicodeDecodeError:
        detail = "The query string is not UTF-8, percent-encoded."
    except ValueError:
        detail = f"The query string has more than {PARAMETERS_MAX} parameters."
    raise Problem("invalid_request", detail, mistakes=[Mistake("", detail)])


def _page(query: Mapping[str, str]) -> Page:
    limit = query.get("limit", str(LIMIT_DEFAULT))
    if not _LIMIT.fullmatch(limit) or not 1 <= int(limit) <= LIMIT_MAX:
        raise invalid("limit", f"must be an integer from 1 to {LIMIT_MAX}")
    after, before = (
        None if cursor is None else id_meant(cursor)
        for cursor in (query.get("starting_after"), query.get("ending_before"))
    )
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
