"""`payonce merchants set`, `receipts erase` and `payments export`, as an operator types them."""

import asyncio
import csv
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from obstore.store import LocalStore
from sqlalchemy import text
from typer.testing import CliRunner, Result

from payonce.cli import app
from payonce.cli.base import CommandRefused
from payonce.domain.ids import random_id
from payonce.receipts.material import read_material
from payonce.storage import exports, payments
from payonce.storage.driver.connection import Connection
from payonce.storage.merchants import create_merchant
from payonce.storage.snapshots import Snapshot
from tests.storage.ledger import DERIVATION_KEY, Ledger
from tests.storage.receipts.receipted import Ill, asked, found, paid, ready, renderer
from tests.support.pictures import drawn


@pytest.fixture(autouse=True)
def environment(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYONCE_DATABASE_URL", ledger.url)
    monkeypatch.setenv("PAYONCE_REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("PAYONCE_TEMPORAL_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("PAYONCE_DERIVATION_KEY", DERIVATION_KEY)
    monkeypatch.setenv("PAYONCE_RECEIPTS_URL", (tmp_path / "receipts").as_uri())


async def typed(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, arguments)


async def test_what_a_merchant_shows_is_on_the_receipts_that_follow(ledger: Ledger, tmp_path: Path) -> None:
    logo = tmp_path / "logo.jpeg"
    logo.write_bytes(drawn(40, 20, form="JPEG"))
    said = ("--name", "Tea & Co.", "--address", "12 Marine Drive\nMumbai", "--logo", str(logo))
    ran = await typed("merchants", "set", ledger.merchant_id, *said)
    assert ran.exit_code == 0, ran.output
    row = await asked(ledger, await paid(ledger))
    async with ledger.database.reading() as connection:
        shop = (await read_material(connection, row)).shop
    assert (shop.name, shop.address) == ("Tea & Co.", "12 Marine Drive\nMumbai")
    assert shop.logo is not None
    assert shop.logo.startswith(b"\x89PNG")
    assert (await typed("merchants", "set", ledger.merchant_id, "--no-logo", "--address", "")).exit_code == 0
    async with ledger.database.reading() as connection:
        shop = (await read_material(connection, row)).shop
    assert (shop.name, shop.address, shop.logo) == ("Tea & Co.", "", None)


async def test_a_merchant_is_shown_no_card_number_and_no_file_but_a_picture(
    ledger: Ledger, tmp_path: Path
) -> None:
    svg = tmp_path / "logo.svg"
    svg.write_text("<svg/>")
    for said in (["--address", "4242 4242 4242 4242"], ["--logo", str(svg)], ["--name", " "], []):
        assert (await typed("merchants", "set", ledger.merchant_id, *said)).exit_code != 0, said
    assert (await typed("merchants", "set", "mer_nobody", "--address", "x")).exit_code != 0


async def test_erased_receipts_are_gone_and_the_next_say_nothing_of_the_customer(
    ledger: Ledger, tmp_path: Path
) -> None:
    store = Ill(LocalStore(tmp_path / "receipts", mkdir=True))
    payment, other = await paid(ledger), await paid(ledger)
    for one in (payment, other):
        await asked(ledger, one)
    working = renderer(ledger, store)
    while await working.step(ready):
        pass
    rows = [await found(ledger, one) for one in (payment, other)]
    ran = await typed("receipts", "erase", payment.id, "--why", "asked for by its customer", "--json")
    assert ran.exit_code == 0, ran.output
    said = json.loads(ran.stdout)
    assert (said["deleted"], said["refused"]) == ([rows[0].key], [])
    assert "What remains: the payment and its events" in said["remains"]
    assert [await store.get(row.key) is None for row in rows] == [True, False]
    await asked(ledger, payment)
    await working.step(ready)
    content = await store.get((await found(ledger, payment)).key)
    assert content is not None
    assert b"Asha" not in content
    assert (await typed("receipts", "erase", payment.id)).exit_code == 0
    assert (await found(ledger, payment)).stored_at is not None
    async with ledger.database.transaction() as connection:
        told = text("SELECT count(*) FROM audit.entries WHERE action = 'receipts.erased' AND subject = :id")
        assert (await connection.execute(told, {"id": payment.id})).scalar_one() == 2
    assert (await typed("receipts", "erase", "pay_nobody")).exit_code != 0


def span(days: int = 1) -> tuple[str, ...]:
    now = datetime.now(UTC)
    return ("--since", f"{now - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}", "--mode", "test")


def exported(ran: Result) -> list[dict[str, str]]:
    """The lines of the file."""
    return list(csv.DictReader(StringIO(ran.stdout)))


async def test_an_export_has_every_payment_of_the_merchant_once(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "PAGE", 3)
    async with ledger.database.transaction() as connection:
        another = await create_merchant(connection, name="Another")
    now = datetime.now(UTC)
    made = [await ledger.add_payment(created_at=now - timedelta(minutes=1)) for _ in range(8)]
    await ledger.add_payment(merchant_id=another.id, created_at=now - timedelta(minutes=1))
    await ledger.add_payment(created_at=now - timedelta(days=3))
    await ledger.add_payment(mode="live", created_at=now - timedelta(minutes=1))
    ran = await typed("payments", "export", "--merchant", ledger.merchant_id, *span())
    assert ran.exit_code == 0, ran.output
    rows = exported(ran)
    assert [row["id"] for row in rows] == [payment.id for payment in made]
    file = tmp_path / "export.csv"
    ran = await typed("payments", "export", "--merchant", ledger.merchant_id, *span(), "--output", str(file))
    assert ran.exit_code == 0, ran.output
    assert [row["id"] for row in csv.DictReader(StringIO(file.read_text()))] == [
        payment.id for payment in made
    ]
    assert file.stat().st_mode & 0o777 == 0o600
    ran = await typed("payments", "export", "--merchant", ledger.merchant_id, *span(), "--output", str(file))
    assert ran.exit_code != 0


async def test_an_export_waits_for_what_is_being_written_when_it_begins(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time is of the span, and the next export's span may begin where this one's ends."""
    asked_for, look = threading.Event(), exports.take_snapshot

    async def seen(connection: Connection) -> Snapshot:
        found = await look(connection)
        asked_for.set()
        return found

    monkeypatch.setattr(exports, "take_snapshot", seen)
    first = await ledger.add_payment(created_at=datetime.now(UTC))
    second = replace(first, id=random_id("pay"), idempotency_key="another")
    async with ledger.database.transaction() as open_one:
        await payments.insert_payment(open_one, second)
        await open_one.execute(text("SELECT 1"))  # it is sent
        exporting = asyncio.create_task(
            typed("payments", "export", "--merchant", ledger.merchant_id, *span())
        )
        assert await asyncio.to_thread(asked_for.wait, 60)
    ran = await exporting
    assert ran.exit_code == 0, ran.output
    assert {row["id"] for row in exported(ran)} == {first.id, second.id}


async def test_an_export_ends_below_what_is_still_being_written_and_says_that_it_is_not_complete(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    first = await ledger.add_payment(created_at=now)
    with monkeypatch.context() as impatient:
        impatient.setattr(exports, "WAIT_S", 0.1)
        async with ledger.database.transaction() as open_one:
            await open_one.execute(text("SELECT pg_current_xact_id()"))
            await ledger.add_payment(created_at=now)
            ran = await typed("payments", "export", "--merchant", ledger.merchant_id, *span())
    assert [row["id"] for row in exported(ran)] == [first.id]
    assert isinstance(ran.exception, CommandRefused)
    assert ran.exception.message.startswith("Not complete: ")
    ran = await typed("payments", "export", "--merchant", ledger.merchant_id, *span())
    assert (len(exported(ran)), ran.exit_code) == (2, 0)


async def test_an_export_is_of_a_bounded_span_and_of_a_merchant(ledger: Ledger) -> None:
    for said in (["--merchant", ledger.merchant_id, *span(400)], ["--merchant", "mer_nobody", *span()]):
        assert (await typed("payments", "export", *said)).exit_code != 0


async def test_an_export_does_not_take_away_what_another_writes(ledger: Ledger, tmp_path: Path) -> None:
    file, others = tmp_path / "export.csv", tmp_path / "export.csv.part"
    others.write_text("half of it")
    ran = await typed("payments", "export", "--merchant", ledger.merchant_id, *span(), "--output", str(file))
    assert isinstance(ran.exception, CommandRefused), ran.output
    assert others.read_text() == "half of it"
