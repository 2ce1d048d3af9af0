"""Several operations of one payment may wait for an operator; the payment shows one of them, as long as any does."""

import json

from payonce.domain.answers import timestamp
from payonce.domain.operations import OperationKind
from payonce.domain.outcomes import DeclineCode, Declined
from payonce.domain.payment import PaymentStatus
from tests.storage.ledger import IDS, Ledger, subject
from tests.unit.rows import approval


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


async def rows(ledger: Ledger) -> dict[str, tuple[str, bool, str | None]]:
    """By operation: why it is, or was, in review, whether it is now, and what ended it."""
    found = await ledger.rows(
        "SELECT operation_id, reason, closed_at IS NULL AS open, closed_by FROM reviews"
    )
    return {row.operation_id: (row.reason, row.open, row.closed_by) for row in found}


async def test_a_payment_that_needs_nobody_leaves_no_row(ledger: Ledger) -> None:
    paid = await ledger.add_payment(PaymentStatus.CAPTURED)
    refund = await ledger.add_operation(paid, OperationKind.REFUND)
    await ledger.recorder().record(subject(refund), attempt=1, fact=approval(refund))
    assert await rows(ledger) == {}


async def test_a_review_has_a_row_from_the_transaction_that_begins_it_to_the_one_that_ends_it(
    ledger: Ledger,
) -> None:
    paid = await ledger.add_payment(PaymentStatus.CAPTURED)
    refund = await ledger.add_operation(paid, OperationKind.REFUND)
    recorder = ledger.recorder()
    for words in ("engine_refused", "unknown"):
        await recorder.review(subject(refund), reason=words)
    assert await rows(ledger) == {refund.id: ("engine_refused", True, None)}
    await recorder.record(subject(refund), attempt=1, fact=Declined(DeclineCode.GENERIC_DECLINE))
    assert await rows(ledger) == {refund.id: ("engine_refused", False, "fact")}
    assert (await ledger.operation(refund.id)).review_at is None


async def test_a_late_success_is_a_review_of_its_case_until_that_is_undone(ledger: Ledger) -> None:
    paid = await ledger.add_payment(PaymentStatus.AUTHORIZED)
    capture = await ledger.add_operation(paid, OperationKind.CAPTURE)
    recorder = ledger.recorder()
    await recorder.record(subject(capture), attempt=1, fact=Declined(DeclineCode.GENERIC_DECLINE))
    await recorder.record(subject(capture), attempt=1, fact=approval(capture))
    assert await rows(ledger) == {}  # payonce undoes it
    case = await ledger.operation(IDS.reversal(reference=f"{capture.id}-1"))
    await recorder.review(subject(case), reason="outcome_unknown")
    assert await rows(ledger) == {case.id: ("late", True, None)}
    await recorder.complete(subject(case))
    assert await rows(ledger) == {case.id: ("late", False, "fact")}


async def test_a_late_refund_is_a_review_from_the_start(ledger: Ledger) -> None:
    paid = await ledger.add_payment(PaymentStatus.CAPTURED)
    refund = await ledger.add_operation(paid, OperationKind.REFUND)
    recorder = ledger.recorder()
    await recorder.record(subject(refund), attempt=1, fact=Declined(DeclineCode.GENERIC_DECLINE))
    for _ in range(2):
        await recorder.record(subject(refund), attempt=1, fact=approval(refund))
    assert await rows(ledger) == {IDS.reversal(reference=f"{refund.id}-1"): ("late", True, None)}


async def test_an_expiry_in_doubt_and_then_not_confirmed_is_one_review_after_the_other(
    ledger: Ledger,
) -> None:
    paid = await ledger.add_payment(PaymentStatus.AUTHORIZED)
    expiry = await ledger.add_operation(paid, OperationKind.EXPIRE)
    recorder = ledger.recorder()
    await recorder.review(subject(expiry), reason="unknown")
    await recorder.record(subject(expiry), attempt=1, fact=Declined(DeclineCode.PROCESSING_ERROR))
    assert await rows(ledger) == {expiry.id: ("expiry_not_confirmed", True, None)}


async def test_an_expiry_that_was_not_confirmed_comes_up_when_another_review_ends(ledger: Ledger) -> None:
    paid = await ledger.add_payment(PaymentStatus.PARTIALLY_CAPTURED)
    refund = await ledger.add_operation(paid, OperationKind.REFUND, amount_minor=10)
    expiry = await ledger.add_operation(paid, OperationKind.EXPIRE, amount_minor=600)
    recorder = ledger.recorder()
    await recorder.record(subject(expiry), attempt=1, fact=Declined(DeclineCode.PROCESSING_ERROR))
    await recorder.review(subject(refund), reason="unknown")
    since = (await ledger.operation(refund.id)).review_at
    assert since is not None
    hidden = json.dumps({"reason": "unknown", "since": timestamp(since)})
    await ledger.rows("UPDATE payments SET review = :v WHERE id = :id", v=hidden, id=paid.id)
    await recorder.record(subject(refund), attempt=1, fact=approval(refund))
    left = (await ledger.payment(paid.id)).review
    assert left is not None
    assert left["reason"] == "expiry_not_confirmed"
