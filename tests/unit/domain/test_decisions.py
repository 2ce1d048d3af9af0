"""Every verdict of every review: what becomes of operation, amounts, status and events, or why it is refused."""

from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from payonce.domain import reviews
from payonce.domain.decisions import InReview, Verdict, settles_at
from payonce.domain.ending import review
from payonce.domain.errors import DecisionRefused
from payonce.domain.facts import Stage
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.reviews import Question
from payonce.domain.verdicts import TABLE, decide, question, verdicts
from tests.support.rows import NOW, operation, under_way
from tests.support.verdicts import (
    CAPTURED,
    EXPECTED,
    FINALITY,
    LATER,
    MATTERS,
    NEVER_ASKED,
    REFUNDED,
    Becomes,
    amounts,
    decision,
    foreign,
    late,
    pending,
    undone,
)

S, K, A, O, Q, V = PaymentStatus, OperationKind, AttemptState, OperationStatus, Question, Verdict
Asked = tuple[Question, OperationKind]


@pytest.mark.parametrize("asked", list(product(Q, K)), ids=str)
def test_every_question_of_every_kind_is_in_the_table_or_is_never_asked(asked: Asked) -> None:
    assert (asked in TABLE) != (asked in NEVER_ASKED)


def test_every_verdict_of_the_table_is_expected_here() -> None:
    old = (Q.LATE, K.REVERSE)  # of an earlier version: as those of an authorization
    assert {(*asked, verdict) for asked in TABLE if asked != old for verdict in TABLE[asked]} == set(EXPECTED)
    assert TABLE[old] == TABLE[Q.LATE, K.AUTHORIZE]


@pytest.mark.parametrize("asked", [asked for asked in TABLE if asked[1] is not K.REVERSE], ids=str)
@pytest.mark.parametrize("verdict", V)
def test_a_verdict_of_the_table_has_its_outcome_and_another_is_refused_in_words(
    asked: Asked, verdict: Verdict
) -> None:
    matter = MATTERS[asked[0]](asked[1])
    assert question(matter.operation) == asked
    expected = EXPECTED.get((*asked, verdict))
    if expected is None:
        with pytest.raises(DecisionRefused, match="can only be decided as"):
            decide(matter, decision(verdict), now=LATER)
        return
    settled = decide(matter, decision(verdict), now=LATER)
    found = Becomes(
        settled.operation.status,
        settled.payment.status,
        amounts(settled.payment),
        tuple(event.type for event in settled.events),
        settled.beside[0].status if settled.beside else None,
    )
    assert found == expected
    assert not reviews.is_open(settled.operation)
    assert settled.payment.review is None
    by_acquirer = asked[0] is Q.RISK  # the outcome is its, and stays so
    assert settled.operation.decided_at == (None if by_acquirer else LATER)
    held = (settled.payment.amount_capture_undecided_minor, settled.payment.amount_refund_undecided_minor)
    assert held == (0, 0)


@pytest.mark.parametrize("asked", [asked for asked in TABLE if asked[1] is not K.REVERSE], ids=str)
def test_what_is_decided_is_not_decided_again(asked: Asked) -> None:
    matter = MATTERS[asked[0]](asked[1])
    verdict = next(iter(TABLE[asked]))
    settled = decide(matter, decision(verdict), now=LATER)
    again = replace(matter, payment=settled.payment, operation=settled.operation, attempt=settled.attempt)
    with pytest.raises(DecisionRefused, match="is not in review"):
        decide(again, decision(verdict), now=LATER)


@pytest.mark.parametrize("asked", [asked for asked in TABLE if asked[0] is Q.OUTCOME], ids=str)
def test_the_operation_of_a_pending_one_has_its_answer_and_that_of_what_was_answered_stays(
    asked: Asked,
) -> None:
    for verdict in TABLE[asked]:
        settled = decide(pending(asked[1]), decision(verdict), now=LATER)
        assert (settled.answer is None) == (asked[1] in (K.EXPIRE, K.ACCEPT))  # that one's is the dispute


