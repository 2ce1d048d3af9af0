"""Card numbers where none should be: found in every spelling, and seldom seen in what only looks like one."""

import random
import re
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payonce.domain import card_numbers
from payonce.domain.card_numbers import looks_like_card_number, may_hold_card_number, passes_luhn

NUMBER = "4242424242424242"
CASES = 10_000  # of each corpus: 10 false refusals would be 1 in 1,000

# The ranges that the networks publish, with the lengths of their numbers: (brand, from, to, lengths). Written here a
# second time, brand by brand. Sources: as in `payonce.domain.card_numbers`.
RANGES = (
    ("amex", "34", "34", (15,)),
    ("amex", "37", "37", (15,)),
    ("mastercard", "51", "55", (16,)),
    ("mastercard", "2221", "2720", (16,)),
    ("visa", "4", "4", (13, 16, 19)),
    ("discover", "6011", "6011", (16, 17, 18, 19)),
    ("discover", "644", "649", (16, 17, 18, 19)),
    ("discover", "65", "65", (16, 17, 18, 19)),
    ("rupay", "60", "60", (16,)),
    ("rupay", "81", "82", (16,)),
    ("rupay", "508", "508", (16,)),
    ("rupay-jcb", "353", "353", (16,)),
    ("jcb", "3528", "3589", (16, 17, 18, 19)),
    ("diners", "300", "305", (14, 16, 19)),
    ("diners", "36", "36", (14, 19)),
    ("diners", "38", "39", (14, 16, 19)),
    ("unionpay", "62", "62", (16, 17, 18, 19)),
    ("unionpay", "81", "81", (16, 19)),
    ("maestro", "5018", "5018", tuple(range(12, 20))),
    ("maestro", "6304", "6304", tuple(range(12, 20))),
    ("maestro", "6761", "6763", tuple(range(12, 20))),
    ("maestro", "56", "58", (16, 18, 19)),
    ("mir", "2200", "2204", (16, 17, 18, 19)),
    ("elo", "5090", "5099", (16,)),
    ("hipercard", "606282", "606282", (16,)),
    ("verve", "506099", "506198", (16, 18, 19)),
    ("uzcard", "8600", "8600", (16,)),
    ("humo", "9860", "9860", (16,)),
    ("troy", "9792", "9792", (16,)),
    ("uatp", "1", "1", (15,)),
)
SPELLINGS = {
    "together": str,
    "full-width": lambda number: number.translate({48 + digit: 0xFF10 + digit for digit in range(10)}),
    "arabic": lambda number: number.translate({48 + digit: 0x660 + digit for digit in range(10)}),
    "devanagari": lambda number: number.translate({48 + digit: 0x966 + digit for digit in range(10)}),
    "superscript": lambda number: number.translate(dict(zip(range(48, 58), "⁰¹²³⁴⁵⁶⁷⁸⁹", strict=True))),
    "one by one": " ".join,
    "escaped": lambda number: "%20".join(fours(number)),
    "escaped twice": lambda number: "%2520".join(fours(number)),
    "escaped, each digit, twice": lambda number: "".join(f"%25{ord(digit):x}" for digit in number),
    **{
        f"with {separator!r}": lambda number, separator=separator: separator.join(fours(number))
        for separator in (
            *(
                " ",
                "-",
                "/",
                "_",
                ".",
                ",",
                ":",
                "|",
                "*",
                "+",
                "~",
                "\\",
                "\t",
                "\n",
                "  ",
                " - ",
                "__",
                "--",
            ),
            *(
                "\u00a0",
                "\u2007",
                "\u202f",
                "\u200b",
                "\u2013",
                "\u2014",
                "\u2212",
                "\uff0f",
                "\uff3f",
                "\u00b7",
                "\u30fc",  # what Japanese and Korean keyboards write for a dash: letters to Unicode
                "\uff70",
                "\u3161",
                "\u4e00",
                "\u02bc",
                "\u0640",
                "\u3164",  # invisible, and a letter
            ),
        )
    },
}


def fours(number: str) -> list[str]:
    return [number[at : at + 4] for at in range(0, len(number), 4)]


def with_check_digit(body: str) -> str:
    """The number that Luhn accepts. Source: ISO/IEC 7812-1 annex B."""
    return next(body + digit for digit in "0123456789" if passes_luhn(body + digit))


def is_article(number: str) -> bool:
    """Whether it has the check digit of an EAN-13. Source: GS1 General Specifications."""
    digits = [int(digit) for digit in number]
    return len(digits) == 13 and (sum(digits[::2]) + 3 * sum(digits[1::2])) % 10 == 0


