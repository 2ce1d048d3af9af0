"""Saved cards: what a merchant may pay with again, and the credentials behind it.

A payment method is bound to its merchant and mode, and to a customer where it was saved with one. What it is paid
with lies in its credentials: the number in the vault, which serves at every account that takes card numbers, or the
token of one account, which serves there alone. Neither the number nor a token is ever shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final, Literal, Self, get_args

from payonce.domain.cards import Card

CardStorage = Literal["none", "acquirer", "vault"]
"""Where a merchant's cards are saved: nowhere, as tokens of the acquirers, or as numbers in the vault."""
CARD_STORAGES: Final[tuple[str, ...]] = get_args(CardStorage)

CUSTOMER_ID_MAX_LENGTH: Final = 100

Reason = Literal["unscheduled", "recurring", "installment", "delayed", "no_show"]
"""Why a merchant asks for money while the customer is not there, in the schemes' words."""


class Setup(StrEnum):
    """For what a card was saved."""

    ON_SESSION = "on_session"  # the customer is there when it is paid with
    OFF_SESSION = "off_session"  # they agreed to payments that the merchant begins


class SavedState(StrEnum):
    """How far a payment method has come. Whether its month is over is not kept: it is looked at."""

    PROVISIONAL = "provisional"  # its payment is not approved: nobody sees it
    ACTIVE = "active"
    DELETED = "deleted"  # unusable; what is left of it is erased


class CredentialKind(StrEnum):
    """What can be paid with."""

    VAULTED = "vaulted"
    OF_ACQUIRER = "acquirer_token"
    OF_NETWORK = "network_token"  # room for it: nothing makes one yet


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethod:
    """One row of `payment_methods`."""

    id: str
    merchant_id: str
    mode: str
    state: SavedState
    setup: Setup
    customer_id: str | None
    brand: str
    last4: str
    exp_month: int
    exp_year: int
    fingerprint: str | None  # the merchant's own name for the number; none where no vault has it
    payment_id: str | None  # with which it was saved
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    issuer_country: str | None = None  # ISO 3166-1, two letters; None: not known when it was saved

    def expired(self, now: datetime) -> bool:
        """Whether the card's month is over, wherever on earth that ends last."""
        return Card("", self.exp_month, self.exp_year).expired(now)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkTransaction:
    """The scheme's word for the customer-initiated payment with which a card was set up.

    It means something to its scheme alone, and goes with the card's number, never with an acquirer's own token.
    """

    scheme: str | None
    id: str
    amount_minor: int
    currency: str
    on: date
    connector_account: str

    def kept(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "on": self.on.isoformat()}

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        """As it is stored."""
        return cls(**{**members, "on": date.fromisoformat(members["on"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """One row of `credentials`."""

    payment_method_id: str
    kind: CredentialKind
    connector_account: str = ""  # of an acquirer's token: where it serves
    vault_record: str | None = None
    token: Mapping[str, str] | None = field(default=None, repr=False)  # in the acquirer's own words
    network_transaction: NetworkTransaction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedCard:
    """A saved card with all that it can be paid with."""

    method: PaymentMethod
    credentials: Sequence[Credential]

    @property
    def vaulted(self) -> Credential | None:
        """Its number, which serves at every account that takes card numbers."""
        return next((one for one in self.credentials if one.kind is CredentialKind.VAULTED), None)

    @property
    def tokens_at(self) -> frozenset[str]:
        """The accounts that have a token of their own for it."""
        kind = CredentialKind.OF_ACQUIRER
        return frozenset(one.connector_account for one in self.credentials if one.kind is kind)

    def at(self, account_id: str) -> CredentialKind:
        """Which of them it is paid with at this account: its own token before the number, which is then not read."""
        return CredentialKind.OF_ACQUIRER if account_id in self.tokens_at else CredentialKind.VAULTED

    def credential(self, kind: CredentialKind, account_id: str) -> Credential | None:
        """That credential; None where it is gone."""
        if kind is CredentialKind.VAULTED:
            return self.vaulted
        mine = (one for one in self.credentials if (one.kind, one.connector_account) == (kind, account_id))
        return next(mine, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCredential:
    """What a payment has to do with a saved card, as its row keeps it (`Payment.stored_credential`)."""

    token: str  # the `pm_` that it is paid with, or that it saves
    saves: bool = False  # whether the card that came with it is kept once it is approved
    setup: Setup | None = None  # what was asked for: a card that is paid with may be set up for more, too
    reason: Reason | None = None  # of a merchant-initiated payment
    credential: CredentialKind = CredentialKind.VAULTED  # which of the credentials it goes with
    in_memory: bool = False  # whether a security code came with it, which only memory may hold

    @property
    def paid_with(self) -> bool:
        """Whether the payment is made with a card that was saved before."""
        return not self.saves

    @property
    def by_merchant(self) -> bool:
        """Whether the merchant asks for the money while the customer is not there."""
        return self.reason is not None

    def kept(self) -> dict[str, Any]:
        """For JSON, without what is not said."""
        return {name: value for name, value in asdict(self).items() if value not in (None, False)}

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        """As it is stored."""
        setup = members.get("setup")
        return cls(
            **{
                **members,
                "setup": None if setup is None else Setup(setup),
                "credential": CredentialKind(members["credential"]),
            }
        )
