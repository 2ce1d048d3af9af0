"""The paths of the dialect. Source of paths and status codes: spec."""

import re
from dataclasses import dataclass

from devstack.acquirer.adyen import orders
from devstack.acquirer.adyen.errors import Refusal

_PSP = r"(?P<psp>[A-Za-z0-9]{1,64})"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`operation` is its name in the log of requests, `work` what it does, `faults` the prefixes for it."""

    pattern: re.Pattern[str]
    model: type[orders.Payment | orders.PaymentDetails | orders.Modification]
    work: str
    operation: str
    status_code: int
    faults: tuple[str, ...]


def _modification(name: str, model: type[orders.Modification], work: str, *prefixes: str) -> Endpoint:
    pattern = re.compile(f"/v72/payments/{_PSP}/{name}")
    return Endpoint(pattern, model, work, prefixes[0], 201, prefixes)


ENDPOINTS = (
    Endpoint(re.compile("/v72/payments"), orders.Payment, "payment", "authorize", 200, ("authorize",)),
    Endpoint(
        re.compile("/v72/payments/details"), orders.PaymentDetails, "details", "resume", 200, ("resume",)
    ),
    _modification("captures", orders.Capture, "capture", "capture"),
    _modification("refunds", orders.Refund, "refund", "refund"),
    _modification("cancels", orders.Cancel, "cancel", "void"),
    _modification("reversals", orders.Reversal, "reversal", "reverse"),
    Endpoint(
        re.compile("/v72/cancels"),
        orders.TechnicalCancel,
        "technical_cancel",
        "reverse",
        201,
        ("reverse", "cancel"),
    ),
)


def found(path: str) -> tuple[Endpoint, str | None]:
    """The endpoint, and the payment that the path names. Raises `Refusal`."""
    for endpoint in ENDPOINTS:
        match = endpoint.pattern.fullmatch(path)
        if match is not None:
            return endpoint, match.groupdict().get("psp")
    raise Refusal(404, "000", "Not found")
