"""`payonce`: what operators and developers run by hand; one file for each group of commands."""

import typer

from payonce.cli import accounts, bins, listen, operators, reviews, trigger, vault, webhooks
from payonce.cli.base import use_dev_stack
from payonce.runtime import saying_why

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
app.add_typer(bins.app, name="bins")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(reviews.app, name="review")
app.add_typer(vault.app, name="vault")
app.command("listen")(listen.listen)
app.command("trigger")(trigger.trigger)


def main() -> None:
    """Runs one command; an error we know is one line and exit status 1."""
    use_dev_stack()
    with saying_why("payonce"):
        app()
