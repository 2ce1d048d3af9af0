"""The contract of a risk provider.

It says what it thinks of one payment that is about to be admitted, within `ASKED_WITHIN_S` (80 ms) for all that are
asked about it. Whoever does not answer in time, or wrongly, has not answered: then the merchant's choice holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from payonce.domain.errors import PaymentError
from payonce.domain.risk import NO_SUBJECTS, RiskSubjects
from payonce.domain.risk import Assessment as Assessment  # part of this contract
from payonce.domain.risk import RiskVerdict as RiskVerdict


class NoVerdict(PaymentError):
    """The risk provider could not say."""

    code = "no_verdict"


class NotAsked(NoVerdict):
    """It was not asked: too many exchanges are open, or it is left alone for a while."""

    code = "not_asked"

    def __init__(self, why: Literal["busy", "left_alone"]) -> None:
        super().__init__(f"The risk provider was not asked: {why}.")
        self.why = why


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskView:
    """What is known of the payment: of its card no more than the first six and last four."""

    payment_id: str
    merchant_id: str
    mode: str
    amount_minor: int
    currency: str
    method: str  # "card", "upi.qr", "wallet.paytm", …
    channel: str | None = None
    brand: str | None = None
    first6: str | None = field(default=None, repr=False)
    last4: str | None = field(default=None, repr=False)
    issuer_country: str | None = None
    customer: Mapping[str, Any] | None = field(default=None, repr=False)
    ip: str | None = field(default=None, repr=False)
    user_agent: str | None = field(default=None, repr=False)
    billing_country: str | None = None
    shipping_country: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    merchant_reference: str | None = field(default=None, repr=False)
    subjects: RiskSubjects = NO_SUBJECTS
    listed: Mapping[str, str] = field(
        default_factory=dict, repr=False
    )  # what the merchant's lists say, by kind


class RiskProvider(Protocol):
    """One that is asked. It keeps nothing of a payment but counts, and may be cancelled at any moment."""

    name: str

    async def ask(self, view: RiskView, options: Mapping[str, Any]) -> Assessment:
        """The verdict; the same for the same payment, however often it is asked. Raises `NoVerdict`.

        `options` are the merchant's for this provider.
        """
        ...

    async def close(self) -> None:
        """Closes what it opened."""
        ...
