"""Money: whole minor units of one currency."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payonce.domain.money import AMOUNT_MINOR_MAX, Money

CODES = st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=3, max_size=3)
HALVES = st.integers(0, AMOUNT_MINOR_MAX // 2)


@given(HALVES, HALVES, CODES)
def test_adding_and_taking_away_again_changes_nothing(one: int, other: int, code: str) -> None:
    assert Money(one, code) + Money(other, code) - Money(other, code) == Money(one, code)
    assert Money(one, code) + Money(other, code) == Money(other, code) + Money(one, code)


@given(st.integers(0, AMOUNT_MINOR_MAX), st.integers(0, AMOUNT_MINOR_MAX), CODES)
def test_a_sum_is_exact_or_refused(one: int, other: int, code: str) -> None:
    if one + other > AMOUNT_MINOR_MAX:
        with pytest.raises(ValueError, match="minor units"):
            Money(one, code) + Money(other, code)
    else:
        assert (Money(one, code) + Money(other, code)).amount_minor == one + other


@given(HALVES, HALVES, CODES)
def test_money_never_goes_below_zero(one: int, other: int, code: str) -> None:
    if other > one:
        with pytest.raises(ValueError, match="minor units"):
            Money(one, code) - Money(other, code)
    else:
        assert (Money(one, code) - Money(other, code)).amount_minor == one - other


@given(HALVES, HALVES, CODES, CODES)
def test_currencies_never_mix(one: int, other: int, code: str, another: str) -> None:
    if code == another:
        return
    with pytest.raises(ValueError, match="cannot be combined"):
        Money(one, code) + Money(other, another)
    with pytest.raises(ValueError, match="cannot be combined"):
        Money(one, code) - Money(other, another)


@pytest.mark.parametrize("amount", [-1, AMOUNT_MINOR_MAX + 1, 1.0, "1", True, None])
def test_an_amount_is_a_whole_number_within_the_limits(amount: Any) -> None:
    with pytest.raises(ValueError, match="minor units"):
        Money(amount, "INR")


@pytest.mark.parametrize("code", ["", "inr", "INRR", "IN", "IN1", "ÏNR", "IN\n"])
def test_a_currency_is_three_upper_case_letters(code: str) -> None:
    with pytest.raises(ValueError, match="ISO 4217"):
        Money(1, code)


def test_the_largest_amount_is_what_every_json_reader_keeps_exact() -> None:
    assert Money(AMOUNT_MINOR_MAX, "JPY").amount_minor == 9007199254740991
