"""Adyen's codes in our words, by the table beside it (`codes.toml`)."""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from payonce.domain.evidence import Where
from payonce.domain.facts import DeclineCode

AUTHENTICATION_REQUIRED: Final = "38"  # the issuer may say yes to a cardholder whom it could ask
NO_REASON: Final = "0"


@dataclass(frozen=True, slots=True)
class RefusalMeaning:
    """What a refusal is in our words, and where the card may be tried again."""

    code: DeclineCode
    where: Where


def table() -> dict[str, Any]:
    """The whole table; see its sections."""
    text = files("payonce.connectors.adyen").joinpath("codes.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


_TABLE: Final = table()
_UNHEARD_OF: Final = RefusalMeaning(DeclineCode.GENERIC_DECLINE, "same")
_REFUSALS: Final = {
    code: RefusalMeaning(DeclineCode(entry["means"]), entry["where"])
    for code, entry in _TABLE["refusal_reasons"].items()
}
_NEVER_AGAIN: Final = frozenset(_TABLE["network_never"]["advice"])
_REFUSED: Final[dict[str, str]] = _TABLE["refused"]
RESULTS: Final[dict[str, str]] = _TABLE["result_codes"]
REJECTED: Final = frozenset(_TABLE["rejected"])
LEG_INVALID: Final = frozenset(_TABLE["leg_invalid"])
UNDECIDED: Final = frozenset(_TABLE["undecided"])


def declined(reason: str | None, *, advice: str | None) -> RefusalMeaning:
    """What a refusal means; what is not in the table is a decline without a reason.

    A network's advice never to try the card again comes before what the code says.
    """
    meaning = _REFUSALS.get(reason or NO_REASON, _UNHEARD_OF)
    return RefusalMeaning(meaning.code, "never") if advice in _NEVER_AGAIN else meaning


def heard_of(reason: str | None) -> bool:
    """Whether the table has the reason's code."""
    return (reason or NO_REASON) in _REFUSALS


def refused(code: str | None) -> str | None:
    """The pointer to the member of our API that is refused for ever, empty for none; None: it is no refusal."""
    return _REFUSED.get(code or "")
