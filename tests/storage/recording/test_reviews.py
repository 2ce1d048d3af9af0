"""Each operation that waits for an operator has a row; the payment shows one of them, as long as any does."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import structlog

from payonce import metrics
from payonce.domain.facts import Approved, DeclineCode, Declined, Redone, Stage, Undone
from payonce.domain.operations import Abilities, Operation, OperationKind
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.reviews import Review, ReviewReason
from payonce.storage import review_rows
from tests.storage.ledger import IDS, Ledger, subject
from tests.support.rows import approval

K, S, R = OperationKind, PaymentStatus, ReviewReason
DECLINED = Declined(DeclineCode.GENERIC_DECLINE)
_REVIEWS = """
SELECT operation_id, reason, words, closed_by, closed_at IS NULL, due_at - opened_at, sweep_at IS NOT NULL
  FROM reviews WHERE payment_id = :payment_id ORDER BY opened_at, operation_id
"""


async def reviews_of(ledger: Ledger, payment: Payment) -> list[tuple[str, str, str | None]]:
    """Operation, reason and what closed it, oldest first; each has its due time, and the sweeper looks at it."""
    found = await ledger.rows(_REVIEWS, payment_id=payment.id)
    for _, reason, words, closed_by, open_, due, swept in found:
        assert words
        assert open_ == (closed_by is None)
        assert due == R(reason).due_after
        assert swept
    return [(row[0], row[1], row[3]) for row in found]


async def refunding(ledger: Ledger, **changes: Any) -> tuple[Payment, Operation]:
    paid = await ledger.add_payment(S.CAPTURED)
    return paid, await ledger.add_operation(paid, K.REFUND, **{"amount_minor": 10, **changes})


@pytest.mark.parametrize("fact", [DECLINED, Approved("acq-1", 10, "INR")])
async def test_a_review_is_a_row_until_a_fact_closes_it(ledger: Ledger, fact: Declined | Approved) -> None:
    paid, refund = await refunding(ledger)
    recorder = ledger.recorder()
    for _ in range(2):
        await recorder.review(subject(refund), reason="unknown")
        assert await reviews_of(ledger, paid) == [(refund.id, R.UNDECIDED, None)]
    for _ in range(2):
        await recorder.record(subject(refund), attempt=1, fact=fact)
        assert await reviews_of(ledger, paid) == [(refund.id, R.UNDECIDED, "fact")]


async def test_an_operation_that_nobody_was_called_for_has_no_row(ledger: Ledger) -> None:
    paid, refund = await refunding(ledger)
    await ledger.recorder().record(subject(refund), attempt=1, fact=approval(refund))
    assert await reviews_of(ledger, paid) == []


async def test_an_operation_that_is_in_review_again_has_its_new_reason(ledger: Ledger) -> None:
    authorized = await ledger.add_payment(S.AUTHORIZED)
    expiry = await ledger.add_operation(authorized, K.EXPIRE)
    recorder = ledger.recorder()
    await recorder.review(subject(expiry), reason="unknown")
    await recorder.record(subject(expiry), attempt=1, fact=DECLINED)
    assert await reviews_of(ledger, authorized) == [(expiry.id, R.EXPIRY_NOT_CONFIRMED, None)]


async def test_the_case_of_a_late_success_is_a_row_until_it_is_undone(ledger: Ledger) -> None:
    authorized = await ledger.add_payment(S.AUTHORIZED)
    capture = await ledger.add_operation(authorized, K.CAPTURE, amount_minor=10)
    recorder = ledger.recorder()
    await recorder.record(subject(capture), attempt=1, fact=DECLINED)
    late = replace(approval(capture), currency="EUR")
    await recorder.record(subject(capture), attempt=1, fact=late, abilities=Abilities())
    case_id = IDS.reversal(reference=f"{capture.id}-1")
    assert await reviews_of(ledger, authorized) == [(case_id, R.LATE, None)]
    await recorder.complete(subject(await ledger.operation(case_id)))
    assert await reviews_of(ledger, authorized) == [(case_id, R.LATE, "fact")]


async def test_a_late_refund_is_a_row_that_waits_for_a_person(ledger: Ledger) -> None:
    paid, refund = await refunding(ledger)
    recorder = ledger.recorder()
    await recorder.record(subject(refund), attempt=1, fact=DECLINED)
    await recorder.record(subject(refund), attempt=1, fact=approval(refund))
    assert await reviews_of(ledger, paid) == [(IDS.reversal(reference=f"{refund.id}-1"), R.LATE, None)]


async def test_what_the_acquirer_took_back_is_a_row_until_it_does_it_again(ledger: Ledger) -> None:
    authorized = await ledger.add_payment(S.AUTHORIZED)
    capture = await ledger.add_operation(authorized, K.CAPTURE)
    recorder = ledger.recorder()
    undone, redone = Undone("u", 1000, "INR", reason="rejected"), Redone("r", 1000, "INR")
    said = replace(approval(capture), stage=Stage.CAPTURED, since=(undone,))
    await recorder.record(subject(capture), attempt=1, fact=said)
    ((turn, reason, closed_by),) = await reviews_of(ledger, authorized)
    assert (reason, closed_by) == (R.UNDONE, None)
    await recorder.record(subject(capture), attempt=1, fact=replace(said, since=(undone, redone)))
    assert await reviews_of(ledger, authorized) == [(turn, R.UNDONE, "fact")]


async def test_an_expiry_that_an_earlier_version_hid_behind_another_review_comes_up_when_another_review_ends(
    ledger: Ledger,
) -> None:
    open_ = await ledger.add_payment(S.PARTIALLY_CAPTURED)
    refund = await ledger.add_operation(open_, K.REFUND, amount_minor=10)
    expiry = await ledger.add_operation(open_, K.EXPIRE, amount_minor=600)
    recorder = ledger.recorder()
    await recorder.record(subject(expiry), attempt=1, fact=DECLINED)
    await ledger.rows("UPDATE payments SET review = NULL WHERE id = :id", id=open_.id)
    await recorder.review(subject(refund), reason="unknown")
    await recorder.record(subject(refund), attempt=1, fact=DECLINED)
    left = (await ledger.payment(open_.id)).review
    assert left is not None
    assert left["reason"] == "expiry_not_confirmed"


async def test_a_review_that_ends_gives_way_to_another_operations(ledger: Ledger) -> None:
    paid = await ledger.add_payment(PaymentStatus.CAPTURED)
    first, second = [
        await ledger.add_operation(paid, OperationKind.REFUND, amount_minor=10) for _ in range(2)
    ]
    recorder = ledger.recorder()
    for refund in (first, second):
        await recorder.review(subject(refund), reason="unknown")
    assert [type_ for _, type_ in await ledger.events(paid.id)] == ["payment.needs_review"] * 2

    await recorder.record(subject(first), attempt=1, fact=Declined(DeclineCode.GENERIC_DECLINE))
    left = (await ledger.payment(paid.id)).review
    assert left is not None
    assert left["reason"] == "refund_undecided"

    await recorder.record(subject(second), attempt=1, fact=Declined(DeclineCode.GENERIC_DECLINE))
    assert (await ledger.payment(paid.id)).review is None


async def in_review(ledger: Ledger) -> tuple[Payment, Operation, Review]:
    """A refund that a person must decide about."""
    paid, refund = await refunding(ledger)
    await ledger.recorder().review(subject(refund), reason="unknown")
    return paid, refund, await review_of(ledger, refund)


async def review_of(ledger: Ledger, operation: Operation) -> Review:
    async with ledger.database.transaction() as connection:
        found = await connection.fetch(review_rows.of_operation(operation.id))
    assert found is not None
    return found


def escalated() -> float:
    return float(metrics.REVIEWS_ESCALATED.labels(R.UNDECIDED)._value.get())


async def test_an_overdue_review_escalates_once_for_whoever_says_so(ledger: Ledger) -> None:
    paid, refund, review = await in_review(ledger)
    before = escalated()
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            await ledger.recorder().overdue(subject(refund), due_at=review.due_at)
    assert (await review_of(ledger, refund)).overdue_at is not None
    types = [type_ for _, type_ in await ledger.events(paid.id)]
    assert types == ["payment.needs_review", "payment.review_overdue"]
    assert escalated() == before + 1
    errors = [entry["event"] for entry in logs if entry["log_level"] == "error"]
    assert errors == ["review_overdue"]
    assert (await ledger.operation(refund.id)).review_at is not None, "it is open all the same"


async def test_an_escalation_whose_commit_was_lost_is_told_and_one_whose_answer_was_is_not_told_again(
    ledger: Ledger,
) -> None:
    for end in ("lost commit", "lost answer"):
        paid, refund, review = await in_review(ledger)
        async with ledger.flaky(end) as database:
            await ledger.recorder(database).overdue(subject(refund), due_at=review.due_at)
        types = [type_ for _, type_ in await ledger.events(paid.id)]
        assert types == ["payment.needs_review", "payment.review_overdue"]


async def test_a_review_that_has_ended_or_begun_anew_is_not_overdue(ledger: Ledger) -> None:
    paid, refund, review = await in_review(ledger)
    other = review.due_at - timedelta(hours=1)
    await ledger.recorder().overdue(subject(refund), due_at=other)
    await ledger.recorder().record(subject(refund), attempt=1, fact=DECLINED)
    await ledger.recorder().overdue(subject(refund), due_at=review.due_at)
    assert (await review_of(ledger, refund)).overdue_at is None
    assert "payment.review_overdue" not in {type_ for _, type_ in await ledger.events(paid.id)}


async def test_what_was_never_in_review_is_not_overdue(ledger: Ledger) -> None:
    paid, refund = await refunding(ledger)
    await ledger.recorder().overdue(subject(refund), due_at=paid.created_at)
    assert await ledger.events(paid.id) == []


async def test_a_review_that_begins_anew_is_not_overdue_any_more(ledger: Ledger) -> None:
    authorized = await ledger.add_payment(S.AUTHORIZED)
    expiry = await ledger.add_operation(authorized, K.EXPIRE)
    recorder = ledger.recorder()
    await recorder.review(subject(expiry), reason="unknown")
    first = await review_of(ledger, expiry)
    await recorder.overdue(subject(expiry), due_at=first.due_at)
    await recorder.record(subject(expiry), attempt=1, fact=DECLINED)
    again = await review_of(ledger, expiry)
    assert (again.reason, again.overdue_at) == (R.EXPIRY_NOT_CONFIRMED, None)
