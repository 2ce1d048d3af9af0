"""What we ask of Razorpay, as it documents it.

Source: razorpay.com/docs/api/orders/create, /docs/payments/payments/capture-settings/api and
/docs/payments/payment-gateway/s2s-integration (cards, upi, wallet), /docs/api/refunds. Read, not tried.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from payonce.connectors.base import Call
from payonce.connectors.razorpay.objects import PAYMENT, REFERENCE
from payonce.domain.cards import Card
from payonce.domain.errors import Rejected
from payonce.domain.leaving import ACTS_WITHIN
from payonce.domain.personal import Browser, Customer, Party

ORDERS: Final = "/v1/orders"
PAYMENTS: Final = "/v1/payments"
REFUNDS: Final = "/v1/refunds"
DISPUTES: Final = "/v1/disputes"
CREATE: Final = f"{PAYMENTS}/create/json"
CREATE_UPI: Final = f"{PAYMENTS}/create/upi"

HOLDS: Final = timedelta(days=3)
"""After that Razorpay refunds what is not captured. It takes 5 at most; 3 is the number that all its pages keep."""
CAPTURED_ITSELF_WITHIN: Final = timedelta(minutes=12)  # the least that it takes

EMAIL_LENGTH_MAX: Final = 40
CONTACT_LENGTH_MAX: Final = 15
DESCRIPTION_LENGTH_MAX: Final = 255
_LANGUAGE_LENGTH_MAX: Final = 8
_VALUE_LENGTH_MAX: Final = 256
_NOTES_MAX: Final = 15

_FIELDS: Final = {
    "amount": "/amount",
    "currency": "/currency",
    "contact": "/customer/phone",
    "email": "/customer/email",
    "ip": "/browser/ip",
    "user_agent": "/browser/user_agent",
    "browser": "/browser",
    "card": "/payment_method/card",
    "card.name": "/billing/name",
    "card.number": "/payment_method/card/number",
    "card.expiry_month": "/payment_method/card/exp_month",
    "card.expiry_year": "/payment_method/card/exp_year",
    "card.cvv": "/payment_method/card/cvc",
    "vpa": "/payment_method/upi/vpa",
    "upi.vpa": "/payment_method/upi/vpa",
    "description": "/description",
    "callback_url": "/return_url",
}
"""Where each parameter of Razorpay's comes from, in our API."""


@dataclass(frozen=True, slots=True)
class RazorpayTerms:
    """What an account says of every payment."""

    website: str | None  # the merchant's, as the browser's referrer
    copy_metadata: bool


class RazorpayBody(BaseModel):
    """A body that is sent; what it holds shows in no repr."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class CaptureOptions(RazorpayBody):
    """How long Razorpay waits before it captures, or refunds, by itself."""

    automatic_expiry_period: int | None
    manual_expiry_period: int
    refund_speed: Literal["normal"] = "normal"


class CaptureSettings(RazorpayBody):
    """Whether Razorpay captures; said of every order, so that no setting of the account counts."""

    capture: Literal["automatic", "manual"]
    capture_options: CaptureOptions


class OrderForm(RazorpayBody):
    """An order: nobody can pay it who does not know its id, and that never leaves us."""

    amount: int
    currency: str
    receipt: str
    unique_receipt: bool = True
    payment: CaptureSettings
    notes: dict[str, str]


class CardForm(RazorpayBody):
    """A card."""

    number: str = Field(repr=False)
    name: str = Field(repr=False)
    expiry_month: str
    expiry_year: str
    cvv: str | None = Field(repr=False)


class AuthenticationForm(RazorpayBody):
    """How the cardholder is authenticated: in a browser."""

    authentication_channel: Literal["browser"] = "browser"


class BrowserForm(RazorpayBody):
    """What banks want to know of the customer's browser."""

    java_enabled: bool | None
    javascript_enabled: bool | None
    timezone_offset: int | None
    color_depth: int | None
    screen_width: int | None
    screen_height: int | None
    language: str | None


class UpiForm(RazorpayBody):
    """How the customer's app hears of the payment."""

    flow: Literal["intent", "collect"]
    vpa: str | None = None
    expiry_time: int | None = None  # minutes


class PaymentForm(RazorpayBody):
    """The money call: a payment of the order."""

    amount: int
    currency: str
    order_id: str
    email: str | None = Field(repr=False)
    contact: str | None = Field(repr=False)
    method: Literal["card", "upi", "wallet"]
    card: CardForm | None = None
    authentication: AuthenticationForm | None = None
    browser: BrowserForm | None = Field(default=None, repr=False)
    upi: UpiForm | None = None
    wallet: str | None = None
    callback_url: str | None = None
    ip: str | None = Field(repr=False)
    user_agent: str | None = Field(repr=False)
    referer: str | None
    description: str | None = Field(repr=False)
    notes: dict[str, str]


class CaptureForm(RazorpayBody):
    """All of an authorization: Razorpay captures no part."""

    amount: int
    currency: str


class RefundForm(RazorpayBody):
    """Of what was captured."""

    amount: int
    speed: Literal["normal"] = "normal"
    receipt: str
    notes: dict[str, str]


