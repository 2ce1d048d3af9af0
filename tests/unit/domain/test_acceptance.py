"""The acceptance of a dispute: what each fact makes of it, of its attempt, of the dispute and of the answer."""

import json
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from payonce.domain import acceptance, claiming, disputes
from payonce.domain.acceptance import ATTEMPTS_MAX
from payonce.domain.answers import AnswerKind
from payonce.domain.disputes import Dispute, DisputeStatus
from payonce.domain.errors import DisputeNotOpen, InvalidRequest
from payonce.domain.facts import (
    Accepted,
    ActionRequired,
    Approved,
    Cancelled,
    DeclineCode,
    Declined,
    Disputed,
    Expired,
    FailureCode,
    NotProcessed,
    Outcome,
    Pending,
    Refused,
    Reversed,
    Unknown,
    Unsent,
)
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.settlement import Settlement, settle
from tests.support import rows
from tests.support.rows import NOW

A, O, S = AttemptState, OperationStatus, DisputeStatus
LATER = NOW + timedelta(minutes=1)
PAID = rows.payment(PaymentStatus.CAPTURED, amount_disputed_minor=1000)
KNOWN = Dispute(
    id="dp_1",
    payment_id=PAID.id,
    merchant_id="mer_1",
    mode="test",
    connector="sandbox_card",
    connector_account="account_1",
    acquirer_id="dsp_1",
    amount_minor=1000,
    currency="INR",
    amount_withdrawn_minor=1000,
    stage="chargeback",
    status=S.NEEDS_RESPONSE,
    reason="fraudulent",
    network_reason_code=None,
    refunded_before_minor=0,
    evidence_due_by=None,
    warned_at=None,
    said_at=NOW,
    created_at=NOW,
    updated_at=NOW,
)


def said(status: str, **changes: Any) -> Disputed:
    usual: dict[str, Any] = {
        "id": "dsp_1",
        "stage": "chargeback",
        "status": status,
        "amount_minor": 1000,
        "currency": "INR",
        "withdrawn_minor": 0 if status == "won" else 1000,
        "reason": "fraudulent",
        "at": LATER,
    }
    return Disputed(**{**usual, **changes})


FACTS: dict[str, Outcome] = {
    "approved": Approved("dsp_1", 1000, "INR", dispute=said("accepted")),
    "approved as lost": Approved("dsp_1", 1000, "INR", dispute=said("lost")),
    "won": Declined(DeclineCode.GENERIC_DECLINE, "dsp_1", dispute=said("won")),
    "refused": Refused("not_accepted"),
    "not processed": NotProcessed(FailureCode.NOT_PROCESSED),
    "reversed": Reversed(),
    "expired": Expired(),
    "cancelled": Cancelled(),
    "unsent": Unsent(),
    "unknown": Unknown("timeout"),
    "pending": Pending(),
    "accepted": Accepted("dsp_1"),
    "action required": ActionRequired("dsp_1", {}, LATER),
}
DOUBTS = ("unknown", "pending", "accepted", "action required")
APPROVALS = ("approved", "approved as lost")
FAILURES = ("won", "refused", "reversed", "expired", "cancelled")
OPEN = (A.CLAIMED, A.WAITING, A.ACCEPTED, A.UNKNOWN, A.REVERSING)
CLOSED = (A.NOT_SENT, A.APPROVED, A.DECLINED, A.NOT_PROCESSED)


def given(
    state: AttemptState = A.CLAIMED, status: OperationStatus = O.PENDING, *, number: int = 1
) -> tuple[Operation, Attempt]:
    operation = rows.operation(OperationKind.ACCEPT, status=status, dispute_id="dp_1")
    return operation, rows.attempt(operation, state, number=number)


def settled(
    name: str, state: AttemptState = A.CLAIMED, status: OperationStatus = O.PENDING, *, number: int = 1
) -> Settlement:
    return settle(PAID, *given(state, status, number=number), FACTS[name], now=LATER)


