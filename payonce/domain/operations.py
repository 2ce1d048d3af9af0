"""Operations and attempts: what may be admitted, and what a recorded fact makes of them.

An operation is what a merchant asked for (or an expiry, or a reversal of ours); an attempt is one request to an
acquirer for it. `admit_*` decide under the payment's row lock whether an operation may begin; `settle` in
`payonce.domain.settlement` decides what a fact changes. Both are pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, assert_never

from payonce.domain.facts import FailureCode, Stage
from payonce.domain.payment import Payment
from payonce.domain.routing import Because
from payonce.domain.sca import Completes


class OperationKind(StrEnum):
    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"
    EXPIRE = "expire"
    REVERSE = "reverse"  # undoes an attempt that succeeded after it was proven not to have
    UNDO = "undo"  # the acquirer took back a capture, refund or void
    REDO = "redo"  # and did it again
    ACCEPT = "accept"  # of a dispute: what the bank withdrew stays with it

    @property
    def carried_out(self) -> bool:
        """Whether we carry it out; the others only tell what an acquirer did of itself, and are never pending."""
        return self not in (OperationKind.UNDO, OperationKind.REDO)

    @property
    def exclusive(self) -> bool:
        """Whether a payment may have only one pending operation of these kinds."""
        match self:
            case OperationKind.CAPTURE | OperationKind.VOID | OperationKind.EXPIRE:
                return True
            case (
                OperationKind.AUTHORIZE
                | OperationKind.REFUND
                | OperationKind.REVERSE
                | OperationKind.UNDO
                | OperationKind.REDO
                | OperationKind.ACCEPT
            ):
                return False
            case _:
                assert_never(self)


class Origin(StrEnum):
    """Who made an operation."""

    MERCHANT = "merchant"
    PAYONCE = "payonce"  # an expiry, a reversal, what completes or releases an authorization
    ACQUIRER = "acquirer"  # it happened there, and nothing is sent for it


class OperationStatus(StrEnum):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class AttemptState(StrEnum):
    CLAIMED = "claimed"  # its owner may send, until `send_before`
    NOT_SENT = "not_sent"  # its owner says that nothing was sent, and never will be
    WAITING = "waiting"  # the acquirer has it, and waits for the customer until `act_before`
    ACCEPTED = "accepted"  # the acquirer has it, and says later what becomes of it
    UNKNOWN = "unknown"  # it may have been processed: only an inquiry can tell
    REVERSING = "reversing"  # it did what was not asked for, and is being reversed
    APPROVED = "approved"
    DECLINED = "declined"
    NOT_PROCESSED = "not_processed"

    @property
    def definite(self) -> bool:
        """Whether the first definite fact about the attempt is known; a later one never overwrites it."""
        match self:
            case AttemptState.APPROVED | AttemptState.DECLINED | AttemptState.NOT_PROCESSED:
                return True
            case (
                AttemptState.CLAIMED
                | AttemptState.NOT_SENT
                | AttemptState.WAITING
                | AttemptState.ACCEPTED
                | AttemptState.UNKNOWN
                | AttemptState.REVERSING
            ):
                return False
            case _:
                assert_never(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What an acquirer can do, as far as the books depend on it."""

    reversible: bool = True  # it undoes, and blocks, what is known only by our reference
    captures_itself: bool = False  # an automatic payment found authorized needs no capture of ours


