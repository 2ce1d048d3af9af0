"""The page to which acquirers send customers back: `/v1/returns/{token}`, without an API key.

What the browser says is not believed. It makes us ask the acquirer, whose word is waited for a moment; then the
customer is sent on to the merchant.
"""

from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from api.http import return_html
from api.http.bodies import read_bytes
from api.http.lookups import Lookups
from api.http.rate_limits import Buckets, Rate, TooManyRequests
from api.http.targets import PARAMETERS_MAX
from api.problems import Problem
from payonce.domain.payment import PaymentStatus
from payonce.domain.returning import sent_on
from payonce.logging import get_logger
from payonce.metrics import REFUSED, RETURNS
from payonce.returns import Returns, Visit
from payonce.runtime import Runtime
from payonce.storage.driver.database import CommitUnknown, StorageUnavailable, within
from workers.inbox import Inbox

FORM_BYTES_MAX: Final = 16 * 1024
FIND_WITHIN_S: Final = 1.0
TAKE_WITHIN_S: Final = 2.5
OUTCOME_WITHIN_S: Final = 5.0  # every request is answered within 10 s
WAITING_MAX: Final = 200  # customers who wait in one process; one more is sent on at once
OF_ADDRESS: Final = Rate(per_s=50.0, burst=200)  # behind a proxy all customers have its address
OF_TOKEN: Final = Rate(per_s=1.0, burst=20)
REMEMBERED_MAX: Final = 10_000
SEE_OTHER: Final = 303
_AGAIN_S: Final = 30
_AHEAD: Final = {
    "sec-purpose": "prefetch",
    "purpose": "prefetch",
    "x-purpose": "preview",
    "x-moz": "prefetch",
}

log = get_logger(__name__)


class ReturnPage:
    """The handlers of `/v1/returns/{token}`."""

    def __init__(self, runtime: Runtime, inbox: Inbox) -> None:
        self._runtime = runtime
        self._inbox = inbox
        self._returns = Returns(
            runtime.database,
            runtime.recorder,
            runtime.accounts,
            runtime.wakeups,
            sealer=runtime.sealer,
            secret=runtime.settings.secret_for("returns"),
        )
        self._lookups = Lookups()
        self._of_address = Buckets(OF_ADDRESS, most=REMEMBERED_MAX)
        self._of_token = Buckets(OF_TOKEN, most=REMEMBERED_MAX)
        self._waiting = 0

    async def show(self, request: Request) -> Response:
        """The customer came by GET. A HEAD, and what a browser fetches ahead of time, is nobody's return."""
        if refusal := self._refused(request):
            return refusal
        if _is_ahead(request):
            RETURNS.labels("ahead").inc()
            return return_html.ahead_of_time()
        return await self._answered(request, b"")

    async def receive(self, request: Request) -> Response:
        """The customer was sent by a form."""
        if refusal := self._refused(request):
            return refusal
        try:
            body = await read_bytes(request, most=FORM_BYTES_MAX)
        except Problem as problem:
            if problem.problem_code == "body_too_large":
                return return_html.too_large()
            return return_html.too_late()
        is_form = (
            request.headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded")
        )
        return await self._answered(request, body if is_form else b"")

    def _refused(self, request: Request) -> Response | None:
        """What is answered without a look at Postgres: a token that is not ours, and too many requests."""
        token: str = request.path_params["token"]
        if not self._runtime.ids.made_return_token(token):
            RETURNS.labels("unknown").inc()
            return return_html.unknown()
        address = request.client.host if request.client is not None else ""
        wait_s = self._of_token.take(token) or self._of_address.take(address)
        return _limited(wait_s) if wait_s else None

    async def _answered(self, request: Request, form: bytes) -> Response:
        pairs = _pairs(request.scope["query_string"]) + _pairs(form)
        try:
            async with self._lookups.one():
                found = await within(FIND_WITHIN_S, self._returns.find(request.path_params["token"]))
            if found is None:
                RETURNS.labels("unknown").inc()
                return return_html.unknown()
            visit, taken = await within(TAKE_WITHIN_S, self._returns.take(found, pairs))
        except TooManyRequests as error:
            return _limited(error.retry_after_s)
        except (StorageUnavailable, CommitUnknown) as error:  # a recording under way goes on without us
            log.warning("return_not_taken", error=error.code)
            return return_html.away(retry_after_s=_AGAIN_S)
        if taken is not None:
            self._inbox.hear(taken)
        return await self._sent_on(visit)

    async def _sent_on(self, visit: Visit) -> Response:
        """To the merchant's page, or to our own words: once there is an outcome, or nobody waits any longer.

        Or to the acquirer's next page, where it wants them since they came. Whoever was sent there before is not sent
        there again, so nobody goes in circles.
        """
        waits = visit.waits and self._waiting < WAITING_MAX
        self._waiting += waits
        try:
            found = await self._returns.outcome(visit, within_s=OUTCOME_WITHIN_S if waits else 0.0)
        finally:
            self._waiting -= waits
        payment = found.payment
        if (further := visit.further(payment)) is not None:
            return _see_other(further)
        if payment.return_url is None:
            return return_html.of_status(payment.status if found.proven else PaymentStatus.PROCESSING)
        return _see_other(sent_on(payment.return_url, payment_id=payment.id))


def _see_other(location: str) -> Response:
    return Response(status_code=SEE_OTHER, headers={**return_html.HEADERS, "Location": location})


def _limited(wait_s: float) -> Response:
    REFUSED.labels("return").inc()
    return return_html.too_many(retry_after_s=max(1, round(wait_s + 0.5)))


def _is_ahead(request: Request) -> bool:
    said = ((name, request.headers.get(name, "").lower()) for name in _AHEAD)
    return request.state.without_content or any(_AHEAD[name] in value for name, value in said)


def _pairs(encoded: bytes) -> list[tuple[str, str]]:
    """The parameters of a query or a form; none of one that has too many. Whatever is not UTF-8 is replaced."""
    try:
        return parse_qsl(
            encoded.decode("ascii", "replace"), keep_blank_values=True, max_num_fields=PARAMETERS_MAX
        )
    except ValueError:
        return []
