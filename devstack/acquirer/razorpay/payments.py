"""Payments: asked for, looked at, captured.

Source: s2s/json/v2/build-integration (cards, upi/intent, upi/collect), s2s/payment-methods (the members of each
method), s2s/payment-methods/wallet, s2s/payment-methods/upi/intent (`/payments/create/upi`); api/payments.
"""

from datetime import timedelta
from typing import Any

from devstack.acquirer import cards as numbers
from devstack.acquirer import movements, turns
from devstack.acquirer.razorpay import authorizing, failures, objects, parameters, shapes, wishes
from devstack.acquirer.razorpay.call import Call
from devstack.acquirer.razorpay.errors import Json, Refusal, invalid
from devstack.acquirer.razorpay.objects import Stored
from devstack.acquirer.razorpay.parameters import (
    boolean,
    checked,
    digits,
    hashed,
    integer,
    one_of,
    passive,
    text,
    text_or_integer,
    text_up_to,
)
from devstack.acquirer.upi_uri import upi_uri

_CARD = {
    "number": text_up_to(19),
    "name": text_up_to(100),
    "expiry_month": text_or_integer,
    "expiry_year": text_or_integer,
    "cvv": text_or_integer,
}
_BROWSER = {
    "java_enabled": boolean,
    "javascript_enabled": boolean,
    "timezone_offset": integer,
    "screen_width": integer,
    "screen_height": integer,
    "color_depth": integer,
    "language": text_up_to(8),
}
_BROWSER_REQUIRED = tuple(name for name in _BROWSER if name != "language")
_UPI = {"flow": one_of("intent", "collect"), "vpa": text_up_to(255), "expiry_time": digits}
_OF_ALL = {
    "amount": integer,
    "currency": text_up_to(3),
    "order_id": text,
    "email": text_up_to(40),
    "contact": text_up_to(15),
    "method": one_of("card", "upi", "wallet"),
    "ip": text_up_to(45),
    "user_agent": text,
    "referer": text,
    "referrer": text,
    "description": text,
    "notes": parameters.notes,
    "callback_url": text,
    **passive("customer_id", "save"),
}
_BY_METHOD: dict[str, dict[str, Any]] = {
    "card": {
        "card": hashed(_CARD, required=("number", "name", "expiry_month", "expiry_year", "cvv")),
        "authentication": hashed({"authentication_channel": one_of("browser", "app")}),
        "browser": hashed(_BROWSER, required=_BROWSER_REQUIRED),
    },
    "upi": {"upi": hashed(_UPI, required=("flow",))},
    "wallet": {"wallet": text_up_to(40)},
}
_REQUIRED = ("amount", "currency", "order_id", "email", "contact", "method")
_REQUIRED_BY_METHOD = {"card": ("card", "ip"), "upi": ("upi",), "wallet": ("wallet",)}
COLLECT_EXPIRY_MINUTES, COLLECT_EXPIRY_MINUTES_MAX = 5, 5760
CAPTURE = {"amount": integer, "currency": text_up_to(3)}
RETRIEVE = passive("expand[]")
LIST = parameters.PAGED | RETRIEVE
_PAYEE = {"payee_vpa": "sandbox.merchant@razorpay", "payee_name": "Sandbox"}


def members(form: Json) -> Json:
    """What `/payments/create/json` takes depends on the method. Raises `Refusal`."""
    method = one_of("card", "upi", "wallet")(form.get("method"), "method")
    known, required = _OF_ALL | _BY_METHOD[method], (*_REQUIRED, *_REQUIRED_BY_METHOD[method])
    values = checked(form, known, required=required)
    channel = values.get("authentication", {}).get("authentication_channel", "browser")
    if method == "card" and channel == "browser" and "browser" not in values:
        raise invalid("The browser field is required.", field="browser")
    if method == "upi" and values["upi"]["flow"] == "collect" and "@" not in values["upi"].get("vpa", ""):
        raise invalid("The vpa is invalid.", field="upi.vpa", reason="invalid_vpa")
    return values


def upi_members(form: Json) -> Json:
    """What `/payments/create/upi` takes. Raises `Refusal`.

    Source: s2s/payment-methods/upi/collect: `ip` is mandatory. So are `referer`, `user_agent`, `customer_id` there,
    which belong to addresses that are saved; they are not asked for here.
    """
    if form.get("method") != "upi":
        raise invalid("The selected method is invalid.", field="method")
    values = members(form)
    if values["upi"]["flow"] == "collect" and "ip" not in values:
        raise invalid("The ip field is required.", field="ip")
    return values


