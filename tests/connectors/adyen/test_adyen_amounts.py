"""Adyen's amounts: exact there and back, or not sent. And our references."""

import re

import iso4217
import pytest
from adyen_script import call
from hypothesis import given
from hypothesis import strategies as st

from api.schemas.currencies import CURRENCIES as OURS
from payonce.connectors.adyen import references
from payonce.connectors.adyen.amounts import (
    AMOUNTS,
    CURRENCIES,
    VALUE_MAX,
    from_adyen,
    multiple_of,
    to_adyen,
)
from payonce.connectors.adyen.references import Asked
from payonce.domain.errors import OutcomeUnknown, Rejected
from payonce.domain.money import AMOUNT_MINOR_MAX
from payonce.domain.operations import OperationKind
from tests.witnesses.npm import package_directory

AMOUNT = st.integers(min_value=1, max_value=AMOUNT_MINOR_MAX)
# How many decimals Adyen has, and ISO 4217, where they differ. Source: its page on currencies.
DIFFERENT = {"CLP": (2, 0), "CVE": (0, 2), "IDR": (0, 2), "ISK": (2, 0)}


@given(amount=AMOUNT, currency=st.sampled_from(sorted(OURS)))
def test_every_amount_of_every_currency_is_exact_there_and_back_or_not_taken(
    amount: int, currency: str
) -> None:
    if currency not in CURRENCIES or amount % multiple_of(currency):
        with pytest.raises(ValueError, match="exact"):
            to_adyen(amount, currency)
        assert currency not in CURRENCIES or AMOUNTS.refusal(amount, currency) is not None
    else:
        assert AMOUNTS.refusal(amount, currency) is None
        assert from_adyen(to_adyen(amount, currency), currency) == amount
        assert to_adyen(amount, currency) <= VALUE_MAX


@given(value=AMOUNT, currency=st.sampled_from(sorted(CURRENCIES)))
def test_what_adyen_says_is_exactly_ours_or_nothing(value: int, currency: str) -> None:
    try:
        ours = from_adyen(value, currency)
    except OutcomeUnknown:
        assert currency in ("CLP", "ISK")
        assert value % 100
    else:
        assert to_adyen(ours, currency) == value


@given(value=AMOUNT, currency=st.sampled_from(sorted(CURRENCIES)))
def test_it_is_the_same_money(value: int, currency: str) -> None:
    """By the numbers of decimals: as many units of the currency there as here."""
    there, here = DIFFERENT.get(currency, (0, 0))
    if value % 10 ** max(0, here - there) == 0:
        assert to_adyen(value, currency) * 10**here == value * 10**there


@pytest.mark.parametrize(
    ("ours", "currency", "theirs"),
    [
        *((1099, "EUR", 1099), (500, "JPY", 500), (10_000, "BHD", 10_000), (500, "VND", 500)),
        *((5, "ISK", 500), (5, "CLP", 500), (500, "CVE", 5), (1_500_000, "IDR", 15_000)),
        *((5, "UGX", 5), (1045, "HUF", 1045), (5124, "KWD", 5124)),
    ],
)
def test_the_examples_of_adyens_page(ours: int, currency: str, theirs: int) -> None:
    assert to_adyen(ours, currency) == theirs
    assert from_adyen(theirs, currency) == ours


def test_our_currencies_hold_all_of_adyens() -> None:
    """A code that ISO 4217 has given up can be asked for by nobody."""
    assert {"CUP"} >= CURRENCIES - OURS


def test_adyens_own_page_for_shoppers_counts_as_many_decimals() -> None:
    """Of each currency: what it does not name has two, as Adyen's own code has it."""
    package = package_directory("@adyen/adyen-web", "6.45.2")
    source = (package / "dist" / "es" / "utils" / "constants" / "currency-decimals.js").read_text()
    divided_by = {name: int(float(by)) for name, by in re.findall(r"([A-Z]{3}):(\d+(?:e\d)?)\b", source)}
    assert len(divided_by) > 20
    for currency in sorted(CURRENCIES & OURS):
        whole = 10 ** iso4217.Currency(currency).exponent  # one of it, in our minor units
        assert to_adyen(whole * 7, currency) == divided_by.get(currency, 100) * 7, currency


REFERENCE = st.text(
    alphabet="abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", min_size=1, max_size=40
)


@given(reference=REFERENCE, what=st.sampled_from(list(Asked)))
def test_a_reference_is_letters_and_digits_there_and_itself_back(reference: str, what: Asked) -> None:
    written = references.written(reference, what)
    assert written.isalnum()
    assert written.isascii()
    assert len(written) <= 81
    assert references.read(written) == (reference, what)


@given(one=REFERENCE, other=REFERENCE)
def test_two_references_are_two_there(one: str, other: str) -> None:
    assert (references.plain(one) == references.plain(other)) is (one == other)


@given(text=st.text(max_size=90))
def test_what_is_not_ours_is_nobodys_or_what_we_would_write(text: str) -> None:
    found = references.read(text)
    if found is not None:
        assert references.written(*found) == text


@pytest.mark.parametrize("text", ["", "A", "AZ", "AZx", "Apay_1", "Apay-1", "Bpay", "shop:1", "A" * 90])
def test_what_we_never_write_is_not_ours(text: str) -> None:
    assert references.read(text) is None


def test_what_a_reference_is_of_is_its_first_letter() -> None:
    letters = [
        references.sent(call(kind, automatic_capture=automatic))[0]
        for kind in (OperationKind.AUTHORIZE, OperationKind.CAPTURE, OperationKind.VOID, OperationKind.REFUND)
        for automatic in (True, False)
    ]
    assert letters == ["A", "M", "C", "C", "V", "V", "R", "R"]
    with pytest.raises(Rejected):
        references.sent(call(OperationKind.UNDO))
