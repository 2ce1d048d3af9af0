"""Problem documents (RFC 9457) and the status of every answer: the only place that knows status codes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final, assert_never

from starlette.responses import Response

from payonce.domain import answers
from payonce.domain.answers import Answer, AnswerKind, encode
from payonce.domain.card_numbers import looks_like_card_number
from payonce.domain.errors import InvalidRequest, PaymentError
from payonce.storage.driver.database import CommitUnknown

JSON: Final = "application/json"
PROBLEM_JSON: Final = "application/problem+json"
CREATED, ACCEPTED, NO_CONTENT, FOUND, NOT_MODIFIED = 201, 202, 204, 302, 304
POINTER_NAME_MAX = 64
ERRORS_MAX = 20  # listed of one request; a body of nothing but mistakes is not answered in full

INTERNAL = "internal_error"
UNAVAILABLE = "unavailable"
OUTCOME_UNKNOWN = "outcome_unknown"

STATUS: Final[Mapping[str, int]] = {
    "invalid_request": 400,
    "invalid_json": 400,
    "invalid_card_number": 400,
    "invalid_vpa": 400,
    "card_expired": 400,
    "idempotency_key_missing": 400,
    "idempotency_key_invalid": 400,
    "unauthenticated": 401,
    "callback_invalid": 401,
    "payment_declined": 402,
    "payment_failed": 402,
    "payment_blocked": 402,
    "not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "idempotency_key_in_use": 409,
    "idempotency_key_expired": 409,
    "payment_not_capturable": 409,
    "payment_not_voidable": 409,
    "payment_not_refundable": 409,
    "operation_in_progress": 409,
    "payment_in_review": 409,
    "dispute_not_open": 409,
    "receipt_not_ready": 409,
    "body_too_large": 413,
    "uri_too_long": 414,
    "unsupported_media_type": 415,
    "idempotency_key_reused": 422,
    "amount_too_large": 422,
    "currency_not_supported": 422,
    "payment_method_not_supported": 422,
    "card_storage_refused": 422,
    "capture_method_not_supported": 422,
    "amount_not_supported": 422,
    "operation_not_supported": 422,
    "data_required": 422,
    "test_mode_only": 422,
    "webhook_url_forbidden": 422,
    "rate_limited": 429,
    "headers_too_large": 431,
    INTERNAL: 500,
    UNAVAILABLE: 503,
    OUTCOME_UNKNOWN: 504,
}

TITLES: Final[Mapping[str, str]] = {
    **{kind.value: title for kind, title in answers.TITLES.items()},
    "invalid_request": "The request is not valid",
    "invalid_json": "The body is not valid JSON",
    "invalid_card_number": "The card number is not valid",
    "invalid_vpa": "The VPA is not valid",
    "card_expired": "The card has expired",
    "idempotency_key_missing": "The Idempotency-Key is missing",
    "idempotency_key_invalid": "The Idempotency-Key is not valid",
    "unauthenticated": "The API key is missing or wrong",
    "callback_invalid": "The callback is not valid",
    "not_found": "There is no such object",
    "method_not_allowed": "The method is not allowed here",
    "request_timeout": "The request took too long to arrive",
    "idempotency_key_in_use": "A request with this Idempotency-Key is being processed",
    "idempotency_key_expired": "The answer to this Idempotency-Key is no longer kept",
    "operation_in_progress": "Another operation on the payment is pending",
    "payment_in_review": "The payment is held for a review of its risk",
    "receipt_not_ready": "The receipt is not ready yet",
    "body_too_large": "The body is too large",
    "uri_too_long": "The request's target is too long",
    "unsupported_media_type": "The body's media type is not supported",
    "idempotency_key_reused": "The Idempotency-Key was used with a different request",
    "currency_not_supported": "The currency is not supported",
    "payment_method_not_supported": "The payment method is not supported",
    "card_storage_refused": "The card is not saved",
    "capture_method_not_supported": "The capture method is not supported",
    "amount_not_supported": "The amount is not supported",
    "data_required": "The account needs more data",
    "test_mode_only": "This works in test mode only",
    "webhook_url_forbidden": "The webhook URL is not allowed",
    "rate_limited": "There are too many requests",
    "headers_too_large": "The request's head is too large",
    INTERNAL: "Something went wrong on our side",
    UNAVAILABLE: "The service is not available",
    OUTCOME_UNKNOWN: "What became of the request is not known",
}

_FIXED_DETAILS: Final[Mapping[str, str]] = {
    # whatever the reason was: another merchant's object is not there, and how we work inside is not told
    "not_found": "There is no such object for this API key.",
    UNAVAILABLE: "Nothing was done for this request, or it was given back unsent; the same request with the same"
    " key goes on.",
    OUTCOME_UNKNOWN: "The key could not be read or taken, and nothing is promised; send the same request with the"
    " same key again, and with no other.",
}

_RETRY_AFTER_S: Final[Mapping[str, int]] = {
    "idempotency_key_in_use": 1,
    "operation_in_progress": 1,
    "rate_limited": 1,
    UNAVAILABLE: 1,
    OUTCOME_UNKNOWN: 1,
}


_CHALLENGES: Final[Mapping[str, Mapping[str, str]]] = {
    # RFC 9110 §11.6.1 asks for one with a 401; a callback brings no API key, its acquirer signs it
    "callback_invalid": {"WWW-Authenticate": 'Signature realm="callbacks"'},
}


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong with a request: where (a JSON Pointer, RFC 6901) and what, never the value."""

    pointer: str
    detail: str


