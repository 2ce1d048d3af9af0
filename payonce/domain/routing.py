"""Which connector account an attempt goes to."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from payonce.domain.capabilities import Amounts, Required
from payonce.domain.errors import InvalidRequest
from payonce.domain.sca import BY_ACQUIRER, BY_MERCHANT, Sca

KEY: Final = "key"  # the secret of an account that has but one
ONLY_ASKED: Final = "only_asked"  # an option of accounts in test mode
NUMBER: Final = "number"
TOKEN: Final = "token"  # noqa: S105
"""By what a saved card is paid with: see `Capabilities.stored_credentials`."""
# Of a payment's metadata, in test mode: the connector that is to take it.
ASKED_FOR: Final = "sandbox_account"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorAccount:
    """One agreement with one acquirer: as the settings describe it, or as it is stored."""

    id: str
    connector: str
    mode: str  # "test" or "live"
    base_url: str
    key: str = field(default="", repr=False)  # the newest secret that is called `key`
    options: Mapping[str, str] = field(default_factory=dict)
    public_url: str = ""  # of our API, as customers and acquirers reach it
    merchant_id: str | None = None  # whose agreement it is; None: every merchant's
    # Who the acquirer says that we are, for ever; None: an account of the settings.
    identity: str | None = None
    upstream_secret: bytes = field(default=b"", repr=False)  # of the cell, for ever: see `connectors.keys`
    enabled: bool = True  # whether new payments go there
    # By name, the newest first: what an earlier one signed is still read. With `key` alone, that is the one.
    secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.key and not self.secrets:
            object.__setattr__(self, "secrets", {KEY: (self.key,)})
        if not self.key and KEY in self.secrets:
            object.__setattr__(self, "key", self.secret(KEY))

    def secret(self, name: str) -> str:
        """The newest generation; empty where there is none."""
        return next(iter(self.secrets.get(name, ())), "")

    @property
    def stored(self) -> bool:
        """Whether it is a row in Postgres, and no setting."""
        return self.identity is not None

    @property
    def only_asked(self) -> bool:
        """Whether it takes no payment but one that asks for its connector: in test mode, beside another account."""
        return self.mode == "test" and self.options.get(ONLY_ASKED) == "on"

    @property
    def callback_path(self) -> str:
        """The path of our API at which the acquirer tells what happened."""
        of_account = f"/{self.id}" if self.stored else ""
        return f"/v1/connectors/{self.connector}{of_account}/callbacks"

    @property
    def callback_url(self) -> str | None:
        """Where the acquirer tells us what happened; the option `callback_url` replaces it. None: nowhere."""
        ours = self.public_url and f"{self.public_url}{self.callback_path}"
        return self.options.get("callback_url", ours) or None

    def code_url(self, payment_id: str) -> str:
        """Where a customer's app finds the payment's QR code as an image."""
        return f"{self.public_url}/v1/payments/{payment_id}/qr"


class Reach(Protocol):
    """What routing needs to know of a connector."""

    @property
    def methods(self) -> frozenset[str]: ...
    @property
    def currencies(self) -> frozenset[str] | None: ...
    @property
    def capture_methods(self) -> frozenset[str]: ...
    @property
    def at_once(self) -> frozenset[str]: ...
    @property
    def void(self) -> bool: ...
    @property
    def brands(self) -> frozenset[str] | None: ...
    @property
    def amounts(self) -> Amounts: ...
    @property
    def required(self) -> tuple[Required, ...]: ...
    @property
    def three_ds(self) -> frozenset[str]: ...
    @property
    def exemptions(self) -> frozenset[str]: ...
    @property
    def stored_credentials(self) -> frozenset[str]: ...
    @property
    def mandates(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What routing needs to know of a saved card that is paid with."""

    tokens_at: frozenset[str]  # the accounts that have a token of their own for it
    vaulted: bool  # whether its number is in the vault
    by_merchant: bool = False  # whether the customer is not there
    issuer_country: str | None = None

    def fits(self, account: ConnectorAccount, reach: Reach) -> bool:
        """Whether there is what it can be paid with at this account."""
        if account.id in self.tokens_at and TOKEN in reach.stored_credentials:
            return True
        return self.vaulted and (not self.by_merchant or NUMBER in reach.stored_credentials)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a create asks of an account."""

    mode: str
    method: str  # "card", "upi.qr", "wallet.paytm", …
    currency: str
    amount_minor: int
    capture_method: str = "automatic"
    held: bool = False  # whether it is authorized only, and captured or voided when a person has decided
    brand: str | None = None  # of a card
    asked_for: str | None = None  # the connector whose accounts come first, in test mode
    sca: Sca | None = None
    handed_in: bool = False  # whether the merchant authenticated the cardholder elsewhere
    saves_there: bool = False  # whether the acquirer is to save the card
    saved: "Saved | None" = None  # the card, where it was saved before
    # Whether the create has the member that a JSON Pointer names.
    given: Callable[[str], bool] = lambda _: False


class Because(StrEnum):
    """Why an attempt went to its account."""

    ASKED = "asked"  # the payment's metadata name the connector
    OWN = "own"  # the first that fits of the merchant's own accounts
    SHARED = "shared"  # the first that fits of those for every merchant
    SETTINGS = "settings"  # the first that fits of those in the settings
    PAYMENT = "payment"  # the payment is there already
    SOFT_DECLINE = (
        "soft_decline"  # the attempt before was declined there, without its cardholder's authentication
    )


@dataclass(frozen=True, slots=True)
class Route:
    connector: str
    account_id: str
    because: Because = Because.SETTINGS


def choose(accounts: Iterable[ConnectorAccount], reaches: Mapping[str, Reach], wanted: Wanted) -> Route:
    """The first account, in their order, that serves all of what is wanted.

    Raises `InvalidRequest` with the code of what no account serves that serves all before it: of
    `payment_method_not_supported`, `currency_not_supported`, `capture_method_not_supported`, `amount_not_supported`,
    `data_required`; or for a connector that is asked for and has no account.
    """
    left = [account for account in accounts if account.mode == wanted.mode]
    tokens_at = wanted.saved.tokens_at if wanted.saved is not None else frozenset()
    asked = [one for one in left if one.only_asked and one.connector != wanted.asked_for]
    left = [one for one in left if one not in asked or one.id in tokens_at]
    if wanted.asked_for is not None:
        left = _asked_first(left, wanted.asked_for)
    if wanted.saved is not None:
        left = _with_credential(left, reaches, wanted.saved)
    for refusal in _REFUSALS:
        refusals = {account.id: refusal(reaches[account.id], wanted) for account in left}
        left = [account for account in left if refusals[account.id] is None]
        if not left:
            raise next(iter(refusals.values()), None) or _no_method(wanted)
    return Route(left[0].connector, left[0].id, _because(left[0], wanted.asked_for))


def _with_credential(
    accounts: list[ConnectorAccount], reaches: Mapping[str, Reach], saved: Saved
) -> list[ConnectorAccount]:
    """Those at which the saved card can be paid with. Raises `InvalidRequest` where there is none."""
    left = [account for account in accounts if saved.fits(account, reaches[account.id])]
    if not left:
        raise InvalidRequest(
            "No connector account takes this saved card.",
            pointer="/payment_method/token",
            code="payment_method_not_supported",
        )
    return left


def _asked_first(accounts: list[ConnectorAccount], connector: str) -> list[ConnectorAccount]:
    if all(account.connector != connector for account in accounts):
        raise InvalidRequest(
            f"There is no connector account for {ASKED_FOR}.", pointer=f"/metadata/{ASKED_FOR}"
        )
    return sorted(accounts, key=lambda account: account.connector != connector)


def _because(account: ConnectorAccount, asked_for: str | None) -> Because:
    if account.connector == asked_for:
        return Because.ASKED
    if account.merchant_id is not None:
        return Because.OWN
    return Because.SHARED if account.stored else Because.SETTINGS


def _by_method(reach: Reach, wanted: Wanted) -> InvalidRequest | None:
    return None if wanted.method in reach.methods else _no_method(wanted)


def _no_method(wanted: Wanted) -> InvalidRequest:
    return InvalidRequest(
        f"No connector account takes {wanted.method} payments in {wanted.mode} mode.",
        pointer="/payment_method/type",
        code="payment_method_not_supported",
    )


def _by_currency(reach: Reach, wanted: Wanted) -> InvalidRequest | None:
    if reach.currencies is None or wanted.currency in reach.currencies:
        return None
    return InvalidRequest(
        f"No connector account takes {wanted.currency} for {wanted.method} payments.",
        pointer="/currency",
        code="currency_not_supported",
    )


def _by_capture_method(reach: Reach, wanted: Wanted) -> InvalidRequest | None:
    at_once = wanted.capture_method == "manual" and wanted.method in reach.at_once
    if wanted.capture_method in reach.capture_methods and not at_once:
        return None
    return InvalidRequest(
        f"No connector account captures {wanted.method} payments in a {wanted.capture_method} way.",
        pointer="/capture_method",
        code="capture_method_not_supported",
    )


def _by_hold(reach: Reach, wanted: Wanted) -> InvalidRequest | None:
    """Able to hold is who authorizes without capturing, and releases what is not captured."""
    able = "manual" in reach.capture_methods and wanted.method not in reach.at_once and reach.void
    if not wanted.held or able:
        return None
    return InvalidRequest(
        f"No connector account can hold {wanted.method} payments for a review.",
        pointer="/payment_method",
        code="payment_method_not_supported",
    )


def _by_brand(reach: Reach, wanted: Wanted) -> InvalidRequest | None:
    if reach.brands is None or wanted.brand is None or wanted.brand in reach.brands:
        return None
    return InvalidRequest(
        f"No connector account takes {wanted.brand} cards.",
        pointer="/payment_method",
        code="payment_method_not_supported",
    )


def _by_authentication(reach: Reach, wanted: Wanted) -> InvalidRequest | None:
    """A challenge that is to be avoided is, where there is none."""
    if wanted.handed_in and BY_MERCHANT not in reach.three_ds:
        return _no_authentication("/authentication", "an authentication made elsewhere")
    asked = wanted.sca or Sca()
    if asked.challenge == "force" and BY_ACQUIRER not in reach.three_ds:
        return _no_authentication("/sca/challenge", "a forced challenge")
    if asked.exemption is not None and asked.exemption not in reach.exemptions:
        return _no_authentication("/sca/exemption", f"the exemption {asked.exemption}")
    return None


def _no_authentication(pointer: str, what: str) -> InvalidRequest:
    return InvalidRequest(
        f"No connector account takes {what} with such a payment.",
        pointer=pointer,
        code="payment_method_not_supported",
    )


def _by_saving(reach: Reach, wanted: Wanted) -> InvalidRequest | None:
    if not wanted.saves_there or "token" in reach.stored_credentials:
        return None
    return InvalidRequest(
        f"No connector account saves cards of such payments in {wanted.mode} mode.",
        pointer="/setup",
        code="payment_method_not_supported",
    )


def _by_mandate(reach: Reach, wanted: Wanted) -> InvalidRequest | None:
    """Where the customer is not there, a card issued in India is debited by a registered mandate only.

    Source: RBI/2019-20/47, "Processing of e-mandate on cards for recurring transactions", and what follows it.
    """
    saved = wanted.saved
    if saved is None or not saved.by_merchant or saved.issuer_country != "IN" or reach.mandates:
        return None
    return InvalidRequest(
        "No connector account has mandates, which a card issued in India needs for that.",
        pointer="/off_session",
        code="payment_method_not_supported",
    )


def _by_amount(reach: Reach, wanted: Wanted) -> InvalidRequest | None:
    return reach.amounts.refusal(wanted.amount_minor, wanted.currency)


def _by_data(reach: Reach, wanted: Wanted) -> InvalidRequest | None:
    attended = wanted.saved is None or not wanted.saved.by_merchant
    needed = (
        each.pointer for each in reach.required if each.of(wanted.method, wanted.currency, attended=attended)
    )
    missing = [pointer for pointer in needed if not wanted.given(pointer)]
    if not missing:
        return None
    return InvalidRequest(
        "The acquirer needs this of such a payment.",
        pointer=missing[0],
        also=missing[1:],
        code="data_required",
    )


_REFUSALS: Final = (
    _by_method,
    _by_currency,
    _by_capture_method,
    _by_hold,
    _by_brand,
    _by_authentication,
    _by_saving,
    _by_mandate,
    _by_amount,
    _by_data,
)
