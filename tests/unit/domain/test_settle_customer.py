"""What each fact makes of a payment whose customer decides, by example."""

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from payonce.domain import leaving
from payonce.domain.answers import Answer, AnswerKind, encode, payment_view, refund_view, timestamp
from payonce.domain.ending import review, succeed
from payonce.domain.facts import (
    ActionRequired,
    Cancelled,
    Expired,
    Fact,
    FailureCode,
    NotProcessed,
    Pending,
    Refused,
    Reversed,
    Stage,
    Unknown,
)
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus, Origin
from payonce.domain.payment import PaymentStatus
from payonce.domain.settlement import Settlement, begin_reversal, defer, settle
from tests.support.rows import NOW, approval, attempt, captured, operation, under_way
from tests.unit.domain.examples import DECLINED, LATER, REFUND, Case, case, types

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
    assert (settled.answer.kind, settled.answer.definite) == (AnswerKind.PAYMENT, False)
    assert settled.operation.status is O.PENDING
    assert settled.attempt is not None
    assert (settled.attempt.state, settled.attempt.act_before) == (A.WAITING, ASKED.expires_at)


def test_a_customer_who_pays_is_captured_and_that_is_the_definite_answer(waiting: Waiting) -> None:
    paid = captured(UPI.operation, rail={"rrn": "633112345678", "vpa": "a@bank"})
    settled = waiting.settled(paid)
    assert types(settled) == ["payment.authorized", "payment.captured"]
    assert settled.payment.next_action is None
    assert settled.answer == Answer(AnswerKind.PAYMENT, encode(payment_view(settled.payment)))
    upi = {"flow": "intent", "vpa": "a@bank", "rrn": "633112345678"}
    assert settled.payment.payment_method == {"type": "upi", "upi": upi}


@pytest.mark.parametrize(
    ("fact", "code"), [(DECLINED, "payment_declined"), (Expired(), "payment_timed_out")], ids=str
)
def test_the_rails_definite_no_fails_the_payment_and_is_the_definite_answer(
    waiting: Waiting, fact: Fact, code: str
) -> None:
    settled = waiting.settled(fact)
    assert settled.payment.status is S.FAILED
    assert settled.payment.last_error is not None
    assert settled.payment.last_error["code"] == code
    assert settled.payment.next_action is None
    assert settled.answer is not None
    assert settled.answer.definite


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
    assert later.answer is not None
    assert later.answer.definite


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


@pytest.mark.parametrize(("for_s", "acts_s"), [(60, 60), (900, 900), (901, 900), (86_400, 900)])
def test_the_customer_has_the_acquirers_time_and_at_most_a_quarter_of_an_hour(
    for_s: int, acts_s: int
) -> None:
    settled = UPI.settled(replace(ASKED, expires_at=LATER + timedelta(seconds=for_s)))
    assert settled.attempt is not None
    assert settled.attempt.act_before == LATER + timedelta(seconds=acts_s)
    assert settled.payment.next_action is not None
    assert settled.payment.next_action["expires_at"] == timestamp(LATER + timedelta(seconds=acts_s))


@pytest.mark.parametrize("at", [LATER, ASKED.expires_at])
def test_the_end_of_the_customers_time_never_moves(waiting: Waiting, at: datetime) -> None:
    """An acquirer that computes it anew whenever it is asked."""
    settled = waiting.settled(replace(ASKED, expires_at=at + timedelta(minutes=15)), at=at)
    assert settled.attempt is not None
    assert settled.attempt.act_before == ASKED.expires_at
    assert settled.payment.status is (S.REQUIRES_ACTION if at < ASKED.expires_at else S.PROCESSING)


VOID = operation(K.VOID)


def given_up(asked: Settlement, of: Case = UPI) -> Waiting:
    """The payment once a void of it is admitted."""
    assert asked.attempt is not None
    paid = replace(asked.payment, next_action=None, pending_operation=under_way(VOID))
    return Waiting(of, replace(asked, payment=paid, attempt=leaving.abandoned(asked.attempt)))


COME_TO_NOTHING = [
    (Cancelled(), A.NOT_PROCESSED, "abandoned"),
    (DECLINED, A.DECLINED, None),
    (Refused("no such address"), A.NOT_PROCESSED, "acquirer_refused"),
    (Expired(), A.NOT_PROCESSED, "payment_timed_out"),
    (Reversed(), A.NOT_PROCESSED, "abandoned"),
    (NotProcessed(FailureCode.NOT_PROCESSED), A.NOT_PROCESSED, "not_processed"),
]


