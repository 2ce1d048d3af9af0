"""Payment methods: cards, by number, by token, or as the documented test ids.

Source: api/payment_methods/create and spec, `card` (a number with its date, or a token); testing (test ids);
error-codes: `incorrect_number`, `invalid_expiry_month`, `invalid_expiry_year`, `invalid_cvc`.
"""

import hashlib

from devstack.acquirer import cards as numbers
from devstack.acquirer.stripe import cards, objects, parameters, shapes
from devstack.acquirer.stripe.call import Call
from devstack.acquirer.stripe.errors import Json, Refusal, invalid, missing
from devstack.acquirer.stripe.objects import Stored
from devstack.acquirer.stripe.parameters import hashed, integer, metadata, one_of, passive, text

_ADDRESS = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"), parameters.anything)
BILLING = hashed(
    {
        "address": parameters.either(hashed(_ADDRESS), parameters.anything),
        **passive("email", "name", "phone", "tax_id"),
    }
)
_BY_NUMBER = hashed(
    {
        "number": text,
        "exp_month": integer,
        "exp_year": integer,
        "cvc": text,
        "networks": hashed({"preferred": text}),
    },
    required=("number", "exp_month", "exp_year"),
)
_BY_TOKEN = hashed({"token": text})


def _card(value: object, param: str) -> Json:
    by_token = isinstance(value, dict) and "token" in value
    found: Json = (_BY_TOKEN if by_token else _BY_NUMBER)(value, param)
    return found


KNOWN = {
    "type": one_of("card"),
    "card": _card,
    "billing_details": BILLING,
    "metadata": metadata,
    "expand": parameters.listed(text),
    "allow_redisplay": one_of("always", "limited", "unspecified"),
    **passive("customer", "radar_options"),
}


def create(call: Call, form: Json) -> Json:
    """The card is kept as a payment method, its number is not. No money moves, and no bank is asked."""
    for name in ("type", "card"):
        if name not in form:
            raise invalid(f"Missing required param: {name}.", code="parameter_missing", param=name)
    card = form["card"]
    stored = _of_token(call, card["token"]) if "token" in card else _of_number(call, card, form)
    stored.body["billing_details"] = shapes.billing_details(form.get("billing_details", {}))
    stored.body["metadata"] = parameters.merged({}, form.get("metadata", {}))
    call.put(stored)
    return stored.body


def found(call: Call, own_id: str) -> Stored:
    """The payment method; a test id becomes one of its own, as a test id stands for a new one at each use."""
    name = own_id.removeprefix("pm_card_")
    if own_id.startswith("pm_card_") and name in cards.BY_NAME and not call.account.livemode:
        stored = _of_test_card(call, cards.BY_NAME[name])
        call.put(stored)
        return stored
    stored_before = objects.find(call.db, call.account, "payment_method", own_id)
    if stored_before is None:
        raise missing("PaymentMethod", own_id, param="payment_method", status_code=400)
    return stored_before


def _of_number(call: Call, card: Json, form: Json) -> Stored:
    number = card["number"].replace(" ", "")
    call.logged["card"] = numbers.masked(number) if number.isdecimal() and 12 <= len(number) <= 19 else None
    _check(call, number, card)
    test_card = cards.BY_NUMBER.get(number)
    address = (form.get("billing_details") or {}).get("address")
    return _stored(
        call,
        name=cards.ANY if test_card is None else test_card.name,
        number=number,
        brand=test_card.brand if test_card else cards.brand(number),
        funding=test_card.funding if test_card else "credit",
        expires=(card["exp_month"], card["exp_year"]),
        has_cvc="cvc" in card,
        address=address if isinstance(address, dict) else {},
    )


def _check(call: Call, number: str, card: Json) -> None:
    """Raises `Refusal` for data that no card has."""
    if not (number.isdecimal() and 12 <= len(number) <= 19 and numbers.passes_luhn(number)):
        raise _card_error("incorrect_number", "Your card number is incorrect.", "number")
    if not 1 <= card["exp_month"] <= 12:
        raise _card_error("invalid_expiry_month", "Your card's expiration month is invalid.", "exp_month")
    year = card["exp_year"] + (2000 if card["exp_year"] < 100 else 0)
    if not call.now.year <= year <= call.now.year + 50:
        raise _card_error("invalid_expiry_year", "Your card's expiration year is invalid.", "exp_year")
    card["exp_year"] = year
    if (year, card["exp_month"]) < (call.now.year, call.now.month):
        raise _card_error("invalid_expiry_month", "Your card's expiration month is invalid.", "exp_month")
    if "cvc" in card and not (card["cvc"].isdecimal() and 3 <= len(card["cvc"]) <= 4):
        raise _card_error("invalid_cvc", "Your card's security code is invalid.", "cvc")


def _of_token(call: Call, token: str) -> Stored:
    """Source: testing, "Tokens": `tok_` and the name that the PaymentMethod has."""
    test_card = cards.BY_NAME.get(token.removeprefix("tok_"))
    if not token.startswith("tok_") or test_card is None or call.account.livemode:
        raise missing("token", token, param="card[token]", status_code=400)
    return _of_test_card(call, test_card)


def _of_test_card(call: Call, card: cards.TestCard) -> Stored:
    return _stored(
        call,
        name=card.name,
        number=card.number,
        brand=card.brand,
        funding=card.funding,
        expires=(8, call.now.year + 1),
        has_cvc=True,
        address={},
    )


def _stored(
    call: Call,
    *,
    name: str,
    number: str,
    brand: str,
    funding: str,
    expires: tuple[int, int],
    has_cvc: bool,
    address: Json,
) -> Stored:
    """`checks` are those of the data that was given. Source: testing, "Fraud prevention": else they cannot fail."""
    given = {
        "address_line1_check": bool(address.get("line1")),
        "address_postal_code_check": bool(address.get("postal_code")),
        "cvc_check": has_cvc,
    }
    wrong = cards.named(name).checks
    own_id = objects.new_id("pm")
    card = {
        "brand": brand,
        "checks": {check: wrong.get(check, "pass") if there else None for check, there in given.items()},
        "country": "US",
        "exp_month": expires[0],
        "exp_year": expires[1],
        "fingerprint": hashlib.sha256(f"{call.account.id}:{number}".encode()).hexdigest()[:16],
        "funding": funding,
        "last4": number[-4:],
        "wallet": None,
    }
    body = shapes.payment_method(
        own_id, created=call.seconds, livemode=call.account.livemode, card=card, billing={}
    )
    return Stored(body, {"name": name, "reference": own_id, "payment_reference": own_id})


def _card_error(code: str, message: str, param: str) -> Refusal:
    return Refusal(402, message, code=code, param=param, type="card_error")
