"""A person decided, and the acquirer says otherwise afterwards: a case, a late success, or nothing new."""

from dataclasses import replace

import pytest

from payonce.domain import reviews, turns
from payonce.domain.decisions import InReview, Verdict
from payonce.domain.facts import (
    Approved,
    Cancelled,
    DeclineCode,
    Declined,
    Expired,
    NotProcessed,
    Outcome,
    Pending,
    Refused,
    Reversed,
    Unknown,
)
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.reviews import Question, ReviewReason
from payonce.domain.settlement import Settlement, settle
from payonce.domain.verdicts import TABLE, decide
from tests.support.rows import NOW, approval, attempt, operation, payment, under_way
from tests.support.verdicts import (
    ALL_OPEN,
    CAPTURED,
    DECLINED,
    FAILED,
    FINALITY,
    LATER,
    NOTHING,
    REFUNDED,
    amounts,
    decision,
    late,
    pending,
    says,
)

S, K, A, O, Q, V = PaymentStatus, OperationKind, AttemptState, OperationStatus, Question, Verdict
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