@pytest.mark.parametrize("asked", [asked for asked in TABLE if asked[0] is not Q.OUTCOME], ids=str)
def test_a_stored_answer_stays(asked: Asked) -> None:
    kind = K.AUTHORIZE if asked[1] is K.REVERSE else asked[1]
    for verdict in TABLE[asked]:
        assert decide(MATTERS[asked[0]](kind), decision(verdict), now=LATER).answer is None


@pytest.mark.parametrize("kind", [K.AUTHORIZE, K.CAPTURE, K.VOID, K.REFUND, K.EXPIRE])
@pytest.mark.parametrize("state", [A.CLAIMED, A.UNKNOWN, A.WAITING, A.REVERSING])
def test_nothing_is_decided_before_the_attempt_can_be_settled(
    kind: OperationKind, state: AttemptState
) -> None:
    """The owner may still send, the call may still arrive, the acquirer may still settle."""
    matter = pending(kind, state=state)
    assert matter.attempt is not None
    at = settles_at(matter.attempt, FINALITY)
    assert at == NOW + timedelta(seconds=5 + 2 + 20 + 10)
    for verdict in verdicts(matter.operation):
        with pytest.raises(DecisionRefused, match="may still arrive"):
            decide(matter, decision(verdict), now=at - timedelta(milliseconds=1))
    no = V.NOT_PAID if kind is K.REFUND else V.DECLINED
    assert decide(matter, decision(no), now=at).operation.status is O.FAILED


def test_nothing_is_decided_while_the_customer_may_act() -> None:
    matter = pending(K.AUTHORIZE, state=A.WAITING)
    assert matter.attempt is not None
    acting = replace(matter, attempt=replace(matter.attempt, act_before=LATER + timedelta(minutes=1)))
    with pytest.raises(DecisionRefused, match="may still arrive"):
        decide(acting, decision(V.DECLINED), now=LATER)


@pytest.mark.parametrize("state", [None, A.NOT_SENT])
@pytest.mark.parametrize("kind", [K.AUTHORIZE, K.CAPTURE, K.VOID, K.REFUND])
def test_what_no_attempt_is_known_of_can_be_decided_at_once(
    kind: OperationKind, state: AttemptState | None
) -> None:
    """Postgres forgot it, or Temporal took nothing of it: the acquirer's books say what happened."""
    matter = pending(kind, state=state, words="recording_lost")
    matter = replace(matter, attempt=matter.attempt and replace(matter.attempt, connector_reference=None))
    yes, no = (V.PAID, V.NOT_PAID) if kind is K.REFUND else (V.APPROVED, V.DECLINED)
    with pytest.raises(DecisionRefused, match="reference"):
        decide(matter, decision(yes), now=NOW)
    happened = decide(matter, decision(yes, reference="acq-9"), now=NOW)
    assert (happened.operation.status, happened.operation.connector_reference) == (O.SUCCEEDED, "acq-9")
    assert happened.attempt == matter.attempt
    assert decide(matter, decision(no), now=NOW).operation.status is O.FAILED


@pytest.mark.parametrize("kind", [K.AUTHORIZE, K.CAPTURE, K.VOID, K.REFUND, K.EXPIRE])
def test_what_is_being_reversed_cannot_be_decided_as_done(kind: OperationKind) -> None:
    matter = pending(kind, state=A.REVERSING, words="not_found")
    yes = V.PAID if kind is K.REFUND else V.APPROVED
    with pytest.raises(DecisionRefused, match="reversal has begun"):
        decide(matter, decision(yes), now=LATER)


def test_another_amount_than_was_asked_for_is_not_approved() -> None:
    with pytest.raises(DecisionRefused, match="settle the rest"):
        decide(pending(K.CAPTURE), decision(V.APPROVED, amount_minor=400), now=LATER)
    assert decide(pending(K.CAPTURE), decision(V.APPROVED, amount_minor=1000), now=LATER).events


@pytest.mark.parametrize("stated", [400, 1700])
def test_a_late_refund_of_another_amount_is_paid_only_where_the_rest_is_settled(stated: int) -> None:
    matter = late(K.REFUND, amount_minor=stated)
    with pytest.raises(DecisionRefused, match="settle the rest"):
        decide(matter, decision(V.PAID), now=LATER)
    paid = decide(matter, decision(V.PAID, amount_minor=1000), now=LATER).payment
    assert amounts(paid) == REFUNDED


