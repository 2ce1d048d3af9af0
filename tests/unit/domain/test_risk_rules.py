"""Rules: which hold, in what order lists come, and what cannot be written."""

from typing import Any

import pytest

from payonce.domain.errors import InvalidRequest
from payonce.domain.risk import RiskVerdict
from payonce.domain.risk_rules import DEFAULT, Counts, Measure, Rule, RuledPayment, judge, measures, parse

V = RiskVerdict
MANY = {"name": "many", "verdict": "block"}
DECLINES = {"of": "address", "count": "declines", "within_s": 3600, "more_than": 10, "share_over": 60}
OF_ADDRESS = Measure("address", "declines", 3600), Measure("address", "outcomes", 3600)


def about(**changes: Any) -> RuledPayment:
    values = {
        "amount_minor": 1_000,
        "currency": "INR",
        "method": "card",
        "issuer_country": "IN",
        "listed": {},
    }
    return RuledPayment(**{**values, **changes})


def said(rules: tuple[Rule, ...], payment: RuledPayment, counts: Counts | None = None) -> Any:
    found = judge(rules, payment, counts)
    return None if found is None else (found.verdict, found.reasons)


@pytest.mark.parametrize(
    ("declines", "outcomes", "verdict"),
    [(10, 10, V.ALLOW), (11, 11, V.BLOCK), (11, 18, V.BLOCK), (11, 19, V.ALLOW), (60, 700, V.ALLOW)],
)
def test_declines_count_where_they_are_most_of_what_was_decided(
    declines: int, outcomes: int, verdict: RiskVerdict
) -> None:
    rules = parse([{**MANY, "velocities": [DECLINES]}])
    assert measures(rules) == set(OF_ADDRESS)
    counts = dict(zip(OF_ADDRESS, (declines, outcomes), strict=True))
    assert said(rules, about(), counts)[0] is verdict


def test_without_counts_nothing_is_said_where_a_rule_needs_them_and_nothing_else_blocks() -> None:
    rules = parse(
        [
            {**MANY, "velocities": [DECLINES]},
            {"name": "large", "verdict": "block", "amount_over": 500, "currency": "INR"},
        ]
    )
    assert said(rules, about(amount_minor=500)) is None
    assert said(rules, about()) == (V.BLOCK, ("large",))
    assert said(rules[1:], about(amount_minor=500)) == (V.ALLOW, ())


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ({"card": "allow"}, (V.ALLOW, ("listed_card",))),
        ({"card": "allow", "email": "block"}, (V.BLOCK, ("listed_email",))),
        ({"email": "review"}, (V.REVIEW, ("listed_email",))),
    ],
)
def test_a_block_comes_before_an_allow_and_that_before_the_rules(listed: Any, expected: Any) -> None:
    rules = parse([{"name": "cards", "verdict": "challenge", "methods": ["card"]}])
    assert said(rules, about(listed=listed)) == expected


def test_the_worst_of_what_holds_counts() -> None:
    rules = parse(
        [
            {"name": "india", "verdict": "review", "issuer_countries": ["IN"]},
            {"name": "cards", "verdict": "challenge", "methods": ["card"]},
            {"name": "rupees", "verdict": "review", "currency": "INR"},
        ]
    )
    assert said(rules, about()) == (V.REVIEW, ("india", "rupees"))
    assert said(rules, about(issuer_country=None, currency="EUR")) == (V.CHALLENGE, ("cards",))


def test_the_default_rules_can_be_written_and_read_again() -> None:
    assert parse([rule.written() for rule in DEFAULT]) == DEFAULT


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"name": "x y", "verdict": "block", "methods": ["card"]},
        {**MANY},
        {**MANY, "verdict": "perhaps", "methods": ["card"]},
        {**MANY, "amount_over": 5},
        {**MANY, "amount_over": 5.5, "currency": "INR"},
        {**MANY, "methods": "card"},
        {**MANY, "typo": 1, "methods": ["card"]},
        {**MANY, "velocities": [{**DECLINES, "within_s": 90_000}]},
        {**MANY, "velocities": [{**DECLINES, "more_than": 1_000}]},
        {**MANY, "velocities": [{**DECLINES, "count": "attempts"}]},
        {**MANY, "velocities": [{**DECLINES, "of": "merchant", "count": "attempts", "share_over": None}]},
        {**MANY, "velocities": [{**DECLINES, "of": "moon"}]},
        {**MANY, "velocities": [DECLINES] * 6},
    ],
)
def test_what_is_no_rule_is_refused_in_words(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        parse([wrong])


def test_two_rules_do_not_have_one_name() -> None:
    rule = {**MANY, "methods": ["card"]}
    with pytest.raises(InvalidRequest):
        parse([rule, rule])
