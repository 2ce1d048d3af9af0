"""Every verdict of every review: what becomes of operation, amounts, status and events, or why it is refused."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from payonce.domain import decisions, reviews, turns
from payonce.domain.contradictions import open_case
from payonce.domain.decisions import TABLE, Decision, Finality, InReview, Verdict, decide
from payonce.domain.ending import review
from payonce.domain.errors import DecisionRefused
from payonce.domain.facts import (
    Approved,
    Cancelled,
    DeclineCode,
    Declined,
    Expired,
    FailureCode,
    Foreign,
    NotProcessed,
    Outcome,
    Pending,
    Refused,
    Reversed,
    Stage,
    Undone,
    Unknown,
)
from payonce.domain.operations import (
    Abilities,
    Attempt,
    AttemptState,
    Operation,
    OperationKind,
    OperationStatus,
    Origin,
)
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.reviews import Question, ReviewReason
from payonce.domain.settlement import Settlement, settle
from tests.unit.rows import NOW, approval, attempt, operation, payment, under_way

S, K, A, O, Q, V = PaymentStatus, OperationKind, AttemptState, OperationStatus, Question, Verdict
FINALITY = Finality(call_deadline_s=20, finality_s=10)
LATER = NOW + timedelta(hours=1)
FAILED = NotProcessed(FailureCode.NOT_PROCESSED)
DECLINED = Declined(DeclineCode.PROCESSING_ERROR)
Asked = tuple[Question, OperationKind]


def decision(verdict: Verdict, **changes: Any) -> Decision:
    values = {"key": "k", "operation_id": "op", "verdict": verdict, "actor": "ada@desk", "why": "seen"}
    return Decision(**{**values, **changes})


def pending(
    kind: OperationKind,
    *,
    state: AttemptState | None = A.UNKNOWN,
    words: str = "outcome_unknown",
    **changes: Any,
) -> InReview:
    """A pending operation in review, with an attempt in this state, whose reference at the acquirer is known."""
    status = {K.AUTHORIZE: S.PROCESSING, K.REFUND: S.CAPTURED}.get(kind, S.AUTHORIZED)
    of = operation(kind, deferred_at=NOW, **changes)
    held = {"pending_operation": under_way(of)} if kind.exclusive else {}
    if kind is K.REFUND:
        held = {"amount_refund_pending_minor": of.amount_minor}
    called = review(payment(status, **held), of, reason=words, now=NOW)
    latest = None if state is None else attempt(of, state, connector_reference=f"acq-{kind}")
    return InReview(called.payment, called.operation, latest, finality=FINALITY)


def late(kind: OperationKind, *, reversible: bool = False, **stated: Any) -> InReview:
    """The case of an operation that succeeded after its failure, for a person to decide."""
    status = {K.AUTHORIZE: S.FAILED, K.REFUND: S.CAPTURED, K.EXPIRE: S.EXPIRED}.get(kind, S.AUTHORIZED)
    failed = operation(kind, status=O.FAILED, last_error={"code": "not_processed"})
    found = settle(
        payment(status), failed, attempt(failed, A.NOT_PROCESSED), approval(failed, **stated), now=NOW
    )
    settled, case = open_case(found, case_id="op_case", abilities=Abilities(reversible=reversible), now=NOW)
    called = review(settled.payment, case, reason="not_undone", now=NOW)
    paid, case = (settled.payment, case) if reviews.is_open(case) else (called.payment, called.operation)
    return InReview(paid, case, None, failed, settled.attempt, FINALITY)


def not_confirmed(kind: OperationKind) -> InReview:
    """An expiry, or a void of our own, that the acquirer did not confirm."""
    release = operation(kind, origin=Origin.PAYONCE)
    busy = payment(S.AUTHORIZED, pending_operation=under_way(release))
    failed = settle(busy, release, attempt(release), DECLINED, now=NOW)
    return InReview(failed.payment, failed.operation, failed.attempt, finality=FINALITY)


def not_released(_: OperationKind = K.REFUND) -> InReview:
    """Given up, captured all the same, and our refund of it failed."""
    refund = operation(K.REFUND, origin=Origin.PAYONCE, ends_operation="op_void")
    void = {**under_way(operation(K.VOID)), "ended_by": refund.id}
    paid = payment(S.CAPTURED, amount_refund_pending_minor=1000, pending_operation=void)
    failed = settle(paid, refund, attempt(refund), FAILED, now=NOW)
    return InReview(failed.payment, failed.operation, failed.attempt, finality=FINALITY)


def undone(kind: OperationKind) -> InReview:
    """A success that the acquirer took back."""
    status = {K.CAPTURE: S.CAPTURED, K.REFUND: S.REFUNDED, K.VOID: S.VOIDED}[kind]
    done = operation(kind, status=O.SUCCEEDED, connector_reference="acq-1")
    latest = attempt(done, A.APPROVED, connector_reference="acq-1")
    taken = turns.take(
        turns.Found(payment(status), done, latest), Undone("u1", 1000, "INR"), turn_id="op_u1", now=NOW
    )
    return InReview(taken.payment, taken.added[0], None, taken.operation, latest, FINALITY)


def foreign(kind: OperationKind) -> InReview:
    """More than there was was done in the dashboard: of 1500, 1000 fitted; of a void, while a capture was pending."""
    status = S.AUTHORIZED if kind in (K.CAPTURE, K.VOID) else S.CAPTURED
    create = operation(K.AUTHORIZE, status=O.SUCCEEDED, connector_reference="acq-1")
    latest = attempt(create, A.APPROVED, connector_reference="acq-1", stage=Stage.AUTHORIZED)
    busy = {"pending_operation": under_way(operation(K.CAPTURE))} if kind is K.VOID else {}
    did = Foreign("f1", kind.value, 1000 if kind is K.VOID else 1500, "INR")  # type: ignore[arg-type]
    found = turns.Found(payment(status, **busy), create, latest)
    taken = turns.take(found, did, turn_id="op_f1", now=NOW)
    return InReview(
        replace(taken.payment, pending_operation=None), taken.added[0], None, create, latest, FINALITY
    )


MATTERS: dict[Question, Callable[[OperationKind], InReview]] = {
    Q.OUTCOME: pending,
    Q.LATE: late,
    Q.RELEASE: not_confirmed,
    Q.GIVEN_UP: not_released,
    Q.UNDONE: undone,
    Q.FOREIGN: foreign,
}


@dataclass(frozen=True)
class Becomes:
    """What is there afterwards: operation, payment, (captured, capturable, refunded, refundable), the events."""

    operation: OperationStatus
    payment: PaymentStatus
    amounts: tuple[int, int, int, int]
    events: tuple[str, ...] = ()
    beside: OperationStatus | None = None  # the operation that it is about


ALL_OPEN, NOTHING = (0, 1000, 0, 0), (0, 0, 0, 0)
CAPTURED, REFUNDED = (1000, 0, 0, 1000), (1000, 0, 1000, 0)
AGAIN = ("payment.capture_failed",)
EXPECTED: dict[tuple[Question, OperationKind, Verdict], Becomes] = {
    (Q.OUTCOME, K.AUTHORIZE, V.APPROVED): Becomes(
        O.SUCCEEDED, S.AUTHORIZED, ALL_OPEN, ("payment.authorized",)
    ),
    (Q.OUTCOME, K.AUTHORIZE, V.DECLINED): Becomes(O.FAILED, S.FAILED, NOTHING, ("payment.failed",)),
    (Q.OUTCOME, K.AUTHORIZE, V.REVERSED): Becomes(O.FAILED, S.FAILED, NOTHING, ("payment.failed",)),
    (Q.OUTCOME, K.CAPTURE, V.APPROVED): Becomes(O.SUCCEEDED, S.CAPTURED, CAPTURED, ("payment.captured",)),
    (Q.OUTCOME, K.CAPTURE, V.DECLINED): Becomes(O.FAILED, S.AUTHORIZED, ALL_OPEN),
    (Q.OUTCOME, K.CAPTURE, V.REVERSED): Becomes(O.FAILED, S.AUTHORIZED, ALL_OPEN),
    (Q.OUTCOME, K.VOID, V.APPROVED): Becomes(O.SUCCEEDED, S.VOIDED, NOTHING, ("payment.voided",)),
    (Q.OUTCOME, K.VOID, V.DECLINED): Becomes(O.FAILED, S.AUTHORIZED, ALL_OPEN),
    (Q.OUTCOME, K.VOID, V.REVERSED): Becomes(O.FAILED, S.AUTHORIZED, ALL_OPEN),
    (Q.OUTCOME, K.EXPIRE, V.APPROVED): Becomes(O.SUCCEEDED, S.EXPIRED, NOTHING, ("payment.expired",)),
    (Q.OUTCOME, K.EXPIRE, V.DECLINED): Becomes(O.FAILED, S.EXPIRED, NOTHING, ("payment.expired",)),
    (Q.OUTCOME, K.EXPIRE, V.REVERSED): Becomes(O.FAILED, S.EXPIRED, NOTHING, ("payment.expired",)),
    (Q.OUTCOME, K.REFUND, V.PAID): Becomes(
        O.SUCCEEDED, S.REFUNDED, REFUNDED, ("refund.succeeded", "payment.refunded")
    ),
    (Q.OUTCOME, K.REFUND, V.NOT_PAID): Becomes(O.FAILED, S.CAPTURED, CAPTURED, ("refund.failed",)),
    (Q.LATE, K.AUTHORIZE, V.REVERSED): Becomes(O.SUCCEEDED, S.FAILED, NOTHING),
    (Q.LATE, K.AUTHORIZE, V.ORPHAN): Becomes(O.FAILED, S.FAILED, NOTHING),
    (Q.LATE, K.CAPTURE, V.REVERSED): Becomes(O.SUCCEEDED, S.AUTHORIZED, ALL_OPEN, AGAIN),
    (Q.LATE, K.CAPTURE, V.ORPHAN): Becomes(O.FAILED, S.AUTHORIZED, ALL_OPEN, AGAIN),
    (Q.LATE, K.VOID, V.APPROVED): Becomes(
        O.FAILED, S.VOIDED, NOTHING, ("payment.voided",), beside=O.SUCCEEDED
    ),
    (Q.LATE, K.VOID, V.DECLINED): Becomes(O.FAILED, S.AUTHORIZED, ALL_OPEN, AGAIN),
    (Q.LATE, K.EXPIRE, V.APPROVED): Becomes(O.FAILED, S.EXPIRED, NOTHING, beside=O.SUCCEEDED),
    (Q.LATE, K.EXPIRE, V.DECLINED): Becomes(O.FAILED, S.EXPIRED, NOTHING, AGAIN),
    (Q.LATE, K.REFUND, V.PAID): Becomes(
        O.FAILED, S.REFUNDED, REFUNDED, ("refund.succeeded", "payment.refunded"), beside=O.SUCCEEDED
    ),
    (Q.LATE, K.REFUND, V.NOT_PAID): Becomes(O.FAILED, S.CAPTURED, CAPTURED, ("refund.failed",)),
    (Q.RELEASE, K.EXPIRE, V.APPROVED): Becomes(O.SUCCEEDED, S.EXPIRED, NOTHING),
    (Q.RELEASE, K.EXPIRE, V.DECLINED): Becomes(O.FAILED, S.EXPIRED, NOTHING),
    (Q.RELEASE, K.VOID, V.APPROVED): Becomes(O.SUCCEEDED, S.VOIDED, NOTHING, ("payment.voided",)),
    (Q.RELEASE, K.VOID, V.DECLINED): Becomes(O.FAILED, S.AUTHORIZED, (0, 1000, 0, 0)),
    (Q.GIVEN_UP, K.REFUND, V.PAID): Becomes(
        O.SUCCEEDED, S.REFUNDED, REFUNDED, ("refund.succeeded", "payment.refunded")
    ),
    (Q.GIVEN_UP, K.REFUND, V.NOT_PAID): Becomes(O.FAILED, S.CAPTURED, CAPTURED),
    (Q.UNDONE, K.CAPTURE, V.UNDONE): Becomes(O.SUCCEEDED, S.EXPIRED, NOTHING, ("payment.expired",)),
    (Q.UNDONE, K.CAPTURE, V.APPROVED): Becomes(
        O.SUCCEEDED, S.CAPTURED, CAPTURED, ("payment.captured",), beside=O.SUCCEEDED
    ),
    (Q.UNDONE, K.VOID, V.UNDONE): Becomes(O.SUCCEEDED, S.AUTHORIZED, ALL_OPEN),
    (Q.UNDONE, K.VOID, V.APPROVED): Becomes(
        O.SUCCEEDED, S.VOIDED, NOTHING, ("payment.voided",), beside=O.SUCCEEDED
    ),
    (Q.UNDONE, K.REFUND, V.UNDONE): Becomes(O.SUCCEEDED, S.CAPTURED, CAPTURED),
    (Q.UNDONE, K.REFUND, V.PAID): Becomes(
        O.SUCCEEDED, S.REFUNDED, REFUNDED, ("refund.succeeded", "payment.refunded"), beside=O.SUCCEEDED
    ),
    (Q.FOREIGN, K.CAPTURE, V.APPROVED): Becomes(O.SUCCEEDED, S.CAPTURED, CAPTURED),
    (Q.FOREIGN, K.CAPTURE, V.ORPHAN): Becomes(
        O.FAILED, S.AUTHORIZED, ALL_OPEN, ("payment.capture_failed", "payment.authorized")
    ),
    (Q.FOREIGN, K.REFUND, V.APPROVED): Becomes(O.SUCCEEDED, S.REFUNDED, REFUNDED),
    (Q.FOREIGN, K.REFUND, V.ORPHAN): Becomes(
        O.FAILED, S.CAPTURED, CAPTURED, ("refund.failed", "payment.captured")
    ),
    (Q.FOREIGN, K.VOID, V.APPROVED): Becomes(O.SUCCEEDED, S.VOIDED, NOTHING, ("payment.voided",)),
    (Q.FOREIGN, K.VOID, V.ORPHAN): Becomes(O.FAILED, S.AUTHORIZED, ALL_OPEN),
}
# What no review can ask, and why.
NEVER_ASKED: dict[tuple[Question, OperationKind], str] = {
    **{(Q.OUTCOME, kind): "what the acquirer did is never pending" for kind in (K.UNDO, K.REDO)},
    (Q.OUTCOME, K.REVERSE): "a reversal is asked about as the late success that it undoes",
    **{
        (Q.LATE, kind): "what the acquirer did of itself has no failure before it"
        for kind in (K.UNDO, K.REDO)
    },
    **{
        (Q.RELEASE, kind): "only an expiry and a void of ours release unasked"
        for kind in K
        if kind not in (K.EXPIRE, K.VOID)
    },
    **{(Q.GIVEN_UP, kind): "only a refund of ours releases" for kind in K if kind is not K.REFUND},
    **{
        (Q.UNDONE, kind): "a turn is of a capture, a refund or a void: see `turns`"
        for kind in K
        if kind not in (K.CAPTURE, K.REFUND, K.VOID)
    },
    **{
        (Q.FOREIGN, kind): "nobody else does this at an acquirer"
        for kind in K
        if kind not in (K.CAPTURE, K.REFUND, K.VOID)
    },
}


def amounts(paid: Payment) -> tuple[int, int, int, int]:
    return (
        paid.amount_captured_minor,
        paid.capturable_minor,
        paid.amount_refunded_minor,
        paid.refundable_minor,
    )


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
    assert decisions.question(matter.operation) == asked
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
    assert settled.operation.decided_at == LATER
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
        assert (settled.answer is None) == (asked[1] is K.EXPIRE)


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
    at = decisions.settles_at(matter.attempt, FINALITY)
    assert at == NOW + timedelta(seconds=5 + 2 + 20 + 10)
    for verdict in decisions.verdicts(matter.operation):
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
    shown = {**both.review, "reason": f"unknown / {matter.payment.review['reason']}"}  # type: ignore[index]
    settled = decide(replace(matter, payment=replace(both, review=shown)), decision(V.NOT_PAID), now=LATER)
    assert settled.payment.review == both.review


# What the acquirer says afterwards.

NO = [
    DECLINED,
    Refused("bad_request"),
    FAILED,
    Reversed(),
    Expired(),
    Cancelled(),
]


def done(kind: OperationKind) -> tuple[Settlement, Attempt]:
    """Decided as done."""
    verdict = V.PAID if kind is K.REFUND else V.APPROVED
    settled = decide(pending(kind), decision(verdict), now=LATER)
    assert settled.attempt is not None
    return settled, settled.attempt


def says(settled: Settlement, latest: Attempt, fact: Outcome) -> Settlement:
    return settle(settled.payment, settled.operation, latest, fact, now=LATER)


def contradicted(kind: OperationKind, fact: Outcome) -> Settlement:
    settled, latest = done(kind)
    against = says(settled, latest, fact)
    assert against.against == fact
    found = turns.Found(settled.payment, settled.operation, latest)
    return turns.contradict(found, fact, turn_id="op_against", now=LATER)


@pytest.mark.parametrize("kind", [K.AUTHORIZE, K.CAPTURE, K.VOID, K.REFUND, K.EXPIRE])
@pytest.mark.parametrize("fact", NO, ids=lambda fact: fact.kind)
def test_a_failure_against_a_person_who_said_that_it_happened_is_a_case(
    kind: OperationKind, fact: Outcome
) -> None:
    told = contradicted(kind, fact)
    (opened,) = told.opened
    assert (opened.reason, opened.operation_id) == (ReviewReason.CONTRADICTED, "op_against")
    assert (
        opened.words.endswith(f"counts as done, and the acquirer says {fact.kind}") or "over-" in opened.words
    )
    assert (told.payment.capturable_minor, told.payment.refundable_minor) in ((0, 0),)
    assert told.added[0].amount_undecided_minor == 1000
    assert told.events[-1].type == "payment.needs_review"
    assert told.answer is None


@pytest.mark.parametrize("kind", [K.AUTHORIZE, K.CAPTURE, K.VOID, K.REFUND, K.EXPIRE])
def test_the_same_success_again_changes_nothing_whatever_reference_it_has(kind: OperationKind) -> None:
    settled, latest = done(kind)
    for reference in (f"acq-{kind}", "another"):
        fact = approval(settled.operation, connector_reference=reference)
        again = says(settled, latest, fact)
        assert (again.payment, again.operation, again.late, again.against) == (
            settled.payment,
            settled.operation,
            None,
            None,
        )


def test_a_success_of_another_amount_is_a_case() -> None:
    told = contradicted(K.CAPTURE, Approved("acq-1", 1500, "INR"))
    assert told.opened[0].words.startswith(
        "contradicted_capture op_against: 1000 INR of op_capture counts as done"
    )


@pytest.mark.parametrize("fact", [Pending(), Unknown("timeout")], ids=lambda fact: fact.kind)
def test_what_is_not_definite_is_no_contradiction(fact: Outcome) -> None:
    settled, latest = done(K.CAPTURE)
    assert says(settled, latest, fact).against is None


@pytest.mark.parametrize("kind", [K.AUTHORIZE, K.CAPTURE, K.VOID, K.REFUND])
@pytest.mark.parametrize("verdict", [V.DECLINED, V.REVERSED, V.NOT_PAID])
def test_a_success_against_a_person_who_said_that_it_did_not_happen_is_a_late_success(
    kind: OperationKind, verdict: Verdict
) -> None:
    if verdict not in TABLE[Q.OUTCOME, kind]:
        return
    settled = decide(pending(kind), decision(verdict), now=LATER)
    assert settled.attempt is not None
    found = says(settled, settled.attempt, approval(settled.operation))
    assert found.late is not None
    assert found.events[0].type == "payment.late_success"


@pytest.mark.parametrize("fact", NO, ids=lambda fact: fact.kind)
def test_what_the_acquirer_itself_said_that_it_did_is_contradicted_by_its_definite_no(fact: Outcome) -> None:
    """Not by our own conclusion; that it was reversed is a turn, and a no under another reference is another's."""
    capture = operation(K.CAPTURE)
    busy = payment(S.AUTHORIZED, pending_operation=under_way(capture))
    same = approval(capture, connector_reference=DECLINED.connector_reference or "acq-1")
    settled = settle(busy, capture, attempt(capture), same, now=NOW)
    assert settled.attempt is not None
    again = says(settled, settled.attempt, fact)
    assert again.payment == settled.payment
    assert again.against == (None if isinstance(fact, Reversed | NotProcessed) else fact)
    other = says(settled, settled.attempt, Declined(DeclineCode.DO_NOT_HONOR, "acq-other"))
    assert other.against is None


