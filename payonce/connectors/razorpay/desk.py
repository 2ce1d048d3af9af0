"""Razorpay at one account: how requests are made, and what an answer that is no object of theirs means.

Source: razorpay.com/docs/api/authentication, /docs/errors and /docs/api/refunds/normal-refunds-idempotent. Read, not
tried.
"""

import base64
from collections.abc import Mapping
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
from payonce.connectors.keys import UpstreamKeys
from payonce.connectors.razorpay import codes
from payonce.connectors.razorpay.objects import (
    PAGE,
    SHORT,
    RazorpayError,
    RazorpayOrders,
    RazorpayProblem,
    RazorpayRefunds,
)
from payonce.connectors.requests import FormValue
from payonce.domain.errors import NotSent, OutcomeUnknown, RateLimited, Rejected, UnknownThere

log = structlog.get_logger(__name__)

PAGES_MAX: Final = 40
KEY_LENGTH: Final = 40  # of at least 10
_DOCUMENTED: Final = Documented(
    answers=frozenset({400, 401, 403, 404, 409, 429}), headers=frozenset({"retry-after"})
)
_CREDENTIALS: Final = (401, 403)
_NOT_SHOWN: Final = (400, 401, 403, 404)  # asked again, the answer is the same
_MISSING: Final = "the id provided does not exist"  # docs/api/payments/fetch-with-id, "Failure"
_OUR_KEY: Final = ("api key", "authentication failed")  # in a sentence: a wrong key may be answered with 400

Model = TypeVar("Model", bound=BaseModel)
List = TypeVar("List", RazorpayOrders, RazorpayRefunds)


class RazorpayDesk:
    """Requests to one account, and how its answers fail."""

    def __init__(self, account: ConnectorAccount, *, call_deadline_s: float) -> None:
        self._keys = UpstreamKeys.of(account)
        pair = base64.b64encode(account.key.encode()).decode("ascii")
        self.http = AcquirerHttp(
            base_url=account.base_url,
            headers={"Authorization": f"Basic {pair}"},
            call_deadline_s=call_deadline_s,
            documented=_DOCUMENTED,
        )

    def refund(self, path: str, form: BaseModel, *, reference: str) -> HttpRequest:
        """A refund under the attempt's own key: of all calls that move money, only refunds have one."""
        key = self._keys.key(reference, "send", length=KEY_LENGTH)
        return HttpRequest(path=path, json=form, headers={"X-Refund-Idempotency": key})

    async def ask(
        self,
        path: str,
        model: type[Model],
        *,
        reference: str,
        query: Mapping[str, FormValue] | None = None,
        deadline_s: float | None = None,
        bytes_max: int = _DOCUMENTED.bytes_max,
    ) -> Model:
        """What a request that moves nothing was answered. Raises the `ConnectorError`s."""
        documented = replace(_DOCUMENTED, bytes_max=bytes_max)
        request = HttpRequest(method="GET", path=path, query=query or {}, documented=documented)
        response = await self.http.call(request, may_send=None, deadline_s=deadline_s)
        if response.status >= 400:
            raise asked_in_vain(response, reference=reference)
        return response.read(model)

    async def shown(
        self, path: str, model: type[Model], *, reference: str, query: Mapping[str, FormValue], bytes_max: int
    ) -> Model | None:
        """As `ask`; None where this key may not see it, or there is no such thing."""
        documented = replace(_DOCUMENTED, bytes_max=bytes_max)
        request = HttpRequest(method="GET", path=path, query=query, documented=documented)
        response = await self.http.call(request, may_send=None)
        if response.status < 400:
            return response.read(model)
        error = asked_in_vain(response, reference=reference)
        if response.status in _NOT_SHOWN:
            return None
        raise error

    async def all(
        self, path: str, model: type[List], query: Mapping[str, FormValue], *, reference: str
    ) -> list[List]:
        """A list to its last page. Raises `OutcomeUnknown` for one that is longer than can be read."""
        pages: list[List] = []
        read = 0
        for _ in range(PAGES_MAX):
            asked = {**query, "count": PAGE, "skip": read}
            page = await self.ask(path, model, reference=reference, query=asked)
            pages.append(page)
            read += len(page.items)
            if len(page.items) < SHORT:
                return pages
        raise OutcomeUnknown("a list longer than can be read")


def problem(response: AcquirerResponse) -> RazorpayError:
    """What an error says. Raises `OutcomeUnknown` where it says nothing that can be read."""
    return response.read(RazorpayProblem).error


def asked_in_vain(response: AcquirerResponse, *, reference: str) -> RateLimited | OutcomeUnknown:
    """Of an inquiry: an error is no fact about what was asked about."""
    error = problem(response)
    if response.status == 429:
        return _limited(response)
    _alert(response, error, reference=reference)
    missing = response.status == 400 and _MISSING in (error.description or "").lower()
    return (UnknownThere if missing else OutcomeUnknown)(_said(response, error))


def not_prepared(response: AcquirerResponse, *, reference: str) -> NotSent | Rejected | RateLimited:
    """Of a call before the money call: nothing can have been paid."""
    try:
        error = problem(response)
    except OutcomeUnknown as unknown:
        return NotSent(f"before the money call: {unknown.message}")
    if response.status == 429:
        return _limited(response)
    _alert(response, error, reference=reference)
    if ours_to_mend(response, error):
        return Rejected(_said(response, error))
    return NotSent(f"before the money call: {_said(response, error)}")


def not_moved(
    response: AcquirerResponse, error: RazorpayError, *, reference: str, object_id: str | None
) -> OutcomeUnknown | Rejected | RateLimited:
    """Of the money call, where the error is no answer: unknown, but for what is documented as not processed."""
    if response.status == 429:
        return _limited(response)
    _alert(response, error, reference=reference)
    if ours_to_mend(response, error) and error.metadata.payment_id is None:
        return Rejected(_said(response, error))
    return OutcomeUnknown(_said(response, error), connector_reference=object_id)


def ours_to_mend(response: AcquirerResponse, error: RazorpayError) -> bool:
    """Whether it is about our key or account, and not about the payment."""
    sentence = (error.description or "").lower()
    wrong_key = (
        response.status == 400 and any(words in sentence for words in _OUR_KEY) and not _of_payment(error)
    )
    return response.status in _CREDENTIALS or error.reason in codes.REJECTED or wrong_key


def _of_payment(error: RazorpayError) -> bool:
    """Whether a customer's authentication failed, rather than ours."""
    return error.source not in (None, "NA", "business")


def _limited(response: AcquirerResponse) -> RateLimited:
    return RateLimited(retry_after_s=retry_after_s(response.headers.get("retry-after")))


def _said(response: AcquirerResponse, error: RazorpayError) -> str:
    return f"HTTP {response.status} {error.reason or error.code or ''}".rstrip()


def _alert(response: AcquirerResponse, error: RazorpayError, *, reference: str) -> None:
    """What a person must look at is logged as an error."""
    said = {
        "reference": reference,
        "status": response.status,
        "code": error.code,
        "reason": error.reason,
        "source": error.source,
        "step": error.step,
    }
    if ours_to_mend(response, error):
        log.error("acquirer_credentials_refused", **said)
    else:
        log.warning("acquirer_error", **said)
