"""What becomes of a payment's rows, with the events that tell of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from payonce.domain.answers import Answer, dispute_view, payment_view, refund_view
from payonce.domain.facts import Outcome
from payonce.domain.operations import Attempt, Operation
from payonce.domain.payment import Change, Payment
from payonce.domain.reviews import Review

if TYPE_CHECKING:
    from payonce.domain.disputes import Dispute
    from payonce.domain.returning import Returned

EventType = Literal[
    "payment.requires_action",
    "payment.processing",
    "payment.authorized",
    "payment.partially_captured",
    "payment.captured",
    "payment.voided",
    "payment.expired",
    "payment.failed",
    "payment.partially_refunded",
    "payment.refunded",
    "payment.late_success",
    "payment.capture_failed",
    "payment.needs_review",
    "payment.review_overdue",
    "refund.pending",
    "refund.succeeded",
    "refund.failed",
    "dispute.opened",
    "dispute.updated",
    "dispute.evidence_due",
    "dispute.fraud_warning",
    "dispute.funds_withdrawn",
    "dispute.funds_reinstated",
    "dispute.won",
    "dispute.lost",
    "payment_method.active",
    "payment_method.updated",
    "payment_method.deleted",
    "webhook_endpoint.failing",
    "webhook_endpoint.exhausted",
    "webhook_endpoint.disabled",
    "webhook_endpoint.recovered",
]

EVENT_TYPES: Final[tuple[str, ...]] = get_args(EventType)


@dataclass(frozen=True, slots=True)
class Draft:
    """An event to be: its type, its place in the payment's sequence and its data as of then."""

    type: str
    sequence: int
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Settlement:
    """The rows as they are to be, and what goes with them in the same transaction."""

    payment: Payment
    operation: Operation
    attempt: Attempt | None = None
    events: tuple[Draft, ...] = ()
    answer: Answer | None = None
    answered: str | None = None  # whose answer that is, where it is another operation's
    late: Operation | None = None  # the case that a success against an earlier fact opens
    against: Outcome | None = (
        None  # what the acquirer says against a person's decision: see `turns.contradict`
    )
    confirms: Outcome | None = None  # what the acquirer says as a person decided: see `words`
    abandoned: str | None = None  # the void that succeeds with this, since the authorization came to nothing
    refund: Operation | None = None  # of our own, which begins with this: see `leaving`
    added: tuple[Operation, ...] = ()  # operations that begin, or are told of, with this
    beside: tuple[Operation, ...] = ()  # other operations of the payment, as they are to be
    opened: tuple[Review, ...] = ()  # the reviews that begin with this
    escalated: Review | None = None  # the review that is told of as overdue
    dispute: "Dispute | None" = None  # as it is to be
    returned: "Returned | None" = None  # what a browser brought back, where it was taken


@dataclass(slots=True)
class Story:
    """Collects what happens to one payment, step by step, with an event for each."""

    payment: Payment
    now: datetime
    events: tuple[Draft, ...] = ()

    def change(self, change: Change, **fields: Any) -> None:
        """The status moves by the table; the event carries the new status's name."""
        self.payment = self.payment.changed(change, **fields)
        self.tell(f"payment.{self.payment.status}")

    def move(self, change: Change) -> None:
        """As `change`, where that is another status; a status that stays has no event."""
        if self.payment.changed(change).status is not self.payment.status:
            self.change(change)

    def tell(
        self,
        type_: str,
        *,
        refund: Operation | None = None,
        dispute: "Dispute | None" = None,
        previously: str | None = None,
        submit_to: Mapping[str, str] | None = None,
    ) -> None:
        """`previously`: what the object was before the acquirer changed its mind. `submit_to`: where to answer."""
        sequence = self.payment.sequence + 1
        self.payment = replace(self.payment, sequence=sequence, updated_at=self.now)
        if dispute is not None:
            data = dispute_view(dispute)
        else:
            data = payment_view(self.payment) if refund is None else refund_view(refund)
        data |= {} if previously is None else {"previously": previously}
        data |= {} if submit_to is None else {"submit_to": dict(submit_to)}
        self.events += (Draft(type_, sequence, data),)

    def set(self, **fields: Any) -> None:
        self.payment = replace(self.payment, updated_at=self.now, **fields)
