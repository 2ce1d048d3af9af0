"""A card in memory: its number and security code never show in a repr, a log or a traceback."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

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


_LAST_ZONE = timezone(timedelta(hours=-12))  # where every month ends last


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

    def expired(self, now: datetime) -> bool:
        """A card is good to the end of its month (ISO/IEC 7813), wherever on earth that ends last.

        What is over in one country and not yet in another is the issuer's to say.
        """
        there = now.astimezone(_LAST_ZONE)
        return (self.exp_year, self.exp_month) < (there.year, there.month)


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
