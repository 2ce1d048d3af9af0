"""Card numbers where none should be: in texts that are stored, shown or logged.

What counts is a check digit that holds, first digits and a length that an issuer uses, and that the digits stand in
groups of their own, whatever is between the groups and however a digit is written. A number that is something else
by its form (a date, a phone number, an article's, an id that was drawn at random) is not refused, although nobody
can be sure: `may_hold_card_number` says so.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate
from typing import Final
from urllib.parse import unquote_to_bytes

Ranges = tuple[tuple[int, int], ...]

_ISSUED: Final[tuple[tuple[str, Ranges, tuple[int, ...]], ...]] = (
    # Sources: ISO/IEC 7812-1 (at most 19 digits, Luhn), and the ranges that the networks publish, as collected in
    # Wikipedia, "Payment card number", and in Braintree's credit-card-type (read 2026-10).
    ("American Express", ((34, 34), (37, 37)), (15,)),
    ("Mastercard", ((51, 55), (2221, 2720)), (16,)),
    ("Visa", ((4, 4),), (13, 16, 19)),
    (
        "Maestro",
        ((5018, 5018), (5020, 5020), (5038, 5038), (5893, 5893), (6304, 6304), (6759, 6759), (6761, 6763)),
        tuple(range(12, 20)),
    ),
    # In one row what lies side by side: Maestro's other ranges, Discover 6011, 644-649, 65, RuPay 508, 60, 65,
    # UnionPay 62, Elo, Hipercard, Verve, InstaPayment 637-639, InterPayment 636, Laser, Switch, Solo, Bankcard.
    ("Maestro and others", ((50, 50), (56, 69)), (16, 17, 18, 19)),
    ("RuPay, UnionPay", ((81, 82),), (16, 17, 18, 19)),
    ("JCB, RuPay", ((3528, 3589),), (16, 17, 18, 19)),
    ("Diners Club", ((300, 305), (3095, 3095), (36, 36), (38, 39)), tuple(range(14, 20))),
    ("Mir, Borica", ((2200, 2205),), (16, 17, 18, 19)),
    ("UzCard, Humo, Troy", ((8600, 8600), (9860, 9860), (9792, 9792)), (16,)),
    ("GPN", ((1946, 1946),), (16, 18, 19)),
    ("UATP", ((1, 1),), (15,)),
)
_LENGTH_MIN, _LENGTH_MAX = 12, 19
_ARTICLE_LENGTH: Final = 13
_PREFIX_LENGTH: Final = 4
_SECONDS: Final = range(1_400_000_000, 2_100_000_000)  # since 1970: from 2014 into 2036

# What a digit counts for in Luhn's sum, as it is and doubled: by its ASCII code.
_ONCE: Final = bytes(code - 48 if 48 <= code <= 57 else 0 for code in range(256))
_TWICE: Final = bytes(
    (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)[code - 48] if 48 <= code <= 57 else 0 for code in range(256)
)
# Every digit of every script, and superscripts and the like: all are below this.
_DIGIT_FORMS: Final = {
    code: str(unicodedata.digit(chr(code))) for code in range(128, 0x20000) if chr(code).isdigit()
}
# Letters to Unicode, and a dash, an apostrophe, a filler or nothing at all to who reads them. Among them is what
# Japanese and Korean keyboards give for a dash: the long vowel's mark in both widths, the vowel eu, and the one.
_NO_LETTERS: Final = dict.fromkeys(
    (*range(0x2B9, 0x2D2), 0x640, 0x115F, 0x1160, 0x30FC, 0x3161, 0x3164, 0x4E00, 0xFF70, 0xFFA0), "-"
)
_PLAIN_FORMS: Final = _DIGIT_FORMS | _NO_LETTERS
_UNESCAPED_MAX: Final = 2  # times; a URL inside a URL is escaped twice

_DIGITS: Final = re.compile("[0-9]+")
_RUNS: Final = re.compile(r"[0-9]++(?:[\W_]++[0-9]++)*")
_BETWEEN: Final = re.compile(r"[\W_]+")
# UUIDs, and hexadecimal ids of 80 bits or more.
_ID: Final = re.compile(
    "(?<![0-9a-z])(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{20,})(?![0-9a-z])",
    re.IGNORECASE | re.ASCII,
)
_TAKING_TURNS: Final = re.compile("[0-9]-?[a-f][a-f-]*[0-9]", re.IGNORECASE)
_YEAR, _MONTH, _DAY = "(?:19|20)[0-9]{2}", "(?:0?[1-9]|1[0-2])", "(?:0?[1-9]|[12][0-9]|3[01])"
_CLOCK: Final = "[0-2]?[0-9]:[0-5][0-9](?::[0-6][0-9](?:[.,][0-9]{1,9})?)?(?: ?[+-][0-2][0-9]:?[0-5][0-9])?"
_MOMENT: Final = re.compile(  # RFC 3339, and days as people write them
    rf"(?<![0-9])(?:{_YEAR}([./-]){_MONTH}\1{_DAY}|{_DAY}([./-]){_MONTH}\2{_YEAR}|{_MONTH}([./-]){_DAY}\3{_YEAR})"
    rf"(?:(?:T|,? ){_CLOCK})?(?![0-9])",
    re.IGNORECASE | re.ASCII,
)
_MM, _DD, _YY = "(?:0[1-9]|1[0-2])", "(?:0[1-9]|[12][0-9]|3[01])", "(?:1[5-9]|2[0-9]|3[0-5])"
_DAY_OF_ORDER: Final = re.compile(
    f"{_YY}{_MM}{_DD}|(?:{_DD}{_MM}|{_MM}{_DD})(?:20)?{_YY}"
)  # no issuer's begins 20YY
# Source: ITU-T E.164. Longer ones that begin as a card's number does are not given out.
_PHONE: Final = re.compile(r"\+[0-9](?:[ ().-]{0,2}[0-9]){11,12}(?![ ().-]*[0-9])", re.ASCII)
_DEVICE: Final = re.compile(
    "(?<![0-9])[0-9]{2}-[0-9]{6}-[0-9]{6}-[0-9]{1,2}(?![0-9])"
)  # an IMEI. Source: TS 23.003
_FORMS: Final = (("19", _MOMENT), ("20", _MOMENT), ("+", _PHONE), ("-", _DEVICE))
_ESCAPE: Final = re.compile("%[0-9a-f]{2}", re.IGNORECASE)


def passes_luhn(digits: str) -> bool:
    """Whether the check digit holds. Source: ISO/IEC 7812-1 annex B."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if position % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def looks_like_card_number(text: str) -> bool:
    """Whether whole groups of digits, with anything but letters between, are a number that an issuer may have given.

    Groups beside it (an expiry, a security code) do not hide it; a longer group is an id. An escaped URL is looked
    at as it is and as it is meant.
    """
    return any(map(_shows_card_number, _spellings(text)))


