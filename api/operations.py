"""Every operation as the OpenAPI document describes it: what it does, takes and answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from pydantic import BaseModel
from starlette.responses import Response

from api import schemas, views
from api.idempotency import KEY_MAX_LENGTH, WAIT_S_MAX
from api.lists import LIMIT_DEFAULT, LIMIT_MAX
from api.problems import ACCEPTED, CREATED, JSON, NO_CONTENT, PROBLEM_JSON, STATUS, TITLES
from payonce.domain.operations import OperationStatus
from payonce.domain.payment import PaymentStatus

Schema = dict[str, Any]
OK = 200
SECURITY_SCHEME = "apiKey"
_READ_CODES: Final = ("unauthenticated", "unavailable")
_BODY_CODES: Final = (
    *("invalid_request", "invalid_json", "request_timeout", "body_too_large", "unsupported_media_type"),
    *_READ_CODES,
)
_KEY_CODES: Final = (
    *_BODY_CODES,
    *("idempotency_key_missing", "idempotency_key_invalid", "idempotency_key_reused"),
    *("idempotency_key_in_use", "idempotency_key_expired"),
)


def model_ref(model: type[BaseModel]) -> Schema:
    """A reference that `api.openapi` resolves: to a request body's model, or to an answer's."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def list_of(model: type[BaseModel]) -> Schema:
    """The list object around a model."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["object", "data", "has_more"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": model_ref(model), "maxItems": LIMIT_MAX},
            "has_more": {"type": "boolean"},
        },
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """One operation. `answers` are those that are not problems, by status; `codes` those that are."""

    id: str
    tag: str
    summary: str
    text: str = ""
    answers: Mapping[int, tuple[str, Schema | None]]
    codes: tuple[str, ...] = _READ_CODES
    body: type[BaseModel] | None = None
    example: Mapping[str, Any] = field(default_factory=dict)
    body_required: bool = True
    parameters: tuple[Schema, ...] = ()
    public: bool = False

    def for_fastapi(self) -> dict[str, Any]:
        """The keywords of a FastAPI route."""
        return {
            "operation_id": self.id,
            "tags": [self.tag],
            "summary": self.summary,
            "description": self.text,
            "status_code": next(iter(self.answers)),
            "response_class": Response,
            "response_model": None,
            "responses": {**self._good_responses(), **self._problem_responses()},
            "openapi_extra": self._extra(),
        }

    def _good_responses(self) -> dict[int | str, dict[str, Any]]:
        return {
            status: {
                "description": text,
                "headers": _headers(status, key=_IDEMPOTENCY_KEY in self.parameters),
                **({} if schema is None else {"content": {JSON: {"schema": schema}}}),
            }
            for status, (text, schema) in self.answers.items()
        }

    def _problem_responses(self) -> dict[int | str, dict[str, Any]]:
        codes = sorted(set(self.codes) | (set() if self.public else {"internal_error"}), key=_by_status)
        return {status: _problem(list(group)) for status, group in groupby(codes, key=lambda c: STATUS[c])}

    def _extra(self) -> dict[str, Any]:
        extra: dict[str, Any] = {"parameters": list(self.parameters)}
        if self.body is not None:
            content: dict[str, Any] = {"schema": model_ref(self.body)}
            if self.example:
                content["example"] = dict(self.example)
            extra["requestBody"] = {"required": self.body_required, "content": {JSON: content}}
        extra["security"] = [] if self.public else [{SECURITY_SCHEME: []}]
        return extra


def _by_status(code: str) -> tuple[int, str]:
    return STATUS[code], code


def _problem(codes: list[str]) -> dict[str, Any]:
    examples = {
        code: {
            "summary": TITLES[code],
            "value": {
                "status": STATUS[code],
                "type": f"urn:payonce:problem:{code}",
                "title": TITLES[code],
                "detail": TITLES[code] + ".",
                "code": code,
                "request_id": "req_kbwbpnrnvrmd4nkvgsf7w7zs",
            },
        }
        for code in codes
    }
    return {
        "description": " · ".join(f"`{code}`" for code in codes),
        "headers": _headers(STATUS[codes[0]], key=False),
        "content": {PROBLEM_JSON: {"schema": model_ref(views.ProblemView), "examples": examples}},
    }


def _headers(status: int, *, key: bool) -> Schema:
    """The headers of a response, by its status."""
    named = {"Request-Id": "Names this request in our logs"}
    if status in (CREATED, ACCEPTED):
        named["Location"] = "The path of the object"
    if key and status != ACCEPTED:
        named["Idempotent-Replayed"] = "`true` when this is the stored answer to an earlier request"
    if status == STATUS["unauthenticated"]:
        named["WWW-Authenticate"] = "RFC 6750"
    if status == STATUS["method_not_allowed"]:
        named["Allow"] = "The methods that the path takes"
    headers: Schema = {
        name: {"description": text, "required": name != "Idempotent-Replayed", "schema": {"type": "string"}}
        for name, text in named.items()
    }
    if status in (STATUS["idempotency_key_in_use"], STATUS["rate_limited"], STATUS["unavailable"]):
        seconds = {"type": "integer", "minimum": 1}
        headers["Retry-After"] = {"description": "Seconds, where trying again makes sense", "schema": seconds}
    return headers


def _query(name: str, schema: Schema, text: str) -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": text}


_ID_IN_PATH: Final[Schema] = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
}
_IDEMPOTENCY_KEY: Final[Schema] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "Makes the request safe to repeat: the same key and the same request get the same answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": KEY_MAX_LENGTH, "pattern": r"^[!#-+\--~]+$"},
    "example": "order-7-payment",
}
_PREFER: Final[Schema] = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": f"`wait=N`: wait up to N (at most {WAIT_S_MAX}) seconds for the answer to an earlier"
    " request with the same key, instead of 409.",
    "schema": {"type": "string", "pattern": "^wait=[0-9]{1,2}$"},
    "example": "wait=10",
}
_POST: Final = (_IDEMPOTENCY_KEY, _PREFER)
_ID: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_PAGE: Final = (
    _query(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
        "How many objects at most",
    ),
    _query("starting_after", _ID, "The objects that follow the one with this id in the list's order"),
    _query("ending_before", _ID, "The objects right before the one with this id; not with `starting_after`"),
)
_CREATED: Final = (
    _query("created_after", _TIME, "Inclusive, RFC 3339"),
    _query("created_before", _TIME, "Exclusive, RFC 3339"),
)
_PAYMENT: Final = model_ref(views.PaymentView)
_REFUND: Final = model_ref(views.RefundView)
_ENDPOINT: Final = model_ref(views.EndpointView)
_CHANGED: Final = {
    OK: ("The payment as the operation left it", _PAYMENT),
    ACCEPTED: (
        "The outcome is not known yet: the payment with `pending_operation` and its old status",
        _PAYMENT,
    ),
}
_LIST_CODES: Final = ("invalid_request", *_READ_CODES)
_OBJECT_CODES: Final = ("not_found", *_READ_CODES)

CREATE_PAYMENT = Description(
    id="createPayment",
    tag="Payments",
    summary="Authorize a payment, and capture it when `capture_method` is `automatic`",
    text="A decline is a definite answer: it is stored under the key, and paying again needs a new key. A"
    " different `cvc` alone is the same request, so a corrected `cvc` needs a new key too. After a 503"
    " nothing was sent, and the same request with the same key goes on.",
    answers={
        CREATED: ("The payment, `captured`, `authorized` or `requires_action`", _PAYMENT),
        ACCEPTED: ("No outcome within 8 s, or it is unknown: `processing`", _PAYMENT),
    },
    codes=(
        *_KEY_CODES,
        *("invalid_card_number", "invalid_vpa", "card_expired", "payment_declined", "payment_failed"),
        *("currency_not_supported", "payment_method_not_supported", "capture_method_not_supported"),
        *("test_mode_only", "rate_limited"),
    ),
    body=schemas.CreatePayment,
    example={
        "amount": 1099,
        "currency": "INR",
        "capture_method": "manual",
        "payment_method": {
            "type": "card",
            "card": {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "123"},
        },
        "merchant_reference": "order-7",
        "metadata": {"basket": "b-1"},
    },
    parameters=_POST,
)
LIST_PAYMENTS = Description(
    id="listPayments",
    tag="Payments",
    summary="List payments, newest first",
    answers={OK: ("A page of payments", list_of(views.PaymentView))},
    codes=_LIST_CODES,
    parameters=(
        *_PAGE,
        _query("status", {"type": "string", "enum": list(PaymentStatus)}, "Only payments with this status"),
        _query(
            "merchant_reference", {"type": "string", "maxLength": 100}, "Only with exactly this reference"
        ),
        _query("idempotency_key", {"type": "string", "maxLength": KEY_MAX_LENGTH}, "Only that of this key"),
        *_CREATED,
    ),
)
GET_PAYMENT = Description(
    id="getPayment",
    tag="Payments",
    summary="Get a payment",
    answers={OK: ("The payment", _PAYMENT)},
    codes=_OBJECT_CODES,
    parameters=(_ID_IN_PATH,),
)
CAPTURE_PAYMENT = Description(
    id="capturePayment",
    tag="Payments",
    summary="Capture all that is capturable, or part of it",
    text="`final: false` keeps the rest capturable. One capture or void runs at a time.",
    answers=_CHANGED,
    codes=(
        *_KEY_CODES,
        *("not_found", "payment_not_capturable", "operation_in_progress", "amount_too_large"),
        *("payment_declined", "payment_failed"),
    ),
    body=schemas.CreateCapture,
    body_required=False,
    example={"amount": 500, "final": False},
    parameters=(_ID_IN_PATH, *_POST),
)
VOID_PAYMENT = Description(
    id="voidPayment",
    tag="Payments",
    summary="Release what is authorized and not captured",
    answers=_CHANGED,
    codes=(
        *_KEY_CODES,
        *("not_found", "payment_not_voidable", "operation_in_progress", "payment_declined", "payment_failed"),
    ),
    body=schemas.CreateVoid,
    body_required=False,
    example={"reason": "out of stock"},
    parameters=(_ID_IN_PATH, *_POST),
)
LIST_PAYMENT_EVENTS = Description(
    id="listPaymentEvents",
    tag="Events",
    summary="List a payment's events, oldest first",
    text="`sequence` is 1, 2, 3 … without gaps.",
    answers={OK: ("A page of events", list_of(views.EventView))},
    codes=(*_LIST_CODES, "not_found"),
    parameters=(_ID_IN_PATH, *_PAGE),
)
CREATE_REFUND = Description(
    id="createRefund",
    tag="Refunds",
    summary="Refund all that is refundable, or part of it",
    text="Refunds run in parallel; together they never exceed what was captured.",
    answers={
        CREATED: ("The refund with its outcome", _REFUND),
        ACCEPTED: ("The outcome is not known yet: `pending`", _REFUND),
    },
    codes=(*_KEY_CODES, "not_found", "payment_not_refundable", "amount_too_large", "test_mode_only"),
    body=schemas.CreateRefund,
    body_required=False,
    example={"amount": 300, "reason": "returned"},
    parameters=(_ID_IN_PATH, *_POST),
)
LIST_PAYMENT_REFUNDS = Description(
    id="listPaymentRefunds",
    tag="Refunds",
    summary="List a payment's refunds, newest first",
    answers={OK: ("A page of refunds", list_of(views.RefundView))},
    codes=(*_LIST_CODES, "not_found"),
    parameters=(_ID_IN_PATH, *_PAGE),
)
LIST_REFUNDS = Description(
    id="listRefunds",
    tag="Refunds",
    summary="List refunds, newest first",
    answers={OK: ("A page of refunds", list_of(views.RefundView))},
    codes=_LIST_CODES,
    parameters=(
        *_PAGE,
        _query("status", {"type": "string", "enum": list(OperationStatus)}, "Only refunds with this status"),
    ),
)
GET_REFUND = Description(
    id="getRefund",
    tag="Refunds",
    summary="Get a refund",
    answers={OK: ("The refund", _REFUND)},
    codes=_OBJECT_CODES,
    parameters=(_ID_IN_PATH,),
)
LIST_EVENTS = Description(
    id="listEvents",
    tag="Events",
    summary="List events, newest first",
    text="Types are `object.past_tense`; a change of a payment's status has one event of the status's name."
    " `delivered=false`: some endpoint has not got it yet. Pings are not listed.",
    answers={OK: ("A page of events", list_of(views.EventView))},
    codes=_LIST_CODES,
    parameters=(
        *_PAGE,
        _query("type", {"type": "string", "enum": list(schemas.EVENT_TYPES)}, "Only events of this type"),
        _query("delivered", {"type": "boolean"}, "Whether every endpoint that wants it has got it"),
        *_CREATED,
    ),
)
GET_EVENT = Description(
    id="getEvent",
    tag="Events",
    summary="Get an event",
    answers={OK: ("The event, in the bytes in which it is delivered", model_ref(views.EventView))},
    codes=_OBJECT_CODES,
    parameters=(_ID_IN_PATH,),
)
CREATE_ENDPOINT = Description(
    id="createWebhookEndpoint",
    tag="Webhook endpoints",
    summary="Register a webhook endpoint",
    text="The answer, and its replays for 24 h, are the only ones with the `secret`. URLs are https on port"
    " 443 or 8443 (in test mode also http, 80 and 8080) to public addresses.",
    answers={CREATED: ("The endpoint with its secret", model_ref(views.NewEndpointView))},
    codes=(*_KEY_CODES, "webhook_url_forbidden"),
    body=schemas.CreateEndpoint,
    example={"url": "https://shop.example/hooks", "events": ["payment.captured", "refund.succeeded"]},
    parameters=_POST,
)
LIST_ENDPOINTS = Description(
    id="listWebhookEndpoints",
    tag="Webhook endpoints",
    summary="List webhook endpoints, newest first",
    answers={OK: ("A page of endpoints", list_of(views.EndpointView))},
    codes=_LIST_CODES,
    parameters=_PAGE,
)
GET_ENDPOINT = Description(
    id="getWebhookEndpoint",
    tag="Webhook endpoints",
    summary="Get a webhook endpoint",
    answers={OK: ("The endpoint", _ENDPOINT)},
    codes=_OBJECT_CODES,
    parameters=(_ID_IN_PATH,),
)
UPDATE_ENDPOINT = Description(
    id="updateWebhookEndpoint",
    tag="Webhook endpoints",
    summary="Change a webhook endpoint",
    text="What is left out stays as it is. What waits for an endpoint is dropped when it is disabled.",
    answers={OK: ("The endpoint as changed", _ENDPOINT)},
    codes=(*_BODY_CODES, "not_found", "webhook_url_forbidden"),
    body=schemas.UpdateEndpoint,
    example={"enabled": False},
    parameters=(_ID_IN_PATH,),
)
DELETE_ENDPOINT = Description(
    id="deleteWebhookEndpoint",
    tag="Webhook endpoints",
    summary="Delete a webhook endpoint",
    answers={NO_CONTENT: ("It is gone, and what waited for it is dropped", None)},
    codes=_OBJECT_CODES,
    parameters=(_ID_IN_PATH,),
)
LIVEZ = Description(
    id="livez",
    tag="Health",
    summary="Whether the process lives",
    answers={OK: ("It does", model_ref(views.StateView))},
    codes=(),
    public=True,
)
READYZ = Description(
    id="readyz",
    tag="Health",
    summary="Whether the process can do its work, and the state of each dependency",
    text="Postgres and Temporal are needed; without Redis answers are only later.",
    answers={
        OK: ("It can", model_ref(views.ReadinessView)),
        STATUS["unavailable"]: ("A dependency that is needed is missing", model_ref(views.ReadinessView)),
    },
    codes=(),
    public=True,
)
METRICS = Description(
    id="metrics",
    tag="Health",
    summary="What this process counted, for Prometheus",
    answers={OK: ("The text exposition format", None)},
    codes=(),
    public=True,
)
