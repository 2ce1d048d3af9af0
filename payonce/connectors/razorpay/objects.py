"""Razorpay's objects, as far as we read them; members that we do not need are not looked at.

Every text has a limit, and one with a card number in it is not taken. Source: razorpay.com/docs/api (orders, payments
and refunds entities) and /docs/webhooks. Razorpay publishes no schema. Read in 2026-11, not tried.
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

PAGE: Final = 25  # of a list: an answer is read up to 64 KiB
SHORT: Final = 10  # how many it lists where nobody says how many: a list that is shorter goes on nowhere

REFERENCE: Final = "payonce_reference"
"""Of our attempt: in the notes of a payment the authorization's, of a refund the refund's."""
PAYMENT: Final = "payonce_payment"

_TEXT_MAX: Final = 200
_URL_LENGTH_MAX: Final = 2048


def _short(value: Any) -> Any:
    """A text that is only kept for people, or compared, is cut."""
    return value[:_TEXT_MAX] if isinstance(value, str) else value


def _without_card_number(text: str | None) -> str | None:
    return None if text is None or looks_like_card_number(text) else text


def _members(value: Any) -> Any:
    """Razorpay writes an object without members as an empty list; values of notes may be numbers."""
    if value == [] or value is None:
        return {}
    if isinstance(value, dict):
        return {name: text for name, text in value.items() if isinstance(text, str)}
    return value


Text = Annotated[str | None, BeforeValidator(_short), AfterValidator(_without_card_number)]
Amount = Annotated[int, Field(ge=0, le=2**53 - 1)]
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$")]
Moment = Annotated[int, Field(ge=0, le=2**33)]  # of Unix time: until 2242
Notes = Annotated[dict[str, str], BeforeValidator(_members)]
OrderId = Annotated[str, Field(pattern=r"^order_[A-Za-z0-9]{1,40}$")]
PaymentId = Annotated[str, Field(pattern=r"^pay_[A-Za-z0-9]{1,40}$")]
RefundId = Annotated[str, Field(pattern=r"^rfnd_[A-Za-z0-9]{1,40}$")]
Url = Annotated[str, Field(max_length=_URL_LENGTH_MAX, pattern=r"^[a-z]+://[!-~]+$")]


class RazorpayObject(BaseModel):
    """What every object of theirs is read by: strictly, and no error shows what was there."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)


class RazorpayOrder(RazorpayObject):
    """What one payment of ours is paid by."""

    id: OrderId
    entity: Literal["order"]
    amount: Amount
    amount_paid: Amount
    currency: Currency
    receipt: Annotated[str | None, Field(max_length=_TEXT_MAX)]
    status: Text


class RazorpayCard(RazorpayObject):
    """How a card was charged."""

    network: Text = None
    type: Text = None
    international: bool | None = None


class AcquirerData(RazorpayObject):
    """What the bank said beside its yes."""

    auth_code: Text = None
    rrn: Text = None
    upi_transaction_id: Text = None


class UpiDetails(RazorpayObject):
    """Whose account paid."""

    vpa: Text = None


class RazorpayPayment(RazorpayObject):
    """One try to pay an order. `captured` says that money was taken; `refunded` alone does not."""

    id: PaymentId
    entity: Literal["payment"]
    amount: Amount
    amount_refunded: Amount
    captured: bool
    created_at: Moment
    currency: Currency
    method: Text
    order_id: OrderId | None
    status: Text
    notes: Notes = {}
    card: RazorpayCard | None = None
    acquirer_data: Annotated[AcquirerData, BeforeValidator(_members)] = AcquirerData()
    upi: UpiDetails | None = None
    vpa: Text = None
    error_code: Text = None
    error_source: Text = None
    error_step: Text = None
    error_reason: Text = None

    @property
    def contradicts_itself(self) -> bool:
        """Whether money was taken by its one member, and not by the other."""
        return self.captured and self.status in ("created", "authorized", "failed")

    @property
    def reference(self) -> str | None:
        return self.notes.get(REFERENCE)


class RazorpayRefund(RazorpayObject):
    """What went back of a payment, or will."""

    id: RefundId
    entity: Literal["refund"]
    amount: Amount
    currency: Currency
    payment_id: PaymentId
    created_at: Moment
    status: Text
    notes: Notes = {}
    acquirer_data: Annotated[AcquirerData, BeforeValidator(_members)] = AcquirerData()

    @property
    def reference(self) -> str | None:
        return self.notes.get(REFERENCE)


