"""The page of a card's bank, on which people, or programs, play the cardholder: 3-D Secure without a bank."""

from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from devstack.acquirer import bodies, challenge_html, challenges, page_html, pages
from devstack.acquirer.challenges import Answer
from devstack.acquirer.courier import Courier
from devstack.acquirer.desk import Desk
from devstack.acquirer.scripts import Rail
from devstack.acquirer.waiting import Shown

Endpoint = Callable[[Request], Awaitable[Response]]

_WRONG = {"error": "invalid_request", "detail": "decision: submit (with code), fail or cancel"}


def routes(desk: Desk, courier: Courier) -> list[Route]:
    """GET shows the challenge, POST with `decision`, and `code`, answers it."""
    path = f"/{Rail.CARD}/{{payment_reference}}"
    return [Route(path, _show(desk)), Route(path, _answer(desk, courier), methods=["POST"])]


def _show(desk: Desk) -> Endpoint:
    async def show(request: Request) -> Response:
        payment = await desk.run(desk.show, Rail.CARD, request.path_params["payment_reference"])
        return _page(payment) if not pages.wants_json(request) else _told(payment)

    return show


def _answer(desk: Desk, courier: Courier) -> Endpoint:
    async def answer(request: Request) -> Response:
        body = await bodies.read(request.stream())
        fields = parse_qs((body or b"").decode(errors="replace"), max_num_fields=8)
        try:
            given = Answer(fields.get("decision", [""])[-1])
        except ValueError:
            return JSONResponse(_WRONG, 400)
        code = fields.get("code", [""])[-1].strip()
        reference = request.path_params["payment_reference"]
        payment, holds = await desk.run(desk.within, partial(challenges.answered, reference, given, code))
        courier.wake()
        if pages.wants_json(request):
            return _told(payment, status_code=200 if holds else 409)
        if payment is None:
            return _page(None)
        return _sent_on(request, payment, goes_back=given is Answer.CANCEL or payment.answer_by is None)

    return answer


def _sent_on(request: Request, payment: Shown, *, goes_back: bool) -> Response:
    """Back to the merchant once nothing is left to be done here, else to the page."""
    back_url = pages.back_url(payment)
    if not goes_back or back_url is None:
        return RedirectResponse(request.url.path, 303)
    if payment.details["returns_by"] == "get":
        return RedirectResponse(back_url, 303)
    page = challenge_html.return_page(payment.return_url or "", pages.brought_back(payment))
    script_hash = challenge_html.SCRIPT_HASH
    return HTMLResponse(page, headers=pages.headers(payment.return_url, script_hash=script_hash))


def _told(payment: Shown | None, *, status_code: int = 200) -> Response:
    if payment is None:
        return JSONResponse({"error": "not_found"}, 404)
    shown = pages.as_json(payment, refused=status_code == 409)
    known = {"authenticated": payment.authenticated, "wrong_codes": payment.wrong_codes}
    return JSONResponse({**shown, **known}, status_code)


def _page(payment: Shown | None) -> Response:
    if payment is None:
        return HTMLResponse(page_html.missing_page(), 404, headers=pages.headers())
    page = challenge_html.challenge_page(payment, back_url=pages.back_url(payment))
    return HTMLResponse(page, headers=pages.headers(payment.return_url))
