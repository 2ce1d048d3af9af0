"""The price of durability, by leaving it out: the same acquirer call between the same two commits, no Temporal.

A process that dies between the commits leaves a payment that nobody carries on. FastAPI on the product's own
uvicorn settings; the rows are written by the product's own storage functions. Reads PAYONCE_* variables.
"""

from dataclasses import replace
from typing import Annotated

import uvloop
from fastapi import FastAPI, Header, HTTPException, Response

from api.admission.requests import NewPayment, Post, key_row, operation_row, payment_row
from api.admission.waiting import SWEEP_AFTER
from api.main import connections_of, listening_socket, server_for
from bench.baselines.orders import Always, OrderBody, new_payment, post_of, route_of
from bench.baselines.stopping import stop_on_signals
from payonce.connectors.base import call_of
from payonce.domain.ids import random_id
from payonce.domain.operations import Operation, OperationKind, Subject
from payonce.domain.payment import Payment
from payonce.domain.risk import Routed
from payonce.domain.routing import Route
from payonce.runtime import Runtime, open_runtime
from payonce.settings import settings_from_environment
from payonce.storage import attempts, idempotency, payments


class NoEngine:
    """Admits, calls, records, answers."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._route, self._connector = route_of(runtime)

    async def pay(self, order: OrderBody, idempotency_key: Annotated[str, Header()]) -> Response:
        new = new_payment(order)
        post = post_of(idempotency_key)
        payment, operation, reference = await admit(self._runtime, self._route, post, new)
        call = replace(call_of(payment, operation, reference=reference), card=new.card)
        fact = await self._connector.send(call, may_send=Always())
        with self._runtime.wakeups.waiting(operation.id):  # as the product does: no message for this process
            settled = await self._runtime.recorder.record(
                Subject(payment.id, payment.id), attempt=1, fact=fact
            )
        assert settled.answer is not None
        return Response(settled.answer.body, status_code=201, media_type="application/json")


async def admit(
    runtime: Runtime, route: Route, post: Post, new: NewPayment
) -> tuple[Payment, Operation, str]:
    """The key is claimed, and the payment, its authorization and the claim of its first attempt are there."""
    caller = post.caller
    payment_id = runtime.ids.payment(merchant_id=caller.merchant_id, mode=caller.mode, key=post.key)
    payment = payment_row(post, new, Routed(route, None), payment_id=payment_id)
    operation = operation_row(
        post, payment, id_=payment_id, kind=OperationKind.AUTHORIZE, amount_minor=new.amount_minor
    )
    location = f"/v1/payments/{payment_id}"
    async with runtime.database.transaction() as connection:
        row = key_row(post, operation_id=payment_id, location=location)
        if not await idempotency.claim_key(connection, row):
            raise HTTPException(409)
        await payments.insert_payment(connection, payment)
        await payments.insert_operation(connection, operation, sweep_at=operation.created_at + SWEEP_AFTER)
        reference = await attempts.insert_claim(
            connection,
            operation,
            number=1,
            connector=payment.connector,
            connector_account=payment.connector_account,
            owner=runtime.rights.owner,
            token=random_id("run"),
        )
    return payment, operation, reference


async def main() -> None:
    settings = settings_from_environment()
    with listening_socket(settings.api_host, settings.api_port) as listener:
        async with open_runtime(settings) as runtime:
            app = FastAPI(openapi_url=None)
            app.add_api_route("/v1/payments", NoEngine(runtime).pay, methods=["POST"], response_model=None)
            app.add_api_route("/livez", lambda: {}, methods=["GET"], response_model=None)
            server = server_for(app, connections_of(settings))
            stop_on_signals(server)
            await server.serve([listener])


if __name__ == "__main__":
    uvloop.run(main())
