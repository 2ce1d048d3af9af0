"""`payonce accounts`: the agreements with acquirers, entered, looked at and changed while everything runs.

Secrets are read from standard input or a file, as lines `name=value`, or asked for; never from the command line.
"""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast

import typer

from payonce import logging
from payonce.accounts import identified
from payonce.cli.base import CommandRefused, Json, Why, deciding, in_transaction, operator_name, show
from payonce.connectors.base import AccountForm, Identifying, Identity
from payonce.connectors.measured import Whose
from payonce.connectors.registry import installed, open_connectors
from payonce.domain.answers import timestamp
from payonce.domain.audit import Act, AuditAction
from payonce.domain.errors import PaymentError
from payonce.domain.ids import ID_PATTERN, random_id
from payonce.domain.routing import ONLY_ASKED, ConnectorAccount
from payonce.live import SANDBOX
from payonce.sealing import Sealer
from payonce.settings import Settings, settings_from_environment
from payonce.storage import connector_accounts as store
from payonce.storage.connector_accounts import StoredAccount
from payonce.storage.driver.connection import Connection

INPUT_MAX: Final = 64 * 1024
IDENTIFY_WITHIN_S: Final = 20.0
AccountId = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's id.")]
SecretsFile = Annotated[
    Path | None, typer.Option(help="A file with lines name=value; else standard input, or a prompt.")
]

app = typer.Typer(no_args_is_help=True, help="Connector accounts: agreements with acquirers.")


