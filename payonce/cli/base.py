"""What every command may need: one transaction, JSON or text, and an error that is one line."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from payonce.domain.errors import PaymentError
from payonce.runtime import ids_of, open_database
from payonce.settings import Settings, settings_from_environment
from payonce.storage.belonging import check_ids, check_reachable
from payonce.storage.connection import Connection
from payonce.storage.database import Database

STATE_DIRECTORY: Final = Path(".payonce")
ENVIRON_JSON: Final = STATE_DIRECTORY / "environ.json"
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
T = TypeVar("T")


class Refused(PaymentError):
    """The command cannot do what was asked; the message says why and what would help."""

    code = "refused"


def use_dev_stack() -> None:
    """Where no deployment is named and `make dev` runs here, commands work on its stack, and say so."""
    if "PAYONCE_DATABASE_URL" in os.environ:
        return
    try:
        written = json.loads(ENVIRON_JSON.read_text())
    except (OSError, ValueError):
        return
    print(f"payonce: on the stack of `make dev` ({ENVIRON_JSON})", file=sys.stderr)
    for name, value in written.items():
        os.environ.setdefault(str(name), str(value))


def in_transaction(work: Callable[[Connection], Awaitable[T]]) -> T:
    """What `work` returns, committed. Raises `SettingsWrong` for a database that is away, or not these settings'."""

    async def run(database: Database, settings: Settings) -> T:
        await check_ids(database, ids=ids_of(settings))
        async with database.transaction() as connection:
            return await work(connection)

    return with_database(run)


def with_database(work: Callable[[Database, Settings], Awaitable[T]]) -> T:
    """What `work` returns. Raises `SettingsWrong` for a database that is away."""

    async def run() -> T:
        settings = settings_from_environment()
        database = open_database(settings, pool_size=2)
        try:
            await check_reachable(database)
            return await work(database, settings)
        finally:
            await database.close()

    return asyncio.run(run())


def show(values: dict[str, Any], as_json: bool, line: str) -> None:
    """One object was printed, for a program or for a person."""
    print(json.dumps(values, default=str) if as_json else line)
