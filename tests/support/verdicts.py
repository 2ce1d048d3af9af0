"""Operations in review, one for each question, and the table: what becomes of each by every verdict."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from payonce.domain import reviews, turns
from payonce.domain.contradictions import open_case
from payonce.domain.decisions import Decision, Finality, InReview, Verdict
from payonce.domain.ending import review
from payonce.domain.facts import (
    DeclineCode,
    Declined,
    FailureCode,
    Foreign,
    NotProcessed,
    Outcome,
    Stage,
    Undone,
)
from payonce.domain.operations import Abilities, Attempt, AttemptState, OperationKind, OperationStatus, Origin
from payonce.domain.payment import HELD, Payment, PaymentStatus
from payonce.domain.reviews import Question
from payonce.domain.settlement import Settlement, settle
from tests.support.rows import NOW, approval, attempt, operation, payment, under_way

S, K, A, O, Q, V = PaymentStatus, OperationKind, AttemptState, OperationStatus, Question, Verdict
FINALITY = Finality(call_deadline_s=20, finality_s=10)
LATER = NOW + timedelta(hours=1)
FAILED = NotProcessed(FailureCode.NOT_PROCESSED)
DECLINED = Declined(DeclineCode.PROCESSING_ERROR)


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
    paid = {K.AUTHORIZE: S.PROCESSING, K.REFUND: S.CAPTURED, K.ACCEPT: S.CAPTURED}
    status = paid.get(kind, S.AUTHORIZED)
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
    did = Foreign("f1", kind.value, 1000 if kind is K.VOID else 1500, "INR")
    found = turns.Found(payment(status, **busy), create, latest)
    taken = turns.take(found, did, turn_id="op_f1", now=NOW)
    return InReview(
        replace(taken.payment, pending_operation=None), taken.added[0], None, create, latest, FINALITY
    )


def risky(_: OperationKind = K.AUTHORIZE) -> InReview:
    """Authorized and held, since its risk is to be looked at."""
    create = operation(K.AUTHORIZE)
    held = payment(
        S.INIT, capture=HELD, risk={"verdict": "review", "reasons": ["new_card"], "provider": "rules"}
    )
    found = settle(held, create, attempt(create), approval(create), now=NOW)
    return InReview(found.payment, found.operation, found.attempt, finality=FINALITY)


MATTERS: dict[Question, Callable[[OperationKind], InReview]] = {
    Q.OUTCOME: pending,
    Q.LATE: late,
    Q.RELEASE: not_confirmed,
    Q.GIVEN_UP: not_released,
    Q.UNDONE: undone,
    Q.FOREIGN: foreign,
    Q.RISK: risky,
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
    (Q.OUTCOME, K.ACCEPT, V.APPROVED): Becomes(O.SUCCEEDED, S.CAPTURED, CAPTURED),
    (Q.OUTCOME, K.ACCEPT, V.DECLINED): Becomes(O.FAILED, S.CAPTURED, CAPTURED),
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
    (Q.RISK, K.AUTHORIZE, V.APPROVED): Becomes(O.SUCCEEDED, S.AUTHORIZED, ALL_OPEN),
    (Q.RISK, K.AUTHORIZE, V.REJECTED): Becomes(O.SUCCEEDED, S.AUTHORIZED, ALL_OPEN),  # its void follows
}


# What no review can ask, and why.
NEVER_ASKED: dict[tuple[Question, OperationKind], str] = {
    **{(Q.OUTCOME, kind): "what the acquirer did is never pending" for kind in (K.UNDO, K.REDO)},
    (Q.OUTCOME, K.REVERSE): "a reversal is asked about as the late success that it undoes",
    **{
        (Q.LATE, kind): "what the acquirer did of itself has no failure before it"
        for kind in (K.UNDO, K.REDO)
    },
    (Q.LATE, K.ACCEPT): "a dispute that is accepted late is accepted: nothing is to be undone",
    **{
        (Q.RELEASE, kind): "only an expiry and a void of ours release unasked"
        for kind in K
        if kind not in (K.EXPIRE, K.VOID)
    },
    **{(Q.RISK, kind): "only an authorization is held" for kind in K if kind is not K.AUTHORIZE},
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


def says(settled: Settlement, latest: Attempt, fact: Outcome) -> Settlement:
    return settle(settled.payment, settled.operation, latest, fact, now=LATER)
