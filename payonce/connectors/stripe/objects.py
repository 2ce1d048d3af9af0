"""Stripe's objects, as far as we read them; members that we do not need are not looked at.

Every text has a limit, and one with a card number in it is not taken. Source: Stripe's OpenAPI document, version
2026-08-26.dahlia, and docs.stripe.com/api.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from payonce.domain.card_numbers import looks_like_card_number

VERSION: Final = "2026-08-26.dahlia"
PAGE: Final = 10  # of a list: an answer is read up to 64 KiB, and an object may have 25 KiB of metadata

REFERENCE: Final = "payonce_reference"
"""Of our attempt: on an intent the authorization's, on a refund the refund's."""
PAYMENT: Final = "payonce_payment"
REVERSAL: Final = "payonce_reversal"  # on a refund: of the attempt that it undoes
CAPTURE: Final = "payonce_capture_"  # on an intent, with the number of our capture: what it captured


def _without_card_number(text: str | None) -> str | None:
    return None if text is None or looks_like_card_number(text) else text


def _short(value: Any) -> Any:
    """A text that is only kept for people, or compared, is cut."""
    return value[:_TEXT_MAX] if isinstance(value, str) else value


_TEXT_MAX: Final = 200
URL_LENGTH_MAX: Final = 2048
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,255}$")]
Text = Annotated[str | None, BeforeValidator(_short), AfterValidator(_without_card_number)]
Amount = Annotated[int, Field(ge=0, le=2**53 - 1)]
Currency = Annotated[str, Field(pattern="^[a-z]{3}$")]
Metadata = dict[str, str]


class Read(BaseModel):
    """What every object of theirs is read by: strictly, and no error shows what was there."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)


class Checks(Read):
    """What the issuer said of address and security code."""

    address_line1_check: Text = None
    address_postal_code_check: Text = None
    cvc_check: Text = None


class ThreeDSecure(Read):
    """What became of the cardholder's authentication."""

    authentication_flow: Text = None
    electronic_commerce_indicator: Text = None
    result: Text = None


class CardDetails(Read):
    """How the card was charged."""

    three_d_secure: ThreeDSecure | None = None

    authorization_code: Text = None
    brand: Text = None
    network: Text = None
    country: Text = None
    funding: Text = None
    network_transaction_id: Text = None
    capture_before: int | None = None
    checks: Checks | None = None


class MethodDetails(Read):
    """Of a charge."""

    card: CardDetails | None = None


class ChargeOutcome(Read):
    """Why a charge ended as it did."""

    advice_code: Text = None
    network_advice_code: Text = None
    network_decline_code: Text = None
    reason: Text = None
    type: Text = None


class ListPage(Read):
    """A part of a list, newest first."""

    object: Literal["list"]
    has_more: bool


class StripeRefund(Read):
    """Money given back."""

    id: Id
    object: Literal["refund"]
    status: Text
    amount: Amount
    currency: Currency
    failure_reason: Text = None
    metadata: Metadata | None = None
    payment_intent: Id | None = None

    @property
    def reference(self) -> str | None:
        return (self.metadata or {}).get(REFERENCE)


class RefundList(ListPage):
    """Of `GET /v1/refunds`."""

    data: Annotated[list[StripeRefund], Field(max_length=100)]


class Charge(Read):
    """One try of an intent."""

    id: Id
    object: Literal["charge"]
    status: Text
    amount: Amount
    amount_captured: Amount
    amount_refunded: Amount
    captured: bool
    disputed: bool = False
    created: int
    currency: Currency
    livemode: bool
    failure_code: Text = None
    outcome: ChargeOutcome | None = None
    payment_method_details: MethodDetails | None = None
    refunds: RefundList | None = None  # where they were asked for

    @property
    def card(self) -> CardDetails:
        details = self.payment_method_details
        return CardDetails() if details is None or details.card is None else details.card


class StripeError(Read):
    """Why a request or a try failed; its sentence is for people and is not read."""

    type: Text = None
    code: Text = None
    decline_code: Text = None
    advice_code: Text = None
    network_advice_code: Text = None
    network_decline_code: Text = None
    param: Text = None