def concluded(name: str, known: Dispute = KNOWN, **changes: Any) -> Settlement:
    fact = FACTS[name]
    word = fact.dispute if isinstance(fact, Approved | Declined) else None
    return acceptance.conclude(settled(name, **changes), known, word, was_pending=True, now=LATER)


def expected(name: str, state: AttemptState) -> OperationStatus:
    """What becomes of a pending acceptance."""
    if name in APPROVALS:
        return O.SUCCEEDED
    definite = name == "won" or (name in FAILURES and state in OPEN)
    return O.FAILED if definite else O.PENDING


@pytest.mark.parametrize(("name", "state"), list(product(FACTS, AttemptState)))
def test_each_fact_in_each_state_has_one_outcome_and_no_money_moves(name: str, state: AttemptState) -> None:
    found = settled(name, state)
    assert found.operation.status is expected(name, state)
    assert replace(found.payment, review=None) == replace(PAID, review=None)
    assert found.events == ()
    assert found.late is None
    assert found.attempt is not None
    if state in CLOSED:
        assert found.attempt.state is state
    assert (found.operation.deferred_at is not None) == (name in DOUBTS and state in OPEN)
    again = settle(found.payment, found.operation, found.attempt, FACTS[name], now=LATER)
    assert (again.operation, again.attempt, again.answer) == (found.operation, found.attempt, None)


@pytest.mark.parametrize(("name", "status"), list(product(FACTS, (O.SUCCEEDED, O.FAILED))))
def test_what_has_its_outcome_keeps_it(name: str, status: OperationStatus) -> None:
    found = settled(name, status=status)
    assert found.operation == given(status=status)[0]
    assert (found.events, found.late, found.against) == ((), None, None)


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("approved", A.APPROVED),
        ("won", A.DECLINED),
        ("refused", A.NOT_PROCESSED),
        ("not processed", A.NOT_PROCESSED),
        ("unsent", A.NOT_SENT),
        ("unknown", A.UNKNOWN),
    ],
)
def test_the_attempt_is_as_the_fact_says(name: str, state: AttemptState) -> None:
    found = settled(name)
    assert found.attempt is not None
    assert found.attempt.state is state


def test_what_may_have_been_sent_is_not_given_back() -> None:
    found = settled("unsent", A.UNKNOWN)
    assert found.attempt is not None
    assert found.attempt.state is A.UNKNOWN


def test_what_was_not_processed_is_sent_again_so_often_and_no_more() -> None:
    for number in range(1, ATTEMPTS_MAX):
        found = settled("not processed", number=number)
        assert found.operation.status is O.PENDING
        assert claiming.next_number(found.attempt, pending=True, has_data=True) == number + 1
    assert settled("not processed", number=ATTEMPTS_MAX).operation.status is O.FAILED


@pytest.mark.parametrize("state", [state for state in AttemptState if state not in CLOSED])
def test_what_may_have_been_sent_is_never_sent_again(state: AttemptState) -> None:
    assert claiming.next_number(given(state)[1], pending=True, has_data=True) is None


@pytest.mark.parametrize("kind", [kind for kind in OperationKind if kind is not OperationKind.ACCEPT])
def test_nothing_else_that_was_not_processed_is_sent_again(kind: OperationKind) -> None:
    attempt = rows.attempt(rows.operation(kind), A.NOT_PROCESSED)
    assert claiming.next_number(attempt, pending=True, has_data=True) is None


@pytest.mark.parametrize("name", APPROVALS)
def test_a_dispute_that_is_given_in_is_accepted_and_that_is_the_answer(name: str) -> None:
    found = concluded(name)
    assert found.dispute is not None
    assert found.dispute.status is S.ACCEPTED
    assert [event.type for event in found.events] == ["dispute.updated"]
    assert found.answer is not None
    assert found.answer.kind is AnswerKind.DISPUTE
    assert json.loads(found.answer.body)["status"] == "accepted"
    assert found.payment.amount_disputed_minor == 1000


