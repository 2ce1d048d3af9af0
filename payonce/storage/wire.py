"""The way to Postgres: several commands in one round trip, each prepared once on its connection.

It uses libpq's pipeline itself, below the driver's cursors: those make a system call for each statement, and a round
trip of its own for BEGIN and COMMIT (docs/performance.md, ADR 0015).
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format, PipelineStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait

_DONE: Final = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Command:
    """A statement with its values for `$1`, `$2` … It is prepared, unless it takes none.

    Each parameter has the type that Postgres infers, so that what is prepared serves every value.
    """

    text: bytes
    values: Sequence[Any] = ()
    formats: Sequence[PyFormat] = ()


BEGIN, COMMIT, ROLLBACK = Command(b"BEGIN"), Command(b"COMMIT"), Command(b"ROLLBACK")


class Wire:
    """A connection of the driver's, and what was prepared on it."""

    def __init__(self, driver: psycopg.AsyncConnection[Any]) -> None:
        self._driver = driver
        self._transformer = Transformer.from_context(driver)
        self._prepared: dict[bytes, bytes] = {}  # texts, and the names that Postgres knows them by
        self._columns: dict[bytes, tuple[str, ...]] = {}  # of the rows that a text gives
        self._numbers = count()

    @property
    def idle(self) -> bool:
        """Whether the connection lives and no transaction is open on it."""
        return bool(self._driver.pgconn.transaction_status == TransactionStatus.IDLE)

    async def exchange(self, commands: Sequence[Command]) -> list[PGresult]:
        """What Postgres answered to each, in order. Once one has failed, those after it were not executed.

        Raises psycopg's `OperationalError` when the connection is lost: any of them may have been executed. When
        the caller is cancelled, Postgres is asked to stop; where that does not help, the connection is closed.
        """
        async with self._driver.lock:
            try:
                return await self._driver.wait(self._exchange(commands))
            except BaseException:
                if self._driver.pgconn.pipeline_status != PipelineStatus.OFF:
                    self._driver.pgconn.finish()  # what may still come answers nobody
                raise

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

    def _exchange(self, commands: Sequence[Command]) -> Generator[Wait, Ready | int, list[PGresult]]:
        libpq = self._driver.pgconn
        dumped = [self._dump(command) for command in commands]  # may raise, so before anything is sent
        preparing: dict[bytes, bytes] = {}
        libpq.enter_pipeline_mode()
        for command, (values, formats) in zip(commands, dumped, strict=True):
            if not command.values:
                libpq.send_query_params(command.text, None)
                continue
            name = self._prepared.get(command.text) or preparing.get(command.text)
            if name is None:
                preparing[command.text] = name = b"payonce_%d" % next(self._numbers)
                libpq.send_prepare(name, command.text)
            libpq.send_query_prepared(name, values, param_formats=formats)
        libpq.pipeline_sync()
        while libpq.flush():
            if (yield Wait.RW) & Ready.R:
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
        return results

    def _dump(self, command: Command) -> tuple[Sequence[Any], Sequence[Format] | None]:
        values = self._transformer.dump_sequence(command.values, command.formats)
        return values, self._transformer.formats


def check(results: Sequence[PGresult]) -> None:
    """Raises the first error that Postgres answered with, as the driver's."""
    for result in results:
        if result.status not in _DONE:
            raise error_from_result(result)


def _answer(libpq: PGconn, *, last: bool = False) -> Generator[Wait, Ready | int, PGresult]:
    """The next command's answer; the `last` is the end of the exchange."""
    while libpq.is_busy():
        yield Wait.R
        libpq.consume_input()
    result = libpq.get_result()
    if result is None or (not last and libpq.get_result() is not None):
        raise psycopg.InternalError("Postgres gave another number of answers than commands")
    return result
