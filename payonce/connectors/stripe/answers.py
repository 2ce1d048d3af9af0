"""Stripe's objects, as far as payonce reads them: strictly, and nothing else of them.

Source: the API reference (docs.stripe.com/api) for the version in `wire.VERSION`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

ID_PATTERN = r"^[A-Za-z0-9_]{1,255}$"
Id = Annotated[str, Field(pattern=ID_PATTERN)]
Code = Annotated[str, Field(max_length=255)] | None
Amount = Annotated[int, Field(ge=0)]
Currency = Annotated[str, Field(pattern="^[a-z]{3}$")]


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)


class Checks(_Read):
    """What the issuer said of address and code: `pass`, `fail`, `unavailable`, `unchecked`."""

    address_line1_check: Code = None
    address_postal_code_check: Code = None
    cvc_check: Code = None


class CardDetails(_Read):
    brand: Code = None
    network: Code = None
    country: Code = None
    funding: Code = None
    authorization_code: Code = None
    network_transaction_id: Code = None
    amount_authorized: Amount | None = None
    capture_before: int | None = None  # Unix time
    checks: Checks | None = None


class MethodDetails(_Read):
    type: Code = None
    card: CardDetails | None = None


class Outcome(_Read):
    network_decline_code: Code = None
    network_advice_code: Code = None
    advice_code: Code = None


class Charge(_Read):
    """`latest_charge`, expanded."""

    id: Id
    object: Literal["charge"]
    amount: Amount
    amount_captured: Amount
    amount_refunded: Amount
    currency: Currency
    captured: bool
    paid: bool
    status: str
    failure_code: Code = None
    outcome: Outcome | None = None
    payment_method_details: MethodDetails | None = None


class StripeError(_Read):
    """`last_payment_error`, and the `error` of an answer."""

    type: str
    code: Code = None
    decline_code: Code = None
    advice_code: Code = None
    network_decline_code: Code = None
    network_advice_code: Code = None
    param: Code = None


class Intent(_Read):
    id: Id
    object: Literal["payment_intent"]
    livemode: bool
    status: str
    amount: Amount
    amount_capturable: Amount
    amount_received: Amount
    currency: Currency
    capture_method: str
    metadata: dict[str, str]
    canceled_at: int | None = None
    cancellation_reason: Code = None
    latest_charge: Charge | Id | None = None
    last_payment_error: StripeError | None = None


class Intents(_Read):
    """A page of a list."""

    object: Literal["list"]
    has_more: bool
    data: Annotated[list[Intent], Field(max_length=100)]


class IntentError(StripeError):
    payment_intent: Intent | None = None


class StripeProblem(_Read):
    """What every answer but 200 holds."""

    error: IntentError


class StripeMethod(_Read):
    id: Id
    object: Literal["payment_method"]
    livemode: bool


class StripeRefund(_Read):
    id: Id
    object: Literal["refund"]
    amount: Amount
    currency: Currency
    status: str | None
    metadata: dict[str, str] | None
    payment_intent: Id | None
    failure_reason: Code = None
    created: int


class StripeRefunds(_Read):
    object: Literal["list"]
    has_more: bool
    data: Annotated[list[StripeRefund], Field(max_length=100)]


class StripeAccount(_Read):
    id: Id
    object: Literal["account"]
    charges_enabled: bool | None = None


class ToldOf(_Read):
    """The object of an event: an intent, or what belongs to one."""

    id: Id
    object: str
    payment_intent: Id | None = None
    metadata: dict[str, str] | None = None


class _Data(_Read):
    object: ToldOf


class StripeEvent(_Read):
    id: Id
    object: Literal["event"]
    type: str
    livemode: bool
    account: Id | None = None
    data: _Data
