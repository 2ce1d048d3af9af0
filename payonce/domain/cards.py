"""A card in memory: its number and security code never show in a repr, a log or a traceback."""

import re
from dataclasses import dataclass, field
from datetime import date

_NUMBER_LENGTH_MIN, _NUMBER_LENGTH_MAX = 13, 19  # of those in use; ISO/IEC 7812-1 allows up to 19
_DIGITS = re.compile("[0-9]+")
_RUNS = re.compile("[0-9]+(?:[ -]+[0-9]+)*")
_DRAWN = re.compile(
    "(?<![0-9a-z])(?=[0-9-]*[a-f])(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{20,})(?![0-9a-z])",
    re.IGNORECASE,
)
"""UUIDs, and hexadecimal ids with a letter in them."""

_BRAND_PREFIXES: tuple[tuple[str, tuple[tuple[int, int], ...]], ...] = (
    # Source: ISO/IEC 7812 issuer ranges as published by the networks; first match wins.
    ("amex", ((34, 34), (37, 37))),
    ("mastercard", ((51, 55), (2221, 2720))),
    ("discover", ((6011, 6011), (644, 649), (65, 65))),
    ("rupay", ((60, 60), (81, 82), (508, 508))),
    ("jcb", ((3528, 3589),)),
    ("diners", ((300, 305), (36, 36), (38, 39))),
    ("visa", ((4, 4),)),
)


@dataclass(frozen=True, slots=True)
class Card:
    """A one-off card, as it travels from the request to the acquirer in one process's memory."""

    number: str = field(repr=False)
    exp_month: int
    exp_year: int
    cvc: str | None = field(default=None, repr=False)

    @property
    def last4(self) -> str:
        return self.number[-4:]

    @property
    def brand(self) -> str:
        """The network by the number's first digits, or `unknown`."""
        for brand, ranges in _BRAND_PREFIXES:
            if any(low <= int(self.number[: len(str(low))]) <= high for low, high in ranges):
                return brand
        return "unknown"

    def expired(self, today: date) -> bool:
        """A card is good to the end of its month (ISO/IEC 7813)."""
        return (self.exp_year, self.exp_month) < (today.year, today.month)


@dataclass(frozen=True, slots=True)
class NetworkToken:
    """What a device wallet gives in place of a card: a number of its own, and the proof of this one payment."""

    number: str = field(repr=False)
    exp_month: int
    exp_year: int
    cryptogram: str = field(repr=False)
    eci: str | None = None  # electronic commerce indicator: how the customer was authenticated

    @property
    def last4(self) -> str:
        return self.number[-4:]

    @property
    def brand(self) -> str:
        """The network by the number's first digits, or `unknown`."""
        return Card(self.number, self.exp_month, self.exp_year).brand


def passes_luhn(digits: str) -> bool:
    """Whether the check digit holds. Source: ISO/IEC 7812-1 annex B."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if position % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def looks_like_card_number(text: str) -> bool:
    """Whether 13 to 19 digits in a row, spaces and dashes between them aside, pass Luhn.

    Groups of digits beside a number (an expiry, a security code) do not hide it; a longer group is an id. So is
    what was drawn at random: otherwise one version 4 UUID in 340 would count (measured).
    """
    return any(_holds_card_number(_DIGITS.findall(run)) for run in _RUNS.findall(_DRAWN.sub("x", text)))


def _holds_card_number(groups: list[str]) -> bool:
    """Whether neighbouring groups make up a card number."""
    for first in range(len(groups)):
        number = ""
        for group in groups[first:]:
            number += group
            if len(number) > _NUMBER_LENGTH_MAX:
                break
            if len(number) >= _NUMBER_LENGTH_MIN and passes_luhn(number):
                return True
    return False
