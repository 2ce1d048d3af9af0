"""A card in memory: its number and security code never show in a repr, a log or a traceback."""

import re
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from itertools import accumulate

_NUMBER_LENGTH_MIN = 13  # of those in use
_DIGITS = re.compile("[0-9]+")
# What a digit counts for in Luhn's sum, as it is and doubled: by its ASCII code.
_ONCE = bytes(code - 48 if 48 <= code <= 57 else 0 for code in range(256))
_TWICE = bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)[code - 48] if 48 <= code <= 57 else 0 for code in range(256))
_RUNS = re.compile("[0-9]+(?:[ -]+[0-9]+)*")
_DRAWN = re.compile(
    "(?<![0-9a-z])(?:(?=[0-9-]{0,35}[a-f])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    "|(?=[0-9]*[a-f])[0-9a-f]{20,})(?![0-9a-z])",
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

_PREFIX_LENGTH = 4
# Of every network in use, the first digits of its numbers and their lengths. Source: ISO/IEC 7812 issuer ranges as
# published by the networks.
_ISSUED: tuple[tuple[tuple[tuple[int, int], ...], tuple[int, ...]], ...] = (
    (((34, 34), (37, 37)), (15,)),  # American Express
    (((51, 55), (2221, 2720)), (16,)),  # Mastercard
    (((50, 50), (56, 69)), tuple(range(13, 20))),  # Maestro, Discover, RuPay, UnionPay, Elo, Verve
    (((4, 4),), (13, 16, 19)),  # Visa
    (((3528, 3589),), tuple(range(16, 20))),  # JCB, RuPay
    (((300, 305), (3095, 3095), (36, 36), (38, 39)), tuple(range(14, 20))),  # Diners Club
    (((81, 82),), tuple(range(16, 20))),  # RuPay, UnionPay
    (((2200, 2205),), tuple(range(16, 20))),  # Mir, GPN
    (((8600, 8600), (9860, 9860), (9792, 9792)), (16,)),  # UzCard, Humo, Troy
    (((1, 1),), (15,)),  # UATP
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
    """Whether digits in a row, spaces and dashes between them aside, are a number that an issuer may have given out.

    That is: its first digits and its length are in use, and it passes Luhn. Groups of digits beside a number (an
    expiry, a security code) do not hide it; a longer group is an id. So is what was drawn at random: otherwise one
    version 4 UUID in 340 would count (measured).
    """
    return any(_holds_card_number(_DIGITS.findall(run)) for run in _RUNS.findall(_DRAWN.sub("x", text)))


def _holds_card_number(groups: list[str]) -> bool:
    """Whether neighbouring groups make up a card number.

    Each window of whole groups is judged by one subtraction: by the sums of the digits up to each place, once with
    every other digit doubled and once with the others. So the work grows with the text, whatever it holds; with Luhn
    anew for each window, 500 characters took 10 ms of the event loop (measured), and a request has fifty of them.
    """
    digits = "".join(groups)
    if len(digits) < _NUMBER_LENGTH_MIN:
        return False
    ends = set(accumulate(map(len, groups)))
    sums = _sums(digits.encode())
    for start in accumulate(map(len, groups[:-1]), initial=0):
        for length in _lengths(digits[start : start + _PREFIX_LENGTH]):
            end = start + length
            of = sums[end % 2]  # the last digit of a number is not doubled
            if end in ends and (of[end] - of[start]) % 10 == 0 and not _is_article(digits[start:end]):
                return True
    return False


def _sums(digits: bytes) -> tuple[list[int], list[int]]:
    """What the digits up to each place count for in Luhn's sum: where the even places are single, and the odd ones.

    `sums[parity]` is right for a number that ends before a place of this parity.
    """
    single, double = digits.translate(_ONCE), digits.translate(_TWICE)
    sums = []
    for parity in (0, 1):
        weighted = bytearray(double)
        weighted[1 - parity :: 2] = single[1 - parity :: 2]
        sums.append(list(accumulate(weighted, initial=0)))
    return sums[0], sums[1]


@lru_cache(maxsize=10_000)
def _lengths(prefix: str) -> tuple[int, ...]:
    """How long a number may be that begins so; none where no issuer's does."""
    found: set[int] = set()
    for ranges, lengths in _ISSUED:
        for low, high in ranges:
            first = prefix[: len(str(low))]
            if len(first) == len(str(low)) and low <= int(first) <= high:
                found.update(lengths)
    return tuple(sorted(found))


def _is_article(digits: str) -> bool:
    """Whether 13 digits are an article's number rather than one of Visa's old ones. Source: GS1, EAN-13."""
    if len(digits) != _NUMBER_LENGTH_MIN:
        return False
    return (sum(map(int, digits[::2])) + 3 * sum(map(int, digits[1::2]))) % 10 == 0
