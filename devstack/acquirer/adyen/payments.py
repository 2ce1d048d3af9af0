"""`POST /payments`: authorized, refused, or the shopper is asked.

Source: spec, `PaymentResponse`, `resultCode`; online-payments/build-your-integration/payment-result-codes;
online-payments/capture; online-payments/3d-secure/redirect-3ds2; payment-methods/upi/api-only.
"""

import secrets

from devstack.acquirer import cards as numbers
from devstack.acquirer import faults, turns
from devstack.acquirer.adyen import cards, objects, shapes, wishes
from devstack.acquirer.adyen.accounts import Account
from devstack.acquirer.adyen.call import Call
from devstack.acquirer.adyen.cards import Card, Refused
from devstack.acquirer.adyen.errors import Json, invalid
from devstack.acquirer.adyen.orders import ApplePay, GooglePay, Payment, Scheme, UpiCollect
from devstack.acquirer.movements import Stage

CHALLENGE_S = 900
DECIDES_AFTER_S = 1
LATE_SUCCESS_AFTER_S = 5


def references(account: Account, order: Payment) -> tuple[str, str]:
    """The merchant's names for the attempt and for the payment, as the ledger has them."""
    attempt = order.metadata.get(account.reference_member) or order.reference
    payment = order.metadata.get(account.payment_reference_member) or order.merchantOrderReference
    return attempt, payment or attempt


def create(call: Call, order: Payment) -> Json:
    """The payment exists; what is answered. Raises `Refusal`."""
    payment = _new(call, order)
    method = order.paymentMethod
    if isinstance(method, Scheme):
        return _by_card(call, payment, _card(order, method, payment))
    if isinstance(method, ApplePay | GooglePay):
        payment |= {"kind": "wallet", "variant": method.type.replace("paywithgoogle", "googlepay")}
        token = method.applePayToken if isinstance(method, ApplePay) else method.googlePayToken
        refused = cards.BY_CODE["2"] if "tok_declined" in token else None
        return _by_card(call, payment, Card(refused, is_challenged=False))
    return _by_upi(call, order, payment)


def _new(call: Call, order: Payment) -> Json:
    attempt, named = references(call.account, order)
    if order.amount.value == 0:
        raise invalid("137", "Invalid amount specified")  # zero-value verifications are not played
    return {
        "psp": objects.new_psp_reference(),
        "account": call.account.id,
        "reference": order.reference,
        "ledger_reference": attempt,
        "payment_reference": named,
        "currency": order.amount.currency,
        "amount": order.amount.value,
        "type": order.paymentMethod.type,
        "kind": "card",
        "variant": order.paymentMethod.type,
        "state": "new",
        "capture_hours": _capture_hours(call.account, order),
        "captured": 0,
        "captures": 0,
        "refunded": 0,
        "is_closed": False,
        "is_processed": False,
        "is_authenticated": False,
        "capture_psp": objects.new_psp_reference(),
        "wishes": wishes.entries_of(order.metadata),
        "entries": list(call.terms.entries),
        "return_url": order.returnUrl,
        "returns_by": order.redirectFromIssuerMethod or "GET",
        "refused": None,
        "exemption": order.additionalData.get("scaExemption"),
        "card": None,
    }


def _capture_hours(account: Account, order: Payment) -> int | None:
    """None: by a request. Source: online-payments/capture: immediately by default; a delay of so many hours;
    by a request for one payment with `additionalData.manualCapture`, `"true"`, which comes first: a *guess*.
    """
    if order.additionalData.get("manualCapture", "").lower() == "true":
        return None
    return account.capture_delay_hours if order.captureDelayHours is None else order.captureDelayHours


def is_manual(account: Account, order: Payment) -> bool:
    """Whether only a request captures it."""
    return _capture_hours(account, order) is None


def _card(order: Payment, method: Scheme, payment: Json) -> Card:
    number, (month, year) = method.plain_number(), method.plain_expiry()
    if not numbers.passes_luhn(number):
        raise invalid("101", "Invalid card number")
    payment |= {
        "variant": cards.brand(number),
        "masked": numbers.masked(number),
        "card": {"bin": number[:6], "last": number[-4:], "expiry": f"{month}/{year}"},
    }
    return cards.of(
        number,
        holder_name=method.holderName,
        requested_code=order.additionalData.get("RequestedTestAcquirerResponseCode"),
        attempt=order.attempt(),
    )


def _by_card(call: Call, payment: Json, card: Card) -> Json:
    refused = None if card.refused is None else _as_json(card.refused)
    payment |= {"refused": refused, "is_authenticated": card.is_authenticated}
    if card.is_challenged:
        return _challenged(call, payment)
    later = wishes.pending(call.terms.entries)
    if later is not None:
        result, after_s = later
        payment["state"] = "waiting"
        call.due("decides", payment["psp"], after_s=after_s)
        objects.put(call.db, "payment", payment)
        return shapes.payment_answer(payment) | {"resultCode": result}
    decided(call, payment)
    return shapes.payment_answer(payment)


