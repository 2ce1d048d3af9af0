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
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import Database

STATE_DIRECTORY: Final = Path(".payonce")
ENVIRON_JSON: Final = STATE_DIRECTORY / "environ.json"
_NAMES_A_DEPLOYMENT: Final = "PAYONCE_DATABASE_URL"
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
T = TypeVar("T")


class CommandRefused(PaymentError):
    """The command cannot do what was asked; the message says why and what would help."""

    code = "refused"


def use_dev_stack() -> None:
    """Where `make dev` runs in this checkout and no other deployment is named, commands work on it, and say so."""
    here = Path.cwd()
    path = next((at / ENVIRON_JSON for at in (here, *here.parents) if (at / ENVIRON_JSON).exists()), None)
    if path is None:
        return
    try:
        written: dict[str, str] = json.loads(path.read_text())
    except (OSError, ValueError):
        return
    if os.environ.get(_NAMES_A_DEPLOYMENT) not in (None, written.get(_NAMES_A_DEPLOYMENT)):
        return
    print(f"payonce: on the stack of `make dev` ({path})", file=sys.stderr)
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
