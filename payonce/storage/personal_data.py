"""Personal data that a run of another process may have to send: sealed in the payment's row, and erased in time.

No `Payment` carries it, so that nothing that is made of one can show it: it is read for a claim alone.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import RowMapping, bindparam, func, null, select, tuple_, update

from payonce.domain.personal import NOTHING_PERSONAL, PersonalData
from payonce.sealing import CannotUnseal, Sealed, Sealer
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.statements import Row, Statement, single
from payonce.storage.tables import payments

KEPT: Final = timedelta(days=30)  # from the request on, by api.md
SEALED_AT_ONCE: Final = 500

_SEALED = (payments.c.personal_key_id, payments.c.personal_sealed)
_OF_PAYMENT = Statement(select(*_SEALED).where(payments.c.id == bindparam("id")))
_PLACE = (payments.c.created_at, payments.c.id)  # in the index of those that have any


@dataclass(frozen=True, slots=True)
class Walked:
    """How far a walk over all that is sealed has come."""

    created_at: datetime
    payment_id: str


def seal(sealer: Sealer, data: PersonalData, *, payment_id: str) -> Sealed:
    """As it may be stored: in another payment's row it does not open."""
    return sealer.seal(data.written(), about=_about(payment_id))


def unseal(sealer: Sealer, sealed: Sealed, *, payment_id: str) -> PersonalData:
    """What was sealed for this payment. Raises `CannotUnseal`."""
    return PersonalData.read(sealer.unseal(sealed, about=_about(payment_id)))


def columns_of(sealed: Sealed | None) -> Row:
    """Besides the payment's own, in the statement that inserts it."""
    return {} if sealed is None else {"personal_key_id": sealed.key_id, "personal_sealed": sealed.data}


async def find(connection: Connection, sealer: Sealer | None, *, payment_id: str) -> PersonalData:
    """What is stored of the payment's, if anything is, or still is. Raises `CannotUnseal`."""
    row = await connection.fetch(single(_OF_PAYMENT, {"id": payment_id}, dict))
    if row is None or row["personal_sealed"] is None:
        return NOTHING_PERSONAL
    if sealer is None:
        raise CannotUnseal("There are no sealing keys.")
    return unseal(sealer, _sealed_from(row), payment_id=payment_id)


async def erase(connection: Connection, *, limit: int) -> int:
    """How many payments had personal data for longer than `KEPT`; they have none any more. At most `limit`."""
    over = (
        select(payments.c.id)
        .where(payments.c.personal_sealed.is_not(None), payments.c.created_at < func.now() - KEPT)
        .order_by(*_PLACE)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    erased = (
        update(payments)
        .where(payments.c.id.in_(over.scalar_subquery()))
        .values(personal_key_id=null(), personal_sealed=null())
    )
    return (await connection.execute(erased)).rowcount


async def seal_again(
    connection: Connection, sealer: Sealer, *, after: Walked | None, limit: int = SEALED_AT_ONCE
) -> Walked | None:
    """The next `limit` after this place are sealed with the sealer's first key; None: there were fewer.

    Walked over from the beginning, no personal data needs another key. Raises `CannotUnseal`.
    """
    query = select(*_PLACE, *_SEALED).where(payments.c.personal_sealed.is_not(None))
    if after is not None:
        query = query.where(tuple_(*_PLACE) > (after.created_at, after.payment_id))
    found = (
        (await connection.execute(query.order_by(*_PLACE).limit(limit).with_for_update())).mappings().all()
    )
    for row in found:
        sealed = _sealed_from(row)
        if sealed.key_id != sealer.key_id:
            data = unseal(sealer, sealed, payment_id=row["id"])
            again = columns_of(seal(sealer, data, payment_id=row["id"]))
            await connection.update(payments, again, where={"id": row["id"]})
    return Walked(found[-1]["created_at"], found[-1]["id"]) if len(found) == limit else None


def _sealed_from(row: RowMapping | Row) -> Sealed:
    return Sealed(row["personal_key_id"], bytes(row["personal_sealed"]))


def _about(payment_id: str) -> tuple[str, ...]:
    return ("payments", payment_id, "personal")
