"""A payment, its statuses, and the table of what may follow what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, assert_never

from payonce.domain.errors import IllegalTransition
from payonce.domain.payment_methods import StoredCredential
from payonce.domain.personal import Channel

HELD: Final = "held"  # a person decides first whether it is captured: see `risk`
REJECTED: Final = "rejected"  # it is voided, and never captured
CAPTURE_CLOSES_BEFORE_EXPIRY = timedelta(minutes=5)  # a capture must reach the acquirer while it still holds


class PaymentStatus(StrEnum):
    INIT = "init"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    AUTHORIZED = "authorized"
    PARTIALLY_CAPTURED = "partially_captured"
    CAPTURED = "captured"
    VOIDED = "voided"
    EXPIRED = "expired"
    FAILED = "failed"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"

    @property
    def capturable(self) -> bool:
        """Whether some of the authorization may still be captured, voided or expire."""
        return self in (PaymentStatus.AUTHORIZED, PaymentStatus.PARTIALLY_CAPTURED)

    @property
    def undecided(self) -> bool:
        """Whether the authorization has no definite outcome yet."""
        match self:
            case PaymentStatus.INIT | PaymentStatus.REQUIRES_ACTION | PaymentStatus.PROCESSING:
                return True
            case (
                PaymentStatus.AUTHORIZED
                | PaymentStatus.PARTIALLY_CAPTURED
                | PaymentStatus.CAPTURED
                | PaymentStatus.VOIDED
                | PaymentStatus.EXPIRED
                | PaymentStatus.FAILED
                | PaymentStatus.PARTIALLY_REFUNDED
                | PaymentStatus.REFUNDED
            ):
                return False
            case _:
                assert_never(self)

    @property
    def open(self) -> bool:
        """Whether the payment's workflow still has something to do."""
        return self.undecided or self.capturable


class Change(StrEnum):
    """What happened to a payment."""

    DEFERRED = "deferred"  # no outcome in time, or the outcome is unknown
    ACTION_REQUIRED = "action_required"
    AUTHORIZED = "authorized"
    FAILED = "failed"
    CAPTURED_IN_PART = "captured_in_part"
    CAPTURED = "captured"  # all of it, or the last part: nothing is capturable any more
    VOIDED = "voided"
    EXPIRED = "expired"
    REFUNDED_IN_PART = "refunded_in_part"
    REFUNDED = "refunded"
    # What the acquirer does of itself, later: see `turns`.
    CAPTURE_UNDONE = "capture_undone"  # all of it: nothing is captured any more
    CAPTURE_REDONE = "capture_redone"  # after the rest of the authorization had ended
    REFUND_UNDONE = "refund_undone"  # all of it: nothing is refunded any more
    VOID_UNDONE = "void_undone"


_S, _C = PaymentStatus, Change

