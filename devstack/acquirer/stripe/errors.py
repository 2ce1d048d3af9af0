"""What Stripe answers when it does not do what was asked.

Source: api/errors (the members of `error`, its four types, the HTTP status codes), error-codes (`code`).
"""

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

_DOC_URL = "https://stripe.com/docs/error-codes/"


@dataclass(slots=True, eq=False)
class Refusal(Exception):
    """An error as it is answered. `began`: the work had begun, so an idempotent repeat is told the same."""

    status_code: int
    message: str
    code: str | None = None
    param: str | None = None
    type: str = "invalid_request_error"
    began: bool = True
    more: Json = field(default_factory=dict)

    def body(self, request_id: str) -> Json:
        """The answer's body."""
        named = {"code": self.code, "param": self.param}
        error: Json = {name: text for name, text in named.items() if text is not None}
        if self.code is not None:
            error["doc_url"] = _DOC_URL + self.code.replace("_", "-")
        error |= {"message": self.message, "type": self.type, **self.more}
        if request_id:
            error["request_log_url"] = f"https://dashboard.stripe.com/test/logs/{request_id}"
        return {"error": error}


def invalid(message: str, *, code: str | None = None, param: str | None = None) -> Refusal:
    """Parameters that cannot be meant. Source: api/idempotent_requests: no result is saved for these."""
    return Refusal(400, message, code=code, param=param, began=False)


def missing(kind: str, own_id: str, *, param: str, status_code: int = 404) -> Refusal:
    """The id names nothing of this account and mode. Source: error-codes, `resource_missing`."""
    return Refusal(status_code, f"No such {kind}: '{own_id}'", code="resource_missing", param=param)


def unexpected_state(message: str, intent: Json) -> Refusal:
    """The intent's status does not allow it. Source: error-codes, `payment_intent_unexpected_state`."""
    return Refusal(400, message, code="payment_intent_unexpected_state", more={"payment_intent": intent})
