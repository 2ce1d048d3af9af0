"""What the merchant's own people do in the acquirer's dashboard: payonce never asked for it."""

import json
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack.acquirer import bodies, due
from devstack.acquirer.courier import Courier
from devstack.acquirer.desk import Desk, invalid
from devstack.acquirer.turns import NothingToMove

_WHATS: Final = ("capture", "refund", "void")


def routes(desk: Desk, courier: Courier) -> list[Route]:
    """`POST /dashboard` with `payment_reference`, `what` and, of a refund, `amount`."""

    async def done(request: Request) -> Response:
        asked = _asked(await bodies.read(request.stream()) or b"")
        if asked is None:
            detail = f"payment_reference; what: {', '.join(_WHATS)}; of a refund amount"
            return JSONResponse(invalid(detail).body, 400)
        try:
            moved = await desk.run(desk.within, partial(due.done_by_hand, **asked))
        except NothingToMove:
            return JSONResponse({"error": "not_possible"}, 409)
        courier.wake()
        return JSONResponse(moved)

    return [Route("/dashboard", done, methods=["POST"])]


def _asked(body: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(body)
        payment, what, amount = str(told["payment_reference"]), told["what"], told.get("amount")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if what not in _WHATS or (what == "refund") != (type(amount) is int and 0 < amount <= bodies.AMOUNT_MAX):
        return None
    return {"payment_reference": payment, "what": what, "amount": amount}
