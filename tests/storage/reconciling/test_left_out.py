"""What cannot be read of a list hides nothing else of it, and is not passed over."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from payonce.connectors.listing import ChargePage
from payonce.connectors.measured import Measured
from payonce.reconciling import reading
from payonce.reconciling.reading import LeftOut, Unfinished
from payonce.storage import reconciliation_runs
from payonce.storage.reconciliation_runs import Run
from tests.storage.reconciling.shop import AMOUNT, Shop
from tests.storage.reconciling.sides import ACCOUNT

HOUR = timedelta(hours=1)


def unreadable(monkeypatch: pytest.MonkeyPatch, id_: str | None) -> None:
    """The acquirer's object of this id is not as it is documented."""
    whole = Measured.list_charges

    async def list_charges(self: Measured, **span: Any) -> ChargePage:
        page = await whole(self, **span)
        left_out = tuple(one.id for one in page.charges if one.id == id_)
        return replace(page, charges=tuple(one for one in page.charges if one.id != id_), unreadable=left_out)

    monkeypatch.setattr(Measured, "list_charges", list_charges)


async def longer_than_is_read_at_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The acquirer's list, by some pages."""
    monkeypatch.setattr(shop.side.page, 2)
    monkeypatch.setattr(reading, "PAGES_MAX", 1)
    for _ in range(3):
        await shop.paid()


async def allowed(shop: Shop) -> bool:
    async with shop.ledger.database.transaction() as connection:
        return await reconciliation_runs.allow(connection, ACCOUNT, now=datetime.now(UTC))


async def last(shop: Shop, *, whole: bool) -> Run | None:
    async with shop.ledger.database.reading() as connection:
        return await reconciliation_runs.last_run(connection, ACCOUNT, whole=whole)


async def test_the_others_are_compared_and_nothing_is_missing_meanwhile(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = await shop.paid()
    failed = await shop.failed()
    await shop.charges(failed.id)
    with monkeypatch.context() as patch:
        unreadable(patch, paid.connector_reference)
        for run in range(3):
            with pytest.raises(LeftOut):
                await shop.reconciled(HOUR * (run + 1))
    assert [one.result for one in await shop.findings()] == ["charged_there"]
    assert (await shop.ledger.payment(paid.id)).amount_captured_minor == AMOUNT
    assert await last(shop, whole=True) is None
    report = await shop.reconciled(HOUR * 4)
    assert report.found == {"matched": 1}  # it was read, however long after


async def test_the_next_run_begins_where_the_last_whole_one_ended_until_a_person_allows_more(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await shop.reconciled()
    paid = await shop.paid()
    unreadable(monkeypatch, paid.connector_reference)
    for hours in (5, 10):
        with pytest.raises(LeftOut):
            await shop.reconciled(HOUR * hours)
        left_out = await last(shop, whole=False)
        assert left_out is not None
        assert (left_out.since, left_out.left_out) == (first.until - reading.OVERLAP, 1)
    assert await allowed(shop)
    assert not await allowed(shop)
    assert await last(shop, whole=True) == await last(shop, whole=False)
    assert (await shop.reconciled(HOUR * 20)).since == left_out.until - reading.OVERLAP


async def test_a_list_that_is_longer_than_is_read_at_once_goes_on_with_the_next_run(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await longer_than_is_read_at_once(shop, monkeypatch)
    left: list[Unfinished] = []
    for _ in range(10):
        try:
            report = await shop.reconciled()
            break
        except Unfinished as error:
            left.append(error)
    assert len(left) == report.pages - 1 >= 2
    assert (report.charges, await shop.findings()) == (3, [])


async def test_a_run_that_was_left_open_for_a_week_is_given_up_and_begun_anew(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await longer_than_is_read_at_once(shop, monkeypatch)
    with pytest.raises(Unfinished):
        await shop.reconciled()
    await shop.ledger.rows("UPDATE reconciliation_runs SET started_at = started_at - interval '8 days'")
    monkeypatch.setattr(reading, "PAGES_MAX", 100)
    report = await shop.reconciled(HOUR)
    assert report.charges == 3
    rows = await shop.ledger.rows("SELECT left_out, ended_at FROM reconciliation_runs ORDER BY started_at")
    assert [(row.left_out, row.ended_at is not None) for row in rows] == [(1, True), (0, True)]
