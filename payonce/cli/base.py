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
