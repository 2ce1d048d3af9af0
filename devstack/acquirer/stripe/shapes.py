"""What new objects look like. Source: spec, `components.schemas`; every member that Stripe always sends is there."""

from typing import Any

from devstack.acquirer.stripe import cards
from devstack.acquirer.stripe.cards import Decline, TestCard
from devstack.acquirer.stripe.errors import Json

_ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")


def payment_method(own_id: str, *, created: int, livemode: bool, card: Json, billing: Json) -> Json:
    """A card, without its number."""
    return {
        "id": own_id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": billing_details(billing),
        "card": {
            "brand": card["brand"],
            "checks": card["checks"],
            "country": card["country"],
            "display_brand": card["brand"],
            "exp_month": card["exp_month"],
            "exp_year": card["exp_year"],
            "fingerprint": card["fingerprint"],
            "funding": card["funding"],
            "generated_from": None,
            "last4": card["last4"],
            "networks": {"available": [card["brand"]], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": card["wallet"],
        },
        "created": created,
        "customer": None,
        "customer_account": None,
        "livemode": livemode,
        "metadata": {},
        "type": "card",
    }


def billing_details(given: Json) -> Json:
    """Every member, null where it was not given."""
    address = given.get("address") or {}
    return {
        "address": {name: address.get(name) for name in _ADDRESS},
        **{name: given.get(name) for name in ("email", "name", "phone", "tax_id")},
    }


def payment_intent(own_id: str, form: Json, *, created: int, livemode: bool, secret: str) -> Json:
    """An intent that nobody confirmed. Source: spec, defaults of creation."""
    automatic = form.get("automatic_payment_methods")
    types = form.get("payment_method_types")
    if types is None and automatic is None:
        automatic = {"enabled": True}
    options = (form.get("payment_method_options") or {}).get("card") or {}
    return {
        "id": own_id,
        "object": "payment_intent",
        "amount": form["amount"],
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": automatic,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": form.get("capture_method", "automatic_async"),
        "client_secret": f"{own_id}_secret_{secret}",
        "confirmation_method": form.get("confirmation_method", "automatic"),
        "created": created,
        "currency": form["currency"],
        "customer": None,
        "customer_account": None,
        "description": form.get("description"),
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": livemode,
        "metadata": form.get("metadata", {}),
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {
            "card": {
                "installments": None,
                "mandate_options": None,
                "network": None,
                "request_three_d_secure": options.get("request_three_d_secure", "automatic"),
            }
        },
        "payment_method_types": types or ["card"],
        "processing": None,
        "receipt_email": form.get("receipt_email"),
        "review": None,
        "setup_future_usage": form.get("setup_future_usage"),
        "shipping": form.get("shipping"),
        "statement_descriptor": form.get("statement_descriptor"),
        "statement_descriptor_suffix": form.get("statement_descriptor_suffix"),
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": form.get("transfer_group"),
    }


def charge(own_id: str, intent: Json, method: Json, details: Json, *, amount: int, created: int) -> Json:
    """A charge that was approved and not captured; `failed` and captures change it."""
    return {
        "id": own_id,
        "object": "charge",
        "amount": amount,
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": "SANDBOX",
        "captured": False,
        "created": created,
        "currency": intent["currency"],
        "customer": None,
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": intent["livemode"],
        "metadata": intent["metadata"],
        "on_behalf_of": None,
        "outcome": None,
        "paid": True,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": {"card": details, "type": "card"},
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": intent["shipping"],
        "source_transfer": None,
        "statement_descriptor": intent["statement_descriptor"],
        "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
        "status": "succeeded",
        "transfer_data": None,
        "transfer_group": intent["transfer_group"],
    }


def secure(card: TestCard, *, asked: bool) -> Json | None:
    """How 3-D Secure went, without its id; None where there was none. `asked`: whether the customer passed.

    Source: spec, `three_d_secure_details_charge`: an attempt that the network acknowledged has no flow.
    """
    flow = "challenge" if asked else card.unasked
    if flow is None:
        return None
    attempted = flow == "attempted"
    return {
        "authentication_flow": None if attempted else flow,
        "electronic_commerce_indicator": "06" if attempted else "05",
        "exemption_indicator": None,
        "result": "attempt_acknowledged" if attempted else "authenticated",
        "result_reason": None,
        "version": "2.2.0",
    }


def card_details(
    method: Json, *, amount: int, multicapture: bool, secure: Json | None, numbers: Json
) -> Json:
    """`payment_method_details.card` of a charge. `numbers`: what only an approval has; empty for a decline."""
    card = method["card"]
    if secure is not None:
        secure = {**secure, "transaction_id": numbers.get("three_d_secure_id")}
    details = {
        "amount_authorized": amount if numbers else None,
        "authorization_code": numbers.get("authorization_code"),
        "brand": card["brand"],
        "checks": card["checks"],
        "country": card["country"],
        "exp_month": card["exp_month"],
        "exp_year": card["exp_year"],
        "extended_authorization": {"status": "disabled"},
        "fingerprint": card["fingerprint"],
        "funding": card["funding"],
        "incremental_authorization": {"status": "unavailable"},
        "installments": None,
        "last4": card["last4"],
        "mandate": None,
        "multicapture": {"status": "available" if multicapture else "unavailable"},
        "network": card["brand"],
        "network_token": {"used": False},
        "network_transaction_id": numbers.get("network_transaction_id"),
        "overcapture": {"maximum_amount_capturable": amount, "status": "unavailable"},
        "regulated_status": "unregulated",
        "three_d_secure": secure,
        "transaction_link_id": None,
        "wallet": card["wallet"],
    }
    return details | {name: numbers[name] for name in ("capture_before",) if name in numbers}


def outcome(card: TestCard, decline: Decline | None) -> Json:
    """Source: spec, `charge_outcome`; declines: `type` says who refused."""
    if decline is None:
        kind, network, reason, seller = "authorized", "approved_by_network", None, "Payment complete."
    elif decline.blocked:
        kind, network, reason = "blocked", "not_sent_to_network", "highest_risk_level"
        seller = "Stripe blocked this payment as too risky."
    else:
        kind, network, reason = "issuer_declined", "declined_by_network", decline.decline_code or decline.code
        seller = "The bank did not approve the payment."
    return {
        "advice_code": None if decline is None else decline.advice_code,
        "network_advice_code": None,
        "network_decline_code": None if decline is None else decline.network_decline_code,
        "network_status": network,
        "reason": reason,
        "risk_level": card.risk_level,
        "risk_score": {"normal": 12, "elevated": 70, "highest": 92}[card.risk_level],
        "seller_message": seller,
        "type": kind,
    }


def payment_error(decline: Decline, *, charge_id: str | None, method: Json) -> Json:
    """`last_payment_error`, and the members of a card error. Source: api/errors."""
    kind = "card_error" if decline is not cards.AUTHENTICATION_FAILED else "invalid_request_error"
    members: dict[str, Any] = {
        "advice_code": decline.advice_code,
        "charge": charge_id,
        "code": decline.code,
        "decline_code": decline.decline_code,
        "network_decline_code": decline.network_decline_code,
    }
    error = {name: value for name, value in members.items() if value is not None}
    error["doc_url"] = "https://stripe.com/docs/error-codes/" + decline.code.replace("_", "-")
    return {**error, "message": decline.message, "payment_method": method, "type": kind}


def refund(own_id: str, charge_: Json, form: Json, *, amount: int, created: int, status: str) -> Json:
    """A refund to the card. Source: refunds, spec `refund`."""
    pending = {"pending_reason": "processing"} if status == "pending" else {}
    return {
        "id": own_id,
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge_["id"],
        "created": created,
        "currency": charge_["currency"],
        "customer": None,
        "customer_account": None,
        "destination_details": {"card": {"type": "refund"}, "type": "card"},
        "metadata": form.get("metadata", {}),
        "payment_intent": charge_["payment_intent"],
        "payment_method": charge_["payment_method"],
        "reason": form.get("reason"),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": status,
        "transfer_reversal": None,
        **pending,
    }