def pointer_of(parts: Iterable[str | int]) -> str:
    """The JSON Pointer to a member; it ends where a name is too long or looks like a card number itself."""
    pointer = ""
    for part in parts:
        name = str(part)
        if len(name) > POINTER_NAME_MAX or looks_like_card_number(name):
            break
        pointer += "/" + name.replace("~", "~0").replace("/", "~1")
    return pointer


class Problem(PaymentError):
    """A request that is answered with a problem document; `code` decides its status."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        mistakes: Sequence[Mistake] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.problem_code = code
        self.mistakes = tuple(mistakes[:ERRORS_MAX])
        self.headers = dict(headers or {})

    @property
    def status(self) -> int:
        return STATUS[self.problem_code]

    def body(self, request_id: str) -> bytes:
        """The document; its members have the order of a stored problem's."""
        members: dict[str, Any] = {
            "status": self.status,
            "type": f"urn:payonce:problem:{self.problem_code}",
            "title": TITLES[self.problem_code],
            "detail": self.message,
            "code": self.problem_code,
            "request_id": request_id,
        }
        if self.mistakes:
            members["errors"] = [{"pointer": each.pointer, "detail": each.detail} for each in self.mistakes]
        return encode(members)


def problem_of(error: PaymentError) -> Problem:
    """What the API answers for an error, by its code; a code that is not of the contract is a 500."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, CommitUnknown):  # of a request without a key
        return _timed(Problem(OUTCOME_UNKNOWN, "It is not known whether the request was carried out."))
    if isinstance(error, InvalidRequest):
        mistakes = [Mistake(pointer, error.message) for pointer in error.pointers]
        return Problem(_of_contract(error.problem_code), error.message, mistakes=mistakes)
    code = _of_contract(error.code)
    if code == INTERNAL:
        return internal_problem()
    detail = _FIXED_DETAILS.get(code, error.message)
    headers = {**_location(error), **_CHALLENGES.get(code, {})}
    return _timed(Problem(code, detail, headers=headers), retry_after_s=_retry_after_s(error))


def internal_problem() -> Problem:
    """What is said of an error that nobody foresaw: nothing but where to find it in the log."""
    return Problem(INTERNAL, "The request could not be answered; its Request-Id tells us which one it was.")


def render(problem: Problem, *, request_id: str) -> Response:
    """The problem as a response."""
    return Response(
        problem.body(request_id),
        status_code=problem.status,
        media_type=PROBLEM_JSON,
        headers={"Cache-Control": "no-store", **problem.headers},
    )


def status_of(kind: AnswerKind) -> int:
    """The status of a stored answer."""
    match kind:
        case AnswerKind.PAYMENT | AnswerKind.REFUND | AnswerKind.ENDPOINT | AnswerKind.PAYMENT_METHOD:
            return CREATED
        case AnswerKind.PAYMENT_CHANGED | AnswerKind.ENDPOINT_CHANGED | AnswerKind.DISPUTE:
            return 200
        case AnswerKind.ACCEPTED:
            return ACCEPTED
        case (
            AnswerKind.PAYMENT_DECLINED
            | AnswerKind.PAYMENT_FAILED
            | AnswerKind.PAYMENT_BLOCKED
            | AnswerKind.PAYMENT_NOT_CAPTURABLE
            | AnswerKind.PAYMENT_NOT_VOIDABLE
            | AnswerKind.PAYMENT_NOT_REFUNDABLE
            | AnswerKind.AMOUNT_TOO_LARGE
            | AnswerKind.DISPUTE_NOT_OPEN
            | AnswerKind.OPERATION_NOT_SUPPORTED
        ):
            return STATUS[kind.value]
        case _:
            assert_never(kind)


def is_problem(kind: AnswerKind) -> bool:
    """Whether the stored answer is a problem document."""
    return kind.value in STATUS


def stored_body(answer: Answer) -> bytes:
    """The answer's bytes as sent: a stored problem gets its status in front, the same at every replay."""
    if not is_problem(answer.kind):
        return answer.body
    return b'{"status":%d,' % status_of(answer.kind) + answer.body[1:]


def _of_contract(code: str) -> str:
    return code if code in STATUS else INTERNAL


def _location(error: PaymentError) -> dict[str, str]:
    """An expired key names the object that it made."""
    location = getattr(error, "location", None)
    return {"Location": location} if isinstance(location, str) else {}


def _retry_after_s(error: PaymentError) -> float | None:
    seconds = getattr(error, "retry_after_s", None)
    return seconds if isinstance(seconds, int | float) else None


def _timed(problem: Problem, *, retry_after_s: float | None = None) -> Problem:
    """The problem with `Retry-After` (RFC 9110 §10.2.3), in whole seconds, where trying again makes sense."""
    seconds = retry_after_s or _RETRY_AFTER_S.get(problem.problem_code)
    if seconds:
        problem.headers["Retry-After"] = str(max(1, ceil(seconds)))
    return problem