def may_hold_card_number(text: str) -> bool:
    """Whether digits in a row anywhere, across whatever is no letter, could be a number that an issuer gave out.

    Also where they are more likely an article's number, a phone number or a part of an id.
    """
    return any(
        _holds_card_number(list(digits), _is_nothing_else)
        for spelling in _spellings(text)
        for digits in _DIGITS.findall(_BETWEEN.sub("", _plain(spelling)))
    )


def _spellings(text: str) -> list[str]:
    """The text, and what it says when its escapes are read."""
    spellings = [text]
    while len(spellings) <= _UNESCAPED_MAX and _ESCAPE.search(spellings[-1]):
        # `unquote` takes 130 us for 500 characters of which every other one is not ASCII, this 30 us (measured).
        spellings.append(unquote_to_bytes(spellings[-1]).decode(errors="replace"))
    return spellings


def _shows_card_number(text: str) -> bool:
    plain = _plain(text)
    if _TAKING_TURNS.search(plain):
        plain = _ID.sub(_without_id, plain)
    for mark, something_else in _FORMS:
        if mark in plain:  # most texts have none, and an expression looks at every character
            plain = something_else.sub("x", plain)
    return any(_holds_card_number(_DIGITS.findall(run), _is_other) for run in _RUNS.findall(plain))


def _without_id(found: re.Match[str]) -> str:
    """Nothing in place of what was drawn at random, where letters and digits take turns; else what stands there."""
    return "x" if _TAKING_TURNS.search(found[0]) else found[0]


def _plain(text: str) -> str:
    """The text with every form of a digit as the ASCII one, and what is no letter to people as a dash."""
    return text if text.isascii() else text.translate(_PLAIN_FORMS)


def _holds_card_number(groups: list[str], is_other: Callable[[str, str], bool]) -> bool:
    """Whether neighbouring groups make up a card number.

    Each window of whole groups is judged by one comparison: of the sums of the digits up to each place, once with
    every other digit doubled and once with the others. So the work grows with the text, whatever it holds; with Luhn
    anew for each window, 500 characters took 10 ms of the event loop (measured), and a request has fifty of them.
    """
    digits = "".join(groups)
    if len(digits) < _LENGTH_MIN:
        return False
    starts = list(accumulate(map(len, groups), initial=0))
    sums = _sums(digits.encode())
    of_ends: list[int | None] = [None] * (len(digits) + _LENGTH_MAX + 1)
    for end in starts[1:]:
        of_ends[end] = sums[end % 2][end] % 10  # the last digit of a number is not doubled
    for start, group in zip(starts, groups, strict=False):
        if lengths := _lengths(digits[start : start + _PREFIX_LENGTH]):
            before = sums[0][start] % 10, sums[1][start] % 10
            for length in lengths:
                end = start + length
                if of_ends[end] == before[end % 2] and not is_other(digits[start:end], group):
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


@lru_cache(maxsize=11_111)
def _lengths(prefix: str) -> tuple[int, ...]:
    """How long a number may be that begins so; none where no issuer's does."""
    found: set[int] = set()
    for _, ranges, lengths in _ISSUED:
        for low, high in ranges:
            first = prefix[: len(str(low))]
            if len(first) == len(str(low)) and low <= int(first) <= high:
                found.update(lengths)
    return tuple(sorted(found))


def _is_nothing_else(_digits: str, _first: str) -> bool:
    return False


def _is_other(digits: str, first: str) -> bool:
    """Whether the form says that they are something else: `first` is the group that they begin with.

    13 digits of a time in milliseconds need no rule: no issuer's number of that length begins so.
    """
    if len(digits) == _ARTICLE_LENGTH and _is_article(digits):
        return True
    return len(first) < len(digits) and (_is_day(first) or _is_second(first))


def _is_article(digits: str) -> bool:
    """Whether 13 digits are an article's number rather than one of Visa's old ones. Source: GS1, EAN-13."""
    values = digits.encode().translate(_ONCE)
    return (sum(values[::2]) + 3 * sum(values[1::2])) % 10 == 0


def _is_day(group: str) -> bool:
    """Whether it is a day of 2015 to 2035, with which the numbers of orders begin: `261122-0012345678`."""
    return _DAY_OF_ORDER.fullmatch(group) is not None


def _is_second(group: str) -> bool:
    """Whether it is a time in seconds, with which the fractions of a second are not a number of UATP's."""
    return len(group) == len(str(_SECONDS.stop)) and int(group) in _SECONDS
