"""Merchants, API keys and the database; every command is one transaction."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from payonce.cli.base import (
    CommandRefused,
    Json,
    Why,
    content_of,
    decided,
    deciding,
    in_transaction,
    show,
    with_database,
)
from payonce.cli.card_storage import check as check_card_storage
from payonce.domain.audit import Act, AuditAction
from payonce.domain.payment_methods import CardStorage
from payonce.runtime import ids_of
from payonce.sealing import Sealer
from payonce.settings import Settings, settings_from_environment
from payonce.storage import connector_accounts, returns, risk_policies, unpacking
from payonce.storage import merchants as store
from payonce.storage.belonging import check_ids, has_tables
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import Database
from payonce.storage.migrating import upgrade
from payonce.storage.personal_data import seal_again as seal_personal_data_again
from payonce.storage.snapshots import take_snapshot
from payonce.storage.webhooks.sealed_answers import seal_answers_again
from payonce.storage.webhooks.secrets import seal_again, seal_plain_secrets
from payonce.webhooks.risk import sealed_again

T = TypeVar("T")

merchants = typer.Typer(no_args_is_help=True, help="Merchants.")
keys = typer.Typer(no_args_is_help=True, help="API keys: shown once, stored hashed.")
db = typer.Typer(no_args_is_help=True, help="The database.")


@db.command("upgrade")
def upgrade_database(
    *,
    replaced: Annotated[
        bool,
        typer.Option(
            "--replaced", help="No process of an earlier release runs: what only those need goes, too."
        ),
    ] = False,
    why: Why = None,
) -> None:
    """Apply every migration with which the release before lives, and seal what an earlier one kept in the clear.

    Safe to repeat. A new database gets every migration.
    """
    with_database(_check_before_upgrade)
    settings = settings_from_environment()
    newest = upgrade(settings.database_url, replaced=replaced)
    sealer = Sealer(settings.webhook_keys())
    while in_transaction(partial(seal_plain_secrets, sealer=sealer)):
        pass  # some hundred endpoints at a time, until none is left
    decided(Act(action=AuditAction.DATABASE_UPGRADED, subject="database"), why=why)
    print("The database is up to date.")
    if not newest:
        print("Once no process of an earlier release runs: payonce db upgrade --replaced")


async def _check_before_upgrade(database: Database, settings: Settings) -> None:
    """What is sealed with another key than that of the database could not be opened."""
    if await has_tables(database):
        await check_ids(database, ids=ids_of(settings))


@db.command("seal")
def seal_with_the_first_key(why: Why = None) -> None:
    """Seal every secret of webhooks and connector accounts, stored answers that hold one, personal data and what
    browsers brought back with the first sealing key: the others may go.

    Safe to repeat.
    """
    sealer = Sealer(settings_from_environment().webhook_keys())
    decided(
        Act(action=AuditAction.SECRETS_SEALED, subject="database", details={"key": sealer.key_id}), why=why
    )
    while in_transaction(partial(seal_again, sealer=sealer)):
        pass  # some hundred secrets at a time, until none is left
    while in_transaction(partial(connector_accounts.seal_again, sealer=sealer)):
        pass
    while in_transaction(partial(seal_answers_again, sealer=sealer, now=datetime.now(UTC))):
        pass  # so that a replay of a creation or rotation is answered, for its 24 hours
    in_transaction(partial(risk_policies.seal_again, seal=partial(sealed_again, sealer)))
    place = in_transaction(partial(seal_personal_data_again, sealer=sealer, after=None))
    while place is not None:
        place = in_transaction(partial(seal_personal_data_again, sealer=sealer, after=place))
    brought = in_transaction(partial(returns.seal_again, sealer=sealer, after=None))
    while brought is not None:
        brought = in_transaction(partial(returns.seal_again, sealer=sealer, after=brought))
    print(f"Every secret and all personal data is sealed with the key {sealer.key_id}.")


@db.command("unpack")
def unpack_bodies(why: Why = None) -> None:
    """Store every row as it is, as an earlier release reads it; as the owner of the tables.

    Before, no process may pack any more (PAYONCE_PACK_BODIES): one that did meanwhile is told of. Safe to repeat,
    and to break off.
    """
    decided(Act(action=AuditAction.BODIES_UNPACKED, subject="database"), why=why)
    with_database(_unpacked)
    print("Every row is stored as it is.")


async def _unpacked(database: Database, settings: Settings) -> None:
    await check_ids(database, ids=ids_of(settings))
    async with database.reading() as connection:
        began, snapshot = datetime.now(UTC), await take_snapshot(connection)
    await _page_by_page(database, unpacking.unpack_events, "")
    await _page_by_page(database, unpacking.unpack_keys, unpacking.FIRST_KEY)
    await _page_by_page(database, unpacking.unpack_payments, "")
    await _page_by_page(database, unpacking.unpack_attempts, unpacking.FIRST_ATTEMPT)
    async with database.reading() as connection:
        if await unpacking.still_packed(connection, since=began, xid=snapshot.oldest_running):
            raise CommandRefused(
                "a process still packs: take PAYONCE_PACK_BODIES from it, and run this again"
            )


async def _page_by_page(database: Database, step: Callable[..., Awaitable[T | None]], first: T) -> None:
    """Each page in a transaction of its own, behind the place that the one before it told, to the last."""
    place: T | None = first
    while place is not None:
        async with database.transaction() as connection:
            place = await step(connection, after=place)


@merchants.command("create")
def create_merchant(
    name: Annotated[str, typer.Option(help="What people call it.")],
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Add a merchant."""
    merchant = deciding(
        lambda connection: store.create_merchant(connection, name=name),
        lambda made: Act(action=AuditAction.MERCHANT_CREATED, subject=made.id, merchant_id=made.id),
        why=why,
    )
    show(asdict(merchant), as_json, f"{merchant.id}  {merchant.name}")


