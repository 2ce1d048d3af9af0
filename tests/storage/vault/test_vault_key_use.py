"""Which processes wrap with which key, and that a retired key wraps nothing any more."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping

import psycopg
import pytest

from payonce.storage.driver.database import Database, StorageUnavailable
from payonce.vault import doors, heartbeats, rotation
from payonce.vault.heartbeats import GONE_AFTER_S, Heartbeats, beating
from payonce.vault.keys import FileKeys, VaultUnavailable
from payonce.vault.rotation import KeyRetired, Rotated
from tests.storage.vault.saving import NEW, NUMBER, OLD, OTHER_NUMBER, a_vault, opened, ran, read, saved
from tests.support.eventually import eventually


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with opened(database_url) as database:
        yield database


def process(database: Database, owner: str, keys: Mapping[str, bytes]) -> Heartbeats:
    return Heartbeats(database, a_vault(FileKeys(keys)), owner=owner, kind="api")


async def rotated(database: Database, keys: Mapping[str, bytes] = NEW, *, wait_s: float = 0) -> Rotated:
    return await rotation.rotate(database, FileKeys(keys), tell=lambda _: None, wait_s=wait_s)


async def test_a_rotation_is_not_complete_while_a_running_process_uses_the_old_key(
    database: Database,
) -> None:
    await saved(database, a_vault())
    late, early = process(database, "boot_1", OLD), process(database, "boot_2", NEW)
    await late.beat()
    await early.beat()

    state = await rotated(database)

    assert (state.by_newest, state.by_others, state.complete) == (1, {}, False)
    assert [each.key_id for each in state.lagging] == ["old"]
    assert f"pid {os.getpid()}" in state.lagging[0].name
    assert (state.in_use, state.retired) == (("old",), {})


@pytest.mark.parametrize("end", ["restarted", "left", "died"])
async def test_it_is_complete_once_that_process_was_restarted_or_is_gone(
    database: Database, end: str
) -> None:
    await saved(database, a_vault())
    old = process(database, "boot_1", OLD)
    await old.beat()
    assert not (await rotated(database)).complete
    if end == "restarted":
        await process(database, "boot_1", NEW).beat()
    elif end == "left":
        await old.leave()
    else:
        silent = f"clock_timestamp() - interval '{GONE_AFTER_S + 1} s'"
        await ran(database, f"UPDATE vault.processes SET seen_at = {silent}")

    state = await rotated(database)

    assert state.complete
    assert (state.lagging, state.in_use, list(state.retired)) == ((), (), ["old"])


async def test_a_process_that_stood_still_meanwhile_saves_no_card_with_the_old_key(
    database: Database,
) -> None:
    """It was forgotten, the old key retired: what it sealed before cannot come after."""
    standing_still = a_vault(FileKeys(OLD))
    await saved(database, standing_still)
    card = await standing_still.seal(OTHER_NUMBER, merchant_id="mer_1", mode="test")
    assert (await rotated(database)).complete

    with pytest.raises(StorageUnavailable):
        async with database.transaction() as connection:
            await standing_still.put(connection, card)

    state = await rotated(database)
    assert (state.by_newest, state.by_others) == (1, {})


async def test_a_key_is_not_retired_while_a_card_is_on_its_way(database: Database) -> None:
    slow = a_vault(FileKeys(OLD))
    await saved(database, slow)
    card = await slow.seal(OTHER_NUMBER, merchant_id="mer_1", mode="test")
    async with database.transaction() as connection:
        await slow.put(connection, card)
        await doors.keep(connection, card.place)
        state = await rotated(database)
        assert (state.complete, state.by_others, state.in_use) == (False, {}, ("old",))

    state = await rotated(database)

    assert (state.complete, state.by_newest, state.rewrapped) == (True, 2, 1)
    assert await read(database, a_vault(FileKeys(NEW)), card) == OTHER_NUMBER


async def test_nothing_is_wrapped_with_a_retired_key_again(database: Database) -> None:
    card, _ = await saved(database, a_vault())
    await rotated(database)
    async with database.reading() as connection:
        envelope = await doors.take(connection, card.place)
    assert envelope is not None
    old = await FileKeys(OLD).wrap(b"k" * 32, record_id=card.place.record_id)

    with pytest.raises(StorageUnavailable):
        async with database.transaction() as connection:
            await doors.rewrap(connection, doors.WrappedCard(card.place.record_id, envelope.wrapped), old)
    with pytest.raises(KeyRetired):
        await rotated(database, {**OLD, "new": NEW["new"]})

    assert await read(database, a_vault(FileKeys(NEW)), card) == NUMBER


async def test_two_rotations_at_once_are_both_complete(database: Database) -> None:
    for _ in range(5):
        await saved(database, a_vault())

    await asyncio.gather(rotated(database), rotated(database))

    state = await rotated(database)
    assert (state.complete, list(state.retired)) == (True, ["old"])


async def test_a_rotation_that_was_killed_before_it_retired_the_key_does_so_when_it_runs_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await saved(database, a_vault())

    async def killed(*_: object, **__: object) -> int:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(doors, "retire", killed)
        with pytest.raises(asyncio.CancelledError):
            await rotated(database)

    state = await rotated(database)
    assert (state.rewrapped, state.complete, list(state.retired)) == (0, True, ["old"])


async def test_a_rotation_waits_for_processes_that_will_soon_say_so(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "_LOOK_EVERY_S", 0.01)
    await process(database, "boot_1", OLD).beat()
    await saved(database, a_vault())
    rotating = asyncio.create_task(rotated(database, wait_s=60))

    async def rewrapped() -> bool:
        async with database.reading() as connection:
            return await doors.used_keys(connection) == {"new": 1}

    await eventually(rewrapped)
    await saved(database, a_vault())  # the last that it saves with the old one
    await process(database, "boot_1", NEW).beat()

    state = await rotating
    assert (state.complete, state.by_newest) == (True, 2)


async def test_a_process_beats_while_it_runs_and_leaves_when_it_ends(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats, "EVERY_S", 0.01)
    keys = FileKeys(OLD)
    async with beating(database, a_vault(keys), owner="boot_1", kind="worker"):
        assert [each.key_id for each in await _processes(database)] == ["old"]
        keys._newest = "renewed"  # as a transit key's version does

        async def renewed() -> bool:
            return [each.key_id for each in await _processes(database)] == ["renewed"]

        await eventually(renewed)
    assert await _processes(database) == []


async def test_a_process_whose_key_server_went_away_is_still_counted(database: Database) -> None:
    class Away(FileKeys):
        gone = False

        async def newest(self) -> str:
            if self.gone:
                raise VaultUnavailable
            return await super().newest()

    keys = Away(OLD)
    beats = Heartbeats(database, a_vault(keys), owner="boot_1", kind="api")
    await beats.beat()
    keys.gone = True
    await ran(database, "UPDATE vault.processes SET seen_at = clock_timestamp() - interval '1 hour'")
    assert await _processes(database) == []

    await beats.beat()

    assert [each.key_id for each in await _processes(database)] == ["old"]


async def test_postgres_that_is_away_ends_no_process(database: Database) -> None:
    await ran(database, "ALTER FUNCTION vault.vault_beat RENAME TO gone")
    async with beating(database, a_vault(), owner="boot_1", kind="api"):
        assert await _processes(database) == []


async def test_without_a_vault_nobody_beats(database: Database) -> None:
    async with beating(database, None, owner="boot_1", kind="api"):
        assert await _processes(database) == []


async def test_keys_of_cards_from_before_are_known(database_url: str, database: Database) -> None:
    """Every key under which a card was ever put may be retired, also one that no process told of."""
    await saved(database, a_vault(), kept=False)
    async with database.reading() as connection:
        assert await doors.known_keys(connection) == {"old": None}
    async with await psycopg.AsyncConnection.connect(database_url.replace("+psycopg", "")) as session:
        found = await session.execute("SELECT count(*) FROM vault.processes")
        assert await found.fetchone() == (0,)


async def _processes(database: Database) -> list[doors.UsingProcess]:
    async with database.reading() as connection:
        return await doors.processes(connection, within_s=GONE_AFTER_S)
