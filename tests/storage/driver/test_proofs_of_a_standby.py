"""What a COMMIT proves of what was read, where durability rests on a synchronous standby."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text

from payonce.domain.claiming import CommitEnd, Durability
from payonce.storage import standby
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import Database, StorageUnavailable
from payonce.storage.driver.statements import Query, Row
from payonce.storage.standby import Proofs, Sight
from tests.storage.ledger import Ledger
from tests.storage.serving import Served, code_of, serving, write_nothing
from tests.support.eventually import eventually

pytestmark = pytest.mark.usefixtures("patient")


@dataclass
class Standby:
    """The synchronous standby that the server is said to have."""

    there: bool = True

    def look(self) -> Query[Sight]:
        def meaning(rows: list[Row]) -> Sight:
            row = rows[0]
            return Sight(self.there, row["timeline"], int(row["oldest_running"]), int(row["next"]))

        return Query(standby.look().statement, {}, meaning)


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> Standby:
    found = Standby()
    monkeypatch.setattr("payonce.storage.driver.database.look", found.look)
    monkeypatch.setattr("payonce.storage.driver.database.LOOK_EVERY_S", 0.05)
    return found


@pytest.fixture
async def watched(ledger: Ledger, second: Standby) -> AsyncIterator[Database]:
    """A database whose durability rests on `second`."""
    database = Database(ledger.url, pool_size=5, durability=Durability.STANDBY)
    yield database
    await database.close()


@pytest.fixture
async def counter(ledger: Ledger, watched: Database) -> AsyncIterator[Served]:
    """The API on it."""
    async with serving(ledger, database=watched) as opened:
        yield opened


async def proven(database: Database) -> bool:
    """Whether what is read now is proven."""
    async with database.reading() as connection:
        await connection.execute(text("SELECT 1"))
    return await database.proven(connection)


def proofs(database: Database) -> Proofs:
    """Of the server that it is connected to."""
    return database._proofs[database.fail_over.timeline]


async def test_what_was_read_is_proven_by_a_commit_that_begins_afterwards(watched: Database) -> None:
    await watched.ping()
    before = proofs(watched)._begun
    assert await proven(watched)
    assert proofs(watched)._proven > before


async def test_a_commit_of_what_wrote_nothing_proves_nothing(
    watched: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is answered without the standby: a second request with a key proved what the first had read."""
    monkeypatch.setattr(Proofs, "look", lambda _proofs, _oldest: False)  # the watcher writes nothing
    await watched.ping()
    before = proofs(watched)._proven
    async with watched.transaction() as connection:
        await connection.execute(text("SELECT 1"))
    assert proofs(watched)._proven == before


async def test_a_commit_on_another_server_proves_nothing_of_what_this_one_showed(watched: Database) -> None:
    """A reader was on the old primary still when the process had its COMMIT answered by the new one."""
    async with watched.reading() as connection:
        await connection.execute(text("SELECT 1"))
    here = connection._wire.timeline
    connection._wire.timeline = "00000000"  # as if it led to the predecessor
    assert not await watched.proven(connection)
    connection._wire.timeline = here
    assert await watched.proven(connection)


def test_what_ended_beside_an_older_transaction_is_proven_once_that_one_has_ended() -> None:
    """It was taken for proven, and its replay was refused where the standby went away in the next ten seconds."""
    mine = Proofs()
    mine.ended(mine.begin(), CommitEnd.ANSWERED, wrote=True)
    change = 101
    assert _looks(mine, oldest_running=100, next_id=102)
    assert not mine.has(change)
    assert _looks(mine, oldest_running=103, next_id=103)
    assert mine.has(change)
    assert _looks(mine, oldest_running=104, next_id=104)
    assert not _looks(mine, oldest_running=105, next_id=105)