@app.command("add")
def add(  # noqa: PLR0917 - typer takes them by name
    connector: Annotated[str, typer.Argument(help="The connector's name.")],
    id_: Annotated[str | None, typer.Option("--id", help="Of the account; else one is made.")] = None,
    merchant: Annotated[str | None, typer.Option(help="Whose it is; else every merchant's.")] = None,
    mode: Annotated[Literal["test", "live"] | None, typer.Option(help="Refuse keys of another mode.")] = None,
    base_url: Annotated[str | None, typer.Option(help="The acquirer's; else the connector's own.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="name=value; may be repeated.")] = None,
    position: Annotated[int | None, typer.Option(help="The lower, the sooner it takes payments.")] = None,
    secrets_file: SecretsFile = None,
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Enter an account, once its acquirer has said whose the secrets are."""
    settings, form = settings_from_environment(), _form(connector)
    account = ConnectorAccount(
        id=_new_id(id_, settings),
        connector=connector,
        mode=mode or "test",
        base_url=base_url or form.base_url or _missing("--base-url"),
        options=_pairs(
            option or [], {each.name for each in form.options} | {"callback_url", ONLY_ASKED}, "option"
        ),
        merchant_id=merchant,
        secrets={name: (value,) for name, value in _secrets(form, secrets_file, every=True).items()},
    )
    found = _who(settings, account)
    if mode is not None and found.mode != mode:
        raise CommandRefused(f"the secrets are of {found.mode} mode, not {mode}")
    account = _as(account, found)
    _check_address(account)

    async def work(connection: Connection) -> StoredAccount:
        return await store.insert_account(connection, account, _sealer(settings), position=position)

    stored = deciding(work, partial(_act, AuditAction.ACCOUNT_ADDED), why=why)
    _did("added", stored)
    _show(stored, settings, as_json, notes=found.notes)


@app.command("list")
def list_accounts(as_json: Json = False) -> None:
    """List the accounts, in the order in which they take payments."""
    settings = settings_from_environment()
    for stored in in_transaction(store.all_accounts):
        _show(stored, settings, as_json)


@app.command("show")
def show_account(account_id: AccountId, as_json: Json = False) -> None:
    """Show an account; of its secrets the names and generations."""
    _show(_stored(account_id), settings_from_environment(), as_json)


@app.command("rotate")
def rotate(
    account_id: AccountId, secrets_file: SecretsFile = None, why: Why = None, as_json: Json = False
) -> None:
    """Replace secrets by newer ones of the same account at the acquirer. What is not said stays."""
    settings, stored = settings_from_environment(), _stored(account_id)
    form = _form(stored.account.connector)
    newer = _secrets(form, secrets_file, every=False)
    before = stored.unsealed(_sealer(settings))
    merged = _with(before, {**before.secrets, **{name: (value,) for name, value in newer.items()}})
    found = _who(settings, merged)
    if (found.id, found.mode) != (before.identity, before.mode):
        raise CommandRefused(
            f"the secrets are of {found.id} in {found.mode} mode, and {account_id} is {before.identity} in"
            f" {before.mode} mode: another identity is another account (payonce accounts add)"
        )
    verifying = {each.name for each in form.secrets if each.verifies_callbacks}

    async def work(connection: Connection) -> StoredAccount:
        return await store.rotate(connection, stored, newer, _sealer(settings), verifying=verifying)

    after = deciding(work, partial(_act, AuditAction.ACCOUNT_ROTATED), why=why)
    _did("rotated", after)
    _show(after, settings, as_json, notes=found.notes)


@app.command("check")
def check(account_id: AccountId) -> None:
    """Ask the acquirer, and say in one line what is wrong, with exit status 1."""
    settings, stored = settings_from_environment(), _stored(account_id)
    account = settings.placed(stored.unsealed(_sealer(settings)))
    whose, words, relies = asyncio.run(_checked(account))
    notes: tuple[str, ...] = ()
    if whose is Whose.PINNED:
        notes = _who(settings, stored.unsealed(_sealer(settings))).notes
    if whose is not Whose.PINNED:
        sys.exit(f"{account_id}: {words}")
    if account.callback_url is None:
        notes = (*notes, "the acquirer has no address for callbacks: set PAYONCE_PUBLIC_URL")
    if stored.heard_at is None and relies:
        notes = (
            *notes,
            f"no callback has come yet at {account.callback_url}, and none of its payments could be known without:"
            " it takes none before. Let the acquirer send a test one",
        )
    if notes:
        sys.exit(f"{account_id}: {'; '.join(notes)}")
    heard_at = stored.heard_at
    last = (
        "no callback has come yet"
        if heard_at is None
        else f"the latest callback came at {heard_at:%F %H:%M}Z"
    )
    print(f"{account_id}: it is {account.identity} in {account.mode} mode; {last}")


@app.command("disable")
def disable(account_id: AccountId, why: Why = None) -> None:
    """Send no new payment there. What is under way goes on, and so do captures and refunds. Safe to repeat."""
    _enable(account_id, enabled=False, why=why)


@app.command("enable")
def enable(account_id: AccountId, why: Why = None) -> None:
    """Send new payments there again. Safe to repeat."""
    _enable(account_id, enabled=True, why=why)


def _enable(account_id: str, *, enabled: bool, why: str | None) -> None:
    action = AuditAction.ACCOUNT_ENABLED if enabled else AuditAction.ACCOUNT_DISABLED
    stored = deciding(
        lambda connection: store.set_enabled(connection, account_id, enabled=enabled),
        partial(_act, action),
        why=why,
    )
    state = "enabled" if enabled else "disabled"
    _did(state, stored)
    print(f"{account_id} is {state}; every process knows within 5 s.")


def _stored(account_id: str) -> StoredAccount:
    found = in_transaction(lambda connection: store.find_account(connection, account_id))
    if found is None:
        raise CommandRefused(f"there is no connector account {account_id}")
    return found


def _form(connector: str) -> AccountForm:
    known = installed()
    if connector not in known:
        raise CommandRefused(f"no connector {connector!r}; known are: {', '.join(sorted(known))}")
    form: AccountForm | None = getattr(known[connector](), "account_form", None)
    if form is None:
        raise CommandRefused(f"accounts of {connector} are settings: PAYONCE_CONNECTOR_ACCOUNTS")
    return form


def _who(settings: Settings, account: ConnectorAccount) -> Identity:
    """Whose the secrets are. Raises `CommandRefused`, in the acquirer's words."""

    async def ask() -> Identity:
        placed = settings.placed(account)
        connector = open_connectors([placed])[placed.id]
        try:
            async with asyncio.timeout(IDENTIFY_WITHIN_S):
                return await cast("Identifying", connector).identify()
        finally:
            await connector.close()

    try:
        return asyncio.run(ask())
    except TimeoutError:
        raise CommandRefused("the acquirer does not answer; nothing was changed") from None
    except PaymentError as error:
        raise CommandRefused(f"the acquirer does not say whose the secrets are: {error.message}") from error


async def _checked(account: ConnectorAccount) -> tuple[Whose, str, bool]:
    """Whose the secrets are, what is wrong in words, and whether its payments are known by callbacks."""
    connector: Any = open_connectors([account])[account.id]
    try:
        whose, words = await identified(connector, account)
        return whose, words, connector.capabilities.callbacks_carry_facts
    finally:
        await connector.close()


def _secrets(form: AccountForm, path: Path | None, *, every: bool) -> dict[str, str]:
    """By name, as the form has them. Raises `CommandRefused`, which shows no value."""
    names = {field.name for field in form.secrets}
    if path is None and sys.stdin.isatty():
        asked = {each.name: typer.prompt(each.says, hide_input=True, default="") for each in form.secrets}
        found = {name: value.strip() for name, value in asked.items() if value.strip()}
    else:
        text = _read(path)
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        found = _pairs(lines, names, "secret")
    missing = [each.name for each in form.secrets if each.required and not found.get(each.name)]
    if every and missing:
        raise CommandRefused(f"secrets are missing: {', '.join(missing)}")
    if not found:
        raise CommandRefused(f"say at least one of: {', '.join(sorted(names))}")
    return found


def _read(path: Path | None) -> str:
    try:
        if path is None:
            text = sys.stdin.read(INPUT_MAX + 1)
        else:
            with path.open() as file:
                text = file.read(INPUT_MAX + 1)
    except (OSError, UnicodeDecodeError):
        raise CommandRefused("the secrets cannot be read") from None
    if len(text) > INPUT_MAX:
        raise CommandRefused(f"the secrets are longer than {INPUT_MAX} characters")
    return text


def _pairs(lines: list[str], known: set[str], what: str) -> dict[str, str]:
    pairs = {}
    for line in lines:
        name, is_pair, value = (part.strip() for part in line.partition("="))
        if not is_pair or not value or name not in known:
            raise CommandRefused(f"a {what} is name=value, with one of the names {', '.join(sorted(known))}")
        pairs[name] = value
    return pairs


def _new_id(id_: str | None, settings: Settings) -> str:
    if id_ is None:
        return random_id("ca")
    if not ID_PATTERN.match(id_) or any(account.id == id_ for account in settings.accounts()):
        raise CommandRefused(f"{id_!r} is no id for an account, or that of one in the settings")
    return id_


def _check_address(account: ConnectorAccount) -> None:
    if account.mode == "live" and not account.base_url.startswith("https://"):
        raise CommandRefused("a live account's base URL must be https://")
    if account.mode == "live" and account.connector.startswith(SANDBOX):
        raise CommandRefused("the sandbox is for test mode")


def _missing(name: str) -> str:
    raise CommandRefused(f"{name} is missing: the connector has no address of its own")


def _as(account: ConnectorAccount, found: Identity) -> ConnectorAccount:
    return replace(account, identity=found.id, mode=found.mode)


def _with(account: ConnectorAccount, secrets: Mapping[str, tuple[str, ...]]) -> ConnectorAccount:
    return replace(account, secrets=secrets, key="")


def _sealer(settings: Settings) -> Sealer:
    return Sealer(settings.webhook_keys())


def _did(what: str, stored: StoredAccount) -> None:
    logging.configure(level="info", process="payonce")
    log = logging.get_logger(__name__)
    log.info("connector_account_changed", change=what, account=stored.id, actor=operator_name())


def _act(action: AuditAction, stored: StoredAccount) -> Act:
    account = stored.account
    details = {
        "connector": account.connector,
        "identity": account.identity,
        "base_url": account.base_url,
        "secrets": [f"{each.name} {each.generation}" for each in stored.secrets],
    }
    return Act(
        action=action, subject=account.id, merchant_id=account.merchant_id, mode=account.mode, details=details
    )


def _show(stored: StoredAccount, settings: Settings, as_json: bool, *, notes: tuple[str, ...] = ()) -> None:
    account = settings.placed(stored.account)
    state = "enabled" if account.enabled else "disabled"
    secrets = [{"name": each.name, "generation": each.generation} for each in stored.secrets]
    values = {
        "id": account.id,
        "connector": account.connector,
        "identity": account.identity,
        "mode": account.mode,
        "merchant_id": account.merchant_id,
        "state": state,
        "position": stored.position,
        "base_url": account.base_url,
        "options": dict(stored.account.options),
        "callback_url": account.callback_url,
        "heard_at": stored.heard_at and timestamp(stored.heard_at),
        "secrets": secrets,
        "notes": list(notes),
    }
    whose = account.merchant_id or "every merchant"
    line = f"{account.id}  {account.connector}  {account.identity}  {account.mode}  {whose}  {state}"
    told = "".join(f"\n    {note}" for note in notes)
    show(values, as_json, f"{line}\n    callbacks: {account.callback_url}{told}")
