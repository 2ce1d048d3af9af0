"""The pages on which people, or programs, play the customer of UPI and wallets, and what a card's page shares."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from devstack.acquirer import bodies, page_html
from devstack.acquirer.courier import Courier
from devstack.acquirer.desk import Desk
from devstack.acquirer.scripts import Rail
from devstack.acquirer.waiting import Decision, Shown

Endpoint = Callable[[Request], Awaitable[Response]]


def routes(desk: Desk, courier: Courier) -> list[Route]:
    """A page for each rail: GET shows the payment, POST with `decision` answers it."""
    return [
        route
        for rail in (Rail.UPI, Rail.WALLET)
        for route in (
            Route(f"/{rail}/{{payment_reference}}", _show(desk, rail)),
            Route(f"/{rail}/{{payment_reference}}", _decide(desk, courier, rail), methods=["POST"]),
        )
    ]


def _show(desk: Desk, rail: Rail) -> Endpoint:
    async def show(request: Request) -> Response:
        payment = await desk.run(desk.show, rail, request.path_params["payment_reference"])
        return _answer(request, payment)

    return show


def _decide(desk: Desk, courier: Courier, rail: Rail) -> Endpoint:
    async def decide(request: Request) -> Response:
        decision = await _decision(request)
        if decision is None:
            return JSONResponse({"error": "invalid_request", "detail": "decision: approve or decline"}, 400)
        reference = request.path_params["payment_reference"]
        payment, holds = await desk.run(desk.decide, rail, reference, decision)
        courier.wake()
        if payment is None or wants_json(request):
            return _answer(request, payment, status_code=200 if holds else 409)
        back_to = back_url(payment)
        # After a POST the browser is sent on, so that a reload asks for the page and not for the decision.
        return RedirectResponse(back_to if holds and back_to else request.url.path, 303)

    return decide


async def _decision(request: Request) -> Decision | None:
    body = await bodies.read(request.stream())
    fields = parse_qs((body or b"").decode(errors="replace"), max_num_fields=8)
    try:
        return Decision(fields.get("decision", [""])[-1])
    except ValueError:
        return None


def _answer(request: Request, payment: Shown | None, *, status_code: int = 200) -> Response:
    if wants_json(request):
        if payment is None:
            return JSONResponse({"error": "not_found"}, 404)
        return JSONResponse(as_json(payment, refused=status_code == 409), status_code)
    if payment is None:
        return HTMLResponse(page_html.missing_page(), 404, headers=headers())
    page = page_html.payment_page(payment, back_url=back_url(payment))
    return HTMLResponse(page, status_code, headers=headers(payment.return_url))


def as_json(payment: Shown, *, refused: bool) -> dict[str, Any]:
    """The payment as a program sees it."""
    shown = {**payment.result, "payment_reference": payment.payment_reference}
    shown |= {"answerable": payment.answer_by is not None, "return_url": back_url(payment)}
    return {"error": "not_answerable", **shown} if refused else shown


def wants_json(request: Request) -> bool:
    """Whether a program asks."""
    return "application/json" in request.headers.get("accept", "")


def back_url(payment: Shown) -> str | None:
    """Where the browser goes afterwards: `return_url` with what it brings, in place of such members of its own."""
    if payment.return_url is None:
        return None
    url, brought = urlsplit(payment.return_url), brought_back(payment)
    others = [member for member in url.query.split("&") if url.query and _name(member) not in brought]
    return urlunsplit(url._replace(query="&".join([*others, urlencode(brought)])))


def brought_back(payment: Shown) -> dict[str, str]:
    """What the browser brings back: the payment's id, and what stands for an answer that somebody else completes."""
    token = payment.result_token
    return {"payment": payment.payment_reference, **({} if token is None else {"result": token})}


def _name(member: str) -> str:
    return unquote_plus(member.partition("=")[0])


def headers(return_url: str | None = None, *, script_hash: str | None = None) -> dict[str, str]:
    """Of every page: nothing is loaded, nothing runs but the script with this hash, nobody frames or keeps it."""
    # Browsers hold the redirects after a form to form-action, and a merchant may redirect again.
    targets = "'self'" if return_url is None else "'self' http: https:"
    policy = f"default-src 'none'; style-src '{page_html.STYLE_HASH}'; form-action {targets}; base-uri 'none'"
    script = "" if script_hash is None else f"; script-src '{script_hash}'"
    return {
        "Content-Security-Policy": f"{policy}{script}; frame-ancestors 'none'",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