def create(call: Call, form: Json) -> Json:
    """A payment that waits, and how it goes on. Source: s2s/json/v2/build-integration, "Response Parameters"."""
    payment = _created(call, form)
    address = f"{call.terms.page_base}/razorpay/v1/payments"
    poll = {"action": "poll", "url": f"{address}/{payment.id}"}
    if form["method"] != "upi":
        bare_id = payment.id.removeprefix("pay_")
        following = [{"action": "redirect", "url": f"{address}/{bare_id}/authenticate"}]
    elif form["upi"]["flow"] == "intent":
        following = [{"action": "intent", "url": _link(payment)}, poll]
    else:
        following = [poll]
    return {"razorpay_payment_id": payment.id, "next": following}


def create_upi(call: Call, form: Json) -> Json:
    """The same by UPI's own path. Source: s2s/payment-methods/upi/intent: `link`; of collect only the id."""
    payment = _created(call, form)
    answer = {"razorpay_payment_id": payment.id}
    return answer if form["upi"]["flow"] == "collect" else {**answer, "link": _link(payment)}


def list_(call: Call, query: Json) -> Json:
    """The account's payments by when they were made, the newest first, 10 unless told otherwise.

    Source: api/payments/fetch-all-payments; with `expand[]=card` fetch-all-payments-with-expanded-card-details. That
    the newest are first is the samples' order.
    """
    count, skip = parameters.window(query)
    found = objects.listed(
        *(call.db, call.account, "payment"),
        where={},
        query=query,
        count=count,
        skip=skip,
        newest_first=True,
    )
    return objects.collection([_shown(payment, query) for payment in found])


def retrieve(call: Call, query: Json, own_id: str) -> Json:
    """The payment as it is; with `expand[]=card` the card too (api/payments/fetch-payment-expanded-card)."""
    return _shown(call.get("payment", own_id), query)


def _shown(payment: Stored, query: Json) -> Json:
    if "card" in query.get("expand[]", []) and payment.aside["card"] is not None:
        return payment.body | {"card": payment.aside["card"]}
    return payment.body


def capture(call: Call, form: Json, own_id: str) -> Json:
    """What is authorized is taken, the whole of it. Source: api/payments/capture, "Errors"."""
    payment = call.get("payment", own_id)
    order = call.get("order", payment.body["order_id"])
    if payment.body["captured"] or order.body["status"] == "paid":
        raise _already_paid(order, payment)
    if payment.body["status"] != "authorized":
        raise invalid("Only payments which have been authorized and not yet captured can be captured")
    if form["amount"] != payment.body["amount"] or form["currency"] != payment.body["currency"]:
        raise invalid("Capture amount must be equal to the amount authorized.", field="amount")
    result = call.recorded(
        movements.new_id("capture"), "capture", payment, amount=form["amount"], authorization=payment.id
    )
    call.moved(result, payment, "capture")
    turns.planned(call.db, result["id"], call.terms.entries, at=call.now)
    payment.body["amount"] = result["amount"]
    authorizing.captured(call, payment, order)
    return payment.body


def _created(call: Call, form: Json) -> Stored:
    order = call.get("order", form["order_id"])
    notes = form.get("notes", {})
    wishes.checked(notes)
    _check_order(call, order, form)
    own_id = objects.new_id("pay")
    aside: Json = {
        "reference": call.reference(notes, order.aside["reference"]),
        "payment_reference": call.payment_reference(notes, order.aside["payment_reference"]),
        "notes": {**order.aside["notes"], **notes},
        "entries": list(call.terms.entries),
        "amount_added": call.terms.amount_added,
        "callback_url": form.get("callback_url"),
        "key_id": call.key_id,
        "vpa": None,
        "card": None,
        "failure": None,
        "fails": False,
        "expiry_minutes": _expiry_minutes(form),
    }
    if form["method"] == "card":
        aside |= _card(call, form["card"])
    body = shapes.payment(own_id, form, created=call.seconds, card=aside["card"])
    payment = Stored(own_id, body, aside)
    # Source: api/orders/create, `attempts` and `status`: attempted once a payment is, whatever becomes of it.
    order.body |= {"status": "attempted", "attempts": order.body["attempts"] + 1}
    _answers_itself(call, payment)
    call.put(order)
    call.put(payment)
    authorizing.waits(call, payment)
    return payment


def _expiry_minutes(form: Json) -> int | None:
    """Raises `Refusal`. Source: s2s/payment-methods/upi/collect, `expiry_time`: 5 by default, 5,760 at most."""
    upi = form.get("upi", {})
    minutes: int = upi.get("expiry_time", COLLECT_EXPIRY_MINUTES)
    if not 1 <= minutes <= COLLECT_EXPIRY_MINUTES_MAX:
        raise invalid("The expiry time must be between 1 and 5760.", field="upi.expiry_time")
    return minutes if upi.get("flow") == "collect" else None