def test_a_late_refund_in_another_currency_is_not_paid() -> None:
    with pytest.raises(DecisionRefused, match="USD moved"):
        decide(late(K.REFUND, amount_minor=1000, currency="USD"), decision(V.PAID), now=LATER)


def test_a_late_refund_is_not_paid_over_what_was_refunded_since() -> None:
    matter = late(K.REFUND)
    meanwhile = replace(matter.payment, amount_refunded_minor=300, status=S.PARTIALLY_REFUNDED)
    with pytest.raises(DecisionRefused, match="300 more would be refunded than was captured"):
        decide(replace(matter, payment=meanwhile), decision(V.PAID), now=LATER)


@pytest.mark.parametrize(
    ("matter", "verdict"),
    [(late(K.VOID), V.APPROVED), (undone(K.VOID), V.APPROVED), (foreign(K.VOID), V.APPROVED)],
)
def test_what_releases_waits_for_a_capture_that_is_pending(matter: InReview, verdict: Verdict) -> None:
    busy = replace(matter.payment, pending_operation=under_way(operation(K.CAPTURE)))
    with pytest.raises(DecisionRefused, match="its outcome comes first"):
        decide(replace(matter, payment=busy), decision(verdict), now=LATER)


@pytest.mark.parametrize("kind", [K.REFUND, K.CAPTURE])
def test_what_others_did_waits_for_what_is_pending_and_does_not_fit_beside_it(kind: OperationKind) -> None:
    """Were what does not fit let go, the refund or capture that waits for it would be sent."""
    matter = foreign(kind)
    meanwhile: dict[str, Any] = {"pending_operation": under_way(operation(kind, amount_minor=600))}
    if kind is K.REFUND:
        meanwhile = {"amount_refunded_minor": 400, "amount_refund_pending_minor": 600}
    waiting = replace(matter.payment, **meanwhile)
    with pytest.raises(DecisionRefused, match=f"A {kind} of this payment is pending"):
        decide(replace(matter, payment=waiting), decision(V.APPROVED), now=LATER)
    decided = decide(matter, decision(V.APPROVED), now=LATER)
    assert decided.operation.amount_undecided_minor == 0


@pytest.mark.parametrize("verdict", [V.DECLINED, V.REVERSED])
@pytest.mark.parametrize("said", [{"amount_minor": 1000}, {"reference": "acq-1"}])
def test_what_did_not_happen_has_neither_amount_nor_reference(verdict: Verdict, said: dict[str, Any]) -> None:
    with pytest.raises(DecisionRefused, match="neither an amount nor a reference"):
        decide(pending(K.CAPTURE), decision(verdict, **said), now=LATER)


def test_an_acceptance_has_no_amount_but_its_dispute_s() -> None:
    with pytest.raises(DecisionRefused, match="takes no amount"):
        decide(pending(K.ACCEPT), decision(V.APPROVED, amount_minor=1000), now=LATER)


def test_an_automatic_payment_that_a_person_approves_is_captured() -> None:
    matter = pending(K.AUTHORIZE)
    automatic = replace(matter.payment, capture_method="automatic")
    settled = decide(replace(matter, payment=automatic), decision(V.APPROVED), now=LATER)
    assert (settled.payment.status, amounts(settled.payment)) == (S.CAPTURED, CAPTURED)
    assert settled.attempt is not None
    assert settled.attempt.stage is Stage.CAPTURED


def test_a_manual_one_can_be_captured_for_as_long_as_schemes_hold_it() -> None:
    settled = decide(pending(K.AUTHORIZE), decision(V.APPROVED), now=LATER)
    assert settled.payment.capture_before == NOW + timedelta(days=7)


def test_a_payment_that_was_given_up_is_voided_where_it_came_to_nothing() -> None:
    matter = pending(K.AUTHORIZE)
    void = under_way(operation(K.VOID))
    left = replace(matter.payment, pending_operation=void)
    assert decide(replace(matter, payment=left), decision(V.DECLINED), now=LATER).abandoned == void["id"]