TRANSITIONS: Mapping[tuple[PaymentStatus, Change], PaymentStatus] = {
    (_S.INIT, _C.DEFERRED): _S.PROCESSING,
    (_S.INIT, _C.ACTION_REQUIRED): _S.REQUIRES_ACTION,
    (_S.INIT, _C.AUTHORIZED): _S.AUTHORIZED,
    (_S.INIT, _C.FAILED): _S.FAILED,
    (_S.REQUIRES_ACTION, _C.DEFERRED): _S.PROCESSING,
    (_S.REQUIRES_ACTION, _C.AUTHORIZED): _S.AUTHORIZED,
    (_S.REQUIRES_ACTION, _C.FAILED): _S.FAILED,
    (_S.REQUIRES_ACTION, _C.VOIDED): _S.VOIDED,
    (_S.PROCESSING, _C.ACTION_REQUIRED): _S.REQUIRES_ACTION,
    (_S.PROCESSING, _C.AUTHORIZED): _S.AUTHORIZED,
    (_S.PROCESSING, _C.FAILED): _S.FAILED,
    (_S.PROCESSING, _C.VOIDED): _S.VOIDED,
    (_S.AUTHORIZED, _C.CAPTURED_IN_PART): _S.PARTIALLY_CAPTURED,
    (_S.AUTHORIZED, _C.CAPTURED): _S.CAPTURED,
    (_S.AUTHORIZED, _C.VOIDED): _S.VOIDED,
    (_S.AUTHORIZED, _C.EXPIRED): _S.EXPIRED,
    # While anything is capturable the status follows the capture side; refunds show in the amounts.
    (_S.PARTIALLY_CAPTURED, _C.CAPTURED_IN_PART): _S.PARTIALLY_CAPTURED,
    (_S.PARTIALLY_CAPTURED, _C.CAPTURED): _S.CAPTURED,
    (_S.PARTIALLY_CAPTURED, _C.VOIDED): _S.CAPTURED,
    (_S.PARTIALLY_CAPTURED, _C.EXPIRED): _S.CAPTURED,
    (_S.PARTIALLY_CAPTURED, _C.REFUNDED_IN_PART): _S.PARTIALLY_CAPTURED,
    (_S.PARTIALLY_CAPTURED, _C.REFUNDED): _S.PARTIALLY_CAPTURED,
    # A capture that the acquirer had accepted before another one released the rest: see `accepting`.
    (_S.CAPTURED, _C.CAPTURED_IN_PART): _S.CAPTURED,
    (_S.PARTIALLY_REFUNDED, _C.CAPTURED_IN_PART): _S.PARTIALLY_REFUNDED,
    (_S.REFUNDED, _C.CAPTURED_IN_PART): _S.PARTIALLY_REFUNDED,
    (_S.CAPTURED, _C.REFUNDED_IN_PART): _S.PARTIALLY_REFUNDED,
    (_S.CAPTURED, _C.REFUNDED): _S.REFUNDED,
    (_S.PARTIALLY_REFUNDED, _C.REFUNDED_IN_PART): _S.PARTIALLY_REFUNDED,
    (_S.PARTIALLY_REFUNDED, _C.REFUNDED): _S.REFUNDED,
    (_S.PARTIALLY_CAPTURED, _C.CAPTURE_UNDONE): _S.AUTHORIZED,
    (_S.CAPTURED, _C.CAPTURE_UNDONE): _S.AUTHORIZED,
    (_S.PARTIALLY_REFUNDED, _C.CAPTURE_UNDONE): _S.AUTHORIZED,
    (_S.REFUNDED, _C.CAPTURE_UNDONE): _S.AUTHORIZED,
    (_S.VOIDED, _C.CAPTURE_REDONE): _S.CAPTURED,
    (_S.EXPIRED, _C.CAPTURE_REDONE): _S.CAPTURED,
    (_S.PARTIALLY_REFUNDED, _C.REFUND_UNDONE): _S.CAPTURED,
    (_S.REFUNDED, _C.REFUND_UNDONE): _S.CAPTURED,
    (_S.VOIDED, _C.VOID_UNDONE): _S.AUTHORIZED,
    (_S.CAPTURED, _C.VOID_UNDONE): _S.PARTIALLY_CAPTURED,
    (_S.PARTIALLY_REFUNDED, _C.VOID_UNDONE): _S.PARTIALLY_CAPTURED,
    (_S.REFUNDED, _C.VOID_UNDONE): _S.PARTIALLY_CAPTURED,
    # Refunds of captures that were undone meanwhile: they show in the amounts.
    (_S.AUTHORIZED, _C.REFUNDED_IN_PART): _S.AUTHORIZED,
    (_S.AUTHORIZED, _C.REFUNDED): _S.AUTHORIZED,
    (_S.VOIDED, _C.REFUNDED_IN_PART): _S.VOIDED,
    (_S.VOIDED, _C.REFUNDED): _S.VOIDED,
    (_S.EXPIRED, _C.REFUNDED_IN_PART): _S.EXPIRED,
    (_S.EXPIRED, _C.REFUNDED): _S.EXPIRED,
    (_S.REFUNDED, _C.REFUNDED): _S.REFUNDED,
    (_S.REFUNDED, _C.REFUNDED_IN_PART): _S.PARTIALLY_REFUNDED,
}


