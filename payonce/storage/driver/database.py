"""Connections and transactions, and the settings of Postgres on which the promises rest."""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from typing import Any, TypeVar
from urllib.parse import quote

from psycopg import Error as DriverError
from psycopg import InterfaceError, OperationalError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from payonce.clock import boot_clock_s
from payonce.domain.claiming import COMMIT_ANSWER_S, CommitEnd, Durability, commit_end
from payonce.domain.errors import PaymentError
from payonce.logging import get_logger
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.pool import Pool, Pooled
from payonce.storage.driver.pools import Pools
from payonce.storage.driver.tenants import Tenants
from payonce.storage.driver.wire import Wire, check
from payonce.storage.sqlstates import LOCK_NOT_AVAILABLE, Meaning, meaning_of
from payonce.storage.standby import FailOver, Gate, Proofs, Sight, empty_write, look

CONNECT_S = 3
STATEMENT_MS = 3_500
LOCK_WAIT_MS = 3_000
TRANSACTION_S = 4.0  # to the COMMIT, so that a stopped Postgres holds no request for longer
LOOK_EVERY_S = 1.0
WAITED_S = 0.05  # a COMMIT that takes longer may have been answered by emptied names
CLOSE_S = 1.0  # for COMMITs that are under way when a process ends

_DRIVER = "postgresql+psycopg://"
_WORDS_MAX = 300  # of what a driver says
_CAUSES_MAX = 4
_SEVERAL_HOSTS = re.compile(r"^([a-z0-9+]+://(?:[^@/]*@)?)([^/@?]*,[^/@?]*)((?:/[^?]*)?)(?:\?(.*))?$")

log = get_logger(__name__)
T = TypeVar("T")


class StorageUnavailable(PaymentError):
    """Postgres could not be reached or refused the statement; nothing of the transaction holds."""

    code = "unavailable"
    retryable = True


class LockTimedOut(StorageUnavailable):
    """Another transaction held the row for too long; nothing of this one holds."""


class GaveUp(StorageUnavailable):
    """Nobody waits any longer: what was being written may hold or not, or may yet."""


class CommitUnknown(PaymentError):
    """COMMIT was sent, and its end proves nothing: the transaction may hold or not, here or on the standby.

    Nothing may be sent, said or taken for recorded because of it (`design.md` §2 rule 2). `ended` tells how the
    COMMIT ended, once it has; None: it ended as `CommitEnd.LOST`.
    """

    code = "commit_unknown"
    retryable = True

    def __init__(
        self, message: str | None = None, *, ended: "asyncio.Future[CommitEnd] | None" = None
    ) -> None:
        super().__init__(message)
        self.ended = ended


