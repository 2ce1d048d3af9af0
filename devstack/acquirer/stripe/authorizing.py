"""What becomes of a confirmed intent: the bank approves or declines, or the customer is asked first.

Source: payments/paymentintents/lifecycle; spec, confirm; declines; 3d-secure/authentication-flow; testing.
"""

import secrets
from typing import Any

from devstack.acquirer import faults, turns
from devstack.acquirer.movements import Result, Stage
from devstack.acquirer.stripe import cards, customers, objects, shapes
from devstack.acquirer.stripe.call import Call
from devstack.acquirer.stripe.cards import Decline
from devstack.acquirer.stripe.errors import Json, Refusal
from devstack.acquirer.stripe.objects import Stored


def confirmed(call: Call, stored: Stored, form: Json) -> Json:
    """The payment was attempted. Raises `Refusal` for a declined card, with what was stored of it.

    Source: spec, `error_on_requires_action` and `off_session`; error-codes, `authentication_required`.
    """
    method = call.get("payment_method", stored.body["payment_method"], param="payment_method")
    customers.checked(call, stored, method)
    card = cards.named(method.aside["name"])
    stored.body |= {"last_payment_error": None, "next_action": None}
    off_session = form.get("off_session", False) is not False
    asks = card.asks_customer == "always" or (card.asks_customer == "on_session" and not off_session)
    if asks and (off_session or form.get("error_on_requires_action")):
        raise _declined(call, stored, method, cards.AUTHENTICATION_REQUIRED)
    if (
        asks
    ):  # other test cards are not challenged, whatever `request_three_d_secure` says (testing, "3D Secure")
        return _asked(call, stored, form)
    return attempted(call, stored, method, authenticated=False)


def _asked(call: Call, stored: Stored, form: Json) -> Json:
    """The customer is to go to their bank's page.

    Source: spec, `next_action`: `redirect_to_url` where a `return_url` was given and the server handles the
    redirect. Without one Stripe's own scripts take over (`use_stripe_sdk`); what is in that is a *guess*.
    """
    token = secrets.token_urlsafe(24)
    url = f"{call.terms.page_base}/stripe/authenticate/{token}"
    return_url = form.get("return_url")
    if return_url is not None and not form.get("use_stripe_sdk"):
        action: Json = {"redirect_to_url": {"return_url": return_url, "url": url}, "type": "redirect_to_url"}
    else:
        action = {"type": "use_stripe_sdk", "use_stripe_sdk": {"stripe_js": url}}
    stored.body |= {"status": "requires_action", "next_action": action}
    stored.aside |= {"page": token, "return_url": return_url, "entries": list(call.terms.entries)}
    call.put(stored)
    call.happened("payment_intent.requires_action", stored)
    return stored.body


def attempted(call: Call, stored: Stored, method: Stored, *, authenticated: bool) -> Json:
    """The bank decided. Raises `Refusal` for a declined card."""
    card = cards.named(method.aside["name"])
    decline = card.decline
    if call.account.livemode and method.aside["name"] != cards.ANY:
        decline = cards.TEST_CARD_IN_LIVE_MODE
    if decline is not None:
        raise _declined(call, stored, method, decline, authenticated=authenticated)
    return _approved(call, stored, method, authenticated=authenticated)


