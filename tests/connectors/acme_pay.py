"""A third connector in one file, written from `docs/add-a-connector.md` alone: a wallet with a page of its own."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, ValidationError

from payonce.connectors.base import Call, Callback, Capabilities, ConnectorAccount, MaySend
from payonce.connectors.http import AcquirerHttp, AcquirerResponse, Documented
from payonce.domain.errors import CallbackInvalid, OutcomeUnknown, Rejected
from payonce.domain.facts import (
    ActionRequired,
    Approved,
    Cancellation,
    Cancelled,
    DeclineCode,
    Declined,
    EndsItself,
    Inquiry,
    NotKnown,
    Pending,
    Reply,
    Reversed,
    Stage,
)
from payonce.domain.operations import OperationKind
from payonce.domain.schedules import CUSTOMER_INQUIRIES, UNKNOWN_ACCOUNT_INQUIRIES


class _Body(BaseModel):
    """Whatever this acquirer takes."""

    reference: str
    payment_reference: str
    amount: int | None = None
    currency: str | None = None
    provider: str | None = None
    window_s: int | None = None
    callback_url: str | None = None
    authorization: str | None = None
    original_reference: str | None = None
    faults: list[str] | None = None
    fault_scope: str | None = None


class _Answer(BaseModel):
    id: str
    reference: str
    status: str
    amount: int
    currency: str
    stage: str | None = None
    expires_at: AwareDatetime | None = None


class _Cancellation(BaseModel):
    status: str


class _Told(BaseModel):
    id: str
    reference: str


class AcmePay:
    """Acme's wallet at one account. Account option: `window_s`."""

    name = "acme_pay"

    def __init__(self, account: ConnectorAccount) -> None:
        self.capabilities = Capabilities(
            methods=frozenset({"wallet.phonepe"}),
            call_deadline_s=float(account.options.get("call_deadline_s", 10)),
            finality_s=10,
            inquiry=UNKNOWN_ACCOUNT_INQUIRIES,
            reversal_by_reference=True,
            currencies=frozenset({"INR"}),
            capture_methods=frozenset({"automatic"}),
            split_capture=False,
            captures_itself=True,
            needs_action=True,
            challenge_ends="cancelled",
            action_inquiry=CUSTOMER_INQUIRIES,
            callbacks=True,
            data_in_memory=False,
        )
        self._account = account
        self._http = AcquirerHttp(
            base_url=account.base_url,
            headers={"Authorization": f"Bearer {account.key}"},
            call_deadline_s=self.capabilities.call_deadline_s,
            documented=Documented(answers=frozenset({404}), rejections=frozenset({400, 401, 429})),
        )

    async def send(self, call: Call, *, may_send: MaySend) -> Reply:
        match call.kind:
            case OperationKind.AUTHORIZE:
                path, more = "/wallets/payments", self._asked(call)
            case OperationKind.REFUND:
                path, more = "/refunds", {"authorization": call.authorization_reference}
            case _:
                raise Rejected(f"{call.kind} does not exist here")
        body = _Body(**_common(call), amount=call.amount_minor, currency=call.currency, **more)
        outcome = self._outcome(await self._http.post(path, body, may_send=may_send), call)
        return Pending() if isinstance(outcome, NotKnown | Reversed) else outcome

    async def inquire(self, call: Call) -> Inquiry:
        return self._outcome(await self._http.post("/inquiries", _Body(**_common(call)), may_send=None), call)

    async def reverse(self, call: Call) -> Reversed:
        common = _common(call) | {"reference": f"{call.reference}-undo"}
        body = _Body(**common, original_reference=call.reference)
        if (await self._http.post("/reversals", body, may_send=None)).status == 404:
            raise OutcomeUnknown("HTTP 404")
        return Reversed()

    async def cancel(self, call: Call) -> Cancellation:
        common = _common(call) | {"reference": f"{call.reference}-cancel"}
        body = _Body(**common, original_reference=call.reference)
        response = await self._http.post("/cancellations", body, may_send=None)
        if response.status == 404:
            return NotKnown()
        match response.read(_Cancellation).status:
            case "cancelled":
                return Cancelled()
            case "not_cancellable":
                return EndsItself()
            case _:
                return Pending()

    def read_callback(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Callback:
        at, _, mac = headers.get("acquirer-signature", "").removeprefix("t=").partition(",v1=")
        expected = hmac.new(self._account.key.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(mac.encode(), expected.encode()) or abs(now.timestamp() - int(at)) > 300:
            raise CallbackInvalid
        try:
            told = _Told.model_validate_json(body)
        except ValidationError:
            raise CallbackInvalid from None
        return Callback(told.id, told.reference)

    async def close(self) -> None:
        await self._http.close()

    def _asked(self, call: Call) -> dict[str, Any]:
        return {
            "provider": call.payment_method["wallet"]["provider"],
            "window_s": int(self._account.options.get("window_s", 120)),
            "callback_url": self._account.callback_url,
        }

    def _outcome(self, response: AcquirerResponse, call: Call) -> Reply | NotKnown | Reversed:
        if response.status == 404:
            return NotKnown()
        answer = response.read(_Answer)
        if answer.reference != call.reference:
            raise OutcomeUnknown("an answer to another request")
        match answer.status:
            case "approved":
                stage = None if answer.stage is None else Stage(answer.stage)
                return Approved(answer.id, answer.amount, answer.currency, stage=stage)
            case "declined":
                return Declined(DeclineCode.GENERIC_DECLINE, answer.id)
            case "reversed":
                return Reversed()
            case "pending" if answer.expires_at is not None:
                page = f"{self._account.base_url}/wallet/{call.payment_id}"
                return ActionRequired(answer.id, {"type": "redirect", "url": page}, answer.expires_at)
            case _:
                return Pending(answer.id)


def _common(call: Call) -> dict[str, Any]:
    common: dict[str, Any] = {"reference": call.reference, "payment_reference": call.payment_id}
    if fault := call.metadata.get("sandbox_fault"):  # Acme's own sandbox makes faults like this
        common |= {"faults": [fault], "fault_scope": call.payment_id}
    return common
