"""What a person must decide: why, until when, and what a payment shows of it: `{"reason", "since"}` (`api.md`).

One operation's reason is shown until it is decided, then another's. What must not wait for that, a late success, what
an acquirer did of itself and an expiry that it did not confirm, is told beside it. Each operation in review has a row
of its own as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, assert_never

from payonce.domain import undecided
from payonce.domain.answers import timestamp
from payonce.domain.operations import Operation, OperationKind, OperationStatus, Origin
from payonce.domain.payment import Payment

_BESIDE = " / "
_NOT_CONFIRMED = "expiry_not_confirmed"
_NOT_REFUNDED = "void_not_refunded"


class ReviewReason(StrEnum):
    """Why a person must decide, as a bounded set: for due times, searches and metrics."""

    UNDECIDED = "undecided"  # no definite answer within the rail's time
    NOT_REVERSIBLE = "not_reversible"  # it must be undone, and the connector cannot
    AMOUNT_MISMATCH = "amount_mismatch"  # another amount was approved, and its reversal is not confirmed
    EXPIRY_NOT_CONFIRMED = "expiry_not_confirmed"
    NOT_RELEASED = "not_released"  # the merchant had given it up, and our refund of it failed
    LATE = "late"  # it succeeded after its failure was recorded
    UNDONE = "undone"  # the acquirer took a success back
    FOREIGN = "foreign"  # done at the acquirer by others, and more than there was
    ENGINE_REFUSED = "engine_refused"
    RECORDING_LOST = "recording_lost"
    CONTRADICTED = "contradicted"  # the acquirer says otherwise than the person who decided

    @property
    def due_after(self) -> timedelta:
        """By when it should be decided; then it escalates. Exhaustive: a new reason has to say."""
        match self:
            case ReviewReason.ENGINE_REFUSED:
                return timedelta(hours=1)  # ours to mend; nobody carries the operation out meanwhile
            case ReviewReason.RECORDING_LOST | ReviewReason.CONTRADICTED:
                return timedelta(hours=4)  # goods may be on their way for money that is not there
            case ReviewReason.UNDECIDED | ReviewReason.NOT_REVERSIBLE | ReviewReason.AMOUNT_MISMATCH:
                return timedelta(hours=24)  # an acquirer's support answers within a working day
            case ReviewReason.LATE | ReviewReason.NOT_RELEASED:
                return timedelta(hours=24)  # a customer paid, or was paid, against what the merchant was told
            case ReviewReason.UNDONE | ReviewReason.FOREIGN:
                return timedelta(hours=72)  # a scheme may do it again; the next settlement report shows it
            case ReviewReason.EXPIRY_NOT_CONFIRMED:
                return timedelta(hours=72)  # issuers let go of what is not captured after a week
            case _:
                assert_never(self)

    @property
    def meaning(self) -> str:
        """In words, for people: of the operation in review."""
        return _MEANINGS[self]


_MEANINGS = {
    ReviewReason.UNDECIDED: "the acquirer gave no definite answer in time",
    ReviewReason.NOT_REVERSIBLE: "it must be undone, and the acquirer cannot",
    ReviewReason.AMOUNT_MISMATCH: "another amount was approved, and its reversal is not confirmed",
    ReviewReason.EXPIRY_NOT_CONFIRMED: "the acquirer did not confirm that it let go of what expired",
    ReviewReason.NOT_RELEASED: "the merchant had given it up, and our refund of it failed",
    ReviewReason.LATE: "it succeeded after its failure was recorded",
    ReviewReason.UNDONE: "the acquirer took it back",
    ReviewReason.FOREIGN: "others did it at the acquirer, and it is more than there was",
    ReviewReason.ENGINE_REFUSED: "Temporal refuses to carry it out",
    ReviewReason.RECORDING_LOST: "Postgres lost what became of it",
    ReviewReason.CONTRADICTED: "the acquirer says otherwise than the person who decided",
}


class Question(StrEnum):
    """What a person is asked about an operation in review."""

    OUTCOME = "outcome"  # what became of it: it is pending
    LATE = "late"  # what is to become of what succeeded late
    EXPIRY = "expiry"  # whether what expired here was released there
    RELEASE = "release"  # whether what the merchant had given up went back all the same
    UNDONE = "undone"  # whether what the acquirer took back stays so
    FOREIGN = "foreign"  # whether what others did belongs to the payment


class ClosedBy(StrEnum):
    """What ended a review."""

    FACT = "fact"  # the acquirer's
    DECISION = "decision"  # a person's


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One row of `reviews`: the latest review of one operation."""

    operation_id: str
    payment_id: str
    merchant_id: str
    mode: str
    reason: ReviewReason
    words: str  # why, for people
    opened_at: datetime
    due_at: datetime
    overdue_at: datetime | None = None  # since when it is known to be late, and was told
    closed_at: datetime | None = None
    closed_by: ClosedBy | None = None


