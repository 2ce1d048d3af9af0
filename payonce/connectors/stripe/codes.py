"""Stripe's codes in our words, by the table beside it (`codes.toml`)."""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from payonce.connectors.stripe.objects import StripeError
from payonce.domain.evidence import Where
from payonce.domain.facts import DeclineCode


@dataclass(frozen=True, slots=True)
class DeclineMeaning:
    """What a decline is in our words, and where the card may be tried again."""

    code: DeclineCode
    where: Where


def table() -> dict[str, Any]:
    """The whole table; see its sections."""
    text = files("payonce.connectors.stripe").joinpath("codes.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


_TABLE: Final = table()
_UNHEARD_OF: Final = DeclineMeaning(DeclineCode.GENERIC_DECLINE, "same")


def _meanings(section: str) -> dict[str, DeclineMeaning]:
    return {
        code: DeclineMeaning(DeclineCode(entry["means"]), entry["where"])
        for code, entry in _TABLE[section].items()
    }


_DECLINES: Final = _meanings("decline_codes")
_CARD_ERRORS: Final = _meanings("card_errors")
_REFUSED: Final[dict[str, str]] = _TABLE["refused"]
_NEVER_AGAIN: Final = frozenset(_TABLE["network_never"]["advice"])
REJECTED: Final = frozenset(_TABLE["rejected"])
"""Codes that are about our account or its key, and not about this payment."""
ENDED: Final = frozenset((*_TABLE["lapsed"], *_TABLE["ended"]))
"""Codes of a capture, void or refund that Stripe turned down: it moved nothing, and will not."""


def declined(error: StripeError, *, blocked: bool = False) -> DeclineMeaning:
    """What a card error means; what is not in the table is a decline without a reason.

    The advice never to try a card again comes before what the code says, but for what Stripe blocked by its own
    rules: no network or issuer gave that advice.
    """
    decline = _DECLINES.get(error.decline_code or "")
    meaning = decline or _CARD_ERRORS.get(error.code or "") or _UNHEARD_OF
    never = error.advice_code == "do_not_try_again" or error.network_advice_code in _NEVER_AGAIN
    return DeclineMeaning(meaning.code, "never") if never and not blocked else meaning


def heard_of(error: StripeError) -> bool:
    """Whether the table has the decline's code."""
    return (error.decline_code or error.code or "") in (_DECLINES if error.decline_code else _CARD_ERRORS)


def refused(error: StripeError) -> str | None:
    """The pointer to the member of our API that is refused for ever, empty for none; None: it is no refusal."""
    return _REFUSED.get(error.code or "")