def _approved(call: Call, stored: Stored, method: Stored, *, authenticated: bool) -> Json:
    """Money is held, and taken too where the capture is automatic.

    Source: lifecycle; spec, `capture_before`: only with manual capture; events: `charge.succeeded`, then
    `payment_intent.succeeded` or `payment_intent.amount_capturable_updated`.
    """
    body = stored.body
    only_held = body["capture_method"] == "manual" or faults.authorizes_only(call.terms.entries)
    charge_id = objects.new_id("ch")
    stage = Stage.AUTHORIZED if only_held else Stage.CAPTURED
    result = call.recorded(charge_id, "authorize", stored, amount=body["amount"], stage=stage)
    call.moved(result, stored, "authorize", *([] if only_held else ["capture"]))
    turns.planned(call.db, charge_id, call.terms.entries, at=call.now)
    charge = _charge(call, stored, method, result, is_held=only_held, authenticated=authenticated)
    body |= {"latest_charge": charge_id, "next_action": None}
    stored.aside["refunds"] = cards.named(method.aside["name"]).refund
    if only_held:
        body |= {"status": "requires_capture", "amount_capturable": result["amount"]}
        call.due("authorization_lapses", stored.id, after_s=call.terms.authorization_validity_s)
    else:
        body |= {"status": "succeeded", "amount_received": result["amount"]}
        charge.body |= {"captured": True, "amount_captured": result["amount"]}
        charge.body["balance_transaction"] = objects.new_id("txn")
    customers.kept(call, stored, method)
    call.put(charge)
    call.put(stored)
    call.happened("charge.succeeded", charge)
    held = "payment_intent.amount_capturable_updated"
    call.happened(held if only_held else "payment_intent.succeeded", stored)
    return body


def _charge(
    call: Call, stored: Stored, method: Stored, result: Result, *, is_held: bool, authenticated: bool
) -> Stored:
    numbers: dict[str, Any] = {
        "authorization_code": f"{secrets.randbelow(1_000_000):06d}",
        "network_transaction_id": f"{secrets.randbelow(10**15):015d}",
        "three_d_secure_id": secrets.token_hex(16),
    }
    if is_held:
        numbers["capture_before"] = call.seconds + call.terms.authorization_validity_s
    details = shapes.card_details(
        method.body,
        amount=result["amount"],
        multicapture=is_held and call.account.multicapture and stored.aside["wants_multicapture"],
        secure=shapes.secure(cards.named(method.aside["name"]), asked=authenticated),
        numbers=numbers,
    )
    body = shapes.charge(
        result["id"], stored.body, method.body, details, amount=result["amount"], created=call.seconds
    )
    body["outcome"] = shapes.outcome(cards.named(method.aside["name"]), None)
    return Stored(body, _aside(stored))


def _declined(
    call: Call, stored: Stored, method: Stored, decline: Decline, *, authenticated: bool = False
) -> Refusal:
    """The failed charge and the intent that is open again are stored; the error to answer.

    Source: lifecycle: back to `requires_payment_method`; api/errors: 402, `card_error`, with the intent in it;
    `payment_method` of the intent is null again, the error has it.
    """
    charge_id = objects.new_id("ch")
    code = decline.decline_code or decline.code
    call.recorded(charge_id, "authorize", stored, amount=stored.body["amount"], decline_code=code)
    secure = shapes.secure(cards.named(method.aside["name"]), asked=authenticated)
    details = shapes.card_details(
        method.body, amount=stored.body["amount"], multicapture=False, secure=secure, numbers={}
    )
    body = shapes.charge(
        charge_id, stored.body, method.body, details, amount=stored.body["amount"], created=call.seconds
    )
    body |= {
        "paid": False,
        "status": "failed",
        "failure_code": decline.code,
        "failure_message": decline.message,
        "outcome": shapes.outcome(cards.named(method.aside["name"]), decline),
    }
    charge = Stored(body, _aside(stored))
    call.put(charge)
    call.happened("charge.failed", charge)
    failed(call, stored, method, decline, charge_id=charge_id)
    error = dict(stored.body["last_payment_error"]) | {"payment_intent": dict(stored.body)}
    named = {name: error.pop(name) for name in ("code", "message", "type")}
    return Refusal(402, named["message"], code=named["code"], type="card_error", more=error)


def failed(call: Call, stored: Stored, method: Stored, decline: Decline, *, charge_id: str | None) -> None:
    """The intent waits for another payment method, and says why."""
    error = shapes.payment_error(decline, charge_id=charge_id, method=method.body)
    stored.body |= {
        "status": "requires_payment_method",
        "latest_charge": charge_id or stored.body["latest_charge"],
        "payment_method": None,
        "next_action": None,
        "last_payment_error": error,
    }
    call.put(stored)
    call.happened("payment_intent.payment_failed", stored)


def _aside(stored: Stored) -> Json:
    return {name: stored.aside[name] for name in ("reference", "payment_reference")}
