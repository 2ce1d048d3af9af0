"""`payonce payments export`: what a merchant was paid in a span of time, as CSV."""

import csv
import re
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, TextIO

import typer

from payonce.cli.base import CommandRefused, moment, with_database
from payonce.domain.answers import timestamp
from payonce.domain.payment import Payment
from payonce.settings import Settings
from payonce.storage import exports
from payonce.storage.driver.database import Database
from payonce.storage.exports import Export
from payonce.storage.merchants import check_merchant
from payonce.storage.spans import Span

SPAN_MAX: Final = timedelta(days=366)
SHOWN_EVERY_S: Final = 1.0
COLUMNS: Final = (
    *("id", "created_at", "updated_at", "status", "currency", "amount", "amount_captured", "amount_refunded"),
    *("amount_minor", "amount_captured_minor", "amount_refunded_minor", "payment_method", "brand", "last4"),
    *("rrn", "merchant_reference", "description", "connector", "connector_account", "connector_reference"),
)
# What a spreadsheet takes for a formula, its wide forms too, at the begin of a cell or where it may part one, which
# quotes do not prevent: not every import knows them. Source: OWASP, "CSV Injection".
_SIGNS: Final = "=+\\-@\uff1d\uff0b\uff0d\uff20"
_PARTS: Final = ",;|:^~\t\r\n\v\f\x1c-\x1f\x85\u2028\u2029"
_BEFORE: Final = r'[\s"\u200b-\u200f\u2060\ufeff]*'  # what may be left out before a sign
_FORMULA: Final = re.compile(rf"(?:\A|[{_PARTS}])(?={_BEFORE}[{_SIGNS}])|\A(?=[\t\r\n])| (?=[{_SIGNS}]\S)")

app = typer.Typer(no_args_is_help=True, help="Payments: exports.")


@app.callback()
def _group() -> None:
    """Payments: exports."""


@app.command("export")
def export_payments(
    merchant: Annotated[str, typer.Option(help="The merchant's id.")],
    since: Annotated[str, typer.Option(help="The first payment's time, RFC 3339.")],
    until: Annotated[str | None, typer.Option(help="Payments before this time; now, if left out.")] = None,
    mode: Annotated[Literal["test", "live"], typer.Option(help="Which payments.")] = "live",
    output: Annotated[Path | None, typer.Option(help="A new file; else they are printed.")] = None,
) -> None:
    """Write what a merchant was paid in a span of at most 366 days, as CSV in UTF-8, in the order of writing.

    What is being written when it begins is waited for, 10 s at most. Exit status 1 where that was too short: payments
    may be missing then.

    Amounts are in the currency's own units, and in minor units. What a spreadsheet would take for a formula, in whole
    or after a separator, has an apostrophe before it.
    """
    first, end = moment(since, "--since"), datetime.now(UTC) if until is None else moment(until, "--until")
    if not timedelta() < end - first <= SPAN_MAX:
        raise CommandRefused(f"--since must be before --until, by at most {SPAN_MAX.days} days")
    export = Export(merchant, mode, Span(first, end))

    async def run(database: Database, _settings: Settings) -> tuple[int, bool]:
        async with database.browsing() as connection:
            await check_merchant(connection, merchant)
        below = await exports.end(database)
        with _written_to(output) as file:
            return await _write(exports.pages(database, export, below=below), file), below.complete

    written, complete = with_database(run)
    print(f"{written} payments", file=sys.stderr)
    if not complete:
        raise CommandRefused(
            "Not complete: a transaction that ran before this began still runs, and the payments since it began are"
            " left out. Export the span again once it has ended."
        )


async def _write(pages: AsyncIterator[list[Payment]], file: TextIO) -> int:
    """How many payments are in the file, one page after another; on the way it says how far it has come."""
    writer = csv.writer(file, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    written, shown_at_s = 0, time.monotonic()
    async for page in pages:
        writer.writerows(row_of(payment) for payment in page)
        written += len(page)
        if time.monotonic() - shown_at_s >= SHOWN_EVERY_S:
            shown_at_s = time.monotonic()
            print(f"{written} payments, up to {timestamp(page[-1].created_at)}", file=sys.stderr)
    return written


def row_of(payment: Payment) -> list[str]:
    """A payment as a line of the file; no cell of it is a formula."""
    method = payment.payment_method
    of_kind = method.get(method["type"]) or {}
    amounts = (payment.amount_minor, payment.amount_captured_minor, payment.amount_refunded_minor)
    return [
        payment.id,
        timestamp(payment.created_at),
        timestamp(payment.updated_at),
        payment.status.value,
        payment.currency,
        *(_decimal(amount, payment.currency) for amount in amounts),
        *map(str, amounts),
        method["type"],
        *(
            harmless(text or "")
            for text in (
                of_kind.get("brand") or of_kind.get("provider"),
                of_kind.get("last4"),
                of_kind.get("rrn"),
                payment.merchant_reference,
                payment.description,
                payment.connector,
                payment.connector_account,
                payment.connector_reference,
            )
        ),
    ]


def harmless(text: str) -> str:
    """The text as a cell that no spreadsheet calculates, at whatever separator it parts it."""
    return _FORMULA.sub(r"\g<0>'", text.replace("\0", ""))


def _decimal(amount_minor: int, currency: str) -> str:
    from iso4217 import Currency  # it reads a table of 0.1 s, which no other command needs

    digits = Currency(currency).exponent or 0
    whole, part = divmod(amount_minor, 10**digits)
    return f"{whole}.{part:0{digits}d}" if digits else str(whole)


@contextmanager
def _written_to(path: Path | None) -> Iterator[TextIO]:
    """The output, or a file that is there under its name once it is whole. Raises `CommandRefused`."""
    if path is None:
        yield sys.stdout
        return
    if path.exists():
        raise CommandRefused(f"{path} is there already")
    part = path.with_name(f"{path.name}.part")
    try:
        file = part.open("x", encoding="utf-8", newline="")
    except FileExistsError:
        raise CommandRefused(
            f"{part} is there: another export writes it, or was killed; then delete it"
        ) from None
    except OSError as error:
        raise CommandRefused(f"{part} cannot be written: {error.strerror}") from error
    try:
        with file:
            part.chmod(0o600)
            yield file
        part.rename(path)
    except OSError as error:
        raise CommandRefused(f"{part} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
