"""Cards in memory, and card numbers where none should be."""

import random
import re
import sys
import traceback
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payonce.domain import cards
from payonce.domain.cards import Card, looks_like_card_number, passes_luhn

NUMBER = "4242424242424242"


def with_check_digit(body: str) -> str:
    """The number that Luhn accepts. Source: ISO/IEC 7812-1 annex B."""
    return next(body + digit for digit in "0123456789" if passes_luhn(body + digit))


BODIES = st.text(alphabet="0123456789", min_size=12, max_size=18)


@given(BODIES)
def test_exactly_one_check_digit_fits(body: str) -> None:
    assert sum(passes_luhn(body + digit) for digit in "0123456789") == 1


@given(BODIES, st.data())
def test_one_wrong_digit_never_passes(body: str, data: st.DataObject) -> None:
    number = with_check_digit(body)
    place = data.draw(st.integers(0, len(number) - 1))
    wrong = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != number[place]]))
    assert not passes_luhn(number[:place] + wrong + number[place + 1 :])


@pytest.mark.parametrize(
    "number",
    [
        NUMBER,
        "4000000000000002",
        "4000000000009995",
        "4000000000009987",
        "4000000000000069",
        "4000000000000127",
        "4000000000000119",
        "4000002500003155",
        "4000008260003178",
    ],
)
def test_the_sandbox_cards_pass_luhn(number: str) -> None:
    assert passes_luhn(number)
    assert Card(number, 12, 2030).brand == "visa"


@pytest.mark.parametrize(
    ("number", "brand"),
    [
        ("4111111111111111", "visa"),
        ("5555555555554444", "mastercard"),
        ("2221000000000009", "mastercard"),
        ("2720990000000000", "mastercard"),
        ("378282246310005", "amex"),
        ("341111111111111", "amex"),
        ("6011111111111117", "discover"),
        ("6500000000000002", "discover"),
        ("6074000000000000", "rupay"),
        ("8100000000000000", "rupay"),
        ("3530111333300000", "jcb"),
        ("30569309025904", "diners"),
        ("38520000023237", "diners"),
        ("9000000000000000", "unknown"),
        ("2720000000000005", "mastercard"),
        ("2721000000000004", "unknown"),
    ],
)
def test_the_first_digits_name_the_brand(number: str, brand: str) -> None:
    assert Card(number, 1, 2030).brand == brand


@pytest.mark.parametrize(
    ("month", "year", "expired"),
    [(11, 2026, False), (10, 2026, True), (12, 2025, True), (1, 2027, False)],
)
def test_a_card_is_good_to_the_end_of_its_month(month: int, year: int, expired: bool) -> None:
    assert Card(NUMBER, month, year).expired(date(2026, 11, 30)) is expired


def test_a_card_shows_nothing_in_a_repr_or_a_traceback() -> None:
    card = Card(NUMBER, 12, 2030, "987")
    try:
        raise RuntimeError(f"could not send {card} {card!r} {[card]}")
    except RuntimeError as error:
        shown = "".join(traceback.format_exception(error))
    assert NUMBER not in shown
    assert "987" not in shown
    assert card.last4 == "4242"


@given(BODIES, st.sampled_from(["", " ", "-"]), st.sampled_from(["", "card ", "order=", "#"]))
def test_a_card_number_is_found_however_it_is_grouped(body: str, separator: str, before: str) -> None:
    number = with_check_digit("4242" + body[:11])
    grouped = separator.join(number[at : at + 4] for at in range(0, len(number), 4))
    assert looks_like_card_number(f"{before}{grouped}")
    assert looks_like_card_number(f"{before}{grouped}, thanks")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "order-7",
        "4242 4242 4242 4241",  # fails Luhn
        "424242424242",  # twelve digits
        "42424242424242424242",  # twenty: an id
        "2026-11-22",
        "٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢",  # not ASCII: no acquirer takes it
        "4242x4242x4242x4242",
        "a4b2",
    ],
)
def test_what_is_no_card_number_passes(text: str) -> None:
    assert not looks_like_card_number(text)


@given(st.text(alphabet="0123456789 -x", max_size=40))
def test_any_text_is_judged(text: str) -> None:
    assert looks_like_card_number(text) in (True, False)


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
    ],
)
def test_digits_beside_a_card_number_do_not_hide_it(text: str) -> None:
    assert looks_like_card_number(text)


