"""What an account at Razorpay needs, and whose it is."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iso4217 import Currency
from razorpay_script import KEY, MERCHANT, Open, account, listed, problem

from api.schemas.currencies import CURRENCIES as OURS
from payonce.connectors.base import Identity
from payonce.connectors.razorpay import amounts
from payonce.connectors.razorpay.connector import Razorpay
from payonce.connectors.registry import installed, open_connectors
from payonce.domain.errors import NotSent, OutcomeUnknown, Rejected
from payonce.domain.money import AMOUNT_MINOR_MAX
from tests.connectors.scripted import Answer

DENIED = problem("NA", status=401)
NOTHING = Answer(listed())
SCRIPT = {"GET /v1/orders": NOTHING, "GET /v1/payments": NOTHING, "GET /v1/refunds": NOTHING}
ID = MERCHANT.removeprefix("acc_")


@pytest.mark.parametrize("typed", [MERCHANT, ID])
async def test_who_the_account_belongs_to(razorpay: Open, typed: str) -> None:
    connector, server = await razorpay(SCRIPT, merchant_id=typed)
    assert await connector.identify() == Identity(id=MERCHANT, mode="test")
    assert {sent.method for sent in server.sent} == {"GET"}


async def test_the_mode_is_the_keys() -> None:
    made = replace(
        account("http://127.0.0.1:1", merchant_id=ID), key="", secrets={"key": ("rzp_live_abc:def",)}
    )
    with pytest.raises(NotSent):  # it is a key, so Razorpay is asked
        await Razorpay(made).identify()


async def test_what_the_key_may_not_do_is_said(razorpay: Open) -> None:
    connector, _ = await razorpay(SCRIPT | {"GET /v1/refunds": DENIED}, merchant_id=ID)
    (note,) = (await connector.identify()).notes
    assert "refunds" in note


@pytest.mark.parametrize(
    ("script", "options", "raised"),
    [
        ({}, {}, Rejected),
        ({}, {"merchant_id": "acc_short"}, Rejected),
        ({"GET /v1/orders": DENIED}, {"merchant_id": ID}, Rejected),
        ({"GET /v1/orders": problem("NA", status=400)}, {"merchant_id": ID}, Rejected),
        ({"GET /v1/orders": Answer(raw=b"{", status=500)}, {"merchant_id": ID}, OutcomeUnknown),
    ],
)
async def test_whose_it_is_is_not_guessed(
    razorpay: Open, script: Any, options: dict[str, str], raised: type[Exception]
) -> None:
    connector, _ = await razorpay(SCRIPT | script, **options)
    with pytest.raises(raised):
        await connector.identify()


@pytest.mark.parametrize("key", ["rzp_test_only-an-id", "sk_test_1:2", "the-secret", "rzp_prod_1:2"])
async def test_a_key_that_is_none_is_sent_nowhere(razorpay: Open, key: str) -> None:
    made = replace(account("http://127.0.0.1:1", merchant_id=ID), key="", secrets={"key": (key,)})
    with pytest.raises(Rejected) as raised:
        await Razorpay(made).identify()
    assert key not in raised.value.message


async def test_an_account_names_the_connector_and_no_secret_shows() -> None:
    made = account("http://127.0.0.1:1")
    connector = open_connectors([made], registry=installed())[made.id]
    assert isinstance(connector, Razorpay)
    for said in (repr(made), repr(vars(connector))):
        assert KEY not in said
        assert KEY.rpartition(":")[2] not in said


@pytest.mark.parametrize("listed_", ["", "INR,XXX", "inr", "INR;USD"])
async def test_a_currency_that_razorpay_has_not_is_no_option(listed_: str) -> None:
    made = account("http://127.0.0.1:1", currencies=listed_)
    with pytest.raises(Rejected):
        open_connectors([made], registry=installed())


def test_every_currency_is_one_of_ours() -> None:
    assert set(OURS) >= amounts.CURRENCIES


def test_razorpays_minor_units_are_iso_4217s() -> None:
    """Its table of exponents, read in 2026-11: what is in neither list has two decimals."""
    none = {"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF"}
    three = {"BHD", "IQD", "JOD", "KWD", "OMR", "TND"}
    theirs = (
        dict.fromkeys(amounts.CURRENCIES, 2)
        | dict.fromkeys(none | {"XOF", "XPF"}, 0)
        | dict.fromkeys(three, 3)
    )
    assert theirs == {code: Currency(code).exponent for code in amounts.CURRENCIES}


@given(
    amount=st.integers(min_value=1, max_value=AMOUNT_MINOR_MAX),
    currency=st.sampled_from(sorted(amounts.CURRENCIES)),
)
def test_what_is_admitted_is_sent_as_it_is(amount: int, currency: str) -> None:
    """Razorpay's minor units are ours; where three decimals are, the last one is 0."""
    admitted = amounts.AMOUNTS.refusal(amount, currency) is None
    assert amounts.exact(amount, currency, amounts.CURRENCIES) is admitted
    assert not amounts.exact(amount, currency, {"EUR"} - {currency})
    if currency in ("BHD", "IQD", "JOD", "KWD", "OMR", "TND"):
        assert admitted is (amount % 10 == 0)
