"""What an acquirer said, or what is proven about an attempt: the facts that the recording function takes.

Every member carries `kind`, since a union without it is decoded as its first member (see `design.md` §4).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, assert_never

from payonce.domain.evidence import Evidence, Where
from payonce.domain.sca import Completes


class Advice(StrEnum):
    """What the merchant may do after a decline."""

    NEVER_RETRY = "never_retry"
    RETRY_LATER = "retry_later"
    FIX_DATA = "fix_data"
    AUTHENTICATE = "authenticate"


class DeclineCode(StrEnum):
    """Why the issuer said no, in our words. Source: the public contract, `api.md`."""

    GENERIC_DECLINE = "generic_decline"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    LOST_CARD = "lost_card"
    STOLEN_CARD = "stolen_card"
    EXPIRED_CARD = "expired_card"
    INCORRECT_CVC = "incorrect_cvc"
    PROCESSING_ERROR = "processing_error"
    DO_NOT_HONOR = "do_not_honor"
    AUTHENTICATION_FAILED = "authentication_failed"
    AUTHENTICATION_REQUIRED = "authentication_required"
    FRAUD_SUSPECTED = "fraud_suspected"
    LIMIT_EXCEEDED = "limit_exceeded"

    @property
    def advice(self) -> Advice:
        """Exhaustive: a new code does not type-check until it is classified."""
        match self:
            case DeclineCode.LOST_CARD | DeclineCode.STOLEN_CARD | DeclineCode.FRAUD_SUSPECTED:
                return Advice.NEVER_RETRY
            case DeclineCode.EXPIRED_CARD | DeclineCode.INCORRECT_CVC:
                return Advice.FIX_DATA
            case DeclineCode.AUTHENTICATION_FAILED | DeclineCode.AUTHENTICATION_REQUIRED:
                return Advice.AUTHENTICATE
            case (
                DeclineCode.GENERIC_DECLINE
                | DeclineCode.INSUFFICIENT_FUNDS
                | DeclineCode.PROCESSING_ERROR
                | DeclineCode.DO_NOT_HONOR
                | DeclineCode.LIMIT_EXCEEDED
            ):
                return Advice.RETRY_LATER
            case _:
                assert_never(self)

    @property
    def retryable(self) -> bool:
        """Whether the same data may be accepted later, under a new key."""
        return self.advice is Advice.RETRY_LATER

    @property
    def message(self) -> str:
        return _DECLINE_MESSAGES[self]


_DECLINE_MESSAGES = {
    DeclineCode.GENERIC_DECLINE: "The issuer declined the payment and gave no reason.",
    DeclineCode.INSUFFICIENT_FUNDS: "The account does not hold enough money.",
    DeclineCode.LOST_CARD: "The card was reported lost.",
    DeclineCode.STOLEN_CARD: "The card was reported stolen.",
    DeclineCode.EXPIRED_CARD: "The issuer says that the card has expired.",
    DeclineCode.INCORRECT_CVC: "The card's security code is wrong.",
    DeclineCode.PROCESSING_ERROR: "The issuer or the acquirer could not process the payment.",
    DeclineCode.DO_NOT_HONOR: "The issuer declined the payment.",
    DeclineCode.AUTHENTICATION_FAILED: "The cardholder could not be authenticated.",
    DeclineCode.AUTHENTICATION_REQUIRED: "The issuer requires the cardholder to be authenticated.",
    DeclineCode.FRAUD_SUSPECTED: "The issuer suspects fraud.",
    DeclineCode.LIMIT_EXCEEDED: "The payment exceeds a limit of the card.",
}


class FailureCode(StrEnum):
    """Why a payment failed although no issuer declined it: `last_error.code`."""

    PAYMENT_TIMED_OUT = "payment_timed_out"
    NOT_PROCESSED = "not_processed"
    AMOUNT_MISMATCH = "amount_mismatch"
    CARD_DATA_LOST = "card_data_lost"
    ABANDONED = "abandoned"
    ACQUIRER_REFUSED = "acquirer_refused"
    TAKEN_BACK = "taken_back"  # a refund that had succeeded
    PAYMENT_BLOCKED = "payment_blocked"  # by its risk: no acquirer heard of it
    REVIEW_TIMED_OUT = "review_timed_out"  # of a voided one: nobody decided in time

    @property
    def retryable(self) -> bool:
        """Whether the same data may be accepted later, under a new key."""
        return self not in (FailureCode.ACQUIRER_REFUSED, FailureCode.PAYMENT_BLOCKED)

    @property
    def message(self) -> str:
        return _FAILURE_MESSAGES[self]


_FAILURE_MESSAGES = {
    FailureCode.PAYMENT_TIMED_OUT: "The customer did not complete the payment in time.",
    FailureCode.NOT_PROCESSED: "The acquirer provably did not process the request; no money moved.",
    FailureCode.AMOUNT_MISMATCH: "The acquirer approved another amount or currency; it was reversed.",
    FailureCode.CARD_DATA_LOST: "What held the card is gone; nothing was processed.",
    FailureCode.ABANDONED: "The payment was abandoned before the customer completed it.",
    FailureCode.ACQUIRER_REFUSED: "The acquirer refuses this data, and always will; nothing was processed.",
    FailureCode.TAKEN_BACK: "The refund had succeeded, and the acquirer took it back.",
    FailureCode.PAYMENT_BLOCKED: "The payment was blocked; no acquirer heard of it.",
    FailureCode.REVIEW_TIMED_OUT: "Nobody decided about the payment's risk in time, and it was voided.",
}


class Stage(StrEnum):
    """How far an authorization has come by itself, as the acquirer says it: only what is captured was paid.

    What a capture that was asked for took of it, or somebody in the acquirer's dashboard, does not change it.
    """

    AUTHORIZED = "authorized"
    CAPTURED = "captured"


@dataclass(frozen=True, slots=True)
class Undone:
    """The acquirer took back, of itself, what an attempt had done: of an authorization, its capture part.

    It may do the same again, and undo it again. `reason` is the acquirer's, for people.
    """

    id: str  # the acquirer's, of this very event: it counts once
    amount_minor: int
    currency: str
    reason: str = ""
    # Of an authorization, the acquirer's id (`Foreign.id`) of a refund that others made, where it took that back.
    refund: str | None = None
    about: str | None = None  # as in `Foreign`
    kind: Literal["undone"] = "undone"


@dataclass(frozen=True, slots=True)
class Redone:
    """What the acquirer had taken back holds again."""

    id: str  # as in `Undone`
    amount_minor: int
    currency: str
    kind: Literal["redone"] = "redone"


@dataclass(frozen=True, slots=True)
class Foreign:
    """Captured, refunded or released at the acquirer by somebody else than payonce, in its dashboard say."""

    id: str  # the acquirer's, of the operation: it counts once
    what: Literal["capture", "refund", "void"]
    amount_minor: int
    currency: str
    # Nobody says whose capture it was: it is news only where payonce captures, and has captured, nothing.
    perhaps_ours: bool = False
    # The acquirer's id of the payment, where others may charge under our reference there, too.
    about: str | None = None
    kind: Literal["foreign"] = "foreign"

    def is_of_another(self, connector_reference: str | None) -> bool:
        """Whether it was done with another payment than the one that the acquirer calls so."""
        return is_of_another(self.about, connector_reference)


def is_of_another(about: str | None, connector_reference: str | None) -> bool:
    """Whether what is told about a payment of the acquirer's is not about the one that it calls so."""
    return None not in (about, connector_reference) and about != connector_reference


