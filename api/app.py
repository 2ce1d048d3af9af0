"""The application: every route, and what an exception becomes."""

import time
from collections.abc import Mapping
from functools import cache, partial
from typing import Final

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from api.admission.admission import Admission
from api.front import Front, Handler
from api.http.made import Made
from api.http.middleware import Envelope
from api.http.passage import Passages
from api.http.rate_limits import Bucket, Rate, Rates, TooManyRequests
from api.openapi import payment_methods as saved
from api.openapi import payments as operations
from api.openapi import webhooks
from api.openapi.description import Description
from api.openapi.disputes import ACCEPT_DISPUTE, GET_DISPUTE, LIST_DISPUTES
from api.openapi.document import document
from api.openapi.page import page
from api.openapi.reconciliation import LIST_RECONCILIATIONS
from api.problems import JSON, NO_CONTENT, Problem, internal_problem, problem_of, render
from api.routes.attempts import Attempts
from api.routes.callbacks import Callbacks
from api.routes.deliveries import Deliveries, StartJob
from api.routes.disputes import Disputes
from api.routes.endpoints import Endpoints
from api.routes.events import Events
from api.routes.feed import Feed
from api.routes.health import Health, Probe
from api.routes.payment_methods import PaymentMethods
from api.routes.payments import Payments
from api.routes.qr_codes import Codes
from api.routes.receipts import Receipts
from api.routes.reconciliation import Reconciliations
from api.routes.refunds import Refunds
from api.routes.returns import ReturnPage
from api.routes.stream import STREAM_EVENTS, Streams
from payonce.domain.answers import encode
from payonce.domain.errors import PaymentError
from payonce.logging import get_logger
from payonce.metrics import REFUSED
from payonce.runtime import Runtime
from workers.inbox import Inbox

_ENDPOINT = "/v1/webhook_endpoints/{id}"
# Documents sent. Clients that ask for hundreds and read none took 10 s from another merchant's payment.
DOCUMENTS: Final = Rate(per_s=50.0, burst=250)
Route = tuple[str, str, Handler, Description]  # its method, path, handler and what the document says of it

log = get_logger(__name__)


