"""What each fact makes of each kind of operation, by example."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from payonce.domain.answers import AnswerKind, refund_view
from payonce.domain.ending import review, succeed
from payonce.domain.facts import Fact, FailureCode, NotProcessed, Pending, Reversed, Unknown, Unsent
from payonce.domain.operations import Attempt, AttemptState, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.settlement import Settlement, give_up, settle
from tests.support.rows import CAPTURE_BEFORE, approval, attempt, captured, operation, under_way
from tests.unit.domain.examples import (
    AUTHORIZE,
    AUTOMATIC,
    CAPTURE,
    DECLINED,
    LATER,
    REFUND,
    VOID,
    Case,
    case,
    types,
)

S, K, A, O = PaymentStatus, OperationKind, AttemptState, OperationStatus
EVERY = pytest.mark.parametrize("of", [AUTHORIZE, AUTOMATIC, CAPTURE, VOID, REFUND], ids=str)


@pytest.mark.parametrize(
    ("of", "status", "events", "answer"),
    [
        (AUTHORIZE, S.AUTHORIZED, ["payment.authorized"], AnswerKind.PAYMENT),
        (AUTOMATIC, S.CAPTURED, ["payment.authorized", "payment.captured"], AnswerKind.PAYMENT),
        (CAPTURE, S.CAPTURED, ["payment.captured"], AnswerKind.PAYMENT_CHANGED),
        (VOID, S.VOIDED, ["payment.voided"], AnswerKind.PAYMENT_CHANGED),
        (REFUND, S.REFUNDED, ["refund.succeeded", "payment.refunded"], AnswerKind.REFUND),
    ],
)
def test_an_approval_does_what_was_asked(
    of: Case, status: PaymentStatus, events: list[str], answer: AnswerKind
) -> None:
    settled = of.settled((captured if of is AUTOMATIC else approval)(of.operation))
    assert settled.payment.status is status
    assert types(settled) == events
    assert settled.answer is not None
    assert settled.answer.kind is answer
    assert settled.operation.status is O.SUCCEEDED
    assert settled.operation.connector_reference == f"acq-{of.operation.kind}"
    assert settled.attempt is not None
    assert settled.attempt.state is A.APPROVED
    assert settled.payment.pending_operation is None
    assert not settled.late


def test_an_authorization_holds_its_amount_until_its_time_is_over() -> None:
    settled = AUTHORIZE.settled(approval(AUTHORIZE.operation)).payment
    assert (settled.amount_authorized_minor, settled.capturable_minor) == (1000, 1000)
    assert settled.capture_before == CAPTURE_BEFORE
    assert settled.connector_reference == "acq-authorize"


def test_an_automatic_payment_is_captured_at_once_and_never_expires() -> None:
    settled = AUTOMATIC.settled(captured(AUTOMATIC.operation)).payment
    assert (settled.amount_captured_minor, settled.capture_before) == (1000, None)


@pytest.mark.parametrize(
    ("final", "status"), [(True, S.CAPTURED), (False, S.PARTIALLY_CAPTURED)], ids=["final", "not final"]
)
def test_a_part_is_captured_and_the_rest_released_when_final(final: bool, status: PaymentStatus) -> None:
    of = case(K.CAPTURE, S.AUTHORIZED, amount_minor=400, operation={"final": final})
    settled = of.settled(approval(of.operation))
    assert (settled.payment.status, settled.payment.amount_captured_minor) == (status, 400)
    assert types(settled) == [f"payment.{status}"]
    assert settled.payment.capturable_minor == (0 if final else 600)


def test_the_last_part_ends_the_captures_even_when_not_final() -> None:
    of = case(K.CAPTURE, S.PARTIALLY_CAPTURED, amount_minor=600, operation={"final": False})
    assert of.settled(approval(of.operation)).payment.status is S.CAPTURED


def test_refunds_made_before_show_once_nothing_is_capturable_any_more() -> None:
    of = case(
        K.CAPTURE, S.PARTIALLY_CAPTURED, amount_minor=100, amount_refunded_minor=50, operation={"final": True}
    )
    settled = of.settled(approval(of.operation))
    assert types(settled) == ["payment.captured", "payment.partially_refunded"]
    assert settled.payment.status is S.PARTIALLY_REFUNDED


@pytest.mark.parametrize("kind", [K.VOID, K.EXPIRE])
@pytest.mark.parametrize(
    ("refunded", "events"),
    [
        (0, ["payment.captured"]),
        (100, ["payment.captured", "payment.partially_refunded"]),
        (400, ["payment.captured", "payment.refunded"]),
    ],
)
def test_releasing_the_rest_of_a_partly_captured_payment_leaves_it_captured(
    kind: OperationKind, refunded: int, events: list[str]
) -> None:
    of = case(kind, S.PARTIALLY_CAPTURED, amount_minor=600, amount_refunded_minor=refunded)
    settled = succeed(of.payment, of.operation, None, reply=None, now=LATER)
    assert types(settled) == events


def test_a_refund_while_something_is_capturable_shows_in_the_amounts_only() -> None:
    of = case(K.REFUND, S.PARTIALLY_CAPTURED, amount_minor=400)
    settled = of.settled(approval(of.operation))
    assert settled.payment.status is S.PARTIALLY_CAPTURED
    assert (settled.payment.amount_refunded_minor, settled.payment.refundable_minor) == (400, 0)
    assert types(settled) == ["refund.succeeded", "payment.partially_captured"]


def test_a_refund_in_part_leaves_the_rest_refundable() -> None:
    of = case(K.REFUND, S.CAPTURED, amount_minor=300)
    settled = of.settled(approval(of.operation))
    assert settled.payment.status is S.PARTIALLY_REFUNDED
    assert (settled.payment.refundable_minor, settled.payment.amount_refund_pending_minor) == (700, 0)


def test_an_expiry_that_nobody_asked_for_has_no_answer() -> None:
    of = case(K.EXPIRE, S.AUTHORIZED)
    settled = succeed(of.payment, of.operation, None, reply=None, now=LATER)
    assert (settled.payment.status, settled.answer) == (S.EXPIRED, None)
    assert types(settled) == ["payment.expired"]


@pytest.mark.parametrize(
    ("fact", "kind", "code"),
    [
        (DECLINED, AnswerKind.PAYMENT_DECLINED, "payment_declined"),
        (NotProcessed(FailureCode.CARD_DATA_LOST), AnswerKind.PAYMENT_FAILED, "card_data_lost"),
        (Reversed(), AnswerKind.PAYMENT_FAILED, "not_processed"),
    ],
)
@pytest.mark.parametrize(
    ("of", "status"),
    [(AUTHORIZE, S.FAILED), (AUTOMATIC, S.FAILED), (CAPTURE, S.AUTHORIZED), (VOID, S.AUTHORIZED)],
)
def test_a_no_fails_the_operation_and_says_why(
    of: Case, status: PaymentStatus, fact: Fact, kind: AnswerKind, code: str
) -> None:
    settled = of.settled(fact)
    assert settled.payment.status is status
    assert settled.payment.pending_operation is None
    assert settled.payment.last_error is not None
    assert settled.payment.last_error["code"] == code
    assert settled.operation.status is O.FAILED
    assert settled.answer is not None
    assert settled.answer.kind is kind
    assert types(settled) == (["payment.failed"] if status is S.FAILED else [])


@pytest.mark.parametrize("fact", [DECLINED, NotProcessed(FailureCode.NOT_PROCESSED), Reversed()])
def test_a_refund_that_fails_gives_its_amount_back(fact: Fact) -> None:
    settled = REFUND.settled(fact)
    assert settled.payment.status is S.CAPTURED
    assert settled.payment.refundable_minor == 1000
    assert types(settled) == ["refund.failed"]
    assert settled.events[0].data == refund_view(settled.operation)
    assert settled.answer is not None
    assert json.loads(settled.answer.body)["status"] == "failed"


@pytest.mark.parametrize(
    ("of", "status", "events"),
    [
        (AUTHORIZE, S.PROCESSING, ["payment.processing"]),
        (AUTOMATIC, S.PROCESSING, ["payment.processing"]),
        (CAPTURE, S.AUTHORIZED, []),
        (VOID, S.AUTHORIZED, []),
        (REFUND, S.CAPTURED, ["refund.pending"]),
    ],
)
@pytest.mark.parametrize("fact", [Unknown("timeout"), Pending("acq-1", "review")], ids=["unknown", "pending"])
def test_a_doubt_is_answered_with_202_until_there_is_an_outcome(
    of: Case, status: PaymentStatus, events: list[str], fact: Fact
) -> None:
    settled = of.settled(fact)
    assert settled.payment.status is status
    assert types(settled) == events
    assert settled.answer is None
    assert settled.operation.status is O.PENDING
    assert settled.operation.deferred_at == LATER
    assert settled.attempt is not None
    assert settled.attempt.state is A.UNKNOWN
    assert settled.payment.pending_operation == of.payment.pending_operation


@EVERY
def test_what_was_not_sent_changes_nothing_but_the_attempt(of: Case) -> None:
    settled = of.settled(Unsent())
    assert settled.attempt is not None
    assert settled.attempt.state is A.NOT_SENT
    assert (settled.payment, settled.operation, settled.events) == (of.payment, of.operation, ())


@EVERY
@pytest.mark.parametrize("state", [A.UNKNOWN, A.REVERSING])
def test_not_sent_proves_nothing_about_an_attempt_that_may_have_been(of: Case, state: AttemptState) -> None:
    settled = of.settled(Unsent(), state)
    assert settled == Settlement(of.payment, of.operation, attempt(of.operation, state))


@pytest.mark.parametrize("of", [AUTHORIZE, AUTOMATIC, CAPTURE, REFUND], ids=str)
@pytest.mark.parametrize("changes", [{"amount_minor": 999}, {"amount_minor": 1001}, {"currency": "USD"}])
def test_another_amount_or_currency_is_reversed_then_failed(of: Case, changes: dict[str, Any]) -> None:
    mismatched = of.settled(approval(of.operation, **changes))
    assert mismatched.attempt is not None
    assert mismatched.attempt.state is A.REVERSING
    assert (mismatched.operation.status, mismatched.answer) == (O.PENDING, None)
    assert mismatched.payment.amount_captured_minor == of.payment.amount_captured_minor
    undone = settle(
        mismatched.payment, mismatched.operation, mismatched.attempt, Reversed(), now=LATER
    ).operation
    assert undone.last_error is not None
    assert (undone.status, undone.last_error["code"]) == (O.FAILED, "amount_mismatch")


@pytest.mark.parametrize("kind", [K.VOID, K.EXPIRE])
def test_a_void_moves_no_money_so_its_amount_does_not_matter(kind: OperationKind) -> None:
    of = case(kind, S.AUTHORIZED)
    assert of.settled(approval(of.operation, amount_minor=0)).operation.status is O.SUCCEEDED


@EVERY
@pytest.mark.parametrize(
    "fact", [DECLINED, Unknown("x"), Pending(), Unsent(), NotProcessed(FailureCode.NOT_PROCESSED)]
)
def test_what_is_being_reversed_is_decided_by_the_reversal(of: Case, fact: Fact) -> None:
    settled = of.settled(fact, A.REVERSING)
    if isinstance(fact, NotProcessed):
        assert settled.operation.status is O.FAILED
    else:
        assert settled == Settlement(of.payment, of.operation, attempt(of.operation, A.REVERSING))


@EVERY
def test_a_success_of_what_is_being_reversed_is_late_and_changes_nothing_again(of: Case) -> None:
    """Perhaps it came after its reversal: it is undone by an operation of its own."""
    late = of.settled(approval(of.operation), A.REVERSING)
    assert late.late is not None
    assert (types(late), late.operation) == (["payment.late_success"], of.operation)
    assert late.attempt is not None
    assert late.attempt.state is A.REVERSING
    again = settle(late.payment, late.operation, late.attempt, approval(of.operation), now=LATER)
    assert again == Settlement(late.payment, late.operation, late.attempt)


@EVERY
@pytest.mark.parametrize("first", [DECLINED, Reversed(), NotProcessed(FailureCode.NOT_PROCESSED)])
def test_a_success_after_a_proven_failure_is_late_and_overwrites_nothing(of: Case, first: Fact) -> None:
    failed = of.settled(first)
    assert failed.attempt is not None
    late = settle(failed.payment, failed.operation, failed.attempt, approval(of.operation), now=LATER)
    assert late.late
    assert types(late) == ["payment.late_success"]
    assert late.operation == failed.operation
    assert late.attempt is not None
    assert late.attempt.state is failed.attempt.state
    assert late.payment.status is failed.payment.status
    assert late.answer is None


@EVERY
def test_a_success_of_what_was_given_back_is_late_while_the_operation_goes_on(of: Case) -> None:
    late = of.settled(approval(of.operation), A.NOT_SENT)
    assert late.late
    assert late.operation.status is O.PENDING


@EVERY
@pytest.mark.parametrize("fact", [DECLINED, Reversed(), Unknown("timeout"), Pending(), Unsent()])
def test_what_was_given_back_as_unsent_stays_so(of: Case, fact: Fact) -> None:
    settled = of.settled(fact, A.NOT_SENT)
    assert settled == Settlement(of.payment, of.operation, attempt(of.operation, A.NOT_SENT))


@EVERY
@pytest.mark.parametrize("second", [DECLINED, Reversed(), Unknown("timeout"), Unsent()])
def test_a_failure_after_a_success_changes_nothing(of: Case, second: Fact) -> None:
    done = of.settled(approval(of.operation))
    assert done.attempt is not None
    again = settle(done.payment, done.operation, done.attempt, second, now=LATER + timedelta(hours=1))
    assert again == Settlement(done.payment, done.operation, done.attempt)


def test_a_void_that_turns_out_to_be_the_second_success_is_late() -> None:
    """Two attempts of one operation succeeded: the one recorded second is the one to undo."""
    first = attempt(CAPTURE.operation, A.NOT_SENT)
    second = attempt(CAPTURE.operation, number=2)
    done = settle(CAPTURE.payment, CAPTURE.operation, second, approval(CAPTURE.operation), now=LATER)
    other = approval(CAPTURE.operation, connector_reference="acq-another")
    assert settle(done.payment, done.operation, first, other, now=LATER).late


def test_a_success_that_was_recorded_under_a_later_attempt_is_not_late() -> None:
    """It is the same money, by the acquirer's own reference: reversing it would undo the only one."""
    first = attempt(CAPTURE.operation, A.NOT_SENT)
    second = attempt(CAPTURE.operation, number=2)
    found = approval(CAPTURE.operation)
    done = settle(CAPTURE.payment, CAPTURE.operation, second, found, now=LATER)
    again = settle(done.payment, done.operation, first, found, now=LATER)
    assert again == Settlement(done.payment, done.operation, first)


