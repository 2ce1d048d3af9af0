"""Stripe over HTTP: requests with their keys and version, answers read, errors told apart.

Source: docs.stripe.com/api ("Authentication", "Errors", "Idempotent requests", "Versioning"). Read, not tried against
the real service.
"""

from collections.abc import Mapping
from typing import Final, TypeVar

import structlog
from pydantic import BaseModel

from payonce.connectors.base import Call, ConnectorAccount
from payonce.connectors.http import AcquirerHttp, AcquirerResponse, Documented, HttpRequest, segment
from payonce.connectors.keys import Purpose, UpstreamKeys
from payonce.connectors.requests import FormValue
from payonce.connectors.stripe.answers import Intent, IntentError, StripeError, StripeProblem
from payonce.domain.errors import OutcomeUnknown, RateLimited, Rejected

log = structlog.get_logger(__name__)

VERSION: Final = "2026-08-26.dahlia"  # of the API: what is read here is that version's
KEY_LENGTH: Final = 40  # of the 255 that an Idempotency-Key may have
REFERENCE: Final = "payonce_reference"  # in an object's metadata: ours, of the attempt that made it
PAYMENT: Final = "payonce_payment"
MARK: Final = "payonce_c_"  # how the member of the intent begins that a capture of ours leaves there
REVERSAL: Final = "payonce_reversal"  # of a refund: the attempt that it undoes
METADATA_TEXT_MAX: Final = 500
COPIED_MAX: Final = 20  # of the 50 members that metadata may have: captures leave one each
METADATA_NAME_MAX: Final = 40  # characters of a member's name in metadata (docs.stripe.com/api/metadata)
EXPANDED: Final = ("latest_charge",)

_OK, _REFUSED, _DECLINED, _NOT_FOUND = 200, 400, 402, 404
# 401: the key is wrong or revoked; 403: it may not do this; 429: the limiter stands before everything else. Whatever
# else is answered (409 while the key is in use, 424, 5xx) proves nothing.
_ASKED = Documented(
    answers=frozenset({_REFUSED, _DECLINED, _NOT_FOUND}), rejections=frozenset({401, 403, 429})
)

Model = TypeVar("Model", bound=BaseModel)


class StripeWire:
    """One account's requests."""

    def __init__(self, account: ConnectorAccount, *, call_deadline_s: float) -> None:
        self._keys = UpstreamKeys.of(account)
        self._livemode = account.mode == "live"
        self._copies = account.options.get(METADATA, "off") == "on"
        self.several = account.options.get(MULTICAPTURE, "off") == "on"
        self.http = AcquirerHttp(
            base_url=account.base_url,
            headers={"Authorization": f"Bearer {account.secret(SECRET_KEY)}", "Stripe-Version": VERSION},
            call_deadline_s=call_deadline_s,
            documented=_ASKED,
        )

    def keyed(self, path: str, form: Mapping[str, FormValue], call: Call, purpose: Purpose) -> HttpRequest:
        """A POST that is the same request whenever it comes again for this attempt."""
        key = self._keys.key(call.reference, purpose, length=KEY_LENGTH)
        return HttpRequest(path=path, form=form, headers={"Idempotency-Key": key})

    def copied(self, metadata: Mapping[str, str]) -> dict[str, str]:
        """The merchant's metadata, where the account says so, as far as Stripe takes it: no name of ours, no more."""
        if not self._copies:
            return {}
        fits = {
            name: text
            for name, text in metadata.items()
            if len(name) <= METADATA_NAME_MAX
            and len(text) <= METADATA_TEXT_MAX
            and not name.startswith("payonce_")
        }
        return dict(list(fits.items())[:COPIED_MAX])

    def own(self, intent: Intent, call: Call) -> Intent:
        """The intent, once it is known to be the payment's. Raises `OutcomeUnknown` for another one."""
        same = intent.metadata.get(PAYMENT) == call.payment_id
        if not same or intent.livemode is not self._livemode or intent.currency != call.currency.lower():
            raise OutcomeUnknown("an answer to another request", connector_reference=call.attempt_reference)
        return intent

    async def ask(self, request: HttpRequest) -> AcquirerResponse:
        """The answer to what moves nothing, or may be repeated. Raises `OutcomeUnknown` and `NotSent`.

        A key that is refused here says nothing of what is asked about: that is for an operator to see.
        """
        try:
            return await self.http.call(request, may_send=None)
        except (Rejected, RateLimited) as refused:
            log.error("stripe_inquiry_rejected", error=refused.code)
            raise OutcomeUnknown(f"the question was not answered: {refused.code}") from None

    async def get(
        self, path: str, model: type[Model], query: Mapping[str, FormValue] | None = None
    ) -> Model | None:
        """The object, or None where Stripe has none of that id. Raises `OutcomeUnknown` for all else."""
        response = await self.ask(HttpRequest(method="GET", path=path, query=query or {}))
        if response.status == _OK:
            return response.read(model)
        if response.status == _NOT_FOUND and problem(response).code == "resource_missing":
            return None
        raise OutcomeUnknown(f"HTTP {response.status}")


METADATA: Final = "metadata"  # an option: whether merchants' metadata goes to Stripe
MULTICAPTURE: Final = "multicapture"  # an option: several captures of one payment
SECRET_KEY: Final = "secret_key"  # noqa: S105 -- the name of a secret
WEBHOOK_SECRET: Final = "webhook_secret"  # noqa: S105 -- the name of a secret


def mark_of(call: Call) -> str:
    """The member of the intent's metadata that says that this capture was made."""
    return MARK + call.reference[len(MARK) - METADATA_NAME_MAX :]


def intent_path(id_: str, action: str = "") -> str:
    """Of an intent, or of what is done to it."""
    return f"/v1/payment_intents/{segment(id_)}{action}"


def problem(response: AcquirerResponse) -> IntentError:
    """The error of an answer that is not 200. Raises `OutcomeUnknown` where it holds none."""
    return response.read(StripeProblem).error


def is_ok(response: AcquirerResponse) -> bool:
    """Whether the answer is the object itself. Stripe's successes are 200 and nothing else."""
    if response.status == _OK:
        return True
    if response.status in (_REFUSED, _DECLINED, _NOT_FOUND):
        return False
    raise OutcomeUnknown(f"HTTP {response.status}")


def is_decline(response: AcquirerResponse, error: StripeError) -> bool:
    """Whether the issuer, or Stripe for it, said no: a `card_error`, which comes with 402 alone."""
    return response.status == _DECLINED and error.type == "card_error"
