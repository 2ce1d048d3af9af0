"""What a person decides where no machine can, and what it is about.

A decision is recorded as a fact of the acquirer is, under the lock of the payment. Which verdicts a review allows
is in `verdicts`, and what becomes of the books by each in `effects`.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from payonce.domain import claiming
from payonce.domain.facts import Stage
from payonce.domain.operations import USUAL, Abilities, Attempt, Operation
from payonce.domain.payment import Payment

TEXT_MAX: Final = 500
REFERENCE_MAX: Final = 100
KEY_MAX: Final = 200


class Verdict(StrEnum):
    """What a person may say of an operation in review."""

    APPROVED = "approved"  # it happened, or it holds
    DECLINED = "declined"  # it did not, and will not
    REVERSED = "reversed"  # it did, and was undone
    PAID = "paid"  # of a refund: the customer has the money
    NOT_PAID = "not_paid"
    UNDONE = "undone"  # what the acquirer took back stays so
    ORPHAN = "orphan"  # it is not of this payment
    REJECTED = "rejected"  # what is held is not to be captured


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One row of `decisions`: who says what, why, and on what evidence."""

    key: str  # the same key is the same decision, for ever
    operation_id: str
    verdict: Verdict
    actor: str  # user@host, as the machine said: not authenticated
    why: str
    evidence: str | None = None
    amount_minor: int | None = None  # what moved, where it is said
    reference: str | None = None  # the acquirer's, where it is said
    stage: Stage | None = None  # how far an authorization came, where it is not what was asked for

    def says_the_same(self, other: "Decision") -> bool:
        """Whether both decide the same, whoever did."""
        return replace(self, actor="") == replace(other, actor="")


@dataclass(frozen=True, slots=True)
class Finality:
    """How long an attempt's account takes until nothing of it can arrive any more."""

    call_deadline_s: float
    finality_s: float


UNKNOWN_FINALITY: Final = Finality(20, 24 * 3600)  # of an account that is not among the settings any more


@dataclass(frozen=True, slots=True)
class InReview:
    """What stands under the lock."""

    payment: Payment
    operation: Operation
    attempt: Attempt | None = None  # the operation's latest
    target: Operation | None = None  # that succeeded late, or that a turn is about
    target_attempt: Attempt | None = None  # of the target: the one that the case or the turn is about
    finality: Finality = UNKNOWN_FINALITY
    abilities: Abilities = USUAL
    latest: Decision | None = None  # about the operation


def settles_at(attempt: Attempt, finality: Finality) -> datetime:
    """When the attempt can be decided: until then it may still be sent, arrive, or be paid by its customer."""
    answered = claiming.unanswered_until(
        attempt, call_deadline_s=finality.call_deadline_s, finality_s=finality.finality_s
    )
    return answered if attempt.act_before is None else max(answered, attempt.act_before)
