"""The vault's keys: how many cards each holds, and all cards wrapped by the newest."""

from dataclasses import asdict
from typing import Any

import typer

from payonce.cli.base import CommandRefused, Json, Why, decided, show, with_database
from payonce.domain.audit import Act, AuditAction
from payonce.memory import keep_private
from payonce.runtime import ids_of
from payonce.settings import Settings
from payonce.storage.belonging import check_ids
from payonce.storage.driver.database import Database
from payonce.vault import rotation
from payonce.vault.rotation import Rotated
from payonce.vault.saving import Vault, open_vault

app = typer.Typer(no_args_is_help=True, help="The vault of saved cards.")


@app.command("status")
def status(as_json: Json = False) -> None:
    """How many saved cards each key-encryption key holds, and which running processes wrap with it."""
    state = with_database(_progress)
    show(_json_of(state), as_json, _line_of(state))


@app.command("rotate")
def rotate(why: Why = None, as_json: Json = False) -> None:
    """Wrap the key of every saved card with the newest key-encryption key. Online; safe to end and to repeat.

    Exit status 1 while a card needs another key, or a running process wraps with one.
    """
    decided(Act(action=AuditAction.VAULT_ROTATION_STARTED, subject="vault"), why=why)
    state = with_database(_rotate)
    details = {"newest": state.newest, "rewrapped": state.rewrapped, "complete": state.complete}
    decided(Act(action=AuditAction.VAULT_ROTATION_ENDED, subject="vault", details=details), why=None)
    show(_json_of(state), as_json, _line_of(state))
    if state.by_others:
        raise CommandRefused(
            "Not complete: the cards that are left did not open, or were saved meanwhile by a process that does not"
            " know the newest key."
        )
    if state.lagging:
        names = "; ".join(f"{process.name} ({process.key_id})" for process in state.lagging)
        raise CommandRefused(
            f"Not complete: these processes wrap with an older key: {names}. Restart them with the newest, and run"
            " this again."
        )
    if not state.complete:
        raise CommandRefused("Not complete: a card was being saved with an older key. Run this again.")
    if not as_json:
        print("Complete: no card and no process needs an older key, and none can wrap again. Backups do.")


async def _progress(database: Database, settings: Settings) -> Rotated:
    vault = await _vault(database, settings)
    try:
        return await rotation.progress(database, await vault.keys.newest())
    finally:
        await vault.keys.close()


async def _rotate(database: Database, settings: Settings) -> Rotated:
    vault = await _vault(database, settings)
    try:
        return await rotation.rotate(database, vault.keys, tell=_tell, wait_s=rotation.WAIT_S)
    finally:
        await vault.keys.close()


async def _vault(database: Database, settings: Settings) -> Vault:
    keep_private(allow_debuggers=settings.allow_debuggers)
    await check_ids(database, ids=ids_of(settings))
    vault = open_vault(settings)
    if vault is None:
        raise CommandRefused(
            "There is no vault: neither PAYONCE_VAULT_KEY_FILE nor PAYONCE_VAULT_TRANSIT_URL is set."
        )
    return vault


def _tell(state: Rotated) -> None:
    of = sum(state.by_others.values())
    typer.echo(f"{state.rewrapped} of about {of} cards wrapped by {state.newest}", err=True)


def _line_of(state: Rotated) -> str:
    others = ", ".join(f"{key_id} {cards}" for key_id, cards in state.by_others.items()) or "none"
    refused = f"; {state.refused} did not open" if state.refused else ""
    lines = [
        f"{state.newest} {state.by_newest} cards; other keys: {others}; wrapped anew: {state.rewrapped}{refused}",
        *(
            f"{process.name}: wraps with {process.key_id}, seen {process.seen_s_ago:.0f} s ago"
            for process in state.processes
        ),
        f"older keys that could still wrap: {', '.join(state.in_use) or 'none'};"
        f" retired: {', '.join(state.retired) or 'none'}",
    ]
    return "\n".join(lines)


def _json_of(state: Rotated) -> dict[str, Any]:
    return {**asdict(state), "complete": state.complete}
