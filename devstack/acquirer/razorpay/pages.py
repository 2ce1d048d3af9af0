"""The pages on which people, or programs, play the customer: the bank's or wallet's, and a UPI app's.

Source: payments/payments/test-card-details and s2s/json/v2/test-integration: in test mode a page with Success and
Failure; s2s/json/v2/build-integration/cards, "Handle Payment Success and Error Events": then a POST to `callback_url`
with three members, or with the details of the error. That the error comes as `error[code]` and so on, `metadata` as
JSON, is what merchants' public code reads; the page shows no sample, so it is a *guess*. "No answer" is the sandbox's
own: customer and bank fall silent.
"""

import json
import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from devstack.acquirer import bodies, challenge_html, page_html, pages
from devstack.acquirer.courier import Courier
from devstack.acquirer.desk import Desk
from devstack.acquirer.movements import Terms
from devstack.acquirer.razorpay import authorizing, by_itself, objects, signing
from devstack.acquirer.razorpay.accounts import Account
from devstack.acquirer.razorpay.errors import Json
from devstack.acquirer.razorpay.objects import Stored

Endpoint = Callable[[Request], Awaitable[Response]]
_DECISIONS = ("success", "failure", "silent")
_FORM = """<form method="post">
<button class="go" name="decision" value="success">Success</button>
<button class="stop" name="decision" value="failure">Failure</button>
<button class="quiet" name="decision" value="silent">No answer</button>
</form>"""


def routes(desk: Desk, courier: Courier) -> list[Route]:
    """GET shows the payment, POST with `decision` answers it. They are before the dialect's own routes."""
    path = "/razorpay/v1/payments/{bare_id}/authenticate"
    upi = "/razorpay/upi/{bare_id}"
    return [
        *(Route(path, _show(desk)), Route(path, _decide(desk, courier), methods=["POST"])),
        *(Route(upi, _show(desk)), Route(upi, _decide(desk, courier), methods=["POST"])),
    ]


def _show(desk: Desk) -> Endpoint:
    async def show(request: Request) -> Response:
        payment = await desk.run(desk.within, partial(_payment, _id(request)))
        if payment is None:
            return HTMLResponse(page_html.missing_page(), 404, headers=pages.headers())
        is_open = payment.body["status"] == "created"
        return HTMLResponse(_page(payment.body, is_open=is_open), headers=pages.headers())

    return show


def _decide(desk: Desk, courier: Courier) -> Endpoint:
    async def decide(request: Request) -> Response:
        body = await bodies.read(request.stream())
        fields = parse_qs((body or b"").decode(errors="replace"), max_num_fields=8)
        decision = fields.get("decision", [""])[-1]
        if decision not in _DECISIONS:
            return JSONResponse(
                {"error": "invalid_request", "detail": "decision: success, failure, silent"}, 400
            )
        if await desk.run(desk.within, partial(_payment, _id(request))) is None:
            return HTMLResponse(page_html.missing_page(), 404, headers=pages.headers())
        url, brought, status = await desk.run(desk.within, partial(_answered, _id(request), decision))
        courier.wake()
        if pages.wants_json(request):
            return JSONResponse({"status": status, "callback_url": url, "fields": brought})
        if url is None or not brought:
            return RedirectResponse(request.url.path, 303)
        page = challenge_html.return_page(url, brought)
        return HTMLResponse(page, headers=pages.headers(url, script_hash=challenge_html.SCRIPT_HASH))

    return decide


def _id(request: Request) -> str:
    return "pay_" + str(request.path_params["bare_id"]).removeprefix("pay_")


def _payment(own_id: str, db: sqlite3.Connection, terms: Terms) -> Stored | None:
    call = by_itself.call_of(db, own_id, terms)
    return None if call is None else objects.find(db, call.account, "payment", own_id)


def _answered(
    own_id: str, decision: str, db: sqlite3.Connection, terms: Terms
) -> tuple[str | None, dict[str, str], str]:
    """Where the browser posts what, and what the payment is now; it was decided if it still waited."""
    call = by_itself.call_of(db, own_id, terms)
    assert call is not None
    payment = call.get("payment", own_id)
    if decision != "silent":
        authorizing.answered(call, payment, is_approved=decision == "success")
        call.told()
    return payment.aside["callback_url"], _brought(call.account, payment), payment.body["status"]


def _brought(account: Account, payment: Stored) -> dict[str, str]:
    """What the browser brings to `callback_url`; nothing while nothing is decided."""
    body = payment.body
    if body["status"] == "created" or body["method"] == "upi":
        return {}
    if body["status"] == "failed":
        metadata = json.dumps({"payment_id": payment.id, "order_id": body["order_id"]})
        names = ("code", "description", "source", "step", "reason")
        return {**{f"error[{name}]": body[f"error_{name}"] for name in names}, "error[metadata]": metadata}
    key = account.key(payment.aside["key_id"] or "")
    secret = "" if key is None else key.secret
    return {
        "razorpay_payment_id": payment.id,
        "razorpay_order_id": body["order_id"],
        "razorpay_signature": signing.of_payment(body["order_id"], payment.id, secret=secret),
    }


def _page(body: Json, *, is_open: bool) -> str:
    amount = challenge_html.money(body["amount"], body["currency"])
    look, state, title = ("pending", "Waiting for you", "Do you pay?")
    if not is_open:
        look, state, title = ("closed", body["status"].capitalize(), "This request was answered, or given up")
    page = f"""
<section aria-labelledby="title">
<p class="state {look}" role="status">{state}</p>
<h1 id="title">{title}</h1>
{page_html.amount_line(amount)}
</section>
{_FORM if is_open else ""}
<p class="hint">Razorpay's test mode: no bank and no wallet asks.</p>"""
    return page_html.document("Your bank", f"{state}: {amount}", page, refreshes=False)
