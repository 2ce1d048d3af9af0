"""Strong customer authentication, as the merchant asks for it and as an acquirer says what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Self

Challenge = Literal["default", "force", "avoid"]
Exemption = Literal["low_value", "transaction_risk_analysis"]
AuthenticationResult = Literal[
    "authenticated", "frictionless", "attempted", "exempted", "failed", "none", "unknown"
]
Completes = Literal["customer", "resume"]
"""By what a challenge may move money: by what the customer does, or by our second leg once they are back."""

LEGS_MAX: Final = 5  # of one attempt: each sends another set of what a browser brought back
BY_ACQUIRER: Final = "acquirer"
BY_MERCHANT: Final = "merchant"
_WITHOUT_EXEMPTIONS: Final = frozenset(
    {"IN"}
)  # countries whose rules for cards issued there know none of these


@dataclass(frozen=True, slots=True, kw_only=True)
class Sca:
    """What the merchant asks the acquirer for."""

    challenge: Challenge = "default"
    exemption: Exemption | None = None

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        """As it is stored with the payment."""
        return cls(challenge=members.get("challenge", "default"), exemption=members.get("exemption"))


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedIn:
    """What a merchant who authenticated elsewhere hands in. In memory only; no repr shows it."""

    version: str = field(repr=False)  # of 3-D Secure
    trans_status: Literal["Y", "A"] = field(repr=False)
    eci: str = field(repr=False)
    cavv: str = field(repr=False)
    ds_transaction_id: str = field(repr=False)


def passed_on(sca: Sca, *, issuer_country: str | None) -> Sca:
    """What the acquirer is asked for: no exemption for a card issued in India, or where that is not known."""
    allowed = issuer_country is not None and issuer_country not in _WITHOUT_EXEMPTIONS
    return sca if allowed else replace(sca, exemption=None)
