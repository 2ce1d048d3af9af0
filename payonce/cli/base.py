"""What every command may need: one transaction, JSON or text, and an error that is one line."""

import asyncio
import json
import os
import pwd
import socket
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from payonce.domain.audit import Act, Actor, ActorKind, checked_why
from payonce.domain.errors import PaymentError
from payonce.runtime import ids_of, open_database
from payonce.settings import Settings, settings_from_environment
from payonce.storage import audit
from payonce.storage.belonging import check_ids, check_reachable
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import Database

STATE_DIRECTORY: Final = Path(".payonce")
ENVIRON_JSON: Final = STATE_DIRECTORY / "environ.json"
_NAMES_A_DEPLOYMENT: Final = "PAYONCE_DATABASE_URL"
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Why = Annotated[str | None, typer.Option("--why", help="Why: it is kept in the audit log.")]
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


def deciding(work: Callable[[Connection], Awaitable[T]], act: Callable[[T], Act], *, why: str | None) -> T:
    """What `work` returns, committed together with its entry in the audit log, or not at all."""
    checked_why(why)

    async def both(connection: Connection) -> T:
        done = await work(connection)
        await audit.decided(connection, operator(), act(done), why=why)
        return done

    return in_transaction(both)


def decided(act: Act, *, why: str | None) -> None:
    """The audit log has it. For what takes many transactions: before the first, and after the last."""

    async def nothing(_: Connection) -> None: ...

    deciding(nothing, lambda _: act, why=why)


def operator() -> Actor:
    """Who gives this command."""
    return Actor(kind=ActorKind.PERSON, id=operator_name())


def operator_name() -> str:
    """Who this is as far as the machine knows; not by a variable that anybody may set, but for who used sudo."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid-{os.getuid()}"
    for_whom = os.environ.get("SUDO_USER")
    return f"{for_whom} as {user}@{socket.gethostname()}" if for_whom else f"{user}@{socket.gethostname()}"


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


def moment(text: str, name: str) -> datetime:
    """An aware time. Raises `CommandRefused`."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise CommandRefused(f"{name} must be a time such as 2026-01-31T12:00:00Z") from None
    if found.tzinfo is None:
        raise CommandRefused(f"{name} must say its time zone, such as 2026-01-31T12:00:00Z")
    return found.astimezone(UTC)


def content_of(path: Path, *, bytes_max: int) -> bytes:
    """What the file has. Raises `CommandRefused`, also for a longer one."""
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise CommandRefused(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > bytes_max:
        raise CommandRefused(f"{path} is larger than {bytes_max} bytes")
    return content


def show(values: dict[str, Any], as_json: bool, line: str) -> None:
    """One object was printed, for a program or for a person."""
    print(json.dumps(values, default=str) if as_json else line)
