"""Finds risk providers by name: the entry points of installed distributions, and our own without installation."""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Final, cast

from payonce.domain.errors import InvalidRequest
from payonce.domain.risk_rules import PROVIDER
from payonce.risk import sandbox
from payonce.risk.base import RiskProvider
from payonce.risk.sandbox import SandboxRisk

GROUP: Final = "payonce.risk"
SWITCHES: Final = sandbox.SWITCHES

MADE: Final = (PROVIDER, "http")  # by the process, of what it has open
RiskFactory = Callable[[], RiskProvider]

_BUILT_IN: Final[dict[str, RiskFactory]] = {SandboxRisk.name: SandboxRisk}


def installed() -> Mapping[str, Callable[[], RiskFactory]]:
    """What loads each provider's class, by name. A distribution's entry point comes before ours of the same name."""
    built_in = {name: (lambda factory=factory: factory) for name, factory in _BUILT_IN.items()}
    found = {
        point.name: (lambda point=point: cast("RiskFactory", point.load()))
        for point in entry_points(group=GROUP)
    }
    return {**built_in, **found}


def open_providers(made: Mapping[str, RiskProvider]) -> dict[str, RiskProvider]:
    """Every provider that is installed, by name, and those that the process has `made`. Opens no connection."""
    return {**{name: load()() for name, load in installed().items()}, **made}


def check_names(names: "list[str]") -> None:
    """Raises `InvalidRequest` for a provider that is not installed."""
    known = {*installed(), *MADE}
    for name in names:
        if name not in known:
            raise InvalidRequest(
                f"There is no risk provider {name!r}. Known are: {', '.join(sorted(known))}."
            )
