"""A connector to an acquirer that cannot be asked: what it did is known by sending the same again, or by callback."""

import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from payonce.connectors.base import Call, Callback, Capabilities, ConnectorAccount, MaySend, body_id
from payonce.connectors.http import AcquirerHttp, Documented, HttpRequest
from payonce.connectors.keys import UpstreamKeys
from payonce.domain.errors import CallbackInvalid, OutcomeUnknown, Rejected
from payonce.domain.evidence import Evidence
from payonce.domain.facts import (
    Accepted,
    Approved,
    DeclineCode,
    Declined,
    Foreign,
    Inquiry,
    Pending,
    Refused,
    Reply,
    Reversed,
    Stage,
    Told,
    Undone,
)
from payonce.domain.operations import OperationKind
from payonce.domain.schedules import UNKNOWN_ACCOUNT_INQUIRIES
from payonce.domain.truth import Truth
from tests.connectors.ferry_acquirer import signature

K = OperationKind
_PATHS: Final = {K.AUTHORIZE: "/payments", K.CAPTURE: "/captures", K.VOID: "/voids", K.REFUND: "/refunds"}
_READ = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)
HOUR_S, DAY_S = 3_600.0, 86_400.0


class _Body(BaseModel):
    reference: str
    payment: str
    amount: int
    currency: str
    original: str | None = None
    card: str | None = Field(default=None, repr=False)
    automatic: bool = False
    fault: str | None = None


class _Answer(BaseModel):
    model_config = _READ
    psp: str
    reference: str
    amount: int
    currency: str
    result: str
    captured: bool = False
    code: str | None = None


class _Item(BaseModel):
    """A callback: `reason` and `additional` are not signed."""

    model_config = _READ
    psp: str
    reference: str
    amount: int
    currency: str
    event: str
    success: bool
    signature: str
    reason: str = ""
    additional: dict[str, str] = Field(default_factory=dict)


class FerryPay:
    """Ferry at one account. Captures and refunds are sent again where the answer was lost; voids are told alone."""

    name = "ferry_pay"

    def __init__(self, account: ConnectorAccount) -> None:
        self.capabilities = Capabilities(
            methods=frozenset({"card"}),
            call_deadline_s=float(account.options.get("call_deadline_s", 10)),
            finality_s=10,
            inquiry=UNKNOWN_ACCOUNT_INQUIRIES,
            reversal_by_reference=False,
            truth={
                K.AUTHORIZE: Truth.REPLAY,
                K.CAPTURE: Truth.REPLAY,
                K.REFUND: Truth.REPLAY,
                K.VOID: Truth.CALLBACK,
            },
            idempotent_replay_s=31 * DAY_S,
            callback_within_s={
                K.AUTHORIZE: HOUR_S,
                K.CAPTURE: 3 * DAY_S,
                K.REFUND: 10 * DAY_S,
                K.VOID: HOUR_S,
            },
            callbacks=True,
        )
        self._secret = account.key.encode()
        self._keys = UpstreamKeys.of(account)
        self._http = AcquirerHttp(
            base_url=account.base_url,
            headers={"X-API-Key": account.key},
            call_deadline_s=self.capabilities.call_deadline_s,
            documented=Documented(rejections=frozenset({401, 403})),
        )

    async def send(self, call: Call, *, may_send: MaySend) -> Reply:
        request = HttpRequest(
            path=_PATHS[call.kind],
            json=_body(call),
            headers={"Idempotency-Key": self._keys.key(call.reference, "send")},
        )
        answer = (await self._http.call(request, may_send=may_send)).read(_Answer)
        if answer.reference != call.reference:
            raise OutcomeUnknown("an answer to another request")
        match answer.result:
            case "authorised":
                stage = Stage.CAPTURED if answer.captured else Stage.AUTHORIZED
                return Approved(answer.psp, answer.amount, answer.currency, stage=stage)
            case "refused":
                return Declined(DeclineCode.GENERIC_DECLINE, answer.psp)
            case "received":
                return Accepted(answer.psp)
            case "invalid" if answer.code is not None:
                return Refused(answer.code)
            case _:
                return Pending(answer.psp, "unmapped result")

    async def inquire(self, call: Call) -> Inquiry:
        raise Rejected("Ferry answers no questions")

    async def reverse(self, call: Call) -> Reversed:
        raise Rejected("Ferry reverses nothing by our reference")

    def read_callback(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Callback:
        try:
            item = _Item.model_validate_json(body)
        except ValidationError:
            raise CallbackInvalid from None
        texts = (item.psp, item.reference, item.currency, item.event)
        if any(":" in text for text in texts):  # the separator: it could be read in two ways
            raise CallbackInvalid
        expected = signature(self._secret, item.model_dump())
        if not hmac.compare_digest(expected.encode(), item.signature.encode()):
            raise CallbackInvalid
        return Callback(body_id(body), item.reference, _fact(item))

    async def close(self) -> None:
        await self._http.close()


def _body(call: Call) -> _Body:
    return _Body(
        reference=call.reference,
        payment=call.payment_id,
        amount=call.amount_minor,
        currency=call.currency,
        original=call.authorization_reference,
        card=None if call.card is None else call.card.number,
        automatic=call.automatic_capture and call.kind is K.AUTHORIZE,
        fault=call.metadata.get("ferry_fault"),
    )


def _fact(item: _Item) -> Told | None:
    """What the signed members say; the rest is evidence, and says that it is not signed."""
    money = item.amount, item.currency
    unsigned = Evidence(
        scheme=item.additional.get("scheme"),
        authorization_code=item.additional.get("authCode"),
        signed=False,
    )
    match item.event, item.success:
        case "AUTHORISATION_CAPTURED", True:
            return Approved(item.psp, *money, stage=Stage.CAPTURED, evidence=unsigned)
        case "AUTHORISATION", True:
            return Approved(item.psp, *money, stage=Stage.AUTHORIZED, evidence=unsigned)
        case "CAPTURE" | "CANCELLATION" | "REFUND", True:
            return Approved(item.psp, *money)
        case "AUTHORISATION" | "AUTHORISATION_CAPTURED" | "CAPTURE" | "CANCELLATION" | "REFUND", False:
            return Declined(DeclineCode.GENERIC_DECLINE, item.psp, {"reason": item.reason})
        case "CAPTURE_FAILED" | "REFUND_FAILED", True:
            return Undone(item.psp, *money, reason=item.reason)
        case "DASHBOARD_REFUND", True:
            return Foreign(item.psp, "refund", *money)
        case _:
            return None
