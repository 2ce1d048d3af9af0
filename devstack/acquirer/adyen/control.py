"""With the sandbox's own key: the merchant accounts, what somebody does in the Customer Area, and faults.

Source: account/manage-payments: payments are captured, cancelled and refunded there, too. The paths are ours.
"""

import hmac
import json
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack.acquirer import bodies
from devstack.acquirer.adyen import accounts, modifications, objects, wishes
from devstack.acquirer.adyen.accounts import Account
from devstack.acquirer.adyen.call import Call
from devstack.acquirer.adyen.errors import Json, Refusal
from devstack.acquirer.courier import Courier
from devstack.acquirer.desk import Desk
from devstack.acquirer.movements import Terms

Endpoint = Callable[[Request], Awaitable[Response]]
Work = Callable[[bytes, Request], Callable[[sqlite3.Connection, Terms], Json | None]]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class Deed(_Model):
    """What somebody does in the Customer Area. Without an amount: all that is left."""

    action: Literal["capture", "cancel", "refund"]
    amount: bodies.Amount | None = None


class Faults(_Model):
    """What a payment wishes for besides, from now on."""

    faults: list[Annotated[str, Field(max_length=64)]] = Field(min_length=1, max_length=bodies.FAULTS_MAX)


def routes(desk: Desk, courier: Courier, *, key: str) -> list[Route]:
    """Each changes something, and answers with it."""
    paths: dict[str, tuple[str, Work]] = {
        "/adyen/accounts/{id}": ("PUT", _put_account),
        "/adyen/customer-area/payments/{id}": ("POST", _do),
        "/adyen/customer-area/webhooks/{id}/test": ("POST", _test_webhook),
        "/adyen/payments/{id}/faults": ("POST", _add_faults),
    }
    return [
        Route(path, _endpoint(desk, courier, key, work), methods=[method])
        for path, (method, work) in paths.items()
    ]


def _endpoint(desk: Desk, courier: Courier, key: str, work: Work) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {key}".encode()):
            return JSONResponse({"error": "unauthorized"}, 401)
        body = await bodies.read(request.stream())
        try:
            done = await desk.run(desk.within, work(body or b"", request))
        except ValidationError as error:
            return JSONResponse({"error": "invalid_request", "detail": bodies.describe(error)}, 400)
        except Refusal as refusal:
            return JSONResponse({"error": "invalid_request", "detail": refusal.message}, 400)
        courier.wake()
        return JSONResponse({"error": "not_found"}, 404) if done is None else JSONResponse(done)

    return endpoint


def _put_account(body: bytes, request: Request) -> Callable[[sqlite3.Connection, Terms], Json | None]:
    account = Account.model_validate_json(body)

    def work(db: sqlite3.Connection, _: Terms) -> Json | None:
        if account.id != request.path_params["id"]:
            return None
        accounts.put(db, account)
        return {"id": account.id, "live": account.live}

    return work


def _do(body: bytes, request: Request) -> Callable[[sqlite3.Connection, Terms], Json | None]:
    return partial(_done, request.path_params["id"], Deed.model_validate_json(body))


def _done(psp: str, deed: Deed, db: sqlite3.Connection, terms: Terms) -> Json | None:
    """The payment was modified, and its webhook tells as it does of a request; its reference is the payment's."""
    payment = objects.find(db, "payment", psp)
    account = None if payment is None else accounts.of(db, payment["account"])
    if payment is None or account is None:
        return None
    left = {
        "capture": payment["amount"] - payment["captured"],
        "cancel": payment["amount"],
        "refund": payment["captured"] - payment["refunded"],
    }
    modification = {
        "psp": objects.new_psp_reference(),
        "account": account.id,
        "operation": deed.action,
        "given_reference": None,
        "reference": payment["reference"],
        "ledger_reference": payment["ledger_reference"],
        "payment": psp,
        "payment_named": None,
        "amount": deed.amount or left[deed.action],
        "currency": payment["currency"],
        "entries": [],
        "is_reversed": False,
    }
    call = Call(db, account, replace(terms, entries=()))
    objects.put(db, "modification", modification)
    modifications.processed(call, modification, by_acquirer=True)
    call.sent()
    return {"pspReference": modification["psp"]}


def _test_webhook(_: bytes, request: Request) -> Callable[[sqlite3.Connection, Terms], Json | None]:
    return partial(_tested, request.path_params["id"])


def _tested(code: str, db: sqlite3.Connection, terms: Terms) -> Json | None:
    """The merchant account's webhook is told of a payment that there is not.

    Source: development-resources/webhooks, "Test your webhook": the Customer Area sends one with chosen events. Its
    reference and amount are a *guess*.
    """
    account = accounts.of(db, code)
    if account is None or account.webhook is None:
        return None
    psp = objects.new_psp_reference()
    about = {
        "psp": psp,
        "reference": f"test{psp}",
        "ledger_reference": f"test{psp}",
        "payment_reference": f"test{psp}",
        "currency": "EUR",
        "amount": 1000,
        "variant": "visa",
    }
    call = Call(db, account, replace(terms, entries=()))
    call.tell("AUTHORISATION", about, success=True, reason="000000:1111:03/2030")
    call.sent()
    return {"merchantReference": about["reference"]}


def _add_faults(body: bytes, request: Request) -> Callable[[sqlite3.Connection, Terms], Json | None]:
    given = Faults.model_validate_json(body)
    wishes.check(given.faults)
    return partial(_wished, request.path_params["id"], given.faults)


def _wished(id: str, entries: list[str], db: sqlite3.Connection, _: Terms) -> Json | None:
    """Of a payment whose shopper is still asked the merchant has no `pspReference`, so its own name will do."""
    payment = objects.find(db, "payment", id) or objects.of_member(db, "payment_reference", id)
    if payment is None:
        return None
    payment["wishes"] = [*payment["wishes"], *entries]
    objects.put(db, "payment", payment)
    shown: dict[str, Any] = json.loads(json.dumps(payment["wishes"]))
    return {"faults": shown}