def next_status(status: PaymentStatus, change: Change) -> PaymentStatus:
    """The status after the change. Raises `IllegalTransition` for a pair that is not in the table."""
    try:
        return TRANSITIONS[status, change]
    except KeyError:
        raise IllegalTransition(status=status, change=change) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """One row of `payments`; amounts in minor units of `currency`, times in UTC."""

    id: str
    merchant_id: str
    mode: str
    status: PaymentStatus
    amount_minor: int
    currency: str
    capture_method: str
    payment_method: Mapping[str, Any]  # as the API shows it: never a full card number
    idempotency_key: str
    connector: str
    connector_account: str
    created_at: datetime
    updated_at: datetime
    amount_authorized_minor: int = 0
    amount_captured_minor: int = 0
    amount_refunded_minor: int = 0
    amount_refund_pending_minor: int = 0
    amount_capture_undecided_minor: int = 0  # what late captures and voids hold: see `undecided`
    amount_refund_undecided_minor: int = 0  # what late refunds hold
    amount_capture_undone_minor: int = 0  # what the acquirer took back of captures, and has not done again
    amount_disputed_minor: int = 0  # what banks have taken back and not given back: see `disputes`
    merchant_reference: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    return_url: str | None = None
    customer: Mapping[str, Any] | None = None
    statement_descriptor: str | None = None  # what the customer's bank is to call it
    channel: Channel | None = None
    connector_reference: str | None = None
    # {"challenge", "exemption"}, as the merchant asked for; {"handed_in": True} of one who authenticated elsewhere.
    sca: Mapping[str, Any] | None = None
    authentication: Mapping[str, Any] | None = None  # what came of it, as the API shows it
    # What it has to do with a saved card: see `payment_methods.StoredCredential`.
    stored_credential: Mapping[str, Any] | None = None
    risk: Mapping[str, Any] | None = None  # {"verdict", "reasons", "provider"}, as the API shows it
    capture: str | None = None  # `HELD` or `REJECTED`; None: as `capture_method` says
    capture_before: datetime | None = None
    next_action: Mapping[str, Any] | None = None
    # {"id", "type", "amount"}: the capture or void under way; "ended_by": our own refund that a void ends with.
    pending_operation: Mapping[str, Any] | None = None
    accepted_captures: Sequence[Mapping[str, Any]] | None = (
        None  # {"id", "amount"}, oldest first: `accepting`
    )
    review: Mapping[str, Any] | None = None  # {"reason", "since"}: an operator must decide
    last_error: Mapping[str, Any] | None = None
    sequence: int = 0

    @property
    def uncaptured_minor(self) -> int:
        """What a void or an expiry releases: authorized and not captured, whatever is undecided about it."""
        if not self.status.capturable:
            return 0
        return self.amount_authorized_minor - self.amount_captured_minor

    @property
    def accepted(self) -> Sequence[Mapping[str, Any]]:
        """The captures that the acquirer has accepted, and that block no others."""
        return self.accepted_captures or ()

    @property
    def idle(self) -> bool:
        """Whether no capture, void or expiry is without outcome."""
        return self.pending_operation is None and not self.accepted

    @property
    def held_pending_minor(self) -> int:
        """What the pending capture, void or expiry holds, and what accepted captures do."""
        accepted = sum(int(capture["amount"]) for capture in self.accepted)
        return accepted + (int(self.pending_operation["amount"]) if self.pending_operation else 0)

    @property
    def capturable_minor(self) -> int:
        """What may still be captured, besides what pending captures or a void hold and what is undecided."""
        held = self.held_pending_minor + self.amount_capture_undecided_minor
        return max(0, self.uncaptured_minor - held)

    @property
    def refundable_minor(self) -> int:
        """Captured, less what is refunded, held by a pending refund, undecided or taken back by a bank."""
        held = self.amount_refund_pending_minor + self.amount_refund_undecided_minor
        held += self.amount_disputed_minor
        return max(0, self.amount_captured_minor - self.amount_refunded_minor - held)

    @property
    def refunds_exceed(self) -> bool:
        """Whether more would be refunded than is captured by now, if all that is pending or undecided is.

        It was there when each was admitted: the acquirer or a bank took some of it back since, or others refunded it.
        """
        held = self.amount_refund_pending_minor + self.amount_refund_undecided_minor
        held += self.amount_disputed_minor
        return self.amount_refunded_minor + held > self.amount_captured_minor

    @property
    def disputes_exceed(self) -> bool:
        """Whether banks have more than refunds leave of what is captured: of what was captured besides, that is."""
        given_back = self.amount_refunded_minor + self.amount_refund_pending_minor
        return self.amount_disputed_minor > max(0, self.amount_captured_minor - given_back)

    @property
    def captures_exceed(self) -> bool:
        """As `refunds_exceed`: whether pending captures and what is undecided are more than is left to capture."""
        held = self.held_pending_minor + self.amount_capture_undecided_minor
        return self.amount_captured_minor + held > self.amount_authorized_minor

    @property
    def taken_back(self) -> bool:
        """Whether the acquirer took something back: the payment may be open again although it was closed before."""
        return self.amount_capture_undone_minor > 0 or self.amount_capture_undecided_minor > 0

    @property
    def handed_in(self) -> bool:
        """Whether it came with an authentication made elsewhere, which only memory may hold."""
        return self.sca is not None and self.sca.get("handed_in") is True

    @property
    def stored(self) -> StoredCredential | None:
        """What it has to do with a saved card; None: nothing."""
        return None if self.stored_credential is None else StoredCredential.of(self.stored_credential)

    @property
    def held(self) -> bool:
        """Whether a person must still say that it may be captured."""
        return self.capture == HELD

    @property
    def withheld(self) -> bool:
        """Whether nothing of it may be captured, whatever `capture_method` says."""
        return self.capture is not None

    @property
    def automatic(self) -> bool:
        """Whether it is captured without anybody asking for that: every attempt and the books follow this."""
        return self.capture_method == "automatic" and not self.withheld

    def changed(self, change: Change, **fields: Any) -> "Payment":
        """The payment after the change, its status by the table. Raises `IllegalTransition`."""
        return replace(self, status=next_status(self.status, change), **fields)
