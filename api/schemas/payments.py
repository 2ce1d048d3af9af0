"""Request bodies, as strict models: unknown members, and anything but the stated types, are mistakes.

What a body is understood as is the model with its defaults. A check that needs more than the body (the mode,
say) finds it in the validation context.
"""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Annotated, Any, Final, Literal, cast
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializationInfo,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

from api.admission.requests import PaidWith
from api.schemas.countries import COUNTRIES
from api.schemas.currencies import CURRENCIES
from payonce import device_tokens
from payonce.connectors.registry import SWITCHES as CONNECTOR_SWITCHES
from payonce.domain import cards
from payonce.domain.card_numbers import looks_like_card_number, passes_luhn
from payonce.domain.money import AMOUNT_MINOR_MAX
from payonce.domain.payment_methods import Reason
from payonce.domain.personal import Channel
from payonce.domain.sca import Challenge, Exemption, HandedIn
from payonce.risk.registry import SWITCHES as RISK_SWITCHES

SWITCHES: Final = {**CONNECTOR_SWITCHES, **RISK_SWITCHES}  # members of metadata that test mode obeys
URL_MAX_LENGTH = 2048
METADATA_MAX = 50
STATEMENT_DESCRIPTOR_MAX_LENGTH = 22
PIXELS_MAX = 999_999
MINUTES_FROM_UTC_MAX = 14 * 60

_NUMBER: Final = re.compile(r"[0-9]{12,19}")
_VPA: Final = re.compile(r"[A-Za-z0-9._-]{2,256}@[A-Za-z][A-Za-z0-9]{1,63}")
_UUID: Final = r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"
_CAVV_BYTES: Final = 20
_URL_CHARACTERS: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Context:
    """What a check may need besides the body."""

    mode: str
    allow_loopback: bool


def mistake(detail: str, *, code: str = "invalid_request", at: str | None = None) -> PydanticCustomError:
    """A mistake with its own code; `at` names the member when it is not the one being checked."""
    return PydanticCustomError(code, detail, {"at": at} if at else None)


def without_card_number(text: str) -> str:
    """The text. Of every text that is stored: a test walks the models, so that none is forgotten."""
    if looks_like_card_number(text):
        raise mistake("must not hold anything that looks like a card number")
    return text


def _phone_without_card_number(phone: str) -> str:
    """As `without_card_number`, of what is a phone number whether it begins with a plus or not."""
    without_card_number(phone if phone.startswith("+") else f"+{phone}")
    return phone


def _check_vpa(vpa: str) -> str:
    if not _VPA.fullmatch(vpa):
        raise mistake("must be a VPA such as name@bank", code="invalid_vpa")
    return vpa


def _check_return_url(url: str, info: ValidationInfo) -> str:
    if not _is_return_url(url, allow_loopback=cast("Context", info.context).allow_loopback):
        raise mistake("must be an https URL")
    return url


def _check_count(metadata: Any) -> Any:
    """Before each of them is looked at: a body may have a thousand."""
    if isinstance(metadata, dict) and (count := len(metadata)) > METADATA_MAX:
        raise PydanticKnownError(
            "too_long", {"field_type": "Dictionary", "max_length": METADATA_MAX, "actual_length": count}
        )
    return metadata


def _check_metadata(metadata: dict[str, str], info: ValidationInfo) -> dict[str, str]:
    """Refuses what only test mode obeys in live mode, and values of it that do not exist."""
    context = cast("Context", info.context)
    for name, wrong_with in SWITCHES.items():
        if name not in metadata:
            continue
        if context.mode != "test":
            raise mistake("works in test mode only", code="test_mode_only", at=name)
        if wrong := wrong_with(metadata[name]):
            raise mistake(wrong, at=name)
    return metadata


def _check_country(code: str) -> str:
    if code not in COUNTRIES:
        raise mistake("must be the upper-case ISO 3166-1 alpha-2 code of a country")
    return code


def _check_ip(text: str) -> str:
    """The address in its shortest form. No card number is looked for: one IPv6 address in 350 seems to hold one."""
    try:
        address = ip_address(text)
    except ValueError:
        raise mistake("must be an IPv4 or IPv6 address") from None
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise mistake("must be an address without a zone")
    return str(address)


