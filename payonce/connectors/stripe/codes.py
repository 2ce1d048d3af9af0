"""What Stripe's codes mean, as `codes.toml` says."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, Literal

import structlog

from payonce.domain.facts import DeclineCode

log = structlog.get_logger(__name__)

CODE_LENGTH_MAX: Final = 64
CODES: Final[Mapping[str, Mapping[str, Any]]] = tomllib.loads(
    files("payonce.connectors.stripe").joinpath("codes.toml").read_text(encoding="utf-8")
)


@dataclass(frozen=True, slots=True)
class DeclineMeaning:
    """A decline in our words, and where the card may be tried again."""

    code: DeclineCode
    where: Literal["same", "other", "never"]


_UNKNOWN: Final = DeclineMeaning(DeclineCode.GENERIC_DECLINE, "same")


def meaning_of(code: str | None, decline_code: str | None) -> DeclineMeaning:
    """Of a `card_error`: its decline code says more than its code."""
    for table, named in (("decline_codes", decline_code), ("card_errors", code)):
        found = CODES[table].get(named or "")
        if found is not None:
            return DeclineMeaning(DeclineCode(found["means"]), found["where"])
    log.warning("stripe_code_unmapped", code=(decline_code or code or "")[:CODE_LENGTH_MAX])
    return _UNKNOWN


def refused_pointer(code: str | None) -> str | None:
    """The member that data is refused for, for ever; empty where Stripe names none. None: it is no such refusal."""
    pointer: str | None = CODES["refused"].get(code or "")
    return pointer


def lapsed(code: str | None) -> bool:
    """Whether the authorization is gone that was to be captured."""
    return (code or "") in CODES["lapsed"]