@pytest.mark.parametrize("latest", [None, attempt(CAPTURE.operation, A.NOT_SENT)])
def test_giving_up_fails_what_was_never_sent(latest: Attempt | None) -> None:
    given_up = give_up(CAPTURE.payment, CAPTURE.operation, latest, code=FailureCode.NOT_PROCESSED, now=LATER)
    assert given_up.operation.status is O.FAILED
    assert given_up.payment.pending_operation is None
    assert given_up.answer is not None
    assert given_up.answer.kind is AnswerKind.PAYMENT_FAILED


@pytest.mark.parametrize("state", [state for state in A if state is not A.NOT_SENT])
def test_nothing_is_given_up_that_may_have_been_sent(state: AttemptState) -> None:
    latest = attempt(CAPTURE.operation, state)
    kept = give_up(CAPTURE.payment, CAPTURE.operation, latest, code=FailureCode.NOT_PROCESSED, now=LATER)
    assert kept == Settlement(CAPTURE.payment, CAPTURE.operation, latest)


def test_a_review_is_shown_and_told_once() -> None:
    first = review(CAPTURE.payment, CAPTURE.operation, reason="unknown", now=LATER)
    assert first.payment.review == {"reason": "unknown", "since": "2026-11-22T05:46:01.000Z"}
    assert types(first) == ["payment.needs_review"]
    again = review(first.payment, first.operation, reason="unknown", now=LATER + timedelta(hours=1))
    assert again == Settlement(first.payment, first.operation)


