"""Captures, refunds, cancels and reversals: received at once, judged later, told by webhook.

Source: spec: each answers 201 with `received`, and which webhook brings the outcome; online-payments/capture,
…/refund, …/cancel, …/reversal.
"""

import json

from devstack.acquirer import turns
from devstack.acquirer.adyen import objects, shapes, wishes
from devstack.acquirer.adyen.call import Call
from devstack.acquirer.adyen.errors import Json, invalid
from devstack.acquirer.adyen.orders import Capture, Modification, Refund, TechnicalCancel

# Source: github.com/Adyen/adyen-commercetools, its decision 6: a capture is refused for an insufficient balance.
_TOO_MUCH = "Insufficient balance on payment"
# Source: spec, Webhooks, the example of REFUND.
_NOT_CAPTURED = "Transaction hasn't been captured, refund not possible"
_EVENTS = {
    "capture": "CAPTURE",
    "refund": "REFUND",
    "cancel": "CANCELLATION",
    "reversal": "CANCEL_OR_REFUND",
    "technical_cancel": "TECHNICAL_CANCEL",
}


def received(call: Call, operation: str, order: Modification, payment: Json | None) -> Json:
    """It is received; what becomes of it is known after the account's `processing_s`. Raises `Refusal`."""
    money = order if isinstance(order, Capture | Refund) else None
    if payment is not None and money is not None and money.amount.currency != payment["currency"]:
        raise invalid("138", "Currency not supported")  # spec: it must be that of the authorization
    if money is not None and money.amount.value == 0:
        raise invalid("137", "Invalid amount specified")
    named = order.paymentReference if isinstance(order, TechnicalCancel) else None
    known = payment or {"reference": named, "ledger_reference": named, "amount": 0, "currency": "EUR"}
    modification = {
        "psp": objects.new_psp_reference(),
        "account": call.account.id,
        "operation": operation,
        "given_reference": order.reference,
        "reference": order.reference or known["reference"],
        "ledger_reference": order.reference or known["ledger_reference"],
        "payment": None if payment is None else payment["psp"],
        "payment_named": named,
        "amount": known["amount"] if money is None else money.amount.value,
        "currency": known["currency"],
        "entries": list(call.terms.entries),
        "is_reversed": False,
    }
    objects.put(call.db, "modification", modification)
    if call.account.processing_s:
        call.due("modification", modification["psp"], after_s=call.account.processing_s)
    else:
        processed(call, modification)
    return shapes.modification_answer(modification)


def processed(call: Call, modification: Json, *, by_acquirer: bool = False) -> None:
    """Its outcome is known and will be told."""
    payment = _payment(call, modification)
    operation = modification["operation"]
    reason = _obstacle(call, operation, modification, payment)
    if reason is not None:
        call.tell(_EVENTS[operation], payment, success=False, reason=reason, modification=modification)
        return
    more = {}
    match operation:
        case "capture":
            _captured(call, modification, payment, by_acquirer=by_acquirer)
        case "refund":
            _refunded(call, modification, payment, by_acquirer=by_acquirer)
        case "reversal" if payment["captured"]:
            modification["amount"] = payment["captured"] - payment["refunded"]
            _refunded(call, modification, payment, by_acquirer=by_acquirer)
            more = {"modification.action": "refund"}
        case _:
            _cancelled(call, modification, payment, by_acquirer=by_acquirer)
            more = {"modification.action": "cancel"} if operation == "reversal" else {}
    call.tell(_EVENTS[operation], payment, success=True, modification=modification, more=more)


def _payment(call: Call, modification: Json) -> Json:
    """The payment that is meant. Of a technical cancel it is looked for when that is judged."""
    if modification["operation"] == "technical_cancel":
        found = objects.of_reference(call.db, call.account.id, modification["payment_named"])
        return found or _nothing(modification)
    found = objects.find(call.db, "payment", modification["payment"])
    assert found is not None  # it was there when the modification was received
    return found


def _nothing(modification: Json) -> Json:
    """A payment that is not there. What a webhook says of it is a *guess*: no reference, no money."""
    return {
        "psp": "",
        "reference": modification["payment_named"],
        "payment_reference": modification["payment_named"],
        "currency": modification["currency"],
        "amount": 0,
        "variant": "",
        "state": "nothing",
        "captured": 0,
    }


def _obstacle(call: Call, operation: str, modification: Json, payment: Json) -> str | None:
    """Why it will not be done. The texts are a *guess* where no source is named."""
    if wishes.is_rejected(modification["entries"]):
        return _TOO_MUCH
    amount = modification["amount"]
    if payment["state"] == "waiting" and operation == "technical_cancel":
        return None if call.terms.config.challenge_ends == "cancelled" else "Transaction not authorised"
    if payment["state"] != "authorised":
        return "Transaction not found" if payment["state"] == "nothing" else "Transaction not authorised"
    if operation == "capture":
        return _TOO_MUCH if payment["is_closed"] or amount > payment["amount"] - payment["captured"] else None
    if operation == "refund":
        if not payment["captured"]:
            return _NOT_CAPTURED
        return _TOO_MUCH if amount > payment["captured"] - payment["refunded"] else None
    if operation == "reversal" and payment["captured"]:
        # Source: online-payments/reversal: not for several partial captures.
        is_possible = payment["captures"] == 1 and payment["captured"] > payment["refunded"]
        return None if is_possible else "Transaction cannot be reversed"
    # Source: online-payments/cancel: after a payment has been captured it can no longer be cancelled.
    return (
        "Transaction already captured or cancelled" if payment["captured"] or payment["is_closed"] else None
    )


def _captured(call: Call, modification: Json, payment: Json, *, by_acquirer: bool) -> None:
    """Source: online-payments/capture: what is not captured is released, unless several partial captures are on."""
    result = call.recorded("capture", modification, payment, amount=modification["amount"])
    call.moved(result, payment, "capture", by_acquirer=by_acquirer)
    turns.planned(call.db, modification["psp"], _script(modification), at=call.now)
    modification["amount"] = result["amount"]
    payment["captured"] += result["amount"]
    payment["captures"] += 1
    is_whole = payment["captured"] >= payment["amount"]
    payment["is_closed"] = is_whole or not call.account.multiple_partial_captures
    _stored(call, modification, payment)


def _refunded(call: Call, modification: Json, payment: Json, *, by_acquirer: bool) -> None:
    result = call.recorded("refund", modification, payment, amount=modification["amount"])
    call.moved(result, payment, "refund", by_acquirer=by_acquirer)
    turns.planned(call.db, modification["psp"], _script(modification), at=call.now)
    modification["amount"] = result["amount"]
    payment["refunded"] += result["amount"]
    _stored(call, modification, payment)


def _cancelled(call: Call, modification: Json, payment: Json, *, by_acquirer: bool) -> None:
    """What was held is with the shopper again; a shopper who was asked is not asked any more."""
    if payment["state"] == "authorised":
        result = call.recorded("void", modification, payment, amount=payment["amount"] - payment["captured"])
        call.moved(result, payment, "void", by_acquirer=by_acquirer)
    else:
        payment |= {"state": "cancelled", "page": None}
    payment["is_closed"] = True
    _stored(call, modification, payment)


def _script(modification: Json) -> list[str]:
    entries, is_reversed = wishes.scripted(modification["entries"])
    modification["is_reversed"] = is_reversed
    return entries


def _stored(call: Call, modification: Json, payment: Json) -> None:
    objects.put(call.db, "modification", modification)
    objects.put(call.db, "payment", json.loads(json.dumps(payment)))
