"""A decision before money moves: a verdict on a payment, and what becomes of the payment by it.

Pure. Who is asked is in `payonce.risk`; that a payment is held is a fact of its row (`Payment.capture`), which every
attempt and the books follow.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal, assert_never

from payonce.domain.answers import failed_answer, failure_error
from payonce.domain.errors import InvalidRequest
from payonce.domain.events import Settlement, Story
from payonce.domain.facts import FailureCode
from payonce.domain.operations import Operation, OperationStatus
from payonce.domain.payment import HELD, Change, Payment
from payonce.domain.routing import Route, Wanted
from payonce.domain.sca import Sca

REASONS_MAX: Final = 20
REASON_MAX_LENGTH: Final = 100
ASKED_WITHIN_S: Final = 0.08  # of all providers together

FORCED: Final = Sca(challenge="force")
NOT_HELD: Final = "review_impossible"  # by no account that takes such a payment
NOT_CHALLENGED: Final = "challenge_impossible"
NO_ANSWER: Final = "no_answer"

Choice = Literal["block", "allow"]


class RiskVerdict(StrEnum):
    """What a provider says of a payment, the mildest first."""

    ALLOW = "allow"
    CHALLENGE = "challenge"  # the cardholder is authenticated
    REVIEW = "review"  # a person looks at it before it is captured
    BLOCK = "block"

    @property
    def severity(self) -> int:
        return _SEVERITY.index(self)


_SEVERITY: Final = tuple(RiskVerdict)


@dataclass(frozen=True, slots=True)
class RiskSubjects:
    """By what payments are counted together: keyed hashes of this merchant's, in this mode. See `risk.subjects`.

    They are for counting in memory and in Redis: nowhere beside what shows the first six or last four of a number.
    """

    card: str | None = field(default=None, repr=False)
    customer: str | None = field(default=None, repr=False)
    address: str | None = field(default=None, repr=False)
    member: str = field(default="", repr=False)  # what stands for the payment in a count


NO_SUBJECTS: Final = RiskSubjects()


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """A verdict, and why: `reasons` are for the merchant, never for who pays."""

    verdict: RiskVerdict
    reasons: tuple[str, ...] = ()
    provider: str | None = None

    def shown(self) -> Mapping[str, Any]:
        """As the API shows it."""
        return {"verdict": self.verdict.value, "reasons": list(self.reasons), "provider": self.provider}

    def turned(self, verdict: RiskVerdict, reason: str) -> "Assessment":
        """Another verdict, for a further reason."""
        return replace(self, verdict=verdict, reasons=(*self.reasons, reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a merchant chose for where a verdict cannot be had or followed."""

    without_answer: Literal["open", "closed"] = "open"
    without_hold: Choice = "block"
    without_challenge: Choice = "block"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A merchant's, in one mode: who is asked, and what follows. Without providers nobody is."""

    providers: tuple[str, ...] = ()
    choices: Choices = field(default_factory=Choices)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)  # by provider

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None) -> "Policy":
        """As it is stored; nothing stored is nobody asked."""
        if not stored:
            return cls()
        return cls(
            providers=tuple(stored.get("providers", ())),
            choices=Choices(**stored.get("choices", {})),
            options=stored.get("options", {}),
        )


@dataclass(frozen=True, slots=True)
class Routed:
    """Where the payment goes, and how: as its row is to say it."""

    route: Route
    assessment: Assessment | None
    capture: str | None = None
    sca: Sca | None = None

    @property
    def blocked(self) -> bool:
        return self.assessment is not None and self.assessment.verdict is RiskVerdict.BLOCK


def blocked(payment: Payment, create: Operation, *, now: datetime) -> Settlement:
    """The payment has failed before any acquirer heard of it; the answer does not say for which reasons."""
    error = failure_error(FailureCode.PAYMENT_BLOCKED)
    story = Story(payment, now)
    story.change(Change.FAILED, last_error=error)
    failed = replace(create, status=OperationStatus.FAILED, last_error=error, updated_at=now)
    told = replace(story.payment, risk={**(payment.risk or {}), "reasons": []})
    answer = failed_answer(told, error, request_id=create.request_id)
    return Settlement(story.payment, failed, events=story.events, answer=answer)


def worst(assessments: "list[Assessment]") -> Assessment | None:
    """The most severe verdict, and of equal ones the first, with the reasons of all that say the same."""
    if not assessments:
        return None
    found = max(assessments, key=lambda one: one.verdict.severity)
    same = [one for one in assessments if one.verdict is found.verdict]
    reasons = tuple(dict.fromkeys(reason for one in same for reason in one.reasons))[:REASONS_MAX]
    return replace(found, reasons=reasons)


def unanswered(choices: Choices, *, provider: str | None) -> Assessment | None:
    """What holds where nobody answered in time; None: nothing is admitted."""
    if choices.without_answer == "closed":
        return None
    return Assessment(verdict=RiskVerdict.ALLOW, reasons=(NO_ANSWER,), provider=provider)


def route(
    assessment: Assessment | None,
    choices: Choices,
    wanted: Wanted,
    choose: Callable[[Wanted], Route],
    *,
    present: bool = True,
) -> Routed:
    """The account that can do what the verdict asks for; where none can, what the merchant chose.

    `present`: whether the cardholder is there to be challenged. Raises what `choose` raises.
    """
    if assessment is None:
        return Routed(choose(wanted), None, sca=wanted.sca)
    match assessment.verdict:
        case RiskVerdict.ALLOW | RiskVerdict.BLOCK:
            return Routed(choose(wanted), assessment, sca=wanted.sca)
        case RiskVerdict.CHALLENGE if wanted.handed_in or wanted.method != "card":
            return Routed(
                choose(wanted), assessment, sca=wanted.sca
            )  # met: the payer is authenticated all the same
        case RiskVerdict.CHALLENGE:
            try:
                found = choose(replace(wanted, sca=FORCED)) if present else None
            except InvalidRequest:
                found = None
            if found is not None:
                return Routed(found, assessment, sca=FORCED)
            return _chosen(assessment, choices.without_challenge, NOT_CHALLENGED, wanted, choose)
        case RiskVerdict.REVIEW:
            try:
                return Routed(choose(replace(wanted, held=True)), assessment, capture=HELD, sca=wanted.sca)
            except InvalidRequest:
                return _chosen(assessment, choices.without_hold, NOT_HELD, wanted, choose)
        case _:
            assert_never(assessment.verdict)


def _chosen(
    assessment: Assessment, choice: Choice, reason: str, wanted: Wanted, choose: Callable[[Wanted], Route]
) -> Routed:
    """The verdict that the merchant chose instead; what no account takes at all is refused as without a verdict."""
    found = choose(wanted)
    return Routed(found, assessment.turned(RiskVerdict(choice), reason), sca=wanted.sca)
