"""The page of the card's bank, and that of the UPI app, on which people, or programs, play the shopper.

Source: development-resources/testing/3d-secure-2-authentication: a test challenge completes or fails;
online-payments/3d-secure/redirect-3ds2: then the shopper comes back to `returnUrl` with `redirectResult`, by POST
where `redirectFromIssuerMethod` says so (spec).
"""

import secrets
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from devstack.acquirer import bodies, challenge_html, page_html
from devstack.acquirer import pages as sandbox_pages
from devstack.acquirer.adyen import accounts, cards, objects, payments
from devstack.acquirer.adyen.call import Call
from devstack.acquirer.adyen.errors import Json
from devstack.acquirer.courier import Courier
from devstack.acquirer.desk import Desk
from devstack.acquirer.movements import Terms

Endpoint = Callable[[Request], Awaitable[Response]]
_OF_CARD = ("complete", "fail", "cancel")
_OF_UPI = {"approve": None, "decline": cards.BY_CODE["2"]}


def routes(desk: Desk, courier: Courier) -> list[Route]:
    """GET shows a page, POST with `decision` answers it; it is found by its token, or by the payment's reference."""
    path = "/adyen/pages/{token}"
    return [Route(path, _show(desk)), Route(path, _decide(desk, courier), methods=["POST"])]


def _show(desk: Desk) -> Endpoint:
    async def show(request: Request) -> Response:
        return _page(request, await desk.run(desk.within, partial(_asked, request.path_params["token"])))

    return show


def _page(request: Request, payment: Json | None, *, status_code: int = 200) -> Response:
    if payment is None:
        return HTMLResponse(page_html.missing_page(), 404, headers=sandbox_pages.headers())
    is_open = _is_open(payment)
    if sandbox_pages.wants_json(request):
        return JSONResponse({"state": payment["state"], "is_open": is_open}, status_code)
    amount = f"{payment['amount']} {payment['currency']} (minor units)"
    page = page_html.authentication_page(amount, is_open=is_open)
    if payment["kind"] == "upi":
        page = page.replace('value="complete">Complete', 'value="approve">Approve')
        page = page.replace('value="fail">Fail', 'value="decline">Decline')
    return HTMLResponse(page, status_code, headers=sandbox_pages.headers(payment["return_url"]))


def _is_open(payment: Json) -> bool:
    return payment["state"] == "waiting" and payment.get("redirect_result") is None


def _decide(desk: Desk, courier: Courier) -> Endpoint:
    async def decide(request: Request) -> Response:
        body = await bodies.read(request.stream())
        fields = parse_qs((body or b"").decode(errors="replace"), max_num_fields=8)
        token = request.path_params["token"]
        payment = await desk.run(desk.within, partial(_asked, token))
        if payment is None or "decision" not in fields:  # a redirect by POST only comes to look
            return _page(request, payment)
        decision = fields["decision"][-1]
        if decision not in (_OF_UPI if payment["kind"] == "upi" else _OF_CARD):
            return JSONResponse({"error": "invalid_request", "detail": "decision: unknown"}, 400)
        decided, holds = await desk.run(desk.within, partial(_answered, token, decision))
        courier.wake()
        if payment["kind"] == "upi" or not holds:
            return _page(request, decided, status_code=200 if holds else 409)
        return _back(decided)

    return decide


def _back(payment: Json) -> Response:
    """Back to the merchant, with what stands for the answer."""
    brought = {"redirectResult": payment["redirect_result"]}
    if payment["returns_by"] == "POST":
        page = challenge_html.return_page(payment["return_url"], brought)
        script_hash = challenge_html.SCRIPT_HASH
        headers = sandbox_pages.headers(payment["return_url"], script_hash=script_hash)
        return HTMLResponse(page, headers=headers)
    url = urlsplit(payment["return_url"])
    query = "&".join(part for part in (url.query, urlencode(brought)) if part)
    return RedirectResponse(urlunsplit(url._replace(query=query)), 303)


def _asked(token: str, db: sqlite3.Connection, _: Terms) -> Json | None:
    """The payment whose page it is."""
    found = objects.of_member(db, "page", token) or objects.of_member(db, "payment_reference", token)
    return None if found is None or found.get("page") is None else found


def _answered(token: str, decision: str, db: sqlite3.Connection, terms: Terms) -> tuple[Json, bool]:
    """The payment afterwards, and whether the answer holds. A card's bank decides nothing before the details come."""
    payment = _asked(token, db, terms)
    assert payment is not None
    if not _is_open(payment):
        return payment, False
    if payment["kind"] != "upi":
        payment |= {"redirect_result": secrets.token_urlsafe(48), "decision": decision}
        objects.put(db, "payment", payment)
        return payment, True
    account = accounts.of(db, payment["account"])
    assert account is not None
    refused = _OF_UPI[decision]
    if refused is not None:
        payments.refuse(payment, refused)
    call = Call(db, account, replace(terms, entries=tuple(payment["entries"])))
    payments.decided(call, payment)
    call.sent()
    return payment, True
