"""Money: integer minor units and an ISO 4217 code, never a float."""

from dataclasses import dataclass

AMOUNT_MINOR_MAX = 2**53 - 1  # the largest integer that every JSON reader keeps exact (RFC 8259 §6)
CURRENCY_CODE_LENGTH = 3  # ISO 4217 alphabetic code


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An amount of one currency; arithmetic never mixes currencies and never goes below zero."""

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.amount_minor) is not int or not 0 <= self.amount_minor <= AMOUNT_MINOR_MAX:
            raise ValueError("an amount is an integer of minor units from 0 to 2^53 - 1")
        code = self.currency
        if len(code) != CURRENCY_CODE_LENGTH or not (code.isascii() and code.isalpha() and code.isupper()):
            raise ValueError("a currency is an upper-case ISO 4217 code")

    def __add__(self, other: "Money") -> "Money":
        return Money(self.amount_minor + self._same(other).amount_minor, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.amount_minor - self._same(other).amount_minor, self.currency)

    def _same(self, other: "Money") -> "Money":
        if other.currency != self.currency:
            raise ValueError(f"{other.currency} cannot be combined with {self.currency}")
        return other
