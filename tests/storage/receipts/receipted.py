"""Payments with the events that receipts are made of, and stores that do not do what they should."""

import hashlib
from dataclasses import replace
from typing import Any

from sqlalchemy import insert, text, update

from payonce.domain.answers import event_body, payment_view
from payonce.domain.payment import Payment, PaymentStatus
from payonce.receipts.press import Press
from payonce.receipts.store import ReceiptStore, StoreUnavailable
from payonce.receipts.view import Receipt
from payonce.storage import receipts
from payonce.storage.receipts import Form, ReceiptRow
from payonce.storage.tables import events, payments
from tests.storage.ledger import IDS, Ledger
from workers.renderer import Renderer


async def paid(ledger: Ledger, **changes: Any) -> Payment:
    """A captured payment with its two events."""
    added = await ledger.add_payment(PaymentStatus.CAPTURED, **{"customer": {"name": "Asha Rao"}, **changes})
    for sequence, captured in ((1, 0), (2, added.amount_captured_minor)):
        await happened(ledger, replace(added, sequence=sequence, amount_captured_minor=captured))
    return await ledger.payment(added.id)


async def happened(ledger: Ledger, payment: Payment) -> None:
    """The payment is as it is here, by an event of its own."""
    type_ = f"payment.{payment.status}"
    changed = {"sequence": payment.sequence, "amount_captured_minor": payment.amount_captured_minor}
    async with ledger.database.transaction() as connection:
        xid = int((await connection.execute(text("SELECT pg_current_xact_id()::text"))).scalar_one())
        event_id = IDS.event(payment_id=payment.id, sequence=payment.sequence, xid=xid)
        body = event_body(
            event_id=event_id,
            type_=type_,
            at=payment.updated_at,
            sequence=payment.sequence,
            data=payment_view(payment),
        )
        row = {
            "id": event_id,
            "merchant_id": payment.merchant_id,
            "mode": payment.mode,
            "payment_id": payment.id,
            "sequence": payment.sequence,
            "type": type_,
            "body": body,
            "created_at": payment.updated_at,
        }
        await connection.execute(insert(events).values(row))
        await connection.execute(update(payments).where(payments.c.id == payment.id).values(changed))


async def asked(ledger: Ledger, payment: Payment, form: Form = "html") -> ReceiptRow:
    """The payment's receipt, which was asked for."""
    async with ledger.database.transaction() as connection:
        place = await receipts.place_of(connection, payment, None, form)
        whose = {"merchant_id": payment.merchant_id, "mode": payment.mode}
        assert await receipts.ask(connection, place, **whose)
    return await found(ledger, payment, form)


async def found(ledger: Ledger, payment: Payment, form: Form = "html") -> ReceiptRow:
    """What is known of it."""
    async with ledger.database.transaction() as connection:
        place = await receipts.place_of(connection, payment, None, form)
        row = await receipts.find(connection, place)
    assert row is not None
    return row


async def due_now(ledger: Ledger) -> None:
    """Nothing is put off, and every lease is over."""
    async with ledger.database.transaction() as connection:
        await connection.execute(text("UPDATE receipts SET due_at = now(), leased_until = now()"))


async def last_error(ledger: Ledger, payment: Payment) -> str:
    async with ledger.database.transaction() as connection:
        query = text("SELECT last_error FROM receipts WHERE payment_id = :id")
        return str((await connection.execute(query, {"id": payment.id})).scalar_one())


class Pen(Press):
    """Draws at once, in this process: every text of the view, line by line."""

    async def draw(self, receipt: Receipt, form: Form, *, logo: bytes | None) -> bytes:
        return "\n".join([form, *receipt.texts()]).encode()


def renderer(ledger: Ledger, store: ReceiptStore, presses: int = 1) -> Renderer:
    return Renderer(ledger.database, store, [Pen() for _ in range(presses)])


async def ready() -> None:
    """Everything that draws is there."""


def digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


class Ill(ReceiptStore):
    """A store with something wrong, while `wrong` says what.

    `down`: nothing is answered. `full`: nothing is taken. `forgets`: what was put is not there. `deaf`: a put is
    made, and its answer is lost. `overwrites`: a second put is taken.
    """

    wrong = ""

    async def put_once(self, key: str, content: bytes, **more: Any) -> bool:
        if self.wrong in ("down", "full"):
            raise StoreUnavailable("the object store: 507 Insufficient Storage")
        if self.wrong == "forgets":
            return True
        if self.wrong == "overwrites":
            await self.delete(key)
        done = await super().put_once(key, content, **more)
        if self.wrong == "deaf":
            raise StoreUnavailable("the object store: timed out")
        return done

    async def get(self, key: str, **more: Any) -> bytes | None:
        if self.wrong == "down":
            raise StoreUnavailable("the object store: connection refused")
        return await super().get(key, **more)