@pytest.mark.parametrize("lapsed", [False, True])
@pytest.mark.parametrize(("fact", "state", "code"), COME_TO_NOTHING, ids=str)
def test_what_is_given_up_and_comes_to_nothing_is_voided(
    waiting: Waiting, fact: Fact, state: AttemptState, code: str | None, lapsed: bool
) -> None:
    """Whatever ends it, and whether the customer's time was over by then or not."""
    asked = waiting.settled(Pending(), at=ASKED.expires_at) if lapsed else waiting.asked
    abandoned = given_up(asked)
    settled = abandoned.settled(fact)
    assert (settled.abandoned, settled.events, settled.answer) == (VOID.id, (), None)
    assert settled.operation.status is O.FAILED
    assert settled.attempt is not None
    assert (settled.attempt.state, settled.attempt.failure_code) == (state, code)
    voided = succeed(settled.payment, VOID, None, reply=None, now=LATER)
    assert (voided.payment.status, voided.payment.pending_operation) == (S.VOIDED, None)
    assert voided.payment.last_error is None
    assert types(voided) == ["payment.voided"]


@pytest.mark.parametrize(("fact", "_state", "code"), COME_TO_NOTHING, ids=str)
def test_what_is_left_alone_and_comes_to_nothing_fails(
    waiting: Waiting, fact: Fact, _state: AttemptState, code: str | None
) -> None:
    """No void asked for it: nothing the recorder could stumble over."""
    lapsed = Waiting(UPI, waiting.settled(Pending(), at=ASKED.expires_at))
    settled = lapsed.settled(fact, at=ASKED.expires_at)
    assert settled.payment.status is S.FAILED
    assert settled.abandoned is None
    assert settled.payment.last_error is not None
    assert settled.payment.last_error["code"] == (code or "payment_declined")
    assert types(settled) == ["payment.failed"]


@pytest.mark.parametrize("fact", [Pending(), Unknown("timeout"), ASKED], ids=str)
def test_what_is_given_up_stays_as_it_was_until_its_time_is_over(waiting: Waiting, fact: Fact) -> None:
    abandoned = given_up(waiting.asked)
    settled = abandoned.settled(fact)
    assert (settled.payment, settled.attempt, settled.events) == (
        abandoned.asked.payment,
        abandoned.asked.attempt,
        (),
    )
    over = abandoned.settled(fact, at=ASKED.expires_at)
    assert types(over) == ["payment.processing"]
    assert over.payment.pending_operation == under_way(VOID)


def test_a_success_of_what_was_given_up_is_recorded_and_refunded(waiting: Waiting) -> None:
    settled = given_up(waiting.asked).settled(captured(UPI.operation))
    assert types(settled) == ["payment.authorized", "payment.captured"]
    assert settled.late is None
    assert settled.refund is not None
    assert (settled.refund.kind, settled.refund.origin) == (K.REFUND, Origin.PAYONCE)
    assert (settled.refund.amount_minor, settled.refund.ends_operation) == (1000, VOID.id)
    begun, refund = leaving.begin_refund(settled, refund_id="re_1")
    assert refund.id == "re_1"
    assert (begun.payment.refundable_minor, begun.payment.amount_refund_pending_minor) == (0, 1000)
    assert begun.payment.pending_operation == {**under_way(VOID), "ended_by": "re_1"}


def test_a_success_that_is_authorized_only_waits_for_the_void_itself() -> None:
    manual = case(K.AUTHORIZE, S.INIT)
    settled = given_up(manual.settled(ASKED), manual).settled(approval(manual.operation))
    assert types(settled) == ["payment.authorized"]
    assert settled.refund is None
    assert settled.payment.pending_operation == under_way(VOID)


@pytest.fixture
def refunding(waiting: Waiting) -> Case:
    """What was captured although it had been given up, and is being refunded by us."""
    paid = given_up(waiting.asked).settled(captured(UPI.operation))
    begun, refund = leaving.begin_refund(paid, refund_id="re_1")
    return Case(begun.payment, refund)


def test_the_void_ends_with_the_refund_as_the_payment_is_then(refunding: Case) -> None:
    settled = refunding.settled(approval(refunding.operation))
    assert types(settled) == ["refund.succeeded", "payment.refunded"]
    assert settled.answer is None  # nobody asked for the refund
    assert settled.events[-1].data["pending_operation"] is None
    ended = leaving.end(VOID, settled, now=LATER)
    assert (ended.operation.id, ended.operation.status, ended.events) == (VOID.id, O.SUCCEEDED, ())
    assert ended.answer is not None
    assert ended.answer.kind is AnswerKind.PAYMENT_CHANGED
    shown = json.loads(ended.answer.body)
    assert (shown["status"], shown["amount_refunded"], shown["pending_operation"]) == ("refunded", 1000, None)