DisputeStage = Literal["inquiry", "chargeback", "pre_arbitration", "arbitration"]


@dataclass(frozen=True, slots=True)
class Disputed:
    """How a dispute about an authorization stands, as the acquirer says it. It is told again with every change.

    `withdrawn_minor` is what was taken from us for it and not given back, in the authorization's currency.
    """

    id: str  # the acquirer's, of the dispute
    stage: DisputeStage
    status: Literal["needs_response", "under_review", "won", "lost", "accepted", "closed"]
    amount_minor: int
    currency: str
    withdrawn_minor: int
    reason: str  # the acquirer's
    at: datetime  # since when it stands so, by the acquirer's clock
    network_reason_code: str | None = None
    evidence_due_by: datetime | None = None
    # Of an acquirer that tells its changes one by one: which of its words come later, whatever its clock says, and
    # whether this one says who is to act, and nothing of the money.
    step: int = 0
    only_status: bool = False
    # Of what is withdrawn, where the payment's is not known to whoever says it.
    withdrawn_in: str | None = None
    # The acquirer's id of the payment, where others may write our reference there: only of that one it counts.
    about: str | None = None
    kind: Literal["disputed"] = "disputed"


@dataclass(frozen=True, slots=True)
class FraudWarned:
    """A cardholder's bank suspects a fraud, and has asked nothing back yet: a refund may still keep it from that."""

    id: str  # the acquirer's, of the warning
    kind: Literal["fraud_warned"] = "fraud_warned"


BankWord = Disputed | FraudWarned
"""What a cardholder's bank says of a payment."""


Turn = Undone | Redone | Foreign
"""What has become of a success since."""


@dataclass(frozen=True, slots=True)
class Approved:
    """The acquirer moved, or holds, exactly this amount."""

    connector_reference: str
    amount_minor: int
    currency: str
    capture_before: datetime | None = None
    rail: Mapping[str, str] = field(default_factory=dict)  # what the API shows of the rail: `rrn`, `vpa`
    # Of an authorization; one that does not say is not known to be captured.
    stage: Stage | None = None
    since: tuple[Turn, ...] = ()  # what has become of it, oldest first
    disputes: tuple[Disputed, ...] = ()  # of an authorization: all that were ever opened about it
    dispute: Disputed | None = None  # of an acceptance: how the dispute stands by that
    # Of a callback whose acquirer says no other word when it does again what it had taken back: its id of this very
    # event. Where the attempt's success was undone meanwhile, this is its `Redone`.
    event: str | None = None
    evidence: Evidence | None = None
    # The account's own for the card, where it was asked to save it: its words, by which it is paid with again.
    token: Mapping[str, str] | None = field(default=None, repr=False)
    kind: Literal["approved"] = "approved"


