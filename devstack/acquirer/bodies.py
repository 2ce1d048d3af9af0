"""Request bodies, validated strictly at the edge. A refusal never repeats the value it refuses."""

import hashlib
from collections.abc import AsyncIterable
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from devstack.acquirer import cards, faults
from devstack.acquirer.config import Config
from devstack.acquirer.scripts import Rail, SandboxVpa

BODY_BYTES_MAX = 65_536
AMOUNT_MAX = 2**53 - 1
FAULTS_MAX = 16
URL_MAX = 2048
RESULT_MAX = 32_768
WINDOW_S_MAX = 86_400


def _not_a_card_number(text: str) -> str:
    if text.isdecimal() and 13 <= len(text) <= 19 and cards.passes_luhn(text):
        raise ValueError("looks like a card number")
    return text


def _luhn(number: str) -> str:
    if not cards.passes_luhn(number):
        raise ValueError("fails the Luhn check")
    return number


def _known_fault(entry: str) -> str:
    if not faults.is_known(entry):
        raise ValueError("unknown fault")
    return entry


def _absolute_http(url: str) -> str:
    if urlsplit(url).hostname is None:  # it raises ValueError, too
        raise ValueError("is not an absolute URL")
    return url


Reference = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_.:\-]+$", min_length=1, max_length=128),
    AfterValidator(_not_a_card_number),
]
Amount = Annotated[int, Field(ge=1, le=AMOUNT_MAX)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Fault = Annotated[str, Field(max_length=64), AfterValidator(_known_fault)]
Url = Annotated[str, Field(pattern=r"^https?://[!-~]+$", max_length=URL_MAX), AfterValidator(_absolute_http)]
Token = Annotated[str, Field(pattern=r"^tok_[0-9a-f]{24}$")]  # of a saved card
# Source: NPCI, UPI address: a name and a handle.
Vpa = Annotated[str, Field(pattern=r"^[A-Za-z0-9._\-]{2,256}@[A-Za-z][A-Za-z0-9]{1,63}$")]
Rrn = Annotated[str, Field(pattern=r"^[0-9]{12}$")]


class Card(BaseModel):
    """A card as sent. Its number is used for the decision and never kept."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    number: Annotated[str, Field(pattern=r"^[0-9]{12,19}$", repr=False), AfterValidator(_luhn)]
    exp_month: int = Field(ge=1, le=12)
    exp_year: int = Field(ge=2000, le=2099)
    cvc: str | None = Field(default=None, pattern=r"^[0-9]{3,4}$", repr=False)


class NetworkToken(BaseModel):
    """What a wallet's decrypted token holds in place of a card. Neither number nor cryptogram is kept."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    number: Annotated[str, Field(pattern=r"^[0-9]{12,19}$", repr=False), AfterValidator(_luhn)]
    exp_month: int = Field(ge=1, le=12)
    exp_year: int = Field(ge=2000, le=2099)
    cryptogram: str = Field(pattern=r"^[A-Za-z0-9+/_\-]{16,64}={0,2}$", repr=False)
    eci: str = Field(pattern=r"^0?[0-7]$")


class Payee(BaseModel):
    """Whom the customer pays, as the page shows it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    vpa: Vpa
    name: str = Field(min_length=1, max_length=99)


class Order(BaseModel):
    """What every request has. `fault_prefix` is the operation's name in `faults`."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    operation: ClassVar[str]
    fault_prefix: ClassVar[str]

    reference: Reference
    payment_reference: Reference | None = None
    faults: list[Fault] = Field(default_factory=list, max_length=FAULTS_MAX)
    fault_scope: Reference | None = None

    def own_faults(self) -> list[str]:
        """The entries that are for this operation, in the order given."""
        return [entry for entry in self.faults if entry.startswith(self.fault_prefix + ":")]

    def scope(self) -> str:
        """Within what a fault fires once: `fault_scope`, or else the payment, or else the reference."""
        return self.fault_scope or self.payment_reference or self.reference


class MoneyOrder(Order):
    """An order to move money. What becomes of it later is told to `callback_url`, or to its authorization's."""

    payment_reference: Reference
    amount: Amount
    currency: Currency
    callback_url: Url | None = None


class Sca(BaseModel):
    """What a merchant wishes of authentication."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    challenge: Literal["default", "force", "avoid"] = "default"
    exemption: Literal["low_value", "transaction_risk_analysis"] | None = None


class HandedIn(BaseModel):
    """What an authentication came to that the merchant ran elsewhere. Its value of proof is never kept."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    version: str = Field(pattern=r"^[0-9]{1,2}(\.[0-9]{1,2}){0,2}$")
    trans_status: Literal["Y", "A"]
    eci: str = Field(pattern=r"^0?[0-7]$")
    cavv: str = Field(pattern=r"^[A-Za-z0-9+/_\-]{8,64}={0,2}$", repr=False)
    ds_transaction_id: str = Field(pattern=r"^[A-Za-z0-9\-]{1,64}$")

    def digest(self) -> str:
        """SHA-256, in hex, of its values in the order above, a line each: who knows them can see that they came."""
        return hashlib.sha256("\n".join(self.model_dump().values()).encode()).hexdigest()


class Stored(BaseModel):
    """What a payment with a stored card says of it: who asks for the money, why, and what the scheme said first."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    initiator: Literal["customer", "merchant"]
    reason: Literal["unscheduled", "recurring", "installment", "delayed", "no_show"] | None = None
    network_transaction_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9]{1,64}$")

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        if (self.initiator == "merchant") != (self.reason is not None):
            raise ValueError("a merchant says why it asks for the money, and a customer does not")
        return self


class Authorize(MoneyOrder):
    """Reserve, and with `capture` also take, an amount on a card, a network token or a card that was saved.

    The cardholder may be asked first, on a page. `completes`: who ends that, the page itself (`customer`), or a
    `Resume` with what the browser brings back, which moves the money (`resume`), or reads only (`reads`).
    `asks_again`: whether the first `Resume` of who passed asks them once more, on a page of its own, and the second
    one moves the money. `soft_decline`: whether a card whose issuer wants that is challenged at once, or declined.
    `save`: for what the card is to be kept; its token comes with the approval.
    """

    operation = "authorize"
    fault_prefix = "authorize"

    capture: bool
    card: Card | None = None
    network_token: NetworkToken | None = None
    token: Token | None = Field(default=None, repr=False)
    save: Literal["on_session", "off_session"] | None = None
    sca: Sca | None = None
    authentication: HandedIn | None = None
    off_session: bool = False
    stored: Stored | None = None
    soft_decline: Literal["itself", "resend"] = "resend"
    completes: Literal["customer", "resume", "reads"] = "customer"
    asks_again: bool = False
    window_s: int = Field(default=900, ge=1, le=WINDOW_S_MAX)
    return_url: Url | None = None
    returns_by: Literal["get", "post"] = "get"

    @model_validator(mode="after")
    def _has_one_of_them(self) -> Self:
        if [self.card, self.network_token, self.token].count(None) != 2:
            raise ValueError("needs either card, network_token or token")
        if self.save is not None and self.network_token is not None:
            raise ValueError("saves cards only")
        if self.sca is not None and self.authentication is not None:
            raise ValueError("has either sca or authentication")
        by_merchant = self.stored is not None and self.stored.initiator == "merchant"
        if self.off_session != by_merchant and self.stored is not None:
            raise ValueError("off_session is what the merchant asks for with a stored card")
        if self.asks_again and self.completes != "resume":
            raise ValueError("asks again where a resumption completes it")
        return self

    def challenge(self) -> str:
        """Whether the merchant wants its customer asked."""
        return "default" if self.sca is None else self.sca.challenge

    def exemption(self) -> str | None:
        """Why the merchant wants its customer not asked."""
        return None if self.sca is None else self.sca.exemption

    def number(self) -> str:
        """The number that decides, whichever kind it is; one that is paid by token has none."""
        instrument = self.card or self.network_token
        assert instrument is not None  # by the validator
        return instrument.number


class CustomerOrder(MoneyOrder):
    """An order that the customer decides later. It takes what it authorizes."""

    operation = "authorize"
    fault_prefix = "authorize"
    rail: ClassVar[Rail]

    currency: Literal["INR"]
    window_s: int = Field(default=30, ge=1, le=WINDOW_S_MAX)
    note: str | None = Field(default=None, max_length=500)


class PayByUpi(CustomerOrder):
    """Ask a customer for money over UPI: `intent` and `qr` start in their app, `collect` with the bank."""

    rail = Rail.UPI

    flow: Literal["intent", "qr", "collect"]
    vpa: Vpa | None = None
    sandbox_vpa: SandboxVpa = "pending@upi"
    payee: Payee

    @model_validator(mode="after")
    def _has_an_address_if_it_collects(self) -> Self:
        if (self.flow == "collect") == (self.vpa is None):
            raise ValueError("vpa is for collect, and needed there")
        return self

    def payer_vpa(self) -> str:
        """The address that pays. One that the sandbox gives no meaning waits for the page."""
        return self.vpa or self.sandbox_vpa


class PayByWallet(CustomerOrder):
    """Ask a customer for money from a wallet, on the wallet's own page."""

    rail = Rail.WALLET

    provider: Literal["paytm", "phonepe"]
    window_s: int = Field(default=120, ge=1, le=WINDOW_S_MAX)
    payee: Payee | None = None
    return_url: Url | None = None


class Modify(MoneyOrder):
    """An order that refers to an authorization made earlier."""

    authorization: Reference


class Capture(Modify):
    """Take an amount of an authorization; `final` says that no more follow."""

    operation = "capture"
    fault_prefix = "capture"

    final: bool


class Void(Modify):
    """Release an amount of an authorization."""

    operation = "void"
    fault_prefix = "void"


class Refund(MoneyOrder):
    """Give back an amount that was captured, of the authorization that has this id or this `rrn`."""

    operation = "refund"
    fault_prefix = "refund"

    authorization: Reference | None = None
    rrn: Rrn | None = None

    @model_validator(mode="after")
    def _names_what_it_refunds(self) -> Self:
        if self.authorization is None and self.rrn is None:
            raise ValueError("needs authorization or rrn")
        return self


class Resume(Order):
    """Go on with the challenge of `reference`, whose page gave `result` to the browser. Repeats have the same key."""

    operation = "resume"
    fault_prefix = "resume"

    payment_reference: Reference
    result: str = Field(
        max_length=RESULT_MAX
    )  # whatever a browser brings: a wrong one is not a malformed request
    key: Reference


class Reverse(Order):
    """Undo whatever `original_reference` did, and block it."""

    operation = "reversal"
    fault_prefix = "reverse"

    original_reference: Reference
    payment_reference: Reference


class Cancel(Order):
    """Let the customer whom `original_reference` asked pay no more, and block it."""

    operation = "cancellation"
    fault_prefix = "cancel"

    original_reference: Reference
    payment_reference: Reference


class DeleteToken(Order):
    """Let nobody pay with a saved card any more."""

    operation = "delete_token"
    fault_prefix = "delete_token"

    token: Token = Field(repr=False)


class AcceptDispute(Order):
    """Give in to the bank, for good: no money moves by that."""

    operation = "accept"
    fault_prefix = "accept"

    dispute: Reference


class InquireDispute(Order):
    """Ask how a dispute stands; it is never called by a reference."""

    operation = "inquire"
    fault_prefix = "inquire"

    dispute: Reference


class Inquire(Order):
    """Ask what became of `reference`."""

    operation = "inquire"
    fault_prefix = "inquire"


async def read(stream: AsyncIterable[bytes]) -> bytes | None:
    """The whole body, or None when it is over 64 KiB."""
    body = bytearray()
    async for chunk in stream:
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            return None
    return bytes(body)


def describe(error: ValidationError) -> str:
    """What is wrong and where, without any value that was sent. At most three faults are named."""
    found = [
        (".".join(_shown(part) for part in item["loc"]) or "body") + ": " + _said(item["type"], item["msg"])
        for item in error.errors(include_input=False, include_url=False, include_context=False)[:3]
    ]
    return "; ".join(found)


class Glimpse(BaseModel):
    """What can be logged of a request that was refused: its references, if they are well-formed."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    reference: Reference | None = None
    payment_reference: Reference | None = None


def glimpse(body: bytes) -> Glimpse:
    """The references of a body that may be anything."""
    try:
        return Glimpse.model_validate_json(body)
    except ValidationError:
        return Glimpse()


def _shown(part: int | str) -> str:
    # The name of an unknown member is the sender's: it could hold a card number.
    text = str(part)
    return text if text in _MEMBERS or (text.isdecimal() and len(text) < 4) else "(unknown member)"


def _said(kind: str, message: str) -> str:
    # The JSON parser's message quotes nothing but positions; every other message is ours or pydantic's rule.
    return "is not JSON" if kind == "json_invalid" else message


_MEMBERS = frozenset(
    name
    for model in (
        *(Config, Card, NetworkToken, Payee, Sca, HandedIn, Authorize, PayByUpi, PayByWallet),
        *(Capture, Void, Refund, Resume, Reverse, Cancel, DeleteToken, Inquire),
        *(AcceptDispute, InquireDispute),
    )
    for name in model.model_fields
)
