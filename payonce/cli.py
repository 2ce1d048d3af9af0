"""`payonce`: what an operator runs by hand; every command is one transaction."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any, Literal, TypeVar

import typer
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from payonce.domain.errors import PaymentError
from payonce.settings import settings_from_environment
from payonce.storage import merchants as store
from payonce.storage.database import Database, upgrade

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The payonce payment gateway.")
merchants = typer.Typer(no_args_is_help=True, help="Merchants.")
keys = typer.Typer(no_args_is_help=True, help="API keys: shown once, stored hashed.")
db = typer.Typer(no_args_is_help=True, help="The database.")
app.add_typer(merchants, name="merchants")
app.add_typer(keys, name="keys")
app.add_typer(db, name="db")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
T = TypeVar("T")


def main() -> None:
    """Runs one command; an error we know is one line and exit status 1."""
    try:
        app()
    except PaymentError as error:
        sys.exit(f"payonce: {error.message}")
    except ValidationError as error:
        missing = ", ".join("PAYONCE_" + str(part["loc"][0]).upper() for part in error.errors())
        sys.exit(f"payonce: set or correct {missing}")


@db.command("upgrade")
def upgrade_database() -> None:
    """Apply every migration. Safe to repeat."""
    upgrade(settings_from_environment().database_url)
    print("The database is up to date.")


@merchants.command("create")
def create_merchant(
    name: Annotated[str, typer.Option(help="What people call it.")], as_json: Json = False
) -> None:
    """Add a merchant."""
    merchant = _in_transaction(lambda connection: store.create_merchant(connection, name=name))
    _show(asdict(merchant), as_json, f"{merchant.id}  {merchant.name}")


@merchants.command("list")
def list_merchants(as_json: Json = False) -> None:
    """List the merchants, newest first."""
    for merchant in _in_transaction(store.list_merchants):
        _show(asdict(merchant), as_json, f"{merchant.id}  {merchant.name}")


@keys.command("create")
def create_key(
    merchant: Annotated[str, typer.Option(help="The merchant's id.")],
    mode: Annotated[Literal["test", "live"], typer.Option(help="Which payments the key makes.")] = "test",
    as_json: Json = False,
) -> None:
    """Add an API key and show it, this once."""
    secret = settings_from_environment().secret_for("api_keys")
    record, key = _in_transaction(
        lambda connection: store.create_key(connection, merchant_id=merchant, mode=mode, secret=secret)
    )
    _show(
        {**asdict(record), "key": key}, as_json, f"{record.id}  {key}\nStore it now: it is not shown again."
    )


@keys.command("list")
def list_keys(
    merchant: Annotated[str | None, typer.Option(help="Only this merchant's.")] = None, as_json: Json = False
) -> None:
    """List API keys, newest first, by what may be shown of them."""
    for key in _in_transaction(lambda connection: store.list_keys(connection, merchant_id=merchant)):
        state = "revoked" if key.revoked_at else "active"
        _show(asdict(key), as_json, f"{key.id}  {key.prefix}  {key.merchant_id}  {state}")


@keys.command("revoke")
def revoke_key(key_id: str) -> None:
    """Revoke an API key. Safe to repeat."""
    _in_transaction(lambda connection: store.revoke_key(connection, key_id=key_id))
    print(f"{key_id} is revoked.")


def _in_transaction(work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    async def run() -> T:
        database = Database(settings_from_environment().database_url, pool_size=2)
        try:
            async with database.transaction() as connection:
                return await work(connection)
        finally:
            await database.close()

    return asyncio.run(run())


def _show(values: dict[str, Any], as_json: bool, line: str) -> None:
    print(json.dumps(values, default=str) if as_json else line)
