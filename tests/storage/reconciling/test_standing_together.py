"""Two charges of one payment are found together, whoever sees which of them, and when."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest

from payonce.domain.payment import Payment
from payonce.storage.reconciliation import SeenObject, charged_twice, mark_standing_together, saw
from tests.storage.ledger import Ledger

NOW = datetime.now(UTC)
LATER = NOW + timedelta(hours=1)


def charge(payment: Payment, account: str, *, net_minor: int = 1099) -> SeenObject:
    return SeenObject(
        account=account,
        acquirer_id=f"charge at {account}",
        kind="authorize",
        charge_id=f"charge at {account}",
        reference=f"{payment.id}-1",
        payment_id=payment.id,
        currency="INR",
        amount_minor=1099,
        net_minor=net_minor,
        held_minor=0,
        result="matched",
        created_at=NOW,
        seen_at=NOW,
    )


async def marked(ledger: Ledger, payment: Payment) -> None:
    async with ledger.database.transaction() as connection:
        await mark_standing_together(connection, [payment.id])


async def twice(ledger: Ledger) -> list[str]:
    async with ledger.database.reading() as connection:
        return [one.payment_id for one in await charged_twice(connection, before=LATER, patience=LATER)]


@pytest.mark.parametrize("first", [lambda both: both, lambda both: both[::-1]], ids=["in turn", "crossed"])
async def test_two_runs_that_see_one_charge_each_at_the_same_time_find_both(
    ledger: Ledger, first: Callable[[list[AsyncExitStack]], list[AsyncExitStack]]
) -> None:
    payment = await ledger.add_payment()
    async with AsyncExitStack() as one, AsyncExitStack() as other:
        for run, account in ((one, "account_1"), (other, "account_2")):
            connection = await run.enter_async_context(ledger.database.transaction())
            await saw(connection, [charge(payment, account)])
        for run in first([one, other]):
            await run.aclose()
            await marked(ledger, payment)
    assert await twice(ledger) == [payment.id]


async def test_a_charge_that_was_given_back_stands_with_none(ledger: Ledger) -> None:
    payment = await ledger.add_payment()
    for net_minor, found in ((1099, [payment.id]), (0, []), (1099, [payment.id])):
        async with ledger.database.transaction() as connection:
            await saw(
                connection, [charge(payment, "account_1"), charge(payment, "account_2", net_minor=net_minor)]
            )
        await marked(ledger, payment)
        assert await twice(ledger) == found