class Redirect(Read):
    """Where the customer's browser is to go."""

    url: Annotated[str, Field(max_length=URL_LENGTH_MAX, pattern=r"^https?://[!-~]+$")]


class NextAction(Read):
    """What the customer has to do."""

    type: Text
    redirect_to_url: Redirect | None = None


class Intent(Read):
    """A payment at Stripe."""

    id: Id
    object: Literal["payment_intent"]
    status: Text
    amount: Amount
    amount_capturable: Amount = 0
    amount_received: Amount = 0
    capture_method: Text = None
    cancellation_reason: Text = None
    created: int
    currency: Currency
    last_payment_error: StripeError | None = None
    latest_charge: Charge | Id | None = None
    livemode: bool
    metadata: Metadata = {}
    next_action: NextAction | None = None
    customer: Id | None = None
    payment_method: Id | None = None

    @property
    def page(self) -> str | None:
        """Where its customer is to go; None: nowhere, or not by a redirect."""
        action = self.next_action
        return None if action is None or action.redirect_to_url is None else action.redirect_to_url.url

    @property
    def charge(self) -> Charge | None:
        """Its latest charge, where the answer holds it."""
        return self.latest_charge if isinstance(self.latest_charge, Charge) else None


class Method(Read):
    """A card that was entered."""

    id: Id
    object: Literal["payment_method"]
    livemode: bool
    customer: Id | None = None


class StripeCustomer(Read):
    """Whom cards are kept with: one for each card, so that it says nothing of a person."""

    id: Id
    object: Literal["customer"]
    livemode: bool


class ErrorBody(StripeError):
    """A problem; of the intent that it is about only what is needed to know it."""

    payment_intent: Intent | None = None


class StripeProblem(Read):
    """What a status of 400 or more carries."""

    error: ErrorBody


class IntentList(ListPage):
    """Of `GET /v1/payment_intents`."""

    data: Annotated[list[Intent], Field(max_length=100)]


def _where_readable(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(value)
    except ValidationError:
        return None


class MalformedIntent(Read):
    """One that is not as it is documented, as far as anything of it can be known; None: that is not."""

    id: Annotated[Id | None, WrapValidator(_where_readable)] = None
    created: Annotated[int | None, WrapValidator(_where_readable)] = None
    livemode: Annotated[bool | None, WrapValidator(_where_readable)] = None
    metadata: Annotated[Metadata | None, WrapValidator(_where_readable)] = None


AnyIntent = Annotated[Intent | MalformedIntent, Field(union_mode="left_to_right")]


class ListedIntents(ListPage):
    """As `IntentList`: one that cannot be read hides no other."""

    data: Annotated[list[AnyIntent], Field(max_length=100)]


class OneIntent(RootModel[AnyIntent]):
    """An intent that is asked for, however it is."""


class StripeAccount(Read):
    """Of `GET /v1/account`."""

    id: Id
    object: Literal["account"]


class Balance(Read):
    """Of `GET /v1/balance`."""

    object: Literal["balance"]
    livemode: bool


class _Told(Read):
    """The object of an event, as far as it says whose it is."""

    id: Id
    object: Text
    metadata: Metadata | None = None
    payment_intent: Id | None = None
    created: int | None = None

    @property
    def is_intent(self) -> bool:
        return self.object == "payment_intent"

    @property
    def intent_id(self) -> str | None:
        """Of the intent that it is, or is about."""
        return self.id if self.is_intent else self.payment_intent


class _Data(Read):
    object: _Told


class MalformedEvent(Read):
    """One that is not as it is documented, as far as anything of it can be known; None: that is not."""

    id: Annotated[Id | None, WrapValidator(_where_readable)] = None
    livemode: Annotated[bool | None, WrapValidator(_where_readable)] = None


class StripeEvent(Read):
    """What a webhook carries."""

    id: Id
    object: Literal["event"]
    type: Annotated[str, Field(max_length=100)]
    livemode: bool
    account: Id | None = None  # of Connect: another account than ours
    data: _Data


class EventList(ListPage):
    """Of `GET /v1/events`."""

    data: Annotated[
        list[Annotated[StripeEvent | MalformedEvent, Field(union_mode="left_to_right")]],
        Field(max_length=100),
    ]
