"""The page on which people, or programs, play the cardholder's bank: what it asks back, and how that ends."""

import json
import re
from functools import partial
from html import escape
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from devstack.acquirer import bodies, disputes, due, page_html, pages
from devstack.acquirer.courier import Courier
from devstack.acquirer.desk import Desk
from devstack.acquirer.disputes import Move, NotPossible, Wish

_REASON = re.compile(r"[a-z_]{1,40}")
_AMOUNT = re.compile(r"[1-9][0-9]{0,15}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_REASONS = ("fraudulent", "product_not_received", "product_unacceptable", "duplicate", "credit_not_processed")
_PATH = "/disputes"


def routes(desk: Desk, courier: Courier) -> list[Route]:
    """GET lists the disputes, POST opens one of a payment, POST to one moves it; `/fraud_warnings` only warns."""

    async def show(request: Request) -> Response:
        found = await desk.run(
            desk.within, partial(disputes.listed, request.query_params.get("payment_reference"))
        )
        if pages.wants_json(request):
            return JSONResponse({"disputes": found})
        return HTMLResponse(_page(found), headers=pages.headers())

    async def open_(request: Request) -> Response:
        fields = await _fields(request)
        wish = _wish(fields)
        if wish is None:
            return JSONResponse(
                {"error": "invalid_request", "detail": "reason, amount, currency, withdrawn"}, 400
            )
        opening = partial(due.dispute_opened, fields.get("payment_reference", ""), wish)
        return await _done(request, opening)

    async def move(request: Request) -> Response:
        fields = await _fields(request)
        amount = fields.get("amount")
        try:
            wanted = Move(fields.get("decision", ""))
        except ValueError:
            return JSONResponse({"error": "invalid_request", "detail": f"decision: {', '.join(Move)}"}, 400)
        if amount is not None and not _AMOUNT.fullmatch(amount):
            return JSONResponse({"error": "invalid_request", "detail": "amount"}, 400)
        given = None if amount is None else int(amount)
        return await _done(request, partial(due.dispute_moved, request.path_params["id"], wanted, given))

    async def warn(request: Request) -> Response:
        fields = await _fields(request)
        return await _done(request, partial(due.fraud_warned, fields.get("payment_reference", "")))

    async def _done(request: Request, work: Any) -> Response:
        try:
            dispute = await desk.run(desk.within, work)
        except NotPossible:
            return JSONResponse({"error": "not_possible"}, 409)
        courier.wake()
        return JSONResponse(dispute) if pages.wants_json(request) else RedirectResponse(_PATH, 303)

    return [
        Route(_PATH, show),
        Route(_PATH, open_, methods=["POST"]),
        Route(f"{_PATH}/{{id}}", move, methods=["POST"]),
        Route("/fraud_warnings", warn, methods=["POST"]),
    ]


async def _fields(request: Request) -> dict[str, str]:
    """The fields of a form that are not empty, or the members of a JSON object."""
    body = await bodies.read(request.stream()) or b""
    if "json" in request.headers.get("content-type", ""):
        try:
            told = json.loads(body)
        except ValueError:
            return {}
        return {str(name): str(value) for name, value in told.items()} if isinstance(told, dict) else {}
    fields = parse_qs(body.decode(errors="replace"), max_num_fields=8)
    return {name: values[-1].strip() for name, values in fields.items() if values[-1].strip()}


def _wish(fields: dict[str, str]) -> Wish | None:
    reason, currency = fields.get("reason", "fraudulent"), fields.get("currency")
    numbers = {name: fields[name] for name in ("amount", "withdrawn") if name in fields}
    fits = _REASON.fullmatch(reason) and (currency is None or _CURRENCY.fullmatch(currency))
    if not fits or not all(_AMOUNT.fullmatch(number) for number in numbers.values()):
        return None
    inquiry = fields.get("stage") == "inquiry"
    given = {name: int(number) for name, number in numbers.items()}
    return Wish(reason=reason, inquiry=inquiry, currency=currency, **given)


def _page(found: list[dict[str, Any]]) -> str:
    options = "".join(f"<option>{reason}</option>" for reason in _REASONS)
    body = f"""
<section aria-labelledby="title">
<h1 id="title">Dispute a payment</h1>
<p class="payee">You are the bank of a cardholder who wants money back.</p>
</section>
<form method="post">
<label for="payment">Payment</label><input id="payment" name="payment_reference" required>
<label for="reason">Reason</label><select id="reason" name="reason">{options}</select>
<label for="stage">Stage</label>
<select id="stage" name="stage"><option>chargeback</option><option>inquiry</option></select>
<label for="amount">Amount, in the smallest unit (empty: all)</label><input id="amount" name="amount">
<button class="go">Ask the money back</button>
</form>
<form method="post" action="/fraud_warnings">
<label for="suspected">Payment</label><input id="suspected" name="payment_reference" required>
<button class="quiet">Warn of a fraud</button>
</form>
{"".join(map(_section, found))}
<p class="hint">What is decided here is in the ledger at once, and payonce is told of it.</p>"""
    return page_html.document("The cardholder's bank", "Disputes", body, refreshes=False)


def _section(dispute: dict[str, Any]) -> str:
    moves = "".join(
        f'<button class="quiet" name="decision" value="{move}">{move.replace("_", " ")}</button>'
        for move in disputes.possible(dispute)
    )
    lines = {
        "Payment": dispute["payment_reference"],
        "Amount": f"{dispute['amount']} {dispute['currency']}",
        "Withdrawn": str(dispute["withdrawn"]),
        "Reason": dispute["reason"],
    }
    listed = "".join(f"<div><dt>{name}</dt><dd>{escape(text)}</dd></div>" for name, text in lines.items())
    return f"""
<section aria-labelledby="{dispute["id"]}">
<h2 id="{dispute["id"]}">{escape(dispute["stage"])}: {escape(dispute["status"].replace("_", " "))}</h2>
<dl>{listed}</dl>
</section>
{f'<form method="post" action="{_PATH}/{dispute["id"]}">{moves}</form>' if moves else ""}"""
