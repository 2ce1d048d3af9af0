"""What anyone may read without the key: ledger, requests, callbacks, configuration, liveness."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack.acquirer import bodies
from devstack.acquirer.courier import Courier
from devstack.acquirer.desk import LEDGER_PREFIX, Desk, invalid
from devstack.acquirer.store import PAGE_MAX

_FILTERS = ("reference", "payment_reference")
_QUERY_NAMES = {*_FILTERS, "after", "limit"}

ReadPage = Callable[..., tuple[list[dict[str, Any]], bool]]


class BadQuery(Exception):
    """The query string asks for something that does not exist."""


def routes(desk: Desk, courier: Courier) -> list[Route]:
    """The open routes."""

    async def livez(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def show_config(_: Request) -> Response:
        return JSONResponse(desk.config.model_dump())

    async def change_config(request: Request) -> Response:
        body = await bodies.read(request.stream())
        if body is None:
            return JSONResponse({"error": "body_too_large"}, 413)
        try:
            config = await desk.run(desk.configure, body)
        except ValidationError as error:
            return JSONResponse(invalid(bodies.describe(error)).body, 400)
        courier.wake()  # it may be that something ends by itself from now on
        return JSONResponse(config.model_dump())

    return [
        Route("/livez", livez),
        Route("/config", show_config),
        Route("/config", change_config, methods=["PATCH"]),
        Route("/ledger", _page_endpoint(desk, desk.ledger, id_prefix=LEDGER_PREFIX)),
        Route("/requests", _page_endpoint(desk, desk.requests, id_prefix="req")),
        Route("/callbacks", _page_endpoint(desk, desk.callbacks, id_prefix="call")),
    ]


def _page_endpoint(desk: Desk, read: ReadPage, *, id_prefix: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            query = _query(request)
            after = _position(query.get("after"), id_prefix)
            limit = _limit(query.get("limit"))
        except BadQuery as error:
            return JSONResponse(invalid(str(error)).body, 400)
        filters = {name: query[name] for name in _FILTERS if name in query}
        rows, has_more = await desk.run(read, filters=filters, after=after, limit=limit)
        entries = [{"id": f"{id_prefix}_{row.pop('position')}", **row} for row in rows]
        return JSONResponse({"entries": entries, "has_more": has_more})

    return endpoint


def _query(request: Request) -> dict[str, str]:
    pairs = request.query_params.multi_items()
    names = [name for name, _ in pairs]
    if not _QUERY_NAMES.issuperset(names) or len(set(names)) < len(names):
        raise BadQuery("the query takes reference, payment_reference, after and limit, each once")
    return dict(pairs)


def _position(after: str | None, id_prefix: str) -> int:
    if after is None:
        return 0
    found = re.fullmatch(rf"{id_prefix}_([0-9]{{1,18}})", after)
    if found is None:
        raise BadQuery("after: is not the id of an entry")
    return int(found[1])


def _limit(limit: str | None) -> int:
    if limit is None:
        return PAGE_MAX
    if not re.fullmatch(r"[0-9]{1,4}", limit) or not 1 <= int(limit) <= PAGE_MAX:
        raise BadQuery(f"limit: must be 1 to {PAGE_MAX}")
    return int(limit)