def matter_of(told: Settlement) -> InReview:
    return InReview(told.payment, told.added[0], None, told.operation, told.attempt, FINALITY)


@pytest.mark.parametrize(
    ("kind", "verdict", "becomes"),
    [
        (K.AUTHORIZE, V.UNDONE, (S.EXPIRED, NOTHING)),
        (K.AUTHORIZE, V.APPROVED, (S.AUTHORIZED, ALL_OPEN)),
        (K.CAPTURE, V.UNDONE, (S.EXPIRED, NOTHING)),
        (K.CAPTURE, V.APPROVED, (S.CAPTURED, CAPTURED)),
        (K.REFUND, V.UNDONE, (S.CAPTURED, CAPTURED)),
        (K.REFUND, V.PAID, (S.REFUNDED, REFUNDED)),
        (K.VOID, V.UNDONE, (S.AUTHORIZED, ALL_OPEN)),
        (K.VOID, V.APPROVED, (S.VOIDED, NOTHING)),
        (K.EXPIRE, V.UNDONE, (S.EXPIRED, NOTHING)),
        (K.EXPIRE, V.APPROVED, (S.EXPIRED, NOTHING)),
    ],
)
def test_a_person_says_who_is_right(
    kind: OperationKind, verdict: Verdict, becomes: tuple[PaymentStatus, tuple[int, int, int, int]]
) -> None:
    settled = decide(matter_of(contradicted(kind, DECLINED)), decision(verdict), now=LATER)
    assert (settled.payment.status, amounts(settled.payment)) == becomes
    assert settled.payment.review is None


