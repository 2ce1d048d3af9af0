"""What new entities look like. Source: api/orders/create, api/payments/entity, api/refunds/entity: every member."""

from typing import Any

from devstack.acquirer.razorpay.errors import Json
from devstack.acquirer.razorpay.parameters import shown_notes

_NO_ERROR = dict.fromkeys(("error_code", "error_description", "error_source", "error_step", "error_reason"))


def order(own_id: str, form: Json, *, created: int) -> Json:
    """An order on which nobody attempted a payment."""
    return {
        "id": own_id,
        "entity": "order",
        "amount": form["amount"],
        "amount_paid": 0,
        "amount_due": form["amount"],
        "currency": form["currency"],
        "receipt": form.get("receipt"),
        "offer_id": None,
        "status": "created",
        "attempts": 0,
        "notes": shown_notes(form.get("notes", {})),
        "created_at": created,
    }


def payment(own_id: str, form: Json, *, created: int, card: Json | None) -> Json:
    """A payment of which nobody knows anything yet. `acquirer_data` by method: api/payments/fetch-with-id."""
    upi = form.get("upi", {})
    body = {
        "id": own_id,
        "entity": "payment",
        "amount": form["amount"],
        "currency": form["currency"],
        "status": "created",
        "order_id": form["order_id"],
        "invoice_id": None,
        "international": bool(card and card["international"]),
        "method": form["method"],
        "amount_refunded": 0,
        "refund_status": None,
        "captured": False,
        "description": form.get("description"),
        "card_id": None if card is None else card["id"],
        "bank": None,
        "wallet": form.get("wallet"),
        "vpa": upi.get("vpa"),
        "email": form["email"],
        "contact": form["contact"],
        "notes": shown_notes(form.get("notes", {})),
        "fee": None,
        "tax": None,
        **_NO_ERROR,
        "acquirer_data": _acquirer_data(form["method"], None),
        "created_at": created,
    }
    if form["method"] == "upi":
        body["upi"] = {"vpa": upi.get("vpa"), "flow": upi["flow"]}
    return body


def approved(method: str, *, number: str, rrn: str) -> Json:
    """What changes once the bank approved."""
    return {**_NO_ERROR, "acquirer_data": _acquirer_data(method, (number, rrn))}


def card(own_id: str, given: Json, *, network: str, is_international: bool) -> Json:
    """A card without its number. Source: api/payments/entity."""
    return {
        "id": own_id,
        "entity": "card",
        "name": given["name"],
        "last4": given["number"][-4:],
        "network": network,
        "type": "credit",
        "issuer": None,
        "international": is_international,
        "emi": False,
        "sub_type": "consumer",
        "token_iin": None,
    }


def refund(own_id: str, payment_: Json, form: Json, *, amount: int, created: int, status: str) -> Json:
    """A normal refund. `speed_processed` is null until it is processed: a *guess*."""
    return {
        "id": own_id,
        "entity": "refund",
        "amount": amount,
        "currency": payment_["currency"],
        "payment_id": payment_["id"],
        "notes": shown_notes(form.get("notes", {})),
        "receipt": form.get("receipt"),
        "acquirer_data": {"arn": None},
        "created_at": created,
        "batch_id": None,
        "status": status,
        "speed_processed": "normal" if status == "processed" else None,
        "speed_requested": form.get("speed", "normal"),
    }


def _acquirer_data(method: str, numbers: tuple[str, str] | None) -> dict[str, Any]:
    number, rrn = numbers or (None, None)
    match method:
        case "card":
            return {"auth_code": number} if rrn is None else {"auth_code": number, "rrn": rrn}
        case "upi":
            return {"rrn": rrn}
        case _:
            return {"transaction_id": number}
