"""`payonce vault rotate`: online, twice at once, killed, and honest about what is left."""

import asyncio
import base64
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from payonce.storage.driver.database import Database
from payonce.vault import doors, rotation
from payonce.vault.keys import FileKeys, Wrapped
from tests.storage.ledger import DERIVATION_KEY
from tests.storage.vault.saving import NEW, NUMBER, OLD, a_vault, opened, ran, read, saved
from tests.support import forks

CARDS = 7


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with opened(database_url) as database:
        yield database


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "PAGE", 2)


class SlowKeys(FileKeys):
    """Whoever uses them waits until `go` is set; `asked` tells that somebody does."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        super().__init__(keys)
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def wrap(self, data_key: bytes, *, record_id: str) -> Wrapped:
        self.asked.set()
        await self.go.wait()
        return await super().wrap(data_key, record_id=record_id)


def silent(_: rotation.Rotated) -> None:
    """Nobody listens."""


async def test_every_card_is_wrapped_by_the_newest_key_and_none_is_changed_otherwise(
    database: Database,
) -> None:
    cards = [(await saved(database, a_vault(), f"{4242424242420000 + n}"))[0] for n in range(CARDS)]
    told: list[rotation.Rotated] = []

    state = await rotation.rotate(database, FileKeys(NEW), tell=told.append)

    assert (state.newest, state.by_newest, state.by_others) == ("new", CARDS, {})
    assert [each.rewrapped for each in told] == [2, 4, 6, 7]
    alone = a_vault(FileKeys({"new": NEW["new"]}))
    assert [await read(database, alone, card) for card in cards] == [
        f"{4242424242420000 + n}" for n in range(CARDS)
    ]
    async with database.reading() as connection:
        taken = await doors.take(connection, cards[0].place)
    assert taken is not None
    assert taken.ciphertext == cards[0].envelope.ciphertext


async def test_a_rotation_that_runs_again_finds_nothing_to_do(database: Database) -> None:
    await saved(database, a_vault())
    await rotation.rotate(database, FileKeys(NEW), tell=silent)

    assert (await rotation.rotate(database, FileKeys(NEW), tell=silent)).rewrapped == 0


async def test_a_card_erased_meanwhile_does_not_come_back(database: Database) -> None:
    card, _ = await saved(database, a_vault())
    keys = SlowKeys(NEW)
    rotating = asyncio.create_task(rotation.rotate(database, keys, tell=silent))
    await keys.asked.wait()
    async with database.transaction() as connection:
        assert await doors.erase(connection, card.place)
    keys.go.set()

    state = await rotating

    assert (state.rewrapped, state.by_newest, state.by_others) == (0, 0, {})


async def test_two_rotations_at_once_leave_every_card_readable(database: Database) -> None:
    cards = [(await saved(database, a_vault()))[0] for _ in range(CARDS)]
    first, second = SlowKeys(NEW), SlowKeys(NEW)
    both = [asyncio.create_task(rotation.rotate(database, keys, tell=silent)) for keys in (first, second)]
    await first.asked.wait()
    await second.asked.wait()  # both have read the same page
    first.go.set()
    second.go.set()

    states = await asyncio.gather(*both)

    assert sum(state.rewrapped for state in states) == CARDS
    for card in cards:
        assert await read(database, a_vault(FileKeys(NEW)), card) == NUMBER


async def test_a_card_saved_under_the_old_key_meanwhile_is_found_by_another_pass(database: Database) -> None:
    await saved(database, a_vault())
    keys = SlowKeys(NEW)
    rotating = asyncio.create_task(rotation.rotate(database, keys, tell=silent))
    await keys.asked.wait()
    late, _ = await saved(database, a_vault(FileKeys(OLD)))
    await ran(database, f"UPDATE vault.cards SET id = 'vc_!' WHERE id = '{late.place.record_id}'")
    await ran(database, "DELETE FROM vault.cards WHERE id = 'vc_!'")
    again, _ = await saved(database, a_vault(FileKeys(OLD)))
    keys.go.set()

    state = await rotating

    assert (state.by_newest, state.by_others) == (2, {})
    assert await read(database, a_vault(FileKeys(NEW)), again) == NUMBER


async def test_a_wrapped_key_that_changed_since_it_was_read_stays_as_it_is(database: Database) -> None:
    card, _ = await saved(database, a_vault())
    stale = doors.WrappedCard(card.place.record_id, card.envelope.wrapped)
    await rotation.rotate(database, FileKeys(NEW), tell=silent)

    async with database.transaction() as connection:
        assert not await doors.rewrap(connection, stale, Wrapped("worse", b"x"))
    assert await read(database, a_vault(FileKeys(NEW)), card) == NUMBER


def environ(database_url: str, key_file: Path | None) -> dict[str, str]:
    told = {
        "PAYONCE_DATABASE_URL": database_url,
        "PAYONCE_REDIS_URL": "redis://127.0.0.1:1",
        "PAYONCE_TEMPORAL_ADDRESS": "127.0.0.1:1",
        "PAYONCE_DERIVATION_KEY": DERIVATION_KEY,
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PAYONCE_")}
    return {**kept, **told, **({"PAYONCE_VAULT_KEY_FILE": str(key_file)} if key_file else {})}


def key_file(directory: Path, keys: Mapping[str, bytes]) -> Path:
    path = directory / "keys.json"
    listed = [{"id": id_, "key": base64.b64encode(key).decode()} for id_, key in keys.items()]
    path.write_text(json.dumps({"keys": listed}))
    path.chmod(0o600)
    return path


async def command(environ: dict[str, str], *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "payonce", "vault", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environ,
    )


async def test_the_command_rotates_after_a_kill_and_says_how_far_it_is(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    environment = environ(database_url, key_file(tmp_path, NEW))
    cards = [(await saved(database, a_vault()))[0] for _ in range(250)]
    killed = await command(environment, "rotate")
    assert killed.stderr is not None
    try:
        assert b"cards wrapped by new" in await killed.stderr.readline()  # a page is committed
        killed.send_signal(signal.SIGKILL)
    finally:
        await killed.communicate()

    ended = await forks.ran("payonce", "vault", "rotate", "--json", environ=environment)

    assert ended.status == 0, ended.error
    state: dict[str, Any] = json.loads(ended.out)
    assert (state["by_newest"], state["by_others"]) == (250, {})
    assert state["rewrapped"] <= 150  # what the first one did is not done again
    for card in (cards[0], cards[-1]):
        assert await read(database, a_vault(FileKeys(NEW)), card) == NUMBER


async def test_the_command_says_that_it_is_not_complete(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    await saved(database, a_vault())
    environment = environ(database_url, key_file(tmp_path, {"new": NEW["new"]}))

    rotate = await forks.ran("payonce", "vault", "rotate", environ=environment)

    assert rotate.status == 1
    assert "other keys: old 1" in rotate.out
    assert "1 did not open" in rotate.out
    assert "Not complete" in rotate.error


async def test_without_keys_there_is_no_vault(database: Database, database_url: str) -> None:
    status = await forks.ran("payonce", "vault", "status", environ=environ(database_url, None))

    assert status.status == 1
    assert "PAYONCE_VAULT_KEY_FILE" in status.error
