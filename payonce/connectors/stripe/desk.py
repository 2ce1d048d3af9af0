"""Stripe at one account: how requests are made, and what an answer that is no object of theirs means.

Source: docs.stripe.com/api/errors, /api/idempotent_requests and /error-low-level. Read, not tried.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import replace
from typing import Final, TypeVar

import structlog
from pydantic import BaseModel

from payonce.connectors.base import ConnectorAccount
from payonce.connectors.http import (
    AcquirerHttp,
    AcquirerResponse,
    Documented,
    HttpRequest,
    retry_after_s,
)
from payonce.connectors.keys import Purpose, UpstreamKeys
from payonce.connectors.requests import FormValue
from payonce.connectors.stripe import codes
from payonce.connectors.stripe.objects import (
    PAGE,
    VERSION,
    ErrorBody,
    IntentList,
    RefundList,
    StripeProblem,
)
from payonce.domain.errors import NotSent, OutcomeUnknown, RateLimited, Rejected, UnknownThere

log = structlog.get_logger(__name__)

PAGES_MAX: Final = 100
ASKING_S_MAX: Final = 25.0  # of a whole inquiry or reversal, lists included
KEY_LENGTH: Final = 40  # of at most 255
_MISSING: Final = "resource_missing"
_DOCUMENTED: Final = Documented(
    answers=frozenset({400, 401, 402, 403, 404, 409, 429}), headers=frozenset({"retry-after", "request-id"})
)
_FAILED_KEY: Final = "idempotency_error"

T = TypeVar("T")
Model = TypeVar("Model", bound=BaseModel)
List = TypeVar("List", IntentList, RefundList)


class StripeDesk:
    """Requests to one account, and how its answers fail."""

    def __init__(self, account: ConnectorAccount, *, call_deadline_s: float) -> None:
        self.live = account.mode == "live"
        self._keys = UpstreamKeys.of(account)
        self.http = AcquirerHttp(
            base_url=account.base_url,
            headers={"Authorization": f"Bearer {account.key}", "Stripe-Version": VERSION},
            call_deadline_s=call_deadline_s,
            documented=_DOCUMENTED,
        )

    def post(
        self, path: str, form: Mapping[str, FormValue], *, reference: str, purpose: Purpose
    ) -> HttpRequest:
        """A request under the attempt's own key for this purpose."""
        key = self._keys.key(reference, purpose, length=KEY_LENGTH)
        return HttpRequest(path=path, form=form, headers={"Idempotency-Key": key})

    async def ask(self, request: HttpRequest, model: type[Model], *, reference: str) -> Model:
        """What a request that moves nothing, or may be repeated, was answered. Raises the `ConnectorError`s."""
        response = await self.http.call(request, may_send=None)
        if response.status >= 400:
            raise asked_in_vain(response, reference=reference)
        return response.read(model)

    @staticmethod
    def longer(bytes_max: int) -> Documented:
        """What an answer may be where it is longer than what is asked otherwise."""
        return replace(_DOCUMENTED, bytes_max=bytes_max)

    async def page(
        self, path: str, model: type[Model], query: Mapping[str, FormValue], *, bytes_max: int
    ) -> Model:
        """One page, or one object, that may be longer than what is asked otherwise. Raises as `ask`."""
        request = HttpRequest(method="GET", path=path, query=query, documented=self.longer(bytes_max))
        return await self.ask(request, model, reference=path)

    async def pages(
        self, path: str, model: type[List], query: Mapping[str, FormValue], *, reference: str
    ) -> AsyncIterator[List]:
        """A list to its last page. Raises `OutcomeUnknown` for one that is longer than can be read."""
        after: str | None = None
        for _ in range(PAGES_MAX):
            asked = HttpRequest(
                method="GET", path=path, query={**query, "limit": PAGE, "starting_after": after}
            )
            page = await self.ask(asked, model, reference=reference)
            yield page
            if not page.has_more:
                return
            if not page.data or page.data[-1].id == after:
                raise OutcomeUnknown("a list that does not go on")
            after = page.data[-1].id
        raise OutcomeUnknown("a list longer than can be read")

    def check_mode(self, livemode: bool) -> None:
        """Raises `OutcomeUnknown` for an object of the other mode."""
        if livemode is not self.live:
            log.error("acquirer_mode_mismatch", live=self.live)
            raise OutcomeUnknown("an object of the other mode")


def problem(response: AcquirerResponse) -> ErrorBody:
    """What an error says. Raises `OutcomeUnknown` where it says nothing that can be read."""
    return response.read(StripeProblem).error


def asked_in_vain(response: AcquirerResponse, *, reference: str) -> RateLimited | OutcomeUnknown:
    """Of an inquiry, a reversal, a cancellation: an error is no fact about what was asked about."""
    error = problem(response)
    if response.status == 429 and error.code != "lock_timeout":
        return _limited(response)
    _alert(response, error, reference=reference)
    said = f"HTTP {response.status} {error.code or error.type or ''}".rstrip()
    missing = response.status == 404 and error.code == _MISSING
    return UnknownThere(said) if missing else OutcomeUnknown(said)


def not_prepared(response: AcquirerResponse, *, reference: str) -> NotSent | Rejected | RateLimited:
    """Of a call before the money call: nothing can have been charged."""
    try:
        error = problem(response)
    except OutcomeUnknown as unknown:
        return NotSent(f"before the money call: {unknown.message}")
    if response.status == 429 and error.code != "lock_timeout":
        return _limited(response)
    _alert(response, error, reference=reference)
    if ours_to_mend(response, error):
        return Rejected(f"HTTP {response.status} {error.code or ''}".rstrip())
    return NotSent(f"before the money call: HTTP {response.status} {error.code or error.type or ''}".rstrip())


def not_moved(
    response: AcquirerResponse, error: ErrorBody, *, reference: str, object_id: str | None
) -> OutcomeUnknown | Rejected | RateLimited:
    """Of the money call, where the error is no answer: only what Stripe documents as not processed is not unknown."""
    if response.status == 429 and error.code != "lock_timeout":
        return _limited(response)
    _alert(response, error, reference=reference)
    if response.status in (401, 403):
        return Rejected(f"HTTP {response.status} {error.code or ''}".rstrip())
    said = f"HTTP {response.status} {error.code or error.type or ''}".rstrip()
    return OutcomeUnknown(said, connector_reference=object_id)


def ours_to_mend(response: AcquirerResponse, error: ErrorBody) -> bool:
    """Whether it is about our key or account, and not about the payment."""
    return response.status in (401, 403) or error.code in codes.REJECTED


def _limited(response: AcquirerResponse) -> RateLimited:
    return RateLimited(retry_after_s=retry_after_s(response.headers.get("retry-after")))


def _alert(response: AcquirerResponse, error: ErrorBody, *, reference: str) -> None:
    """What a person must look at is logged as an error; Stripe's own id of the request helps its support."""
    said = {
        "reference": reference,
        "status": response.status,
        "code": error.code,
        "type": error.type,
        "request": response.headers.get("request-id"),
    }
    if ours_to_mend(response, error):
        log.error("acquirer_credentials_refused", **said)
    elif error.type == _FAILED_KEY:
        log.error("acquirer_key_used_otherwise", **said)
    else:
        log.warning("acquirer_error", **said)


async def within(asking: Awaitable[T]) -> T:
    """What is asked, within a limit over all its calls. Raises `OutcomeUnknown`."""
    try:
        async with asyncio.timeout(ASKING_S_MAX):
            return await asking
    except TimeoutError:
        raise OutcomeUnknown("timed out") from None
