"""Payment intents: created, confirmed, captured, cancelled.

Source: payments/paymentintents/lifecycle (the statuses and what leads from one to the next), spec (the four
operations' descriptions), payments/place-a-hold-on-a-payment-method, payments/multicapture.
"""

import secrets

from devstack.acquirer import turns
from devstack.acquirer.stripe import authorizing, methods, objects, parameters, shapes
from devstack.acquirer.stripe.amounts import check_amount
from devstack.acquirer.stripe.call import Call
from devstack.acquirer.stripe.errors import Json, invalid, missing, unexpected_state
from devstack.acquirer.stripe.objects import Stored
from devstack.acquirer.stripe.parameters import (
    boolean,
    hashed,
    listed,
    metadata,
    one_of,
    passive,
    positive,
    text,
    text_up_to,
)

_CAPTURE_METHOD = one_of("automatic", "automatic_async", "manual")
_IF_AVAILABLE = one_of("if_available", "never")
_CARD_OPTIONS = hashed(
    {
        "capture_method": one_of("", "manual"),
        "request_multicapture": _IF_AVAILABLE,
        "request_three_d_secure": one_of("any", "automatic", "challenge"),
        **passive(
            *("cvc_token", "installments", "mandate_options", "network", "require_cvc_recollection"),
            *("request_extended_authorization", "request_incremental_authorization", "request_overcapture"),
            *("setup_future_usage", "statement_descriptor_suffix_kana", "statement_descriptor_suffix_kanji"),
        ),
        "three_d_secure": hashed(
            {
                "ares_trans_status": one_of("A", "C", "I", "N", "R", "U", "Y"),
                "cryptogram": text,
                "electronic_commerce_indicator": one_of("01", "02", "05", "06", "07"),
                "exemption_indicator": one_of("low_risk", "none"),
                "requestor_challenge_indicator": text_up_to(2),
                "transaction_id": text,
                "version": one_of("1.0.2", "2.1.0", "2.2.0", "2.3.0", "2.3.1"),
                **passive("network_options"),
            },
            required=("cryptogram", "transaction_id", "version"),
        ),
    }
)
_SHIPPING = hashed({"address": parameters.anything, **passive("carrier", "name", "phone", "tracking_number")})
_BOTH = {
    "capture_method": _CAPTURE_METHOD,
    "error_on_requires_action": boolean,
    "expand": listed(text),
    "off_session": parameters.either(boolean, one_of("one_off", "recurring")),
    "payment_method": text,
    "payment_method_options": hashed({"card": _CARD_OPTIONS}),
    "payment_method_types": listed(text),
    "receipt_email": text,
    "return_url": text,
    "setup_future_usage": one_of("off_session", "on_session"),
    "shipping": _SHIPPING,
    "use_stripe_sdk": boolean,
    **passive("allowed_payment_method_types", "amount_details", "confirmation_token", "hooks", "mandate"),
    **passive("excluded_payment_method_types", "mandate_data", "payment_details", "payment_method_data"),
    **passive("radar_options"),
}
CREATE = _BOTH | {
    "amount": parameters.integer,
    "automatic_payment_methods": hashed(
        {"enabled": boolean, "allow_redirects": one_of("always", "never")}, required=("enabled",)
    ),
    "confirm": boolean,
    "confirmation_method": one_of("automatic", "manual"),
    "currency": text,
    "description": text_up_to(1000),
    "metadata": metadata,
    "statement_descriptor": text_up_to(22),
    "statement_descriptor_suffix": text_up_to(22),
    "transfer_group": text,
    "customer": text,
    **passive("application_fee_amount", "customer_account", "on_behalf_of"),
    **passive("payment_method_configuration", "transfer_data"),
}
CONFIRM = _BOTH | {"client_secret": text, **passive("amount_to_confirm")}
CAPTURE = {
    "amount_to_capture": positive,
    "final_capture": boolean,
    "metadata": metadata,
    "expand": listed(text),
    "statement_descriptor": text_up_to(22),
    "statement_descriptor_suffix": text_up_to(22),
    **passive("amount_details", "application_fee_amount", "hooks", "payment_details", "transfer_data"),
}
CANCEL = {
    "cancellation_reason": one_of("abandoned", "duplicate", "fraudulent", "requested_by_customer"),
    "expand": listed(text),
}
_ONLY_WITH_CONFIRM = ("error_on_requires_action", "off_session", "return_url")
CAPTURES_MAX = 50
_CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
_CANCELABLE = ("requires_payment_method", "requires_capture", "requires_confirmation", "requires_action")


