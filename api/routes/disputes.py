"""Disputes over HTTP: what banks ask back of a merchant's payments."""

from starlette.requests import Request
from starlette.responses import Response

from api.front import Front, path_id
from api.http.lists import Listing, fetch, list_response, one_of, read_query
from api.http.responses import reply, shown
from api.schemas.payments import AcceptDispute
from payonce.domain.answers import dispute_view, encode
from payonce.domain.disputes import Dispute, DisputeStatus
from payonce.domain.errors import NotFound
from payonce.storage.disputes import DISPUTE_COLUMNS, dispute_from, of_merchant
from payonce.storage.driver.connection import Connection
from payonce.storage.merchants import Caller
from payonce.storage.tables import disputes


class Disputes:
    """The handlers under `/v1/disputes`."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def show(self, request: Request) -> Response:
        dispute_id = path_id(request)

        async def read(connection: Connection, caller: Caller) -> Dispute:
            query = of_merchant(dispute_id, merchant_id=caller.merchant_id, mode=caller.mode)
            dispute = await connection.fetch(query)
            if dispute is None:
                raise NotFound
            return dispute

        return shown(encode(dispute_view(await self._front.read(request, read))))

    async def accept(self, request: Request) -> Response:
        dispute_id = path_id(request)
        post, _ = await self._front.post(request, AcceptDispute)
        return reply(await self._front.admission.accept_dispute(post, dispute_id))

    async def list(self, request: Request) -> Response:
        page, filters = read_query(request, "status")
        status = one_of(DisputeStatus, filters, "status")

        async def read(connection: Connection, caller: Caller) -> Response:
            listing = Listing(
                DISPUTE_COLUMNS,
                (disputes.c.merchant_id == caller.merchant_id, disputes.c.mode == caller.mode),
                disputes.c.id,
                (disputes.c.xid, disputes.c.created_at, disputes.c.id),
                xid=disputes.c.xid,
                wanted=() if status is None else (disputes.c.status == status,),
            )
            rows, has_more = await fetch(connection, listing, page)
            return list_response([encode(dispute_view(dispute_from(row))) for row in rows], has_more=has_more)

        return await self._front.read(request, read)
