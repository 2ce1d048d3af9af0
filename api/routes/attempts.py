"""A payment's attempts over HTTP: which account took each, why, and what became of it."""

from urllib.parse import urlencode

from sqlalchemy import literal
from starlette.requests import Request
from starlette.responses import Response

from api.front import Front, path_id
from api.http.lists import Listing, Page, fetch, list_response, read_query
from api.routes.payments import payment_of
from payonce.domain.answers import attempt_view, encode
from payonce.domain.operations import Attempt
from payonce.domain.payment import Payment
from payonce.storage.attempts import COLUMNS, attempt_from
from payonce.storage.driver.connection import Connection
from payonce.storage.merchants import Caller
from payonce.storage.payments import of_payment
from payonce.storage.references import REFERENCE
from payonce.storage.tables import attempts, operations


class Attempts:
    """The handler under `/v1/payments/{id}/attempts`."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def list(self, request: Request) -> Response:
        payment_id = path_id(request)
        page, _ = read_query(request)

        async def read(connection: Connection, caller: Caller) -> Response:
            return await _listed(connection, await payment_of(connection, caller, payment_id), page)

        return await self._front.read(request, read)


async def _listed(connection: Connection, payment: Payment, page: Page) -> Response:
    """The newest first, of all the payment's operations; those of one payment are few, and found by them.

    They are claimed under the payment's lock: none is seen before one that was claimed earlier, but for the time
    for which its transaction waited for that lock.
    """
    asked = (of_payment(literal(payment.id)), attempts.c.operation_id == operations.c.id)
    listing = Listing(
        (*COLUMNS, operations.c.last_error),
        asked,
        REFERENCE,
        (attempts.c.claimed_at, attempts.c.operation_id, attempts.c.number),
        sorted_by_index=False,
    )
    rows, has_more = await fetch(connection, listing, page)
    found = [attempt_from(dict(row)) for row in rows]
    shown = [
        encode(attempt_view(attempt, last_error=row["last_error"]))
        for attempt, row in zip(found, rows, strict=True)
    ]
    response = list_response(shown, has_more=has_more)
    if found:
        response.headers.update(_links(payment, page, found, has_more=has_more))
    return response


def _links(payment: Payment, page: Page, found: list[Attempt], *, has_more: bool) -> dict[str, str]:
    """The pages beside this one (RFC 8288): an attempt shows no id that could be a cursor."""
    backwards = page.before is not None
    beside = {
        "next": {"starting_after": found[-1].reference} if backwards or has_more else {},
        "prev": {"ending_before": found[0].reference} if page.after or (backwards and has_more) else {},
    }
    links = [
        f'</v1/payments/{payment.id}/attempts?{urlencode({"limit": page.limit, **cursor})}>; rel="{name}"'
        for name, cursor in beside.items()
        if cursor
    ]
    return {"Link": ", ".join(links)} if links else {}
