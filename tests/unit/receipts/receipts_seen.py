"""Events of payments as receipts are made of them, and what a reader finds in a receipt."""

import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

from payonce.receipts.view import Letterhead, PastEvent, Receipt, receipt_of
from tests.support.tools import tool

AT = datetime(2026, 11, 29, 5, 46, tzinfo=UTC)
PAYMENT_ID, REFUND_ID = "pay_aiiix35gjap6pwfn67he3xdfc", "re_a3dinbqwy3dpovxhi5dpmfzxg"
CARD = {"type": "card", "card": {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2030}}
SHOP = Letterhead("Tea & Co.", "12 Marine Drive\nMumbai 400020")


def payment(captured: int, *, refunded: int = 0, currency: str = "INR", **changes: Any) -> dict[str, Any]:
    """The object of a payment's event."""
    return {
        "object": "payment",
        "id": PAYMENT_ID,
        "currency": currency,
        "amount_captured": captured,
        "amount_refunded": refunded,
        "merchant_reference": "order-7",
        "description": "Two cups of tea",
        "customer": {"name": "Asha Rao", "email": "asha@shop.example"},
        "payment_method": CARD,
        **changes,
    }


def refund(
    amount: int, *, currency: str = "INR", status: str = "succeeded", **changes: Any
) -> dict[str, Any]:
    """The object of a refund's event."""
    members = {"id": REFUND_ID, "amount": amount, "currency": currency, "status": status, "reason": "broken"}
    return {"object": "refund", **members, **changes}


def told(*objects: Mapping[str, Any]) -> list[PastEvent]:
    """The objects' events, a day apart."""
    return [
        PastEvent(number, f"{data['object']}.changed", AT + timedelta(days=number - 1), data)
        for number, data in enumerate(objects, 1)
    ]


def paid_and_refunded(
    *, currency: str = "INR", captured: int = 1099, back: int = 99, **changes: Any
) -> Receipt:
    """The receipt of a payment with a refund."""
    events = told(
        payment(0, currency=currency, **changes),
        payment(captured, currency=currency, **changes),
        refund(back, currency=currency),
        payment(captured, refunded=back, currency=currency, **changes),
    )
    return receipt_of(events, SHOP, mode="test", authorization_code="831000")


def squeezed(text: str) -> str:
    """Without what is between letters, and without where lines may end."""
    return re.sub(r"[\s\u00a0\u200b\u2066-\u2069\u202a-\u202e\u200e\u200f]+", "", text)


def text_of_html(content: bytes) -> str:
    """What is between the tags of the body."""
    body = content.decode().partition("<body>")[2]
    return unescape(re.sub(r"<[^>]*>", " ", body))


def text_of_pdf(content: bytes) -> str:
    """What a reader finds in it."""
    program = tool("pdftotext", of="poppler-utils")
    arguments = [program, "-layout", "-enc", "UTF-8", "-", "-"]
    return subprocess.run(arguments, input=content, capture_output=True, check=True).stdout.decode()
