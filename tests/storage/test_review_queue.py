"""Reviews whose workflow must be started or told are found, by one sweeper at a time; what is open is counted."""

import asyncio

from payonce.domain.facts import DeclineCode, Declined
from payonce.domain.operations import Operation, OperationKind
from payonce.domain.payment import PaymentStatus
from payonce.domain.reviews import ReviewReason
from payonce.storage import review_queue
from payonce.storage.review_queue import DueReview
from tests.storage.ledger import Ledger, subject

K, S, R = OperationKind, PaymentStatus, ReviewReason
DECLINED = Declined(DeclineCode.GENERIC_DECLINE)
PAUSE = "SELECT extract(epoch FROM sweep_at - now()) FROM reviews WHERE operation_id = :id"


async def add_reviews(ledger: Ledger, number: int, reason: str = "unknown") -> list[Operation]:
    paid = await ledger.add_payment(S.CAPTURED)
    added = [await ledger.add_operation(paid, K.REFUND, amount_minor=10) for _ in range(number)]
    for refund in added:
        await ledger.recorder().review(subject(refund), reason=reason)
    return added


async def take(ledger: Ledger, limit: int = 100) -> list[DueReview]:
    async with ledger.database.transaction() as connection:
        return await review_queue.dequeue(connection, limit=limit)


async def taken(ledger: Ledger, limit: int = 100) -> list[str]:
    return [due.review.operation_id for due in await take(ledger, limit)]


async def come_due(ledger: Ledger) -> None:
    await ledger.rows("UPDATE reviews SET sweep_at = now() WHERE sweep_at IS NOT NULL")


async def pause_s(ledger: Ledger, of: Operation) -> float | None:
    ((found,),) = await ledger.rows(PAUSE, id=of.id)
    return None if found is None else float(found)


async def end(ledger: Ledger, of: Operation) -> None:
    await ledger.recorder().record(subject(of), attempt=1, fact=DECLINED)


async def test_a_review_is_in_the_queue_from_the_transaction_that_opens_it(ledger: Ledger) -> None:
    (refund,) = await add_reviews(ledger, 1)
    (due,) = await take(ledger)
    assert (due.operation.id, due.payment.id, due.sweeps) == (refund.id, refund.payment_id, 1)
    assert (due.review.operation_id, due.review.reason) == (refund.id, R.UNDECIDED)


async def test_sweepers_never_take_the_same_review_and_none_waits_for_another(ledger: Ledger) -> None:
    refunds = await add_reviews(ledger, 12)
    found = await asyncio.gather(*(taken(ledger, limit=4) for _ in range(5)))
    assert sorted(id_ for ids in found for id_ in ids) == sorted(refund.id for refund in refunds)
    await come_due(ledger)
    async with ledger.database.transaction() as connection:
        first = await review_queue.dequeue(connection, limit=2)
        second = await take(ledger)
    assert (len(first), len(second)) == (2, 10)


async def test_an_open_review_is_looked_at_again_and_ever_more_seldom_up_to_a_limit(ledger: Ledger) -> None:
    (refund,) = await add_reviews(ledger, 1)
    pauses = []
    for _ in range(10):
        assert await taken(ledger) == [refund.id]
        assert await taken(ledger) == []
        pauses.append(await pause_s(ledger, refund) or 0)
        await come_due(ledger)
    expected = [10, 20, 40, 80, 160, 320, 600, 600, 600, 600]
    late_s = 8  # what went by meanwhile
    assert all(at - late_s < pause <= at for pause, at in zip(pauses, expected, strict=True)), pauses


async def test_a_look_that_temporal_could_not_be_told_of_does_not_count(ledger: Ledger) -> None:
    (refund,) = await add_reviews(ledger, 1)
    for _ in range(5):
        await come_due(ledger)
        (due,) = await take(ledger)
    async with ledger.database.transaction() as connection:
        await review_queue.requeue(connection, due.review)
    assert 0 < (await pause_s(ledger, refund) or 0) <= 10
    await come_due(ledger)
    assert [due.sweeps for due in await take(ledger)] == [1]


async def test_a_review_that_ended_is_taken_at_once_and_once_it_was_told_never_again(ledger: Ledger) -> None:
    (refund,) = await add_reviews(ledger, 1)
    await taken(ledger)
    await end(ledger, refund)
    (due,) = await take(ledger)
    assert due.review.closed_at is not None
    async with ledger.database.transaction() as connection:
        await review_queue.told(connection, due.review)
    assert await pause_s(ledger, refund) is None
    assert await taken(ledger) == []


async def test_a_review_that_began_anew_meanwhile_stays_in_the_queue(ledger: Ledger) -> None:
    (refund,) = await add_reviews(ledger, 1)
    await end(ledger, refund)
    (due,) = await take(ledger)
    await ledger.rows("UPDATE reviews SET closed_at = NULL, closed_by = NULL, sweep_at = now()")
    async with ledger.database.transaction() as connection:
        await review_queue.told(connection, due.review)
    assert await taken(ledger) == [refund.id]


async def test_what_is_open_is_counted_by_reason_and_what_of_it_is_overdue(ledger: Ledger) -> None:
    refused = await add_reviews(ledger, 3, "engine_refused")
    undecided = await add_reviews(ledger, 2)
    await end(ledger, refused[0])
    await ledger.rows("UPDATE reviews SET due_at = now() WHERE operation_id = :id", id=refused[1].id)
    await ledger.rows("UPDATE reviews SET due_at = now() WHERE operation_id = :id", id=refused[0].id)
    async with ledger.database.reading() as connection:
        counted = await review_queue.count_open(connection)
    assert {reason: (count.open, count.overdue) for reason, count in counted.items()} == {
        **dict.fromkeys(R, (0, 0)),
        R.ENGINE_REFUSED: (2, 1),
        R.UNDECIDED: (len(undecided), 0),
    }
