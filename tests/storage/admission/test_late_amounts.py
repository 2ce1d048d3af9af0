"""What an acquirer says has moved after its failure was recorded counts against the limits until it is decided."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from psycopg import IntegrityError

from api.admission.admission import Admission
from api.admission.waiting import Result
from payonce.domain.answers import AnswerKind
from payonce.domain.facts import DeclineCode, Declined, FailureCode, NotProcessed, Reversed
from payonce.domain.operations import Abilities, Operation, OperationKind, OperationStatus, Subject
from payonce.domain.payment import Payment, PaymentStatus
from payonce.storage import payments
from tests.storage.admitting import NoTemporal, post
from tests.storage.expiring import OVER, cases
from tests.storage.ledger import IDS, Ledger, runtime_of, subject
from tests.support.eventually import eventually
from tests.support.rows import approval

K, S, O = OperationKind, PaymentStatus, OperationStatus
FAILED = NotProcessed(FailureCode.NOT_PROCESSED)
Case = tuple[Payment, Operation]


@pytest.fixture
def admission(ledger: Ledger) -> Admission:
    temporal: Any = NoTemporal()
    return Admission(runtime_of(ledger), temporal)


async def failed(ledger: Ledger, kind: OperationKind, *, of: Payment | None = None, **changes: Any) -> Case:
    """A payment and an operation of it that was proven not to have been processed."""
    paid = of or await ledger.add_payment(S.CAPTURED if kind is K.REFUND else S.AUTHORIZED)
    operation = await ledger.add_operation(paid, kind, **changes)
    await ledger.recorder().record(subject(operation), attempt=1, fact=FAILED)
    return paid, operation


async def succeeds_late(ledger: Ledger, of: Operation, *, reversible: bool = True, **stated: Any) -> None:
    fact = approval(of, **stated)
    await ledger.recorder().record(
        subject(of), attempt=1, fact=fact, abilities=Abilities(reversible=reversible)
    )


async def case_of(ledger: Ledger, late: Operation) -> Operation:
    return await ledger.operation(IDS.reversal(reference=f"{late.id}-1"))


async def refund(admission: Admission, ledger: Ledger, paid: Payment, amount: int | None, key: str) -> Result:
    return await admission.refund(post(ledger, key), paid.id, amount_minor=amount, reason=None, metadata={})


def refusal(result: Result) -> AnswerKind | None:
    return result.answer and result.answer.kind


async def reason(ledger: Ledger, paid: Payment) -> str:
    review = (await ledger.payment(paid.id)).review
    assert review is not None
    return str(review["reason"])


async def test_no_second_refund_is_admitted_over_a_late_one(ledger: Ledger, admission: Admission) -> None:
    """The hole of issue 12 c: 2000 refunded of 1000, although the first 1000 were known."""
    paid, late = await failed(ledger, K.REFUND)
    await succeeds_late(ledger, late)
    result = await refund(admission, ledger, paid, 1000, "second")
    assert refusal(result) is AnswerKind.PAYMENT_NOT_REFUNDABLE
    after = await ledger.payment(paid.id)
    assert (after.refundable_minor, after.amount_refunded_minor) == (0, 0)
    assert after.review is not None
    assert after.review["reason"] == f"late_refund {late.id}: 1000 INR was refunded"


@pytest.mark.parametrize(("stated", "left"), [(300, 700), (1, 999), (2000, 0)])
async def test_the_amount_counts_that_the_acquirer_states(
    ledger: Ledger, admission: Admission, stated: int, left: int
) -> None:
    paid, late = await failed(ledger, K.REFUND)
    await succeeds_late(ledger, late, amount_minor=stated)
    too_large = await refund(admission, ledger, paid, left + 1, "too large")
    assert refusal(too_large) in (AnswerKind.AMOUNT_TOO_LARGE, AnswerKind.PAYMENT_NOT_REFUNDABLE)
    assert (await ledger.payment(paid.id)).refundable_minor == left
    assert refusal(await refund(admission, ledger, paid, None, "the rest")) is (
        None if left else AnswerKind.PAYMENT_NOT_REFUNDABLE
    )
    assert (await ledger.payment(paid.id)).amount_refund_pending_minor == left


@pytest.mark.parametrize("kind", [K.CAPTURE, K.VOID])
async def test_what_a_late_capture_or_void_took_is_not_captured_and_expires_all_the_same(
    ledger: Ledger, admission: Admission, kind: OperationKind
) -> None:
    paid, late = await failed(ledger, kind)
    await succeeds_late(ledger, late)
    for amount in (None, 1):
        result = await admission.capture(
            post(ledger, f"capture {amount}"), paid.id, amount_minor=amount, final=True
        )
        assert refusal(result) is AnswerKind.PAYMENT_NOT_CAPTURABLE
    await ledger.rows("UPDATE payments SET capture_before = :over WHERE id = :id", over=OVER, id=paid.id)
    expiry_id = await cases(ledger).admit_expiry(paid.id)
    assert expiry_id is not None
    await ledger.recorder().complete(Subject(paid.id, expiry_id))
    assert (await ledger.payment(paid.id)).status is S.EXPIRED


async def test_a_void_of_what_was_voided_late_is_admitted(ledger: Ledger, admission: Admission) -> None:
    """It moves nothing, and has an amount that Postgres takes."""
    paid, late = await failed(ledger, K.VOID)
    await succeeds_late(ledger, late)
    await admission.void(post(ledger, "void"), paid.id, reason=None)
    pending = (await ledger.payment(paid.id)).pending_operation
    assert pending is not None
    assert (pending["type"], pending["amount"]) == ("void", 1000)


async def test_a_confirmed_reversal_gives_its_amount_back_in_its_own_transaction(ledger: Ledger) -> None:
    paid, late = await failed(ledger, K.CAPTURE)
    await succeeds_late(ledger, late)
    assert (await ledger.payment(paid.id)).capturable_minor == 0
    case = await case_of(ledger, late)
    assert (case.status, case.target_kind, case.amount_undecided_minor) == (O.PENDING, K.CAPTURE, 1000)
    await asyncio.gather(*(ledger.recorder().complete(subject(case)) for _ in range(5)))
    after, done = await ledger.payment(paid.id), await case_of(ledger, late)
    assert (after.capturable_minor, after.amount_capture_undecided_minor) == (1000, 0)
    assert (done.status, done.amount_undecided_minor) == (O.SUCCEEDED, 0)
    await succeeds_late(ledger, late)
    assert await ledger.payment(paid.id) == after


async def test_a_capture_that_nobody_can_reverse_stays_held_until_it_is_refunded(ledger: Ledger) -> None:
    paid, late = await failed(ledger, K.CAPTURE, amount_minor=400)
    await succeeds_late(ledger, late, reversible=False)
    assert (await ledger.payment(paid.id)).capturable_minor == 600
    assert (await case_of(ledger, late)).sent_as is K.REFUND


async def test_one_attempt_counts_once_however_often_its_success_is_heard_of(ledger: Ledger) -> None:
    paid, late = await failed(ledger, K.REFUND, amount_minor=300)
    await asyncio.gather(*(succeeds_late(ledger, late) for _ in range(10)))
    after = await ledger.payment(paid.id)
    assert (after.amount_refund_undecided_minor, after.refundable_minor) == (300, 700)
    assert [type_ for _, type_ in await ledger.events(paid.id)].count("payment.late_success") == 1


async def test_the_late_refunds_of_two_operations_add_up(ledger: Ledger) -> None:
    paid, first = await failed(ledger, K.REFUND, amount_minor=600)
    _, second = await failed(ledger, K.REFUND, of=paid, amount_minor=700)
    await asyncio.gather(*(succeeds_late(ledger, late) for late in (first, second)))
    after = await ledger.payment(paid.id)
    assert (after.amount_refund_undecided_minor, after.refundable_minor) == (1300, 0)
    said = await reason(ledger, paid)
    assert "over-refunded by 300" in said
    assert all(late.id in said for late in (first, second))


async def test_another_currency_holds_all_and_goes_to_review(ledger: Ledger, admission: Admission) -> None:
    paid, late = await failed(ledger, K.REFUND, amount_minor=300)
    await succeeds_late(ledger, late, amount_minor=5, currency="USD")
    assert refusal(await refund(admission, ledger, paid, 1, "second")) is AnswerKind.PAYMENT_NOT_REFUNDABLE
    assert await reason(ledger, paid) == f"late_refund {late.id}: 5 USD was refunded; the payment is in INR"


async def test_an_absurd_amount_is_recorded_like_any_other(ledger: Ledger) -> None:
    paid, late = await failed(ledger, K.REFUND)
    await succeeds_late(ledger, late, amount_minor=10**30)
    assert (await ledger.payment(paid.id)).refundable_minor == 0


async def test_a_refund_that_was_admitted_before_we_knew_is_over_refunded(
    ledger: Ledger, admission: Admission
) -> None:
    paid, late = await failed(ledger, K.REFUND)
    second = await ledger.add_operation(paid, K.REFUND)
    await succeeds_late(ledger, late)
    assert (await ledger.payment(paid.id)).refundable_minor == 0
    assert await reason(ledger, paid) == (
        f"late_refund {late.id}: 1000 INR was refunded; over-refunded by 1000 if what is pending succeeds"
    )
    await ledger.recorder().record(subject(second), attempt=1, fact=approval(second))
    after = await ledger.payment(paid.id)
    assert (after.status, after.refundable_minor, after.amount_refunded_minor) == (S.REFUNDED, 0, 1000)
    assert refusal(await refund(admission, ledger, paid, 1, "third")) is AnswerKind.PAYMENT_NOT_REFUNDABLE


async def test_a_refund_waits_for_whoever_records_a_late_one(ledger: Ledger, admission: Admission) -> None:
    """Fails without the row lock: what is admitted would not see what was recorded before it."""
    paid, late = await failed(ledger, K.REFUND)
    async with ledger.database.transaction() as connection:
        await connection.fetch(payments.locked(paid.id))
        recording = asyncio.create_task(succeeds_late(ledger, late))
        await ledger.waits_for_a_lock(recording)
        asking = asyncio.create_task(refund(admission, ledger, paid, 1000, "second"))

        async def both_wait() -> bool:
            query = "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            return bool((await ledger.rows(query))[0].n == 2)

        await eventually(both_wait)
    await recording
    assert refusal(await asking) is AnswerKind.PAYMENT_NOT_REFUNDABLE


async def test_refunds_and_late_successes_at_once_never_exceed_what_was_captured_once_it_is_known(
    ledger: Ledger, admission: Admission
) -> None:
    """Whatever is admitted fits into what was known then: those before the late successes, or what they left."""
    paid = await ledger.add_payment(S.CAPTURED)
    known = [(await failed(ledger, K.REFUND, of=paid, amount_minor=100))[1] for _ in range(5)]
    asked = [refund(admission, ledger, paid, 70, f"k{number}") for number in range(20)]
    results = await asyncio.gather(*asked, *(succeeds_late(ledger, late) for late in known))
    admitted = Counter(refusal(result) for result in results if result is not None)[None]
    after = await ledger.payment(paid.id)
    assert after.amount_refund_undecided_minor == 500
    assert after.amount_refund_pending_minor == 70 * admitted
    assert after.refundable_minor == max(0, 1000 - 500 - 70 * admitted)
    last = await refund(admission, ledger, paid, after.refundable_minor + 1, "one more")
    assert refusal(last) in (AnswerKind.AMOUNT_TOO_LARGE, AnswerKind.PAYMENT_NOT_REFUNDABLE)


async def test_a_refund_of_more_than_was_asked_for_holds_all_of_it_until_it_is_reversed(
    ledger: Ledger, admission: Admission
) -> None:
    """The same kind, before any outcome: the acquirer has moved 1000 for 300, and we know."""
    paid = await ledger.add_payment(S.CAPTURED)
    wrong = await ledger.add_operation(paid, K.REFUND, amount_minor=300)
    for _ in range(2):
        fact = approval(wrong, amount_minor=1000)
        await ledger.recorder().record(subject(wrong), attempt=1, fact=fact)
    assert refusal(await refund(admission, ledger, paid, 700, "k")) is AnswerKind.PAYMENT_NOT_REFUNDABLE
    await ledger.recorder().record(subject(wrong), attempt=1, fact=Reversed())
    after = await ledger.payment(paid.id)
    assert (after.refundable_minor, after.amount_refund_undecided_minor) == (1000, 0)
    assert (await ledger.operation(wrong.id)).amount_undecided_minor == 0


async def test_a_late_refund_is_shown_again_when_another_review_ends(ledger: Ledger) -> None:
    """It was found in review before, and nobody has decided about the late one."""
    paid, late = await failed(ledger, K.REFUND, amount_minor=300)
    unknown = await ledger.add_operation(paid, K.REFUND, amount_minor=10)
    recorder = ledger.recorder()
    await recorder.review(subject(unknown), reason="unknown")
    await succeeds_late(ledger, late)
    assert (await reason(ledger, paid)).startswith("unknown / late_refund ")
    await recorder.record(subject(unknown), attempt=1, fact=Declined(DeclineCode.GENERIC_DECLINE))
    assert await reason(ledger, paid) == f"late_refund {late.id}: 300 INR was refunded"


async def test_a_late_refund_that_an_earlier_version_hid_behind_another_review_comes_up(
    ledger: Ledger,
) -> None:
    paid, late = await failed(ledger, K.REFUND, amount_minor=300)
    unknown = await ledger.add_operation(paid, K.REFUND, amount_minor=10)
    recorder = ledger.recorder()
    await recorder.review(subject(unknown), reason="unknown")
    before = (await ledger.payment(paid.id)).review
    await succeeds_late(ledger, late)
    await ledger.rows("UPDATE payments SET review = :v WHERE id = :id", v=json.dumps(before), id=paid.id)
    await recorder.record(subject(unknown), attempt=1, fact=Declined(DeclineCode.GENERIC_DECLINE))
    assert await reason(ledger, paid) == f"late_refund {late.id}: 300 INR was refunded"


async def test_a_reversal_that_is_not_confirmed_names_operation_and_amount(ledger: Ledger) -> None:
    paid, late = await failed(ledger, K.CAPTURE, amount_minor=400)
    await succeeds_late(ledger, late)
    case = await case_of(ledger, late)
    await ledger.recorder().review(subject(case), reason="outcome_unknown")
    assert await reason(ledger, paid) == (
        f"late_capture {late.id}: 400 INR was captured; not undone yet (outcome_unknown)"
    )
    await ledger.recorder().complete(subject(case))
    assert (await ledger.payment(paid.id)).review is None


@pytest.mark.parametrize(
    ("table", "changes", "constraint"),
    [
        ("payments", "amount_refund_undecided_minor = -1", "payments_undecided_check"),
        ("payments", "amount_capture_undecided_minor = -1", "payments_undecided_check"),
        ("operations", "amount_undecided_minor = -1", "operations_undecided_check"),
        ("operations", "status = 'succeeded'", "operations_undecided_check"),
        ("operations", "kind = 'refund', target_kind = NULL", "operations_undecided_check"),
        ("operations", "kind = 'refund'", "operations_target_kind_check"),
        ("operations", "target_kind = 'reverse'", "operations_target_kind_check"),
    ],
)
async def test_what_cannot_be_held_postgres_refuses(
    ledger: Ledger, table: str, changes: str, constraint: str
) -> None:
    paid, late = await failed(ledger, K.REFUND)
    await succeeds_late(ledger, late)
    id_ = paid.id if table == "payments" else (await case_of(ledger, late)).id
    with pytest.raises(IntegrityError, match=constraint):
        await ledger.rows(f"UPDATE {table} SET {changes} WHERE id = :id", id=id_)