def opened(operation: Operation, *, words: str, now: datetime, reason: ReviewReason | None = None) -> Review:
    """The review that begins now; its reason follows from the operation and the words where none is given."""
    reason = reason or _reason(operation, words)
    return Review(
        operation_id=operation.id,
        payment_id=operation.payment_id,
        merchant_id=operation.merchant_id,
        mode=operation.mode,
        reason=reason,
        words=words,
        opened_at=now,
        due_at=now + reason.due_after,
    )


def question(operation: Operation) -> Question | None:
    """What a person must decide about the operation; None: nothing, or not any more."""
    if operation.review_at is None:
        return None
    if operation.origin is Origin.ACQUIRER:
        return _of_a_turn(operation) if operation.amount_undecided_minor else None
    if operation.kind is OperationKind.REVERSE:
        return None if operation.status is OperationStatus.SUCCEEDED else Question.LATE
    match operation.status:
        case OperationStatus.PENDING:
            return Question.OUTCOME
        case OperationStatus.FAILED:
            return _of_a_failure(operation)
        case OperationStatus.SUCCEEDED:
            return None  # an earlier version marked it, and it has its outcome
        case _:
            assert_never(operation.status)


def _of_a_turn(operation: Operation) -> Question:
    """What is asked about what the acquirer did of itself."""
    return Question.FOREIGN if operation.kind.carried_out else Question.UNDONE


def _of_a_failure(operation: Operation) -> Question | None:
    """What a failure leaves open: whether the acquirer let go all the same."""
    if operation.kind is OperationKind.EXPIRE:
        return Question.EXPIRY
    return Question.RELEASE if operation.ends_operation is not None else None


def is_open(operation: Operation) -> bool:
    """Whether a person must decide about the operation."""
    return question(operation) is not None


def begun(payment: Payment, reason: str, *, beside: bool, now: datetime) -> Mapping[str, Any]:
    """The payment's review, from now on for this reason: alone, or `beside` what it is in review for already."""
    if payment.review is None:
        return {"reason": reason, "since": timestamp(now)}
    if not beside:
        return payment.review
    return {**payment.review, "reason": f"{payment.review['reason']}{_BESIDE}{reason}"}


def left(payment: Payment, operation: Operation) -> Mapping[str, Any] | None:
    """What is left of the payment's review when this operation is decided: the others' reasons stay."""
    if payment.review is None or operation.review_at is None:
        return payment.review
    reasons = str(payment.review["reason"]).split(_BESIDE)
    own = _begins(operation)
    if own is not None:
        reasons = [reason for reason in reasons if not reason.startswith(own)]
    elif payment.review["since"] == timestamp(operation.review_at):
        reasons = reasons[1:]
    return {**payment.review, "reason": _BESIDE.join(reasons)} if reasons else None


def of(payment: Payment, operation: Operation) -> Mapping[str, Any] | None:
    """What the payment shows of this operation once no other's reason is shown; None where nobody was called."""
    if operation.review_at is None:
        return None
    match question(operation):
        case Question.LATE | Question.UNDONE | Question.FOREIGN:
            reason = undecided.words(payment, operation)
        case Question.EXPIRY:
            reason = _NOT_CONFIRMED
        case Question.RELEASE:
            reason = _NOT_REFUNDED
        case _:
            reason = f"{operation.kind}_undecided"
    return {"reason": reason, "since": timestamp(operation.review_at)}


def _begins(operation: Operation) -> str | None:
    """How the words begin that the payment shows of this operation, wherever they stand; None: they stand first."""
    match question(operation):
        case Question.LATE | Question.UNDONE | Question.FOREIGN:
            return undecided.name(operation)
        case Question.EXPIRY:
            return _NOT_CONFIRMED
        case Question.RELEASE:
            return _NOT_REFUNDED
        case _:
            return None


def _reason(operation: Operation, words: str) -> ReviewReason:
    """The reason of an operation that is in review in these words."""
    match question(operation):
        case Question.UNDONE:
            return ReviewReason.UNDONE
        case Question.LATE:
            return ReviewReason.LATE
        case Question.FOREIGN:
            return ReviewReason.FOREIGN
        case Question.EXPIRY:
            return ReviewReason.EXPIRY_NOT_CONFIRMED
        case Question.RELEASE:
            return ReviewReason.NOT_RELEASED
        case Question.OUTCOME | None:
            return _OWN_WORDS.get(words, ReviewReason.UNDECIDED)
        case other:
            assert_never(other)


_OWN_WORDS = {
    reason.value: reason
    for reason in (
        ReviewReason.NOT_REVERSIBLE,
        ReviewReason.AMOUNT_MISMATCH,
        ReviewReason.ENGINE_REFUSED,
        ReviewReason.RECORDING_LOST,
    )
}