class Database:
    """The connections to the primary: those that write, at most `pool_size`, half as many that only read, a quarter
    as many for lists and look-ups, and one that looks for the standby, where durability rests on one.

    So a process strands `pool_size` backends at most while the standby is away, and its reads go on; payments have
    theirs, and most of Postgres, however much is listed. With `api_url`, half are the API's role's: `tenants`.
    `packs`: bodies are written packed; they are read either way.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 20,
        durability: Durability | None = None,
        api_url: str | None = None,
        packs: bool = False,
    ) -> None:
        self.gate = Gate(follows_standby=durability is Durability.STANDBY)
        self.fail_over = FailOver()
        self._packs = packs
        self._proofs: defaultdict[str | None, Proofs] = defaultdict(Proofs)  # by the server's timeline
        of_api = 0 if api_url is None else max(1, pool_size // 2)
        self._engine = self._pools_of(url, size=max(1, pool_size - of_api))
        self._lookout = self._engine.another(1)
        self._api: Pools | None = None
        if api_url is not None:
            self._api = self._pools_of(api_url, size=of_api, of_api=True)
        self._committing: dict[asyncio.Task[CommitEnd], Wire] = {}
        self._behind: set[asyncio.Task[Any]] = set()  # what nobody waits for
        self._closed = False
        self._watching: asyncio.Task[None] | None = None
        self._probing: asyncio.Future[CommitEnd] | None = None

    @property
    def tenants(self) -> Tenants:
        """Transactions for one merchant in one mode; with `api_url` Postgres shows them no other's rows."""
        return Tenants(self, self._api)

    @asynccontextmanager
    async def transaction(self, pools: Pools | None = None) -> AsyncIterator[Connection]:
        """Commits when the block ends, rolls back when it raises.

        Raises `StorageUnavailable` when nothing holds, and `CommitUnknown` when COMMIT was sent and not answered as
        a proof: it goes on without the caller, and is never cancelled. While the gate is closed nothing begins.
        """
        self._watch()
        if not self.gate.open:
            raise StorageUnavailable("the synchronous standby is missing")
        writers = (pools or self._engine).writers
        async with self._begun(writers) as (pooled, connection):
            yield connection
        await self._commit(writers, pooled, connection)

    @asynccontextmanager
    async def reading(self, pools: Pools | None = None) -> AsyncIterator[Connection]:
        """A transaction that only reads, on a connection that no COMMIT holds up. Raises `StorageUnavailable`.

        What it finds is not proven yet, where durability rests on a standby: see `proven`.
        """
        async with self._only_reading((pools or self._engine).readers) as connection:
            yield connection

    @asynccontextmanager
    async def browsing(self, pools: Pools | None = None) -> AsyncIterator[Connection]:
        """As `reading`, for what is looked at: on one of a few connections that nothing else uses."""
        async with self._only_reading((pools or self._engine).browsers) as connection:
            yield connection

    async def proven(self, read: Connection, *, xid: int | None = None) -> bool:
        """Whether what was read with this connection survives a fail-over; `xid`: of the transaction that wrote it.

        Where durability rests on a standby, a COMMIT of this process on the same server that begins now says so: one
        on a server that was promoted meanwhile says nothing of what its predecessor showed.
        """
        if not self.gate.follows_standby:
            return True
        proofs = self._proofs[read.timeline]
        if xid is not None and read.timeline == self.fail_over.timeline and proofs.has(xid):
            return True
        return self.gate.open and await proofs.passed(self._write_nothing)

    @property
    def _pools(self) -> tuple[Pool, ...]:
        return (*self._engine.all, *(self._api.all if self._api is not None else ()), self._lookout)

    async def ping(self) -> None:
        """Returns when Postgres answers. Raises `StorageUnavailable`."""
        async with self.reading() as connection:
            await connection.execute(text("SELECT 1"))

    def is_stuck(self) -> bool:
        """Whether this process has lost all its connections of one kind, though Postgres may be well.

        Those on which COMMIT waits for the standby are not lost: every process has such, and reads go on.
        """
        committing = self._committing.values()
        return any(pools.are_stuck(but_for=committing) for pools in (self._engine, self._api) if pools)

    async def close(self) -> None:
        """Every connection is closed; COMMITs under way have a moment to end, and are not cancelled."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching}, timeout=CLOSE_S)
        if under_way := [*self._committing, *self._behind]:
            await asyncio.wait(under_way, timeout=CLOSE_S)
        for wire in self._committing.values():
            wire.abandon()
        if self._committing:
            await asyncio.wait(self._committing, timeout=CLOSE_S)
        for pool in self._pools:
            await pool.close()
        self._closed = True
        for task in self._behind:
            task.cancel()

    def lets_end(self, task: asyncio.Task[Any]) -> None:
        """The task, for which nobody waits, may end before the connections close, and is cancelled then."""
        if self._closed:
            task.cancel()
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)

    @asynccontextmanager
    async def _only_reading(self, pool: Pool) -> AsyncIterator[Connection]:
        self._watch()
        async with self._begun(pool) as (pooled, connection):
            yield connection
            with suppress(DBAPIError, DriverError):
                await connection.commit()
        await pool.give_back(pooled)

    @asynccontextmanager
    async def _begun(self, pool: Pool) -> AsyncIterator[tuple[Pooled, Connection]]:
        """A connection of the pool, within a transaction's time; rolled back and given back if the block raises."""
        try:
            async with asyncio.timeout(TRANSACTION_S):
                pooled = await pool.take()
                connection = Connection(pooled, begin=pool.begin, of_api=pool.of_api, packs=self._packs)
                try:
                    yield pooled, connection
                except BaseException:
                    try:
                        await connection.rollback()
                    finally:
                        await pool.give_back(pooled)
                    raise
        except (DBAPIError, DriverError, OSError, TimeoutError) as error:
            raise storage_error(error) from error

    async def _commit(
        self, writers: Pool, pooled: Pooled, connection: Connection, *, probe: bool = False
    ) -> None:
        """COMMIT was answered as a proof. It runs in a task that nobody cancels, and keeps its connection."""
        if connection.untouched:
            await writers.give_back(pooled)
            return
        errors: list[Exception] = []
        committing = asyncio.create_task(self._end(writers, pooled, connection, errors, probe=probe))
        self._committing[committing] = pooled.wire
        committing.add_done_callback(self._committing.pop)
        done, _ = await asyncio.wait({committing}, timeout=COMMIT_ANSWER_S)
        if not done:
            self.gate.close("a COMMIT was not answered in time")
            raise CommitUnknown("COMMIT was not answered in time", ended=committing)
        end = committing.result()
        if end.proves:
            return
        if end.nothing_holds and errors:
            raise storage_error(errors[0]) from errors[0]
        raise CommitUnknown(f"COMMIT ended as {end}", ended=committing) from (errors[0] if errors else None)

    async def _end(
        self, writers: Pool, pooled: Pooled, connection: Connection, errors: list[Exception], *, probe: bool
    ) -> CommitEnd:
        """How COMMIT ended, however long that takes; the connection is given back then."""
        proofs = self._proofs[pooled.wire.timeline]
        number, began = proofs.begin(empty=connection.empty), boot_clock_s()
        end = CommitEnd.LOST
        try:
            await connection.commit()
            took_s = boot_clock_s() - began
            stands = await self._still_stands(took_s, probe=probe)
            end = commit_end(
                warned=connection.warned,
                took_s=took_s,
                gate_open=stands and (probe or self.gate.open) and self._leads_to_primary(pooled.wire),
            )
        except (DBAPIError, DriverError, OSError) as error:
            errors.append(error)
            end = CommitEnd.LOST if connection.in_doubt else CommitEnd.ROLLED_BACK
            await connection.rollback()
        finally:
            proofs.ended(number, end, wrote=connection.wrote, empty=connection.empty)
            await writers.give_back(pooled)
        return end

    async def _still_stands(self, took_s: float, *, probe: bool) -> bool:
        """Whether the standby is there after a COMMIT that may have waited for it.

        Emptied names answer exactly those that waited, and cleanly: so such a one is followed by a look.
        """
        if not self.gate.follows_standby or (took_s < WAITED_S and not probe):
            return True
        try:
            sight = await self._look_now()
        except PaymentError:
            return False
        return sight.standby

    def _leads_to_primary(self, wire: Wire) -> bool:
        """Whether the server is the one that is looked at: its predecessor may have no standby any more."""
        if not self.gate.follows_standby or wire.timeline == self.fail_over.timeline:
            return True
        wire.lost = True
        return False

    async def _write_nothing(self) -> None:
        """A COMMIT that changes nothing, and proves what was there before it."""
        async with self.transaction() as connection:
            connection.empty, connection.wrote = True, await connection.fetch(empty_write())

    def _watch(self) -> None:
        """From the first use on the standby is looked at every second, where durability rests on one."""
        if self.gate.follows_standby and self._watching is None:
            self.gate.looked()  # the first connection looks by itself
            # Not in the context of whoever comes first: its request's id would be in every line of the log.
            self._watching = asyncio.create_task(self._look_every_second(), context=Context())

    async def _look_every_second(self) -> None:
        while True:
            try:
                await self._look_again()
            except PaymentError as error:  # Postgres itself is away: no COMMIT is answered either
                log.warning("standby_not_looked_at", error=error.message)
            except Exception as error:
                self.gate.close("the standby cannot be looked at")
                log.error("standby_look_failed", error=type(error).__name__)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look_again(self) -> None:
        """The gate closes without a standby. With one, a closed gate is probed, and what was written last proven."""
        sight = await self._look_now()
        if not sight.standby:
            return
        if not self.gate.open:
            self.lets_end(asyncio.create_task(self._probe()))
            return
        proofs = self._proofs[sight.timeline]
        if proofs.look(sight):
            self.lets_end(asyncio.create_task(proofs.passed(self._write_nothing)))

    async def _look_now(self) -> Sight:
        async with self._begun(self._lookout) as (pooled, connection):
            sight = await connection.fetch(look())
            await connection.commit()
        await self._lookout.give_back(pooled)
        self._saw(sight)
        return sight

    async def _probe(self) -> None:
        """The gate opens if a write is answered as a proof. One at a time: none begins while an earlier one waits."""
        if self._probing is not None and not self._probing.done():
            return
        self._probing = asyncio.get_running_loop().create_future()
        begun = self._probing
        try:
            writers = self._engine.writers
            async with self._begun(writers) as (pooled, connection):
                connection.empty, connection.wrote = True, await connection.fetch(empty_write())
            await self._commit(writers, pooled, connection, probe=True)
        except CommitUnknown as unknown:
            self._probing = unknown.ended
            return
        except PaymentError as error:
            log.warning("probe_failed", error=error.message)
            return
        finally:
            begun.cancel()
        self.gate.reopen()

    async def _renew(self) -> None:
        """All connections are opened anew: a read on one to a demoted primary raises nothing, and finds the past."""
        for pool in self._pools:
            await pool.renew()

    async def _look_first(self, pooled: Pooled) -> None:
        """A new connection may lead to another primary, or to one without a standby."""
        sight = await _sight_of(pooled)
        pooled.wire.timeline = sight.timeline
        self._saw(sight)

    async def _look_as_api(self, pooled: Pooled) -> None:
        """As `_look_first`; the standby is looked for by the engine, since the API's role does not see it."""
        pooled.wire.timeline = timeline = (await _sight_of(pooled)).timeline
        if timeline == self.fail_over.timeline:
            return
        if self.gate.follows_standby:
            await self._look_now()  # a COMMIT counts only where the latest look was at the same server
        elif self.fail_over.saw(timeline):
            self.lets_end(asyncio.create_task(self._renew()))

    def _pools_of(self, url: str, *, size: int, of_api: bool = False) -> Pools:
        look_first, options = self._look_as_api if of_api else self._look_first, _connection_options()
        url, lost = engine_url(url), self._renew
        return Pools(url, size=size, options=options, of_api=of_api, on_open=look_first, on_lost=lost)

    def _saw(self, sight: Sight) -> None:
        if self.fail_over.saw(sight.timeline):
            self.lets_end(asyncio.create_task(self._renew()))
        if sight.standby:
            self.gate.looked()
        else:
            self.gate.close("no synchronous standby is connected, or none is named")