USUAL = Abilities()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row of `operations`; a refund is the refund object of the API as well."""

    id: str
    payment_id: str
    merchant_id: str
    mode: str
    kind: OperationKind
    amount_minor: int
    currency: str
    created_at: datetime
    updated_at: datetime
    status: OperationStatus = OperationStatus.PENDING
    final: bool = True  # a capture that releases what it leaves
    reason: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    connector_reference: str | None = None
    last_error: Mapping[str, Any] | None = None
    request_id: str | None = None  # of the request that was admitted: it is in the stored answer
    deferred_at: datetime | None = None  # since when its outcome is answered with 202
    review_at: datetime | None = None  # since when an operator must decide
    accepted_at: datetime | None = (
        None  # of a capture: since when it stands aside (`accepting`), outcome or not
    )
    origin: Origin = Origin.MERCHANT
    target_reference: str | None = None  # of the attempt that a reversal, an undo or a redo is about
    target_kind: OperationKind | None = None  # of the operation that this attempt was made for
    amount_undecided_minor: int = 0  # what is held for it until it is decided: see `undecided`
    # What the acquirer took back of it, and has not done again; of a turn, what it does not leave open any more. Of a
    # refund that others made also what is in no amount of the payment.
    amount_undone_minor: int = 0
    amount_ahead_minor: int = 0  # of a turn: what a person decided otherwise, until the acquirer says so too
    sent_as: OperationKind | None = None  # a reversal that is a void or refund under a reference of its own
    decided_at: datetime | None = None  # since when a person's decision is its outcome
    ends_operation: str | None = None  # of a refund of our own: the void that has its outcome with it
    rail: Mapping[str, Mapping[str, str]] | None = None  # what a refund shows of its rail: `{"upi": {"rrn"}}`
    dispute_id: str | None = None  # that it accepts


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One row of `attempts`: one request to one connector account under one reference of ours."""

    operation_id: str
    number: int
    payment_id: str
    kind: OperationKind
    connector: str
    connector_account: str
    reference: str
    state: AttemptState
    owner: str  # the per-boot id of the process that may send
    token: str  # of the run that claimed it
    send_before: datetime  # database time
    claimed_at: datetime
    connector_reference: str | None = None
    failure_code: str | None = None
    act_before: datetime | None = None  # until when the customer may act, by the acquirer's clock
    stage: Stage | None = None  # how far an approved authorization has come; None: not known
    acquirer_identity: str | None = None  # how the acquirer called the account when it was claimed
    # {"code", "where", "raw"}; by a version before without `code`, and None for "same" without codes
    decline: Mapping[str, Any] | None = None
    evidence: Mapping[str, Any] | None = None  # of an approved one
    completes: Completes | None = None  # of one that asked its customer to act: by what money may move
    returned_at: datetime | None = None  # since when the customer is back from the acquirer's page
    routed_by: str | None = None  # why it went to its account: `routing.Because`

    @property
    def asked(self) -> bool:
        """Whether the customer was asked to act."""
        return self.act_before is not None

    @property
    def steps_up(self) -> bool:
        """Whether it asks for the challenge that its predecessor was declined for: that decline is its floor."""
        return self.routed_by == Because.SOFT_DECLINE

    @property
    def closed(self) -> bool:
        """Whether it stays as it is: it is definite, or its owner gave it back as never sent."""
        return self.state.definite or self.state is AttemptState.NOT_SENT

    @property
    def abandoned(self) -> bool:
        """Whether it was given up while, or after, the customer could act: it ends, and is then voided."""
        return self.failure_code == FailureCode.ABANDONED

    @property
    def took_another_amount(self) -> bool:
        """Whether it is being reversed for what it took: else nobody knows that it took anything."""
        return self.state is AttemptState.REVERSING and self.failure_code == FailureCode.AMOUNT_MISMATCH

    @property
    def left_alone(self) -> bool:
        """Whether the acquirer waited for a customer, when last heard of, from whom nothing is wanted any more.

        What is authorized already is not among it.
        """
        waited = self.state is AttemptState.UNKNOWN and self.connector_reference is not None
        return waited and self.kind is OperationKind.AUTHORIZE and self.stage is None


@dataclass(frozen=True, slots=True)
class Subject:
    """What a fact is about: one operation of one payment."""

    payment_id: str
    operation_id: str


def late_capture_refunded(operation: Operation) -> bool:
    """Whether it gave back, by a refund of its own, what a capture took that succeeded late."""
    sent = (operation.sent_as, operation.target_kind) == (OperationKind.REFUND, OperationKind.CAPTURE)
    made = operation.connector_reference is not None and operation.decided_at is None
    return sent and made and operation.status is OperationStatus.SUCCEEDED


def operation_of(
    payment: Payment, kind: OperationKind, *, id_: str, amount_minor: int, now: datetime, **more: Any
) -> Operation:
    """A new operation of the payment: pending, a merchant's, in the payment's currency, unless `more` differs."""
    values = {"currency": payment.currency, **more}
    return Operation(
        id=id_,
        payment_id=payment.id,
        merchant_id=payment.merchant_id,
        mode=payment.mode,
        kind=kind,
        amount_minor=amount_minor,
        created_at=now,
        updated_at=now,
        **values,
    )


def of_our_own(
    payment: Payment, kind: OperationKind, *, id_: str, amount_minor: int, now: datetime, **more: Any
) -> Operation:
    """An operation that payonce makes of itself: nobody asked for it over HTTP."""
    return operation_of(
        payment, kind, id_=id_, amount_minor=amount_minor, now=now, origin=Origin.PAYONCE, **more
    )
