"""`payonce receipts erase`: no receipt of a payment says any more who its customer is."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from sqlalchemy import select

from payonce.cli.base import CommandRefused, Json, Why, operator, show, with_database
from payonce.domain.audit import Act, AuditAction
from payonce.domain.errors import NotFound
from payonce.domain.ids import ID_PATTERN
from payonce.receipts.store import ReceiptStore, StoreUnavailable, open_store
from payonce.settings import Settings
from payonce.storage import audit, receipts
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import Database
from payonce.storage.receipts import LEASED_FOR, folder_of
from payonce.storage.tables import payments

REMAINS: Final = (
    "What remains: the payment and its events, with what the merchant said of its customer; receipts that are asked"
    " for from now on, without the customer's name, UPI address, description and reasons; copies that were fetched."
)

app = typer.Typer(no_args_is_help=True, help="Receipts: erasure.")


@app.callback()
def _group() -> None:
    """Receipts: erasure."""


@app.command("erase")
def erase(
    payment: Annotated[str, typer.Argument(help="The payment's id.")],
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Delete the receipts of a payment; those that are made later say nothing of its customer. Safe to repeat.

    It waits, 45 s at most, for receipts that are being made. What the store refuses to delete, as under an object
    lock, is named with exit status 1: it is given out no more, and the lock decides how long it lies there.
    """
    if not ID_PATTERN.match(payment):
        raise CommandRefused(f"{payment!r} is not the id of a payment")

    async def run(database: Database, settings: Settings) -> dict[str, Any]:
        store = open_store(settings)
        async with database.transaction() as connection:
            merchant_id, until = await _forget(connection, payment, why=why)
        await _until(until)
        deleted, refused = await _delete(store, folder_of(merchant_id, payment))
        return {"payment": payment, "deleted": deleted, "refused": refused}

    done = with_database(run)
    line = f"{len(done['deleted'])} receipts of {payment} are deleted.\n{REMAINS}"
    show({**done, "remains": REMAINS}, as_json, line)
    if done["refused"]:
        raise CommandRefused(
            f"the store did not delete {', '.join(done['refused'])}; they are given out no more"
        )


async def _forget(connection: Connection, payment_id: str, *, why: str | None) -> tuple[str, datetime | None]:
    """Whose payment it is, and until when one may still be put that was being made."""
    query = select(payments.c.merchant_id, payments.c.mode).where(payments.c.id == payment_id)
    found = (await connection.execute(query)).one_or_none()
    if found is None:
        raise NotFound(f"There is no payment {payment_id}.")
    by, whose = operator(), {"merchant_id": found.merchant_id, "mode": found.mode}
    until = await receipts.erase(connection, payment_id=payment_id, **whose, actor=by.id)
    act = Act(action=AuditAction.RECEIPTS_ERASED, subject=payment_id, **whose)
    await audit.decided(connection, by, act, why=why)
    return found.merchant_id, until


async def _until(moment: datetime | None) -> None:
    if moment is not None:
        left_s = (moment - datetime.now(UTC)).total_seconds()
        await asyncio.sleep(min(max(left_s, 0.0), LEASED_FOR.total_seconds()))


async def _delete(store: ReceiptStore, folder: str) -> tuple[list[str], list[str]]:
    """Which keys hold nothing any more, and which could not be deleted."""
    deleted, refused = [], []
    for key in await store.list(folder):
        if key.rpartition(".")[0].endswith("-erased"):
            continue
        try:
            await store.delete(key)
            deleted.append(key)
        except StoreUnavailable:
            refused.append(key)
    return deleted, refused
