"""Two real PostgreSQL servers: a primary whose COMMIT waits for its synchronous standby, and that standby.

The primary names its standby as a strict manager does: whoever is promoted waits for a standby, too. Replication
goes through a cable (`cable.py`) that a test can stop, so that a standby can be lost with or without a word.
"""

import asyncio
import itertools
import os
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from devstack.parts import CHECKOUT, Part, listens
from devstack.ports import LOOPBACK, Ports
from devstack.postgres import SUPERUSER, Cluster, create_database, place_cluster, product_url, server_url
from devstack.processes import Command, descendants, run
from devstack.service import Service
from payonce.storage.migrating import upgrade
from tests.support.databases import TEMPLATE
from tests.support.eventually import eventually
from tests.support.servers import server_directory

CABLE = Path(__file__).with_name("cable.py")
STANDBY = "standby"  # what either server calls itself to its primary
RECEIVER = "receiver"  # and what acknowledges in its place
BACKUP_WITHIN_S = 60.0
WITHIN_S = 60.0  # for what takes a second on an idle machine
SETTINGS = {"wal_retrieve_retry_interval": "100ms"}  # how often a standby looks for its primary; else 5 s

_WAITS = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
_CANCEL = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
_WAITS_TOUCHING = """
    SELECT DISTINCT pid FROM pg_stat_activity JOIN pg_locks USING (pid)
     WHERE wait_event = 'SyncRep' AND datname = current_database() AND relation = to_regclass(%s)
       AND mode = 'RowExclusiveLock' AND state_change < clock_timestamp() - make_interval(secs => %s)
"""
_SYNCHRONOUS = """
    SELECT 1 FROM pg_stat_replication WHERE application_name = %s AND sync_state IN ('sync', 'quorum')
"""


@dataclass(frozen=True)
class Node:
    """One of the two servers, in whatever role."""

    cluster: Cluster
    port: int
    service: Service

    async def connect(self, database: str = "postgres", **how: Any) -> psycopg.AsyncConnection[Any]:
        """A connection to this server and no other; each statement is a transaction of its own."""
        return await psycopg.AsyncConnection.connect(server_url(self.port, database), autocommit=True, **how)

    async def rows(
        self, query: LiteralString, values: Sequence[object] = (), *, database: str = "postgres"
    ) -> list[tuple[Any, ...]]:
        """What an administrator's query finds."""
        async with await self.connect(database) as connection:
            return await (await connection.execute(query, values or None)).fetchall()

    async def run(self, *statements: str, database: str = "postgres") -> None:
        """An administrator's statements have run."""
        async with await self.connect(database) as connection:
            for statement in statements:
                await connection.execute(statement.encode())

    async def set(self, name: str, value: str) -> None:
        """The server has this setting from now on, also after a restart."""
        async with await self.connect() as connection:
            statement = sql.SQL("ALTER SYSTEM SET {} = {}")  # which takes no parameters
            await connection.execute(statement.format(sql.Identifier(name), sql.Literal(value)))
            await connection.execute("SELECT pg_reload_conf()")
        await eventually(lambda: self._shows(name, value), timeout_s=WITHIN_S)

    async def _shows(self, name: str, value: str) -> bool:
        return await self.rows("SELECT current_setting(%s)", (name,)) == [(value,)]


