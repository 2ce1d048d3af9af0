"""A rule that is written can hold: one for what no payment has would never, and nobody would see that."""

from dataclasses import replace
from typing import Any, get_args

import pytest

from api.schemas import payments
from payonce.domain.errors import InvalidRequest
from payonce.domain.risk import RiskVerdict
from payonce.domain.risk_rules import DEFAULT, METHODS, RuledPayment, judge, parse
from payonce.risk.rules import checked

LARGE = {"name": "large", "verdict": "block"}
PAID = RuledPayment(amount_minor=1_000, currency="INR", method="upi.qr", issuer_country=None, listed={})


def blocked(rule: dict[str, Any], payment: RuledPayment = PAID) -> bool:
    found = judge(parse([{**LARGE, **rule}]), payment, {})
    return found is not None and found.verdict is RiskVerdict.BLOCK


@pytest.mark.parametrize(
    "never_holds",
    [
        {"currency": "RUPEES"},
        {"currency": "ZZZ", "amount_over": 5},
        {"currency": "XAU", "amount_over": 5},
        {"methods": ["cards"]},
        {"methods": ["upi.scan"]},
        {"methods": ["card", "wallet."]},
        {"issuer_countries": ["India"]},
        {"issuer_countries": [""]},
    ],
)
def test_what_no_payment_has_is_refused_where_it_is_written(never_holds: dict[str, Any]) -> None:
    stored = parse([{**LARGE, **never_holds}])  # as a version that took it did: the others hold on
    with pytest.raises(InvalidRequest):
        checked(stored)


@pytest.mark.parametrize(
    "no_rule",
    [
        {"velocities": 5},
        {"velocities": None, "currency": "INR"},
        {"velocities": ["card"]},
        {"velocities": {"of": "card"}},
        {"currency": 5},
        {"currency": ["INR"]},
    ],
)
def test_what_has_another_shape_is_refused_in_words(no_rule: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        parse([{**LARGE, **no_rule}])


def test_a_currency_counts_however_it_is_written() -> None:
    assert blocked({"currency": "inr", "amount_over": 999})
    assert not blocked({"currency": "inr", "amount_over": 1_000})
    assert checked(parse([{**LARGE, "currency": "inr"}]))[0].currency == "INR"


def test_a_method_is_named_with_its_flow_or_without() -> None:
    assert blocked({"methods": ["upi"]})
    assert blocked({"methods": ["upi.qr"]})
    assert not blocked({"methods": ["upi.intent"]})
    assert not blocked({"methods": ["card"]}, replace(PAID, method="wallet.paytm"))
    assert not blocked({"methods": ["up"]})


def test_every_method_of_the_api_can_be_named() -> None:
    flows = get_args(payments.Upi.model_fields["flow"].annotation)
    providers = get_args(payments.Wallet.model_fields["provider"].annotation)
    assert set(METHODS) == {
        "card",
        *(f"upi.{flow}" for flow in flows),
        *(f"wallet.{one}" for one in providers),
    }
    checked(parse([{**LARGE, "methods": [*METHODS, "upi", "wallet"], "issuer_countries": ["in", "unknown"]}]))


def test_the_default_rules_can_be_written() -> None:
    assert checked(DEFAULT) == DEFAULT
