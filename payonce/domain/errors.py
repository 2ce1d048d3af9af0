"""What the business did not decide.

    PaymentError
     ├─ InvalidRequest            the caller's mistake, found before anything was admitted
     ├─ NotFound
     ├─ Conflict
     │   ├─ IllegalTransition     the transition table has no such step
     │   ├─ IdempotencyMismatch   same key, another request
     │   ├─ OperationInProgress   another capture or void is pending
     │   ├─ PaymentInReview       a person decides first whether it may be captured
     │   └─ DisputeNotOpen        the dispute is decided, or its acceptance is under way
     ├─ CallbackInvalid           a callback that its acquirer did not sign, or not now
     ├─ DecisionRefused           a person's decision that the review does not allow
     ├─ Refused                   a refusal for state or amount: itself the stored answer
     └─ ConnectorError
         ├─ NotSent               provably not processed: retry or fail over
         ├─ OutcomeUnknown        inquire first, never fail over
         ├─ Rejected              bad credentials or configuration: page someone
         └─ RateLimited

Declines are values (`payonce.domain.facts.Declined`), never exceptions. The docstring of a class is its
default message; HTTP status codes live in `api/problems.py` alone.
"""

from collections.abc import Sequence
from typing import ClassVar


class PaymentError(Exception):
    """The payment could not go on."""

    code: ClassVar[str] = "payment_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (self.__doc__ or "").strip().splitlines()[0]
        super().__init__(self.message)


class InvalidRequest(PaymentError):
    """The request is not valid."""

    code = "invalid_request"

    def __init__(
        self,
        message: str | None = None,
        *,
        pointer: str = "",
        code: str | None = None,
        also: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.pointers = (pointer, *also)
        self.problem_code = code or self.code

    @property
    def pointer(self) -> str:
        """Where the first mistake is."""
        return self.pointers[0]


class NotFound(PaymentError):
    """There is no such object."""

    code = "not_found"


class Conflict(PaymentError):
    """The request conflicts with the state of the object."""

    code = "conflict"


class IllegalTransition(Conflict):
    """The payment cannot take this step from its status."""

    code = "illegal_transition"

    def __init__(self, *, status: str, change: str) -> None:
        super().__init__(f"{change} is not possible from {status}")
        self.status = status
        self.change = change


class IdempotencyMismatch(Conflict):
    """The idempotency key was already used with a different request."""

    code = "idempotency_key_reused"


class OperationInProgress(Conflict):
    """Another operation on this payment has no outcome yet; retry when it has one."""

    code = "operation_in_progress"
    retryable = True


class PaymentInReview(Conflict):
    """The payment is held for a review of its risk: it may be voided, and captured once it is approved."""

    code = "payment_in_review"


class DisputeNotOpen(Conflict):
    """The dispute does not wait for the merchant's response, and cannot be accepted."""

    code = "dispute_not_open"


class NotAllowed(PaymentError):
    """The state or the amounts of the payment do not allow the operation."""

    def __init__(self, refusal: "str", message: str) -> None:
        super().__init__(message)
        self.refusal = refusal


class DecisionRefused(PaymentError):
    """The review does not allow this decision."""

    code = "decision_refused"


class CallbackInvalid(PaymentError):
    """The callback is not signed by its acquirer, is too old, or cannot be read."""

    code = "callback_invalid"


class ConnectorError(PaymentError):
    """The connector could not complete the call."""

    code = "connector_error"


class NotSent(ConnectorError):
    """Not one byte of the request reached the acquirer, or it documents that it did nothing."""

    code = "not_sent"
    retryable = True


class OutcomeUnknown(ConnectorError):
    """The acquirer may have processed the request: only an inquiry can tell.

    `connector_reference`: the acquirer's own of what the request was about, where that is known: inquiries ask by it.
    """

    code = "outcome_unknown"

    def __init__(self, message: str | None = None, *, connector_reference: str | None = None) -> None:
        super().__init__(message)
        self.connector_reference = connector_reference


class UnexpectedAnswer(OutcomeUnknown):
    """The acquirer answered with something else than it documents."""


class UnknownThere(OutcomeUnknown):
    """The acquirer has nothing under the id of its own that was asked about, which by itself proves nothing."""


class Rejected(ConnectorError):
    """The acquirer refuses our credentials or our configuration; nothing was processed."""

    code = "rejected"


class LegInvalid(ConnectorError):
    """The acquirer says that what the customer brought back is not its own; it did nothing with it."""

    code = "leg_invalid"


class RateLimited(ConnectorError):
    """The acquirer asks us to slow down; nothing was processed."""

    code = "rate_limited"
    retryable = True

    def __init__(self, *, retry_after_s: float) -> None:
        super().__init__()
        self.retry_after_s = retry_after_s


class NotHandedOver(PaymentError):
    """Temporal could not be reached: the workflow may or may not have been started."""

    code = "not_handed_over"
    retryable = True

    def __init__(self, message: str, *, reached: bool = False) -> None:
        super().__init__(message)
        self.reached = reached  # Temporal answers, but nobody has done it yet


class EngineRefused(NotHandedOver):
    """Temporal answered, and would answer the same again: no time mends that."""

    code = "engine_refused"

    def __init__(self, message: str) -> None:
        super().__init__(message, reached=True)
