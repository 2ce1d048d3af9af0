"""Every operation of the API but those on webhook endpoints: what it does, takes and answers."""

from dataclasses import replace
from typing import Final

from api.http.key_header import KEY_MAX_LENGTH
from api.openapi import objects, told_objects
from api.openapi.description import (
    CREATED_BETWEEN,
    ID_IN_PATH,
    KEY_CODES,
    LIST_CODES,
    OBJECT_CODES,
    OK,
    OPTIONAL_KEY_CODES,
    PAGE,
    POST,
    POST_ONCE,
    Description,
    list_of,
    model_ref,
    query,
)
from api.problems import ACCEPTED, CREATED, FOUND, NOT_MODIFIED, STATUS
from api.schemas import payments, webhooks
from payonce.domain.events import EVENT_TYPES
from payonce.domain.operations import OperationStatus
from payonce.domain.payment import PaymentStatus

_PAYMENT: Final = model_ref(objects.PaymentView)
_REFUND: Final = model_ref(objects.RefundView)
_CHANGED: Final = {
    OK: ("The payment as the operation left it", _PAYMENT),
    ACCEPTED: (
        "The outcome is not known yet: the payment with `pending_operation` and its old status",
        _PAYMENT,
    ),
}

CREATE_PAYMENT = Description(
    id="createPayment",
    tag="Payments",
    summary="Authorize a payment, and capture it when `capture_method` is `automatic`",
    text="A decline is a definite answer: it is stored under the key, and paying again needs a new key. A"
    " different `cvc`, `browser`, `authentication` or wallet token alone is the same request, so a corrected `cvc`"
    " needs a new key too. After a 503 nothing was sent, and the same request with the same key goes on; an"
    " `authentication`, which is not kept, has to be in it again (`data_required`). What no account takes of `sca` or"
    " `authentication` is `payment_method_not_supported`. Where the merchant's risk providers say `review`, it is"
    " authorized and held whatever `capture_method` says; where they say `block`, it is 402 `payment_blocked`, and no"
    " acquirer hears of it."
    " With `setup` the card is saved once the payment is approved, whatever becomes"
    " of it later: `payment_method.card.token` says as what, and `payment_method.active` tells it. A merchant whose"
    " cards are not saved, and a card that the vault may not keep, get `card_storage_refused`; too many different"
    " cards saved within an hour are `rate_limited`. While the vault's keys are out of reach such a payment is"
    " `unavailable`, and nothing was sent."
    " A saved card is paid with at the accounts that have what it can be paid with, else it is"
    " `payment_method_not_supported`; a token that is unknown, deleted or another customer's is 400 at"
    " `/payment_method/token`. With `off_session` nobody can act: a challenge is cancelled, and is a decline with"
    " `authentication_required`. Without a `cvc` and an `authentication` any process can go on with such a payment,"
    " so that it is 202 where another is 503.",
    answers={
        CREATED: (
            "The payment, `captured`, `authorized` or `requires_action`. The last is an answer and not the definite"
            " one: a retry gets it while the customer may act, then the payment with 202, then the outcome",
            _PAYMENT,
        ),
        ACCEPTED: ("No outcome within 8 s, or it is unknown: `processing`", _PAYMENT),
    },
    codes=(
        *KEY_CODES,
        *("invalid_card_number", "invalid_vpa", "card_expired", "payment_declined", "payment_failed"),
        "payment_blocked",
        *("currency_not_supported", "payment_method_not_supported", "capture_method_not_supported"),
        *("amount_not_supported", "data_required", "test_mode_only", "card_storage_refused"),
    ),
    body=payments.CreatePayment,
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
    parameters=POST,
)
LIST_PAYMENTS = Description(
    id="listPayments",
    tag="Payments",
    summary="List payments, newest first",
    text="A key or a reference is found however it is spelled (in quotes, with spaces around it, encoded twice, with"
    " a plus sign that became a space): as it is, if there is one, and otherwise as it may be meant. What can be none"
    " is an `invalid_request`.",
    answers={OK: ("A page of payments", list_of(objects.PaymentView))},
    codes=LIST_CODES,
    parameters=(
        *PAGE,
        query("status", {"type": "string", "enum": list(PaymentStatus)}, "Only payments with this status"),
        query("merchant_reference", {"type": "string", "maxLength": 100}, "Only with this reference"),
        query(
            "idempotency_key",
            {"type": "string", "maxLength": KEY_MAX_LENGTH},
            "Only that of this key, bare or in quotes",
        ),
        *CREATED_BETWEEN,
    ),
)
GET_PAYMENT = Description(
    id="getPayment",
    tag="Payments",
    summary="Get a payment",
    answers={OK: ("The payment", _PAYMENT)},
    codes=OBJECT_CODES,
    parameters=(ID_IN_PATH,),
)
CAPTURE_PAYMENT = Description(
    id="capturePayment",
    tag="Payments",
    summary="Capture all that is capturable, or part of it",
    text="`final: false` keeps the rest capturable; not every rail does. One capture or void runs"
    " at a time, but for captures that the acquirer has accepted and tells of later.",
    answers=_CHANGED,
    codes=(
        *KEY_CODES,
        *("not_found", "payment_not_capturable", "operation_in_progress", "amount_too_large"),
        "payment_in_review",
        "amount_not_supported",
        *("payment_declined", "payment_failed"),
    ),
    body=payments.CreateCapture,
    body_required=False,
    example={"amount": 500, "final": False},
    parameters=(ID_IN_PATH, *POST),
)
VOID_PAYMENT = Description(
    id="voidPayment",
    tag="Payments",
    summary="Release what is authorized and not captured, or abandon what the customer has not paid yet",
    text=(
        "A payment whose customer was asked and has not paid becomes `voided` once the acquirer confirms that nobody"
        " can pay any more; 202 until then. A success that comes before is released by a void or a refund of its own,"
        " with which this one ends: `voided` or `refunded`. One that comes later is reversed."
    ),
    answers=_CHANGED,
    codes=(
        *KEY_CODES,
        *("not_found", "payment_not_voidable", "operation_in_progress", "operation_not_supported"),
        *("payment_declined", "payment_failed"),
    ),
    body=payments.CreateVoid,
    body_required=False,
    example={"reason": "out of stock"},
    parameters=(ID_IN_PATH, *POST),
)
LIST_PAYMENT_EVENTS = Description(
    id="listPaymentEvents",
    tag="Events",
    summary="List a payment's events, oldest first",
    text="`sequence` is 1, 2, 3 … without gaps.",
    answers={OK: ("A page of events", list_of(told_objects.EventView))},
    codes=(*LIST_CODES, "not_found"),
    parameters=(ID_IN_PATH, *PAGE),
)
LIST_PAYMENT_ATTEMPTS = Description(
    id="listPaymentAttempts",
    tag="Payments",
    summary="List a payment's attempts, newest first",
    text="Which connector account each request went to, why, and what became of it. An attempt has no id: the pages"
    ' beside this one are in `Link` (RFC 8288, `rel="next"` and `"prev"`), with the cursors.',
    answers={OK: ("A page of attempts", list_of(objects.PaymentAttemptView))},
    codes=(*LIST_CODES, "not_found"),
    parameters=(ID_IN_PATH, *PAGE),
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
    codes=(
        *KEY_CODES,
        *(
            "not_found",
            "payment_not_refundable",
            "amount_too_large",
            "amount_not_supported",
            "test_mode_only",
        ),
    ),
    body=payments.CreateRefund,
    body_required=False,
    example={"amount": 300, "reason": "returned"},
    parameters=(ID_IN_PATH, *POST),
)
LIST_PAYMENT_REFUNDS = Description(
    id="listPaymentRefunds",
    tag="Refunds",
    summary="List a payment's refunds, newest first",
    answers={OK: ("A page of refunds", list_of(objects.RefundView))},
    codes=(*LIST_CODES, "not_found"),
    parameters=(ID_IN_PATH, *PAGE),
)
LIST_REFUNDS = Description(
    id="listRefunds",
    tag="Refunds",
    summary="List refunds, newest first",
    answers={OK: ("A page of refunds", list_of(objects.RefundView))},
    codes=LIST_CODES,
    parameters=(
        *PAGE,
        query("status", {"type": "string", "enum": list(OperationStatus)}, "Only refunds with this status"),
    ),
)
GET_REFUND = Description(
    id="getRefund",
    tag="Refunds",
    summary="Get a refund",
    answers={OK: ("The refund", _REFUND)},
    codes=OBJECT_CODES,
    parameters=(ID_IN_PATH,),
)
_DELIVERED = (
    "Whether every endpoint that is still there has got it. Where very many deliveries wait or were given up, this"
    " may be an `invalid_request` that asks for a shorter span of time; it is never an incomplete answer"
)
LIST_EVENTS = Description(
    id="listEvents",
    tag="Events",
    summary="List events, newest first",
    text="Types are `object.past_tense`; a change of a payment's status has one event of the status's name."
    " `delivered=false`: some endpoint has not got it yet. Events about your other endpoints"
    " (`webhook_endpoint.…`) belong to no payment; pings are not listed. Events are kept for 30 days at least.",
    answers={OK: ("A page of events", list_of(told_objects.EventView))},
    codes=LIST_CODES,
    parameters=(
        *PAGE,
        query("type", {"type": "string", "enum": list(EVENT_TYPES)}, "Only events of this type"),
        query("delivered", {"type": "boolean"}, _DELIVERED),
        *CREATED_BETWEEN,
    ),
)
GET_EVENT = Description(
    id="getEvent",
    tag="Events",
    summary="Get an event",
    answers={OK: ("The event, in the bytes in which it is delivered", model_ref(told_objects.EventView))},
    codes=OBJECT_CODES,
    parameters=(ID_IN_PATH,),
)
REDELIVER_EVENT = Description(
    id="redeliverEvent",
    tag="Events",
    summary="Deliver an event once more",
    text="A new delivery of the same bytes under the same `webhook-id`, to the endpoint that is named, or to"
    " every enabled endpoint that wants the type.",
    answers={ACCEPTED: ("The new deliveries", list_of(told_objects.DeliveryView))},
    codes=(*OPTIONAL_KEY_CODES, "not_found"),
    body=webhooks.Redeliver,
    body_required=False,
    example={"endpoint": "we_a3dinbqwy3dpovxhi5dpmfzxg"},
    parameters=(ID_IN_PATH, *POST_ONCE),
)
GET_RECEIPT = Description(
    id="getReceipt",
    tag="Payments",
    summary="The receipt of a payment, or of one of its refunds, that a customer can keep",
    text="As of the payment's latest event. HTML, or a tagged PDF with `Accept: application/pdf`. It is made when it"
    " is first asked for: meanwhile `receipt_not_ready` with `Retry-After` (1 to 30 s, by what is drawn before it)."
    " Without that header there is none: nothing is captured, or the refund has not succeeded. One that could not be"
    " drawn is `operation_not_supported`, and tried anew an hour later. It is a receipt and no tax invoice.",
    answers={
        OK: ("The receipt", None),
        FOUND: ("Where it is: an address that is good for 60 s, and needs no API key", None),
    },
    codes=(
        "receipt_not_ready",
        "operation_not_supported",
        "invalid_request",
        "outcome_unknown",
        *OBJECT_CODES,
    ),
    parameters=(
        ID_IN_PATH,
        query("refund", ID_IN_PATH["schema"], "The receipt of this refund of the payment alone"),
    ),
    media_types=("text/html", "application/pdf"),
)
SHOW_QR_CODE = Description(
    id="showPaymentQrCode",
    tag="Payments",
    summary="The QR code of a `upi_qr` payment, as an image",
    text="SVG, or PNG with `Accept: image/png`. Needs no API key; 404 once the customer is not to act any more."
    " Its `ETag` in `If-None-Match` is 304 as long as the image stands.",
    answers={OK: ("The image", None), NOT_MODIFIED: ("The client has it", None)},
    codes=("not_found", "rate_limited", "unavailable", "internal_error"),
    parameters=(ID_IN_PATH,),
    public=True,
    media_types=("image/svg+xml", "image/png"),
)
SHOW_RETURN = Description(
    id="showReturn",
    tag="Payments",
    summary="A customer comes back from an acquirer's page",
    text="The acquirer sends the browser here, and this page sends it on to the payment's `return_url` with"
    " `payment=pay_…` added, or says in words how the payment stands where there is none. Nothing that the browser"
    " says is believed: the acquirer is asked, and its word is waited for up to 5 s. From the first return on"
    " `next_action` is null and the payment `processing`, until it has an outcome. The address, which has a token for"
    " this attempt, is the acquirer's alone; needs no API key.",
    answers={
        OK: ("How the payment stands, for people", None),
        303: ("To the merchant's `return_url`", None),
        403: ("A browser fetched it ahead of time: nothing happened", None),
        404: ("Nobody's token", None),
        429: ("Asked for too often", None),
        503: ("The payment cannot be looked up now", None),
    },
    codes=("internal_error",),
    parameters=(
        {
            "name": "token",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$"},
        },
    ),
    public=True,
    media_types=("text/html",),
)
RECEIVE_RETURN = replace(
    SHOW_RETURN,
    id="receiveReturn",
    summary="A customer comes back from an acquirer's page, by a form",
    text=f"{SHOW_RETURN.text} A form (`application/x-www-form-urlencoded`) has at most 16 KiB.",
    answers={
        **{status: answer for status, answer in SHOW_RETURN.answers.items() if status != 403},
        408: ("The form did not arrive whole", None),
        413: ("The form is too large", None),
    },
)
RECEIVE_CALLBACK = Description(
    id="receiveCallback",
    tag="Connectors",
    summary="An acquirer tells what happened to a payment",
    text="Signed by the acquirer over the raw bytes. It moves no money: it makes payonce ask the acquirer. One that"
    " is known already changes nothing.",
    answers={OK: ("It is in the inbox", None)},
    codes=(
        "callback_invalid",
        "not_found",
        "body_too_large",
        "rate_limited",
        "request_timeout",
        "unavailable",
        "internal_error",
    ),
    any_body=True,
    parameters=(
        {
            "name": "name",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
            "description": "The connector's name",
        },
    ),
    public=True,
)
RECEIVE_CALLBACK_OF_ACCOUNT = replace(
    RECEIVE_CALLBACK,
    id="receiveCallbackOfAccount",
    summary="An acquirer tells what happened to a payment at one account",
    text=f"{RECEIVE_CALLBACK.text} It is verified with this account's secrets, and must be about a payment at it.",
    parameters=(
        *RECEIVE_CALLBACK.parameters,
        {
            "name": "account",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
            "description": "The connector account's id",
        },
    ),
)
LIVEZ = Description(
    id="livez",
    tag="Health",
    summary="Whether the process lives",
    answers={OK: ("It does", model_ref(objects.StateView))},
    codes=(),
    public=True,
)
READYZ = Description(
    id="readyz",
    tag="Health",
    summary="Whether requests are welcome here, and the state of each dependency",
    text="It fails for faults of this process only: it is about to end, or has lost its connections. What all"
    " processes share is named, and fails nothing: another process could not do better.",
    answers={
        OK: ("They are", model_ref(objects.ReadinessView)),
        STATUS["unavailable"]: ("This process is at fault", model_ref(objects.ReadinessView)),
    },
    codes=(),
    public=True,
)
