"""What may be admitted, decided under the payment's row lock."""

from datetime import timedelta

import pytest

from payonce.domain.admission import admit_capture, admit_refund, admit_void
from payonce.domain.errors import NotAllowed, OperationInProgress
from payonce.domain.operations import OperationKind
from payonce.domain.payment import Payment, PaymentStatus
from tests.support.rows import CAPTURE_BEFORE, NOW, operation, payment, under_way

CAPTURABLE = [status for status in PaymentStatus if status.capturable]
UNDECIDED = [PaymentStatus.INIT, PaymentStatus.PROCESSING]
REFUSING = [status for status in PaymentStatus if status not in CAPTURABLE + UNDECIDED]
CLOSED = f"is over: it closed at {CAPTURE_BEFORE - timedelta(minutes=5):%Y-%m-%dT%H:%M:%SZ}"
PENDING_KINDS = [kind for kind in OperationKind if kind.exclusive]


@pytest.mark.parametrize("status", CAPTURABLE)
def test_all_that_is_capturable_is_captured_or_voided(status: PaymentStatus) -> None:
    before = payment(status)
    assert admit_capture(before, amount_minor=None, now=NOW) == before.capturable_minor
    assert admit_void(before, asked=False) == before.capturable_minor


def test_a_part_is_captured_up_to_what_is_left() -> None:
    before = payment(PaymentStatus.PARTIALLY_CAPTURED)
    assert admit_capture(before, amount_minor=600, now=NOW) == 600
    with pytest.raises(NotAllowed) as refused:
        admit_capture(before, amount_minor=601, now=NOW)
    assert refused.value.refusal == "amount_too_large"


@pytest.mark.parametrize("status", REFUSING)
def test_nothing_is_captured_or_voided_from_other_statuses(status: PaymentStatus) -> None:
    with pytest.raises(NotAllowed) as refused:
        admit_capture(payment(status), amount_minor=None, now=NOW)
    assert refused.value.refusal == "payment_not_capturable"
    if status is not PaymentStatus.REQUIRES_ACTION:
        with pytest.raises(NotAllowed) as refused:
            admit_void(payment(status), asked=True)
        assert refused.value.refusal == "payment_not_voidable"


@pytest.mark.parametrize("status", [PaymentStatus.REQUIRES_ACTION, PaymentStatus.PROCESSING])
def test_a_void_abandons_what_the_customer_was_asked_for_and_has_not_paid(status: PaymentStatus) -> None:
    assert admit_void(payment(status), asked=True) == 1000
    given_up = payment(status, pending_operation=under_way(operation(OperationKind.VOID)))
    with pytest.raises(OperationInProgress, match="A void of this payment is pending"):
        admit_void(given_up, asked=True)


@pytest.mark.parametrize("status", UNDECIDED)
def test_an_undecided_payment_is_in_progress(status: PaymentStatus) -> None:
    with pytest.raises(OperationInProgress):
        admit_capture(payment(status), amount_minor=None, now=NOW)
    with pytest.raises(OperationInProgress):
        admit_void(payment(status), asked=False)


@pytest.mark.parametrize("kind", PENDING_KINDS)
def test_one_capture_or_void_at_a_time(kind: OperationKind) -> None:
    busy = payment(PaymentStatus.AUTHORIZED, pending_operation=under_way(operation(kind)))
    with pytest.raises(OperationInProgress, match=f"A {kind} of this payment is pending"):
        admit_capture(busy, amount_minor=1, now=NOW)
    with pytest.raises(OperationInProgress):
        admit_void(busy, asked=False)


@pytest.mark.parametrize(
    ("before_s", "admitted"), [(301, True), (300, False), (299, False), (0, False), (-1, False)]
)
def test_captures_close_five_minutes_before_the_authorization_ends(before_s: int, admitted: bool) -> None:
    now = CAPTURE_BEFORE - timedelta(seconds=before_s)
    if admitted:
        assert admit_capture(payment(PaymentStatus.AUTHORIZED), amount_minor=None, now=now) == 1000
    else:
        with pytest.raises(NotAllowed, match=CLOSED):
            admit_capture(payment(PaymentStatus.AUTHORIZED), amount_minor=None, now=now)


def test_a_capture_after_expiry_says_that_the_window_is_over_and_when() -> None:
    with pytest.raises(NotAllowed, match=CLOSED) as refused:
        admit_capture(
            payment(PaymentStatus.EXPIRED), amount_minor=None, now=CAPTURE_BEFORE + timedelta(days=1)
        )
    assert refused.value.refusal == "payment_not_capturable"
    with pytest.raises(NotAllowed, match="A payment that is voided cannot be captured"):
        admit_capture(
            payment(PaymentStatus.VOIDED), amount_minor=None, now=CAPTURE_BEFORE + timedelta(days=1)
        )


def test_a_void_is_possible_to_the_end() -> None:
    assert admit_void(payment(PaymentStatus.AUTHORIZED), asked=False) == 1000


@pytest.mark.parametrize(
    ("before", "refundable"),
    [
        (payment(PaymentStatus.CAPTURED), 1000),
        (payment(PaymentStatus.PARTIALLY_CAPTURED), 400),
        (payment(PaymentStatus.PARTIALLY_REFUNDED), 700),
        (payment(PaymentStatus.PARTIALLY_REFUNDED, amount_refund_pending_minor=699), 1),
        (payment(PaymentStatus.CAPTURED, review={"reason": "late_void", "since": "…"}), 1000),
    ],
)
def test_refunds_run_in_parallel_up_to_what_is_captured(before: Payment, refundable: int) -> None:
    assert admit_refund(before, amount_minor=None) == refundable
    assert admit_refund(before, amount_minor=refundable) == refundable
    with pytest.raises(NotAllowed) as refused:
        admit_refund(before, amount_minor=refundable + 1)
    assert refused.value.refusal == "amount_too_large"


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (payment(PaymentStatus.INIT), "nothing was captured"),
        (payment(PaymentStatus.AUTHORIZED), "nothing was captured"),
        (payment(PaymentStatus.VOIDED), "nothing was captured"),
        (payment(PaymentStatus.FAILED), "nothing was captured"),
        (payment(PaymentStatus.REFUNDED), "nothing is left to refund"),
        (payment(PaymentStatus.CAPTURED, amount_refund_pending_minor=1000), "nothing is left to refund"),
    ],
)
def test_what_was_not_captured_or_is_used_up_is_not_refundable(before: Payment, why: str) -> None:
    with pytest.raises(NotAllowed, match=why) as refused:
        admit_refund(before, amount_minor=None)
    assert refused.value.refusal == "payment_not_refundable"
