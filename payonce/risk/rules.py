"""The provider that comes with payonce: velocity, lists and amounts, by the merchant's rules or the default ones."""

from collections.abc import Mapping, Sequence
from typing import Any

from payonce.domain import risk_rules
from payonce.domain.errors import InvalidRequest
from payonce.domain.risk_rules import DEFAULT, METHODS, PROVIDER, UNKNOWN, Rule, RuledPayment
from payonce.risk.base import Assessment, NoVerdict, RiskView
from payonce.risk.counts import VelocityCounts
from payonce.risk.listing import checked_value


class RuleBook:
    """Asks Redis once, and nothing else: lists come with the payment."""

    name = PROVIDER

    def __init__(self, counts: VelocityCounts) -> None:
        self._counts = counts

    async def ask(self, view: RiskView, options: Mapping[str, Any]) -> Assessment:
        """Raises `NoVerdict` where there are no counts, and rules that need them."""
        rules = rules_of(options)
        wanted = risk_rules.measures(rules)
        counts = None
        if wanted:
            counts = await self._counts.count(view.merchant_id, view.mode, view.subjects, wanted)
        found = risk_rules.judge(rules, _ruled(view), counts)
        if found is None:
            raise NoVerdict("There are no counts.")
        return found

    async def close(self) -> None:
        await self._counts.close()


def without_counts(view: RiskView, options: Mapping[str, Any]) -> Assessment:
    """What holds however little is known: the merchant's lists, and its rules that need no counts."""
    try:
        rules = rules_of(options)
    except InvalidRequest:  # stored by another version
        rules = ()
    return risk_rules.judge_without_counts(rules, _ruled(view))


def _ruled(view: RiskView) -> RuledPayment:
    return RuledPayment(
        amount_minor=view.amount_minor,
        currency=view.currency,
        method=view.method,
        issuer_country=view.issuer_country or (None if view.last4 is None else UNKNOWN),
        listed=view.listed,
    )


def rules_of(options: Mapping[str, Any]) -> tuple[Rule, ...]:
    """The merchant's own; the default ones where it has written none."""
    written = options.get("rules")
    return DEFAULT if written is None else risk_rules.parse(written)


def checked(rules: Sequence[Rule]) -> Sequence[Rule]:
    """The rules, where each may hold. Raises `InvalidRequest` for what no payment has.

    For what is written: what is stored holds as it is, since a rule that is refused would switch off the others.
    """
    for rule in rules:
        if rule.currency is not None and not _is_money(rule.currency):
            raise InvalidRequest(f"{rule.name}: {rule.currency!r} is no currency (ISO 4217).")
        known = {*METHODS, *(method.partition(".")[0] for method in METHODS)}
        if unknown := set(rule.methods) - known:
            raise InvalidRequest(
                f"{rule.name}: no payment has the method {', '.join(sorted(unknown))}. Known are:"
                f" {', '.join(sorted(known))}."
            )
        for country in rule.issuer_countries:
            checked_value("country", country)
    return rules


def _is_money(currency: str) -> bool:
    from iso4217 import Currency  # it reads a table of 0.1 s

    try:
        return Currency(currency).exponent is not None
    except ValueError:
        return False
