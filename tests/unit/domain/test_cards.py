"""Cards in memory, and card numbers where none should be."""

import traceback
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payonce.domain.card_numbers import passes_luhn
from payonce.domain.cards import Card

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
    assert Card(NUMBER, month, year).expired(datetime(2026, 11, 30, 12, tzinfo=UTC)) is expired


@pytest.mark.parametrize(
    ("month", "year", "first", "last"),
    [(11, 2026, (2026, 12, 1), 12), (12, 2026, (2027, 1, 1), 12), (2, 2028, (2028, 3, 1), 12)],
)
def test_a_card_expires_when_its_month_is_over_everywhere(
    month: int, year: int, first: tuple[int, int, int], last: int
) -> None:
    """At noon in UTC of the next month's first day it is midnight in UTC-12."""
    card, noon = Card(NUMBER, month, year), datetime(*first, last, tzinfo=UTC)
    assert not card.expired(noon - timedelta(microseconds=1))
    assert card.expired(noon)
    assert card.expired(noon.astimezone(timezone(timedelta(hours=14))))


def test_a_card_shows_nothing_in_a_repr_or_a_traceback() -> None:
    card = Card(NUMBER, 12, 2030, "987")
    try:
        raise RuntimeError(f"could not send {card} {card!r} {[card]}")
    except RuntimeError as error:
        shown = "".join(traceback.format_exception(error))
    assert NUMBER not in shown
    assert "987" not in shown
    assert card.last4 == "4242"
