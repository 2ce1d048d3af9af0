"""The OpenAPI document: FastAPI's description of the routes, with our models, security and conventions."""

import json
import re
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from api.openapi import objects, told_objects
from api.openapi.description import BASIC_SCHEME, SECURITY_SCHEME
from api.openapi.problems import ProblemView
from api.openapi.reconciliation import ReconciliationView
from api.schemas import payment_methods, payments, webhooks

_REF_TEMPLATE = "#/components/schemas/{model}"
_BODIES: Final = (
    payments.CreatePayment,
    payments.CreateCapture,
    payments.CreateVoid,
    payments.CreateRefund,
    payments.AcceptDispute,
    payment_methods.CreatePaymentMethod,
    webhooks.CreateEndpoint,
    webhooks.UpdateEndpoint,
    webhooks.Nothing,
    webhooks.Recover,
    webhooks.Replay,
    webhooks.Redeliver,
)
_VIEWS: Final = (
    objects.PaymentView,
    objects.RefundView,
    objects.DisputeView,
    objects.PaymentAttemptView,
    objects.SavedPaymentMethodView,
    told_objects.EventView,
    told_objects.StreamMessageView,
    told_objects.EndpointView,
    told_objects.NewEndpointView,
    told_objects.DeliveryView,
    told_objects.RecoveryView,
    told_objects.JobView,
    ReconciliationView,
    ProblemView,
    objects.StateView,
    objects.ReadinessView,
)
_TEXT = """\
payonce moves money once.

**Conventions.** Amounts are integers in the currency's minor unit. Times are RFC 3339 in UTC. `null` is the
same as absent. A request without a body (`Content-Length: 0`, or neither that nor `Transfer-Encoding`) is
`{}`, whatever its media type; one that is not an object, or not as long as announced, is 400, and so are bytes
that nobody announced. `Upgrade` is ignored. Unknown members, duplicate members, floats or strings for amounts
and a query string on a POST are 400. HEAD works where GET does, OPTIONS answers with `Allow`.

**Idempotency.** A POST needs an `Idempotency-Key`, or takes one where it says so, bare or in quotes; the two
forms are the same key.
The same key with the same request gets the same status and the same bytes, with `Idempotent-Replayed:
true`; with another request it is 422. 201, 200, 402 and refusals for state or amount are stored, for 30
days at least; a key is never executed twice, however old. A 202 and everything else use no key up. What is
compared is the request as understood: whitespace, member order, escapes and spelled-out defaults do not
matter, and neither do `cvc`, `browser`, `authentication` and a wallet's token. Where the key is optional, a 202
is the definite answer and is stored too.

**Too many requests.** Above a merchant's rate, and where a process is too busy: 429, which says nothing of the key.
On a POST, 503 means that this request held the key, and rolled back or gave it back unsent; 504 that the key could
be neither read nor taken. All carry `Retry-After`, and the same request with the same key goes on.

**Errors** are problem documents (RFC 9457). Decide by `code`. `errors[].pointer` is a JSON Pointer into the
body, or `/` and the name of a query parameter. A `code` is the general `invalid_request` when several
things are wrong for different reasons. With a 402 `payment_failed` whose `last_error.code` is `acquirer_refused` it
points to the member that the acquirer refuses for ever, where the acquirer says so. `retryable` says whether the
same data may be accepted later, under a new key.

**Lists** are newest first unless they say otherwise, and stable while objects are added. A list shows what is
there at once; to follow what is new, ask again with `ending_before` the first object of the page before: it gives an
object as soon as everything older has been written, so that none is passed over. `has_more` counts
in the direction in which the page was asked for.
"""


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the routes."""
    described = get_openapi(
        title="payonce",
        version=_version(),
        summary="Payments that charge once",
        description=_TEXT,
        routes=app.routes,
    )
    components = described.setdefault("components", {})
    components["schemas"] = _schemas()
    components["securitySchemes"] = {
        SECURITY_SCHEME: {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "sk_test_…",
            "description": "An API key: one merchant in one mode. `payonce keys create` makes one.",
        },
        BASIC_SCHEME: {
            "type": "http",
            "scheme": "basic",
            "description": "The API key as the user name, with any password or none: `curl -u sk_test_…:`",
        },
    }
    return _with_short_names(described)


def _schemas() -> dict[str, Any]:
    """The models by their class names."""
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "validation") for model in _BODIES]
    models += [(model, "serialization") for model in _VIEWS]
    _, definitions = models_json_schema(models, ref_template=_REF_TEMPLATE)
    found: dict[str, Any] = definitions["$defs"]
    return found


def _with_short_names(described: dict[str, Any]) -> dict[str, Any]:
    """`PaymentView` is `Payment`, unless a request's model has that name."""
    named = described["components"]["schemas"]
    short = {name: name.removesuffix("View") for name in named}
    renamed = {name: new for name, new in short.items() if new != name and new not in named}
    described["components"]["schemas"] = {renamed.get(name, name): schema for name, schema in named.items()}
    text = re.sub(
        r'"#/components/schemas/(\w+)"',
        lambda found: f'"#/components/schemas/{renamed.get(found[1], found[1])}"',
        json.dumps(described),
    )
    content: dict[str, Any] = json.loads(text)
    return content


def _version() -> str:
    try:
        return version("payonce")
    except PackageNotFoundError:  # run from a checkout without installation
        return "0.1.0"