@dataclass(frozen=True, slots=True)
class Declined:
    """The issuer or the acquirer said no; nothing moved."""

    code: DeclineCode
    connector_reference: str | None = None
    # The acquirer's own codes: `code`, `decline_code`, `network_decline_code`, `network_advice_code`, `advice_code` …
    raw: Mapping[str, str] = field(default_factory=dict)
    where: Where = "same"
    soft: bool = False  # the issuer wants the cardholder authenticated, and may say yes then
    evidence: Evidence | None = None  # of the cardholder's authentication, where there was one
    dispute: Disputed | None = None  # of an acceptance that came too late: how the dispute stands
    kind: Literal["declined"] = "declined"


@dataclass(frozen=True, slots=True)
class Refused:
    """The acquirer refuses this data, and always will: nothing moved, and no retry helps."""

    code: str  # the acquirer's, for people
    pointer: str | None = None  # of the member that it refuses, as our API names it: a JSON Pointer
    kind: Literal["refused"] = "refused"


@dataclass(frozen=True, slots=True)
class Pending:
    """The acquirer has not decided, or said something that we do not map: inquire."""

    connector_reference: str | None = None
    reason: str = "pending"
    kind: Literal["pending"] = "pending"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The acquirer has the request, and says later what becomes of it: that it does not know it proves nothing."""

    connector_reference: str | None = None
    kind: Literal["accepted"] = "accepted"


@dataclass(frozen=True, slots=True)
class ActionRequired:
    """The acquirer waits for the customer, who may act until `expires_at`; nothing has moved yet."""

    connector_reference: str
    action: Mapping[str, Any]  # `next_action` as the API shows it, without `expires_at`
    expires_at: datetime
    completes: Completes = "customer"
    kind: Literal["action_required"] = "action_required"
    further: bool = (
        False  # the answer to a second leg: another page, after the one that the customer is back from
    )


@dataclass(frozen=True, slots=True)
class Expired:
    """The rail says itself that the customer did not act in time: nothing moved."""

    connector_reference: str | None = None
    kind: Literal["expired"] = "expired"


@dataclass(frozen=True, slots=True)
class NotKnown:
    """The acquirer does not know our reference; proof only after finality."""

    kind: Literal["not_found"] = "not_found"


@dataclass(frozen=True, slots=True)
class Reversed:
    """Whatever the reference did is undone, and a late arrival under it is blocked where the acquirer can."""

    about: str | None = None  # as in `Foreign`
    kind: Literal["reversed"] = "reversed"


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The acquirer confirms that the customer can no longer act; nothing moved."""

    kind: Literal["cancelled"] = "cancelled"


@dataclass(frozen=True, slots=True)
class EndsItself:
    """The acquirer cannot cancel what waits for its customer: that ends by itself, and may succeed until then."""

    kind: Literal["ends_itself"] = "ends_itself"


@dataclass(frozen=True, slots=True)
class Unsent:
    """Proven: not one byte of the attempt was sent."""

    reason: str = "not_sent"
    kind: Literal["unsent"] = "unsent"


@dataclass(frozen=True, slots=True)
class Unknown:
    """The attempt may have been processed."""

    cause: str
    connector_reference: str | None = None  # the acquirer's, where it is known: inquiries ask by it
    kind: Literal["unknown"] = "unknown"


@dataclass(frozen=True, slots=True)
class NotProcessed:
    """Proven: the attempt moved nothing that was not undone, and never will."""

    code: FailureCode
    why: str | None = None  # in words, where it was concluded, and no acquirer said so
    kind: Literal["not_processed"] = "not_processed"


Reply = Approved | Declined | Refused | Accepted | Pending | ActionRequired | Expired
"""What a connector's authorize, capture, void or refund returns."""

Inquiry = Approved | Declined | Refused | Accepted | Pending | ActionRequired | Expired | NotKnown | Reversed
"""What a connector's inquire returns."""

Cancellation = Inquiry | Cancelled | EndsItself
"""What a connector's cancel returns: that it ended, or what had become of the attempt before."""

Outcome = (
    Approved
    | Declined
    | Refused
    | Accepted
    | Pending
    | ActionRequired
    | Expired
    | Unsent
    | Unknown
    | Reversed
    | Cancelled
    | NotProcessed
)
"""What can be said of what became of an attempt."""

Fact = Outcome | Turn
"""What can be recorded of an attempt."""

ToldOfAttempt = (
    Approved
    | Declined
    | Refused
    | Accepted
    | Pending
    | ActionRequired
    | Expired
    | Reversed
    | Cancelled
    | Undone
    | Redone
    | Foreign
)
"""What a callback may carry of what became of an attempt."""

Told = ToldOfAttempt | BankWord
"""What a callback may carry; that nothing was sent, or processed, is never an acquirer's word alone."""
