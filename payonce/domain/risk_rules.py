"""The rules that come with payonce: how often, how many declines, how much, and what the merchant's lists say.

A rule holds where all of its conditions do; the worst verdict of those that hold counts. Card testing is many
declines, not many payments: behind one address may be an office or a carrier's whole network. So attempts and
declines are counted apart, and a limit on declines may ask for their share of what was decided, too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, cast, get_args

from payonce.domain.errors import InvalidRequest
from payonce.domain.money import AMOUNT_MINOR_MAX
from payonce.domain.risk import REASON_MAX_LENGTH, Assessment, RiskVerdict, worst

Subject = Literal["card", "customer", "address", "merchant"]
Counted = Literal["attempts", "outcomes", "declines"]

RULES_MAX: Final = 50
CONDITIONS_MAX: Final = 5  # of one rule
WITHIN_S_MAX: Final = 24 * 3600  # for so long counts are kept
COUNT_MAX: Final = 1_000  # and so many of each
PROVIDER: Final = "rules"
METHODS: Final = (
    *("card", "upi.intent", "upi.qr", "upi.collect"),
    *("wallet.apple_pay", "wallet.google_pay", "wallet.paytm", "wallet.phonepe"),
)
UNKNOWN: Final = "UNKNOWN"  # stands for a country: a card's whose issuer's is not known, or a device wallet's


@dataclass(frozen=True, slots=True)
class Measure:
    """What is counted: of this payment's card, customer or address, or of its merchant."""

    of: Subject
    counted: Counted
    within_s: int