def build_app(
    runtime: Runtime,
    admission: Admission,
    probes: Mapping[str, Probe],
    inbox: Inbox,
    start_job: StartJob | None = None,
) -> FastAPI:
    """The API over these collaborators; `probes` ask each dependency whether it is there.

    `start_job` hands a job with deliveries over; without it the relay's sweep starts them.
    """
    app = FastAPI(title="payonce", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.feed = feed = Feed(runtime)
    rates = Rates(runtime.redis, runtime.settings)
    front = Front(runtime, admission, rates)
    app.state.health = health = Health(probes, {"connections_stuck": runtime.database.is_stuck})
    keyed = _routes(front, Deliveries(front, start_job), feed)
    routes = [(method, path, front.keyed(handler), of) for method, path, handler, of in keyed]
    for method, path, handler, of in routes + _routes_without_key(runtime, inbox, rates, health):
        app.add_api_route(path, handler, methods=[method], **of.for_fastapi())
    _add_documents(app)
    app.add_exception_handler(PaymentError, _answer_payment_error)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_middleware(Envelope, passages=Passages(slow_s=runtime.settings.own_time_target_ms / 1000))
    return app


def about_to_end(app: FastAPI) -> None:
    """Balancers send nothing more, and nobody follows events any longer."""
    app.state.health.stop()
    app.state.feed.close()


def _routes(front: Front, deliveries: Deliveries, feed: Feed) -> list[Route]:
    payments, refunds, events, endpoints = Payments(front), Refunds(front), Events(front), Endpoints(front)
    disputes = Disputes(front)
    reconciliations = Reconciliations(front)
    methods = PaymentMethods(front)
    return [
        ("POST", "/v1/payments", payments.create, operations.CREATE_PAYMENT),
        ("GET", "/v1/payments", payments.list, operations.LIST_PAYMENTS),
        ("GET", "/v1/payments/{id}", payments.show, operations.GET_PAYMENT),
        ("POST", "/v1/payments/{id}/capture", payments.capture, operations.CAPTURE_PAYMENT),
        ("POST", "/v1/payments/{id}/void", payments.void, operations.VOID_PAYMENT),
        ("GET", "/v1/payments/{id}/events", payments.timeline, operations.LIST_PAYMENT_EVENTS),
        ("GET", "/v1/payments/{id}/attempts", Attempts(front).list, operations.LIST_PAYMENT_ATTEMPTS),
        ("GET", "/v1/payments/{id}/receipt", Receipts(front).show, operations.GET_RECEIPT),
        ("POST", "/v1/payments/{id}/refunds", refunds.create, operations.CREATE_REFUND),
        ("GET", "/v1/payments/{id}/refunds", refunds.list_of_payment, operations.LIST_PAYMENT_REFUNDS),
        ("GET", "/v1/refunds", refunds.list, operations.LIST_REFUNDS),
        ("GET", "/v1/refunds/{id}", refunds.show, operations.GET_REFUND),
        ("GET", "/v1/disputes", disputes.list, LIST_DISPUTES),
        ("GET", "/v1/disputes/{id}", disputes.show, GET_DISPUTE),
        ("POST", "/v1/disputes/{id}/accept", disputes.accept, ACCEPT_DISPUTE),
        ("GET", "/v1/reconciliation", reconciliations.list, LIST_RECONCILIATIONS),
        ("POST", "/v1/payment_methods", methods.create, saved.CREATE_PAYMENT_METHOD),
        ("GET", "/v1/payment_methods", methods.list, saved.LIST_PAYMENT_METHODS),
        ("GET", "/v1/payment_methods/{id}", methods.show, saved.GET_PAYMENT_METHOD),
        ("DELETE", "/v1/payment_methods/{id}", methods.delete, saved.DELETE_PAYMENT_METHOD),
        ("GET", "/v1/events", events.list, operations.LIST_EVENTS),
        ("GET", "/v1/events/stream", Streams(front, feed).open, STREAM_EVENTS),
        ("GET", "/v1/events/{id}", events.show, operations.GET_EVENT),
        ("POST", "/v1/events/{id}/redeliver", deliveries.redeliver, operations.REDELIVER_EVENT),
        ("POST", "/v1/webhook_endpoints", endpoints.create, webhooks.CREATE_ENDPOINT),
        ("GET", "/v1/webhook_endpoints", endpoints.list, webhooks.LIST_ENDPOINTS),
        ("GET", "/v1/webhook_endpoints/{id}", endpoints.show, webhooks.GET_ENDPOINT),
        ("PATCH", "/v1/webhook_endpoints/{id}", endpoints.update, webhooks.UPDATE_ENDPOINT),
        ("DELETE", "/v1/webhook_endpoints/{id}", endpoints.delete, webhooks.DELETE_ENDPOINT),
        ("POST", f"{_ENDPOINT}/rotate_secret", endpoints.rotate_secret, webhooks.ROTATE_SECRET),
        ("POST", f"{_ENDPOINT}/ping", deliveries.ping, webhooks.PING_ENDPOINT),
        ("GET", f"{_ENDPOINT}/deliveries", deliveries.list, webhooks.LIST_DELIVERIES),
        ("POST", f"{_ENDPOINT}/recover", deliveries.recover, webhooks.RECOVER_ENDPOINT),
        ("POST", f"{_ENDPOINT}/replay", deliveries.replay, webhooks.REPLAY_ENDPOINT),
        ("GET", "/v1/webhook_jobs/{id}", deliveries.job, webhooks.GET_JOB),
    ]


def _routes_without_key(runtime: Runtime, inbox: Inbox, rates: Rates, health: Health) -> list[Route]:
    """For balancers, acquirers (known by a signature) and customers (who know the payment's id or a token)."""
    receive = Callbacks(runtime, inbox, rates).receive
    returns = ReturnPage(runtime, inbox)
    of_account = "/v1/connectors/{name}/{account}/callbacks"
    return [
        ("POST", "/v1/connectors/{name}/callbacks", receive, operations.RECEIVE_CALLBACK),
        ("POST", of_account, receive, operations.RECEIVE_CALLBACK_OF_ACCOUNT),
        ("GET", "/v1/payments/{id}/qr", Codes(runtime).show, operations.SHOW_QR_CODE),
        ("GET", "/v1/returns/{token}", returns.show, operations.SHOW_RETURN),
        ("POST", "/v1/returns/{token}", returns.receive, operations.RECEIVE_RETURN),
        ("GET", "/livez", health.livez, operations.LIVEZ),
        ("GET", "/readyz", health.readyz, operations.READYZ),
    ]


def _add_documents(app: FastAPI) -> None:
    """`/openapi.json` and `/docs`, made when they are first asked for, and sent so often and no more."""
    sent = Bucket(DOCUMENTS, now=time.monotonic())
    described = cache(partial(document, app))
    for_programs = cache(lambda: Made.of(encode(described()), media_type=JSON))
    for_people = cache(lambda: Made.of(page(described()).encode(), media_type="text/html"))

    def answer(request: Request, made: Made, headers: Mapping[str, str]) -> Response:
        if not made.is_known_to(request) and (wait_s := sent.take(time.monotonic())):
            REFUSED.labels("document").inc()
            raise TooManyRequests(retry_after_s=wait_s)
        return made.answer(request, headers)

    async def openapi(request: Request) -> Response:
        return answer(request, for_programs(), {})

    async def docs(request: Request) -> Response:
        return answer(request, for_people(), _DOCS_HEADERS)

    app.add_api_route("/openapi.json", openapi, include_in_schema=False)
    app.add_api_route("/docs", docs, include_in_schema=False)


_DOCS_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


async def _answer_payment_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PaymentError)
    problem = problem_of(error)
    if problem.status >= internal_problem().status:
        log.warning("request_not_served", code=problem.problem_code, error=type(error).__name__)
    return render(problem, request_id=request.state.request_id)


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    """No such route, or not with this method."""
    assert isinstance(error, HTTPException)
    allowed = _allowed_methods(request)
    if not allowed:
        problem = Problem("not_found", "There is nothing at this path.")
    elif request.method == "OPTIONS":
        return Response(status_code=NO_CONTENT, headers={"Allow": allowed})
    else:
        detail = f"This path takes {allowed}."
        problem = Problem("method_not_allowed", detail, headers={"Allow": allowed})
    return render(problem, request_id=request.state.request_id)


def _allowed_methods(request: Request) -> str:
    """Every method that the path takes (RFC 9110 §10.2.1): one path may have several routes."""
    scope = {**request.scope, "path_params": {}}
    methods: set[str] = set()
    for route in request.app.routes:
        if route.matches(scope)[0] is not Match.NONE:
            methods |= route.methods
    if "GET" in methods:
        methods.add("HEAD")
    return ", ".join(sorted({*methods, "OPTIONS"})) if methods else ""