async def _sight_of(pooled: Pooled) -> Sight:
    """How the server stands to which a new connection leads."""
    command_ = look().statement.command({}, pooled.wire)
    (result,) = await pooled.wire.exchange([command_])
    check([result])
    return look().meaning(pooled.wire.rows(command_, result))


def _connection_options() -> dict[str, Any]:
    """What libpq is told of every connection: a host that is gone is noticed, also where COMMIT waits.

    Source: libpq's parameters.
    """
    session = (
        f"-c statement_timeout={STATEMENT_MS} -c lock_timeout={LOCK_WAIT_MS}"
        " -c idle_in_transaction_session_timeout=15000 -c timezone=UTC"
        # A role's or a database's own settings would switch off the wait for the standby, or the warning of its end.
        " -c synchronous_commit=on -c client_min_messages=warning"
    )
    return {
        "options": session,
        "connect_timeout": CONNECT_S,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }


def storage_error(error: Exception) -> Exception:
    """What a foreign error means; one about the statement itself is ours to mend, and stays as it is.

    Without a state it is the driver's own: of the connection, or of a value that it refuses to send.
    """
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error  # the driver's, either way
    if not isinstance(cause, DriverError):
        return StorageUnavailable(type(cause).__name__)
    if cause.sqlstate == LOCK_NOT_AVAILABLE:
        return LockTimedOut()
    if cause.sqlstate is None:
        passes = isinstance(cause, OperationalError | InterfaceError)
    else:
        passes = meaning_of(cause.sqlstate) is not Meaning.OURS
    return StorageUnavailable(type(cause).__name__) if passes else cause


