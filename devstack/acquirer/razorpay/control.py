"""Setting up accounts, and being the bank, with the sandbox's own key. Razorpay has no such thing.

`PUT /razorpay/accounts/{id}`; `POST /razorpay/payments/{id}` with `{"bank": "approves"}`, also for what is failed (a
late authorization, days skipped), `declines`, `times_out`, or `lapses` (what was not captured goes back now).
"""

import hmac
import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack.acquirer import bodies
from devstack.acquirer.courier import Courier
from devstack.acquirer.desk import Desk
from devstack.acquirer.movements import Terms
from devstack.acquirer.razorpay import accounts, authorizing, by_itself, failures, objects
from devstack.acquirer.razorpay.accounts import Account
from devstack.acquirer.razorpay.errors import Json

Endpoint = Callable[[Request], Awaitable[Response]]


class _Bank(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    bank: Literal["approves", "declines", "times_out", "lapses"]


def routes(desk: Desk, courier: Courier, *, key: str) -> list[Route]:
    """An account is made, or changed as a whole; a payment's bank speaks now."""
    return [
        Route("/razorpay/accounts/{id}", _put(desk, key), methods=["PUT"]),
        Route("/razorpay/payments/{id}", _decide(desk, courier, key), methods=["POST"]),
    ]


def _put(desk: Desk, key: str) -> Endpoint:
    async def put(request: Request) -> Response:
        if not _knows(request, key):
            return JSONResponse({"error": "unauthorized"}, 401)
        body = await bodies.read(request.stream())
        try:
            account = Account.model_validate_json(body or b"")
        except ValidationError as error:
            return JSONResponse({"error": "invalid_request", "detail": bodies.describe(error)}, 400)
        if account.id != request.path_params["id"]:
            return JSONResponse({"error": "invalid_request", "detail": "id: is another in the path"}, 400)
        await desk.run(desk.within, partial(_stored, account))
        return JSONResponse({"id": account.id, "livemode": account.livemode})

    return put


def _decide(desk: Desk, courier: Courier, key: str) -> Endpoint:
    async def decide(request: Request) -> Response:
        if not _knows(request, key):
            return JSONResponse({"error": "unauthorized"}, 401)
        body = await bodies.read(request.stream())
        try:
            said = _Bank.model_validate_json(body or b"")
        except ValidationError as error:
            return JSONResponse({"error": "invalid_request", "detail": bodies.describe(error)}, 400)
        payment = await desk.run(desk.within, partial(_decided, request.path_params["id"], said.bank))
        courier.wake()
        return JSONResponse({"error": "not_found"}, 404) if payment is None else JSONResponse(payment)

    return decide


def _knows(request: Request, key: str) -> bool:
    given = request.headers.get("authorization", "").encode()
    return hmac.compare_digest(given, f"Bearer {key}".encode())


def _stored(account: Account, db: sqlite3.Connection, _: Terms) -> None:
    accounts.put(db, account)


def _decided(own_id: str, bank: str, db: sqlite3.Connection, terms: Terms) -> Json | None:
    """The payment as it is afterwards. What its status does not allow changes nothing."""
    call = by_itself.call_of(db, own_id, terms)
    payment = None if call is None else objects.find(db, call.account, "payment", own_id)
    if call is None or payment is None:
        return None
    match bank:
        case "approves":
            authorizing.approved(call, payment)
        case "declines" if payment.body["status"] == "created":
            authorizing.failed(call, payment, failures.CARD_DECLINED)
        case "times_out":
            authorizing.timed_out(call, payment)
        case "lapses":
            authorizing.lapsed(call, payment)
    call.told()
    return payment.body
