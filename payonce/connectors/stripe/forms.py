"""What we ask of Stripe, as it documents it.

The body of an intent holds only what is in Postgres for good: the same create with the same key finds it again.
Source: docs.stripe.com/api/payment_methods/create, /payment_intents and /refunds.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

from payonce.connectors.base import Call
from payonce.connectors.requests import FormValue
from payonce.connectors.stripe import marks
from payonce.connectors.stripe.amounts import to_stripe
from payonce.connectors.stripe.objects import PAYMENT, REFERENCE, REVERSAL
from payonce.domain.cards import Card
from payonce.domain.errors import Rejected
from payonce.domain.personal import Customer, Party

INTENTS: Final = "/v1/payment_intents"
METHODS: Final = "/v1/payment_methods"
CUSTOMERS: Final = "/v1/customers"
REFUNDS: Final = "/v1/refunds"
EVENTS: Final = "/v1/events"

DESCRIPTION_LENGTH_MAX: Final = 1000
KEYS_MAX: Final = 40  # of an object's metadata; Stripe takes 50, and ours come first
KEY_LENGTH_MAX: Final = 40
VALUE_LENGTH_MAX: Final = 500

# Why an intent is cancelled, by which it is known afterwards who did it; Stripe has four words for it.
VOIDED: Final = "requested_by_customer"
GIVEN_UP: Final = VOIDED  # while its customer was to act
REVERSED: Final = "duplicate"
NOT_AUTHENTICATED: Final = "abandoned"
BY_US: Final = frozenset({VOIDED, REVERSED, NOT_AUTHENTICATED})
"""In the dashboard one may choose these, too; another reason, or none, is never ours."""

_MEMBERS: Final = {
    "amount": "/amount",
    "currency": "/currency",
    "description": "/description",
    "return_url": "/return_url",
    "statement_descriptor_suffix": "/statement_descriptor",
    "metadata": "/metadata",
    "shipping": "/shipping",
    "shipping[address]": "/shipping/address",
    "billing_details[name]": "/billing/name",
    "billing_details[email]": "/customer/email",
    "billing_details[phone]": "/customer/phone",
    "billing_details[address]": "/billing/address",
    "billing_details[address][country]": "/billing/address/country",
    "card[number]": "/payment_method/card/number",
    "card[exp_month]": "/payment_method/card/exp_month",
    "card[exp_year]": "/payment_method/card/exp_year",
    "card[cvc]": "/payment_method/card/cvc",
}
"""Where each parameter of Stripe's comes from, in our API."""

Form = dict[str, FormValue]

_VERSIONS: Final = frozenset({"2.1.0", "2.2.0", "2.3.0", "2.3.1"})  # of those that our API takes
_INDICATORS: Final = frozenset({"01", "02", "05", "06", "07"})

_EXPAND: Final = ["latest_charge"]


def method(call: Call, card: Card) -> Form:
    """A card, and whom the bill is for."""
    return {
        "type": "card",
        "billing_details": _billing(call),
        "card": {
            "number": card.number,
            "exp_month": card.exp_month,
            "exp_year": card.exp_year,
            "cvc": card.cvc,
        },
    }


def customer(call: Call) -> Form:
    """Whom a card is kept with: nobody's name, since what is kept is the card alone."""
    return {"metadata": _metadata(call, {})}


def intent(call: Call, *, several_captures: bool, copy_metadata: bool, customer: str | None) -> Form:
    """A payment that nobody has confirmed: nothing is charged, and its secret never leaves us.

    `customer`: with whom its card is, or is to be, kept.
    """
    options: Form = {"request_multicapture": "if_available"}
    asked = several_captures and not call.automatic_capture
    return {
        "amount": to_stripe(call.amount_minor, call.currency),
        "currency": call.currency.lower(),
        "capture_method": "automatic" if call.automatic_capture else "manual",
        "payment_method_types": ["card"],
        "payment_method_options": {"card": options} if asked else None,
        # In India it is required of every payment.
        "description": (call.description or call.payment_id)[:DESCRIPTION_LENGTH_MAX],
        "statement_descriptor_suffix": call.statement_descriptor,
        "metadata": _metadata(call, call.metadata if copy_metadata else {}),
        "customer": customer,
    }


