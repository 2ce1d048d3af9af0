"""Merchants, API keys and the database; every command is one transaction."""

from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Literal

import typer

from payonce.cli.base import Json, in_transaction, show, with_database
from payonce.runtime import ids_of
from payonce.sealing import Sealer
from payonce.settings import Settings, settings_from_environment
from payonce.storage import connector_accounts, returns
from payonce.storage import merchants as store
from payonce.storage.belonging import check_ids, has_tables
from payonce.storage.driver.database import Database, upgrade
from payonce.storage.personal_data import seal_again as seal_personal_data_again
from payonce.storage.webhooks.sealed_answers import seal_answers_again
from payonce.storage.webhooks.secrets import seal_again, seal_plain_secrets

merchants = typer.Typer(no_args_is_help=True, help="Merchants.")
keys = typer.Typer(no_args_is_help=True, help="API keys: shown once, stored hashed.")
db = typer.Typer(no_args_is_help=True, help="The database.")


@db.command("upgrade")
def upgrade_database() -> None:
    """Apply every migration, and seal what an earlier release kept in the clear. Safe to repeat."""
    with_database(_check_before_upgrade)
    settings = settings_from_environment()
    upgrade(settings.database_url)
    sealer = Sealer(settings.webhook_keys())
    while in_transaction(partial(seal_plain_secrets, sealer=sealer)):
        pass  # some hundred endpoints at a time, until none is left
    print("The database is up to date.")


async def _check_before_upgrade(database: Database, settings: Settings) -> None:
    """What is sealed with another key than that of the database could not be opened."""
    if await has_tables(database):
        await check_ids(database, ids=ids_of(settings))


@db.command("seal")
def seal_with_the_first_key() -> None:
    """Seal every secret of webhooks and connector accounts, stored answers that hold one, personal data and what
    browsers brought back with the first sealing key: the others may go.

    Safe to repeat.
    """
    sealer = Sealer(settings_from_environment().webhook_keys())
    while in_transaction(partial(seal_again, sealer=sealer)):
        pass  # some hundred secrets at a time, until none is left
    while in_transaction(partial(connector_accounts.seal_again, sealer=sealer)):
        pass
    while in_transaction(partial(seal_answers_again, sealer=sealer, now=datetime.now(UTC))):
        pass  # so that a replay of a creation or rotation is answered, for its 24 hours
    place = in_transaction(partial(seal_personal_data_again, sealer=sealer, after=None))
    while place is not None:
        place = in_transaction(partial(seal_personal_data_again, sealer=sealer, after=place))
    brought = in_transaction(partial(returns.seal_again, sealer=sealer, after=None))
    while brought is not None:
        brought = in_transaction(partial(returns.seal_again, sealer=sealer, after=brought))
    print(f"Every secret and all personal data is sealed with the key {sealer.key_id}.")


@merchants.command("create")
def create_merchant(
    name: Annotated[str, typer.Option(help="What people call it.")], as_json: Json = False
) -> None:
    """Add a merchant."""
    merchant = in_transaction(lambda connection: store.create_merchant(connection, name=name))
    show(asdict(merchant), as_json, f"{merchant.id}  {merchant.name}")


@merchants.command("list")
def list_merchants(as_json: Json = False) -> None:
    """List the merchants, newest first, with the origins to which their live customers may be sent back."""
    for merchant in in_transaction(store.list_merchants):
        show(asdict(merchant), as_json, _line_of(merchant))


@merchants.command("set")
def set_merchant(
    merchant_id: str,
    return_origin: Annotated[
        list[str],
        typer.Option(
            help="Where live customers may be sent back to, such as https://shop.example. Repeat it for several:"
            " these replace all that there were."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Change a merchant. In force everywhere after 5 s."""
    merchant = in_transaction(
        lambda connection: store.set_return_origins(connection, merchant_id, origins=return_origin)
    )
    show(asdict(merchant), as_json, _line_of(merchant))


def _line_of(merchant: store.Merchant) -> str:
    return "  ".join([merchant.id, merchant.name, *merchant.return_origins])


@keys.command("create")
def create_key(
    merchant: Annotated[str, typer.Option(help="The merchant's id.")],
    mode: Annotated[Literal["test", "live"], typer.Option(help="Which payments the key makes.")] = "test",
    as_json: Json = False,
) -> None:
    """Add an API key and show it, this once."""
    secret = settings_from_environment().secret_for("api_keys")
    record, key = in_transaction(
        lambda connection: store.create_key(connection, merchant_id=merchant, mode=mode, secret=secret)
    )
    show({**asdict(record), "key": key}, as_json, f"{record.id}  {key}\nStore it now: it is not shown again.")


@keys.command("list")
def list_keys(
    merchant: Annotated[str | None, typer.Option(help="Only this merchant's.")] = None, as_json: Json = False
) -> None:
    """List API keys, newest first, by what may be shown of them."""
    for key in in_transaction(lambda connection: store.list_keys(connection, merchant_id=merchant)):
        state = "revoked" if key.revoked_at else "active"
        show(asdict(key), as_json, f"{key.id}  {key.prefix}  {key.merchant_id}  {state}")


@keys.command("revoke")
def revoke_key(key_id: str) -> None:
    """Revoke an API key. Safe to repeat."""
    in_transaction(lambda connection: store.revoke_key(connection, key_id=key_id))
    print(f"{key_id} is revoked.")
