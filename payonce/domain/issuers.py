"""In which country a card was issued, as far as payonce knows it.

In live mode: by the table of ranges that an operator imported, as long as it is young enough. In test mode: of test
numbers only, so that what depends on it can be played. What an acquirer says of the issuer comes after the card was
sent, and counts more than the table.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from payonce.domain.cards import Card

DIGITS: Final = 9
RECORD_BYTES: Final = 10  # of a packed range: first and last number, four bytes each, and two letters
RANGES_MAX: Final = 500_000  # each API process holds them all: 5 MB
KNOWN_FOR: Final = timedelta(days=45)  # ranges are sold and moved between issuers all the time
_TEST_NUMBERS: Final = {
    "424242424": "US",
    "400000000": "US",
    "400000250": "FR",
    "400000826": "GB",
    "400000356": "IN",
}
"""By their first nine digits. Source: Stripe, "Test card numbers", by country."""


@dataclass(frozen=True, slots=True)
class IssuerRange:
    """The numbers whose first nine digits lie between these two, both of them included, are of this country."""

    first: int
    last: int
    country: str  # ISO 3166-1, two letters


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerTable:
    """What was imported: ranges in their order, none of which overlaps another, packed."""

    packed: bytes = field(repr=False)
    imported_at: datetime

    def known(self, now: datetime) -> bool:
        """Whether the table is young enough to say anything."""
        return now - self.imported_at < KNOWN_FOR

    def country(self, number: str) -> str | None:
        """The country of the range that the card number lies in; None where it lies in none."""
        digits = int(number[:DIGITS])
        index = bisect_right(range(len(self.packed) // RECORD_BYTES), digits, key=self._first) - 1
        if index < 0:
            return None
        at = index * RECORD_BYTES
        last = int.from_bytes(self.packed[at + 4 : at + 8], "big")
        return self.packed[at + 8 : at + RECORD_BYTES].decode("ascii") if digits <= last else None

    def _first(self, index: int) -> int:
        at = index * RECORD_BYTES
        return int.from_bytes(self.packed[at : at + 4], "big")


def packed(ranges: Iterable[IssuerRange]) -> bytes:
    """The ranges as a table holds them: they are in order, and none overlaps another."""
    return b"".join(
        one.first.to_bytes(4, "big") + one.last.to_bytes(4, "big") + one.country.encode("ascii")
        for one in ranges
    )


def country_of(card: Card | None, *, mode: str, table: IssuerTable | None, now: datetime) -> str | None:
    """The issuer's country, by ISO 3166-1 in two letters; None where it is not known."""
    if card is None:
        return None
    if mode == "test":
        return _TEST_NUMBERS.get(card.number[:DIGITS])
    return table.country(card.number) if table is not None and table.known(now) else None
