"""A card in memory: its number and security code never show in a repr, a log or a traceback."""

from dataclasses import dataclass, field
from datetime import date

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


def passes_luhn(digits: str) -> bool:
    """Whether the check digit holds. Source: ISO/IEC 7812-1 annex B."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if position % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def looks_like_card_number(text: str) -> bool:
    """Whether 13 to 19 digits in a row, spaces and dashes between them aside, pass Luhn."""
    run = ""
    for character in text + "x":
        if character.isascii() and character.isdigit():
            run += character
        elif character not in " -" or not run:
            if _holds_card_number(run):
                return True
            run = ""
    return False


def _holds_card_number(run: str) -> bool:
    """A run of 13 to 19 digits counts as a whole; a longer one is an id, not a card."""
    return 13 <= len(run) <= 19 and passes_luhn(run)
