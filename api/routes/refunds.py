"""Refunds over HTTP."""

from sqlalchemy import ColumnElement, literal, select
from starlette.requests import Request
from starlette.responses import Response

from api.front import Front, path_id
from api.http.lists import Listing, Page, fetch, list_response, one_of, read_query
from api.http.responses import reply, shown
from api.routes.payments import payment_of
from api.schemas.payments import CreateRefund
from payonce.domain.answers import encode, refund_view
from payonce.domain.errors import NotFound
from payonce.domain.operations import Operation, OperationKind, OperationStatus
from payonce.storage.driver.connection import Connection
from payonce.storage.merchants import Caller
from payonce.storage.payments import OPERATION_COLUMNS, beside_create, operation_from
from payonce.storage.tables import operations

Conditions = tuple[ColumnElement[bool], ...]


class Refunds:
    """The handlers of refunds, of one payment and of all."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def create(self, request: Request) -> Response:
        payment_id = path_id(request)
        post, body = await self._front.post(request, CreateRefund)
        result = await self._front.admission.refund(
            post, payment_id, amount_minor=body.amount, reason=body.reason, metadata=body.metadata
        )
        return reply(result)

    async def show(self, request: Request) -> Response:
        refund_id = path_id(request)

        async def read(connection: Connection, caller: Caller) -> Operation:
            query = select(*OPERATION_COLUMNS).where(*_refunds_of(caller), operations.c.id == refund_id)
            row = (await connection.execute(query)).mappings().one_or_none()
            if row is None:
                raise NotFound
            return operation_from(row)

        return shown(encode(refund_view(await self._front.read(request, read))))

    async def list(self, request: Request) -> Response:
        page, filters = read_query(request, "status")
        status = one_of(OperationStatus, filters, "status")
        wanted: Conditions = () if status is None else (operations.c.status == status,)

        async def read(connection: Connection, caller: Caller) -> Response:
            return await _listed(connection, _refunds_of(caller), wanted, page)

        return await self._front.read(request, read)

    async def list_of_payment(self, request: Request) -> Response:
        payment_id = path_id(request)
        page, _ = read_query(request)

        async def read(connection: Connection, caller: Caller) -> Response:
            payment = await payment_of(connection, caller, payment_id)
            scope = (*_refunds_of(caller), beside_create(literal(payment.id)))
            return await _listed(connection, scope, (), page, sorted_by_index=False)

        return await self._front.read(request, read)


def _refunds_of(caller: Caller) -> Conditions:
    return (
        operations.c.merchant_id == caller.merchant_id,
        operations.c.mode == caller.mode,
        operations.c.kind == OperationKind.REFUND,
    )


async def _listed(
    connection: Connection, scope: Conditions, wanted: Conditions, page: Page, *, sorted_by_index: bool = True
) -> Response:
    """One payment's are few, and found by the payment; all of a merchant's, in their order."""
    listing = Listing(
        OPERATION_COLUMNS,
        scope,
        operations.c.id,
        (operations.c.xid, operations.c.created_at, operations.c.id),
        xid=operations.c.xid,
        wanted=wanted,
        sorted_by_index=sorted_by_index,
    )
    rows, has_more = await fetch(connection, listing, page)
    return list_response([encode(refund_view(operation_from(row))) for row in rows], has_more=has_more)
