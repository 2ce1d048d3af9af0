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
from payonce.settings import settings_from_environment
from payonce.storage.connection import Connection
from payonce.storage.database import Database

STATE_DIRECTORY: Final = Path(".payonce")
ENVIRON_JSON: Final = STATE_DIRECTORY / "environ.json"
_NAMES_A_DEPLOYMENT: Final = "PAYONCE_DATABASE_URL"
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
T = TypeVar("T")


class Refused(PaymentError):
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
    """What `work` returns, committed."""

    async def run() -> T:
        database = Database(settings_from_environment().database_url, pool_size=2)
        try:
            async with database.transaction() as connection:
                return await work(connection)
        finally:
            await database.close()

    return asyncio.run(run())


def show(values: dict[str, Any], as_json: bool, line: str) -> None:
    """One object was printed, for a program or for a person."""
    print(json.dumps(values, default=str) if as_json else line)
