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
EXPIRY_NOT_CONFIRMED = "expiry_not_confirmed"
VOID_NOT_CONFIRMED = "void_not_confirmed"  # of ours, of what could not be captured
NOT_RELEASED = "void_not_refunded"  # our refund of what was given up failed


class ReviewReason(StrEnum):
    """Why a person must decide, as a bounded set: for due times, searches and metrics."""

    UNDECIDED = "undecided"  # no definite answer within the rail's time
    NOT_REVERSIBLE = "not_reversible"  # it must be undone, and the connector cannot
    AMOUNT_MISMATCH = "amount_mismatch"  # another amount was approved, and its reversal is not confirmed
    EXPIRY_NOT_CONFIRMED = "expiry_not_confirmed"
    LATE = "late"  # it succeeded after its failure was recorded
    UNDONE = "undone"  # the acquirer took a success back
    FOREIGN = "foreign"  # done at the acquirer by others, and more than there was
    ENGINE_REFUSED = "engine_refused"
    RECORDING_LOST = "recording_lost"
    CONTRADICTED = "contradicted"  # it counts as done, and the acquirer says otherwise
    RISK = "risk"  # it is authorized and held: may it be captured?

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
            case ReviewReason.LATE:
                return timedelta(hours=24)  # a customer paid, or was paid, against what the merchant was told
            case ReviewReason.RISK:
                return timedelta(hours=24)  # then it is voided. Source: the public contract, `api.md`
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
    ReviewReason.LATE: "it succeeded after its failure was recorded",
    ReviewReason.UNDONE: "the acquirer took it back",
    ReviewReason.FOREIGN: "others did it at the acquirer, and it is more than there was",
    ReviewReason.ENGINE_REFUSED: "Temporal refuses to carry it out",
    ReviewReason.RECORDING_LOST: "Postgres lost what became of it",
    ReviewReason.CONTRADICTED: "it counts as done, and the acquirer says otherwise",
    ReviewReason.RISK: "its risk is to be looked at before it is captured; undecided, it is voided",
}


class Question(StrEnum):
    """What a person is asked about an operation in review."""

    OUTCOME = "outcome"  # what became of it: it is pending
    LATE = "late"  # what is to become of what succeeded late
    RELEASE = "release"  # whether what ended here, and nobody asked to end, was released there
    UNDONE = "undone"  # whether what the acquirer took back stays so
    FOREIGN = "foreign"  # whether what others did belongs to the payment
    RISK = "risk"  # whether what is authorized and held may be captured
    GIVEN_UP = "given_up"  # whether what was given up, and captured all the same, was given back after all


class ClosedBy(StrEnum):
    """What ended a review."""

    FACT = "fact"  # the acquirer's
    DECISION = "decision"  # a person's
    TIME = "time"  # nobody decided


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


def opened(
    operation: Operation,
    *,
    words: str,
    now: datetime,
    reason: ReviewReason | None = None,
    due_before: datetime | None = None,
) -> Review:
    """The review that begins now; its reason follows from the operation and the words where none is given.

    It is due no later than `due_before`, and not before now.
    """
    reason = reason or _reason(operation, words)
    due_at = now + reason.due_after
    return Review(
        operation_id=operation.id,
        payment_id=operation.payment_id,
        merchant_id=operation.merchant_id,
        mode=operation.mode,
        reason=reason,
        words=words,
        opened_at=now,
        due_at=due_at if due_before is None else max(now, min(due_at, due_before)),
    )


def question(operation: Operation) -> Question | None:
    """What a person must decide about the operation; None: nothing, or not any more."""
    if operation.review_at is None:
        return None
    if operation.origin is Origin.ACQUIRER:
        return _of_acquirer(operation)
    match operation.status, operation.kind:
        case OperationStatus.PENDING | OperationStatus.FAILED, OperationKind.REVERSE:
            return Question.LATE
        case OperationStatus.PENDING, _:
            return Question.OUTCOME
        case OperationStatus.SUCCEEDED, OperationKind.AUTHORIZE if operation.reason == ReviewReason.RISK:
            return Question.RISK
        case OperationStatus.FAILED, OperationKind.EXPIRE | OperationKind.VOID if (
            operation.kind is OperationKind.EXPIRE or operation.origin is Origin.PAYONCE
        ):
            return Question.RELEASE
        case OperationStatus.FAILED, OperationKind.REFUND if operation.ends_operation is not None:
            return Question.GIVEN_UP
        case _:
            return None  # an earlier version marked it, and it has its outcome


def _of_acquirer(operation: Operation) -> Question | None:
    if operation.amount_undecided_minor == 0:
        return None  # settled
    turned = operation.kind in (OperationKind.UNDO, OperationKind.REDO)
    return Question.UNDONE if turned else Question.FOREIGN


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
        case Question.RELEASE:
            reason = _not_confirmed(operation)
        case Question.GIVEN_UP:
            reason = NOT_RELEASED
        case Question.RISK:
            reason = ReviewReason.RISK.value
        case _:
            reason = f"{operation.kind}_undecided"
    return {"reason": reason, "since": timestamp(operation.review_at)}


def _not_confirmed(operation: Operation) -> str:
    return EXPIRY_NOT_CONFIRMED if operation.kind is OperationKind.EXPIRE else VOID_NOT_CONFIRMED


def _begins(operation: Operation) -> str | None:
    """How the words begin that the payment shows of this operation, wherever they stand; None: they stand first."""
    match question(operation):
        case Question.LATE | Question.UNDONE | Question.FOREIGN:
            return undecided.name(operation)
        case Question.RELEASE:
            return _not_confirmed(operation)
        case Question.GIVEN_UP:
            return NOT_RELEASED
        case Question.RISK:
            return ReviewReason.RISK.value
        case _:
            return None


def _reason(operation: Operation, words: str) -> ReviewReason:
    """The reason of an operation that is in review in these words."""
    match operation.kind:
        case OperationKind.UNDO if undecided.contradicts(operation):
            return ReviewReason.CONTRADICTED
        case OperationKind.UNDO | OperationKind.REDO:
            return ReviewReason.UNDONE
        case OperationKind.REVERSE:
            return ReviewReason.LATE
        case _ if operation.origin is Origin.ACQUIRER:
            return ReviewReason.FOREIGN
        case OperationKind.EXPIRE if operation.status is OperationStatus.FAILED:
            return ReviewReason.EXPIRY_NOT_CONFIRMED
        case _:
            return _OWN_WORDS.get(words, ReviewReason.UNDECIDED)


_OWN_WORDS = {
    reason.value: reason
    for reason in (
        ReviewReason.NOT_REVERSIBLE,
        ReviewReason.AMOUNT_MISMATCH,
        ReviewReason.ENGINE_REFUSED,
        ReviewReason.RECORDING_LOST,
        ReviewReason.RISK,
    )
} | {
    NOT_RELEASED: ReviewReason.NOT_REVERSIBLE,
    VOID_NOT_CONFIRMED: ReviewReason.NOT_REVERSIBLE,
}
