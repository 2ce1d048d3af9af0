"""The table of issuers: in which country a card was issued, by the first digits of its number."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from payonce.cli.base import Json, Why, deciding, in_transaction, show
from payonce.cli.bins_file import read_ranges
from payonce.domain.audit import Act, AuditAction
from payonce.domain.issuers import KNOWN_FOR, packed
from payonce.storage import issuers as store
from payonce.storage.issuers import Imported

app = typer.Typer(no_args_is_help=True, help="In which country cards were issued, by their first digits.")


@app.command("import")
def import_table(
    file: Annotated[
        Path, typer.Argument(help="CSV with the header first,last,country; see the operations page.")
    ],
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Replace the table of issuers by this file's, whole or not at all. Known everywhere within a minute.

    Safe to repeat, which makes the table young again: import only what the source has just given you.
    """
    ranges = packed(read_ranges(file))
    imported = deciding(partial(store.replace_with, packed=ranges), _act, why=why)
    show(_view(imported), as_json, f"{imported.ranges} ranges are in force, for {KNOWN_FOR.days} days.")


@app.command("status")
def status(as_json: Json = False) -> None:
    """How old the table of issuers is, and whether it is still believed."""
    imported = in_transaction(store.in_force)
    if imported is None:
        view = {"ranges": 0, "imported_at": None, "age_days": None, "known": False}
        return show(view, as_json, "No table was ever imported: in live mode no issuer's country is known.")
    view = _view(imported)
    at, days = f"{imported.imported_at:%Y-%m-%d %H:%M} UTC", view["age_days"]
    line = f"{imported.ranges} ranges, imported {at}, {days} days ago"
    over = f": too old, no issuer's country is known after {KNOWN_FOR.days} days"
    show(view, as_json, line + ("" if view["known"] else over))


def _act(imported: Imported) -> Act:
    details = {"generation": imported.generation, "ranges": imported.ranges}
    return Act(action=AuditAction.ISSUERS_IMPORTED, subject="issuer_table", details=details)


def _view(imported: Imported) -> dict[str, Any]:
    age = datetime.now(UTC) - imported.imported_at
    return {
        "ranges": imported.ranges,
        "imported_at": imported.imported_at.isoformat(),
        "age_days": max(age.days, 0),
        "known": age < KNOWN_FOR,
    }
