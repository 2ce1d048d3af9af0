"""A COMMIT of the storage layer is what a standby has, or it says that it proves nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest
from sqlalchemy import text

from devstack.postgres import SUPERUSER
from payonce.domain.claiming import CommitEnd, Durability
from payonce.storage.driver.database import CommitUnknown, Database, StorageUnavailable
from tests.support.eventually import eventually
from tests.support.pair import Pair
from tests.support.patience import product_limits

POOL_SIZE = 3
SEEN_AFTER_S = 1.5  # a COMMIT that waits longer than 1 s has closed the gate
LOOKED_OFTEN_S = 6.5  # a process looks at its standby every second
REFUSALS = (StorageUnavailable, CommitUnknown)


@dataclass(frozen=True)
class Store:
    """A process's storage on the pair, with a table `words` in a database of its own."""

    pair: Pair
    name: str
    database: Database

    async def write(self, word: str) -> None:
        """Returns when the word is proven."""
        async with self.database.transaction() as connection:
            await connection.execute(text("INSERT INTO words VALUES (:word)"), {"word": word})

    async def read(self) -> set[str]:
        """What a reader sees."""
        async with self.database.reading() as connection:
            found = await connection.execute(text("SELECT word FROM words"))
            return {word for (word,) in found}

    async def written(self, word: str) -> bool:
        """The word is proven, sooner or later."""
        with suppress(*REFUSALS):
            await self.write(word)
            return True
        return False

    async def proven(self) -> bool:
        """Whether what a reader sees now is proven."""
        async with self.database.reading() as connection:
            await connection.execute(text("SELECT word FROM words"))
        return await self.database.proven(connection)

    async def waits(self, *, for_s: float = 0.0) -> list[int]:
        """The backends whose COMMIT of a word waits, once there is one."""
        return await self.pair.waits_with("words", for_s=for_s, database=self.name)

    async def is_open(self) -> bool:
        return self.database.gate.open

    async def is_closed(self) -> bool:
        return not self.database.gate.open


@pytest.fixture(autouse=True)
def answered_within_the_products_time() -> Iterator[None]:
    """A COMMIT's answer proves nothing after the product's own time, and nobody waits longer for one at the end."""
    with product_limits("COMMIT_ANSWER_S", "CLOSE_S"):
        yield


@pytest.fixture
async def name(pair: Pair) -> str:
    """A database with the table `words`."""
    made = await pair.new_database()
    await pair.primary.run("CREATE TABLE words (word text)", database=made)
    return made


@asynccontextmanager
async def opened(
    pair: Pair,
    name: str,
    durability: Durability | None = Durability.STANDBY,
    *,
    pool_size: int = POOL_SIZE,
    user: str = SUPERUSER,
) -> AsyncIterator[Store]:
    """The storage of one process."""
    database = Database(pair.url(name, user=user), pool_size=pool_size, durability=durability)
    try:
        yield Store(pair, name, database)
    finally:
        await database.close()


@pytest.fixture
async def store(pair: Pair, name: str) -> AsyncIterator[Store]:
    """One whose durability rests on the standby, and that has written."""
    async with opened(pair, name) as found:
        await eventually(lambda: found.written("before"), timeout_s=60.0)
        yield found


End = Callable[[Pair], Awaitable[object]]
ENDS: dict[str, tuple[End, float, set[CommitEnd]]] = {
    "cancelled": (Pair.cancel_commit_waits, 0.0, {CommitEnd.WARNED}),
    "terminated": (Pair.terminate_commit_waits, 0.0, {CommitEnd.LOST}),
    "restarted": (Pair.restart_primary, 0.0, {CommitEnd.LOST}),
    "emptied": (Pair.empty_names, SEEN_AFTER_S, {CommitEnd.GATED}),
    # The gate looks every second, and may be open again before the end is judged.
    "returned": (Pair.return_standby, SEEN_AFTER_S, {CommitEnd.GATED, CommitEnd.LATE}),
}


@pytest.mark.parametrize(("end", "for_s", "expected"), ENDS.values(), ids=ENDS.keys())
async def test_a_commit_that_waited_proves_nothing_however_it_ended(
    store: Store, end: End, for_s: float, expected: set[CommitEnd]
) -> None:
    store.pair.silence_standby()
    writing = asyncio.create_task(store.write("local"))
    await store.waits(for_s=for_s)
    await end(store.pair)
    with pytest.raises(CommitUnknown) as unknown:
        await writing
    assert unknown.value.ended is not None
    assert await unknown.value.ended in expected
    assert await store.read() == {"before", "local"}, "it is here, and that is no proof"


async def test_a_late_answer_proves_nothing_where_nobody_watches_the_standby(pair: Pair, name: str) -> None:
    async with opened(pair, name, durability=None) as store:
        pair.silence_standby()
        writing = asyncio.create_task(store.write("late"))
        await store.waits(for_s=SEEN_AFTER_S)
        await pair.empty_names()
        with pytest.raises(CommitUnknown) as unknown:
            await writing
        assert unknown.value.ended is not None
        assert await unknown.value.ended is CommitEnd.LATE


async def test_nobody_who_stops_waiting_cancels_a_commit(store: Store) -> None:
    store.pair.silence_standby()
    writing = asyncio.create_task(store.write("left"))
    waits = await store.waits()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    assert await store.waits() == waits
    await store.pair.return_standby()
    await store.pair.fail_over()
    await eventually(lambda: reads(store, {"before", "left"}), timeout_s=60.0)


