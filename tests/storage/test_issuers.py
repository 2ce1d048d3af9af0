"""The table of issuers: replaced whole by what an operator types, and followed by running processes."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from payonce.cli import app
from payonce.cli.base import CommandRefused
from payonce.domain.cards import Card
from payonce.domain.issuers import IssuerRange, packed
from payonce.issuers import Issuers
from payonce.metrics import ISSUER_TABLE_AGE_SECONDS
from payonce.storage import issuers as store
from tests.storage.ledger import DERIVATION_KEY, Ledger
from tests.support.eventually import eventually

FRENCH = Card("4111111111111111", 12, 2040)
Typed = Callable[..., Awaitable[Result]]


@pytest.fixture
def typed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """`payonce bins …` as an operator types it."""
    monkeypatch.setenv("PAYONCE_DATABASE_URL", ledger.url)
    monkeypatch.setenv("PAYONCE_REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("PAYONCE_TEMPORAL_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("PAYONCE_DERIVATION_KEY", DERIVATION_KEY)

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, ["bins", *arguments])

    return run


def file(tmp_path: Path, *lines: str) -> str:
    path = tmp_path / "ranges.csv"
    path.write_text("\n".join(["first,last,country", *lines]) + "\n")
    return str(path)


def shown(ran: Result) -> Any:
    assert ran.exit_code == 0, ran.exception
    return json.loads(ran.stdout)


async def imported(ledger: Ledger, *ranges: IssuerRange) -> None:
    async with ledger.database.transaction() as connection:
        await store.replace_with(connection, packed(ranges))


async def aged(ledger: Ledger, days: int) -> None:
    await ledger.rows("UPDATE issuer_table SET imported_at = now() - make_interval(days => :days)", days=days)


async def country(ledger: Ledger, card: Card = FRENCH) -> str | None:
    """As a process knows it that was started just now."""
    issuers = Issuers(ledger.database)
    await issuers.refresh()
    return issuers.country_of(card, mode="live")


async def test_what_is_imported_is_known_and_shown(ledger: Ledger, typed: Typed, tmp_path: Path) -> None:
    assert shown(await typed("status", "--json"))["known"] is False
    assert "No table was ever imported" in (await typed("status")).stdout
    assert await country(ledger) is None
    assert shown(await typed("import", file(tmp_path, "41,,FR", "51,55,US"), "--json"))["ranges"] == 2
    view = shown(await typed("status", "--json"))
    assert (view["ranges"], view["age_days"], view["known"]) == (2, 0, True)
    assert await country(ledger) == "FR"


async def test_an_import_leaves_nothing_of_the_table_before(
    ledger: Ledger, typed: Typed, tmp_path: Path
) -> None:
    for lines in (("41,,FR", "51,55,US"), ("41,,DE",), ("41,,DE",)):
        await typed("import", file(tmp_path, *lines))
    assert await country(ledger) == "DE"
    assert await country(ledger, Card("5100000000000000", 12, 2040)) is None
    assert await ledger.count("issuer_ranges") == 1


@pytest.mark.parametrize("lines", [("41,,DE", "4x,,FR"), ("41,,DE", "411,,FR"), ()])
async def test_of_a_wrong_file_nothing_is_imported(
    ledger: Ledger, typed: Typed, tmp_path: Path, lines: tuple[str, ...]
) -> None:
    await imported(ledger, IssuerRange(410000000, 419999999, "FR"))
    ran = await typed("import", file(tmp_path, *lines))
    assert isinstance(ran.exception, CommandRefused)
    assert await country(ledger) == "FR"


async def test_an_import_that_is_interrupted_changes_nothing(ledger: Ledger) -> None:
    await imported(ledger, IssuerRange(410000000, 419999999, "FR"))
    async with ledger.database.transaction() as connection:
        await connection.execute(text("LOCK TABLE issuer_ranges IN SHARE MODE"))
        second = asyncio.create_task(imported(ledger, IssuerRange(410000000, 419999999, "DE")))
        await ledger.waits_for_a_lock(second)  # it has written its row of `issuer_table` by now
        second.cancel()
        await asyncio.wait({second})
    assert second.cancelled()
    assert await country(ledger) == "FR"


async def test_of_two_imports_at_once_one_counts_as_a_whole(ledger: Ledger) -> None:
    await imported(ledger, IssuerRange(410000000, 419999999, "FR"))
    async with ledger.database.transaction() as connection:
        await store.replace_with(connection, packed([IssuerRange(410000000, 419999999, "DE")]))
        second = asyncio.create_task(imported(ledger, IssuerRange(410000000, 419999999, "ES")))
        await ledger.waits_for_a_lock(second)
    await second
    assert await country(ledger) == "ES"
    assert await ledger.count("issuer_ranges") == 1


async def test_after_45_days_no_country_is_known_any_more(ledger: Ledger, typed: Typed) -> None:
    await imported(ledger, IssuerRange(410000000, 419999999, "FR"))
    await aged(ledger, 44)
    assert await country(ledger) == "FR"
    await aged(ledger, 46)
    assert await country(ledger) is None
    view = shown(await typed("status", "--json"))
    assert (view["age_days"], view["known"]) == (46, False)
    assert "too old" in (await typed("status")).stdout


async def test_a_table_of_several_rows_is_read_whole(ledger: Ledger) -> None:
    ranges = [IssuerRange(first, first, "FR") for first in range(410000000, 410025000)]
    await imported(ledger, *ranges)
    assert await ledger.count("issuer_ranges") == 3
    for first, known in ((410000000, "FR"), (410010000, "FR"), (410024999, "FR"), (410025000, None)):
        assert await country(ledger, Card(f"{first}0000000", 12, 2040)) == known


async def test_a_table_that_was_replaced_while_it_was_read_is_left_alone(ledger: Ledger) -> None:
    await imported(ledger, IssuerRange(410000000, 419999999, "FR"))
    async with ledger.database.reading() as connection:
        before = await store.in_force(connection)
    assert before is not None
    await imported(ledger, IssuerRange(410000000, 419999999, "DE"))
    async with ledger.database.reading() as connection:
        assert await store.read(connection, before) is None


async def test_a_running_process_follows_imports_and_says_how_old_they_are(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("payonce.issuers.LOOK_EVERY_S", 0.05)
    await imported(ledger, IssuerRange(410000000, 419999999, "FR"))
    await aged(ledger, 3)
    issuers = Issuers(ledger.database)
    async with issuers.following():
        assert issuers.country_of(FRENCH, mode="live") == "FR"
        assert ISSUER_TABLE_AGE_SECONDS._value.get() >= timedelta(days=3).total_seconds()
        await imported(ledger, IssuerRange(410000000, 419999999, "DE"))

        async def follows() -> bool:
            return issuers.country_of(FRENCH, mode="live") == "DE"

        await eventually(follows)


async def test_a_process_whose_table_cannot_be_read_keeps_the_one_before(ledger: Ledger) -> None:
    await imported(ledger, IssuerRange(410000000, 419999999, "FR"))
    issuers = Issuers(ledger.database)
    await issuers.refresh()
    await ledger.rows("ALTER TABLE issuer_table RENAME TO gone")
    async with issuers.following():
        assert issuers.country_of(FRENCH, mode="live") == "FR"