def _check_order(call: Call, order: Stored, form: Json) -> None:
    """Raises `Refusal`.

    Source: api/orders/create, `status`; payments/orders: not while another is authorized; s2s/payment-methods/upi/
    collect, `amount` of an order: payments are of that amount only.
    """
    if order.body["status"] == "paid":
        raise _already_paid(order, None)
    others = objects.listed(
        *(call.db, call.account, "payment"),
        where={"order_id": order.id, "status": "authorized"},
        query={},
        count=1,
        skip=0,
        newest_first=False,
    )
    if others:
        raise invalid("A payment of this order is authorized; no other can be made.", field="order_id")
    if (form["amount"], form["currency"]) != (order.body["amount"], order.body["currency"]):
        raise invalid("Your payment amount is different from your order amount.", field="amount")


def _card(call: Call, given: Json) -> Json:
    """What is known of the card, without its number. Raises `Refusal`.

    Source: payments/payments/test-card-details: a test card in live mode is refused.
    """
    number = given["number"].replace(" ", "")
    is_number = number.isdecimal() and 12 <= len(number) <= 19
    call.logged["card"] = numbers.masked(number) if is_number else None
    month, year = given["expiry_month"], given["expiry_year"]
    if not is_number or not numbers.passes_luhn(number):
        raise invalid("The card number is invalid.", field="card.number", reason="card_number_invalid")
    if not (month.isdecimal() and 1 <= int(month) <= 12 and year.isdecimal()):
        raise invalid("The card expiry is invalid.", field="card.expiry_month")
    if (int(year) % 100 + 2000, int(month)) < (call.now.year, call.now.month):
        raise invalid("The card has expired.", field="card.expiry_year", reason="card_expired")
    if not (given["cvv"].isdecimal() and 3 <= len(given["cvv"]) <= 4):
        raise invalid("The card cvv is invalid.", field="card.cvv")
    test_card = failures.card(number)
    if call.account.livemode and number in failures.BY_NUMBER:
        raise invalid("Card issuer is invalid", field="card.number")
    shown = shapes.card(
        objects.new_id("card"),
        {"name": given["name"], "number": number},
        network=test_card.network,
        is_international=test_card.is_international,
    )
    return {"card": shown, "failure": test_card.failure.reason, "fails": failures.is_for_failing(number)}


def _answers_itself(call: Call, payment: Stored) -> None:
    """Customer and bank answer after a while, where nobody has to play them.

    Source: s2s/test-s2s/one-time/upi-qr: in test mode the simulator answers intents and QR codes;
    s2s/json/v2/test-integration: `success@razorpay`, `failure@razorpay`. Any other address waits for the sandbox's
    page. `notes.sandbox_bank`, `notes.sandbox_vpa` and the account's `customers_answer_s` are the sandbox's own.
    """
    vpa, notes = payment.body["vpa"], payment.aside["notes"]
    payment.aside["vpa"] = vpa = vpa or notes.get(wishes.VPA_MEMBER)
    after_s = wishes.answers_after_s(notes)
    after_s = call.account.customers_answer_s if after_s is None else after_s
    is_simulated = payment.body["method"] == "upi" and vpa in (None, failures.SUCCEEDS, failures.FAILS)
    if after_s is None and is_simulated and not call.account.livemode:
        after_s = call.account.upi_decides_s
    if after_s is not None:
        call.due("decides", payment, at=call.now + timedelta(seconds=after_s))


def decides_success(payment: Stored) -> bool:
    """What they answer: a card or an address that stands for a failure fails, and an intent of such an amount."""
    if payment.body["method"] != "upi":
        return not payment.aside["fails"]
    vpa = payment.aside["vpa"]
    if vpa is None:
        return payment.body["amount"] not in failures.UPI_FAILURES_BY_AMOUNT
    return bool(vpa != failures.FAILS)


def _link(payment: Stored) -> str:
    """Source: s2s/payment-methods/upi/intent: a UPI link; a QR code shows it, too (test-s2s/one-time/upi-qr)."""
    return upi_uri(
        **_PAYEE,
        reference=payment.id.removeprefix("pay_"),
        amount_minor=payment.body["amount"],
        currency=payment.body["currency"],
        note=payment.body["description"],
    )


def _already_paid(order: Stored, payment: Stored | None) -> Refusal:
    """Source: api/payments/capture, "Errors"."""
    description = (
        "Your payment has been declined as the order is already paid."
        " Please initiate the payment with a new order."
    )
    refusal = invalid(description)
    refusal.metadata = {"order_id": order.id, **({} if payment is None else {"payment_id": payment.id})}
    return refusal
