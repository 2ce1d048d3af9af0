"""The acquirer over HTTP. Operations need the key; the witness's own pages do not."""

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack.acquirer import (
    bodies,
    challenge_pages,
    charges,
    dashboard,
    delivery,
    dispute_pages,
    pages,
    witness,
)
from devstack.acquirer.adyen import control as control_of_adyen
from devstack.acquirer.adyen import counter as counter_of_adyen
from devstack.acquirer.adyen import pages as pages_of_adyen
from devstack.acquirer.bodies import CustomerOrder, Order, Resume
from devstack.acquirer.courier import Courier
from devstack.acquirer.desk import Desk, Reply, invalid
from devstack.acquirer.razorpay import control as control_of_razorpay
from devstack.acquirer.razorpay import counter as counter_of_razorpay
from devstack.acquirer.razorpay import pages as pages_of_razorpay
from devstack.acquirer.stripe import authentication, control
from devstack.acquirer.stripe import counter as counter_of_stripe

_ORDERS: dict[str, type[Order]] = {
    "/authorizations": bodies.Authorize,
    "/upi/payments": bodies.PayByUpi,
    "/wallets/payments": bodies.PayByWallet,
    "/resumptions": bodies.Resume,
    "/captures": bodies.Capture,
    "/voids": bodies.Void,
    "/refunds": bodies.Refund,
    "/reversals": bodies.Reverse,
    "/cancellations": bodies.Cancel,
    "/tokens/deletions": bodies.DeleteToken,
    "/inquiries": bodies.Inquire,
    "/disputes/acceptances": bodies.AcceptDispute,
    "/disputes/inquiries": bodies.InquireDispute,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the process was started with. `public_url`: where people reach it, if not where senders do."""

    data: Path
    key: str = field(repr=False)
    public_url: str | None = None
    authorization_validity_s: int = 604_800
    hold_s: float = 60


def create_app(settings: Settings) -> Starlette:
    """The application, with its file open."""
    desk = Desk(settings.data, authorization_validity_s=settings.authorization_validity_s)
    courier = Courier(desk, key=settings.key)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        at_work = asyncio.create_task(courier.run())
        yield
        at_work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await at_work
        desk.close()

    counter = Counter(desk, courier, settings)
    orders = [Route(path, counter.endpoint(model), methods=["POST"]) for path, model in _ORDERS.items()]
    stripe = counter_of_stripe.routes(desk, courier, public_url=settings.public_url, hold_s=settings.hold_s)
    razorpay = [
        *pages_of_razorpay.routes(desk, courier),
        *control_of_razorpay.routes(desk, courier, key=settings.key),
        *counter_of_razorpay.routes(desk, courier, public_url=settings.public_url, hold_s=settings.hold_s),
    ]
    adyen = counter_of_adyen.routes(desk, courier, public_url=settings.public_url, hold_s=settings.hold_s)
    return Starlette(
        routes=[
            *orders,
            *stripe,
            *razorpay,
            *control.routes(desk, key=settings.key),
            *authentication.routes(desk, courier),
            *adyen,
            *control_of_adyen.routes(desk, courier, key=settings.key),
            *pages_of_adyen.routes(desk, courier),
            *pages.routes(desk, courier),
            *challenge_pages.routes(desk, courier),
            *dispute_pages.routes(desk, courier),
            *dashboard.routes(desk, courier),
            *charges.routes(desk, key=settings.key),
            *witness.routes(desk, courier),
        ],
        lifespan=lifespan,
        exception_handlers={404: _no_such_path, 405: _method_not_allowed},
    )


class Counter:
    """Takes orders over HTTP."""

    def __init__(self, desk: Desk, courier: Courier, settings: Settings) -> None:
        self._desk = desk
        self._courier = courier
        self._settings = settings

    def endpoint(self, model: type[Order]) -> Callable[[Request], Awaitable[Response]]:
        """What answers requests whose body is a `model`."""

        async def endpoint(request: Request) -> Response:
            received_at = datetime.now(UTC)
            body = await bodies.read(request.stream())
            understood = _understood(request, body, key=self._settings.key, model=model)
            if isinstance(understood, Reply):
                reply, seen = understood, bodies.glimpse(body or b"")
                await self._desk.run(self._desk.log_refusal, model.operation, seen, received_at, reply)
            else:
                page_base = self._settings.public_url or str(request.base_url)
                reply = await self._executed(understood, received_at, page_base=page_base.rstrip("/"))
            return delivery.response(reply, hold_s=self._settings.hold_s)

        return endpoint

    async def _executed(self, order: Order, received_at: datetime, *, page_base: str) -> Reply:
        """The reply, after every wait. Money moves after a `slow` fault and before `delay_ms`.

        So a sender that dies during `delay_ms` has moved money and does not know it.
        """
        desk = self._desk
        arrival = await desk.run(desk.receive, order, received_at)
        if arrival.plan.slow_ms:
            await asyncio.sleep(arrival.plan.slow_ms / 1000)
        reply = await desk.run(desk.execute, arrival, page_base=page_base)
        if isinstance(order, Resume) or reply.body.get("status") == "pending" or arrival.plan.entries:
            self._courier.wake()
        if isinstance(order, CustomerOrder | Resume) and desk.config.callbacks == "before_response":
            await self._courier.tried(order.reference)
        if desk.config.delay_ms:
            await asyncio.sleep(desk.config.delay_ms / 1000)
        return reply


def _understood(request: Request, body: bytes | None, *, key: str, model: type[Order]) -> Order | Reply:
    given = request.headers.get("authorization", "").encode()
    if not hmac.compare_digest(given, f"Bearer {key}".encode()):
        return Reply(401, {"error": "unauthorized"})
    if body is None:
        return Reply(413, {"error": "body_too_large"})
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        return invalid(bodies.describe(error))


async def _no_such_path(_: Request, __: Exception) -> Response:
    # Not "not_found": that is what an inquiry answers about a reference.
    return JSONResponse({"error": "no_such_path"}, 404)


async def _method_not_allowed(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "method_not_allowed"}, 405)
