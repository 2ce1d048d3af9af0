"""Request bodies, validated strictly at the edge. A refusal never repeats the value it refuses."""

from collections.abc import AsyncIterable
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from devstack.acquirer import cards, faults
from devstack.acquirer.config import Config

BODY_BYTES_MAX = 65_536
AMOUNT_MAX = 2**53 - 1
FAULTS_MAX = 16


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


Reference = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_.:\-]+$", min_length=1, max_length=128),
    AfterValidator(_not_a_card_number),
]
Amount = Annotated[int, Field(ge=1, le=AMOUNT_MAX)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Fault = Annotated[str, Field(max_length=64), AfterValidator(_known_fault)]


class Card(BaseModel):
    """A card as sent. Its number is used for the decision and never kept."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    number: Annotated[str, Field(pattern=r"^[0-9]{12,19}$", repr=False), AfterValidator(_luhn)]
    exp_month: int = Field(ge=1, le=12)
    exp_year: int = Field(ge=2000, le=2099)
    cvc: str | None = Field(default=None, pattern=r"^[0-9]{3,4}$", repr=False)


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
        """The entries that are for this operation, each once, in the order given."""
        return [entry for entry in dict.fromkeys(self.faults) if entry.startswith(self.fault_prefix + ":")]

    def scope(self) -> str:
        """Within what a fault fires once: `fault_scope`, or else the payment, or else the reference."""
        return self.fault_scope or self.payment_reference or self.reference


class MoneyOrder(Order):
    """An order to move money."""

    payment_reference: Reference
    amount: Amount
    currency: Currency


class Authorize(MoneyOrder):
    """Reserve, and with `capture` also take, an amount on a card."""

    operation = "authorize"
    fault_prefix = "authorize"

    capture: bool
    card: Card


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


class Refund(Modify):
    """Give back an amount that was captured."""

    operation = "refund"
    fault_prefix = "refund"


class Reverse(Order):
    """Undo whatever `original_reference` did, and block it."""

    operation = "reversal"
    fault_prefix = "reverse"

    original_reference: Reference
    payment_reference: Reference


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
    for model in (Config, Card, Authorize, Capture, Void, Refund, Reverse, Inquire)
    for name in model.model_fields
)