@pytest.mark.parametrize("fact", [DECLINED, NotProcessed(FailureCode.NOT_PROCESSED)], ids=str)
def test_a_refund_that_fails_fails_the_void_and_a_person_is_told(refunding: Case, fact: Fact) -> None:
    settled = refunding.settled(fact)
    assert types(settled) == ["refund.failed", "payment.needs_review"]
    paid = settled.payment
    assert (paid.status, paid.pending_operation, paid.refundable_minor) == (S.CAPTURED, None, 1000)
    assert paid.review is not None
    assert paid.review["reason"] == "void_not_refunded"
    assert settled.operation.review_at == LATER
    ended = leaving.end(VOID, settled, now=LATER)
    assert ended.operation.status is O.FAILED
    assert ended.operation.last_error == settled.operation.last_error == paid.last_error
    assert ended.answer is not None
    assert json.loads(ended.answer.body)["payment"]["status"] == "captured"


def test_a_void_that_has_its_outcome_is_not_ended_again(refunding: Case) -> None:
    settled = refunding.settled(approval(refunding.operation))
    decided = replace(VOID, status=O.FAILED)
    assert leaving.end(decided, settled, now=LATER) == Settlement(settled.payment, decided)


def test_what_is_being_reversed_when_it_is_given_up_goes_on_being_reversed(waiting: Waiting) -> None:
    """Another amount than was asked for: what ends it is the reversal, and the void with it."""
    mismatch = waiting.settled(captured(UPI.operation, amount_minor=999))
    abandoned = given_up(mismatch)
    assert abandoned.asked.attempt == mismatch.attempt
    assert abandoned.settled(Reversed()).abandoned == VOID.id


def test_another_amount_of_what_was_given_up_is_reversed_and_then_voided(waiting: Waiting) -> None:
    settled = given_up(waiting.asked).settled(captured(UPI.operation, amount_minor=999))
    assert settled.attempt is not None
    assert (settled.attempt.state, settled.refund) == (A.REVERSING, None)
    assert Waiting(UPI, settled).settled(Reversed()).abandoned == VOID.id


def test_what_the_release_before_was_reversing_ends_as_it_did(waiting: Waiting) -> None:
    """A success meanwhile is part of what the reversal undoes."""
    assert waiting.asked.attempt is not None
    reversing = begin_reversal(waiting.asked.attempt, code=FailureCode.ABANDONED)
    before = Waiting(UPI, replace(given_up(waiting.asked).asked, attempt=reversing))
    assert before.settled(captured(UPI.operation)).payment == before.asked.payment
    settled = before.settled(Reversed())
    assert (settled.abandoned, settled.operation.status) == (VOID.id, O.FAILED)


def test_a_success_after_the_cancellation_is_late(waiting: Waiting) -> None:
    settled = given_up(waiting.asked).settled(Cancelled())
    voided = succeed(settled.payment, VOID, None, reply=None, now=LATER)
    late = Waiting(UPI, replace(settled, payment=voided.payment)).settled(captured(UPI.operation))
    assert late.late is not None
    assert (late.payment.status, late.refund) == (S.VOIDED, None)


def test_the_review_of_an_authorization_ends_with_its_void(waiting: Waiting) -> None:
    lapsed = waiting.settled(Pending(), at=ASKED.expires_at)
    called = review(lapsed.payment, lapsed.operation, reason="pending", now=LATER)
    assert called.payment.review is not None
    abandoned = given_up(replace(called, attempt=lapsed.attempt))
    assert abandoned.settled(Cancelled()).payment.review is None


@pytest.mark.parametrize(
    ("changes", "left_alone"),
    [
        ({}, True),
        ({"state": A.WAITING}, False),
        ({"state": A.REVERSING}, False),
        ({"state": A.APPROVED}, False),
        ({"connector_reference": None}, False),  # it may never have arrived
        ({"stage": Stage.AUTHORIZED}, False),
        ({"kind": K.REFUND}, False),
    ],
    ids=str,
)
def test_only_what_still_waits_for_a_customer_is_left_alone(
    changes: dict[str, Any], left_alone: bool
) -> None:
    asked = attempt(UPI.operation, A.UNKNOWN, connector_reference="acq-authorize")
    assert replace(asked, **changes).left_alone is left_alone


def test_a_refund_shows_the_rails_reference() -> None:
    of = case(K.REFUND, S.CAPTURED, payment_method={"type": "upi", "upi": {"flow": "qr"}})
    settled = of.settled(approval(of.operation, rail={"rrn": "633112345679"}))
    assert refund_view(settled.operation)["upi"] == {"rrn": "633112345679"}


def test_only_an_authorization_waits_for_a_customer() -> None:
    settled = REFUND.settled(ASKED)
    assert settled.attempt is not None
    assert settled.attempt.state is A.UNKNOWN
    assert settled.payment.next_action is None