def confirmation(call: Call, method_id: str) -> Form:
    """The money call. The parcel goes with it, since it is forgotten, and an intent's body is not to change.

    Stripe has a word for a challenge that is wanted, and none for one that is to be avoided: it decides that itself.
    """
    options = _authentication(call)
    return {
        "payment_method": method_id,
        "payment_method_options": {"card": options} if options else None,
        "setup_future_usage": call.keeps,
        # Nobody is there: what would ask for them is a decline then. What the scheme said of the first payment has no
        # parameter in what Stripe publishes, and is not sent.
        "off_session": True if call.unattended else None,
        # Who was authenticated elsewhere is not asked again: the issuer's wish for that is a decline.
        "error_on_requires_action": True if call.authentication is not None else None,
        "return_url": call.return_url,
        "shipping": _shipping(call),
        "expand": _EXPAND,
    }


def capture(call: Call, *, several_captures: bool, room: Mapping[str, str]) -> Form:
    """Of an authorization; its mark stays on the intent, by which this very capture is found.

    `room`: what makes room for it.
    """
    amount = to_stripe(call.amount_minor, call.currency)
    return {
        "amount_to_capture": amount,
        "final_capture": call.final if several_captures else None,
        "metadata": {**room, marks.name(call.reference): str(amount)},
        "expand": _EXPAND,
    }


def cancellation(reason: str) -> Form:
    """Nothing can be charged, or captured, any more."""
    return {"cancellation_reason": reason, "expand": _EXPAND}


def refund(call: Call, *, copy_metadata: bool) -> Form:
    """Of what was captured."""
    return {
        "payment_intent": authorization_of(call),
        "amount": to_stripe(call.amount_minor, call.currency),
        "metadata": _metadata(call, call.operation_metadata if copy_metadata else {}),
    }


def reversal(call: Call, *, intent_id: str, amount: int) -> Form:
    """A refund of what an attempt did that was not asked for; `amount` is Stripe's."""
    return {
        "payment_intent": intent_id,
        "amount": amount,
        "metadata": {REVERSAL: call.reference, PAYMENT: call.payment_id},
    }


def authorization_of(call: Call) -> str:
    """Stripe's id of the intent that the call is about. Raises `Rejected` where there is none."""
    if call.authorization_reference is None:
        raise Rejected(f"{call.kind} without the authorization's reference")
    return call.authorization_reference


def pointer(parameter: str | None) -> str | None:
    """The member of our API that a parameter of Stripe's comes from; None where it is none of the merchant's."""
    found = [name for name in _MEMBERS if parameter is not None and parameter.startswith(name)]
    return _MEMBERS[max(found, key=len)] if found else None


def _authentication(call: Call) -> Form:
    """What the merchant's own authentication came to, unchanged, or that Stripe is to ask for one.

    The directory server's id is the `transaction_id` of 3-D Secure 2. `ares_trans_status` is not sent: it is what was
    said before a challenge, and ours is what came of it. Source: docs.stripe.com/payments/payment-intents/
    three-d-secure-import, and the parameters of a confirmation.
    """
    given = call.authentication
    if given is not None:
        return {
            "three_d_secure": {
                "version": given.version,
                "cryptogram": given.cavv,
                "transaction_id": given.ds_transaction_id,
                "electronic_commerce_indicator": given.eci,
            }
        }
    forced = call.sca is not None and call.sca.challenge == "force"
    return {"request_three_d_secure": "challenge"} if forced else {}


def not_taken(call: Call) -> str | None:
    """The member of a handed-in authentication that Stripe lists no such value of; None: it takes them all."""
    given = call.authentication
    if given is None:
        return None
    if given.version not in _VERSIONS:
        return "/authentication/version"
    return None if given.eci in _INDICATORS else "/authentication/eci"


def _billing(call: Call) -> Form | None:
    customer, billing = call.customer or Customer(), call.billing or Party()
    known: Form = {
        "name": billing.name or customer.name,
        "email": customer.email,
        "phone": customer.phone,
        "address": _address(billing),
    }
    return known if any(known.values()) else None


def _shipping(call: Call) -> Form | None:
    """Stripe takes a parcel only with a name and an address."""
    customer, shipping = call.customer or Customer(), call.shipping or Party()
    name, address = shipping.name or customer.name, _address(shipping)
    return {"name": name, "address": address} if address and name else None


def _address(party: Party) -> Form | None:
    return None if party.address is None else dict(asdict(party.address))


def _metadata(call: Call, theirs: Mapping[str, str]) -> Form:
    """Ours, and of the merchant's what fits beside it, where the account says so."""
    ours: Form = {REFERENCE: call.reference, PAYMENT: call.payment_id}
    fitting = {
        name: value
        for name, value in theirs.items()
        if len(name) <= KEY_LENGTH_MAX
        and len(value) <= VALUE_LENGTH_MAX
        and not set(name) & set("[]")
        and not name.startswith("payonce_")
    }
    return {**dict(sorted(fitting.items())[: KEYS_MAX - len(ours)]), **ours}
