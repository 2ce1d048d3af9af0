"""A server that plays what a test says Stripe answers, and keeps what it was sent.

The bodies are written by hand from Stripe's documentation of its objects; nothing here decides anything.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from payonce.connectors.base import Call, ConnectorAccount
from payonce.connectors.stripe.connector import Stripe
from payonce.domain.cards import Card
from payonce.domain.evidence import Evidence
from payonce.domain.operations import OperationKind
from tests.connectors.scripted import Answer, Script, Scripted

INTENT, CHARGE, METHOD, REFUND = "pi_3Abc", "ch_3Abc", "pm_1Abc", "re_3Abc"
KEY = "sk_test_payonce_secret"
WEBHOOK_SECRETS = ("whsec_new", "whsec_old")
REFERENCE, PAYMENT = "pay_01jtest-1", "pay_01jtest"
CARD = Card("4242424242424242", 12, 2031, "737")
CREATED = 1_796_000_000
VISA = Evidence(scheme="visa")  # of `charge`
CREATE, METHODS, REFUNDS = "POST /v1/payment_intents", "POST /v1/payment_methods", "POST /v1/refunds"
CONFIRM, GET = f"{CREATE}/{INTENT}/confirm", f"GET /v1/payment_intents/{INTENT}"
CAPTURE, CANCEL = f"{CREATE}/{INTENT}/capture", f"{CREATE}/{INTENT}/cancel"
LIST_REFUNDS = "GET /v1/refunds"
BY_ID = {"attempt_reference": INTENT}


Open = Callable[..., Awaitable[tuple[Stripe, Scripted]]]
"""Opens a connector at a server with a script: the fixture `stripe`."""


def account(url: str, *, mode: str = "test", **options: str) -> ConnectorAccount:
    return ConnectorAccount(
        id="stripe_in",
        connector="stripe",
        mode=mode,
        base_url=url,
        secrets={"key": (KEY,), "webhook_secret": WEBHOOK_SECRETS},
        options={"call_deadline_s": "2", **options},
        identity="acct_1Ours",
        upstream_secret=b"s" * 32,
    )


def call(kind: OperationKind = OperationKind.AUTHORIZE, **changes: Any) -> Call:
    authorizes = kind is OperationKind.AUTHORIZE
    members: dict[str, Any] = {
        "kind": kind,
        "reference": REFERENCE if authorizes else "op_01jtest-1",
        "payment_id": PAYMENT,
        "amount_minor": 1099,
        "currency": "EUR",
        "automatic_capture": True,
        "authorization_reference": None if authorizes else INTENT,
        "card": CARD if authorizes else None,
    }
    return Call(**members | changes)


def intent(status: str = "requires_payment_method", **members: Any) -> dict[str, Any]:
    return {
        "id": INTENT,
        "object": "payment_intent",
        "amount": 1099,
        "amount_capturable": 0,
        "amount_received": 1099 if status == "succeeded" else 0,
        "capture_method": "automatic",
        "client_secret": f"{INTENT}_secret_x",
        "created": CREATED,
        "currency": "eur",
        "livemode": False,
        "latest_charge": None,
        "last_payment_error": None,
        "metadata": {"payonce_reference": REFERENCE, "payonce_payment": PAYMENT},
        "status": status,
    } | members


def charge(**members: Any) -> dict[str, Any]:
    return {
        "id": CHARGE,
        "object": "charge",
        "amount": 1099,
        "amount_captured": 0,
        "amount_refunded": 0,
        "captured": False,
        "created": CREATED,
        "currency": "eur",
        "livemode": False,
        "status": "succeeded",
        "payment_method_details": {
            "type": "card",
            "card": {"brand": "visa", "exp_month": 12, "exp_year": 2031},
        },
    } | members


def paid(**members: Any) -> dict[str, Any]:
    """An automatic payment that is captured."""
    return intent("succeeded", **{"latest_charge": charge(captured=True, amount_captured=1099)} | members)


def held(**members: Any) -> dict[str, Any]:
    """A manual payment that is authorized."""
    return intent(
        "requires_capture",
        **{"amount_capturable": 1099, "capture_method": "manual", "latest_charge": charge()} | members,
    )


def method(**members: Any) -> dict[str, Any]:
    return {"id": METHOD, "object": "payment_method", "livemode": False, "type": "card"} | members


def refund(status: str = "succeeded", **members: Any) -> dict[str, Any]:
    return {
        "id": REFUND,
        "object": "refund",
        "amount": 1099,
        "currency": "eur",
        "metadata": {"payonce_reference": "op_01jtest-1"},
        "payment_intent": INTENT,
        "status": status,
    } | members


def listed(*objects: Any, has_more: bool = False) -> dict[str, Any]:
    return {"object": "list", "data": list(objects), "has_more": has_more, "url": "/v1/x"}


def error(type_: str, **members: Any) -> dict[str, Any]:
    return {"error": {"type": type_, "message": "for people", **members}}


def card_error(about: Any = None, **members: Any) -> Answer:
    said = {"code": "card_declined", "decline_code": "insufficient_funds"} | members
    about = intent(last_payment_error={"type": "card_error", **said}) if about is None else about
    return Answer(error("card_error", payment_intent=about, **said), status=402)


def invalid(code: str | None, **members: Any) -> Answer:
    return Answer(error("invalid_request_error", code=code, **members), status=400)


def authorizing(confirmed: Answer | Sequence[Answer], **others: Any) -> Script:
    """A script in which everything before the money call goes well."""
    return {CREATE: Answer(intent()), METHODS: Answer(method()), CONFIRM: confirmed, **others}


def with_refunds(*pages: Answer) -> dict[str, Any]:
    """A script in which a part of what an intent took was given back."""
    given_back = charge(captured=True, amount_captured=1099, amount_refunded=400)
    return {GET: Answer(intent("succeeded", latest_charge=given_back)), LIST_REFUNDS: list(pages)}
