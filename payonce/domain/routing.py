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


class Reach(Protocol):
    """What routing needs to know of a connector."""

    @property
    def methods(self) -> frozenset[str]: ...
    @property
    def currencies(self) -> frozenset[str] | None: ...


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
) -> Route:
    """The first account, in the order of the settings, that serves the mode, method and currency.

    Raises `InvalidRequest` with the code `payment_method_not_supported` or `currency_not_supported`.
    """
    serving = [a for a in accounts if a.mode == mode and method in reaches[a.id].methods]
    if not serving:
        raise InvalidRequest(
            f"No connector account takes {method} payments in {mode} mode.",
            pointer="/payment_method/type",
            code="payment_method_not_supported",
        )
    for account in serving:
        currencies = reaches[account.id].currencies
        if currencies is None or currency in currencies:
            return Route(account.connector, account.id)
    raise InvalidRequest(
        f"No connector account takes {currency} for {method} payments.",
        pointer="/currency",
        code="currency_not_supported",
    )
