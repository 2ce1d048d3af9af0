"""The paths of the dialect: what each takes, needs and does. Source of paths and parameters: spec."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from devstack.acquirer.stripe import customers, disputes, intents, methods, objects, parameters, refunds
from devstack.acquirer.stripe.accounts import Permission
from devstack.acquirer.stripe.call import Call
from devstack.acquirer.stripe.errors import Json, Refusal, invalid
from devstack.acquirer.stripe.parameters import Known, boolean, listed, text

Work = Callable[..., Json]
EVENT_TYPES_MAX = 20


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`operation` is its name in the log of requests, `answers` the type of what it answers.

    `faults`: the prefixes that are about it.
    """

    method: str
    pattern: re.Pattern[str]
    work: Work
    known: Known
    permission: Permission
    operation: str
    answers: str
    required: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    intent_from: str | None = None  # where the intent's id is: "path", or a parameter


_EXPAND = {"expand": listed(text)}
_OF_REFUNDS = refunds.LIST | {"payment_intent": text, "charge": text}


def _account(call: Call, form: Json) -> Json:
    """Whose key it is. Source: api/accounts/retrieve: without an id, the caller's own."""
    account = call.account
    return {
        "id": account.id,
        "object": "account",
        "business_profile": None,
        "business_type": None,
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "country": account.country,
        "default_currency": account.default_currency,
        "details_submitted": True,
        "email": None,
        "payouts_enabled": True,
        "settings": None,
        "type": "standard",
    }


def _intents(call: Call, form: Json) -> Json:
    url = "/v1/payment_intents"
    return objects.page(call.db, call.account, "payment_intent", form, where={}, url=url)


def _refunds(call: Call, form: Json) -> Json:
    where: dict[str, list[str]] = {
        name: [form[name]] for name in ("payment_intent", "charge") if name in form
    }
    return objects.page(call.db, call.account, "refund", form, where=where, url="/v1/refunds")


def _events(call: Call, form: Json) -> Json:
    """Source: api/events/list: `type`, or up to 20 `types`, and never both."""
    if "type" in form and "types" in form:
        raise invalid("You may pass only one of type and types.", param="types")
    types = form.get("types", [form["type"]] if "type" in form else None)
    if types is not None and not 1 <= len(types) <= EVENT_TYPES_MAX:
        raise invalid(f"Invalid array: types has 1 to {EVENT_TYPES_MAX} names.", param="types")
    where = {} if types is None else {"type": types}
    return objects.page(call.db, call.account, "event", form, where=where, url="/v1/events")


def _event(call: Call, form: Json, own_id: str) -> Json:
    return call.get("event", own_id, param="id").body


def _method(call: Call, form: Json, own_id: str) -> Json:
    return call.get("payment_method", own_id, param="payment_method").body


def _endpoint(
    method: str, path: str, work: Work, known: Known, permission: Permission, **more: Any
) -> Endpoint:
    pattern = re.compile(path.replace("{id}", r"(?P<id>[A-Za-z0-9_]{1,255})"))
    kind = path.split("/")[2].removesuffix("s")
    is_list = method == "GET" and path.endswith("s")
    more.setdefault("answers", f"list of {kind}" if is_list else kind)
    return Endpoint(method, pattern, work, known, permission, **more)


