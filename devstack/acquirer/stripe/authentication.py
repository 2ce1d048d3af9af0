"""The page of the card's bank, on which people, or programs, play the customer.

Source: testing, "3D Secure authentication": a test card's page has an answer that completes and one that fails;
3d-secure/authentication-flow: then the customer comes back to `return_url`, and the intent goes on or is open again
(error-codes, `payment_intent_authentication_failure`); payments/payment-intents/verifying-status: with the intent's
id and client secret in the address.
"""

import json
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from devstack.acquirer import bodies, page_html, pages
from devstack.acquirer.courier import Courier
from devstack.acquirer.desk import Desk
from devstack.acquirer.movements import Terms
from devstack.acquirer.stripe import accounts, authorizing, cards, objects
from devstack.acquirer.stripe.call import Call
from devstack.acquirer.stripe.errors import Json, Refusal

Endpoint = Callable[[Request], Awaitable[Response]]


def routes(desk: Desk, courier: Courier) -> list[Route]:
    """GET shows the page, POST with `decision` answers it."""
    path = "/stripe/authenticate/{token}"
    return [Route(path, _show(desk)), Route(path, _decide(desk, courier), methods=["POST"])]


def _show(desk: Desk) -> Endpoint:
    async def show(request: Request) -> Response:
        intent = await desk.run(desk.within, partial(_asked, request.path_params["token"]))
        if intent is None:
            return HTMLResponse(page_html.missing_page(), 404, headers=pages.headers())
        amount = f"{intent['amount']} {intent['currency'].upper()} (minor units)"
        page = page_html.authentication_page(amount, is_open=intent["status"] == "requires_action")
        action = (intent["next_action"] or {}).get("redirect_to_url", {})
        return HTMLResponse(page, headers=pages.headers(action.get("return_url")))

    return show


def _decide(desk: Desk, courier: Courier) -> Endpoint:
    async def decide(request: Request) -> Response:
        body = await bodies.read(request.stream())
        decision = parse_qs((body or b"").decode(errors="replace"), max_num_fields=8).get("decision", [""])[
            -1
        ]
        if decision not in ("complete", "fail"):
            return JSONResponse({"error": "invalid_request", "detail": "decision: complete or fail"}, 400)
        token = request.path_params["token"]
        if await desk.run(desk.within, partial(_asked, token)) is None:
            return HTMLResponse(page_html.missing_page(), 404, headers=pages.headers())
        back_url = await desk.run(desk.within, partial(_answered, token, decision))
        courier.wake()
        return RedirectResponse(back_url or request.url.path, 303)

    return decide


def _asked(token: str, db: sqlite3.Connection, _: Terms) -> Json | None:
    """The intent whose page it is."""
    row = db.execute(
        "SELECT body FROM stripe_objects WHERE json_extract(aside, '$.page') = ?", (token,)
    ).fetchone()
    return None if row is None else dict(json.loads(row["body"]))


def _answered(token: str, decision: str, db: sqlite3.Connection, terms: Terms) -> str | None:
    """Where the browser goes; the payment was attempted or failed, if the intent still waited."""
    body = _asked(token, db, terms)
    assert body is not None
    owner = objects.owner(db, body["id"])
    account = None if owner is None else accounts.of(db, owner[0], livemode=owner[1])
    assert account is not None
    stored = objects.get(db, account, "payment_intent", body["id"], param="intent")
    if stored.body["status"] == "requires_action":
        call = Call(db, account, replace(terms, entries=tuple(stored.aside["entries"])))
        method = call.get("payment_method", stored.body["payment_method"], param="payment_method")
        if decision == "fail":
            authorizing.failed(call, stored, method, cards.AUTHENTICATION_FAILED, charge_id=None)
        else:
            _attempt(call, stored, method)
        call.told()
    return _back_url(stored)


def _attempt(call: Call, stored: objects.Stored, method: objects.Stored) -> None:
    try:
        authorizing.attempted(call, stored, method, authenticated=True)
    except Refusal:  # nobody waits for this answer: the intent says it
        return


def _back_url(stored: objects.Stored) -> str | None:
    if stored.aside["return_url"] is None:
        return None
    url = urlsplit(stored.aside["return_url"])
    added = urlencode(
        {"payment_intent": stored.id, "payment_intent_client_secret": stored.body["client_secret"]}
    )
    return urlunsplit(url._replace(query="&".join(part for part in (url.query, added) if part)))
