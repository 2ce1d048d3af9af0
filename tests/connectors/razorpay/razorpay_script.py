"""A server that plays what a test says Razorpay answers, and keeps what it was sent.

The bodies are written by hand from Razorpay's documentation of its objects; nothing here decides anything.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from payonce.connectors.base import Call, ConnectorAccount
from payonce.connectors.razorpay.connector import Razorpay
from payonce.domain.cards import Card
from payonce.domain.operations import OperationKind
from payonce.domain.personal import Browser, Customer, Party
from tests.connectors.scripted import Answer, Script, Scripted

ORDER, PAYMENT_ID, REFUND = "order_ABCdef12345678", "pay_ABCdef12345678", "rfnd_ABCdef12345678"
MERCHANT = "acc_BFQ7uQEaa7j2z7"
KEY = "rzp_test_1DP5mmOlF5G5ag:the-secret-of-it"
WEBHOOK_SECRETS = ("whs_new", "whs_old")
REFERENCE, PAYMENT = "pay_01jtest-1", "pay_01jtest"
CARD = Card("4386289407660153", 11, 2030, "100")
CREATED = 1_796_000_000
NOW = datetime.fromtimestamp(CREATED, UTC)
ORDERS, CREATE, CREATE_UPI = (
    "POST /v1/orders",
    "POST /v1/payments/create/json",
    "POST /v1/payments/create/upi",
)
LIST_ORDERS, LIST_PAYMENTS = "GET /v1/orders", f"GET /v1/orders/{ORDER}/payments"
GET, CAPTURE = f"GET /v1/payments/{PAYMENT_ID}", f"POST /v1/payments/{PAYMENT_ID}/capture"
MAKE_REFUND, LIST_REFUNDS = f"POST /v1/payments/{PAYMENT_ID}/refund", f"GET /v1/payments/{PAYMENT_ID}/refunds"
GET_REFUND = f"GET /v1/refunds/{REFUND}"
BY_ID = {"attempt_reference": PAYMENT_ID}
PAGE = f"https://api.razorpay.com/v1/payments/{PAYMENT_ID}/authenticate"
LINK = "upi://pay?pa=shop@razorpay&pn=Shop&tr=AbC123&tn=test&am=10.99&cu=INR&mc=5411"
BROWSER = Browser(
    ip="105.106.107.108",
    user_agent="Mozilla/5.0",
    language="en-IN-x-long",
    color_depth=24,
    screen_width=1080,
    screen_height=2400,
    time_zone_offset=-330,
    java_enabled=False,
    javascript_enabled=True,
)
CUSTOMER = Customer(name="Asha Rao", email="asha@example.com", phone="+919000090000")
BANK = {"error_source": "issuer_bank", "error_step": "payment_authorization"}


LOST = {
    "silent": Answer(silent=True),
    "reset": Answer(reset=True),
    "502": Answer(raw=b"<html>oops</html>", status=502),
    "500": Answer({"error": {"code": "SERVER_ERROR", "reason": "server_error"}}, status=500),
    "garbage": Answer(raw=b"{"),
    "not an object": Answer(raw=b"[]"),
    "empty": Answer({}),
    "error without a body": Answer({}, status=400),
}
"""What leaves a caller without an answer, whatever the call was."""

Open = Callable[..., Awaitable[tuple[Razorpay, Scripted]]]
"""Opens a connector at a server with a script: the fixture `razorpay`."""


def account(url: str, *, mode: str = "test", **options: str) -> ConnectorAccount:
    return ConnectorAccount(
        id="razorpay_in",
        connector="razorpay",
        mode=mode,
        base_url=url,
        secrets={"key": (KEY,), "webhook_secret": WEBHOOK_SECRETS},
        options={"call_deadline_s": "2", "cards": "on", "upi_collect": "on", **options},
        identity=MERCHANT,
        public_url="https://pay.example",
        upstream_secret=b"s" * 32,
    )


def call(kind: OperationKind = OperationKind.AUTHORIZE, **changes: Any) -> Call:
    authorizes = kind is OperationKind.AUTHORIZE
    members: dict[str, Any] = {
        "kind": kind,
        "reference": REFERENCE if authorizes else "op_01jtest-1",
        "payment_id": PAYMENT,
        "amount_minor": 1099,
        "currency": "INR",
        "automatic_capture": True,
        "authorization_reference": None if authorizes else PAYMENT_ID,
        "card": CARD if authorizes else None,
        "payment_method": {"type": "card", "card": {"brand": "visa", "last4": "0153"}},
        "customer": CUSTOMER,
        "billing": Party(name="Asha Rao"),
        "browser": BROWSER,
        "return_url": "https://pay.example/v1/returns/token",
    }
    return Call(**members | changes)


def upi(flow: str, **changes: Any) -> Call:
    asked = {"flow": flow} | ({"vpa": "asha@okbank"} if flow == "collect" else {})
    return call(payment_method={"type": "upi", "upi": asked}, **{"card": None} | changes)


def wallet(provider: str = "paytm", **changes: Any) -> Call:
    return call(
        payment_method={"type": "wallet", "wallet": {"provider": provider}}, **{"card": None} | changes
    )


def order(**members: Any) -> dict[str, Any]:
    return {
        "id": ORDER,
        "entity": "order",
        "amount": 1099,
        "amount_paid": 0,
        "amount_due": 1099,
        "currency": "INR",
        "receipt": PAYMENT,
        "offer_id": None,
        "status": "created",
        "attempts": 0,
        "notes": {"payonce_payment": PAYMENT},
        "created_at": CREATED,
    } | members


def payment(status: str = "captured", **members: Any) -> dict[str, Any]:
    return {
        "id": PAYMENT_ID,
        "entity": "payment",
        "amount": 1099,
        "currency": "INR",
        "status": status,
        "order_id": ORDER,
        "invoice_id": None,
        "international": False,
        "method": "card",
        "amount_refunded": 0,
        "refund_status": None,
        "captured": status == "captured",
        "description": PAYMENT,
        "card_id": "card_KbCaQTTxBsAVLQ",
        "card": {
            "id": "card_KbCaQTTxBsAVLQ",
            "entity": "card",
            "name": "",
            "last4": "0153",
            "network": "Visa",
            "type": "debit",
            "issuer": None,
            "international": False,
            "emi": False,
        },
        "bank": None,
        "wallet": None,
        "vpa": None,
        "email": "asha@example.com",
        "contact": "+919000090000",
        "notes": {"payonce_reference": REFERENCE, "payonce_payment": PAYMENT},
        "fee": 25,
        "tax": 0,
        "error_code": None,
        "error_description": None,
        "error_source": None,
        "error_step": None,
        "error_reason": None,
        "acquirer_data": {"auth_code": "457282"},
        "created_at": CREATED,
    } | members


def failed(reason: str, **members: Any) -> dict[str, Any]:
    said = {"error_code": "BAD_REQUEST_ERROR", "error_reason": reason} | BANK
    return payment("failed", **said | members)


def by_upi(status: str = "captured", **members: Any) -> dict[str, Any]:
    said = {
        "method": "upi",
        "card_id": None,
        "card": None,
        "vpa": "asha@okbank",
        "upi": {"payer_account_type": "bank_account", "vpa": "asha@okbank", "flow": "intent"},
        "acquirer_data": {"rrn": "867001630595", "upi_transaction_id": "AXI217bee"},
    }
    return payment(status, **said | members)


def refund(status: str = "processed", **members: Any) -> dict[str, Any]:
    return {
        "id": REFUND,
        "entity": "refund",
        "amount": 1099,
        "currency": "INR",
        "payment_id": PAYMENT_ID,
        "notes": {"payonce_reference": "op_01jtest-1", "payonce_payment": PAYMENT},
        "receipt": "op_01jtest-1",
        "acquirer_data": {"arn": None},
        "created_at": CREATED,
        "batch_id": None,
        "status": status,
        "speed_processed": "normal",
        "speed_requested": "normal",
    } | members


def made(*steps: dict[str, str], **members: Any) -> dict[str, Any]:
    said: dict[str, Any] = {"razorpay_payment_id": PAYMENT_ID}
    return said | ({"next": list(steps)} if steps else {}) | members


def redirected() -> dict[str, Any]:
    """What a card's or a wallet's payment is answered with; some banks offer a code besides."""
    return made(
        {"action": "redirect", "url": PAGE},
        {"action": "otp_generate", "url": f"{PAGE.removesuffix('authenticate')}otp_generate"},
    )


def listed(*objects: Any, **members: Any) -> dict[str, Any]:
    return {"entity": "collection", "count": len(objects), "items": list(objects)} | members


def problem(reason: str | None, *, status: int = 400, **members: Any) -> Answer:
    said = {
        "code": "BAD_REQUEST_ERROR",
        "description": "for people",
        "source": "business",
        "step": "payment_initiation",
        "reason": reason,
        "metadata": {},
    }
    return Answer({"error": said | members}, status=status)


def paying(answer: Answer | Sequence[Answer], *, by: str = CREATE, **others: Any) -> Script:
    """A script in which everything before the money call goes well."""
    return {ORDERS: Answer(order()), by: answer, **others}


def found(*payments: dict[str, Any], **others: Any) -> Script:
    """A script in which the order of our payment has these payments."""
    by_id = {f"GET /v1/payments/{one['id']}": Answer(one) for one in payments}
    whole = {LIST_ORDERS: Answer(listed(order())), LIST_PAYMENTS: Answer(listed(*payments))}
    return {**whole, **by_id, **others}