_INTENT = "/v1/payment_intents/{id}"
ENDPOINTS = (
    _endpoint("GET", "/v1/account", _account, _EXPAND, "account_read", operation="account"),
    _endpoint(
        *("POST", "/v1/payment_methods", methods.create, methods.KNOWN, "payment_method_write"),
        operation="payment_method",
        faults=("payment_method",),
    ),
    _endpoint(
        *("GET", "/v1/payment_methods/{id}", _method, _EXPAND, "payment_method_read"), operation="inquire"
    ),
    _endpoint(
        *("POST", "/v1/payment_methods/{id}/detach", customers.detach, customers.DETACH),
        "payment_method_write",
        operation="detach",
    ),
    _endpoint(
        *("POST", "/v1/customers", customers.create, customers.KNOWN, "customer_write"),
        operation="customer",
    ),
    _endpoint(
        *("POST", "/v1/payment_intents", intents.create, intents.CREATE, "payment_intent_write"),
        required=("amount", "currency"),
        operation="create",
        faults=("create",),
    ),
    _endpoint(
        *("POST", _INTENT, intents.update, intents.UPDATE, "payment_intent_write"),
        operation="update",
        intent_from="path",
    ),
    _endpoint(
        *("POST", f"{_INTENT}/confirm", intents.confirm, intents.CONFIRM, "payment_intent_write"),
        operation="authorize",
        faults=("authorize",),
        intent_from="path",
    ),
    _endpoint(
        *("POST", f"{_INTENT}/capture", intents.capture, intents.CAPTURE, "payment_intent_write"),
        operation="capture",
        faults=("capture",),
        intent_from="path",
    ),
    _endpoint(
        *("POST", f"{_INTENT}/cancel", intents.cancel, intents.CANCEL, "payment_intent_write"),
        operation="void",
        faults=("void", "reverse", "cancel"),
        intent_from="path",
    ),
    _endpoint(
        *("GET", _INTENT, intents.retrieve, _EXPAND | {"client_secret": text}, "payment_intent_read"),
        operation="inquire",
        faults=("inquire",),
        intent_from="path",
    ),
    _endpoint(
        *("GET", "/v1/payment_intents", _intents, refunds.LIST, "payment_intent_read"), operation="inquire"
    ),
    _endpoint("GET", "/v1/charges/{id}", refunds.charge, _EXPAND, "charge_read", operation="inquire"),
    _endpoint(
        *("POST", "/v1/refunds", refunds.create, refunds.CREATE, "refund_write"),
        operation="refund",
        faults=("refund",),
        intent_from="payment_intent",
    ),
    _endpoint("GET", "/v1/refunds", _refunds, _OF_REFUNDS, "refund_read", operation="inquire"),
    _endpoint("GET", "/v1/refunds/{id}", refunds.retrieve, _EXPAND, "refund_read", operation="inquire"),
    _endpoint(
        *(
            "GET",
            "/v1/events",
            _events,
            refunds.LIST | {"type": text, "types": listed(text), "delivery_success": boolean},
            "event_read",
        ),
        operation="events",
    ),
    _endpoint("GET", "/v1/events/{id}", _event, _EXPAND, "event_read", operation="events"),
    _endpoint("GET", "/v1/disputes", disputes.listed, disputes.LIST, "dispute_read", operation="disputes"),
    _endpoint("GET", "/v1/disputes/{id}", disputes.retrieve, _EXPAND, "dispute_read", operation="disputes"),
    _endpoint(
        *("POST", "/v1/disputes/{id}/close", disputes.close, _EXPAND, "dispute_write"),
        operation="accept",
    ),
    _endpoint(
        *("GET", "/v1/radar/early_fraud_warnings/{id}", disputes.warning, _EXPAND),
        "early_fraud_warning_read",
        operation="disputes",
        answers="radar.early_fraud_warning",
    ),
)


def found(method: str, path: str) -> tuple[Endpoint, dict[str, str]]:
    """The endpoint and what its path names. Raises `Refusal`."""
    for endpoint in ENDPOINTS:
        match = endpoint.pattern.fullmatch(path)
        if match is not None and endpoint.method == method:
            return endpoint, {f"own_{name}": text for name, text in match.groupdict().items()}
    message = f"Unrecognized request URL ({method}: {path[:200]})."
    raise Refusal(404, message, began=False)


def parameters_of(endpoint: Endpoint, form: Json) -> Json:
    """The form as values. Raises `Refusal`."""
    values = parameters.checked(form, endpoint.known, required=endpoint.required)
    objects.check_expand(endpoint.answers, values.get("expand", []))
    return values