def test_a_dispute_of_which_a_webhook_told_first_is_not_told_again() -> None:
    known = replace(KNOWN, status=S.ACCEPTED, said_at=LATER)
    found = concluded("approved", known)
    assert (found.events, found.dispute) == ((), None)
    assert found.answer is not None
    assert json.loads(found.answer.body)["status"] == "accepted"


def test_a_word_that_is_older_than_what_is_known_leaves_it_accepted_all_the_same() -> None:
    known = replace(KNOWN, said_at=LATER + timedelta(minutes=1))
    found = concluded("approved", known)
    assert found.dispute is not None
    assert found.dispute.status is S.ACCEPTED
    assert found.dispute.said_at == known.said_at


def test_a_dispute_that_was_won_meanwhile_is_the_answer_and_gives_the_money_back() -> None:
    found = concluded("won")
    assert found.dispute is not None
    assert found.dispute.status is S.WON
    assert [event.type for event in found.events] == ["dispute.funds_reinstated", "dispute.won"]
    assert found.payment.amount_disputed_minor == 0
    assert found.answer is not None
    assert found.answer.kind is AnswerKind.DISPUTE_NOT_OPEN


def test_what_the_acquirer_refuses_of_an_open_dispute_is_said_so() -> None:
    found = concluded("refused")
    assert (found.dispute, found.events) == (None, ())
    assert found.answer is not None
    assert found.answer.kind is AnswerKind.OPERATION_NOT_SUPPORTED


def test_nothing_is_answered_while_nothing_is_known() -> None:
    for name in (*DOUBTS, "unsent", "not processed"):
        found = concluded(name)
        assert (found.answer, found.dispute, found.events) == (None, None, ())


@pytest.mark.parametrize(("accepting", "status"), [(True, S.ACCEPTED), (False, S.LOST)])
def test_that_a_dispute_is_lost_while_it_is_being_accepted_says_that_it_is(
    accepting: bool, status: DisputeStatus
) -> None:
    operation = rows.operation()
    attempt = rows.attempt(operation, A.APPROVED)
    found = disputes.hear(
        *(PAID, operation, attempt, KNOWN, said("lost")),
        dispute_id="dp_1",
        accepting=accepting,
        now=LATER,
    )
    assert found.dispute is not None
    assert found.dispute.status is status


def test_an_accepted_dispute_of_which_the_acquirer_says_that_it_is_lost_stays_accepted() -> None:
    operation = rows.operation()
    known = replace(KNOWN, status=S.ACCEPTED)
    attempt = rows.attempt(operation, A.APPROVED)
    found = disputes.hear(*(PAID, operation, attempt, known, said("lost")), dispute_id="dp_1", now=LATER)
    assert (found.dispute, found.events) == (None, ())


@pytest.mark.parametrize("status", DisputeStatus)
def test_only_a_dispute_that_waits_for_its_merchant_is_admitted(status: DisputeStatus) -> None:
    dispute = replace(KNOWN, status=status)
    if status is S.NEEDS_RESPONSE:
        acceptance.admit(dispute, under_way=False, supported=True)
        return
    with pytest.raises(DisputeNotOpen):
        acceptance.admit(dispute, under_way=False, supported=True)


def test_one_acceptance_at_a_time_of_what_can_be_accepted() -> None:
    with pytest.raises(DisputeNotOpen):
        acceptance.admit(KNOWN, under_way=True, supported=True)
    with pytest.raises(InvalidRequest) as refused:
        acceptance.admit(KNOWN, under_way=False, supported=False)
    assert refused.value.problem_code == "operation_not_supported"
    with pytest.raises(InvalidRequest) as inquiry:
        acceptance.admit(replace(KNOWN, stage="inquiry"), under_way=False, supported=True)
    assert inquiry.value.problem_code == "operation_not_supported"