class Pair:
    """The servers as they stand; a promotion swaps them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ports = Ports()
        placed = place_cluster(directory, dict(os.environ), report=lambda _line: None)
        self.primary, self.standby = (self._node(placed, name) for name in ("first", "second"))
        self._cable_port = self._ports.free()
        self._cable = self._cable_to(self.primary)
        self._receiver = self._receiver_of(self.primary)
        self._numbers = itertools.count()

    # Where they are

    def url(self, database: str = "payonce", *, user: str = SUPERUSER) -> str:
        """PAYONCE_DATABASE_URL that names both servers and means whichever can be written to."""
        hosts = "&".join(f"host={LOOPBACK}:{node.port}" for node in (self.primary, self.standby))
        return f"postgresql+psycopg://{user}@/{database}?{hosts}&target_session_attrs=read-write"

    async def new_database(self) -> str:
        """The name of a migrated, empty database that nobody else uses."""
        name = f"test_{next(self._numbers)}"
        await create_database(self.primary.port, name, template=TEMPLATE)
        return name

    # What happens to the standby

    async def lose_standby(self) -> None:
        """It was killed: the primary knows at once, and a COMMIT waits."""
        await self.standby.service.kill()
        await eventually(self._is_without_standby, timeout_s=WITHIN_S)

    def silence_standby(self) -> None:
        """Nothing reaches it and nothing comes from it: the primary lists it as before, and a COMMIT waits."""
        self._cable.pause()

    async def deceive(self) -> None:
        """The standby gets nothing any more, and another receiver acknowledges in its place: a COMMIT is answered.

        The primary is content, so nobody can tell; what is committed from now on, a promotion forgets. So does a
        restore from a backup, or a manager that promotes the wrong one of two standbys (`ANY 1 (a, b)`).
        """
        self._receiver = self._receiver_of(self.primary)
        await self.primary.set("synchronous_standby_names", f"ANY 1 ({STANDBY}, {RECEIVER})")
        await self._receiver.start()
        self.silence_standby()
        await self.waits_are_over()

    async def return_standby(self) -> None:
        """It is back, as far as its primary, and no COMMIT waits for it any more."""
        self._cable.resume()
        await self.standby.service.start()
        await eventually(self._is_synchronous, timeout_s=WITHIN_S)
        await self.waits_are_over()

    # What an administrator or a manager does to the primary

    async def empty_names(self) -> None:
        """No standby is named, as a manager that is not strict does it: who waited is answered as if replicated."""
        await self.primary.set("synchronous_standby_names", "")
        await self.waits_are_over()

    async def restore_names(self) -> None:
        """The standby is named again."""
        await self.primary.set("synchronous_standby_names", STANDBY)

    async def cancel_commit_waits(self) -> int:
        """How many backends waited for the standby and were told to stop that."""
        return len(await self.primary.rows(_CANCEL))

    async def terminate_commit_waits(self) -> int:
        """How many backends waited for the standby and were ended."""
        return len(await self.primary.rows(_TERMINATE))

    async def waits_for_standby(self, number: int = 1) -> list[int]:
        """The process ids of the backends whose COMMIT waits, once there are that many or more."""

        async def enough() -> list[int]:
            waits = await self.commit_waits()
            return waits if len(waits) >= number else []

        return await eventually(enough, timeout_s=WITHIN_S)

    async def waits_with(
        self, table: str, number: int = 1, *, for_s: float = 0.0, database: str = "payonce"
    ) -> list[int]:
        """Those that wrote to the table and have waited for so long already, once there are that many or more."""

        async def enough() -> list[int]:
            waits = await self.commit_waits_with(table, for_s=for_s, database=database)
            return waits if len(waits) >= number else []

        return await eventually(enough, timeout_s=WITHIN_S + for_s)

    async def commit_waits_with(
        self, table: str, *, for_s: float = 0.0, database: str = "payonce"
    ) -> list[int]:
        """Those that wrote to the table and wait now: a COMMIT that waits still holds its locks."""
        rows = await self.primary.rows(_WAITS_TOUCHING, (table, for_s), database=database)
        return [pid for (pid,) in rows]

    async def commit_waits(self) -> list[int]:
        """The process ids of the backends whose COMMIT waits now."""
        return [pid for (pid,) in await self.primary.rows(_WAITS)]

    async def waits_are_over(self) -> None:
        """No backend waits for the standby."""

        async def none() -> bool:
            return not await self.commit_waits()

        await eventually(none, timeout_s=WITHIN_S)

    # The end of the primary

    async def kill_primary(self) -> None:
        """It was killed, with all its backends."""
        await self.primary.service.kill()

    async def restart_primary(self) -> None:
        """It was killed and answers again, with all that it had committed, replicated or not."""
        await self.kill_primary()
        await self.primary.service.start()

    async def promote(self) -> None:
        """The standby is the primary, as far as WAL had reached it, and the dead one its new, empty-handed standby.

        What the cable still held is lost. A COMMIT is answered again.
        """
        assert self.primary.service.pid is None, "a pair has one primary"
        await self._cable.kill()
        await self._receiver.kill()
        await self.standby.service.start()
        await self.standby.set("synchronous_standby_names", STANDBY)
        await self.standby.rows("SELECT pg_promote(wait => true)")
        self.primary, self.standby = self.standby, self.primary
        await self._copy_primary()

    async def fail_over(self) -> None:
        """The primary was killed and the standby promoted."""
        await self.kill_primary()
        await self.promote()

    # The beginning and the end

    async def start(self) -> None:
        """The primary has the database `migrated`, an empty one called `payonce`, and a synchronous standby."""
        await self.primary.cluster.initialise(self.primary.service.log, durable=False)
        await self.primary.service.start()
        await create_database(self.primary.port, TEMPLATE)
        await asyncio.to_thread(upgrade, product_url(self.primary.port, TEMPLATE))
        await create_database(self.primary.port)
        await self._copy_primary()

    async def mend(self) -> None:
        """Whole, whatever was done to it: the primary answers, its standby is named and synchronous."""
        await self.primary.service.start()
        await self.restore_names()
        await self.return_standby()
        await self._receiver.kill()

    async def close(self) -> None:
        """Nothing of the pair runs any more."""
        await asyncio.gather(*(service.kill() for service in self._services))
        self._ports.close()

    @property
    def pids(self) -> list[int]:
        """Every process of the pair."""
        roots = [service.pid for service in self._services if service.pid is not None]
        return [pid for root in roots for pid in (root, *descendants(root))]

    @property
    def _services(self) -> tuple[Service, ...]:
        return self._cable, self._receiver, self.standby.service, self.primary.service

    async def _copy_primary(self) -> None:
        """The other server is a copy of the primary and follows it."""
        self._cable = self._cable_to(self.primary)
        await self._cable.start()
        data = _emptied(self.standby.cluster)
        source = f"{server_url(self._cable_port, '')}?application_name={STANDBY}"
        command = self.standby.cluster.command(
            *("pg_basebackup", "--pgdata", str(data), "--dbname", source),
            *("--write-recovery-conf", "--wal-method=fetch", "--checkpoint=fast", "--no-sync"),
        )
        await run("pg_basebackup", command, self.standby.service.log, within_s=BACKUP_WITHIN_S)
        await self.standby.service.start()
        await self.primary.set("synchronous_standby_names", STANDBY)
        await eventually(self._is_synchronous, timeout_s=WITHIN_S)

    def _cable_to(self, node: Node) -> Service:
        """What carries replication from this server."""
        ports = (str(self._cable_port), str(node.port))
        command = Command((sys.executable, str(CABLE), *ports), dict(os.environ), CHECKOUT)
        return self._service(Part("cable", command, is_ready=lambda: listens(self._cable_port)))

    def _receiver_of(self, node: Node) -> Service:
        """What takes this server's log and acknowledges it, and is no server."""
        cluster = replace(node.cluster, data=node.cluster.data.with_name(RECEIVER))
        source = f"{server_url(node.port, '')}?application_name={RECEIVER}"
        command = cluster.command(
            *("pg_receivewal", "--directory", str(_emptied(cluster)), "--dbname", source),
            *("--synchronous", "--no-loop"),
        )
        return self._service(Part(RECEIVER, command, is_ready=lambda: self._is_synchronous(RECEIVER)))

    def _node(self, placed: Cluster, name: str) -> Node:
        cluster, port = replace(placed, data=placed.data.with_name(name)), self._ports.free()
        part = cluster.part(port=port, durable=False, name=name, **SETTINGS)
        return Node(cluster, port, self._service(part))

    def _service(self, part: Part) -> Service:
        log = self._directory / f"{part.name}.log"
        return Service(part, log, report=lambda _line: None, on_change=lambda: None)

    async def _is_synchronous(self, name: str = STANDBY) -> bool:
        return bool(await self.primary.rows(_SYNCHRONOUS, (name,)))

    async def _is_without_standby(self) -> bool:
        return not await self._is_synchronous()


def _emptied(cluster: Cluster) -> Path:
    """The cluster's directory, empty, and its account's."""
    shutil.rmtree(cluster.data, ignore_errors=True)
    cluster.data.mkdir(mode=0o700)
    if cluster.account:
        shutil.chown(cluster.data, cluster.account)
    return cluster.data


@asynccontextmanager
async def running_pair() -> AsyncIterator[Pair]:
    """A pair of its own, of which nothing is left afterwards, even when this process is killed."""
    with server_directory() as directory:
        pair = Pair(directory)
        try:
            await pair.start()
            yield pair
        finally:
            await pair.close()
