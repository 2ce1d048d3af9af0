"""Which connector account an attempt goes to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from payonce.domain.errors import InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorAccount:
    """One merchant agreement with one acquirer, as the settings describe it."""

    id: str
    connector: str
    mode: str  # "test" or "live"
    base_url: str
    key: str = field(repr=False)
    options: Mapping[str, str] = field(default_factory=dict)
    public_url: str = ""  # of our API, as customers and acquirers reach it
    identity: str | None = None  # how the acquirer calls the account, where that is pinned

    @property
    def callback_url(self) -> str | None:
        """Where the acquirer tells us what happened; the option `callback_url` replaces it. None: nowhere."""
        ours = self.public_url and f"{self.public_url}/v1/connectors/{self.connector}/callbacks"
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


@dataclass(frozen=True, slots=True)
class Route:
    connector: str
    account_id: str


def choose(
    accounts: Iterable[ConnectorAccount],
    reaches: Mapping[str, Reach],
    *,
    mode: str,
    method: str,
    currency: str,
    capture_method: str = "automatic",
) -> Route:
    """The first account, in the order of the settings, that serves all of these.

    Raises `InvalidRequest` with the code `payment_method_not_supported`, `currency_not_supported` or
    `capture_method_not_supported`.
    """
    serving = [a for a in accounts if a.mode == mode and method in reaches[a.id].methods]
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
            return Route(account.connector, account.id)
    raise InvalidRequest(
        f"No connector account captures {method} payments in a {capture_method} way.",
        pointer="/capture_method",
        code="capture_method_not_supported",
    )


def _takes(currencies: frozenset[str] | None, currency: str) -> bool:
    return currencies is None or currency in currencies