@pytest.mark.parametrize("of", RANGES, ids=lambda of: f"{of[0]} {of[1]}")
def test_numbers_of_every_brand_are_found_in_every_spelling(
    of: tuple[str, str, str, tuple[int, ...]],
) -> None:
    _, low, high, lengths = of
    drawn = random.Random(low)
    for spelling, length in product(SPELLINGS.values(), lengths):
        prefix = str(drawn.randint(int(low), int(high)))
        number = with_check_digit(prefix + digits(drawn, length - 1 - len(prefix)))
        text = f"paid with {spelling(number)}, thanks"
        assert looks_like_card_number(text) or is_article(number), text
        assert may_hold_card_number(text), text


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424242 12/30",
        "12/30 4242424242424242",
        "4242424242424242 123",
        "7 4242424242424242",
        "4242424242424242-2",
        "4242424242424242\n5555555555554444",
        "4242424242424242 5555555555554444",
        "2026-11-22 4242424242424242",
        "4242424242424242 on 22.11.2026 12:30",
        "+91 98765 43210 4242424242424242",
        "+4242424242424242",
        "+4242 4242 4242   4242",
        "+4242 4242 4242 - 4242",
        "card#4242424242424242x",
        "4222222222222",  # Visa's test number of 13 digits
    ],
)
def test_what_is_beside_a_card_number_does_not_hide_it(text: str) -> None:
    assert looks_like_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424242aa",
        "abcd4111111111111111abcd",
        "4111111111111111abcdef",
        "deadbeefdeadbeefdead 4242424242424242",
        "00000000-0000-4000-8000-00000000000a 4242-4242-4242-4242",
        "42424242-4242-4242-9424-242424242424",  # not one letter
    ],
)
def test_an_id_beside_or_around_a_card_number_does_not_hide_it(text: str) -> None:
    assert looks_like_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "order-7",
        "4242 4242 4242 4241",  # fails Luhn
        "424242424242",  # twelve digits, and no Maestro's
        "42424242424242424242",  # twenty: an id
        "2026-11-22",
        "4242x4242x4242x4242",
        "a4b2",
        "9000000000000001",  # no issuer's
        "1764000000000",  # milliseconds
        "2026-11-22 22:21:00.123456+05:30",
        "24.12.2026 - 26.12.2026",
    ],
)
def test_what_is_no_card_number_passes(text: str) -> None:
    assert not looks_like_card_number(text)


@given(st.text(max_size=60) | st.text(alphabet="0123456789 -x%٤４", max_size=40))
def test_any_text_is_judged(text: str) -> None:
    assert may_hold_card_number(text) >= (looks_like_card_number(text) and "%" not in text)


def digits(drawn: random.Random, length: int) -> str:
    return "".join(drawn.choices("0123456789", k=length))


def with_article_digit(body: str) -> str:
    return next(body + digit for digit in "0123456789" if is_article(body + digit))


def moment(drawn: random.Random) -> datetime:
    return datetime(2020, 1, 1, tzinfo=UTC) + timedelta(
        microseconds=drawn.randrange(10 * 365 * 86_400 * 10**6)
    )


# Country codes with the lengths of what follows: ITU-T E.164 and the national numbering plans.
PHONES = (
    *(
        ("91", 10),
        ("1", 10),
        ("44", 10),
        ("49", 11),
        ("62", 11),
        ("86", 11),
        ("55", 11),
        ("61", 9),
        ("63", 10),
    ),
    *(
        ("34", 9),
        ("36", 9),
        ("39", 11),
        ("52", 11),
        ("65", 8),
        ("81", 10),
        ("43", 11),
        ("60", 10),
        ("380", 9),
    ),
)


def phone(drawn: random.Random, form: str) -> str:
    country, length = drawn.choice(PHONES)
    number = digits(drawn, length)
    return form.format(country=country, number=number, first=number[:3], second=number[3:6], rest=number[6:])