def _as_json(refused: Refused) -> Json:
    return {"code": refused.code, "reason": refused.reason, "result": refused.result}


def _challenged(call: Call, payment: Json) -> Json:
    """The shopper is to go to their bank's page; nothing is authorized.

    Source: redirect-3ds2: `RedirectShopper`, and `action` with `url`, `method`, and `data` where that is POST. spec,
    `pspReference`: with an action it is in the answer of `/payments/details`. `data` is a *guess*.
    """
    token = secrets.token_urlsafe(24)
    url = f"{call.terms.page_base}/adyen/pages/{token}"
    payment |= {"state": "waiting", "page": token, "redirect_result": None}
    objects.put(call.db, "payment", payment)
    call.due("page_closes", payment["psp"], after_s=CHALLENGE_S)
    action: Json = {"type": "redirect", "url": url, "method": "GET", "paymentMethodType": payment["type"]}
    if call.account.redirect_by_post:
        action |= {"method": "POST", "data": {"MD": token}}
    return {
        "resultCode": "RedirectShopper",
        "action": action,
        "merchantReference": payment["reference"],
    }


def _by_upi(call: Call, order: Payment, payment: Json) -> Json:
    """The shopper is asked in their app. Source: payment-methods/upi: INR only.

    Source: github.com/Adyen/adyen-ios, `AwaitPaymentMethod`: `upi_collect` and `upi_intent` are awaited; spec,
    `CheckoutAwaitAction.url`, `CheckoutQrCodeAction.qrCodeData`. That the result is `Pending` at first:
    docs.zuora.com, "One-time payment flow for Adyen UPI QR".
    """
    if order.amount.currency != "INR":
        raise invalid("138", "Currency not supported")
    method = order.paymentMethod
    payer = (
        method.virtualPaymentAddress
        if isinstance(method, UpiCollect)
        else order.metadata.get("sandbox_vpa", "pending@upi")
    )
    token = secrets.token_urlsafe(24)
    window_s = call.account.upi_window_s
    payment |= {"kind": "upi", "state": "waiting", "page": token, "payer": payer, "capture_hours": 0}
    objects.put(call.db, "payment", payment)
    if payer in ("success@upi", "failure@upi"):
        payment["refused"] = None if payer == "success@upi" else _as_json(cards.BY_CODE["2"])
        objects.put(call.db, "payment", payment)
        call.due("decides", payment["psp"], after_s=DECIDES_AFTER_S)
    else:
        call.due("upi_expires", payment["psp"], after_s=window_s)
    return {
        "resultCode": "Pending",
        "action": shapes.upi_action(payment, token, at=call.now, window_s=window_s),
        "merchantReference": payment["reference"],
    }


def decided(call: Call, payment: Json) -> None:
    """The bank, or the app, has decided; a webhook tells.

    Source: spec, Webhooks, AUTHORISATION: `reason` of an approval is authorization code, last four and expiry;
    online-payments/capture: an automatic payment is captured with it, and no CAPTURE follows.
    """
    refused = payment["refused"]
    if refused is not None:
        call.recorded("authorize", payment, payment, amount=payment["amount"], decline_code=refused["code"])
        payment["state"] = "refused"
        objects.put(call.db, "payment", payment)
        call.tell("AUTHORISATION", payment, success=False, reason=refused["reason"])
        return
    only_held = payment["capture_hours"] != 0 or faults.authorizes_only(call.terms.entries)
    stage = Stage.AUTHORIZED if only_held else Stage.CAPTURED
    result = call.recorded("authorize", payment, payment, amount=payment["amount"], stage=stage)
    call.moved(result, payment, "authorize", *([] if only_held else ["capture"]))
    entries, _ = wishes.scripted(call.terms.entries)
    turns.planned(call.db, payment["psp"], entries, at=call.now)
    payment |= {
        "state": "authorised",
        "amount": result["amount"],
        "captured": 0 if only_held else result["amount"],
        "captures": 0 if only_held else 1,
        "is_closed": not only_held,
        "auth_code": f"{secrets.randbelow(1_000_000):06d}",
        "network_reference": f"{secrets.randbelow(10**15):015d}",
    }
    objects.put(call.db, "payment", payment)
    if only_held and payment["capture_hours"] == 0 and payment["kind"] == "upi":
        turns.planned_own_capture(call.db, payment["psp"], at=call.now)
    elif payment["capture_hours"]:
        call.due("captures_itself", payment["psp"], after_s=payment["capture_hours"] * 3600)
    if only_held:
        call.due("expires", payment["psp"], after_s=call.terms.authorization_validity_s)
    call.tell(
        "AUTHORISATION",
        payment,
        success=True,
        reason=shapes.approval_reason(payment),
        more=shapes.webhook_data(payment),
    )


def refuse(payment: Json, refused: Refused) -> None:
    """It will be refused so once it is decided."""
    payment["refused"] = _as_json(refused)
