"""Razorpay's reasons in our words, by the table beside it (`codes.toml`)."""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, Literal

from payonce.domain.evidence import Where
from payonce.domain.facts import DeclineCode

Decided = Literal["bank", "source", "before", "nobody"]


@dataclass(frozen=True, slots=True)
class PaymentFailure:
    """Why a payment failed, as Razorpay says it; `reason` alone is not enough."""

    reason: str | None
    source: str | None
    step: str | None


@dataclass(frozen=True, slots=True)
class FailureMeaning:
    """What a decline is in our words, and where it may be tried again."""

    code: DeclineCode
    where: Where


@dataclass(frozen=True, slots=True)
class _Reason:
    meaning: FailureMeaning
    decided: Decided


def table() -> dict[str, Any]:
    """The whole table; see its sections."""
    text = files("payonce.connectors.razorpay").joinpath("codes.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


_TABLE: Final = table()
_REASONS: Final = {
    reason: _Reason(FailureMeaning(DeclineCode(entry["means"]), entry["where"]), entry["decided"])
    for reason, entry in _TABLE["reasons"].items()
}
_ANSWERED_SOURCES: Final = frozenset(_TABLE["answered"]["sources"])
_ANSWERED_STEPS: Final = frozenset(_TABLE["answered"]["steps"])
_BEFORE_STEPS: Final = frozenset(_TABLE["before"]["steps"])
REJECTED: Final = frozenset(_TABLE["rejected"]["reasons"])
"""Reasons that are about our account, and not about this payment."""
REFUSED: Final = frozenset(_TABLE["refused"]["reasons"])
"""Reasons of data that will never be taken."""


def declined(failure: PaymentFailure) -> FailureMeaning | None:
    """What a failure means where somebody decided; None where a success may still follow.

    A reason that the table does not have is as if nobody had decided.
    """
    found = _REASONS.get(failure.reason or "")
    if found is None:
        return None
    match found.decided:
        case "bank":
            decided = True
        case "source":
            decided = failure.source in _ANSWERED_SOURCES and failure.step in _ANSWERED_STEPS
        case "before":
            decided = before_any_bank(failure)
        case "nobody":
            decided = False
    return found.meaning if decided else None


def before_any_bank(failure: PaymentFailure) -> bool:
    """Whether it ended before any bank was asked, so that nobody can try the same payment again."""
    found = _REASONS.get(failure.reason or "")
    return found is not None and found.decided == "before" and failure.step in _BEFORE_STEPS


def heard_of(failure: PaymentFailure) -> bool:
    """Whether the table has the reason."""
    return failure.reason in _REASONS
