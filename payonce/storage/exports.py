"""Payments for an export: page after page in the order of the transactions that wrote them, none of them twice.

It ends below the oldest transaction that runs when it begins, and waits for those that ran when it was asked for:
what they wrote may be of its span. One that goes on for longer leaves the export incomplete, which is said.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, literal, select, text, tuple_

from payonce.domain.payment import Payment, PaymentStatus
from payonce.storage.driver.database import Database
from payonce.storage.driver.statements import Query, Statement
from payonce.storage.merging import first_of_each
from payonce.storage.payments import PAYMENT_COLUMNS, payment_from
from payonce.storage.snapshots import take_snapshot
from payonce.storage.spans import Span, written_in
from payonce.storage.tables import payments

PAGE: Final = 500
WAIT_S: Final = 10.0  # a transaction of ours takes half of it at most
LOOK_AGAIN_S: Final = 0.1
# The latest of all that write by now. A snapshot does not tell it: what comes after the last that has ended may run.
_OWN: Final = Statement(text("SELECT CAST(pg_current_xact_id() AS text) AS xid"))
_PLACE: Final = (payments.c.xid, payments.c.created_at, payments.c.id)
_AS_THE_INDEX_HAS_THEM: Final = text("SET LOCAL enable_sort = off")


@dataclass(frozen=True, slots=True)
class Export:
    """What is exported: what one merchant made in one mode, within a span."""

    merchant_id: str
    mode: str
    span: Span


@dataclass(frozen=True, slots=True)
class End:
    """Below which transaction an export ends, and whether all that ran when it was asked for have ended."""

    xid: int
    complete: bool


async def end(database: Database) -> End:
    """Where an export that is asked for now ends; after `WAIT_S` at the latest."""
    async with database.browsing() as connection:
        latest = await connection.fetch(Query(_OWN, {}, lambda rows: int(rows[0]["xid"])))
    until = time.monotonic() + WAIT_S
    while True:
        async with database.browsing() as connection:
            ended = (await take_snapshot(connection)).oldest_running
        if ended >= latest or time.monotonic() >= until:
            return End(ended, complete=ended >= latest)
        await asyncio.sleep(LOOK_AGAIN_S)


async def pages(database: Database, export: Export, *, below: End) -> AsyncIterator[list[Payment]]:
    """All of it, each page read in a transaction of its own: no snapshot is held while somebody writes a file."""
    async with database.browsing() as connection:
        written = await written_in(connection, payments, export.span)
    if written is None:
        return
    first, last = written
    bounds = [payments.c.xid >= _xid(first), payments.c.xid <= _xid(last), payments.c.xid < _xid(below.xid)]
    after: tuple[Any, ...] | None = None
    while True:
        beyond = [] if after is None else [tuple_(*_PLACE) > _at(after)]
        query = select(*PAYMENT_COLUMNS, payments.c.xid).where(*_wanted(export), *bounds, *beyond)
        page = first_of_each(
            query, payments.c.status, list(PaymentStatus), order=_PLACE, descending=False, limit=PAGE
        )
        async with database.browsing() as connection:
            await connection.execute(_AS_THE_INDEX_HAS_THEM)
            rows = (await connection.execute(page)).mappings().all()
        if rows:
            yield [payment_from(row) for row in rows]
            after = tuple(rows[-1][column.name] for column in _PLACE)
        if len(rows) < PAGE:
            return


def _wanted(export: Export) -> list[ColumnElement[bool]]:
    span = export.span
    return [
        payments.c.merchant_id == export.merchant_id,
        payments.c.mode == export.mode,
        *([] if span.after is None else [payments.c.created_at >= span.after]),
        *([] if span.before is None else [payments.c.created_at < span.before]),
    ]


def _xid(value: int) -> ColumnElement[int]:
    return literal(value, payments.c.xid.type)


def _at(place: tuple[Any, ...]) -> Any:
    return tuple_(*(literal(value, column.type) for value, column in zip(place, _PLACE, strict=True)))