def _check_cavv(text: str) -> str:
    try:
        value = base64.b64decode(text, validate=True)
    except ValueError:
        value = b""
    if len(value) != _CAVV_BYTES or base64.b64encode(value).decode() != text:
        raise mistake(f"must be {_CAVV_BYTES} bytes in base64: 28 characters")
    return text


def _check_currency(code: str) -> str:
    if code not in CURRENCIES:
        raise mistake("must be the upper-case ISO 4217 code of a country's money")
    return code


Amount = Annotated[
    int, Field(ge=1, le=AMOUNT_MINOR_MAX, description="In the currency's minor unit", examples=[1099])
]
Currency = Annotated[
    str,
    AfterValidator(_check_currency),
    Field(json_schema_extra={"enum": cast("list[Any]", sorted(CURRENCIES))}, examples=["INR"]),
]
Country = Annotated[
    str,
    AfterValidator(_check_country),
    Field(json_schema_extra={"enum": cast("list[Any]", sorted(COUNTRIES))}, examples=["IN"]),
]
IpAddress = Annotated[str, Field(max_length=45, examples=["203.0.113.7"]), AfterValidator(_check_ip)]
Stored = AfterValidator(without_card_number)
Text40 = Annotated[str, Field(max_length=40), Stored]
Text100 = Annotated[str, Field(max_length=100), Stored]
Text500 = Annotated[str, Field(max_length=500), Stored]
_ONE_LINE: Final = Field(min_length=1, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")
Line20 = Annotated[str, _ONE_LINE, Field(max_length=20), Stored]
Line35 = Annotated[str, _ONE_LINE, Field(max_length=35), Stored]
Line100 = Annotated[str, _ONE_LINE, Field(max_length=100), Stored]
Line200 = Annotated[str, _ONE_LINE, Field(max_length=200), Stored]
HeaderValue = Annotated[str, _ONE_LINE, Field(max_length=2048), Stored]
StatementDescriptor = Annotated[
    str, _ONE_LINE, Field(max_length=STATEMENT_DESCRIPTOR_MAX_LENGTH, examples=["SHOP.EXAMPLE"]), Stored
]
Email = Annotated[str, Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$"), Stored]
Phone = Annotated[str, Field(max_length=32), AfterValidator(_phone_without_card_number)]
Vpa = Annotated[str, Field(max_length=320, examples=["success@upi"]), AfterValidator(_check_vpa), Stored]
ReturnUrl = Annotated[
    str,
    Field(max_length=URL_MAX_LENGTH, examples=["https://shop.example/back"]),
    AfterValidator(_check_return_url),
    Stored,
]
Metadata = Annotated[
    dict[Text40, Text500],
    BeforeValidator(_check_count),
    Field(max_length=METADATA_MAX, examples=[{"order": "7"}]),
    AfterValidator(_check_metadata),
]


class Body(BaseModel):
    """A request body. Its values show in no error."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


def _added(**about: Any) -> Any:
    """A member that an earlier release did not know: where it is absent, the fingerprint is what it was then."""
    return Field(default=None, exclude_if=lambda value: value is None, **about)


class Card(Body):
    """A card. Its number must pass Luhn; that its month is not over is checked when a new key is admitted."""

    number: str = Field(repr=False, json_schema_extra={"pattern": f"^{_NUMBER.pattern}$"})
    exp_month: int = Field(ge=1, le=12)
    exp_year: int = Field(ge=1000, le=9999, description="Four digits")
    cvc: str | None = Field(default=None, repr=False, exclude=True, pattern=r"^[0-9]{3,4}$")

    @field_validator("number")
    @classmethod
    def _passes_luhn(cls, number: str) -> str:
        if not _NUMBER.fullmatch(number) or not passes_luhn(number):
            raise mistake("must be 12 to 19 digits that pass Luhn", code="invalid_card_number")
        return number

    @field_serializer("number")
    def _masked(self, number: str, info: SerializationInfo) -> str:
        """A dump holds what stands for the number, and cannot be made without a way to hide it."""
        return cast("Callable[[str], str]", info.context)(number)

    def card(self) -> cards.Card:
        """The card as the domain knows it."""
        return cards.Card(self.number, self.exp_month, self.exp_year, self.cvc)


class CardMethod(Body):
    """A one-off card, or a saved one with its token."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["card"]}, {"required": ["token"]}]})

    type: Literal["card"]
    card: Card | None = None
    token: str | None = Field(default=None, max_length=64, examples=["pm_…"])
    cvc: str | None = Field(default=None, repr=False, exclude=True, pattern=r"^[0-9]{3,4}$")

    @model_validator(mode="after")
    def _one_of_two(self) -> "CardMethod":
        if self.card is None and self.token is None:
            raise mistake("is required, or a token", at="card")
        if self.card is not None and self.token is not None:
            raise mistake("must not come with a card", at="token")
        if self.card is not None and self.cvc is not None:
            raise mistake("belongs into the card", at="cvc")
        return self

    def paid_with(self, _mode: str) -> PaidWith:
        """The card, which lives in memory only. Raises `InvalidRequest`."""
        if self.card is None:
            return PaidWith(method="card", shown={"type": "card"}, token=self.token, cvc=self.cvc)
        card = self.card.card()
        shown = {
            "brand": card.brand,
            "last4": card.last4,
            "exp_month": card.exp_month,
            "exp_year": card.exp_year,
        }
        return PaidWith(method="card", shown={"type": "card", "card": shown}, card=card)


class Upi(Body):
    """How the customer pays with UPI."""

    flow: Literal["intent", "qr", "collect"]
    vpa: Vpa | None = None

    @model_validator(mode="after")
    def _collect_needs_vpa(self) -> "Upi":
        if self.flow == "collect" and self.vpa is None:
            raise mistake("is required for collect", at="vpa")
        return self


class UpiMethod(Body):
    """The customer pays in a UPI app; it takes INR and captures at once."""

    type: Literal["upi"]
    upi: Upi

    def paid_with(self, _mode: str) -> PaidWith:
        """All of it may be kept; `rrn` comes with the approval, and so does the payer's address."""
        shown = {"flow": self.upi.flow, "vpa": self.upi.vpa, "rrn": None}
        return PaidWith(method=f"upi.{self.upi.flow}", shown={"type": "upi", "upi": shown})


class Wallet(Body):
    """A wallet; Apple Pay and Google Pay come with a token."""

    provider: Literal["apple_pay", "google_pay", "paytm", "phonepe"]
    token: str | None = Field(default=None, max_length=16_384, repr=False)

    @model_validator(mode="after")
    def _device_wallets_have_tokens(self) -> "Wallet":
        device = self.provider in device_tokens.PROVIDERS
        if device and not self.token:
            raise mistake("is required for this provider", at="token")
        if not device and self.token is not None:
            raise mistake("is not for this provider", at="token")
        return self

    @field_serializer("token")
    def _left_out(self, _token: str | None) -> None:
        """Each token is good for one payment: another one alone is the same request."""


class WalletMethod(Body):
    """Apple Pay and Google Pay give a token on the device; the others have a page of their own."""

    type: Literal["wallet"]
    wallet: Wallet

    def paid_with(self, mode: str) -> PaidWith:
        """A device's token stands for a card, and lives in memory only. Raises `InvalidRequest`."""
        provider = self.wallet.provider
        method = f"wallet.{provider}"
        shown: dict[str, str] = {"provider": provider}
        if provider not in device_tokens.PROVIDERS or self.wallet.token is None:
            return PaidWith(method=method, shown={"type": "wallet", "wallet": shown})
        token = device_tokens.read(self.wallet.token, provider=provider, mode=mode)
        shown |= {"brand": token.brand, "last4": token.last4}
        return PaidWith(method=method, shown={"type": "wallet", "wallet": shown}, network_token=token)


class Customer(Body):
    """Who pays, as the merchant knows them; shown as it was given."""

    id: Text100 | None = None
    name: Line100 | None = _added()
    email: Email | None = None
    phone: Phone | None = None


class Address(Body):
    """Where a bill or a parcel goes."""

    line1: Line200
    line2: Line200 | None = None
    city: Line100 | None = None
    state: Line100 | None = None
    postal_code: Line20 | None = None
    country: Country


class Party(Body):
    """Whom a bill or a parcel is for; told to the acquirer and never shown."""

    name: Line100 | None = None
    address: Address | None = None


class Browser(Body):
    """What the customer's browser says of itself; told to the acquirer and never shown."""

    ip: IpAddress
    user_agent: HeaderValue
    accept: HeaderValue | None = None
    language: Line35 | None = Field(default=None, examples=["en-IN"])
    color_depth: int | None = Field(default=None, ge=0, le=128, description="Bits for each pixel")
    screen_width: int | None = Field(default=None, ge=0, le=PIXELS_MAX)
    screen_height: int | None = Field(default=None, ge=0, le=PIXELS_MAX)
    time_zone_offset: int | None = Field(
        default=None,
        ge=-MINUTES_FROM_UTC_MAX,
        le=MINUTES_FROM_UTC_MAX,
        description="Minutes behind UTC, as `getTimezoneOffset` gives them: -330 in India",
    )
    java_enabled: bool | None = None
    javascript_enabled: bool | None = None


class Sca(Body):
    """What the acquirer is asked for when it authenticates the cardholder."""

    challenge: Challenge = Field(
        default="default", description="`avoid`: a soft decline is not followed by a challenge"
    )
    exemption: Exemption | None = Field(
        default=None,
        description="Asked for where the issuer's country is known, and is not India; `authentication.exemption` says"
        " whether it was honoured",
    )


class Authentication(Body):
    """What the cardholder's authentication came to that the merchant made elsewhere; passed on and never kept."""

    version: str = Field(
        repr=False, pattern=r"^2\.[0-9]{1,2}(\.[0-9]{1,2})?$", description="Of 3-D Secure", examples=["2.2.0"]
    )
    trans_status: Literal["Y", "A"] = Field(repr=False)
    eci: str = Field(repr=False, pattern="^[0-9]{2}$", examples=["05"])
    cavv: Annotated[str, AfterValidator(_check_cavv)] = Field(
        repr=False, max_length=28, description="20 bytes in base64"
    )
    ds_transaction_id: str = Field(repr=False, pattern=_UUID, description="A UUID")

    def handed_in(self) -> HandedIn:
        """As the domain knows it."""
        return HandedIn(**self.model_dump())


class CreatePayment(Body):
    """The body of `POST /v1/payments`."""

    amount: Amount
    currency: Currency
    payment_method: Annotated[CardMethod | UpiMethod | WalletMethod, Field(discriminator="type")]
    capture_method: Literal["automatic", "manual"] = "automatic"
    merchant_reference: Text100 | None = None
    description: Text500 | None = None
    metadata: Metadata = {}
    return_url: ReturnUrl | None = None
    customer: Customer | None = None
    billing: Party | None = _added()
    shipping: Party | None = _added()
    browser: Browser | None = Field(default=None, exclude=True)
    channel: Channel | None = _added(
        description="`moto`: the merchant types in what came by letter or telephone"
    )
    statement_descriptor: StatementDescriptor | None = _added()
    setup: Literal["on_session", "off_session"] | None = _added(
        description="Saves the card once the payment is approved: for payments with the customer there, or also for"
        " such as the merchant begins"
    )
    off_session: bool | None = Field(
        default=None,
        exclude_if=lambda value: not value,
        description="Whether the customer is not there: with a saved card whose `setup` is `off_session`",
    )
    reason: Reason | None = _added(
        description="Required with `off_session`: why the merchant asks for the money"
    )
    sca: Sca | None = Field(default=None, exclude_if=lambda value: value in (None, Sca()))
    authentication: Authentication | None = Field(default=None, repr=False, exclude=True)

    @model_validator(mode="after")
    def _authenticated_once(self) -> "CreatePayment":
        given = [name for name in ("sca", "authentication") if getattr(self, name) is not None]
        if given and self.payment_method.type != "card":
            raise mistake("is for cards only", at=given[0])
        if len(given) > 1:
            raise mistake("must not come with sca", at="authentication")
        return self


class CreateCapture(Body):
    """The body of `POST /v1/payments/{id}/capture`."""

    amount: Amount | None = Field(default=None, description="All that is capturable when it is left out")
    final: bool = Field(default=True, description="Whether what is left is released")


class CreateVoid(Body):
    """The body of `POST /v1/payments/{id}/void`."""

    reason: Text500 | None = None


class AcceptDispute(Body):
    """The body of `POST /v1/disputes/{id}/accept`: nothing."""


class CreateRefund(Body):
    """The body of `POST /v1/payments/{id}/refunds`."""

    amount: Amount | None = Field(default=None, description="All that is refundable when it is left out")
    reason: Text500 | None = None
    metadata: Metadata = {}


def _is_return_url(url: str, *, allow_loopback: bool) -> bool:
    """https to a host without credentials; plain http to this machine where the deployment allows it."""
    if not _URL_CHARACTERS.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and allow_loopback and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