@given(st.uuids(version=4), st.binary(min_size=10, max_size=32))
def test_an_id_that_was_drawn_at_random_is_no_card_number(uuid: UUID, drawn: bytes) -> None:
    named = (str(uuid), uuid.hex, f"order_{drawn.hex()}")
    assert not [text for text in named if looks_like_card_number(text) and set(text) & set("abcdef")]


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424242aa",
        "deadbeefdeadbeefdead 4242424242424242",
        "00000000-0000-4000-8000-00000000000a 4242-4242-4242-4242",
        "42424242-4242-4242-9424-242424242424",  # not one letter
    ],
)
def test_an_id_beside_a_card_number_does_not_hide_it(text: str) -> None:
    assert looks_like_card_number(text)


# A few of the ranges that the networks publish, with the lengths of their numbers: (from, to, lengths).
RANGES = (
    *(("34", "34", (15,)), ("37", "37", (15,)), ("51", "55", (16,)), ("2221", "2720", (16,))),
    *(("4", "4", (13, 16, 19)), ("6011", "6011", (16, 19)), ("644", "649", (16, 19)), ("65", "65", (16, 19))),
    *(("60", "60", (16,)), ("81", "82", (16,)), ("508", "508", (16,)), ("3528", "3589", (16, 19))),
    *(("300", "305", (14, 16)), ("36", "36", (14, 19)), ("38", "39", (14, 16)), ("62", "62", (16, 19))),
    *(("2200", "2204", (16, 19)), ("5018", "5018", (13, 19)), ("6304", "6304", (13, 19)), ("1", "1", (15,))),
)


def issued(number: str) -> bool:
    return len(number) in cards._lengths(number[:4]) and not cards._is_article(number)


@pytest.mark.parametrize("of", RANGES, ids=lambda of: of[0])
@pytest.mark.parametrize("separator", ["", " ", "-", " - "])
def test_numbers_of_every_network_are_found(of: tuple[str, str, tuple[int, ...]], separator: str) -> None:
    drawn = random.Random(of[0] + separator)
    low, high, lengths = of
    for length in lengths:
        for _ in range(20):
            prefix = str(drawn.randint(int(low), int(high)))
            body = prefix + "".join(drawn.choices("0123456789", k=length - 1 - len(prefix)))
            number = with_check_digit(body)
            text = separator.join(number[at : at + 4] for at in range(0, len(number), 4))
            assert looks_like_card_number(f"paid with {text}.") is not cards._is_article(number)


@pytest.mark.parametrize(
    "corpus",
    [
        lambda drawn: str(drawn.randint(1_500_000_000_000, 1_900_000_000_000)),  # milliseconds of today
        lambda drawn: article(drawn),  # noqa: PLW0108 - it stands below
        lambda drawn: "35" + "".join(drawn.choices("0123456789", k=13)),  # IMEI
        lambda drawn: "89" + "".join(drawn.choices("0123456789", k=17)),  # ICCID
        lambda drawn: "+91 " + "".join(drawn.choices("0123456789", k=10)),
        lambda drawn: (
            f"2026{drawn.randint(1, 12):02}{drawn.randint(1, 28):02}-{drawn.randint(0, 999_999):06}"
        ),
    ],
    ids=["milliseconds", "ean", "imei", "iccid", "phone", "dated"],
)
def test_numbers_that_only_look_like_cards_are_refused_less_than_once_in_a_thousand(corpus: Any) -> None:
    drawn = random.Random(13)
    refused = sum(looks_like_card_number(corpus(drawn)) for _ in range(20_000))
    assert refused < 20


def article(drawn: random.Random) -> str:
    """An EAN-13, with its check digit. Source: GS1 General Specifications."""
    body = "".join(drawn.choices("0123456789", k=12))
    total = sum(map(int, body[::2])) + 3 * sum(map(int, body[1::2]))
    return body + str(-total % 10)


def judged_one_by_one(text: str) -> bool:
    """As the search was written at first: Luhn anew for every window of whole groups."""
    for run in re.findall("[0-9]+(?:[ -]+[0-9]+)*", text):
        groups = re.findall("[0-9]+", run)
        for first in range(len(groups)):
            for last in range(first + 1, len(groups) + 1):
                number = "".join(groups[first:last])
                if 13 <= len(number) <= 19 and issued(number) and passes_luhn(number):
                    return True
    return False


@settings(max_examples=1_000)
@given(st.text(alphabet="0123456789 -", max_size=60) | st.text(alphabet="14 -x", max_size=120))
def test_the_search_finds_what_luhn_on_every_window_finds(text: str) -> None:
    assert looks_like_card_number(text) is judged_one_by_one(text)


@pytest.mark.parametrize("text", ["1 ", "4-", "42 ", "1234567 ", "0 0-", "9"], ids=repr)
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
    assert twice <= 2.2 * once + 100
    assert once <= 40 * 4_000