def test_a_review_ends_with_the_outcome_of_its_operation() -> None:
    held = review(CAPTURE.payment, CAPTURE.operation, reason="unknown", now=LATER)
    unknown = attempt(CAPTURE.operation, A.UNKNOWN)
    for fact in (approval(CAPTURE.operation), DECLINED):
        assert settle(held.payment, held.operation, unknown, fact, now=LATER).payment.review is None


def test_a_review_outlives_the_outcome_of_another_operation() -> None:
    reversal = operation(K.REVERSE, id="op_late")
    held = review(REFUND.payment, reversal, reason="late_refund", now=LATER).payment
    other = attempt(REFUND.operation)
    for fact in (approval(REFUND.operation), DECLINED):
        assert settle(held, REFUND.operation, other, fact, now=LATER).payment.review == held.review


def test_nobody_is_called_for_what_is_decided() -> None:
    done = CAPTURE.settled(approval(CAPTURE.operation))
    late = review(done.payment, done.operation, reason="unknown", now=LATER)
    assert late == Settlement(done.payment, done.operation)


def test_a_captured_payment_forgets_the_error_of_an_earlier_capture() -> None:
    failed = CAPTURE.settled(DECLINED).payment
    again = operation(K.CAPTURE, id="op_again")
    busy = replace(failed, pending_operation=under_way(again))
    assert settle(busy, again, attempt(again), approval(again), now=LATER).payment.last_error is None