def words_of(error: BaseException) -> str:
    """What went wrong, in one short line: what lies at the bottom of it. Drivers tell no password."""
    lowest = error
    for _ in range(_CAUSES_MAX):  # they may go in a circle
        lowest = lowest.__cause__ or lowest
    if isinstance(lowest, TimeoutError) and not str(lowest):
        return f"no answer within {CONNECT_S} s"
    said = " ".join((str(lowest) or type(lowest).__name__).split())
    return said if len(said) <= _WORDS_MAX else f"{said[:_WORDS_MAX]}…"


def engine_url(url: str) -> str:
    """The URL as SQLAlchemy takes it, with our driver: several hosts, separated by commas, go into the query."""
    url = re.sub(r"^postgresql://", _DRIVER, url)
    found = _SEVERAL_HOSTS.match(url)
    if found is None:
        return url
    start, hosts, path, query = found.groups()
    members = [f"host={quote(host, safe=':')}" for host in hosts.split(",")]
    return f"{start}{path}?{'&'.join(members + ([query] if query else []))}"


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns. Raises `GaveUp` after so many seconds, and waits no longer.

    A stopped Postgres answers no cancellation either: the driver gives up after about 10 s, and until then the
    work is left to itself, cancelled; a COMMIT of it that is under way is not.
    """
    task = asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        _abandon(task)
        raise
    if not done:
        _abandon(task)
        raise GaveUp("Postgres did not answer in time")
    return task.result()


_abandoned: set[asyncio.Task[Any]] = set()


def _abandon(task: asyncio.Task[Any]) -> None:
    task.cancel()
    _abandoned.add(task)
    task.add_done_callback(_forget)


def _forget(task: asyncio.Task[Any]) -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()  # looked at: nobody waits for it any more