async def test_a_process_strands_as_many_backends_as_its_pool_has_and_goes_on_reading(
    pair: Pair, name: str
) -> None:
    async with opened(pair, name, durability=None) as store:  # with a gate the second round would not begin
        pair.silence_standby()
        for number in range(2):
            writes = (store.write(f"{number}-{each}") for each in range(2 * POOL_SIZE))
            with product_limits("WAIT_S"):
                ends = await asyncio.gather(*writes, return_exceptions=True)
            assert all(isinstance(end, REFUSALS) for end in ends), ends
            assert len(await store.waits()) == POOL_SIZE
            assert await store.read() == set()
        await pair.return_standby()
        await store.write("after")
        assert len(await store.read()) == POOL_SIZE + 1, "what was stranded was committed, and nothing else"


async def test_a_commit_without_an_answer_closes_the_gate_and_one_probe_at_a_time_opens_it(
    pair: Pair, name: str
) -> None:
    async with opened(pair, name, pool_size=4 * POOL_SIZE) as store:
        await eventually(lambda: store.written("before"), timeout_s=60.0)
        pair.silence_standby()
        with pytest.raises(CommitUnknown):
            await store.write("unanswered")
        assert not store.database.gate.open
        with pytest.raises(StorageUnavailable):
            await store.write("refused")
        assert not await store.proven()
        await store.waits(for_s=LOOKED_OFTEN_S)
        assert len(await pair.commit_waits()) <= 3, "the one unanswered, a look's proof of it, and one probe"
        await pair.return_standby()
        await eventually(store.is_open, timeout_s=60.0)
        await eventually(lambda: store.written("after"), timeout_s=60.0)
        assert await store.read() == {"before", "unanswered", "after"}


@pytest.mark.parametrize("lose", [Pair.lose_standby, Pair.empty_names], ids=["killed", "emptied"])
async def test_a_look_closes_the_gate_though_nothing_is_committed(store: Store, lose: End) -> None:
    await lose(store.pair)
    await eventually(store.is_closed, timeout_s=60.0)
    await store.pair.mend()
    await eventually(store.is_open, timeout_s=60.0)


async def test_emptied_names_answer_who_waits_and_are_not_believed_however_soon(
    pair: Pair, name: str
) -> None:
    """They answered a probe, too, which opened the gate: what was claimed then was sent, and forgotten."""
    async with opened(pair, name) as store:
        await eventually(lambda: store.written("before"), timeout_s=60.0)
        pair.silence_standby()
        writing = asyncio.create_task(store.write("waits"))
        await store.waits(for_s=0.2)
        await pair.empty_names()
        with pytest.raises(REFUSALS):
            await writing
        assert not store.database.gate.open


async def test_names_that_are_emptied_are_seen_while_readers_are_busy(pair: Pair, name: str) -> None:
    """The look stood in the readers' queue: for as long as that was full every COMMIT was believed."""
    async with opened(pair, name, pool_size=POOL_SIZE) as store, asyncio.TaskGroup() as readers:
        await eventually(lambda: store.written("before"), timeout_s=60.0)
        stop = asyncio.Event()

        async def read_slowly() -> None:
            while not stop.is_set():
                with suppress(*REFUSALS):
                    async with store.database.reading() as connection:
                        await connection.execute(text("SELECT pg_sleep(1)"))

        for _ in range(4 * POOL_SIZE):
            readers.create_task(read_slowly())
        await pair.empty_names()
        await eventually(store.is_closed, timeout_s=60.0)
        assert not await store.written("after")
        stop.set()


async def test_emptied_names_are_seen_by_the_first_connection(pair: Pair, name: str) -> None:
    await pair.empty_names()
    async with opened(pair, name) as store:
        with pytest.raises(REFUSALS):
            await store.write("clean")
        assert not store.database.gate.open


async def test_without_a_standby_nothing_that_was_read_is_proven(store: Store) -> None:
    await eventually(store.proven, timeout_s=60.0)
    store.pair.silence_standby()
    assert not await store.proven()
    await store.pair.return_standby()
    await eventually(store.proven, timeout_s=60.0)


async def test_a_setting_of_the_database_neither_ends_the_wait_nor_hides_the_warning(
    pair: Pair, name: str
) -> None:
    for setting in ("synchronous_commit = local", "client_min_messages = error"):
        await pair.primary.run(f"ALTER DATABASE {name} SET {setting}")
    async with opened(pair, name) as store:
        pair.silence_standby()
        writing = asyncio.create_task(store.write("local"))
        await store.waits()
        await pair.cancel_commit_waits()
        with pytest.raises(CommitUnknown) as unknown:
            await writing
        assert unknown.value.ended is not None
        assert await unknown.value.ended is CommitEnd.WARNED


async def test_a_role_sees_its_standby_with_pg_read_all_stats_and_not_without(pair: Pair, name: str) -> None:
    await pair.primary.run(
        "CREATE ROLE blind LOGIN", "CREATE ROLE seeing LOGIN", "GRANT pg_read_all_stats TO seeing"
    )
    for role, sees in (("seeing", True), ("blind", False)):
        async with opened(pair, name, user=role) as store:
            await store.database.ping()
            assert store.database.gate.open is sees, role


async def test_a_process_goes_on_with_the_promoted_server_and_knows_that_it_is_another(store: Store) -> None:
    await asyncio.gather(*(store.read() for _ in range(POOL_SIZE)))  # connections that rest
    await store.pair.restart_primary()
    await eventually(lambda: store.written("restarted"), timeout_s=60.0)
    assert not store.database.fail_over.recent
    await store.pair.fail_over()
    await eventually(lambda: store.written("promoted"), timeout_s=60.0)
    assert store.database.fail_over.recent
    assert await store.read() == {"before", "restarted", "promoted"}


async def reads(store: Store, words: set[str]) -> bool:
    """A reader sees these words."""
    with suppress(StorageUnavailable):
        return await store.read() == words
    return False
