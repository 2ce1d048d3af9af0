"""What an account takes and what it does not, as data, and what is refused for it before anything is admitted.

Each refusal is `InvalidRequest`: 422, stored under no key, so that the same key serves for a request that fits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from payonce.domain.errors import InvalidRequest
from payonce.domain.payment import Payment


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """Which amounts an account takes, in our minor units by ISO 4217 code; others have no rule."""

    smallest: Mapping[str, int] = field(default_factory=dict)
    largest: Mapping[str, int] = field(default_factory=dict)
    multiple_of: Mapping[str, int] = field(default_factory=dict)  # what maps exactly there and back

    def refusal(self, amount_minor: int, currency: str) -> InvalidRequest | None:
        """`amount_not_supported` for an amount that the account does not take."""
        smallest, step = self.smallest.get(currency, 0), self.multiple_of.get(currency, 1)
        if amount_minor < smallest:
            return _amount(f"The smallest amount that the acquirer takes is {smallest} {currency}.")
        if amount_minor > (largest := self.largest.get(currency, amount_minor)):
            return _amount(f"The largest amount that the acquirer takes is {largest} {currency}.")
        if amount_minor % step:
            return _amount(f"The acquirer takes multiples of {step} {currency} only.")
        return None

    def check(self, amount_minor: int, currency: str) -> None:
        """Raises `refusal`."""
        refused = self.refusal(amount_minor, currency)
        if refused is not None:
            raise refused


ANY_AMOUNT: Final = Amounts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Required:
    """A member of the create that an account needs, of some methods and currencies. None: of all."""

    pointer: str  # a JSON Pointer, such as /billing/address/country
    methods: frozenset[str] | None = None
    currencies: frozenset[str] | None = None
    attended: bool = False  # whether only a payment needs it whose customer is there

    def of(self, method: str, currency: str, *, attended: bool = True) -> bool:
        """Whether a payment by this method in this currency needs it."""
        if self.attended and not attended:
            return False
        by_method = self.methods is None or method in self.methods
        return by_method and (self.currencies is None or currency in self.currencies)


class Rail(Protocol):
    """What an account can do with a payment that it took."""

    @property
    def amounts(self) -> Amounts: ...
    @property
    def partial_capture(self) -> bool: ...
    @property
    def split_capture(self) -> bool: ...
    @property
    def void(self) -> bool: ...
    @property
    def partial_refund(self) -> bool: ...


def check_capture(rail: Rail | None, payment: Payment, *, amount_minor: int, final: bool) -> None:
    """Raises `InvalidRequest` for a capture that the account cannot make. None: the account is not known here."""
    if rail is None:
        return
    if not final and not rail.split_capture:
        raise _amount("This payment can be captured once only.", pointer="/final")
    if amount_minor < payment.capturable_minor and not rail.partial_capture:
        raise _amount("This payment can be captured in full only.")
    rail.amounts.check(amount_minor, payment.currency)


def check_void(rail: Rail | None, payment: Payment) -> None:
    """Raises `InvalidRequest` where the account releases no authorization; a challenge is abandoned still."""
    if rail is not None and not rail.void and payment.status.capturable:
        raise InvalidRequest("The acquirer releases no authorization.", code="operation_not_supported")


def check_refund(rail: Rail | None, payment: Payment, *, amount_minor: int) -> None:
    """Raises `InvalidRequest` for a refund that the account cannot make."""
    if rail is None:
        return
    if amount_minor < payment.amount_captured_minor and not rail.partial_refund:
        raise _amount("This payment can be refunded in full only.")
    rail.amounts.check(amount_minor, payment.currency)


def _amount(message: str, *, pointer: str = "/amount") -> InvalidRequest:
    return InvalidRequest(message, pointer=pointer, code="amount_not_supported")
