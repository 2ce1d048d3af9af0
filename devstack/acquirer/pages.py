"""The pages on which people, or programs, play the customer."""

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
        for rail in Rail
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
        if payment is None or _wants_json(request):
            return _answer(request, payment, status_code=200 if holds else 409)
        back_url = _back_url(payment)
        # After a POST the browser is sent on, so that a reload asks for the page and not for the decision.
        return RedirectResponse(back_url if holds and back_url else request.url.path, 303)

    return decide


async def _decision(request: Request) -> Decision | None:
    body = await bodies.read(request.stream())
    fields = parse_qs((body or b"").decode(errors="replace"), max_num_fields=8)
    try:
        return Decision(fields.get("decision", [""])[-1])
    except ValueError:
        return None


def _answer(request: Request, payment: Shown | None, *, status_code: int = 200) -> Response:
    if _wants_json(request):
        if payment is None:
            return JSONResponse({"error": "not_found"}, 404)
        return JSONResponse(_as_json(payment, refused=status_code == 409), status_code)
    if payment is None:
        return HTMLResponse(page_html.missing_page(), 404, headers=headers())
    page = page_html.payment_page(payment, back_url=_back_url(payment))
    return HTMLResponse(page, status_code, headers=headers(payment.return_url))


def _as_json(payment: Shown, *, refused: bool) -> dict[str, Any]:
    shown = {**payment.result, "payment_reference": payment.payment_reference}
    shown |= {"answerable": payment.answer_by is not None, "return_url": _back_url(payment)}
    return {"error": "not_answerable", **shown} if refused else shown


def _wants_json(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "")


def _back_url(payment: Shown) -> str | None:
    """Where the browser goes afterwards: `return_url` with the payment's id, in place of one that it has already."""
    if payment.return_url is None:
        return None
    url = urlsplit(payment.return_url)
    others = [member for member in url.query.split("&") if url.query and _name(member) != "payment"]
    added = urlencode({"payment": payment.payment_reference})
    return urlunsplit(url._replace(query="&".join([*others, added])))


def _name(member: str) -> str:
    return unquote_plus(member.partition("=")[0])


def headers(return_url: str | None = None) -> dict[str, str]:
    # Browsers hold the redirects after a form to form-action, and a merchant may redirect again.
    targets = "'self'" if return_url is None else "'self' http: https:"
    policy = f"default-src 'none'; style-src '{page_html.STYLE_HASH}'; form-action {targets}; base-uri 'none'"
    return {
        "Content-Security-Policy": f"{policy}; frame-ancestors 'none'",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
