"""What nobody may be working on is found, by one sweeper at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from payonce.domain.claiming import Release
from payonce.domain.facts import Unsent
from payonce.domain.operations import AttemptState, Operation, OperationKind
from payonce.domain.payment import PaymentStatus
from payonce.storage import attempts, payments, sweeping
from tests.storage.ledger import Ledger, subject

K, S, A = OperationKind, PaymentStatus, AttemptState


async def take(ledger: Ledger, kind: K = K.REFUND, limit: int = 100) -> list[str]:
    async with ledger.database.transaction() as connection:
        return [due.operation.id for due in await sweeping.dequeue(connection, kind, limit=limit)]


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
        first = [one.operation.id for one in await sweeping.dequeue(connection, K.REFUND, limit=2)]
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
        found = await sweeping.dequeue(connection, K.REFUND, limit=1)
    assert [one.operation.id for one in found] == [due[2]]
    assert found[0].payment.id == found[0].operation.payment_id


async def test_each_look_at_an_operation_is_later_than_the_one_before_up_to_a_limit(ledger: Ledger) -> None:
    (due,) = await add_refunds(ledger, 1)
    query = text("SELECT extract(epoch FROM sweep_at - now()) FROM operations WHERE id = :id")
    pauses = []
    for look in range(40):
        async with ledger.database.transaction() as connection:
            (found,) = await sweeping.dequeue(connection, K.REFUND, limit=1)
            pauses.append((await connection.execute(query, {"id": due})).scalar_one())  # of the same `now()`
        assert found.sweeps == look + 1
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


async def test_authorizations_are_walked_page_by_page(ledger: Ledger) -> None:
    expected = sorted(
        [(await ledger.add_payment(status)).id for status in [*S, *S, *S] if status.capturable],
    )
    for status in S:
        if not status.capturable:
            await ledger.add_payment(status)
    walked: list[str] = []
    async with ledger.database.transaction() as connection:
        while page := await sweeping.capturable_payments(
            connection, after=walked[-1] if walked else "", limit=2
        ):
            walked += [payment.id for payment in page]
    assert walked == expected


async def test_a_look_that_temporal_could_not_be_told_of_does_not_count(ledger: Ledger) -> None:
    (due,) = await add_refunds(ledger, 1)
    for _ in range(5):
        await ledger.rows("UPDATE operations SET sweep_at = now() WHERE id = :id", id=due)
        assert await take(ledger) == [due]
    async with ledger.database.transaction() as connection:
        await sweeping.requeue(connection, due)
    ((pause_s,),) = await ledger.rows(
        "SELECT extract(epoch FROM sweep_at - now()) FROM operations WHERE id = :id", id=due
    )
    assert float(pause_s) <= sweeping.FIRST_PAUSE_S


async def queued(ledger: Ledger, of: Operation) -> bool:
    """Whether the create would be taken, were its time come."""
    await ledger.rows("UPDATE operations SET sweep_at = now() WHERE id = :id", id=of.id)
    return await take(ledger, K.AUTHORIZE) == [of.id]


async def create(ledger: Ledger) -> Operation:
    return await ledger.add_operation(await ledger.add_payment(), K.AUTHORIZE)


async def released_by_its_owner(ledger: Ledger, of: Operation) -> None:
    async with ledger.database.transaction() as connection:
        released = await attempts.release(connection, operation_id=of.id, number=1, token="run_1")
        assert released is Release.GIVEN_BACK


async def recorded_as_not_sent(ledger: Ledger, of: Operation) -> None:
    await ledger.recorder().record(subject(of), attempt=1, fact=Unsent("connect"))


GIVEN_BACK = pytest.mark.parametrize("give_back", [released_by_its_owner, recorded_as_not_sent])
GiveBack = Callable[[Ledger, Operation], Awaitable[None]]


@GIVEN_BACK
async def test_a_create_leaves_the_queue_in_the_transaction_that_gives_it_back(
    ledger: Ledger, give_back: GiveBack
) -> None:
    of = await create(ledger)
    assert await queued(ledger, of)
    await give_back(ledger, of)
    assert not await queued(ledger, of)


@GIVEN_BACK
async def test_a_create_is_in_the_queue_from_its_next_claim_on(ledger: Ledger, give_back: GiveBack) -> None:
    of = await create(ledger)
    await give_back(ledger, of)
    await ledger.rows("UPDATE operations SET sweep_at = now() - interval '1 h', sweeps = 9")
    async with ledger.database.transaction() as connection:
        await attempts.insert_claim(
            connection,
            of,
            number=2,
            connector="sandbox_card",
            connector_account="account_1",
            owner="boot_1",
            token="run_2",
        )
    assert await take(ledger, K.AUTHORIZE) == []  # its owner has time to carry it out
    assert await queued(ledger, of)
    ((sweeps,),) = await ledger.rows("SELECT sweeps FROM operations")
    assert sweeps == 1


@GIVEN_BACK
async def test_a_create_that_is_answered_with_202_is_in_the_queue_though_it_is_given_back(
    ledger: Ledger, give_back: GiveBack
) -> None:
    of = await create(ledger)
    await give_back(ledger, of)
    await ledger.recorder().defer(subject(of))
    assert await queued(ledger, of)


async def test_a_refund_that_was_not_sent_stays_in_the_queue(ledger: Ledger) -> None:
    paid = await ledger.add_payment(S.CAPTURED)
    refund = await ledger.add_operation(paid, K.REFUND, sweep_in_s=-1.0)
    await recorded_as_not_sent(ledger, refund)
    assert await take(ledger) == [refund.id]


async def test_a_payment_that_waits_for_its_merchant_does_not_wait_for_us(ledger: Ledger) -> None:
    of = await create(ledger)
    later = datetime.now(UTC) + timedelta(minutes=1)

    async def waits_for_us() -> bool:
        async with ledger.database.transaction() as connection:
            return bool(await sweeping.still_open(connection, [of.payment_id], older_than=later))

    assert await waits_for_us()
    await released_by_its_owner(ledger, of)
    assert not await waits_for_us()


async def test_a_claim_made_while_a_create_is_set_aside_keeps_it_in_the_queue(ledger: Ledger) -> None:
    """The look that found it given back was before the claim; setting it aside then would hide the claim."""
    of = await create(ledger)
    await released_by_its_owner(ledger, of)
    async with ledger.database.transaction() as connection:
        await connection.fetch(payments.locked(of.payment_id))
        setting_aside = asyncio.create_task(set_aside(ledger, of))
        await ledger.waits_for_a_lock(setting_aside)
        await attempts.insert_claim(
            connection,
            of,
            number=2,
            connector="sandbox_card",
            connector_account="account_1",
            owner="boot_1",
            token="run_2",
        )
    assert not await setting_aside
    assert await queued(ledger, of)


async def set_aside(ledger: Ledger, of: Operation) -> bool:
    async with ledger.database.transaction() as connection:
        return await sweeping.set_aside_if_released(connection, of)


async def test_what_is_over_is_taken_by_one_sweeper(ledger: Ledger) -> None:
    given_back = [await create(ledger) for _ in range(6)]
    for one in given_back:
        await released_by_its_owner(ledger, one)
    await ledger.rows("UPDATE operations SET released_at = now() - interval '25 h', sweep_at = now()")

    async def dequeue_released() -> list[str]:
        async with ledger.database.transaction() as connection:
            return [one.id for one in await sweeping.dequeue_released(connection, limit=2)]

    taken = await asyncio.gather(*(dequeue_released() for _ in range(4)))
    assert sorted(id_ for ids in taken for id_ in ids) == sorted(one.id for one in given_back)


async def seen_done(ledger: Ledger, of: str, *, ago: timedelta = timedelta()) -> bool:
    """Temporal says that it is done; the first look that found so, if there was one, was so long ago."""
    earlier = text(
        "UPDATE operations SET behind_since = now() - CAST(:ago AS interval) WHERE behind_since IS NOT NULL"
    )
    async with ledger.database.transaction() as connection:
        await connection.execute(earlier, {"ago": ago})
        return await sweeping.is_behind(connection, of, behind_for=timedelta(seconds=60))


async def test_postgres_is_behind_when_that_was_seen_twice_a_minute_apart(ledger: Ledger) -> None:
    (refund,) = await add_refunds(ledger, 1)
    assert not await seen_done(ledger, refund)
    assert not await seen_done(ledger, refund, ago=timedelta(seconds=59))
    assert await seen_done(ledger, refund, ago=timedelta(seconds=60))
    assert not await seen_done(ledger, refund, ago=timedelta(minutes=9))  # it runs again: all begins anew


async def test_postgres_is_looked_at_again_when_the_minute_is_over(ledger: Ledger) -> None:
    (refund,) = await add_refunds(ledger, 1)
    await ledger.rows("UPDATE operations SET sweeps = 9")
    await seen_done(ledger, refund)
    ((pause_s,),) = await ledger.rows("SELECT extract(epoch FROM sweep_at - now()) FROM operations")
    assert 50 < float(pause_s) <= 60


async def test_an_operation_that_was_recorded_meanwhile_is_not_behind(ledger: Ledger) -> None:
    (refund,) = await add_refunds(ledger, 1)
    assert not await seen_done(ledger, refund)
    await ledger.rows("UPDATE operations SET status = 'succeeded'")
    assert not await seen_done(ledger, refund, ago=timedelta(minutes=9))
