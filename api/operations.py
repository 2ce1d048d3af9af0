"""Every operation of the API: what it does, takes and answers."""

from typing import Final

from api import schemas, views
from api.describing import IDEMPOTENCY_KEY, OK, READ_CODES, Description, Schema, list_of, model_ref
from api.idempotency import KEY_MAX_LENGTH, WAIT_S_MAX
from api.lists import LIMIT_DEFAULT, LIMIT_MAX
from api.problems import ACCEPTED, CREATED, NO_CONTENT, STATUS
from payonce.domain.operations import OperationStatus
from payonce.domain.payment import PaymentStatus

_BODY_CODES: Final = (
    *("invalid_request", "invalid_json", "request_timeout", "body_too_large", "unsupported_media_type"),
    *READ_CODES,
)
_KEY_CODES: Final = (
    *_BODY_CODES,
    *("idempotency_key_missing", "idempotency_key_invalid", "idempotency_key_reused"),
    *("idempotency_key_in_use", "idempotency_key_expired"),
)


def _query(name: str, schema: Schema, text: str) -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": text}


_ID_IN_PATH: Final[Schema] = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
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
_POST: Final = (IDEMPOTENCY_KEY, _PREFER)
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
_LIST_CODES: Final = ("invalid_request", *READ_CODES)
_OBJECT_CODES: Final = ("not_found", *READ_CODES)

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
        "test_mode_only",
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
    body_required=False,
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