def test_one_that_was_given_up_and_captured_all_the_same_is_approved_and_given_back() -> None:
    matter = pending(K.AUTHORIZE)
    void = under_way(operation(K.VOID))
    left = replace(matter.payment, capture_method="automatic", pending_operation=void)
    settled = decide(replace(matter, payment=left), decision(V.APPROVED), now=LATER)
    assert settled.payment.status is S.CAPTURED
    assert settled.refund is not None
    assert (settled.refund.ends_operation, settled.refund.amount_minor) == (void["id"], 1000)


def test_a_void_is_not_decided_as_done_while_its_authorization_has_no_outcome() -> None:
    """That could not be recorded any more, whatever it is, once the payment is voided."""
    matter = pending(K.VOID, state=None)
    waiting = replace(matter, payment=replace(matter.payment, status=S.PROCESSING))
    with pytest.raises(DecisionRefused, match="has no outcome: decide about pay_1"):
        decide(waiting, decision(V.APPROVED, reference="acq-1"), now=LATER)
    assert decide(waiting, decision(V.DECLINED), now=LATER).operation.status is O.FAILED


def test_a_void_is_not_decided_as_done_that_a_refund_of_our_own_ends() -> None:
    matter = pending(K.VOID, state=None)
    void = {**under_way(matter.operation), "ended_by": "re_own"}
    captured = replace(matter.payment, status=S.CAPTURED, amount_captured_minor=1000, pending_operation=void)
    with pytest.raises(DecisionRefused, match="it ends with the refund re_own"):
        decide(replace(matter, payment=captured), decision(V.APPROVED, reference="acq-1"), now=LATER)


def test_a_late_void_of_what_was_captured_meanwhile_only_ends_the_review() -> None:
    matter = late(K.VOID)
    captured = replace(matter.payment, status=S.CAPTURED, amount_captured_minor=1000)
    settled = decide(replace(matter, payment=captured), decision(V.APPROVED), now=LATER)
    assert (settled.payment.status, settled.events) == (S.CAPTURED, ())


def test_only_the_decided_reason_goes() -> None:
    matter = late(K.REFUND)
    other = operation(K.CAPTURE, id="op_2")
    both = review(replace(matter.payment, review=None), other, reason="unknown", now=NOW).payment
    assert both.review is not None
    shown = {**both.review, "reason": f"unknown / {matter.payment.review['reason']}"}
    settled = decide(replace(matter, payment=replace(both, review=shown)), decision(V.NOT_PAID), now=LATER)
    assert settled.payment.review == both.review


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"why": " "}, "Say why"),
        ({"why": "x" * 501}, "why is longer than 500"),
        ({"evidence": "x" * 501}, "evidence is longer than 500"),
        ({"reference": "x" * 101}, "reference is longer than 100"),
        ({"key": "x" * 201}, "key is longer than 200"),
        ({"why": "card 4242 4242 4242 4242 was charged"}, "why holds what looks like a card number"),
        ({"stage": Stage.AUTHORIZED}, "has a stage"),
    ],
)
def test_what_is_kept_of_a_decision_is_short_and_no_card_number(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DecisionRefused, match=words):
        decide(pending(K.CAPTURE), decision(V.APPROVED, **changes), now=LATER)


@pytest.mark.parametrize("state", [None, A.NOT_SENT, A.UNKNOWN])
def test_an_automatic_payment_that_a_person_approves_is_captured_whatever_is_known_of_its_attempt(
    state: AttemptState | None,
) -> None:
    matter = pending(K.AUTHORIZE, state=state)
    automatic = replace(matter, payment=replace(matter.payment, capture_method="automatic"))
    settled = decide(automatic, decision(V.APPROVED, reference="acq-1"), now=LATER)
    assert (settled.payment.status, amounts(settled.payment)) == (S.CAPTURED, CAPTURED)
    if state is not A.UNKNOWN:
        assert settled.attempt == matter.attempt
