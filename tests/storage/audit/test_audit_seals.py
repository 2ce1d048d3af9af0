"""Each closed hour of the audit log is sealed once, and what is changed after it is found."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from psycopg.errors import CheckViolation

from payonce.auditing import sealing
from payonce.domain.audit import Act, AuditAction, AuditSeal
from payonce.receipts.store import ReceiptStore, StoreUnavailable
from payonce.storage import audit, audit_seals
from payonce.storage.snapshots import take_snapshot
from tests.storage.audit.sealed import BY, Log, an_act, opened_log


@pytest.fixture
async def log(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Log]:
    async with opened_log(database_url, tmp_path, monkeypatch) as log:
        yield log


async def test_a_closed_hour_has_its_entries_and_the_open_one_is_not_sealed(log: Log) -> None:
    await log.add("key_1", why="lost")
    await log.add("key_2")
    assert (await log.verified()).not_sealed == 2

    await log.hour_ends()
    await log.add("key_3")

    found = await log.verified()
    assert (found.seals, found.entries, found.not_sealed, found.differs) == (1, 2, 1, {})


async def test_an_hour_without_entries_is_sealed_as_such(log: Log) -> None:
    await log.hour_ends()
    await log.hour_ends()

    assert await log.rows("SELECT entries FROM audit.seals") == [(0,), (0,)]
    assert await log.differences() == []


async def test_an_entry_that_is_committed_late_belongs_to_a_later_seal(log: Log) -> None:
    async with log.database.transaction() as late:
        await audit.decided(late, BY, an_act("key_late"))
        await take_snapshot(late)  # it is written by now, and not committed
        await log.add("key_after")
        await log.hour_ends()
    assert await log.rows("SELECT entries FROM audit.seals") == [
        (0,)
    ]  # neither: it began before the other one
    assert await log.differences() == []

    await log.hour_ends()

    assert await log.rows("SELECT entries FROM audit.seals ORDER BY hour") == [(0,), (2,)]
    assert await log.differences() == []


async def test_sealing_and_telling_again_changes_nothing(log: Log, tmp_path: Path) -> None:
    await log.add("key_1")
    await log.hour_ends()
    before = [(path, path.read_bytes()) for path in sorted(tmp_path.rglob("*.seal"))]

    assert await sealing.seal(log.database) is None
    await log.tampered("ALTER TABLE audit.told DISABLE TRIGGER USER", "DELETE FROM audit.told")
    await sealing.tell(log.database, log.store)

    assert [(path, path.read_bytes()) for path in sorted(tmp_path.rglob("*.seal"))] == before
    assert await log.rows("SELECT place, agrees FROM audit.told ORDER BY 1") == [
        ("log", True),
        ("store", True),
    ]


async def test_of_many_sealers_one_seals(log: Log) -> None:
    await log.add("key_1")
    log.now += timedelta(hours=1)

    made = await asyncio.gather(*(sealing.seal(log.database) for _ in range(4)))

    assert len([each for each in made if each is not None]) == 1
    assert await log.rows("SELECT entries FROM audit.seals") == [(1,)]


async def test_a_sealer_that_ended_before_it_told_is_made_up_for(log: Log, tmp_path: Path) -> None:
    await log.add("key_1")
    log.now += timedelta(hours=1)
    await sealing.seal(log.database)  # and no more
    assert list(tmp_path.rglob("*.seal")) == []

    await log.hour_ends()

    assert len(list(tmp_path.rglob("*.seal"))) == 2
    assert await log.differences() == []


async def test_hours_in_which_nobody_sealed_are_in_the_next_seal(log: Log) -> None:
    await log.hour_ends()
    await log.add("key_1")
    log.now += timedelta(hours=3)
    await log.hour_ends()

    rows = await log.rows("SELECT hour - since, entries FROM audit.seals ORDER BY hour")
    assert rows == [(timedelta(0), 0), (timedelta(hours=3), 1)]
    assert await log.differences() == []


async def test_a_store_that_is_away_gets_its_seals_later(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    await log.add("key_1")
    with monkeypatch.context() as away:

        async def fails(_: ReceiptStore, key: str, content: bytes) -> bool:
            raise StoreUnavailable

        away.setattr(ReceiptStore, "put_once", fails)
        with pytest.raises(StoreUnavailable):
            await log.hour_ends()
    assert await log.rows("SELECT place FROM audit.told") == [("log",)]

    await sealing.tell(log.database, log.store)

    assert await log.differences() == []


CHANGES = {
    "changed:": "UPDATE audit.entries SET actor = 'nobody' WHERE subject = 'key_2'",
    "missing:": "DELETE FROM audit.entries WHERE subject = 'key_2'",
    "added:": (
        "INSERT INTO audit.entries (id, transaction_id, kind, action, actor_kind, actor, subject, details)"
        " SELECT 'aud_new', transaction_id, kind, action, actor_kind, actor, 'key_9', details"
        " FROM audit.entries WHERE subject = 'key_2'"
    ),
}


@pytest.mark.parametrize("says", CHANGES)
async def test_a_change_is_found_with_its_hour_and_its_entry(log: Log, says: str) -> None:
    await log.add("key_1")
    await log.hour_ends()
    await log.add("key_2")
    await log.add("key_3")
    await log.hour_ends()
    entry = "aud_new" if says == "added:" else await log.id_of("key_2")

    await log.tampered(CHANGES[says])

    found = await log.verified()
    assert found.differs == {(log.now - timedelta(hours=1)).isoformat(): [f"{says} {entry}"]}


async def test_an_hour_with_too_many_to_be_listed_differs_by_count(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "LISTED_MAX", 1)
    monkeypatch.setattr(sealing, "PAGE", 1)
    for each in range(3):
        await log.add(f"key_{each}")
    await log.hour_ends()
    assert await log.differences() == []

    await log.tampered(CHANGES["missing:"])

    assert await log.differences() == ["3 entries were sealed, and 2 are there: entries are missing"]


async def test_who_also_changes_the_databases_seal_is_found_by_the_stores(log: Log) -> None:
    await log.add("key_1")
    await log.add("key_2")
    await log.hour_ends()
    entry = await log.id_of("key_2")
    await log.tampered(CHANGES["missing:"])
    (first, end), *_ = await log.rows("SELECT first_transaction, next_transaction FROM audit.seals")
    forged = await sealing.sum_up(log.database, int(str(first)), int(str(end)))

    await log.tampered(f"UPDATE audit.seals SET entries = 1, digest = '\\x{forged.digest.hex()}'")

    assert await log.differences() == [
        "the database's seal of it is another than that in the receipt store",
        f"missing: {entry}",
    ]


async def test_a_seal_that_was_removed_is_missed_on_either_side(log: Log, tmp_path: Path) -> None:
    await log.add("key_1")
    await log.hour_ends()
    await log.hour_ends()
    await log.tampered(
        "ALTER TABLE audit.told DISABLE TRIGGER USER",
        "DELETE FROM audit.told WHERE hour = (SELECT min(hour) FROM audit.seals)",
        "DELETE FROM audit.seals WHERE hour = (SELECT min(hour) FROM audit.seals)",
    )
    sorted(tmp_path.rglob("*.seal"))[1].unlink()

    assert await log.differences() == [
        "the database has no seal of it, and the receipt store has: it was removed, or is lost",
        "the receipt store had its seal, and has it no more",
    ]


async def test_another_seal_in_the_store_is_never_replaced_and_told_of(log: Log, tmp_path: Path) -> None:
    """As after a restore to an earlier moment: the hour is sealed a second time, with other entries."""
    await log.add("key_1")
    await log.hour_ends()
    await log.tampered(
        "ALTER TABLE audit.told DISABLE TRIGGER USER", "DELETE FROM audit.told", "DELETE FROM audit.seals"
    )
    await log.add("key_2")
    before = [path.read_bytes() for path in tmp_path.rglob("*.seal")]
    await sealing.seal(log.database)
    await sealing.tell(log.database, log.store)

    assert [path.read_bytes() for path in tmp_path.rglob("*.seal")] == before
    assert await log.rows("SELECT agrees FROM audit.told WHERE place = 'store'") == [(False,)]
    assert "the database's seal of it is another" in (await log.differences())[0]


async def test_personal_members_are_erased_and_the_hour_agrees(log: Log) -> None:
    await log.add("key_1", why="the holder, Mr Ruiz, rang")
    await log.hour_ends()
    entry = await log.id_of("key_1")

    async with log.database.transaction() as connection:
        assert await audit_seals.erase_personal(connection, entry)
        await audit.decided(connection, BY, Act(action=AuditAction.PERSONAL_ERASED, subject=entry))

    assert await log.rows("SELECT members FROM audit.personal WHERE members::text LIKE '%Ruiz%'") == []
    assert await log.differences() == []


@pytest.mark.parametrize(
    "change", ["DELETE FROM audit.personal", """UPDATE audit.personal SET members = '{"why": "no"}'"""]
)
async def test_personal_members_that_nobody_erased_by_command_differ(log: Log, change: str) -> None:
    await log.add("key_1", why="asked for")
    await log.hour_ends()
    entry = await log.id_of("key_1")

    await log.tampered(change)

    assert await log.differences() == [f"the personal members were changed, or erased by nobody, of {entry}"]


async def test_a_copy_that_counts_transactions_from_the_beginning_is_not_sealed(log: Log) -> None:
    await log.hour_ends()
    await log.tampered("UPDATE audit.seals SET next_transaction = '9000000000000000'")
    log.now += timedelta(hours=1)

    with pytest.raises(sealing.TransactionsWentBack):
        await sealing.seal(log.database)


async def test_only_what_is_old_and_sealed_is_forgotten(log: Log) -> None:
    await log.add("key_old", why="once")
    await log.add("key_young")
    await log.tampered("UPDATE audit.entries SET at = now() - interval '401 days' WHERE subject = 'key_old'")
    async with log.database.transaction() as connection:
        assert await audit_seals.forget_old(connection, limit=10) == 0  # nothing is sealed
    await log.hour_ends()

    async with log.database.transaction() as connection:
        assert await audit_seals.forget_old(connection, limit=10) == 1

    assert await log.rows("SELECT subject FROM audit.entries") == [("key_young",)]
    assert await log.rows("SELECT count(*) FROM audit.personal") == [(1,)]


async def test_a_stored_seal_reads_as_what_was_written(log: Log, tmp_path: Path) -> None:
    await log.add("key_1")
    await log.hour_ends()
    (path,) = tmp_path.rglob("*.seal")

    seal, hashes = AuditSeal.read(path.read_bytes())

    assert path.relative_to(tmp_path).as_posix() == seal.key
    assert list(hashes or {}) == [await log.id_of("key_1")]
    assert json.loads(path.read_text().splitlines()[0])["entries"] == 1


async def test_a_decision_whose_entry_cannot_be_written_is_not_made(log: Log) -> None:
    await log.tampered("ALTER TABLE audit.entries ADD CONSTRAINT nothing CHECK (false) NOT VALID")
    with pytest.raises(CheckViolation):
        await log.add("key_1")
