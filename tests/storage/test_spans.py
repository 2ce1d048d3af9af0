"""The transactions of a span of time hold all of it, and one without an end is asked for at the other end only."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import product

from sqlalchemy import text

from payonce.storage.spans import Span, written_in
from payonce.storage.tables import payments
from tests.storage.ledger import Ledger

STRETCH = timedelta(hours=6)
BEGIN = datetime(2026, 3, 1, 3, tzinfo=UTC)
# As six clocks said it, in the order of the transactions: the third goes a week ahead, the fifth a day behind.
TIMES = [BEGIN + timedelta(hours=hours) for hours in (0, 7, 7 + 168, 13, 13 - 24, 50)]
FIRST_OF_ALL, LAST_OF_ALL = 0, 2**64 - 1

Written = tuple[datetime, int]


async def _made(ledger: Ledger) -> list[Written]:
    for at in TIMES:
        await ledger.add_payment(created_at=at)
    rows = await ledger.rows(
        "SELECT created_at, CAST(CAST(xid AS text) AS bigint) AS xid FROM payments ORDER BY xid"
    )
    return [(row.created_at, row.xid) for row in rows]


def _stretch_of(at: datetime) -> datetime:
    return at - (at - datetime(2000, 1, 1, tzinfo=UTC)) % STRETCH


def _expected(made: Sequence[Written], span: Span) -> tuple[int, int] | None:
    touched = [
        xid
        for at, xid in made
        if (span.after is None or _stretch_of(at) > span.after - STRETCH)
        and (span.before is None or _stretch_of(at) < span.before)
    ]
    if not touched:
        return None
    return (
        FIRST_OF_ALL if span.after is None else min(touched),
        LAST_OF_ALL if span.before is None else max(touched),
    )


async def test_a_span_is_told_by_the_transactions_of_the_stretches_that_it_touches(ledger: Ledger) -> None:
    made = await _made(ledger)
    ends = [
        None,
        *(at + step for at in TIMES for step in (timedelta(), STRETCH, -STRETCH, timedelta(seconds=1))),
    ]
    spans = [Span(after, before) for after, before in product(ends, ends)]
    for span in spans:
        if span.is_all:
            continue
        async with ledger.database.reading() as connection:
            found = await written_in(connection, payments, span)
        assert found == _expected(made, span), span
        inside = [
            xid for at, xid in made if (span.after or at) <= at and (span.before is None or at < span.before)
        ]
        assert all(found is not None and found[0] <= xid <= found[1] for xid in inside)


_LOOK_UPS = text("SELECT pg_stat_get_xact_numscans('payments_made_idx'::regclass) AS n")


async def test_each_end_of_a_span_costs_a_look_up_for_each_stretch(ledger: Ledger) -> None:
    """With both for a list without an end, one over a year cost 25 ms."""
    stretches = 40
    for number in range(stretches):
        await ledger.add_payment(created_at=BEGIN + number * STRETCH)
    earliest, latest = BEGIN - STRETCH, BEGIN + stretches * STRETCH

    async def look_ups(span: Span) -> int:
        async with ledger.database.reading() as connection:
            await connection.execute(text("SET LOCAL enable_seqscan = off"))
            before = (await connection.execute(_LOOK_UPS)).scalar_one()
            assert await written_in(connection, payments, span) is not None
            return int((await connection.execute(_LOOK_UPS)).scalar_one() - before)

    one_end = stretches + 1  # the last finds nothing more
    assert await look_ups(Span(after=earliest)) == one_end
    assert await look_ups(Span(before=latest)) == one_end
    assert await look_ups(Span(earliest, latest)) == 2 * one_end
