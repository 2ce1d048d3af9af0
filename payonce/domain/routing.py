"""Which connector account an attempt goes to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from payonce.domain.errors import InvalidRequest

KEY: Final = "key"  # the secret of an account that has but one
ASKED_FOR: Final = (
    "sandbox_account"  # of a payment's metadata, in test mode: the connector that is to take it
)


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
    identity: str | None = (
        None  # who the acquirer says that we are, for ever; None: an account of the settings
    )
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


class Because(StrEnum):
    """Why an attempt went to its account."""

    ASKED = "asked"  # the payment's metadata name the connector
    OWN = "own"  # the first that fits of the merchant's own accounts
    SHARED = "shared"  # the first that fits of those for every merchant
    SETTINGS = "settings"  # the first that fits of those in the settings
    PAYMENT = "payment"  # the payment is there already


@dataclass(frozen=True, slots=True)
class Route:
    connector: str
    account_id: str
    because: Because = Because.SETTINGS


def choose(
    accounts: Iterable[ConnectorAccount],
    reaches: Mapping[str, Reach],
    *,
    mode: str,
    method: str,
    currency: str,
    capture_method: str = "automatic",
    asked_for: str | None = None,
) -> Route:
    """The first account, in their order, that serves all of these; `asked_for`: those of this connector come first.

    Raises `InvalidRequest` with the code `payment_method_not_supported`, `currency_not_supported` or
    `capture_method_not_supported`; or where there is no account of the connector that is asked for.
    """
    accounts = [account for account in accounts if account.mode == mode]
    if asked_for is not None:
        accounts = _asked_first(accounts, asked_for)
    serving = [account for account in accounts if method in reaches[account.id].methods]
    if not serving:
        raise InvalidRequest(
            f"No connector account takes {method} payments in {mode} mode.",
            pointer="/payment_method/type",
            code="payment_method_not_supported",
        )
    paying = [a for a in serving if _takes(reaches[a.id].currencies, currency)]
    if not paying:
        raise InvalidRequest(
            f"No connector account takes {currency} for {method} payments.",
            pointer="/currency",
            code="currency_not_supported",
        )
    for account in paying:
        if capture_method in reaches[account.id].capture_methods:
            return Route(account.connector, account.id, _because(account, asked_for))
    raise InvalidRequest(
        f"No connector account captures {method} payments in a {capture_method} way.",
        pointer="/capture_method",
        code="capture_method_not_supported",
    )


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


def _takes(currencies: frozenset[str] | None, currency: str) -> bool:
    return currencies is None or currency in currencies
