"""The way to Postgres: several commands in one round trip, each prepared once on its connection.

It uses libpq's pipeline itself, below the driver's cursors: those make a system call for each statement, and a round
trip of its own for BEGIN and COMMIT (docs/performance.md, ADR 0015).
"""

import os
import select
import socket
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import Buffer
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, Format, PipelineStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait

from payonce.storage.sqlstates import Meaning, meaning_of

_DONE: Final = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)

# Postgres does not know the name, or the result has another shape by now.
_PREPARED_ANEW: Final = frozenset({"26000", "0A000"})
PREPARED_MAX: Final = 1_000  # texts on one connection, which then serves no more transactions

Rows = list[dict[str, Any]]
T = TypeVar("T")
# As `AsyncConnection.wait` runs it. It is sent None after an interruption.
_Exchange = Generator[Wait, Ready | int | None, T]


@dataclass(frozen=True, slots=True)
class Command:
    """A statement with its values for `$1`, `$2` … as Postgres reads them. It is prepared, unless it takes none.

    Each parameter has the type that Postgres infers, so that what is prepared serves every value.
    """

    text: bytes
    values: Sequence[Buffer | None] = ()
    formats: Sequence[Format] | None = None


BEGIN, COMMIT, ROLLBACK = Command(b"BEGIN"), Command(b"COMMIT"), Command(b"ROLLBACK")
BEGIN_READING = Command(b"BEGIN READ ONLY")


