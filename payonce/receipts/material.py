"""What a receipt is made of, read from Postgres: events that never change, and what its merchant looks like now."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import RowMapping, select

from payonce.domain.errors import PaymentError
from payonce.domain.operations import AttemptState
from payonce.receipts.view import Letterhead, PastEvent, Receipt, receipt_of
from payonce.storage.driver.connection import Connection
from payonce.storage.events import BODY
from payonce.storage.packing import body_of
from payonce.storage.receipts import ReceiptPlace, ReceiptRow
from payonce.storage.tables import attempts, events, merchant_profiles, merchants

EVENTS_MAX: Final = 20_000  # of one payment
PAGE: Final = 1_000
_OF_REFUND: Final = ("object", "id", "status", "amount", "currency", "reason", "upi")  # what is shown of one


class TooLong(PaymentError):
    """More has happened to the payment than a receipt shows."""

    code = "receipt_too_long"


@dataclass(frozen=True, slots=True)
class Material:
    """The events up to the receipt's own, its merchant, and what the acquirer said of the approval."""

    told: tuple[PastEvent, ...]
    shop: Letterhead
    authorization_code: str | None

    def receipt(self, wanted: ReceiptRow) -> Receipt:
        """What is to be drawn. Raises `NothingToShow`."""
        return receipt_of(
            self.told,
            self.shop,
            mode=wanted.mode,
            authorization_code=self.authorization_code,
            refund_id=wanted.place.refund_id or None,
            erased=wanted.place.erased,
        )


async def read_material(connection: Connection, wanted: ReceiptRow) -> Material:
    """All that the receipt is made of. Raises `TooLong`."""
    return Material(
        await _told_until(connection, wanted.place),
        await _shop(connection, wanted.merchant_id),
        await _authorization_code(connection, wanted.place.payment_id),
    )


async def _told_until(connection: Connection, place: ReceiptPlace) -> tuple[PastEvent, ...]:
    """The events up to the receipt's own, without those that change nothing on it."""
    told: tuple[PastEvent, ...] = ()
    for after in range(0, EVENTS_MAX, PAGE):
        query = (
            select(*BODY, events.c.sequence, events.c.type)
            .where(events.c.payment_id == place.payment_id)
            .where(events.c.sequence > after, events.c.sequence <= min(after + PAGE, place.sequence))
            .order_by(events.c.sequence)
        )
        rows = (await connection.execute(query)).mappings().all()
        told = thinned((*told, *map(_told, rows)))
        if after + PAGE >= place.sequence:
            return told
    raise TooLong(f"The payment has more than {EVENTS_MAX} events.")


def thinned(told: Sequence[PastEvent]) -> tuple[PastEvent, ...]:
    """The events of which the same receipt is made: refunds', captures', the payment's last, and the last."""
    kept, captured, last = [], None, None
    for each in told:
        kind = each.data.get("object")
        if kind == "payment":
            last = each
        if kind == "refund" or (kind == "payment" and each.data["amount_captured"] != captured):
            kept.append(each)
        if kind == "payment":
            captured = each.data["amount_captured"]
    ends = (each for each in (last, *told[-1:]) if each is not None)
    return tuple(sorted({each.sequence: each for each in (*kept, *ends)}.values(), key=_sequence))


def _sequence(event: PastEvent) -> int:
    return event.sequence


async def _shop(connection: Connection, merchant_id: str) -> Letterhead:
    query = (
        select(merchants.c.name, merchant_profiles.c.address, merchant_profiles.c.logo)
        .join_from(
            merchants, merchant_profiles, merchants.c.id == merchant_profiles.c.merchant_id, isouter=True
        )
        .where(merchants.c.id == merchant_id)
    )
    row = (await connection.execute(query)).one()
    return Letterhead(row.name, row.address or "", None if row.logo is None else bytes(row.logo))


async def _authorization_code(connection: Connection, payment_id: str) -> str | None:
    """Of the attempt that was approved, as its approval said; the authorization has the payment's id."""
    query = select(attempts.c.evidence).where(
        attempts.c.operation_id == payment_id, attempts.c.state == AttemptState.APPROVED
    )
    evidence: Mapping[str, Any] | None = (await connection.execute(query.limit(1))).scalar_one_or_none()
    return (evidence or {}).get("authorization_code")


def _told(row: RowMapping) -> PastEvent:
    body = json.loads(body_of(row))
    data = body["data"]
    if data.get("object") == "refund":
        data = {name: data[name] for name in _OF_REFUND if name in data}
    return PastEvent(row["sequence"], row["type"], _moment(body, row["created_at"]), data)


def _moment(body: Mapping[str, Any], otherwise: datetime) -> datetime:
    """The event's own time, as its merchant got it."""
    return datetime.fromisoformat(body["timestamp"]) if "timestamp" in body else otherwise
