"""An expiry is admitted like any operation: it waits for what is pending, then releases only the rest."""

from datetime import UTC, datetime, timedelta

import pytest

from payonce.domain.errors import NotFound
from payonce.domain.facts import DeclineCode, Declined, Undone
from payonce.domain.operations import OperationKind, Subject
from payonce.domain.payment import PaymentStatus
from tests.storage.expiring import OVER, cases
from tests.storage.ledger import IDS, Ledger, subject
from tests.support.rows import approval

K, S = OperationKind, PaymentStatus


async def test_what_is_over_expires_once(shared_ledger: Ledger) -> None:
    paid = await shared_ledger.add_payment(S.AUTHORIZED, capture_before=OVER)
    expiry_id = await cases(shared_ledger).admit_expiry(paid.id)
    assert expiry_id is not None
    assert await cases(shared_ledger).admit_expiry(paid.id) == expiry_id
    for _ in range(2):
        await shared_ledger.recorder().complete(Subject(paid.id, expiry_id))
    assert (await shared_ledger.payment(paid.id)).status is S.EXPIRED
    assert await shared_ledger.events(paid.id) == [(1, "payment.expired")]
    assert await cases(shared_ledger).admit_expiry(paid.id) is None


async def test_what_is_not_over_does_not_expire(shared_ledger: Ledger) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=1)
    paid = await shared_ledger.add_payment(S.AUTHORIZED, capture_before=soon)
    assert await cases(shared_ledger).admit_expiry(paid.id) is None
    assert (await shared_ledger.payment(paid.id)).pending_operation is None


@pytest.mark.parametrize("status", [status for status in S if not status.capturable])
async def test_what_is_not_capturable_does_not_expire(shared_ledger: Ledger, status: PaymentStatus) -> None:
    paid = await shared_ledger.add_payment(status, capture_before=OVER)
    assert await cases(shared_ledger).admit_expiry(paid.id) is None


async def test_an_expiry_waits_for_a_pending_capture_and_expires_only_the_rest(shared_ledger: Ledger) -> None:
    paid = await shared_ledger.add_payment(S.AUTHORIZED, capture_before=OVER)
    capture = await shared_ledger.add_operation(paid, K.CAPTURE, amount_minor=400, final=False)
    assert await cases(shared_ledger).admit_expiry(paid.id) is None
    await shared_ledger.recorder().record(subject(capture), attempt=1, fact=approval(capture))
    expiry_id = await cases(shared_ledger).admit_expiry(paid.id)
    assert expiry_id is not None
    await shared_ledger.recorder().complete(Subject(paid.id, expiry_id))
    after = await shared_ledger.payment(paid.id)
    assert (after.status, after.amount_captured_minor, after.capturable_minor) == (S.CAPTURED, 400, 0)


async def test_where_the_acquirer_must_be_told_the_expiry_is_left_to_be_sent(shared_ledger: Ledger) -> None:
    paid = await shared_ledger.add_payment(S.AUTHORIZED, capture_before=OVER)
    assert await cases(shared_ledger, expiry_is_sent=True).admit_expiry(paid.id) is None
    pending = (await shared_ledger.payment(paid.id)).pending_operation
    assert pending == {"id": IDS.expiry(payment_id=paid.id), "type": "void", "amount": 1000}


async def test_an_expiry_that_failed_at_the_acquirer_expires_the_payment_and_calls_an_operator(
    shared_ledger: Ledger,
) -> None:
    paid = await shared_ledger.add_payment(S.AUTHORIZED, capture_before=OVER)
    told = cases(shared_ledger, expiry_is_sent=True)
    await told.admit_expiry(paid.id)
    expiry = await shared_ledger.operation(IDS.expiry(payment_id=paid.id))
    await shared_ledger.rows(
        "INSERT INTO attempts SELECT :id, 1, :paid, 'expire', 'c', 'account_1', :id, 'claimed', 'o', 't',"
        " now(), now()",
        id=expiry.id,
        paid=paid.id,
    )
    await shared_ledger.recorder().record(
        subject(expiry), attempt=1, fact=Declined(DeclineCode.PROCESSING_ERROR)
    )
    assert await told.admit_expiry(paid.id) is None
    after = await shared_ledger.payment(paid.id)
    assert (after.status, after.pending_operation) == (S.EXPIRED, None)
    assert after.review is not None
    assert after.review["reason"] == "expiry_not_confirmed"


async def test_what_is_not_there_does_not_expire(shared_ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        await cases(shared_ledger).admit_expiry("pay_none")


async def test_what_stands_again_after_its_expiry_expires_once_more(shared_ledger: Ledger) -> None:
    paid = await shared_ledger.add_payment(S.AUTHORIZED, capture_before=OVER)
    capture = await shared_ledger.add_operation(paid, K.CAPTURE, amount_minor=400, final=False)
    await shared_ledger.recorder().record(subject(capture), attempt=1, fact=approval(capture))
    first = await cases(shared_ledger).admit_expiry(paid.id)
    assert first is not None
    await shared_ledger.recorder().complete(Subject(paid.id, first))
    rejected = Undone(f"undone of {capture.id}", 400, "INR", "rejected")
    await shared_ledger.recorder().record(subject(capture), attempt=1, fact=rejected)
    assert (await shared_ledger.payment(paid.id)).status is S.AUTHORIZED
    second = await cases(shared_ledger).admit_expiry(paid.id)
    assert second not in (None, first)
    assert await cases(shared_ledger).admit_expiry(paid.id) == second
    await shared_ledger.recorder().complete(Subject(paid.id, str(second)))
    assert (await shared_ledger.payment(paid.id)).status is S.EXPIRED
