"""What crosses Temporal about a review: no card data, and a `kind` on every union member."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from activities.messages import OperationRequest
from payonce.domain.operations import Subject


@dataclass(frozen=True, slots=True)
class ReviewRequest:
    """The review of one operation, by that one's id: everything else is read from Postgres."""

    payment_id: str
    operation_id: str
    reason: str  # that the run can be searched by
    ask_at: datetime | None = None  # when to ask the acquirer next; None: a while after the review began

    @property
    def subject(self) -> Subject:
        return Subject(self.payment_id, self.operation_id)


@dataclass(frozen=True, slots=True)
class Spoken:
    """An attempt that the acquirer can be asked about."""

    operation: OperationRequest  # that it was made for
    reference: str


@dataclass(frozen=True, slots=True)
class OpenReview:
    """A person must decide."""

    reason: str
    meaning: str  # of the reason, in words
    words: str  # the details
    opened_at: datetime
    due_at: datetime
    overdue_at: datetime | None = None  # since when it is known, and was told, that nobody decided in time
    about: Spoken | None = None  # None: there is nothing that the acquirer could be asked
    verdicts: dict[str, str] = field(default_factory=dict)  # that are possible, and what each means
    kind: Literal["in_review"] = "in_review"


@dataclass(frozen=True, slots=True)
class Over:
    """Nobody must decide any more."""

    closed_by: str | None  # None: Postgres knows of no such review
    kind: Literal["over"] = "over"


ReviewStanding = OpenReview | Over
"""Where a review stands."""
