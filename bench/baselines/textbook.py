"""The same payment as public samples write it: `textbook api|worker four|one`.

API and worker are processes of their own; the API starts a workflow and waits for its result; authorize, capture,
record and notify are regular activities (`four`), or one activity does all of it with one acquirer call (`one`).
No claims, no outbox, and the card goes through Temporal. Tuned as the product is; reads PAYONCE_* variables.
"""

import asyncio
import signal
import sys
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Annotated, Any

import uvloop
from fastapi import FastAPI, Header
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy

from api.admission.requests import payment_row
from api.main import connections_of, listening_socket, server_for
from bench.baselines.engine import connected, worker_for
from bench.baselines.orders import Always, OrderBody, card_of, new_payment, now, post_of, route_of
from bench.baselines.stopping import stop_on_signals
from payonce.connectors.base import Call
from payonce.domain.facts import Approved
from payonce.domain.operations import OperationKind
from payonce.domain.payment import PaymentStatus
from payonce.domain.risk import Routed
from payonce.runtime import Runtime, open_runtime
from payonce.settings import Settings, settings_from_environment
from payonce.storage import payments

TASK_QUEUE = "bench-textbook"
CHANNEL = "bench:payments"
STEP: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=30),
    "retry_policy": RetryPolicy(maximum_attempts=1),
}


@dataclass(frozen=True, slots=True)
class Sale:
    """What the workflow is started with."""

    payment_id: str
    order: OrderBody


@dataclass(frozen=True, slots=True)
class Captured:
    """A sale with the acquirer's reference."""

    sale: Sale
    reference: str


@workflow.defn
class InFourSteps:
    @workflow.run
    async def run(self, sale: Sale) -> str:
        """Authorizes, captures, records and notifies; returns the payment's status."""
        reference: str = await workflow.execute_activity("authorize", sale, result_type=str, **STEP)
        captured = Captured(sale, reference)
        await workflow.execute_activity("capture", captured, **STEP)
        await workflow.execute_activity("record", captured, **STEP)
        await workflow.execute_activity("notify", sale.payment_id, **STEP)
        return "captured"


@workflow.defn
class InOneStep:
    @workflow.run
    async def run(self, sale: Sale) -> str:
        """Does all of it in one activity; returns the payment's status."""
        await workflow.execute_activity("sell", sale, **STEP)
        return "captured"


WORKFLOWS: dict[str, type[InFourSteps] | type[InOneStep]] = {"four": InFourSteps, "one": InOneStep}


class Steps:
    """The activities, over the product's own connector and storage."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._route, self._connector = route_of(runtime)

    @activity.defn
    async def authorize(self, sale: Sale) -> str:
        return await self._authorize(sale, automatic_capture=False)

    @activity.defn
    async def capture(self, captured: Captured) -> None:
        call = _call(captured.sale, OperationKind.CAPTURE)
        await self._connector.send(
            replace(call, authorization_reference=captured.reference), may_send=Always()
        )

    @activity.defn
    async def record(self, captured: Captured) -> None:
        await self._record(captured)

    @activity.defn
    async def notify(self, payment_id: str) -> None:
        await self._runtime.redis.publish(CHANNEL, payment_id)

    @activity.defn
    async def sell(self, sale: Sale) -> None:
        await self._record(Captured(sale, await self._authorize(sale, automatic_capture=True)))
        await self._runtime.redis.publish(CHANNEL, sale.payment_id)

    async def _authorize(self, sale: Sale, *, automatic_capture: bool) -> str:
        call = _call(sale, OperationKind.AUTHORIZE)
        call = replace(call, card=card_of(sale.order), automatic_capture=automatic_capture)
        reply = await self._connector.send(call, may_send=Always())
        assert isinstance(reply, Approved)
        return reply.connector_reference

    async def _record(self, captured: Captured) -> None:
        """One row in one commit."""
        new = new_payment(captured.sale.order)
        payment_id = captured.sale.payment_id
        payment = replace(
            payment_row(post_of(payment_id), new, Routed(self._route, None), payment_id=payment_id),
            status=PaymentStatus.CAPTURED,
            amount_authorized_minor=new.amount_minor,
            amount_captured_minor=new.amount_minor,
            connector_reference=captured.reference,
            updated_at=now(),
        )
        async with self._runtime.database.transaction() as connection:
            await payments.insert_payment(connection, payment)


class Till:
    """The HTTP side."""

    def __init__(self, client: Client, steps: str) -> None:
        self._client = client
        self._workflow: Any = WORKFLOWS[steps].run

    async def pay(self, order: OrderBody, idempotency_key: Annotated[str, Header()]) -> dict[str, str]:
        payment_id = f"pay_{idempotency_key}"
        sale = Sale(payment_id, order)
        status = await self._client.execute_workflow(
            self._workflow, sale, id=payment_id, task_queue=TASK_QUEUE
        )
        return {"id": payment_id, "status": status}


def _call(sale: Sale, kind: OperationKind) -> Call:
    return Call(
        kind=kind,
        reference=f"{sale.payment_id}-{kind}",
        payment_id=sale.payment_id,
        amount_minor=sale.order.amount,
        currency=sale.order.currency,
    )


async def serve_api(settings: Settings, steps: str) -> None:
    """Requests are answered until a signal comes."""
    with listening_socket(settings.api_host, settings.api_port) as listener:
        app = FastAPI(openapi_url=None)
        till = Till(await connected(settings), steps)
        app.add_api_route("/v1/payments", till.pay, methods=["POST"], status_code=201)
        app.add_api_route("/livez", lambda: {}, methods=["GET"], response_model=None)
        server = server_for(app, connections_of(settings))
        stop_on_signals(server)
        await server.serve([listener])


async def serve_worker(settings: Settings, steps: str) -> None:
    """Workflows and activities run until a signal comes."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with open_runtime(settings) as runtime:
        one = Steps(runtime)
        activities = [one.authorize, one.capture, one.record, one.notify, one.sell]
        client = await connected(settings)
        workflows = [WORKFLOWS[steps]]
        async with worker_for(client, settings, TASK_QUEUE, workflows=workflows, activities=activities):
            await ended.wait()


def main() -> None:
    role, steps = sys.argv[1:]
    settings = settings_from_environment()
    uvloop.run({"api": serve_api, "worker": serve_worker}[role](settings, steps))


if __name__ == "__main__":
    main()