# A release of our own of a late success, at an acquirer that cannot reverse.


def released(case: Operation, state: AttemptState) -> Attempt:
    return attempt(case, state)


def test_a_release_that_succeeds_after_it_failed_ends_the_review() -> None:
    matter = late(K.CAPTURE, reversible=False)
    case = matter.operation
    sent = settle(matter.payment, case, released(case, A.UNKNOWN), DECLINED, now=NOW)
    assert (sent.operation.status, reviews.is_open(sent.operation)) == (O.FAILED, True)
    assert sent.attempt is not None
    fact = Approved("acq-release", case.amount_minor, case.currency)
    after_all = says(sent, sent.attempt, fact)
    assert (after_all.operation.status, after_all.payment.review) == (O.SUCCEEDED, None)
    assert amounts(after_all.payment) == ALL_OPEN


def test_a_release_that_fails_against_a_person_who_said_that_it_was_undone_is_in_review_again() -> None:
    matter = late(K.CAPTURE, reversible=False)
    sent = released(matter.operation, A.UNKNOWN)
    decided = decide(replace(matter, attempt=sent), decision(V.REVERSED), now=LATER)
    assert amounts(decided.payment) == ALL_OPEN
    told = says(decided, sent, DECLINED)
    assert reviews.is_open(told.operation)
    assert amounts(told.payment) == NOTHING
    assert told.opened[0].words.endswith("not undone yet (declined)")
    assert says(told, sent, DECLINED).opened == ()


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
