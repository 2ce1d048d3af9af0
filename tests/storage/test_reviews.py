"""Several operations of one payment may wait for an operator; the payment shows one of them, as long as any does."""

from payonce.domain.operations import OperationKind
from payonce.domain.outcomes import DeclineCode, Declined
from payonce.domain.payment import PaymentStatus
from tests.storage.ledger import Ledger, subject


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
