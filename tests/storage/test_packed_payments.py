"""A payment's card is a list of what it says where a process packs, and the same payment to whoever reads it."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, Final

import pytest

from payonce.domain.payment import Payment
from payonce.storage import unpacking
from payonce.storage.driver.database import Database
from payonce.storage.payments import insert_payment, save_payment
from tests.storage.ledger import Ledger
from tests.support import rows

CARD: Final = {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2040}
SAVED: Final = {"type": "card", "card": {**CARD, "token": "pm_1"}}
UPI: Final = {"type": "upi", "upi": {"flow": "collect", "vpa": "₹@bank"}}
AS_IT_IS: Final = '{"type":"card","card":{"brand":"visa","last4":"4242","exp_month":12,"exp_year":2040}}'
PACKED: Final = '["card","visa","4242",12,2040]'


@pytest.fixture
async def packing(ledger: Ledger) -> AsyncIterator[Database]:
    """The database of a process that packs."""
    database = Database(ledger.url, pool_size=1, packs=True)
    yield database
    await database.close()


async def test_a_card_is_read_as_it_was_whoever_wrote_it(ledger: Ledger, packing: Database) -> None:
    packed, whole = (_paid(ledger, name, card=CARD, type="card") for name in ("packed", "whole"))
    await _insert(packing, packed)
    await _insert(ledger.database, whole)
    assert await _kept(ledger, packed, whole) == [PACKED, AS_IT_IS]
    for payment in (packed, whole):
        read = await ledger.payment(payment.id)
        assert read == payment
        assert list(read.payment_method["card"]) == list(CARD)


async def test_what_is_not_just_a_card_is_kept_as_it_is(ledger: Ledger, packing: Database) -> None:
    saved, upi = _paid(ledger, "saved", **SAVED), _paid(ledger, "upi", **UPI)
    for payment in (saved, upi):
        await _insert(packing, payment)
        assert await ledger.payment(payment.id) == payment
    assert all(kept.startswith("{") for kept in await _kept(ledger, saved, upi))


async def test_a_payment_s_change_writes_its_card_only_where_that_changes(
    ledger: Ledger, packing: Database
) -> None:
    payment = _paid(ledger, "changed", card=CARD, type="card")
    later = replace(payment, description="Two of them")
    cards = {"type": "card", "card": {**CARD, "last4": "0005"}}
    await _insert(ledger.database, payment)
    await _save(packing, payment, later)
    assert await _kept(ledger, payment) == [AS_IT_IS]
    await _save(packing, later, replace(later, payment_method=cards))
    assert await _kept(ledger, payment) == [PACKED.replace("4242", "0005")]
    await _save(ledger.database, replace(later, payment_method=cards), later)
    assert await _kept(ledger, payment) == [AS_IT_IS]


async def test_the_way_back_writes_what_a_process_that_does_not_pack_would_have_written(
    ledger: Ledger, packing: Database
) -> None:
    cards = [_paid(ledger, f"back-{number}", card=CARD, type="card") for number in range(5)]
    for payment in cards:
        await _insert(packing, payment)
    whole = _paid(ledger, "back-whole", **SAVED)
    await _insert(packing, whole)
    before = await _kept(ledger, whole)
    for _ in range(2):  # the second finds nothing to do
        after: str | None = ""
        while after is not None:
            async with ledger.database.transaction() as connection:
                after = await unpacking.unpack_payments(connection, after=after, limit=2)
    assert await _kept(ledger, *cards) == [AS_IT_IS] * 5
    assert await _kept(ledger, whole) == before


def _paid(ledger: Ledger, key: str, **method: Any) -> Payment:
    ids = {"merchant_id": ledger.merchant_id, "mode": "test"}
    of: Mapping[str, Any] = {"type": method["type"], **method}
    id_ = rows.IDS.payment(**ids, key=key)
    return rows.payment(id=id_, **ids, idempotency_key=key, payment_method=dict(of), metadata={"a": "b"})


async def _insert(database: Database, payment: Payment) -> None:
    async with database.transaction() as connection:
        await insert_payment(connection, payment)


async def _save(database: Database, before: Payment, after: Payment) -> None:
    async with database.transaction() as connection:
        await save_payment(connection, before, after)


async def _kept(ledger: Ledger, *payments: Payment) -> list[str]:
    query = "SELECT CAST(payment_method AS text) AS kept FROM payments WHERE id = :id"
    return [(await ledger.rows(query, id=payment.id))[0].kept for payment in payments]
