"""What moves nothing: whose an API key is, and what a merchant account takes."""

import re
import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack.acquirer import bodies
from devstack.acquirer.adyen import accounts, objects, orders
from devstack.acquirer.adyen.accounts import Account
from devstack.acquirer.adyen.errors import Json, Refusal
from devstack.acquirer.desk import Desk
from devstack.acquirer.movements import Terms

Endpoint = Callable[[Request], Awaitable[Response]]

_METHODS = (
    {"type": "scheme", "name": "Cards", "brands": ["visa", "mc", "amex", "rupay"]},
    {"type": "upi_intent", "name": "UPI Intent"},
    {"type": "upi_qr", "name": "UPI QR"},
    {"type": "upi_collect", "name": "UPI Collect"},
    {"type": "applepay", "name": "Apple Pay"},
    {"type": "googlepay", "name": "Google Pay"},
)
ROLES = ("Checkout webservice role", "Merchant PAL Webservice role")


def routes(desk: Desk, prefix: str) -> list[Route]:
    """The two paths. Neither takes a fault, nor is it in the log of requests."""
    return [
        Route(f"{prefix}/v3/me", _endpoint(desk, _credential), methods=["GET"]),
        Route(f"{prefix}/v72/paymentMethods", _endpoint(desk, _methods), methods=["POST"]),
    ]


def _endpoint(desk: Desk, work: Callable[[list[Account], bytes], Json]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        body = await bodies.read(request.stream())
        api_key = request.headers.get("x-api-key", "")
        try:
            asked = await desk.run(desk.within, partial(_answered, work, api_key, body or b""))
        except Refusal as refusal:
            return JSONResponse(refusal.body(objects.new_psp_reference()), refusal.status_code)
        return JSONResponse(asked)

    return endpoint


def _answered(
    work: Callable[[list[Account], bytes], Json], api_key: str, body: bytes, db: sqlite3.Connection, _: Terms
) -> Json:
    return work(accounts.calling(db, api_key), body)


def _credential(mine: list[Account], _: bytes) -> Json:
    """Source: Management API v3, `GET /me`: `MeApiCredential`. The form of an id is that of its example."""
    name = re.sub(r"[^A-Za-z0-9]", "", mine[0].company)
    return {
        "id": "S2-6262224667",
        "username": f"ws_123456@Company.{name}",
        "clientKey": "test_UCYSZABC4REVYAMO6GQSEZVY2MQAOI6J",
        "active": True,
        "companyName": mine[0].company,
        "allowedIpAddresses": [],
        "roles": list(ROLES),
        "_links": {"self": {"href": "https://management-test.adyen.com/v3/me"}},
    }


def _methods(mine: list[Account], body: bytes) -> Json:
    """Source: spec, `PaymentMethodsRequest` and `PaymentMethodsResponse`. A *guess*: a filter leaves out the rest."""
    asked: Any = orders.understood(orders.PaymentMethods, body)
    accounts.named(mine, asked.merchantAccount)
    wanted, unwanted = asked.allowedPaymentMethods, asked.blockedPaymentMethods or []
    return {
        "paymentMethods": [
            method
            for method in _METHODS
            if (not wanted or method["type"] in wanted) and method["type"] not in unwanted
        ]
    }
