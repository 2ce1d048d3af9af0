"""What crosses Temporal between workflows and activities: no card data, and a `kind` on every union member."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from payonce.domain.operations import OperationKind, Subject
from payonce.domain.schedules import InquirySchedule


@dataclass(frozen=True, slots=True)
class OperationRequest:
    """One operation of one payment, by id: everything else is read from Postgres."""

    payment_id: str
    operation_id: str
    kind: OperationKind
    token: str | None = None  # to reverse: of the claim that was inquired about
    doubted: bool = False  # Postgres may have lost claims of it that were sent: inquire before sending
    aside: bool = False  # by the run that carries on a capture that stands aside: until it has its outcome

    @property
    def subject(self) -> Subject:
        return Subject(self.payment_id, self.operation_id)


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """Starts `PaymentWorkflow`; amounts in minor units, for the eyes of operators."""

    payment_id: str
    amount_minor: int
    currency: str
    doubted: bool = False  # as in `OperationRequest`, of all that this run sends


@dataclass(frozen=True, slots=True)
class Settled:
    """The operation has its outcome, or stands aside for it; the payment as Postgres has it now."""

    status: str
    open: bool  # something of the payment may still be captured, voided or expire, or is under way
    sequence: int
    capture_before: datetime | None = None
    pending: OperationRequest | None = None  # a capture or void that is under way
    watched: str | None = None  # the attempt that the rail may still approve: it expired, or was abandoned
    watch: InquirySchedule | None = None  # when to ask about that
    asked: bool = True  # False: it was found settled, and the acquirer was not asked
    failure: str | None = (
        None  # why the payment failed: the decline's code, or another's where nobody declined
    )
    accepted: list[OperationRequest] = field(default_factory=list)  # captures that stand aside
    held_since: datetime | None = None  # since when it is authorized, and a person must look at its risk
    kind: Literal["settled"] = "settled"


@dataclass(frozen=True, slots=True)
class InquiryDue:
    """The outcome is unknown: ask again, on this schedule."""

    schedule: InquirySchedule
    reason: str
    claimed_at: datetime | None = None  # since when an answer is overdue, whichever run asks
    review_since: datetime | None = None  # since when a person must decide
    kind: Literal["inquiry_due"] = "inquiry_due"


@dataclass(frozen=True, slots=True)
class ActionDue:
    """The customer is to act until then: ask when the acquirer spoke, on this schedule, and when the time is over."""

    until: datetime
    schedule: InquirySchedule
    action: str  # `next_action.type`, for the eyes of operators
    kind: Literal["action_due"] = "action_due"


@dataclass(frozen=True, slots=True)
class LegDue:
    """The customer is back, and what they brought is to be sent."""

    kind: Literal["leg_due"] = "leg_due"


@dataclass(frozen=True, slots=True)
class ReversalDue:
    """The attempt must be reversed before its outcome counts; retried on this schedule."""

    schedule: InquirySchedule
    reason: str
    token: str | None = None  # of the claim that is found not to have been processed, and of no other
    claimed_at: datetime | None = None  # as in `InquiryDue`
    review_since: datetime | None = None  # the same
    kind: Literal["reversal_due"] = "reversal_due"


LACKING = "lacking"  # why nothing is sent: others moved meanwhile what the operation needs


@dataclass(frozen=True, slots=True)
class NothingSent:
    """The latest attempt was provably not sent; whether a further one is possible is the workflow's to decide."""

    reason: str
    may_retry: bool
    patient: bool = False  # of a create: it needs nothing that lives in memory, so that there is time
    no_attempt: bool = False  # none is in Postgres, as far as was looked
    claimed_at: datetime | None = field(default=None, compare=False)  # the latest attempt that is
    kind: Literal["nothing_sent"] = "nothing_sent"


@dataclass(frozen=True, slots=True)
class NotOwner:
    """Another process may send this attempt, and only that one holds what it takes."""

    owner: str
    kind: Literal["not_owner"] = "not_owner"


Progress = Settled | InquiryDue | ActionDue | LegDue | ReversalDue | NothingSent | NotOwner
"""Where an operation stands after one step."""
