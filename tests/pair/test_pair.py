"""The two servers do what the tests of fail-over rest on. Source: PostgreSQL 18, `replication/syncrep.c`."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from devstack.processes import Command, Process
from payonce.storage.driver.database import Database
from tests.support.eventually import eventually
from tests.support.pair import Pair
from tests.support.servers import server_directory

NEVER_ANSWERED = 0.3  # s: an answered COMMIT takes 1 ms
LOSSES = pytest.mark.parametrize("silently", [False, True], ids=["killed", "silenced"])


@dataclass
class Writer:
    """A connection that writes rows, and how its COMMITs were answered."""

    connection: psycopg.AsyncConnection[Any]
    warnings: list[str] = field(default_factory=list)

    async def write(self, word: str) -> None:
        """Returns when the COMMIT was answered."""
        await self.connection.execute("INSERT INTO words VALUES (%s)", (word,))

    def heard(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        self.warnings.append(f"{diagnostic.severity_nonlocalized}: {diagnostic.message_primary}")


@asynccontextmanager
async def writing(pair: Pair, database: str) -> AsyncIterator[Writer]:
    """A writer on the primary."""
    connection = await pair.primary.connect(database)
    writer = Writer(connection)
    connection.add_notice_handler(writer.heard)
    try:
        yield writer
    finally:
        await connection.close()


@pytest.fixture
async def database(pair: Pair) -> str:
    """A database with the table `words`."""
    name = await pair.new_database()
    async with await pair.primary.connect(name) as connection:
        await connection.execute("CREATE TABLE words (word text)")
    return name


async def words(pair: Pair, database: str) -> list[str]:
    """What the primary holds."""
    async with await pair.primary.connect(database) as connection:
        found = await connection.execute("SELECT word FROM words ORDER BY word")
        return [word for (word,) in await found.fetchall()]


async def lose(pair: Pair, *, silently: bool) -> None:
    """The standby is away, and the primary may not know."""
    if silently:
        pair.silence_standby()
    else:
        await pair.lose_standby()


@asynccontextmanager
async def waiting(pair: Pair, writer: Writer, word: str) -> AsyncIterator["asyncio.Task[None]"]:
    """A write whose COMMIT waits for the standby."""
    write = asyncio.create_task(writer.write(word))
    try:
        await pair.waits_for_standby()
        yield write
    finally:
        write.cancel()
        await asyncio.gather(write, return_exceptions=True)


@LOSSES
async def test_a_commit_waits_while_the_standby_is_away(pair: Pair, database: str, silently: bool) -> None:
    async with writing(pair, database) as writer:
        await writer.write("before")
        await lose(pair, silently=silently)
        async with waiting(pair, writer, "meanwhile") as write:
            done, _ = await asyncio.wait({write}, timeout=NEVER_ANSWERED)
            assert not done
            assert await words(pair, database) == ["before"], "nobody sees it while it waits"
            await pair.return_standby()
            await write
        assert await words(pair, database) == ["before", "meanwhile"]
        assert writer.warnings == []


async def test_a_cancelled_wait_is_answered_with_a_warning_and_holds_here(pair: Pair, database: str) -> None:
    await pair.lose_standby()
    async with writing(pair, database) as writer, waiting(pair, writer, "local") as write:
        assert await pair.cancel_commit_waits() == 1
        await write
    assert writer.warnings == ["WARNING: canceling wait for synchronous replication due to user request"]
    assert await words(pair, database) == ["local"]


async def test_a_terminated_wait_is_a_closed_socket_and_holds_here(pair: Pair, database: str) -> None:
    await pair.lose_standby()
    async with writing(pair, database) as writer, waiting(pair, writer, "local") as write:
        assert await pair.terminate_commit_waits() == 1
        with pytest.raises(psycopg.OperationalError):
            await write
    assert await words(pair, database) == ["local"]


async def test_emptied_names_answer_as_if_replicated_and_it_holds_here(pair: Pair, database: str) -> None:
    await pair.lose_standby()
    async with writing(pair, database) as writer:
        async with waiting(pair, writer, "local") as write:
            await pair.empty_names()
            await write
        await writer.write("later")
        assert writer.warnings == []
    assert await words(pair, database) == ["later", "local"]


async def test_a_restarted_primary_shows_what_waited(pair: Pair, database: str) -> None:
    await pair.lose_standby()
    async with writing(pair, database) as writer, waiting(pair, writer, "local") as write:
        await pair.restart_primary()
        with pytest.raises(psycopg.OperationalError):
            await write
    assert await words(pair, database) == ["local"]


Ending = Callable[[Pair], Awaitable[object]]
LOCAL_ENDINGS: dict[str, Ending] = {
    "cancelled": Pair.cancel_commit_waits,
    "terminated": Pair.terminate_commit_waits,
    "emptied": Pair.empty_names,
    "restarted": Pair.restart_primary,
}


@pytest.mark.parametrize("end", LOCAL_ENDINGS.values(), ids=LOCAL_ENDINGS.keys())
async def test_a_fail_over_forgets_what_was_committed_here_only(
    pair: Pair, database: str, end: Ending
) -> None:
    async with writing(pair, database) as writer:
        await writer.write("replicated")
        pair.silence_standby()
        async with waiting(pair, writer, "local"):
            await end(pair)
            assert await words(pair, database) == ["local", "replicated"]
    await pair.fail_over()
    assert await words(pair, database) == ["replicated"]


async def test_a_fail_over_can_forget_what_was_answered_clean(pair: Pair, database: str) -> None:
    async with writing(pair, database) as writer:
        await writer.write("replicated")
        await pair.deceive()
        await writer.write("answered")
        assert writer.warnings == []
    await pair.fail_over()
    assert await words(pair, database) == ["replicated"]


async def test_the_url_leads_to_whichever_can_be_written_to(pair: Pair, database: str) -> None:
    before = pair.url(database)
    for _ in range(2):
        await pair.fail_over()
        product = Database(before, pool_size=2)
        async with product.transaction() as connection:
            await connection.execute(text("INSERT INTO words VALUES ('written')"))
        await product.close()
    assert await words(pair, database) == ["written", "written"]


async def test_a_promoted_server_waits_for_a_standby_too(pair: Pair, database: str) -> None:
    await pair.fail_over()
    await pair.lose_standby()
    async with writing(pair, database) as writer, waiting(pair, writer, "waits") as write:
        assert not write.done()


STARTER = """
import asyncio
from tests.support.pair import running_pair

async def main():
    async with running_pair() as pair:
        pair.silence_standby()
        print(*pair.pids, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where the killed tests leave their files."""
    with server_directory() as made:
        yield made


async def test_nothing_is_left_when_the_tests_are_killed(tmp_path: Path, directory: Path) -> None:
    log = tmp_path / "log"
    environ = {**os.environ, "PYTHONPATH": str(Path.cwd()), "TMPDIR": str(directory)}
    starter = await Process.start(Command((sys.executable, "-c", STARTER), environ, Path.cwd()), log)

    async def started() -> list[int]:
        return [int(word) for word in log.read_text().split()]

    pids = await eventually(started, timeout_s=60.0)
    assert len(pids) > 10, pids
    os.kill(starter.pid, signal.SIGKILL)  # it has no time to end anything
    await starter.wait()

    async def gone() -> bool:
        return not any(is_running(pid) for pid in pids)

    await eventually(gone, timeout_s=60.0)


def is_running(pid: int) -> bool:
    """Source: proc_pid_stat(5), field 3."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False
