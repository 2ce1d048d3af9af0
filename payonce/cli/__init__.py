"""`payonce`: what operators and developers run by hand; one file for each group of commands."""

from typing import Never

import typer

from payonce.cli import (
    accounts,
    audit,
    bins,
    listen,
    operators,
    payments,
    receipts,
    reconciliation,
    reviews,
    risk,
    trigger,
    vault,
    webhooks,
)
from payonce.cli.base import use_dev_stack
from payonce.programs import run_program

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # it shows local variables, and among them are secrets
    help="The payonce payment gateway.",
)
app.add_typer(operators.merchants, name="merchants")
app.add_typer(operators.keys, name="keys")
app.add_typer(operators.db, name="db")
app.add_typer(accounts.app, name="accounts")
app.add_typer(audit.app, name="audit")
app.add_typer(bins.app, name="bins")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(reviews.app, name="review")
app.add_typer(risk.app, name="risk")
app.add_typer(vault.app, name="vault")
app.add_typer(payments.app, name="payments")
app.add_typer(receipts.app, name="receipts")
app.add_typer(reconciliation.app, name="reconcile")
app.command("listen")(listen.listen)
app.command("trigger")(trigger.trigger)


def main() -> Never:
    """Runs one command; an error we know is one line and exit status 1."""
    use_dev_stack()
    run_program("payonce", app)
