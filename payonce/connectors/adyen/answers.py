"""What Adyen answers and tells, as far as we read it; members that we do not need are not looked at.

Every text has a limit, and one with a card number in it is not taken. Source: Checkout v72 and Webhooks v1.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from payonce.domain.card_numbers import looks_like_card_number

_TEXT_MAX: Final = 200
URL_LENGTH_MAX: Final = 8192  # a page's address carries the whole state of an authentication
ADDITIONAL_MAX: Final = 200  # members


def _without_card_number(text: str | None) -> str | None:
    return None if text is None or looks_like_card_number(text) else text


def _short(value: Any) -> Any:
    """A text that is only kept for people, or compared, is cut; what is no text is left out."""
    return value[:_TEXT_MAX] if isinstance(value, str) else None


def _texts(value: Any) -> Any:
    """Of Adyen's container for everything else only texts are read, and not too many."""
    if not isinstance(value, dict):
        return {}
    texts = {name: text for name, text in value.items() if isinstance(name, str) and isinstance(text, str)}
    return {name: text[:_TEXT_MAX] for name, text in list(texts.items())[:ADDITIONAL_MAX]}


Psp = Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,64}$")]
Reference = Annotated[str, Field(max_length=200)]
Text = Annotated[str | None, BeforeValidator(_short), AfterValidator(_without_card_number)]
Additional = Annotated[dict[str, str], BeforeValidator(_texts)]
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$")]


class AdyenAnswer(BaseModel):
    """Read strictly: a member of another type is an answer that cannot be read."""

    model_config = ConfigDict(
        strict=True, extra="ignore", hide_input_in_errors=True, frozen=True, coerce_numbers_to_str=False
    )


class AdyenAmount(AdyenAnswer):
    currency: Currency
    value: Annotated[int, Field(ge=0, le=2**63 - 1)]


class Action(AdyenAnswer):
    """What the customer has to do."""

    type: Text = None
    method: Text = None
    url: Annotated[str | None, Field(max_length=URL_LENGTH_MAX)] = None
    code: Annotated[str | None, Field(max_length=URL_LENGTH_MAX, alias="qrCodeData")] = None
    expires_at: Text = Field(default=None, alias="expiresAt")


class PaymentAnswer(AdyenAnswer):
    """To `/payments` and to `/payments/details`."""

    result: Annotated[str, Field(alias="resultCode", max_length=_TEXT_MAX)]
    psp: Psp | None = Field(default=None, alias="pspReference")
    reference: Reference | None = Field(default=None, alias="merchantReference")
    amount: AdyenAmount | None = None
    action: Action | None = None
    reason: Text = Field(default=None, alias="refusalReason")
    reason_code: Text = Field(default=None, alias="refusalReasonCode")
    additional: Additional = Field(default={}, alias="additionalData")


class ReceivedAnswer(AdyenAnswer):
    """To a capture, a cancel, a refund or a reversal."""

    psp: Psp = Field(alias="pspReference")
    status: Text = None
    account: Annotated[str, Field(alias="merchantAccount", max_length=_TEXT_MAX)]
    reference: Reference | None = None
    payment: Psp | None = Field(default=None, alias="paymentPspReference")
    payment_reference: Reference | None = Field(default=None, alias="paymentReference")
    amount: AdyenAmount | None = None


class AdyenProblem(AdyenAnswer):
    """An error; its sentence is for people and is not read."""

    code: Text = Field(default=None, alias="errorCode")
    type: Text = Field(default=None, alias="errorType")
    psp: Text = Field(default=None, alias="pspReference")


class ApiCredential(AdyenAnswer):
    """Whose a key is: `GET /me` of the Management API."""

    id: Annotated[str, Field(max_length=_TEXT_MAX)]
    active: bool
    company: Annotated[str, Field(alias="companyName", min_length=1, max_length=_TEXT_MAX)]
    roles: list[str] = []


class NotificationItem(AdyenAnswer):
    """One thing that happened. Signed are the first seven; the others decide nothing."""

    psp: Reference = Field(alias="pspReference")
    original: Reference | None = Field(default=None, alias="originalReference")
    account: Reference = Field(alias="merchantAccountCode")
    reference: Reference = Field(alias="merchantReference")
    amount: AdyenAmount
    event: Annotated[str, Field(alias="eventCode", max_length=_TEXT_MAX)]
    success: Literal["true", "false"]
    reason: Text = None
    method: Text = Field(default=None, alias="paymentMethod")
    date: Text = Field(default=None, alias="eventDate")
    additional: Additional = Field(default={}, alias="additionalData")

    @property
    def signed(self) -> tuple[str, ...]:
        """The members of the signature, in its order."""
        money = (str(self.amount.value), self.amount.currency)
        return (
            self.psp,
            self.original or "",
            self.account,
            self.reference,
            *money,
            self.event,
            self.success,
        )
