"""Which operations a person must decide, why, and until when; by example."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, assert_never

import pytest

from payonce.domain import contradictions, ending, reviews, settlement
from payonce.domain.answers import timestamp
from payonce.domain.facts import DeclineCode, Declined, FailureCode, NotProcessed
from payonce.domain.operations import Abilities, AttemptState, OperationKind, OperationStatus, Origin
from payonce.domain.payment import PaymentStatus
from payonce.domain.reviews import ReviewReason
from tests.support.rows import NOW, approval, attempt, operation, payment, under_way

S, K, A, O, R = PaymentStatus, OperationKind, AttemptState, OperationStatus, ReviewReason
FAILED = NotProcessed(FailureCode.NOT_PROCESSED)
DECLINED = Declined(DeclineCode.PROCESSING_ERROR)


@pytest.mark.parametrize("reason", R)
def test_every_reason_has_words_and_a_due_time_of_at_least_an_hour_and_at_most_a_week(
    reason: ReviewReason,
) -> None:
    assert timedelta(hours=1) <= reason.due_after <= timedelta(days=7)
    assert reason.meaning


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("not_found_yet", R.UNDECIDED),
        ("outcome_unknown", R.UNDECIDED),
        ("engine_refused", R.ENGINE_REFUSED),
        ("recording_lost", R.RECORDING_LOST),
        ("not_reversible", R.NOT_REVERSIBLE),
        ("amount_mismatch", R.AMOUNT_MISMATCH),
    ],
)
def test_a_pending_operation_is_in_review_for_the_reason_that_its_words_say(
    words: str, reason: ReviewReason
) -> None:
    capture = operation(K.CAPTURE)
    busy = payment(S.AUTHORIZED, pending_operation=under_way(capture))
    (opened,) = ending.review(busy, capture, reason=words, now=NOW).opened
    assert (opened.operation_id, opened.reason, opened.words) == (capture.id, reason, words)
    assert (opened.opened_at, opened.due_at) == (NOW, NOW + reason.due_after)


def test_a_review_that_is_open_is_not_opened_again() -> None:
    capture = operation(K.CAPTURE)
    busy = payment(S.AUTHORIZED, pending_operation=under_way(capture))
    first = ending.review(busy, capture, reason="unknown", now=NOW)
    assert ending.review(first.payment, first.operation, reason="rejected", now=NOW).opened == ()


def test_an_outcome_ends_the_review() -> None:
    refund = operation(K.REFUND)
    held = payment(S.CAPTURED, amount_refund_pending_minor=1000)
    called = ending.review(held, refund, reason="unknown", now=NOW)
    assert reviews.is_open(called.operation)
    for fact in (approval(refund), FAILED):
        settled = settlement.settle(called.payment, called.operation, attempt(refund), fact, now=NOW)
        assert not reviews.is_open(settled.operation)
        assert settled.operation.review_at is None


def test_a_late_success_that_nobody_undoes_is_a_review_of_its_case() -> None:
    refund = operation(K.REFUND, status=O.FAILED)
    found = settlement.settle(
        payment(S.CAPTURED), refund, attempt(refund, A.DECLINED), approval(refund), now=NOW
    )
    settled, case = contradictions.open_case(found, case_id="op_case", abilities=Abilities(), now=NOW)
    (opened,) = settled.opened
    assert (opened.operation_id, opened.reason) == ("op_case", R.LATE)
    assert opened.words == "late_refund op_refund: 1000 INR was refunded"
    assert reviews.is_open(case)


def test_a_late_success_that_is_undone_by_us_is_no_review() -> None:
    capture = operation(K.CAPTURE, status=O.FAILED)
    found = settlement.settle(
        payment(S.AUTHORIZED), capture, attempt(capture, A.DECLINED), approval(capture), now=NOW
    )
    settled, case = contradictions.open_case(found, case_id="op_case", abilities=Abilities(), now=NOW)
    assert settled.opened == ()
    assert not reviews.is_open(case)


def test_an_expiry_that_the_acquirer_did_not_confirm_is_a_review_of_the_expiry() -> None:
    expiry = operation(K.EXPIRE)
    busy = payment(S.AUTHORIZED, pending_operation=under_way(expiry))
    settled = settlement.settle(busy, expiry, attempt(expiry), DECLINED, now=NOW)
    (opened,) = settled.opened
    assert (opened.operation_id, opened.reason) == (expiry.id, R.EXPIRY_NOT_CONFIRMED)
    assert reviews.is_open(settled.operation)


def test_an_expiry_that_was_undecided_before_is_in_review_for_its_new_reason_alone() -> None:
    expiry = operation(K.EXPIRE)
    busy = payment(S.AUTHORIZED, pending_operation=under_way(expiry))
    called = ending.review(busy, expiry, reason="unknown", now=NOW)
    settled = settlement.settle(called.payment, called.operation, attempt(expiry), DECLINED, now=NOW)
    assert settled.payment.review is not None
    assert settled.payment.review["reason"] == "expiry_not_confirmed"
    assert [opened.reason for opened in settled.opened] == [R.EXPIRY_NOT_CONFIRMED]


def test_what_an_earlier_version_left_marked_after_its_outcome_is_not_in_review() -> None:
    for status in (O.SUCCEEDED, O.FAILED):
        assert not reviews.is_open(operation(K.CAPTURE, status=status, review_at=NOW))


@pytest.mark.parametrize("kind", K)
@pytest.mark.parametrize("status", O)
@pytest.mark.parametrize("origin", Origin)
def test_an_operation_in_review_has_one_question(
    kind: OperationKind, status: OperationStatus, origin: Origin
) -> None:
    """And one that nobody was called for has none."""
    of = operation(kind, status=status, origin=origin, amount_undecided_minor=1000)
    assert not reviews.is_open(of)
    called = replace(of, review_at=NOW)
    match reviews.question(called):
        case None:
            assert not reviews.is_open(called)
        case reviews.Question.OUTCOME:
            assert status is O.PENDING
        case reviews.Question.LATE:
            assert kind is K.REVERSE
        case reviews.Question.RELEASE:
            assert status is O.FAILED
            assert kind is K.EXPIRE or (kind, origin) == (K.VOID, Origin.PAYONCE)
        case reviews.Question.UNDONE:
            assert kind in (K.UNDO, K.REDO)
        case reviews.Question.FOREIGN:
            assert origin is Origin.ACQUIRER
        case other:
            assert_never(other)


@pytest.mark.parametrize("kind", K)
def test_what_an_acquirer_did_is_no_question_once_nothing_is_held_for_it(kind: OperationKind) -> None:
    of = operation(kind, status=O.SUCCEEDED, origin=Origin.ACQUIRER, review_at=NOW, amount_undecided_minor=0)
    assert reviews.question(of) is None


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        (K.REFUND, {}, "refund_undecided"),
        (K.EXPIRE, {"status": O.FAILED}, "expiry_not_confirmed"),
        (K.REVERSE, {"status": O.FAILED, "target_kind": K.REFUND}, "late_refund op_1: 1000 INR was refunded"),
        (
            K.UNDO,
            {
                "origin": Origin.ACQUIRER,
                "status": O.SUCCEEDED,
                "target_kind": K.CAPTURE,
                "connector_reference": "u1",
            },
            "undone_capture op_undo: 1000 INR of op_1 was taken back",
        ),
        (
            K.UNDO,
            {
                "origin": Origin.ACQUIRER,
                "status": O.SUCCEEDED,
                "target_kind": K.CAPTURE,
                "reason": "declined",
            },
            "contradicted_capture op_undo: 1000 INR of op_1 counts as done, and the acquirer says declined",
        ),
        (
            K.REFUND,
            {"origin": Origin.ACQUIRER, "status": O.SUCCEEDED},
            "foreign_refund op_refund: 1000 INR was refunded",
        ),
    ],
)
def test_what_is_shown_again_of_a_review_are_its_own_words(
    kind: OperationKind, changes: dict[str, Any], words: str
) -> None:
    held = {"review_at": NOW, "target_reference": "op_1-1", "amount_undecided_minor": 1000, **changes}
    shown = reviews.of(payment(S.CAPTURED), operation(kind, **held))
    assert shown == {"reason": words, "since": timestamp(NOW)}
