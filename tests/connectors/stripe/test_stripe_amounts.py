"""Stripe's amounts: exact there and back, or not sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.schemas.currencies import CURRENCIES as OURS
from payonce.connectors.stripe.amounts import AMOUNTS, CURRENCIES, from_stripe, multiple_of, to_stripe
from payonce.domain.errors import OutcomeUnknown
from payonce.domain.money import AMOUNT_MINOR_MAX

AMOUNT = st.integers(min_value=1, max_value=AMOUNT_MINOR_MAX)


@given(amount=AMOUNT, currency=st.sampled_from(sorted(OURS)))
def test_every_amount_of_every_currency_is_exact_there_and_back_or_not_taken(
    amount: int, currency: str
) -> None:
    if currency not in CURRENCIES or amount % multiple_of(currency):
        with pytest.raises(ValueError, match="exact"):
            to_stripe(amount, currency)
    else:
        assert from_stripe(to_stripe(amount, currency), currency) == amount


@given(amount=AMOUNT, currency=st.sampled_from(sorted(CURRENCIES)))
def test_what_is_admitted_maps_exactly_and_fits_stripes_digits(amount: int, currency: str) -> None:
    if AMOUNTS.refusal(amount, currency) is None:
        assert len(str(to_stripe(amount, currency))) <= 14


@given(amount=AMOUNT, currency=st.sampled_from(sorted(CURRENCIES)))
def test_what_stripe_says_is_exactly_ours_or_nothing(amount: int, currency: str) -> None:
    try:
        ours = from_stripe(amount, currency)
    except OutcomeUnknown:
        assert currency in ("ISK", "UGX")
        assert amount % 100
    else:
        assert ours % multiple_of(currency) == 0 or currency in ("BHD", "JOD", "KWD", "OMR", "TND")


@pytest.mark.parametrize(
    ("ours", "currency", "theirs"),
    [
        (1099, "USD", 1099),
        (500, "JPY", 500),
        (5, "ISK", 500),
        (5, "UGX", 500),
        (500, "MGA", 5),
        (5120, "KWD", 5120),
        (1045, "HUF", 1045),
        (80045, "TWD", 80045),
    ],
)
def test_the_examples_of_stripes_page(ours: int, currency: str, theirs: int) -> None:
    assert to_stripe(ours, currency) == theirs
    assert from_stripe(theirs, currency) == ours


@pytest.mark.parametrize(
    ("amount", "currency"), [(5124, "KWD"), (501, "MGA"), (10**8, "USD"), (10**6, "UGX"), (10**12, "IDR")]
)
def test_what_stripe_cannot_take_is_refused_before_admission(amount: int, currency: str) -> None:
    assert AMOUNTS.refusal(amount, currency) is not None


def test_our_currencies_hold_all_of_stripes() -> None:
    """A code that ISO 4217 has given up can be asked for by nobody."""
    assert {"ANG", "BGN"} >= CURRENCIES - OURS


@pytest.mark.parametrize(("theirs", "currency"), [(1050, "ISK"), (1050, "UGX"), (1, "ISK")])
def test_a_part_of_a_krona_is_no_amount_of_ours(theirs: int, currency: str) -> None:
    with pytest.raises(OutcomeUnknown):
        from_stripe(theirs, currency)