def create(call: Call, form: Json) -> Json:
    """The intent exists, and no money moved unless it was confirmed with it.

    Source: lifecycle: `requires_payment_method` until it has one, then `requires_confirmation`.
    """
    if not form.get("confirm"):
        for name in _ONLY_WITH_CONFIRM:
            if name in form:
                raise invalid(f"`{name}` can only be used with confirm=true.", param=name)
    check_amount(form["amount"], form["currency"])
    own_id = objects.new_id("pi")
    form["metadata"] = parameters.merged({}, form.get("metadata", {}))
    body = shapes.payment_intent(
        own_id,
        form,
        created=call.seconds,
        livemode=call.account.livemode,
        secret=secrets.token_urlsafe(18).replace("-", "A").replace("_", "B"),
    )
    stored = Stored(body, _aside(call, form, own_id))
    if "customer" in form:
        if objects.find(call.db, call.account, "customer", form["customer"]) is None:
            raise missing("customer", form["customer"], param="customer", status_code=400)
        stored.body["customer"] = form["customer"]
    if "payment_method" in form:
        stored.body["payment_method"] = methods.found(call, form["payment_method"]).id
        stored.body["status"] = "requires_confirmation"
    call.put(stored)
    call.happened("payment_intent.created", stored)
    if form.get("confirm"):
        _check_descriptor(stored.body)
        _check_return_url(call, stored, form)
        return authorizing.confirmed(call, stored, form)
    return stored.body


def _aside(call: Call, form: Json, own_id: str) -> Json:
    names = form["metadata"]
    return {
        "reference": call.reference(names, own_id),
        "payment_reference": call.payment_reference(names, call.reference(names, own_id)),
        "wants_multicapture": _wants_multicapture(form),
    }


def _wants_multicapture(form: Json) -> bool:
    options = (form.get("payment_method_options") or {}).get("card") or {}
    return bool(options.get("request_multicapture") == "if_available")


def update(call: Call, form: Json, own_id: str) -> Json:
    """Metadata and description are changed. Source: api/payment_intents/update."""
    stored = call.get("payment_intent", own_id, param="intent")
    stored.body["metadata"] = parameters.merged(stored.body["metadata"], form.get("metadata", {}))
    stored.body["description"] = form.get("description", stored.body["description"])
    call.put(stored)
    return stored.body


UPDATE = {"metadata": metadata, "description": text_up_to(1000), "expand": listed(text)}


def confirm(call: Call, form: Json, own_id: str) -> Json:
    """The payment was attempted: approved, declined, or the customer is asked.

    Source: spec, confirm; lifecycle.
    """
    stored = call.get("payment_intent", own_id, param="intent")
    if form.get("client_secret", stored.body["client_secret"]) != stored.body["client_secret"]:
        raise invalid("The client_secret provided does not match the PaymentIntent.", param="client_secret")
    _needs(stored, _CONFIRMABLE, "confirm", "confirmed")
    if "payment_method" in form:
        stored.body["payment_method"] = methods.found(call, form["payment_method"]).id
    if stored.body["payment_method"] is None:
        raise unexpected_state(
            "You cannot confirm this PaymentIntent because it's missing a payment method.", stored.body
        )
    _check_descriptor(stored.body)
    _check_return_url(call, stored, form)
    for name in ("capture_method", "shipping", "receipt_email", "setup_future_usage"):
        stored.body[name] = form.get(name, stored.body[name])
    stored.aside["wants_multicapture"] |= _wants_multicapture(form)
    return authorizing.confirmed(call, stored, form)


def capture(call: Call, form: Json, own_id: str) -> Json:
    """So much of what is held was taken; the rest is released unless the capture was said not to be final.

    Source: spec, capture: `amount_to_capture` is at most what can be captured, which is also the default;
    `final_capture=false` needs multicapture. multicapture: 50 captures at most. error-codes: `amount_too_large`.
    """
    stored = call.get("payment_intent", own_id, param="intent")
    _needs(stored, ("requires_capture",), "capture", "captured")
    charge = call.get("charge", stored.body["latest_charge"], param="charge")
    capturable: int = stored.body["amount_capturable"]
    amount: int = form.get("amount_to_capture", capturable)
    if amount > capturable:
        raise invalid(
            "The amount to capture is greater than the amount that can be captured.",
            code="amount_too_large",
            param="amount_to_capture",
        )
    is_final = form.get("final_capture", True) or amount == capturable
    if (
        not is_final
        and charge.body["payment_method_details"]["card"]["multicapture"]["status"] != "available"
    ):
        raise invalid(
            "final_capture=false needs multicapture, which is not available.", param="final_capture"
        )
    _check_descriptor(form)
    if len(stored.aside.get("captures", [])) == CAPTURES_MAX:
        raise invalid(f"A PaymentIntent can be captured at most {CAPTURES_MAX} times.")
    given = form.get("metadata", {})
    stored.body["metadata"] = parameters.merged(stored.body["metadata"], given)
    reference = call.reference(given, stored.aside["reference"])
    result = call.recorded(
        objects.new_id("cap"), "capture", stored, reference=reference, amount=amount, authorization=charge.id
    )
    call.moved(result, stored, "capture")
    turns.planned(call.db, result["id"], call.terms.entries, at=call.now)
    stored.aside["captures"] = [*stored.aside.get("captures", []), result["id"]]
    captured(call, stored, charge, amount=result["amount"], is_final=is_final)
    return stored.body