Counts = Mapping[Measure, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Velocity:
    """More than so many within so long; of declines perhaps only where they are more than so much of all outcomes."""

    of: Subject
    counted: Counted
    within_s: int
    more_than: int
    share_over: int | None = None  # percent

    @property
    def measures(self) -> tuple[Measure, ...]:
        own = Measure(self.of, self.counted, self.within_s)
        return (own,) if self.share_over is None else (own, Measure(self.of, "outcomes", self.within_s))

    def holds(self, counts: Counts) -> bool:
        """What nothing is counted of, since the payment does not say it, is under every limit."""
        found = counts.get(Measure(self.of, self.counted, self.within_s), 0)
        if found <= self.more_than:
            return False
        outcomes = counts.get(Measure(self.of, "outcomes", self.within_s), 0)
        return self.share_over is None or found * 100 > self.share_over * outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Holds where each of what it asks for does."""

    name: str
    verdict: RiskVerdict
    velocities: tuple[Velocity, ...] = ()
    amount_over: int | None = None  # in the minor unit of `currency`
    currency: str | None = None
    methods: tuple[str, ...] = ()  # as "upi.qr", or "upi" for all of them
    issuer_countries: tuple[str, ...] = ()

    def holds(self, about: "RuledPayment", counts: Counts) -> bool:
        if self.currency is not None and about.currency != self.currency:
            return False
        if self.amount_over is not None and about.amount_minor <= self.amount_over:
            return False
        if self.methods and not {about.method, about.method.partition(".")[0]} & {*self.methods}:
            return False
        if self.issuer_countries and about.issuer_country not in self.issuer_countries:
            return False
        return all(velocity.holds(counts) for velocity in self.velocities)

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        """As it is stored, or written by a person. Raises `InvalidRequest`, in words."""
        known = {"name", "verdict", "velocities", "amount_over", "currency", "methods", "issuer_countries"}
        if unknown := set(members) - known:
            raise InvalidRequest(f"A rule has no {', '.join(sorted(unknown))}.")
        name = members.get("name")
        if not isinstance(name, str) or not 1 <= len(name) <= REASON_MAX_LENGTH or not name.isidentifier():
            raise InvalidRequest(
                "A rule's name is letters, digits and underscores: it is shown as the reason."
            )
        velocities = _velocities(name, members.get("velocities", ()))
        amount, currency = members.get("amount_over"), members.get("currency")
        if currency is not None and not isinstance(currency, str):
            raise InvalidRequest(f"{name}: currency is a text.")
        if amount is not None and (currency is None or not _between(amount, 0, AMOUNT_MINOR_MAX)):
            raise InvalidRequest(
                f"{name}: amount_over is an integer in the minor unit of currency, which it needs."
            )
        rule = cls(
            name=name,
            verdict=_verdict(name, members.get("verdict")),
            velocities=velocities,
            amount_over=amount,
            currency=None if currency is None else currency.upper(),
            methods=_texts(name, members.get("methods", ())),
            issuer_countries=tuple(map(str.upper, _texts(name, members.get("issuer_countries", ())))),
        )
        if not (velocities or currency or rule.methods or rule.issuer_countries):
            raise InvalidRequest(f"{name}: it has no condition, and would hold of every payment.")
        return rule

    def written(self) -> Mapping[str, Any]:
        """For JSON, without what is not said."""
        velocities = [
            {
                "of": one.of,
                "count": one.counted,
                "within_s": one.within_s,
                "more_than": one.more_than,
                **({} if one.share_over is None else {"share_over": one.share_over}),
            }
            for one in self.velocities
        ]
        said = {
            "velocities": velocities,
            "amount_over": self.amount_over,
            "currency": self.currency,
            "methods": list(self.methods),
            "issuer_countries": list(self.issuer_countries),
        }
        return {"name": self.name, "verdict": self.verdict.value} | {
            name: value for name, value in said.items() if value not in (None, [])
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RuledPayment:
    """What rules look at."""

    amount_minor: int
    currency: str
    method: str
    issuer_country: str | None  # `UNKNOWN` of a card's that is not known; None: no card pays
    listed: Mapping[str, str]  # by kind: the verdict of the merchant's list


def parse(rules: Sequence[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """As they are stored. Raises `InvalidRequest`."""
    if len(rules) > RULES_MAX:
        raise InvalidRequest(f"At most {RULES_MAX} rules are possible.")
    parsed = tuple(map(Rule.of, rules))
    if len({rule.name for rule in parsed}) < len(parsed):
        raise InvalidRequest("Two rules have the same name.")
    return parsed


def measures(rules: Iterable[Rule]) -> frozenset[Measure]:
    """What has to be counted for them."""
    return frozenset(one for rule in rules for velocity in rule.velocities for one in velocity.measures)


def judge(rules: Sequence[Rule], about: RuledPayment, counts: Counts | None) -> Assessment | None:
    """The worst verdict of what holds; None where what counts decide is not known, and nothing else blocks.

    A list comes first: what is blocked by one is blocked, and what is allowed by one is looked at no further.
    """
    if counts is not None:
        return _by_lists(about) or _by_rules(rules, about, counts)
    found = judge_without_counts(rules, about)
    unknown = any(rule.velocities for rule in rules) and _by_lists(about) is None
    return None if unknown and found.verdict is not RiskVerdict.BLOCK else found


def judge_without_counts(rules: Sequence[Rule], about: RuledPayment) -> Assessment:
    """The worst verdict of the lists and of the rules that need no counts: the least that holds."""
    return _by_lists(about) or _by_rules([rule for rule in rules if not rule.velocities], about, {})


def _by_lists(about: RuledPayment) -> Assessment | None:
    """The verdict of a list after which no rule is looked at."""
    listed = [_listed(kind, verdict) for kind, verdict in sorted(about.listed.items())]
    blocked = worst([one for one in listed if one.verdict is RiskVerdict.BLOCK])
    return blocked or next((one for one in listed if one.verdict is RiskVerdict.ALLOW), None)


def _by_rules(rules: Sequence[Rule], about: RuledPayment, counts: Counts) -> Assessment:
    listed = [_listed(kind, verdict) for kind, verdict in sorted(about.listed.items())]
    found = [
        Assessment(verdict=rule.verdict, reasons=(rule.name,), provider=PROVIDER)
        for rule in rules
        if rule.holds(about, counts)
    ]
    return worst([*listed, *found]) or Assessment(verdict=RiskVerdict.ALLOW, provider=PROVIDER)


def _listed(kind: str, verdict: str) -> Assessment:
    return Assessment(verdict=RiskVerdict(verdict), reasons=(f"listed_{kind}",), provider=PROVIDER)


def _velocities(name: str, said: object) -> tuple[Velocity, ...]:
    if not isinstance(said, list | tuple) or not all(isinstance(one, Mapping) for one in said):
        raise InvalidRequest(f"{name}: velocities are a list of objects.")
    if len(said) > CONDITIONS_MAX:
        raise InvalidRequest(f"{name}: at most {CONDITIONS_MAX} velocities are possible.")
    return tuple(_velocity(name, one) for one in said)


def _velocity(name: str, members: Mapping[str, Any]) -> Velocity:
    within_s, more_than = members.get("within_s"), members.get("more_than")
    share, of, counted = members.get("share_over"), members.get("of"), members.get("count")
    if set(members) - {"of", "count", "within_s", "more_than", "share_over"}:
        raise InvalidRequest(f"{name}: a velocity has of, count, within_s, more_than and share_over.")
    if of not in get_args(Subject) or counted not in ("attempts", "declines"):
        raise InvalidRequest(
            f"{name}: `of` is one of {', '.join(get_args(Subject))}; `count` attempts or declines."
        )
    if of == "merchant" and counted == "attempts":
        raise InvalidRequest(f"{name}: a merchant's attempts are its business, and not counted.")
    if not _between(within_s, 1, WITHIN_S_MAX) or not _between(more_than, 0, COUNT_MAX - 1):
        raise InvalidRequest(f"{name}: within_s is 1 to {WITHIN_S_MAX}, more_than 0 to {COUNT_MAX - 1}.")
    if share is not None and (counted != "declines" or not _between(share, 1, 99)):
        raise InvalidRequest(f"{name}: share_over is 1 to 99 percent, and of declines.")
    assert isinstance(within_s, int)
    assert isinstance(more_than, int)
    return Velocity(
        of=cast("Subject", of),
        counted=cast("Counted", counted),
        within_s=within_s,
        more_than=more_than,
        share_over=share,
    )


def _verdict(name: str, said: object) -> RiskVerdict:
    try:
        return RiskVerdict(str(said))
    except ValueError:
        raise InvalidRequest(f"{name}: verdict is one of {', '.join(RiskVerdict)}.") from None


def _texts(name: str, said: object) -> tuple[str, ...]:
    if not isinstance(said, list | tuple) or not all(isinstance(one, str) for one in said):
        raise InvalidRequest(f"{name}: methods and issuer_countries are lists of texts.")
    return tuple(said)


def _between(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


_HOUR: Final = 3600


def _when(of: Subject, counted: Counted, more_than: int, share_over: int | None = None) -> Velocity:
    return Velocity(of=of, counted=counted, within_s=_HOUR, more_than=more_than, share_over=share_over)


_SURGE: Final = _when(
    "merchant", "declines", 60, 40
)  # a shop's issuers refuse a tenth, on a bad day a quarter

DEFAULT: Final = (
    # One card, tried again and again: a guessed security code. A family uses one some times a day.
    Rule(name="card_attempts", verdict=RiskVerdict.BLOCK, velocities=(_when("card", "attempts", 8),)),
    Rule(name="card_declines", verdict=RiskVerdict.BLOCK, velocities=(_when("card", "declines", 4),)),
    # Many numbers from one address: an office or a carrier's network has declines, and many more approvals.
    Rule(
        name="address_declines", verdict=RiskVerdict.BLOCK, velocities=(_when("address", "declines", 10, 60),)
    ),
    Rule(
        name="customer_declines",
        verdict=RiskVerdict.BLOCK,
        velocities=(_when("customer", "declines", 8, 60),),
    ),
    # Many addresses: what the merchant sees of its issuers says so. Who was refused there before is stopped, and
    # everybody else is authenticated until it is over.
    Rule(
        name="surge_from_address",
        verdict=RiskVerdict.BLOCK,
        velocities=(_SURGE, _when("address", "declines", 2, 75)),
    ),
    Rule(name="surge", verdict=RiskVerdict.CHALLENGE, velocities=(_SURGE,), methods=("card",)),
)
"""Where a merchant has written none of its own."""
