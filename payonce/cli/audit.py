"""`payonce audit`: who decided what, and whether the log is still what was sealed."""

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer

from payonce.auditing.sealing import HOUR
from payonce.auditing.verifying import KEPT, Verified
from payonce.auditing.verifying import verify as verified
from payonce.cli.base import CommandRefused, Json, Why, deciding, in_transaction, moment, show, with_database
from payonce.domain.audit import Act, AuditAction
from payonce.domain.ids import ID_PATTERN
from payonce.receipts.store import open_store
from payonce.runtime import ids_of
from payonce.settings import Settings
from payonce.storage import audit_seals
from payonce.storage.audit_seals import Kept
from payonce.storage.belonging import check_ids
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import Database

LISTED_DAYS: Final = 30
VERIFIED_DAYS: Final = 30

Since = Annotated[str | None, typer.Option(help="From this time on, such as 2027-01-31T12:00:00Z.")]
Until = Annotated[str | None, typer.Option(help="Before this time; now, if left out.")]

app = typer.Typer(no_args_is_help=True, help="The audit log: who decided what, and which cards were taken.")


@app.command("list")
def list_entries(  # noqa: PLR0917 - typer takes them by name
    merchant: Annotated[str | None, typer.Option(help="Only what concerns this merchant.")] = None,
    actor: Annotated[str | None, typer.Option(help="Only by this person, API key or process.")] = None,
    action: Annotated[AuditAction | None, typer.Option(help="Only this.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only about this.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=1_000)] = 50,
    as_json: Json = False,
) -> None:
    """List decisions and accesses, newest first; those of the last 30 days, if no time is said."""
    asked = {"merchant_id": merchant, "actor": actor, "action": action, "subject": subject}
    filters = {name: value for name, value in asked.items() if value is not None}
    first, end = _span(since, until, days=LISTED_DAYS)

    async def read(connection: Connection) -> list[Kept]:
        return await audit_seals.newest(connection, filters, since=first, until=end, limit=limit)

    for kept in in_transaction(read):
        show(_view(kept), as_json, _line_of(kept))


@app.command("verify")
def verify(since: Since = None, until: Until = None, as_json: Json = False) -> None:
    """Compare each closed hour with its seal in the receipt store; where one differs, say how, with exit status 1.

    The hours of the last 30 days, if no time is said.
    """
    first, end = _span(since, until, days=VERIFIED_DAYS)

    async def compare(database: Database, settings: Settings) -> Verified:
        await check_ids(database, ids=ids_of(settings))
        store = None if settings.receipts_url is None else open_store(settings)
        return await verified(database, store, since=first, until=end)

    found = with_database(compare)
    show({**asdict(found), "agrees": not found.differs}, as_json, _report(found))
    if found.differs:
        sys.exit(1)


@app.command("erase")
def erase(entry_id: Annotated[str, typer.Argument(metavar="ENTRY", help="aud_…")], why: Why = None) -> None:
    """Erase an entry's personal members: the address and the reason. It stays what was sealed."""
    if not ID_PATTERN.match(entry_id):
        raise CommandRefused(f"{entry_id!r} is not the id of an entry")

    async def work(connection: Connection) -> str:
        if not await audit_seals.erase_personal(connection, entry_id):
            raise CommandRefused(f"{entry_id} has no personal members, or there is no such entry")
        return entry_id

    deciding(work, lambda id_: Act(action=AuditAction.PERSONAL_ERASED, subject=id_), why=why)
    print(f"The personal members of {entry_id} are erased.")


def _span(since: str | None, until: str | None, *, days: int) -> tuple[datetime, datetime]:
    """Raises `CommandRefused`."""
    now = datetime.now(UTC)
    end = now + HOUR if until is None else moment(until, "--until")
    first = now - timedelta(days=days) if since is None else moment(since, "--since")
    if not now - KEPT - timedelta(days=1) <= first < end:
        raise CommandRefused(f"--since must be before --until, and at most {KEPT.days} days ago")
    return first, end


def _view(kept: Kept) -> dict[str, Any]:
    values = asdict(kept.entry)
    del values["personal_hash"]
    members = kept.members or {}
    erased = kept.members is None and kept.entry.personal_hash is not None
    return {
        **values,
        "at": kept.entry.at.astimezone(UTC).isoformat(),
        "origin": members.get("origin"),
        "why": members.get("why"),
        "erased": erased,
    }


def _line_of(kept: Kept) -> str:
    view, entry = _view(kept), kept.entry
    whose = f" of {entry.merchant_id} ({entry.mode or 'both modes'})" if entry.merchant_id else ""
    where = f" at {view['origin']}" if view["origin"] else ""
    why = f": {view['why']}" if view["why"] else ""
    details = f"\n    {json.dumps(entry.details, sort_keys=True)}" if entry.details else ""
    erased = "\n    what was personal is erased" if view["erased"] else ""
    head = (
        f"{entry.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z  {entry.id}  {entry.action}  {entry.subject}{whose}"
    )
    return f"{head}\n    by {entry.actor} ({entry.actor_kind}){where}{why}{details}{erased}"


def _report(found: Verified) -> str:
    lines = [f"{hour}: {each}" for hour, said in found.differs.items() for each in said]
    if found.without_store:
        lines.append("PAYONCE_RECEIPTS_URL is not set: compared with the database's own seals only.")
    agree = "differ" if found.differs else "agree"
    counted = f"{found.seals} seals with {found.entries} entries {agree}"
    return "\n".join([*lines, f"{counted}; {found.not_sealed} entries are not sealed yet."])
