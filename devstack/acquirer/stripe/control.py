"""Setting up the accounts, with the sandbox's own key: `PUT /stripe/accounts/{id}`. Stripe has no such thing."""

import hmac
import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack.acquirer import bodies
from devstack.acquirer.desk import Desk
from devstack.acquirer.movements import Terms
from devstack.acquirer.stripe import accounts
from devstack.acquirer.stripe.accounts import Account


def routes(desk: Desk, *, key: str) -> list[Route]:
    """The route under which an account is made, or changed as a whole."""
    return [Route("/stripe/accounts/{id}", _put(desk, key), methods=["PUT"])]


def _put(desk: Desk, key: str) -> Callable[[Request], Awaitable[Response]]:
    async def put(request: Request) -> Response:
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {key}".encode()):
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


def _stored(account: Account, db: sqlite3.Connection, _: Terms) -> None:
    accounts.put(db, account)
