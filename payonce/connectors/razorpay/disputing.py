"""What a cardholder's bank disputes at Razorpay, as its webhooks tell it: each has the whole dispute, and is signed.

Nobody can ask for the disputes of a payment, so what is signed is a fact; all those of an account are listed. Its
phases `fraud` and `retrieval` ask, and take nothing. In the others Razorpay deducts the amount at the outset ("Deduct
at Onset"), while `amount_deducted` stays 0 until the dispute is lost: so while it is open all of it counts as
withdrawn, and then what is deducted.
Source: razorpay.com/docs/api/disputes/entity, /docs/webhooks/disputes, /docs/payments/disputes and
/docs/payments/disputes/chargeback-fees-and-penalties. Read, not tried.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import structlog
from pydantic import Field, ValidationError

from payonce.connectors.razorpay.objects import (
    Currency,
    Moment,
    PaymentId,
    RazorpayObject,
    Text,
)
from payonce.domain.facts import Disputed, DisputeStage

log = structlog.get_logger(__name__)

_STAGES: Final[dict[str, DisputeStage]] = {
    "fraud": "inquiry",
    "retrieval": "inquiry",
    "chargeback": "chargeback",
    "pre_arbitration": "pre_arbitration",
    "arbitration": "arbitration",
}
_STATUS: Final[dict[str, Literal["needs_response", "under_review", "won", "lost", "closed"]]] = {
    "open": "needs_response",
    "under_review": "under_review",
    "won": "won",
    "lost": "lost",
    "closed": "closed",
}
_ASKS: Final = "action_required"
_ACTION_REQUIRED: Final = "payment.dispute.action_required"
_OPEN: Final = ("needs_response", "under_review")


class RazorpayDispute(RazorpayObject):
    """The dispute of an event, without its evidence."""

    id: Annotated[str, Field(pattern=r"^disp_[A-Za-z0-9]{1,40}$")]
    entity: Literal["dispute"]
    payment_id: PaymentId
    amount: Annotated[int, Field(gt=0, le=2**53 - 1)]
    currency: Currency
    amount_deducted: Annotated[int, Field(ge=0, le=2**53 - 1)] = 0
    reason_code: Text = None
    respond_by: Moment | None = None
    status: str
    phase: str
    created_at: Moment


class ListedDisputes(RazorpayObject):
    """Part of a list, each of which is read apart: one that cannot be read hides no other."""

    entity: Literal["collection"]
    count: int
    items: list[Any]


class _OfDispute(RazorpayObject):
    entity: RazorpayDispute


def read(raw: Any, *, name: str, at: int | None) -> Disputed | None:
    """How the dispute of an event stands; None of one that cannot be read, which is for a person.

    `name`: of the event. `at`: when it happened, to the second.
    """
    try:
        found = _OfDispute.model_validate(raw).entity
    except ValidationError:  # it holds the raw body
        log.error("acquirer_dispute_unreadable", event_name=name)
        return None
    return standing(found, name=name, at=at)


def listed(items: Sequence[Any], *, at: datetime) -> tuple[Disputed, ...]:
    """How each dispute of a list stands that was asked for then; one that cannot be read is for a person."""
    found = []
    for raw in items:
        try:
            one = RazorpayDispute.model_validate(raw)
        except ValidationError:
            log.error("acquirer_dispute_unreadable", event_name=None)
        else:
            found.append(standing(one, name="", at=int(at.timestamp())))
    return tuple(found)


def standing(found: RazorpayDispute, *, name: str, at: int | None) -> Disputed:
    """In our words. A phase or status that is new counts as an open chargeback."""
    status, stage = _STATUS.get(found.status), _STAGES.get(found.phase)
    if status is None or stage is None:
        log.warning("acquirer_status_unmapped", status=found.status, phase=found.phase)
    if name == _ACTION_REQUIRED or (status is None and found.status == _ASKS):
        status = "needs_response"
    status, stage = status or "under_review", stage or "chargeback"
    if stage == "inquiry" and found.amount_deducted:
        stage = "chargeback"
    return Disputed(
        id=found.id,
        stage=stage,
        status=status,
        amount_minor=found.amount,
        currency=found.currency,
        withdrawn_minor=_withdrawn(found, stage=stage, status=status),
        withdrawn_in=found.currency,
        reason=found.reason_code or "",
        at=datetime.fromtimestamp(found.created_at if at is None else at, UTC),
        evidence_due_by=datetime.fromtimestamp(found.respond_by, UTC) if found.respond_by else None,
        about=found.payment_id,
    )


def is_mapped(found: RazorpayDispute) -> bool:
    """Whether its status is one of those that are known."""
    return found.status in (*_STATUS, _ASKS)


def _withdrawn(found: RazorpayDispute, *, stage: DisputeStage, status: str) -> int:
    if stage == "inquiry" or status == "won":
        return 0
    if status in _OPEN:
        return max(found.amount, found.amount_deducted)
    return found.amount_deducted or (found.amount if status == "lost" else 0)
