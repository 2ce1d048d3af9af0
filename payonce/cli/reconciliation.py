"""`payonce reconcile`: acquirers' lists against our books, now; what was found; and what a person says of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from payonce import logging
from payonce.cli.base import CommandRefused, Json, Why, deciding, in_transaction, operator_name, show
from payonce.domain.answers import timestamp
from payonce.domain.audit import Act, AuditAction
from payonce.domain.reconciling import ComparisonResult, ListFinding
from payonce.reconciling.reading import Reconciler, Report, reconcile_all
from payonce.runtime import open_runtime
from payonce.settings import settings_from_environment
from payonce.storage import reconciliation as store
from payonce.storage import reconciliation_runs
from payonce.storage.driver.connection import Connection
from payonce.storage.reconciliation_runs import Run

app = typer.Typer(no_args_is_help=True, help="Reconciliation: acquirers' lists of charges against our books.")
Account = Annotated[str | None, typer.Option(help="Only this connector account.")]


@app.command("run")
def run(account: Account = None, as_json: Json = False) -> None:
    """Compare now, from where the last run ended. Safe to repeat, and to break off: the next run goes on.

    Exit status 1 where an account could not be compared to the end.
    """
    reports = asyncio.run(_run(account))
    values = {"accounts": [_report(one) for one in reports]}
    show(values, as_json, "\n".join(map(_line, reports)) or "No account has a list of charges.")
    if any(isinstance(one, str) for one in reports):
        raise typer.Exit(1)


@app.command("show")
def show_found(
    account: Account = None,
    result: Annotated[ComparisonResult | None, typer.Option(help="Only what was found to be so.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what is settled, or agrees.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: Json = False,
) -> None:
    """Show what was found, newest first, and how each account's last run ended."""

    async def read(connection: Connection) -> tuple[list[ListFinding], list[Run]]:
        found = await store.found(
            connection,
            result=result,
            account=account,
            unsettled=not everything and result is None,
            limit=limit,
        )
        return found, await reconciliation_runs.runs(connection, limit=limit)

    found, runs = in_transaction(read)
    latest = {one.account: one for one in reversed(runs)}
    values = {"found": [asdict(one) for one in found], "runs": [asdict(one) for one in latest.values()]}
    show(values, as_json, "\n".join([*map(_run_line, latest.values()), *_found_lines(found)]))


@app.command("settle")
def settle(
    finding: Annotated[str, typer.Argument(help="Its id, rec_…")], why: Why = None, as_json: Json = False
) -> None:
    """Say that somebody has seen to a finding: nobody is called for it any more. Moves no money."""
    actor = operator_name()

    async def work(connection: Connection) -> str:
        if not await store.settle(connection, finding, by=actor, now=datetime.now(UTC)):
            raise CommandRefused(f"{finding} is not there, or is settled.")
        return finding

    deciding(work, lambda id_: Act(action=AuditAction.FINDING_SETTLED, subject=id_), why=why)
    show({"id": finding, "settled_by": actor}, as_json, f"{finding} is settled by {actor}.")


@app.command("allow")
def allow(
    account: Annotated[str, typer.Argument(help="The connector account.")],
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Compare an account again that was stopped since its acquirer has newer payments of ours than Postgres, or go on
    from a run that left out what nobody could read.

    Do so once it is known why: after a restore, when the orphans have been looked at; or when it is known what the
    charges stand for that the log names. In a clone of the database that has live credentials take those away
    instead.
    """

    async def work(connection: Connection) -> str:
        if not await reconciliation_runs.allow(connection, account, now=datetime.now(UTC)):
            raise CommandRefused(f"{account} is not stopped, and its last run left nothing out.")
        return account

    deciding(work, lambda id_: Act(action=AuditAction.RECONCILIATION_ALLOWED, subject=id_), why=why)
    show({"account": account}, as_json, f"{account} is compared again.")


async def _run(account: str | None) -> Sequence[Report | str]:
    settings = settings_from_environment()
    logging.configure(level="error", process="payonce")
    async with open_runtime(settings, with_vault=False) as runtime:
        await runtime.accounts.begin()
        reconciler = Reconciler(runtime)
        return await reconcile_all(reconciler, only=account)


def _report(report: Report | str) -> dict[str, Any]:
    return {"failed": report} if isinstance(report, str) else asdict(report)


def _line(report: Report | str) -> str:
    if isinstance(report, str):
        return report
    new = ", ".join(f"{count} {result}" for result, count in sorted(report.found.items())) or "nothing new"
    span = f"{timestamp(report.since)} to {timestamp(report.until)}"
    return f"{report.account}: {report.charges} charges, {report.pages} pages, {span}: {new}"


def _run_line(run: Run) -> str:
    if run.ended_at is None:
        if run.stopped is not None:
            return f"{run.account}: STOPPED ({run.stopped}), and still looks for orphans"
        return f"{run.account}: under way since {timestamp(run.started_at)}, {run.charges} charges so far"
    if run.stopped is not None and run.allowed_at is None:
        return f"{run.account}: STOPPED ({run.stopped}) at {timestamp(run.ended_at)}"
    left_out = f", and {run.left_out} that could not be read" if run.left_out else ""
    return f"{run.account}: compared up to {timestamp(run.until)}, {run.charges} charges{left_out}"


def _found_lines(found: Sequence[ListFinding]) -> list[str]:
    lines = []
    for one in found:
        amounts = f"here {one.amount_here_minor}, there {one.amount_there_minor} {one.currency or ''}"
        about = one.payment_id or one.acquirer_reference
        settled = f"settled by {one.settled_by}" if one.settled_by else "open"
        lines.append(f"{one.id} {one.result.value} {one.account} {about}: {amounts}; {settled}")
    return lines or ["Nothing is open."]
