"""What Adyen answers when it does not do what was asked.

Source: spec, `ServiceError`, and the descriptions of 400 (it cannot be read or understood), 401, 403, 422 (a request
validation error) and 500; development-resources/error-codes (the five members, the codes).
"""

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

VALIDATION, SECURITY, INTERNAL = "validation", "security", "internal"


@dataclass(slots=True, eq=False)
class Refusal(Exception):
    """An error as it is answered. `transient`: the same may be sent again under the same key."""

    status_code: int
    code: str
    message: str
    type: str = VALIDATION
    transient: bool = False

    def body(self, psp_reference: str) -> Json:
        """The answer's body."""
        return {
            "status": self.status_code,
            "errorCode": self.code,
            "message": self.message,
            "errorType": self.type,
            "pspReference": psp_reference,
        }


def malformed(message: str) -> Refusal:
    """It cannot be read, lacks a member or has one that is not known. Code and wording are a *guess*."""
    return Refusal(400, "702", message)


def invalid(code: str, message: str) -> Refusal:
    """It can be read, and its value is refused."""
    return Refusal(422, code, message)


def unauthorized() -> Refusal:
    """No such API key. Source: spec, 401; the code and wording are a *guess*."""
    return Refusal(401, "000", "HTTP Status Response - Unauthorized", SECURITY)


def forbidden() -> Refusal:
    """The key is not for this merchant account. Source: spec, 403; the code and wording are a *guess*."""
    return Refusal(403, "901", "Invalid Merchant Account", SECURITY)


def in_progress() -> Refusal:
    """It was processed before, or is being processed.

    Source: github.com/Adyen/adyen-magento2 issue 2211: a second `/payments/details` is answered so; the number of
    the code is a *guess*.
    """
    return Refusal(422, "704", "request already processed or in progress")
