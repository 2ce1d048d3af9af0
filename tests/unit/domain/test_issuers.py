"""In which country a card was issued: test numbers in test mode, the imported table in live mode."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payonce.domain.cards import Card
from payonce.domain.issuers import IssuerRange, IssuerTable, country_of, packed

NOW = datetime(2026, 11, 29, tzinfo=UTC)
RANGES = (
    IssuerRange(400000000, 400000009, "IN"),
    IssuerRange(400000010, 400000010, "FR"),
    IssuerRange(520000000, 559999999, "US"),
    IssuerRange(999999999, 999999999, "JP"),
)
TABLE = IssuerTable(packed=packed(RANGES), imported_at=NOW)


def country(number: str, *, mode: str = "live", table: IssuerTable | None = TABLE) -> str | None:
    return country_of(Card(number, 12, 2040), mode=mode, table=table, now=NOW)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("3999999999999999", None),
        ("4000000000000000", "IN"),
        ("4000000099999999", "IN"),
        ("4000000100000000", "FR"),
        ("4000000110000000", None),
        ("5200000000000000", "US"),
        ("5599999999999999", "US"),
        ("5600000000000000", None),
        ("9999999999999999", "JP"),
        ("0000000000000000", None),
    ],
)
def test_a_country_is_known_from_the_first_to_the_last_number_of_a_range(
    number: str, expected: str | None
) -> None:
    assert country(number) == expected


@given(
    st.lists(st.integers(0, 999_999_999), min_size=2, max_size=20, unique=True), st.integers(0, 999_999_999)
)
def test_a_number_is_found_as_by_looking_through_all_ranges(ends: list[int], digits: int) -> None:
    ends.sort()
    ranges = [
        IssuerRange(first, last, "FR" if first % 2 else "IN")
        for first, last in zip(ends[::2], ends[1::2], strict=False)
    ]
    table = IssuerTable(packed=packed(ranges), imported_at=NOW)
    for number in (digits, *ends):
        expected = next((one.country for one in ranges if one.first <= number <= one.last), None)
        assert table.country(f"{number:09}0000000") == expected


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (timedelta(days=45) - timedelta(seconds=1), "IN"),
        (timedelta(days=45), None),
        (timedelta(days=46), None),
    ],
)
def test_a_table_is_believed_for_45_days(age: timedelta, expected: str | None) -> None:
    table = IssuerTable(packed=TABLE.packed, imported_at=NOW - age)
    assert country("4000000000000000", table=table) == expected


@pytest.mark.parametrize(
    ("number", "mode", "expected"),
    [
        ("4242424242424242", "test", "US"),
        ("4000002500003155", "test", "FR"),
        ("4000003560000008", "test", "IN"),
        ("4111111111111111", "test", None),
        ("4242424242424242", "live", None),
    ],
)
def test_without_a_table_only_of_test_numbers_the_country_is_known(
    number: str, mode: str, expected: str | None
) -> None:
    assert country(number, mode=mode, table=None) == expected


def test_in_test_mode_the_table_says_nothing() -> None:
    assert country("5200000000000000", mode="test") is None


def test_of_what_is_no_card_no_country_is_known() -> None:
    assert country_of(None, mode="live", table=TABLE, now=NOW) is None