class RazorpayOrders(RazorpayObject):
    """Part of a list."""

    entity: Literal["collection"]
    count: int
    items: list[RazorpayOrder]


class RazorpayPayments(RazorpayObject):
    """All the payments of an order."""

    entity: Literal["collection"]
    count: int
    items: list[RazorpayPayment]


def _where_readable(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(value)
    except ValidationError:
        return None


class MalformedPayment(RazorpayObject):
    """One that is not as it is documented, as far as anything of it can be known; None: that is not."""

    id: Annotated[PaymentId | None, WrapValidator(_where_readable)] = None
    created_at: Annotated[Moment | None, WrapValidator(_where_readable)] = None
    notes: Annotated[Notes | None, WrapValidator(_where_readable)] = None


AnyPayment = Annotated[RazorpayPayment | MalformedPayment, Field(union_mode="left_to_right")]


class ListedPayments(RazorpayObject):
    """Part of a list: one that cannot be read hides no other."""

    entity: Literal["collection"]
    count: int
    items: list[AnyPayment]


class OnePayment(RootModel[AnyPayment]):
    """A payment that is asked for, however it is."""


class MalformedRefund(RazorpayObject):
    """As `MalformedPayment`."""

    id: Annotated[RefundId | None, WrapValidator(_where_readable)] = None
    payment_id: Annotated[PaymentId | None, WrapValidator(_where_readable)] = None


class ListedRefunds(RazorpayObject):
    """Part of a list: one that cannot be read hides no other."""

    entity: Literal["collection"]
    count: int
    items: list[Annotated[RazorpayRefund | MalformedRefund, Field(union_mode="left_to_right")]]


class RazorpayRefunds(RazorpayObject):
    """Part of a list."""

    entity: Literal["collection"]
    count: int
    items: list[RazorpayRefund]


class RazorpayStep(RazorpayObject):
    """What can be done next with a payment that was made."""

    action: Text
    url: Url | None = None


class PaymentMade(RazorpayObject):
    """The answer to the money call. Without a link and without next steps it does not say what became of it."""

    razorpay_payment_id: PaymentId
    link: Annotated[str | None, Field(max_length=_URL_LENGTH_MAX, pattern=r"^upi://[!-~]+$")] = None
    next: list[RazorpayStep] = []

    @property
    def page(self) -> str | None:
        """Where the customer's browser is to go."""
        urls = [step.url for step in self.next if step.action == "redirect"]
        return urls[0] if urls else None


class RazorpayErrorAbout(RazorpayObject):
    """Which objects an error is about."""

    payment_id: PaymentId | None = None
    order_id: OrderId | None = None


class RazorpayError(RazorpayObject):
    """Why a request was not done; its sentence is for people."""

    code: Text = None
    description: Text = None
    field: Text = None
    reason: Text = None
    source: Text = None
    step: Text = None
    metadata: Annotated[RazorpayErrorAbout, BeforeValidator(_members)] = RazorpayErrorAbout()


class RazorpayProblem(RazorpayObject):
    """The body of an error."""

    error: RazorpayError


class EventPayment(RazorpayObject):
    """A payment in an event, as far as it says what it is about."""

    id: PaymentId
    notes: Notes = {}


class EventRefund(RazorpayObject):
    """A refund in an event, as far as it says what it is about."""

    id: RefundId
    payment_id: PaymentId
    notes: Notes = {}


class EventOfPayment(RazorpayObject):
    """Where an event has its payment."""

    entity: EventPayment


class EventOfRefund(RazorpayObject):
    """Where an event has its refund."""

    entity: EventRefund


class RazorpayPayload(RazorpayObject):
    """The objects of an event, as they were when it happened."""

    payment: EventOfPayment | None = None
    refund: EventOfRefund | None = None
    dispute: Any = None  # read apart: one that cannot be read makes no event invalid


class RazorpayEvent(RazorpayObject):
    """A webhook's body, all of which is signed."""

    entity: Literal["event"]
    account_id: Annotated[str, Field(pattern=r"^acc_[A-Za-z0-9]{1,40}$")]
    event: Annotated[str, Field(max_length=_TEXT_MAX)]
    payload: RazorpayPayload
    created_at: Moment | None = None
