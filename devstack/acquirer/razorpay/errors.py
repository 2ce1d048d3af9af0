"""What Razorpay answers when it does not do what was asked.

Source: errors, "Error Structure": an object `error` with code, description, source, step, reason, metadata and, for
a parameter, field; api/orders/create and api/payments/capture for validation errors.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

BAD_REQUEST, GATEWAY, SERVER = "BAD_REQUEST_ERROR", "GATEWAY_ERROR", "SERVER_ERROR"


@dataclass(slots=True, eq=False)
class Refusal(Exception):
    """An error as it is answered. `field` names the parameter that caused it."""

    status_code: int
    description: str
    code: str = BAD_REQUEST
    source: str = "business"
    step: str = "payment_initiation"
    reason: str = "input_validation_failed"
    metadata: Json = dataclasses.field(default_factory=dict)
    field: str | None = None

    def body(self) -> Json:
        """The answer's body."""
        error: Json = {
            "code": self.code,
            "description": self.description,
            "source": self.source,
            "step": self.step,
            "reason": self.reason,
            "metadata": self.metadata,
        }
        return {"error": error if self.field is None else {**error, "field": self.field}}


def invalid(
    description: str, *, field: str | None = None, reason: str = "input_validation_failed"
) -> Refusal:
    """A value that cannot be meant."""
    return Refusal(400, description, field=field, reason=reason)


def elsewhere(status_code: int, description: str, *, code: str = BAD_REQUEST) -> Refusal:
    """An error that is about no payment. Source: api/orders/fetch-all, "Failure": source, step and reason are NA."""
    return Refusal(status_code, description, code=code, source="NA", step="NA", reason="NA")


def missing() -> Refusal:
    """The id names nothing of this account and mode.

    Source: api/payments/fetch-with-id, "Failure" and "Errors" (400); errors/common: one of another account or mode
    does not exist either.
    """
    return invalid("The id provided does not exist")