class Wire:
    """A connection of the driver's, and what was prepared on it."""

    def __init__(self, driver: psycopg.AsyncConnection[Any]) -> None:
        self.timeline: str | None = None  # of the server that it leads to; each promotion begins another
        self.lost = False  # it broke by itself, or leads to a server that is not the primary any more
        self.warned = False  # Postgres warned since the latest exchange began
        self._driver = driver
        driver.add_notice_handler(self._hear)  # the driver drops what nobody hears
        self._transformer = Transformer.from_context(driver)
        self._prepared: dict[bytes, bytes] = {}  # texts, and the names that Postgres knows them by
        self._columns: dict[bytes, tuple[str, ...]] = {}  # of the rows that a text gives
        self._numbers = count()

    @property
    def idle(self) -> bool:
        """Whether the connection lives and no transaction is open on it."""
        return bool(self._driver.pgconn.transaction_status == TransactionStatus.IDLE)

    @property
    def alive(self) -> bool:
        """Whether the connection was neither lost nor closed, as far as is known."""
        return bool(self._driver.pgconn.status == ConnStatus.OK)

    @property
    def worn(self) -> bool:
        """Whether so much was prepared on it that another should take its place."""
        return len(self._prepared) >= PREPARED_MAX

    def command(self, text: bytes, values: Sequence[Any], formats: Sequence[PyFormat]) -> Command:
        """The statement with these values. Raises the driver's `DataError` for one that cannot be sent."""
        dumped = self._transformer.dump_sequence(values, formats)
        return Command(text, dumped, self._transformer.formats)

    async def exchange(self, commands: Sequence[Command]) -> list[PGresult]:
        """What Postgres answered to each, in order. Once one has failed, those after it were not executed.

        Raises psycopg's `OperationalError` when the connection is lost: any of them may have been executed, and
        may be yet. When the caller is cancelled, Postgres is asked to stop; where that does not help, the
        connection is closed. So whoever sends COMMIT must not be cancelled: a cancelled wait for a standby commits
        on this server only.
        """
        async with self._driver.lock:
            self.warned = False
            try:
                results = await self._driver.wait(self._exchange(commands))
                self.notice_states(_states(results))
                return results
            except BaseException as error:
                self.lost |= isinstance(error, psycopg.OperationalError)
                if self._driver.pgconn.pipeline_status != PipelineStatus.OFF:
                    self._driver.pgconn.finish()  # what may still come answers nobody
                raise

    def notice_states(self, states: Sequence[str]) -> None:
        """Errors with these SQLSTATEs came over the connection; some mean that it is of no use any more."""
        self.lost |= any(meaning_of(state) is Meaning.ELSEWHERE for state in states)

    def spoke_at_rest(self) -> bool:
        """Whether the server sent something while nobody used the connection: most likely that it ends it."""
        if not self.alive:
            return True
        rest = select.poll()
        rest.register(self._driver.pgconn.socket, select.POLLIN)
        return bool(rest.poll(0))

    def abandon(self) -> None:
        """Nothing more comes or goes, whatever is under way; no cancel request is sent."""
        with (
            suppress(OSError, psycopg.OperationalError),
            socket.socket(fileno=os.dup(self._driver.pgconn.socket)) as same,
        ):
            same.shutdown(socket.SHUT_RDWR)

    def rows(self, command: Command, result: PGresult) -> Rows:
        """The rows that the command found."""
        names = self._columns.get(command.text)
        if names is None:
            names = tuple((result.fname(column) or b"").decode() for column in range(result.nfields))
            self._columns[command.text] = names
        self._transformer.set_pgresult(result)
        found: Rows = self._transformer.load_rows(
            0, result.ntuples, lambda values: dict(zip(names, values, strict=True))
        )
        return found

    def _exchange(self, commands: Sequence[Command]) -> _Exchange[list[PGresult]]:
        libpq = self._driver.pgconn
        preparing: dict[bytes, bytes] = {}
        libpq.enter_pipeline_mode()
        for command in commands:
            if not command.values:
                libpq.send_query_params(command.text, None)
                continue
            name = self._prepared.get(command.text) or preparing.get(command.text)
            if name is None:
                preparing[command.text] = name = b"payonce_%d" % next(self._numbers)
                libpq.send_prepare(name, command.text)
            libpq.send_query_prepared(name, command.values, param_formats=command.formats)
        libpq.pipeline_sync()
        while libpq.flush():
            ready = yield Wait.RW
            if ready and ready & Ready.R:
                libpq.consume_input()
        results = []
        for command in commands:
            if (name := preparing.pop(command.text, None)) is not None:
                prepared = yield from _answer(libpq)
                if prepared.status in _DONE:
                    self._prepared[command.text] = name  # for good: a rollback does not undo it
                else:
                    results.append(prepared)
                    yield from _answer(libpq)
                    continue
            results.append((yield from _answer(libpq)))
        yield from _answer(libpq, last=True)
        libpq.exit_pipeline_mode()
        if _PREPARED_ANEW.intersection(_states(results)):
            self._prepared.clear()
        return results

    def _hear(self, notice: errors.Diagnostic) -> None:
        """A notice of Postgres; its severity is looked at untranslated, and one without any counts as a warning."""
        self.warned |= notice.severity_nonlocalized in (None, "WARNING")


def failed(results: Sequence[PGresult]) -> bool:
    """Whether Postgres answered with an error."""
    return any(result.status not in _DONE for result in results)


def check(results: Sequence[PGresult]) -> None:
    """Raises the first error that Postgres answered with, as the driver's."""
    for result in results:
        if result.status not in _DONE:
            raise error_from_result(result)


def _states(results: Sequence[PGresult]) -> list[str]:
    """The SQLSTATE of each error."""
    fields = (result.error_field(DiagnosticField.SQLSTATE) for result in results if failed([result]))
    return [field.decode() for field in fields if field]


def _answer(libpq: PGconn, *, last: bool = False) -> _Exchange[PGresult]:
    """The next command's answer; the `last` is the end of the exchange."""
    while libpq.is_busy():
        yield Wait.R
        libpq.consume_input()
    result = libpq.get_result()
    ended = result is not None and result.status == ExecStatus.PIPELINE_SYNC
    if result is None or ended is not last or (not last and libpq.get_result() is not None):
        raise psycopg.OperationalError("Postgres gave another number of answers than commands")
    return result
