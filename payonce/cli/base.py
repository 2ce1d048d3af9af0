"""What every command may need: one transaction, JSON or text, and an error that is one line."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer

from payonce.domain.errors import PaymentError
from payonce.settings import settings_from_environment
from payonce.storage.connection import Connection
from payonce.storage.database import Database

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
T = TypeVar("T")


class Refused(PaymentError):
    """The command cannot do what was asked; the message says why and what would help."""

    code = "refused"


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