def order(call: Call, *, copy_metadata: bool) -> OrderForm:
    """One for each payment, by its number: the same create again answers the same order."""
    automatic = call.automatic_capture
    options = CaptureOptions(
        automatic_expiry_period=_minutes(CAPTURED_ITSELF_WITHIN) if automatic else None,
        manual_expiry_period=_minutes(HOLDS),
    )
    return OrderForm(
        amount=call.amount_minor,
        currency=call.currency,
        receipt=call.payment_id,
        payment=CaptureSettings(capture="automatic" if automatic else "manual", capture_options=options),
        notes=_notes(call.metadata if copy_metadata else {}, {PAYMENT: call.payment_id}),
    )


def card(call: Call, entered: Card, *, order_id: str, terms: RazorpayTerms) -> PaymentForm:
    """A card, whose holder is authenticated in the browser that is described here."""
    customer, bill = call.customer or Customer(), call.billing or Party()
    form = CardForm(
        number=entered.number,
        name=bill.name or customer.name or "",
        expiry_month=f"{entered.exp_month:02}",
        expiry_year=f"{entered.exp_year % 100:02}",
        cvv=entered.cvc,
    )
    members = {
        "method": "card",
        "card": form,
        "authentication": AuthenticationForm(),
        "browser": _browser(call.browser),
        "callback_url": call.return_url,
    }
    return _payment(call, members, order_id=order_id, terms=terms)


def upi(call: Call, *, order_id: str, terms: RazorpayTerms) -> PaymentForm:
    """A link for the customer's app, which a code shows as well, or a request that its address receives."""
    asked = call.payment_method["upi"]
    if asked["flow"] == "collect":
        form = UpiForm(flow="collect", vpa=asked["vpa"], expiry_time=_minutes(ACTS_WITHIN))
    else:
        form = UpiForm(flow="intent")
    return _payment(call, {"method": "upi", "upi": form}, order_id=order_id, terms=terms)


def wallet(call: Call, *, order_id: str, terms: RazorpayTerms) -> PaymentForm:
    """A wallet with a page of its own."""
    members = {
        "method": "wallet",
        "wallet": call.payment_method["wallet"]["provider"],
        "callback_url": call.return_url,
    }
    return _payment(call, members, order_id=order_id, terms=terms)


def capture(call: Call) -> CaptureForm:
    """Of an authorization, whole."""
    return CaptureForm(amount=call.amount_minor, currency=call.currency)


def refund(call: Call, *, copy_metadata: bool) -> RefundForm:
    """Of a payment; found again by its notes."""
    notes = _notes(call.operation_metadata if copy_metadata else {}, _marks(call))
    return RefundForm(amount=call.amount_minor, receipt=call.reference, notes=notes)


def too_long(call: Call) -> str | None:
    """The pointer to what Razorpay does not take for its length; None where all fits."""
    customer = call.customer or Customer()
    if len(customer.email or "") > EMAIL_LENGTH_MAX:
        return _FIELDS["email"]
    return _FIELDS["contact"] if len(customer.phone or "") > CONTACT_LENGTH_MAX else None


def authorization_of(call: Call) -> str:
    """Razorpay's id of the payment that the call is about. Raises `Rejected` where there is none."""
    if call.authorization_reference is None:
        raise Rejected(f"{call.kind} without the authorization's reference")
    return call.authorization_reference


def pointer(field: str | None) -> str | None:
    """The member of our API that a parameter of Razorpay's comes from; None where it is none of the merchant's."""
    return _FIELDS.get((field or "").replace("[", ".").replace("]", ""))


def _payment(
    call: Call, members: Mapping[str, object], *, order_id: str, terms: RazorpayTerms
) -> PaymentForm:
    customer, browser = call.customer or Customer(), call.browser
    common: dict[str, object] = {
        "amount": call.amount_minor,
        "currency": call.currency,
        "order_id": order_id,
        "email": customer.email,
        "contact": customer.phone,
        "ip": None if browser is None else browser.ip,
        "user_agent": None if browser is None else browser.user_agent,
        "referer": terms.website,
        "description": (call.description or call.payment_id)[:DESCRIPTION_LENGTH_MAX],
        "notes": _notes(call.metadata if terms.copy_metadata else {}, _marks(call)),
    }
    return PaymentForm.model_validate({**common, **members})


def _browser(browser: Browser | None) -> BrowserForm | None:
    if browser is None:
        return None
    return BrowserForm(
        java_enabled=browser.java_enabled,
        javascript_enabled=browser.javascript_enabled,
        timezone_offset=browser.time_zone_offset,
        color_depth=browser.color_depth,
        screen_width=browser.screen_width,
        screen_height=browser.screen_height,
        language=None if browser.language is None else browser.language[:_LANGUAGE_LENGTH_MAX],
    )


def _marks(call: Call) -> dict[str, str]:
    """By which the attempt is found."""
    return {REFERENCE: call.reference, PAYMENT: call.payment_id}


def _notes(theirs: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """Ours, and of the merchant's what fits beside it, where the account says so."""
    fitting = {
        name: value
        for name, value in sorted(theirs.items())
        if max(len(name), len(value)) <= _VALUE_LENGTH_MAX and not name.startswith("payonce_")
    }
    return {**dict(list(fitting.items())[: _NOTES_MAX - len(ours)]), **ours}


def _minutes(period: timedelta) -> int:
    return int(period.total_seconds() // 60)