@merchants.command("list")
def list_merchants(as_json: Json = False) -> None:
    """List the merchants, newest first, with the origins to which their live customers may be sent back."""
    for merchant in in_transaction(store.list_merchants):
        show(asdict(merchant), as_json, _line_of(merchant))


@merchants.command("set")
def set_merchant(
    merchant_id: str,
    *,
    return_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Where live customers may be sent back to, such as https://shop.example. Repeat it for several:"
            " these replace all that there were."
        ),
    ] = None,
    card_storage: Annotated[
        CardStorage | None,
        typer.Option(help="Where cards are saved from now on: nowhere, at the acquirers, or in the vault."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What people call it; on receipts from now on.")] = None,
    address: Annotated[str | None, typer.Option(help="On receipts, line by line; empty: none.")] = None,
    logo: Annotated[Path | None, typer.Option(help="On receipts: a PNG or JPEG of at most 2 MiB.")] = None,
    no_logo: Annotated[bool, typer.Option("--no-logo", help="Receipts show no logo any more.")] = False,
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Change a merchant: what is not said stays. In force everywhere after 5 s."""
    picture = b"" if no_logo else _picture(logo)
    settings = settings_from_environment()
    said = {"name": name, "address": address, "logo": picture}
    details: dict[str, Any] = {
        "changed": [member for member, value in said.items() if value is not None],
        "return_origins": return_origin,
        "card_storage": card_storage,
    }

    async def change(connection: Connection) -> store.Merchant:
        await check_card_storage(connection, card_storage, settings)
        return await store.change_merchant(
            connection,
            merchant_id,
            return_origins=return_origin,
            card_storage=card_storage,
            name=name,
            address=address,
            logo=picture,
        )

    merchant = deciding(
        change,
        lambda changed: Act(
            action=AuditAction.MERCHANT_CHANGED,
            subject=changed.id,
            merchant_id=changed.id,
            details={member: value for member, value in details.items() if value},
        ),
        why=why,
    )
    show(asdict(merchant), as_json, _line_of(merchant))


def _picture(path: Path | None) -> bytes | None:
    """The logo in the file, written anew. Raises `CommandRefused` and `InvalidRequest`."""
    if path is None:
        return None
    from payonce.receipts.logo import FILE_BYTES_MAX, checked  # with Pillow, which no other command needs

    return checked(content_of(path, bytes_max=FILE_BYTES_MAX))


def _line_of(merchant: store.Merchant) -> str:
    stored = f"cards: {merchant.card_storage}"
    return "  ".join([merchant.id, merchant.name, stored, *merchant.return_origins])


@keys.command("create")
def create_key(
    merchant: Annotated[str, typer.Option(help="The merchant's id.")],
    mode: Annotated[Literal["test", "live"], typer.Option(help="Which payments the key makes.")] = "test",
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Add an API key and show it, this once."""
    secret = settings_from_environment().secret_for("api_keys")
    record, key = deciding(
        lambda connection: store.create_key(connection, merchant_id=merchant, mode=mode, secret=secret),
        lambda made: _act(AuditAction.KEY_CREATED, made[0]),
        why=why,
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
def revoke_key(key_id: str, why: Why = None) -> None:
    """Revoke an API key. Safe to repeat."""
    deciding(
        lambda connection: store.revoke_key(connection, key_id=key_id),
        partial(_act, AuditAction.KEY_REVOKED),
        why=why,
    )
    print(f"{key_id} is revoked.")


def _act(action: AuditAction, key: store.ApiKey) -> Act:
    details = {"prefix": key.prefix}
    return Act(action=action, subject=key.id, merchant_id=key.merchant_id, mode=key.mode, details=details)
