"""What nobody may be working on is found, by one sweeper at a time."""

import asyncio

import pytest

from payonce.domain.operations import AttemptState, OperationKind
from payonce.domain.payment import PaymentStatus
from payonce.storage import sweeping
from tests.storage.ledger import Ledger

K, S, A = OperationKind, PaymentStatus, AttemptState


async def take(ledger: Ledger, limit: int = 100) -> list[str]:
    async with ledger.database.transaction() as connection:
        return [due.operation.id for due in await sweeping.take_due(connection, limit=limit)]


async def add_refunds(ledger: Ledger, number: int, *, sweep_in_s: float = -1.0) -> list[str]:
    paid = await ledger.add_payment(S.CAPTURED)
    added = [
        await ledger.add_operation(
            paid, K.REFUND, amount_minor=10, sweep_in_s=sweep_in_s - place, claimed=False
        )
        for place in range(number)
    ]
    return [refund.id for refund in added]


async def test_sweepers_never_take_the_same_operation(ledger: Ledger) -> None:
    due = await add_refunds(ledger, 30)
    taken = await asyncio.gather(*(take(ledger, limit=10) for _ in range(5)))
    assert sorted(id_ for ids in taken for id_ in ids) == sorted(due)
    assert await take(ledger) == []


async def test_a_sweeper_does_not_wait_for_another(ledger: Ledger) -> None:
    due = await add_refunds(ledger, 4)
    async with ledger.database.transaction() as connection:
        first = [one.operation.id for one in await sweeping.take_due(connection, limit=2)]
        second = await take(ledger)
    assert sorted(first + second) == sorted(due)


async def test_only_what_is_pending_and_due_is_taken(ledger: Ledger) -> None:
    await add_refunds(ledger, 1, sweep_in_s=60.0)
    due = await add_refunds(ledger, 2)
    await ledger.rows("UPDATE operations SET status = 'succeeded' WHERE id = :id", id=due[0])
    assert await take(ledger) == [due[1]]


async def test_the_longest_overdue_comes_first_and_with_its_payment(ledger: Ledger) -> None:
    due = await add_refunds(ledger, 3)
    async with ledger.database.transaction() as connection:
        found = await sweeping.take_due(connection, limit=1)
    assert [one.operation.id for one in found] == [due[2]]
    assert found[0].payment.id == found[0].operation.payment_id


async def test_each_look_at_an_operation_is_later_than_the_one_before_up_to_a_limit(ledger: Ledger) -> None:
    (due,) = await add_refunds(ledger, 1)
    pauses = []
    for look in range(40):
        async with ledger.database.transaction() as connection:
            (found,) = await sweeping.take_due(connection, limit=1)
        assert found.sweeps == look + 1
        query = "SELECT extract(epoch FROM sweep_at - now()) AS pause FROM operations WHERE id = :id"
        pauses.append(round(float((await ledger.rows(query, id=due))[0].pause)))
        await ledger.rows("UPDATE operations SET sweep_at = now() WHERE id = :id", id=due)
    assert pauses[:6] == [10, 20, 40, 80, 160, 320]
    assert pauses[6:] == [sweeping.LONGEST_PAUSE_S] * 34


@pytest.mark.parametrize("state", A)
async def test_what_was_given_back_is_told_from_what_was_not(ledger: Ledger, state: AttemptState) -> None:
    paid = await ledger.add_payment()
    authorization = await ledger.add_operation(paid, K.AUTHORIZE, state=state)
    async with ledger.database.transaction() as connection:
        assert await sweeping.is_released(connection, authorization.id) == (state is A.NOT_SENT)


async def test_an_operation_that_nobody_claimed_was_not_given_back(ledger: Ledger) -> None:
    (refund,) = await add_refunds(ledger, 1)
    async with ledger.database.transaction() as connection:
        assert not await sweeping.is_released(connection, refund)


async def test_open_payments_are_walked_page_by_page(ledger: Ledger) -> None:
    expected = sorted([(await ledger.add_payment(status)).id for status in S if status.open])
    for status in S:
        if not status.open:
            await ledger.add_payment(status)
    walked: list[str] = []
    async with ledger.database.transaction() as connection:
        while page := await sweeping.open_payments(connection, after=walked[-1] if walked else "", limit=2):
            walked += [payment.id for payment in page]
    assert walked == expected


async def test_a_look_that_temporal_could_not_be_told_of_does_not_count(ledger: Ledger) -> None:
    (due,) = await add_refunds(ledger, 1)
    for _ in range(5):
        await ledger.rows("UPDATE operations SET sweep_at = now() WHERE id = :id", id=due)
        assert await take(ledger) == [due]
    async with ledger.database.transaction() as connection:
        await sweeping.take_back(connection, due)
    ((pause_s,),) = await ledger.rows(
        "SELECT extract(epoch FROM sweep_at - now()) FROM operations WHERE id = :id", id=due
    )
    assert float(pause_s) <= sweeping.FIRST_PAUSE_S