def captured(call: Call, stored: Stored, charge: Stored, *, amount: int, is_final: bool) -> None:
    """Intent and charge say what was captured, and events do.

    Source: api/events/types: `charge.captured`, `payment_intent.succeeded`; multicapture: the intent stays
    `requires_capture` until the final capture, `amount_capturable` is what is left.
    """
    body = stored.body
    body["amount_received"] += amount
    body["amount_capturable"] = 0 if is_final else max(0, body["amount_capturable"] - amount)
    body["status"] = "succeeded" if is_final else "requires_capture"
    charge.body["amount_captured"] += amount
    charge.body["captured"] = is_final
    charge.body["balance_transaction"] = charge.body["balance_transaction"] or objects.new_id("txn")
    call.put(charge)
    call.put(stored)
    call.happened("charge.captured", charge)
    call.happened(
        "payment_intent.succeeded" if is_final else "payment_intent.amount_capturable_updated", stored
    )


def cancel(call: Call, form: Json, own_id: str) -> Json:
    """Nothing more is charged by the intent; what was held and not captured is released.

    Source: spec, cancel: in which statuses, and that every later operation fails.
    """
    stored = call.get("payment_intent", own_id, param="intent")
    _needs(stored, _CANCELABLE, "cancel", "canceled")
    left = stored.body["amount_capturable"]
    if stored.body["status"] == "requires_capture":
        charge = call.get("charge", stored.body["latest_charge"], param="charge")
        result = call.recorded(objects.new_id("void"), "void", stored, amount=left, authorization=charge.id)
        call.moved(result, stored, "void")
    cancelled(call, stored, reason=form.get("cancellation_reason"))
    return stored.body


def cancelled(call: Call, stored: Stored, *, reason: str | None) -> None:
    """The intent is closed, what was held is with the customer again, and events say so."""
    body = stored.body
    if body["status"] == "requires_capture":
        charge = call.get("charge", body["latest_charge"], param="charge")
        charge.body["amount_refunded"] += body["amount_capturable"]
        charge.body["refunded"] = charge.body["amount_refunded"] == charge.body["amount"]
        call.put(charge)
        expired = reason == "automatic"
        call.happened("charge.expired" if expired else "charge.refunded", charge)
    body |= {
        "status": "canceled",
        "canceled_at": call.seconds,
        "cancellation_reason": reason,
        "amount_capturable": 0,
        "next_action": None,
    }
    call.put(stored)
    call.happened("payment_intent.canceled", stored)


def retrieve(call: Call, form: Json, own_id: str) -> Json:
    """The intent as it is."""
    return call.get("payment_intent", own_id, param="intent").body


def _check_descriptor(members: Json) -> None:
    """Raises `Refusal`. Source: spec, `statement_descriptor`: with a card it is an error, a card has the suffix."""
    if members.get("statement_descriptor") is not None:
        message = "A card payment cannot have a statement_descriptor: use statement_descriptor_suffix."
        raise invalid(message, param="statement_descriptor")


def _check_return_url(call: Call, stored: Stored, form: Json) -> None:
    """Raises `Refusal` where the customer might be sent away and nothing says where they come back to.

    Source: spec, `automatic_payment_methods[allow_redirects]`: then "you may be required to provide a return_url".
    """
    automatic = stored.body["automatic_payment_methods"] or {"enabled": False}
    may_redirect = automatic["enabled"] and automatic.get("allow_redirects", "always") == "always"
    if call.account.redirect_methods and may_redirect and "return_url" not in form:
        message = "You must provide a return_url, or set automatic_payment_methods[allow_redirects] to never."
        raise invalid(message, param="return_url")


def _needs(stored: Stored, statuses: tuple[str, ...], verb: str, done: str) -> None:
    status = stored.body["status"]
    if status in statuses:
        return
    message = (
        f"You cannot {verb} this PaymentIntent because it has a status of {status}."
        f" Only a PaymentIntent with one of the following statuses may be {done}: {', '.join(statuses)}."
    )
    raise unexpected_state(message, stored.body)
