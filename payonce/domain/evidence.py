"""What an acquirer says beside its yes or no, as an attempt keeps it: evidence of an approval, codes of a decline.

Nothing is decided by it. Texts are cut, since they are somebody else's; whoever reads an acquirer's answer puts no
card number in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal

from payonce.domain.card_numbers import may_hold_card_number
from payonce.domain.sca import AuthenticationResult, Exemption

TEXT_MAX: Final = 100  # of one code; the networks' own have at most 15 characters
CODES_MAX: Final = 20

Where = Literal["same", "other", "never"]
"""Where the declined may be tried again: at this acquirer, at another one too, or nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the acquirer and the scheme say of an approval, in the acquirer's own codes."""

    scheme: str | None = None
    network_transaction_id: str | None = None
    network_transaction_amount_minor: int | None = None  # in the approval's currency
    network_transaction_date: date | None = None
    authorization_code: str | None = None
    avs_result: str | None = None
    cvc_result: str | None = None
    liability: Literal["issuer", "merchant"] | None = None  # who bears a fraud
    eci: str | None = None
    authentication: AuthenticationResult | None = None  # what became of the cardholder's authentication
    exemption_honoured: Exemption | None = None  # None: none was, or the acquirer does not say
    issuer_country: str | None = None  # ISO 3166-1, two letters
    funding: str | None = None  # credit, debit, prepaid …
    signed: bool = True  # False: the acquirer's signature does not cover it

    def kept(self) -> dict[str, Any]:
        """What is known of it, for JSON; that it is not signed is said, that it is goes without."""
        known = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        if known.pop("signed") is False:
            known["signed"] = False
        return {name: value for name, value in known.items() if value is not None}


def kept_decline(raw: Mapping[str, str], *, where: Where, code: str) -> dict[str, Any]:
    """What an attempt keeps of a decline; `code` is ours."""
    return {"code": code, "where": where, "raw": kept_codes(raw)}


def kept_codes(raw: Mapping[str, str]) -> dict[str, str]:
    """At most so many of an acquirer's own codes, none long, and none that could be a card number."""
    texts = {name[:TEXT_MAX]: value[:TEXT_MAX] for name, value in list(raw.items())[:CODES_MAX]}
    return {name: value for name, value in texts.items() if not may_hold_card_number(f"{name} {value}")}


def _plain(value: object) -> object:
    if isinstance(value, date):
        return value.isoformat()
    return value[:TEXT_MAX] if isinstance(value, str) else value


# How long a card-not-present authorization holds that the customer initiated, by network. Source: Stripe, "Place a
# hold on a payment method", authorization validity windows (docs.stripe.com/payments/
# place-a-hold-on-a-payment-method, read 2026-11): 7 days each. Acquirers and issuers differ, and schemes allow more.
_HOLDS_FOR: Final = {brand: timedelta(days=7) for brand in ("visa", "mastercard", "amex", "discover")}
# Of a network that is not listed: the shortest of that table, which is Visa's where a merchant initiates the payment.
_OTHERS_HOLD_FOR: Final = timedelta(days=4, hours=18)


def capture_before(payment_method: Mapping[str, Any], *, authorized_at: datetime) -> datetime:
    """Until when an authorization holds whose acquirer does not say it; `authorized_at`, or some time before."""
    brand = payment_method.get(payment_method["type"], {}).get("brand")
    return authorized_at + _HOLDS_FOR.get(brand, _OTHERS_HOLD_FOR)