def _looks(mine: Proofs, *, oldest_running: int, next_id: int) -> bool:
    """One look at the server; whether a COMMIT was made for it, which is believed."""
    writes = mine.look(Sight(standby=True, timeline="00000001", oldest_running=oldest_running, next=next_id))
    if writes:
        mine.ended(mine.begin(empty=True), CommitEnd.ANSWERED, wrote=True, empty=True)
    return writes


async def test_one_commit_proves_what_many_have_read(
    watched: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Proofs, "look", lambda _proofs, _oldest: False)  # the watcher writes nothing
    async with watched.reading() as read:
        await read.execute(text("SELECT 1"))
    before = proofs(watched)._begun
    assert all(await asyncio.gather(*(watched.proven(read) for _ in range(20))))
    assert proofs(watched)._begun - before <= 2


async def test_a_commit_that_warns_proves_nothing_that_was_read(
    watched: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "warned", property(lambda _self: True))
    assert not await proven(watched)


async def test_with_the_gate_closed_nothing_is_proven_and_nothing_begins(
    watched: Database, second: Standby
) -> None:
    second.there = False
    await eventually(_closed(watched))
    assert not await proven(watched)
    with pytest.raises(StorageUnavailable):
        await write_nothing(watched)
    await watched.ping()
    second.there = True
    await eventually(_open(watched))
    assert await proven(watched)


async def test_with_the_gate_closed_each_key_is_told_what_is_proven(
    counter: Served, watched: Database, second: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new one 504, a held one 409, an answered one its answer if it is proven, another request's 422."""
    answered = await counter.create("proven")
    assert answered.status_code == 201
    xid = await _written_by(counter.ledger, "proven")

    async def proven() -> bool:
        return proofs(watched).has(xid)

    await eventually(proven)
    monkeypatch.setattr(proofs(watched), "look", lambda _oldest: False)
    assert (await counter.create("unproven")).status_code == 201
    counter.bank.opens.clear()
    held = asyncio.create_task(counter.create("held"))

    async def sent() -> bool:
        return len(counter.bank.movements) == 3

    await eventually(sent)

    second.there = False
    await eventually(_closed(watched))
    assert code_of(await counter.create("new")) == (504, "outcome_unknown")
    assert code_of(await counter.create("held")) == (409, "idempotency_key_in_use")
    assert code_of(await counter.create("unproven")) == (504, "outcome_unknown")
    assert code_of(await counter.create("proven", amount=1)) == (422, "idempotency_key_reused")
    replay = await counter.create("proven")
    assert (replay.status_code, replay.content) == (201, answered.content)
    assert replay.headers["idempotent-replayed"] == "true"
    assert len(counter.bank.movements) == 3

    second.there = True
    await eventually(_open(watched))
    counter.bank.opens.set()
    assert (await held).status_code in (201, 202)
    assert (await counter.create("new")).status_code == 201
    assert len(counter.bank.movements) == 4


async def test_with_the_gate_open_a_replay_follows_a_commit_of_its_own(
    counter: Served, watched: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await counter.create("k")).status_code == 201
    monkeypatch.setattr(proofs(watched), "look", lambda _oldest: False)
    before = proofs(watched)._proven
    assert (await counter.create("k")).status_code == 201
    assert proofs(watched)._proven > before
    monkeypatch.setattr(Connection, "warned", property(lambda _self: True))
    assert code_of(await counter.create("k")) == (504, "outcome_unknown")


def _closed(database: Database) -> Callable[[], Any]:
    async def closed() -> bool:
        await database.ping()  # whoever uses it first makes it look
        return not database.gate.open

    return closed


def _open(database: Database) -> Callable[[], Any]:
    async def is_open() -> bool:
        return database.gate.open

    return is_open


async def _written_by(ledger: Ledger, key: str) -> int:
    query = "SELECT CAST(CAST(xmin AS text) AS bigint) AS xid FROM idempotency_keys WHERE key = :key"
    return int((await ledger.rows(query, key=key))[0].xid)
