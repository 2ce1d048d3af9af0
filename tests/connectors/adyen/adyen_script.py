"""A server that plays what a test says Adyen answers, and keeps what it was sent.

The bodies are written by hand from Adyen's documentation; nothing here decides anything.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from payonce.connectors.adyen.connector import Adyen
from payonce.connectors.base import Call, ConnectorAccount
from payonce.domain.cards import Card
from payonce.domain.operations import OperationKind
from payonce.domain.personal import Address, Browser, Customer, Party
from tests.connectors.scripted import Answer, Scripted

KEY = "AQE-payonce-secret"
HMAC_KEYS = ("44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056", "AB" * 32)
MERCHANT = "PayonceECOM"
REFERENCE, PAYMENT = "pay_01jtest-1", "pay_01jtest"
OPERATION = "op_01jtest-1"
SALE, MANUAL = "ApayZu01jtestZd1", "MpayZu01jtestZd1"  # `REFERENCE` as Adyen has it
PSP, MODIFICATION = "NC6HT9CRT65ZGN82", "WNS7WQ756L2GWR82"
CARD = Card("4111111145551142", 3, 2030, "737")
ADDRESS = Address(line1="Hauptstr. 1", city="Köln", postal_code="50667", country="DE")
PERSON: dict[str, Any] = {
    "customer": Customer(id="7", name="A. Person", email="a@person.example", phone="+4912345678"),
    "billing": Party(name="A. B. Person", address=ADDRESS),
    "browser": Browser(
        ip="192.0.2.1",
        user_agent="Mozilla/5.0",
        accept="text/html",
        language="de-DE",
        color_depth=24,
        screen_width=1920,
        screen_height=1080,
        time_zone_offset=-60,
        java_enabled=False,
        javascript_enabled=True,
    ),
    "channel": "web",
    "return_url": "https://api.shop.example/v1/returns/token",
}
PAYMENTS, DETAILS = "POST /v72/payments", "POST /v72/payments/details"
CAPTURES, CANCELS, REFUNDS, REVERSALS = (
    f"POST /v72/payments/{PSP}/{name}" for name in ("captures", "cancels", "refunds", "reversals")
)
BY_REFERENCE = "POST /v72/cancels"
PATHS = {
    OperationKind.AUTHORIZE: PAYMENTS,
    OperationKind.CAPTURE: CAPTURES,
    OperationKind.VOID: CANCELS,
    OperationKind.REFUND: REFUNDS,
}
LETTERS = {OperationKind.CAPTURE: "C", OperationKind.VOID: "V", OperationKind.REFUND: "R"}


Open = Callable[..., Awaitable[tuple[Adyen, Scripted]]]
"""Opens a connector at a server with a script: the fixture `adyen`."""


def account(url: str, *, mode: str = "test", **options: str) -> ConnectorAccount:
    return ConnectorAccount(
        id="adyen_eu",
        connector="adyen",
        mode=mode,
        base_url=url,
        secrets={"key": (KEY,), "hmac_key": HMAC_KEYS},
        options={"call_deadline_s": "20", "merchant_account": MERCHANT, **options},
        identity=f"Payonce/{MERCHANT}/test",
        upstream_secret=b"s" * 32,
        public_url="https://api.shop.example",
    )


def call(kind: OperationKind = OperationKind.AUTHORIZE, **changes: Any) -> Call:
    authorizes = kind is OperationKind.AUTHORIZE
    members: dict[str, Any] = {
        "kind": kind,
        "reference": REFERENCE if authorizes else OPERATION,
        "payment_id": PAYMENT,
        "amount_minor": 1099,
        "currency": "EUR",
        "automatic_capture": True,
        "authorization_reference": None if authorizes else PSP,
        "card": CARD if authorizes else None,
        "payment_method": {"type": "card", "card": {"brand": "visa"}},
        **(PERSON if authorizes else {}),
    }
    return Call(**members | changes)


def upi(flow: str, **changes: Any) -> Call:
    shown = {"flow": flow} | ({"vpa": "asha@bank"} if flow == "collect" else {})
    members = {"card": None, "currency": "INR", "payment_method": {"type": "upi", "upi": shown}}
    return call(**members | changes)


def paid(result: str = "Authorised", **members: Any) -> dict[str, Any]:
    """An answer to `/payments`."""
    return {
        "pspReference": PSP,
        "resultCode": result,
        "merchantReference": SALE,
        "amount": {"currency": "EUR", "value": 1099},
    } | members


def refusal(code: str, reason: str = "Refused", **members: Any) -> Answer:
    return Answer(paid("Refused", refusalReasonCode=code, refusalReason=reason, **members))


def redirected(**action: Any) -> dict[str, Any]:
    """An answer to `/payments` that sends the customer away: without a reference of either."""
    page = "https://checkoutshopper-test.adyen.com/checkoutshopper/threeDS/redirect?token=x"
    shown = {"type": "redirect", "method": "GET", "paymentMethodType": "scheme", "url": page} | action
    return {"resultCode": "RedirectShopper", "action": shown}


def received(kind: OperationKind, **members: Any) -> Answer:
    """The answer to a modification."""
    answer: dict[str, Any] = {
        "merchantAccount": MERCHANT,
        "paymentPspReference": PSP,
        "pspReference": MODIFICATION,
        "reference": f"{LETTERS[kind]}opZu01jtestZd1",
        "status": "received",
    }
    if kind is not OperationKind.VOID:
        answer["amount"] = {"currency": "EUR", "value": 1099}
    return Answer(answer | members, status=201)


def problem(code: str, *, status: int = 422, type_: str = "validation", **headers: str) -> Answer:
    body = {"status": status, "errorCode": code, "message": "for people", "errorType": type_}
    return Answer(
        body, status=status, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


def item(event: str, **members: Any) -> dict[str, Any]:
    """What happened, unsigned."""
    return {
        "amount": {"currency": "EUR", "value": 1099},
        "eventCode": event,
        "eventDate": "2026-11-29T04:00:00+01:00",
        "merchantAccountCode": MERCHANT,
        "merchantReference": SALE,
        "paymentMethod": "visa",
        "pspReference": PSP,
        "reason": "as it was",
        "success": "true",
        "additionalData": {"authCode": "123456"},
    } | members


def modified(event: str, kind: OperationKind, **members: Any) -> dict[str, Any]:
    """What happened to a modification of ours."""
    own = {"merchantReference": f"{LETTERS[kind]}opZu01jtestZd1", "pspReference": MODIFICATION}
    return item(event, **{"originalReference": PSP} | own | members)


def mac(one: Mapping[str, Any], key: str = HMAC_KEYS[0]) -> str:
    """Adyen's signature, by its documentation and not by ours."""
    members = [
        one["pspReference"],
        one.get("originalReference") or "",
        one["merchantAccountCode"],
        one["merchantReference"],
        str(one["amount"]["value"]),
        one["amount"]["currency"],
        one["eventCode"],
        one["success"],
    ]
    return base64.b64encode(
        hmac.new(bytes.fromhex(key), ":".join(members).encode(), hashlib.sha256).digest()
    ).decode()


def signed(one: dict[str, Any], key: str = HMAC_KEYS[0]) -> dict[str, Any]:
    additional = {**one.get("additionalData", {}), "hmacSignature": mac(one, key)}
    return {"NotificationRequestItem": {**one, "additionalData": additional}}


def message(*items: dict[str, Any], key: str = HMAC_KEYS[0]) -> bytes:
    return json.dumps({"live": "false", "notificationItems": [signed(one, key) for one in items]}).encode()
