"""The paths of the dialect: what each takes and does."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from devstack.acquirer.razorpay import disputes, orders, parameters, payments, refunds
from devstack.acquirer.razorpay.errors import Json, elsewhere
from devstack.acquirer.razorpay.parameters import Known

Work = Callable[..., Json]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`operation` is its name in the log of requests; `faults`: the prefixes that are about it.

    `understood` makes values of the members; None: `known` and `required` do.
    """

    method: str
    pattern: re.Pattern[str]
    work: Work
    operation: str
    faults: tuple[str, ...]
    known: Known
    required: tuple[str, ...] = ()
    understood: Callable[[Json], Json] | None = None

    def values(self, given: Json) -> Json:
        """The members as values. Raises `Refusal`."""
        if self.understood is not None:
            return self.understood(given)
        return parameters.checked(given, self.known, required=self.required)


def _path(text: str) -> re.Pattern[str]:
    text = text.replace("{id}", r"(?P<own_id>(order|pay|rfnd|disp)_[A-Za-z0-9]{1,40})")
    return re.compile(text.replace("{refund}", r"(?P<refund_id>rfnd_[A-Za-z0-9]{1,40})"))


def _get(path: str, work: Work, known: Known) -> Endpoint:
    return Endpoint("GET", _path(path), work, "inquire", ("inquire",), known)


ENDPOINTS = (
    Endpoint(
        "POST",
        _path("/v1/orders"),
        orders.create,
        "create",
        ("create",),
        orders.CREATE,
        required=("amount", "currency"),
    ),
    _get("/v1/orders", orders.list_, orders.LIST),
    _get("/v1/orders/{id}", orders.retrieve, payments.RETRIEVE),
    _get("/v1/orders/{id}/payments", orders.payments, orders.PAYMENTS),
    Endpoint(
        "POST",
        _path("/v1/payments/create/json"),
        payments.create,
        "authorize",
        ("authorize",),
        {},
        understood=payments.members,
    ),
    Endpoint(
        "POST",
        _path("/v1/payments/create/upi"),
        payments.create_upi,
        "authorize",
        ("authorize",),
        {},
        understood=payments.upi_members,
    ),
    _get("/v1/payments", payments.list_, payments.LIST),
    _get("/v1/payments/{id}", payments.retrieve, payments.RETRIEVE),
    Endpoint(
        "POST",
        _path("/v1/payments/{id}/capture"),
        payments.capture,
        "capture",
        ("capture",),
        payments.CAPTURE,
        required=("amount", "currency"),
    ),
    Endpoint(
        "POST", _path("/v1/payments/{id}/refund"), refunds.create, "refund", ("refund",), refunds.CREATE
    ),
    _get("/v1/payments/{id}/refunds", refunds.list_, refunds.LIST),
    _get("/v1/payments/{id}/refunds/{refund}", refunds.of_payment, {}),
    _get("/v1/refunds", refunds.list_all, refunds.LIST),
    _get("/v1/refunds/{id}", refunds.retrieve, {}),
    _get("/v1/disputes", disputes.list_, disputes.LIST),
    _get("/v1/disputes/{id}", disputes.retrieve, payments.RETRIEVE),
    Endpoint("POST", _path("/v1/disputes/{id}/accept"), disputes.accept, "accept", (), {}),
)


def found(method: str, path: str, *, s2s: bool) -> tuple[Endpoint, dict[str, str]]:
    """The endpoint and what its path names. Raises `Refusal`.

    Source: errors/common, "The requested URL was not found on the server", also for a wrong method, and for what the
    account may not do; the endpoints' own pages give 400.
    """
    for endpoint in ENDPOINTS:
        match = endpoint.pattern.fullmatch(path)
        is_open = s2s or endpoint.operation != "authorize"
        if match is not None and endpoint.method == method and is_open:
            return endpoint, match.groupdict()
    raise elsewhere(400, "The requested URL was not found on the server.")
