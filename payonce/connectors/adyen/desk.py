"""Adyen at one account: how requests are made, and what an answer that is none of theirs means.

Source: docs.adyen.com/development-resources/error-codes, /api-idempotency and /response-handling. Read, not tried.
"""

from typing import Final, NoReturn

import structlog
from pydantic import BaseModel

from payonce.connectors.adyen import codes
from payonce.connectors.adyen.answers import AdyenProblem
from payonce.connectors.base import ConnectorAccount
from payonce.connectors.http import AcquirerHttp, AcquirerResponse, Documented, HttpRequest
from payonce.connectors.keys import Purpose, UpstreamKeys
from payonce.domain.errors import OutcomeUnknown, Rejected
from payonce.domain.facts import Refused

log = structlog.get_logger(__name__)

VERSION: Final = "v72"
KEY_LENGTH: Final = 64  # all that Adyen takes
_ERRORS: Final = frozenset({400, 401, 403, 404, 409, 422})
_TRANSIENT: Final = "transient-error"
_DOCUMENTED: Final = Documented(answers=_ERRORS, headers=frozenset({_TRANSIENT}))


class AdyenDesk:
    """Requests to one account, and how its answers fail."""

    def __init__(self, account: ConnectorAccount, *, call_deadline_s: float) -> None:
        self._keys = UpstreamKeys.of(account)
        self.http = AcquirerHttp(
            base_url=account.base_url,
            headers={"X-API-Key": account.key},
            call_deadline_s=call_deadline_s,
            documented=_DOCUMENTED,
        )

    def post(self, path: str, body: BaseModel, *, reference: str, purpose: Purpose) -> HttpRequest:
        """A request under the attempt's own key for this purpose."""
        key = self._keys.key(reference, purpose, length=KEY_LENGTH)
        return HttpRequest(path=f"/{VERSION}{path}", json=body, headers={"Idempotency-Key": key})


def problem(response: AcquirerResponse) -> AdyenProblem:
    """What an error says. Raises `OutcomeUnknown` where it says nothing that can be read."""
    return response.read(AdyenProblem)


def undecided(response: AcquirerResponse, error: AdyenProblem) -> bool:
    """Whether the error says nothing of what became of the request: it is under way, or was done before."""
    return response.headers.get(_TRANSIENT) == "true" or error.code in codes.UNDECIDED


def refused(response: AcquirerResponse, *, reference: str, operation: str) -> Refused:
    """The money call was turned down for its data, for ever. Raises where it was not: see `not_moved`."""
    error = problem(response)
    pointer = codes.refused(error.code)
    if response.status not in (400, 422) or pointer is None or undecided(response, error):
        not_moved(response, error, reference=reference)
    log.warning("acquirer_refused", operation=operation, reference=reference, code=error.code)
    return Refused(error.code or "", pointer or None)


def not_moved(response: AcquirerResponse, error: AdyenProblem, *, reference: str) -> NoReturn:
    """Raises what an error of the money call is: only what is about our own account is not unknown."""
    _alert(response, error, reference=reference)
    said = _said(response, error)
    if ours_to_mend(response, error) and not undecided(response, error):
        raise Rejected(said)
    raise OutcomeUnknown(said)


def asked_in_vain(response: AcquirerResponse, *, reference: str) -> NoReturn:
    """Raises what an error of a reversal is: no fact about what was to be undone."""
    error = problem(response)
    _alert(response, error, reference=reference)
    raise OutcomeUnknown(_said(response, error))


def ours_to_mend(response: AcquirerResponse, error: AdyenProblem) -> bool:
    """Whether it is about our key or account, and not about the payment."""
    return response.status in (401, 403) or (response.status == 422 and error.code in codes.REJECTED)


def _said(response: AcquirerResponse, error: AdyenProblem) -> str:
    return f"HTTP {response.status} {error.code or error.type or ''}".rstrip()


def _alert(response: AcquirerResponse, error: AdyenProblem, *, reference: str) -> None:
    """What a person must look at is logged as an error; Adyen's own reference helps its support."""
    said = {
        "reference": reference,
        "status": response.status,
        "code": error.code,
        "type": error.type,
        "psp": error.psp,
    }
    if ours_to_mend(response, error):
        log.error("acquirer_credentials_refused", **said)
    else:
        log.warning("acquirer_error", **said)
