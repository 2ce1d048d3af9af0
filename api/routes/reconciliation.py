"""Reconciliation over HTTP: what comparing with the acquirers found of a merchant's payments and accounts."""

from starlette.requests import Request
from starlette.responses import Response

from api.front import Front
from api.http.lists import Listing, Merged, fetch, list_response, moment, one_of, read_query
from payonce.domain.answers import encode, reconciliation_view
from payonce.domain.reconciling import ComparisonResult
from payonce.storage.driver.connection import Connection
from payonce.storage.merchants import Caller
from payonce.storage.reconciliation import FINDING_COLUMNS, finding_from
from payonce.storage.spans import Span
from payonce.storage.tables import reconciliations

FILTERS = ("account", "result", "created_after")


class Reconciliations:
    """The handler of `/v1/reconciliation`."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def list(self, request: Request) -> Response:
        page, filters = read_query(request, *FILTERS)
        result = one_of(ComparisonResult, filters, "result")
        wanted = [] if result is None else [reconciliations.c.result == result]
        if "account" in filters:
            wanted.append(reconciliations.c.account == filters["account"])

        async def read(connection: Connection, caller: Caller) -> Response:
            of_caller = (
                reconciliations.c.merchant_id == caller.merchant_id,
                reconciliations.c.mode == caller.mode,
            )
            listing = Listing(
                FINDING_COLUMNS,
                of_caller,
                reconciliations.c.id,
                (reconciliations.c.xid, reconciliations.c.created_at, reconciliations.c.id),
                xid=reconciliations.c.xid,
                wanted=tuple(wanted),
                merged=Merged(reconciliations.c.result, list(ComparisonResult)) if result is None else None,
                span=Span(moment(filters, "created_after")),
            )
            rows, has_more = await fetch(connection, listing, page)
            found = [encode(reconciliation_view(finding_from(dict(row)))) for row in rows]
            return list_response(found, has_more=has_more)

        return await self._front.read(request, read)