CORPORA: dict[str, Callable[[random.Random], str]] = {
    "milliseconds": lambda drawn: str(int(moment(drawn).timestamp() * 1_000)),
    "milliseconds with a prefix": lambda drawn: f"order-{int(moment(drawn).timestamp() * 1_000)}",
    "microseconds": lambda drawn: str(int(moment(drawn).timestamp() * 1_000_000)),
    "nanoseconds": lambda drawn: str(int(moment(drawn).timestamp() * 1_000_000_000)),
    "seconds with a fraction": lambda drawn: repr(moment(drawn).timestamp()),
    "seconds with five digits more": lambda drawn: f"{int(moment(drawn).timestamp())}-{digits(drawn, 5)}",
    "RFC 3339": lambda drawn: moment(drawn).isoformat(),
    "RFC 3339 in India": lambda drawn: moment(drawn).isoformat(" ").replace("+00:00", "+05:30"),
    "dates of a stay": lambda drawn: f"{moment(drawn):%d.%m.%Y} - {moment(drawn):%d.%m.%Y}",
    "compact": lambda drawn: f"{moment(drawn):%Y%m%d%H%M%S%f}",
    "EAN-13": lambda drawn: with_article_digit(digits(drawn, 12)),
    "IMEI": lambda drawn: with_check_digit("35" + digits(drawn, 12)),
    "IMEI of an older kind": lambda drawn: with_check_digit("01" + digits(drawn, 12)),
    "IMEI in groups": lambda drawn: f"35-{digits(drawn, 6)}-{digits(drawn, 6)}-{digits(drawn, 1)}",
    "ICCID of 19": lambda drawn: with_check_digit("8991" + digits(drawn, 14)),
    "ICCID of 20": lambda drawn: with_check_digit("8944" + digits(drawn, 15)),
    "phone": lambda drawn: phone(drawn, "+{country}{number}"),
    "phone in groups": lambda drawn: phone(drawn, "+{country} {first} {second} {rest}"),
    "phone with brackets": lambda drawn: phone(drawn, "+{country} ({first}) {second}-{rest}"),
    "phone with zeros": lambda drawn: phone(drawn, "00{country}{number}"),
    "phone in India": lambda drawn: f"+91 {digits(drawn, 5)} {digits(drawn, 5)}",
    "dated": lambda drawn: f"{moment(drawn):%Y%m%d}{digits(drawn, 6)}",
    "dated with a dash": lambda drawn: f"{moment(drawn):%Y%m%d}-{digits(drawn, drawn.randint(4, 11))}",
    "dated with dashes": lambda drawn: f"{moment(drawn):%Y-%m-%d}-{digits(drawn, drawn.randint(4, 11))}",
    "dated from the day": lambda drawn: f"{moment(drawn):%d%m%Y}-{digits(drawn, drawn.randint(4, 11))}",
    "dated with two digits": lambda drawn: f"{moment(drawn):%y%m%d}-{digits(drawn, drawn.randint(6, 12))}",
    "UUID": lambda drawn: str(uuid.UUID(int=drawn.getrandbits(128), version=4)),
    "hexadecimal": lambda drawn: drawn.randbytes(drawn.randint(10, 32)).hex(),
    "ULID": lambda drawn: "".join(drawn.choices("0123456789ABCDEFGHJKMNPQRSTVWXYZ", k=26)),
}


@pytest.mark.parametrize("corpus", CORPORA)
def test_numbers_that_only_look_like_cards_are_refused_less_than_once_in_a_thousand(corpus: str) -> None:
    drawn = random.Random(corpus)
    refused = [
        text for text in (CORPORA[corpus](drawn) for _ in range(CASES)) if looks_like_card_number(text)
    ]
    assert len(refused) < CASES / 1_000, (len(refused), refused[:5])


@pytest.mark.parametrize(
    "corpus", ["EAN-13", "phone in groups", "dated with two digits", "hexadecimal", "UUID"]
)
def test_where_only_the_form_says_that_it_is_something_else_it_may_be_a_card_number(corpus: str) -> None:
    drawn = random.Random(corpus)
    texts = [CORPORA[corpus](drawn) for _ in range(CASES)]
    assert any(may_hold_card_number(text) and not looks_like_card_number(text) for text in texts)


def judged_one_by_one(text: str) -> bool:
    """As the search was written at first: Luhn anew for every window of whole groups."""
    for run in re.findall("[0-9]+(?:[ -]+[0-9]+)*", text):
        groups = re.findall("[0-9]+", run)
        for first in range(len(groups)):
            for last in range(first + 1, len(groups) + 1):
                number = "".join(groups[first:last])
                if len(number) in card_numbers._lengths(number[:4]) and passes_luhn(number):
                    return True
    return False


@settings(max_examples=1_000)
@given(st.text(alphabet="0123456789 -", max_size=60) | st.text(alphabet="14 -x", max_size=120))
def test_the_search_finds_what_luhn_on_every_window_finds(text: str) -> None:
    groups = re.findall("[0-9]+(?:[ -]+[0-9]+)*", text)
    found = any(
        card_numbers._holds_card_number(re.findall("[0-9]+", run), lambda *_: False) for run in groups
    )
    assert found is judged_one_by_one(text)


@pytest.mark.parametrize(
    "text",
    [
        "1 ",
        "4-",
        "42 ",
        "1234567 ",
        "0 0-",
        "9",
        "6 ",
        "%36 ",
        "٦ ",
        "6_",
        "a-",
        "1a-",
        "+4 ",
        "20-1-",
        "6-------",
    ],
    ids=repr,
)
def test_the_search_takes_steps_in_proportion_to_the_text(text: str) -> None:
    """Counted, since a machine's clock proves nothing: twice the text takes twice the steps."""

    def steps(length: int) -> int:
        counted = 0

        def count(*_: object) -> object:
            nonlocal counted
            counted += 1
            return count

        long = (text * length)[:length]
        sys.settrace(count)
        try:
            looks_like_card_number(long)
        finally:
            sys.settrace(None)
        return counted

    once, twice = steps(4_000), steps(8_000)
    assert twice <= 2.2 * once + 200
    assert once <= 40 * 4_000
