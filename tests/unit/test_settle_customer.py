"""What each fact makes of a payment whose customer decides, by example."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from payonce.domain.answers import AnswerKind, refund_view
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus
from payonce.domain.outcomes import (
    ActionRequired,
    Expired,
    Fact,
    FailureCode,
    Pending,
    Reversed,
    Unknown,
)
from payonce.domain.payment import PaymentStatus
from payonce.domain.settlement import Settlement, begin_reversal, defer, settle, succeed
from tests.unit.rows import NOW, approval, captured, operation, under_way
from tests.unit.test_settle_examples import DECLINED, LATER, REFUND, Case, case, types

S, K, A, O = PaymentStatus, OperationKind, AttemptState, OperationStatus
ASKED = ActionRequired(
    "acq-authorize", {"type": "upi_intent", "url": "upi://pay?pa=a@b"}, NOW + timedelta(minutes=5)
)
UPI = case(
    K.AUTHORIZE,
    S.INIT,
    capture_method="automatic",
    payment_method={"type": "upi", "upi": {"flow": "intent", "vpa": None, "rrn": None}},
)


@dataclass(frozen=True)
class Waiting:
    """A payment for which the customer is to act, for another five minutes."""

    case: Case
    asked: Settlement

    def settled(self, fact: Fact, *, at: datetime = LATER) -> Settlement:
        assert self.asked.attempt is not None
        return settle(self.asked.payment, self.asked.operation, self.asked.attempt, fact, now=at)


@pytest.fixture
def waiting() -> Waiting:
    return Waiting(UPI, UPI.settled(ASKED))


def test_what_the_customer_is_to_do_is_the_answer(waiting: Waiting) -> None:
    settled = waiting.asked
    assert settled.payment.status is S.REQUIRES_ACTION
    assert types(settled) == ["payment.requires_action"]
    assert settled.payment.next_action == {
        "type": "upi_intent",
        "url": "upi://pay?pa=a@b",
        "expires_at": "2026-11-22T05:51:00.000Z",
    }
    assert settled.answer is not None
    assert settled.answer.kind is AnswerKind.PAYMENT
    assert settled.operation.status is O.PENDING
    assert settled.attempt is not None
    assert (settled.attempt.state, settled.attempt.act_before) == (A.WAITING, ASKED.expires_at)


def test_a_customer_who_pays_is_captured_and_the_stored_answer_stays(waiting: Waiting) -> None:
    paid = captured(UPI.operation, rail={"rrn": "633112345678", "vpa": "a@bank"})
    settled = waiting.settled(paid)
    assert types(settled) == ["payment.authorized", "payment.captured"]
    assert settled.payment.next_action is None
    assert settled.answer is None
    upi = {"flow": "intent", "vpa": "a@bank", "rrn": "633112345678"}
    assert settled.payment.payment_method == {"type": "upi", "upi": upi}


@pytest.mark.parametrize(
    ("fact", "code"), [(DECLINED, "payment_declined"), (Expired(), "payment_timed_out")], ids=str
)
def test_the_rails_definite_no_fails_the_payment_without_a_second_answer(
    waiting: Waiting, fact: Fact, code: str
) -> None:
    settled = waiting.settled(fact)
    assert settled.payment.status is S.FAILED
    assert settled.payment.last_error is not None
    assert settled.payment.last_error["code"] == code
    assert settled.payment.next_action is None
    assert settled.answer is None


@pytest.mark.parametrize("fact", [Pending(), Unknown("timeout"), ASKED], ids=str)
def test_while_the_customer_may_act_nothing_changes(waiting: Waiting, fact: Fact) -> None:
    settled = waiting.settled(fact)
    assert (settled.payment, settled.operation, settled.events) == (
        waiting.asked.payment,
        waiting.asked.operation,
        (),
    )


@pytest.mark.parametrize("fact", [Pending(), Unknown("timeout"), ASKED], ids=str)
def test_a_window_that_ends_without_a_definite_answer_is_processing(waiting: Waiting, fact: Fact) -> None:
    settled = waiting.settled(fact, at=ASKED.expires_at)
    assert settled.payment.status is S.PROCESSING
    assert settled.payment.next_action is None
    assert types(settled) == ["payment.processing"]
    assert settled.attempt is not None
    assert settled.attempt.state is A.UNKNOWN
    later = Waiting(UPI, settled).settled(captured(UPI.operation), at=ASKED.expires_at)
    assert later.payment.status is S.CAPTURED
    assert later.answer is None


def test_a_success_after_the_rails_expiry_is_late(waiting: Waiting) -> None:
    late = Waiting(UPI, waiting.settled(Expired())).settled(captured(UPI.operation))
    assert late.late
    assert late.payment.status is S.FAILED
    assert types(late) == ["payment.late_success"]


def test_another_amount_than_was_asked_for_is_reversed_and_not_shown_as_an_action(waiting: Waiting) -> None:
    settled = waiting.settled(captured(UPI.operation, amount_minor=999))
    assert settled.payment.status is S.PROCESSING
    assert settled.attempt is not None
    assert settled.attempt.state is A.REVERSING


def test_an_action_that_comes_after_a_202_is_the_answer() -> None:
    deferred = UPI.settled(Unknown("timeout"))
    settled = Waiting(UPI, deferred).settled(ASKED)
    assert settled.payment.status is S.REQUIRES_ACTION
    assert settled.answer is not None


def test_a_request_that_nobody_waits_for_any_longer_leaves_the_action_alone(waiting: Waiting) -> None:
    settled = defer(waiting.asked.payment, waiting.asked.operation, None, now=LATER)
    assert settled == Settlement(waiting.asked.payment, waiting.asked.operation)


def test_an_abandoned_payment_is_voided_by_its_reversal_and_a_success_does_not_count(
    waiting: Waiting,
) -> None:
    assert waiting.asked.attempt is not None
    void = operation(K.VOID)
    given_up = begin_reversal(waiting.asked.attempt, code=FailureCode.ABANDONED)
    paid = replace(waiting.asked.payment, pending_operation=under_way(void))
    abandoned = Waiting(UPI, replace(waiting.asked, payment=paid, attempt=given_up))
    assert abandoned.settled(captured(UPI.operation)).payment == paid
    settled = abandoned.settled(Reversed())
    assert settled.abandoned == void.id
    assert settled.payment == paid
    assert settled.operation.status is O.FAILED
    voided = succeed(settled.payment, void, None, reply=None, now=LATER)
    assert voided.payment.status is S.VOIDED
    assert voided.payment.next_action is None
    assert types(voided) == ["payment.voided"]


def test_a_refund_shows_the_rails_reference() -> None:
    of = case(K.REFUND, S.CAPTURED, payment_method={"type": "upi", "upi": {"flow": "qr"}})
    settled = of.settled(approval(of.operation, rail={"rrn": "633112345679"}))
    assert refund_view(settled.operation)["upi"] == {"rrn": "633112345679"}


def test_only_an_authorization_waits_for_a_customer() -> None:
    settled = REFUND.settled(ASKED)
    assert settled.attempt is not None
    assert settled.attempt.state is A.UNKNOWN
    assert settled.payment.next_action is None
