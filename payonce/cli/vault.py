"""The vault's keys: how many cards each holds, and all cards wrapped by the newest."""

from dataclasses import asdict

import typer

from payonce.cli.base import CommandRefused, Json, show, with_database
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
    """How many saved cards each key-encryption key holds."""
    state = with_database(_progress)
    show(asdict(state), as_json, _line_of(state))


@app.command("rotate")
def rotate(as_json: Json = False) -> None:
    """Wrap the key of every saved card with the newest key-encryption key. Online; safe to end and to repeat.

    Exit status 1 while another key still holds a card.
    """
    state = with_database(_rotate)
    show(asdict(state), as_json, _line_of(state))
    if state.by_others:
        raise CommandRefused(
            "Not complete: the cards that are left did not open, or were saved meanwhile by a process that does not"
            " know the newest key."
        )
    if not as_json:
        print(
            "No card needs an older key. One may go when every running process was started with the newest."
        )


async def _progress(database: Database, settings: Settings) -> Rotated:
    vault = await _vault(database, settings)
    try:
        return await rotation.progress(database, await vault.keys.newest())
    finally:
        await vault.keys.close()


async def _rotate(database: Database, settings: Settings) -> Rotated:
    vault = await _vault(database, settings)
    try:
        return await rotation.rotate(database, vault.keys, tell=_tell)
    finally:
        await vault.keys.close()


async def _vault(database: Database, settings: Settings) -> Vault:
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
    return f"{state.newest} {state.by_newest} cards; other keys: {others}; wrapped anew: {state.rewrapped}{refused}"
