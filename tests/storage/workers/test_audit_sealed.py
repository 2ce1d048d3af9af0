"""The sweeping process seals the audit log, and gives its seals to no store in which they could be replaced."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from obstore.store import LocalStore

from payonce.auditing.sealing import TransactionsWentBack
from payonce.metrics import AUDIT_SEAL_AGE_SECONDS
from payonce.receipts.store import ReceiptStore, StoreOverwrites, StoreUnavailable
from payonce.storage import audit_seals
from tests.storage.ledger import Ledger, runtime_of
from workers.audit import AuditSealer


class Overwriting(ReceiptStore):
    """Takes a second put of a key."""

    async def put_once(self, key: str, content: bytes, **_: Any) -> bool:
        return True


class Away(ReceiptStore):
    """Answers nobody."""

    async def put_once(self, key: str, content: bytes, **_: Any) -> bool:
        raise StoreUnavailable


@pytest.fixture(autouse=True)
def an_hour_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    it_is(monkeypatch)


def it_is(monkeypatch: pytest.MonkeyPatch, *, hours: int = 0) -> None:
    """So many hours later than it is, by Postgres's clock."""

    async def open_hour(_: Any) -> datetime:
        return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=hours)

    monkeypatch.setattr(audit_seals, "open_hour", open_hour)


def age_h() -> float:
    return float(AUDIT_SEAL_AGE_SECONDS._value.get()) / 3600


async def test_a_closed_hour_is_sealed_and_told_once(ledger: Ledger, tmp_path: Path) -> None:
    sealer = AuditSealer(replace(runtime_of(ledger), receipts=ReceiptStore(LocalStore(tmp_path))))

    assert not await sealer.run()
    assert not await sealer.run()

    told = await ledger.rows("SELECT place, agrees FROM audit.told ORDER BY place")
    assert [tuple(row) for row in told] == [("log", True), ("store", True)]
    assert len(list(tmp_path.rglob("*.seal"))) == 1


async def test_a_store_that_overwrites_gets_no_seal(ledger: Ledger, tmp_path: Path) -> None:
    sealer = AuditSealer(replace(runtime_of(ledger), receipts=Overwriting(LocalStore(tmp_path))))

    with pytest.raises(StoreOverwrites):
        await sealer.run()

    assert await ledger.count("audit.seals") == 1
    assert await ledger.count("audit.told") == 0


async def test_without_a_store_the_log_is_told(ledger: Ledger) -> None:
    await AuditSealer(runtime_of(ledger)).run()

    assert [row.place for row in await ledger.rows("SELECT place FROM audit.told")] == ["log"]


async def test_while_the_store_takes_no_seal_the_age_of_what_it_has_grows(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    AUDIT_SEAL_AGE_SECONDS.set(0)
    sealer = AuditSealer(replace(runtime_of(ledger), receipts=Away(LocalStore(tmp_path))))
    it_is(monkeypatch, hours=-5)

    with pytest.raises(StoreUnavailable):
        await sealer.run()

    assert 5 <= age_h() <= 7


async def test_a_log_that_is_sealed_no_more_says_how_old_its_last_seal_is(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    AUDIT_SEAL_AGE_SECONDS.set(0)
    sealer = AuditSealer(replace(runtime_of(ledger), receipts=ReceiptStore(LocalStore(tmp_path))))
    it_is(monkeypatch, hours=-5)
    await sealer.run()
    await ledger.rows("ALTER TABLE audit.seals DISABLE TRIGGER USER")
    await ledger.rows("UPDATE audit.seals SET next_transaction = '999999999999'")  # as in a copy by pg_dump
    AUDIT_SEAL_AGE_SECONDS.set(0)
    it_is(monkeypatch)

    with pytest.raises(TransactionsWentBack):
        await sealer.run()

    assert 5 <= age_h() <= 7


async def test_an_hour_that_a_clock_sealed_too_early_is_not_taken_for_a_young_one(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sealed until that hour is over."""
    sealer = AuditSealer(replace(runtime_of(ledger), receipts=ReceiptStore(LocalStore(tmp_path))))
    it_is(monkeypatch, hours=48)
    await sealer.run()
    it_is(monkeypatch)
    await sealer.run()

    assert await ledger.count("audit.seals") == 1
    assert 46 <= age_h() <= 48
