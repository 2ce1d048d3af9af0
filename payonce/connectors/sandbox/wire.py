"""The wire of the sandbox acquirer, which its connectors share: one desk for cards, UPI and wallets.

Source: the sandbox acquirer's own description (`devstack/acquirer`) and `api.md`, "Sandbox triggers". It documents
that 400, 401 and 429 mean that nothing was processed; what is answered 400 would be answered so again.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from payonce.connectors import acceptances
from payonce.connectors.base import Call, Callback, ConnectorAccount, MaySend
from payonce.connectors.http import AcquirerHttp, AcquirerResponse, Documented
from payonce.connectors.listing import ChargePage, ListLimits
from payonce.connectors.requests import HttpRequest
from payonce.connectors.sandbox import switches
from payonce.connectors.sandbox.answers import VISIBLE, DisputeAnswer, SandboxAnswer
from payonce.domain.errors import CallbackInvalid, LegInvalid, OutcomeUnknown, Rejected
from payonce.domain.facts import (
    Approved,
    Cancelled,
    DeclineCode,
    Declined,
    Disputed,
    EndsItself,
    NotKnown,
    Pending,
    Refused,
    Reversed,
    Stage,
)
from payonce.domain.operations import OperationKind
from payonce.domain.reconciling import Said, TheirCharge, Totals
from payonce.domain.schedules import InquirySchedule

log = structlog.get_logger(__name__)

CALL_DEADLINE_S: Final = 10.0
FINALITY_S: Final = 10.0
ACTION_INQUIRY: Final = InquirySchedule(
    first_s=(2, 4, 8),
    then_every_s=8,
    review_after_s=24 * 3600,
    slow_every_s=3600,
    give_up_after_s=30 * 24 * 3600,
)
"""While the customer may act: the sandbox's is quick, so that nobody waits for 90 s in a demonstration."""
LATE_INQUIRY: Final = InquirySchedule(
    first_s=(8,), then_every_s=20, review_after_s=60, slow_every_s=60, give_up_after_s=60
)
"""After `expired`: the sandbox changes its mind within seconds."""
CALLBACK_AGE_S_MAX: Final = 300
LIST_PAGE: Final = 100
LIST_LIMITS: Final = ListLimits(lag_s=2.0, pages_per_s=20.0)

_DOCUMENTED = Documented(answers=frozenset({400, 404}), rejections=frozenset({401, 429}))
# 422 is not read: it was processed already, or is being so, and what came of it the answer does not say.
_LEG_DOCUMENTED = Documented(answers=frozenset({400}), rejections=frozenset({401, 429}))
_LIST_DOCUMENTED = Documented(rejections=frozenset({401, 429}), bytes_max=4 * 1024 * 1024)
_REFERENCE_REVERSED: Final = "reference_reversed"  # refused since a reversal came first
POINTER_MAX: Final = 256
_JSON_POINTER: Final = re.compile(r"(?:/(?:~[01]|[!-.0-}]){1,64}){1,16}")  # RFC 6901, of visible characters
_NUMBER: Final = re.compile(r"[0-9]{7}")  # longer than any place in a list: a value, not the name of one
_SIGNATURE: Final = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")
_LOGGED_MAX: Final = 64
TOKEN: Final = "token"  # noqa: S105 - the member of `Approved.token`


class Request(BaseModel):
    """What every request has. A number or `cvc` shows in no repr."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    reference: str
    payment_reference: str
    faults: tuple[str, ...] | None = None
    fault_scope: str | None = None


class SandboxMoney(Request):
    """A request that moves, or holds, an amount."""

    amount: int
    currency: str


class _Undoing(Request):
    """A reversal or a cancellation."""

    original_reference: str


class _OfDispute(Request):
    """An acceptance of a dispute, or a question about it."""

    dispute: str


class _Deletion(BaseModel):
    """A saved card that nobody is to pay with any more."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    reference: str
    token: str = Field(repr=False)


class _DeletionAnswer(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    reference: str
    status: str


class _UndoingAnswer(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    original_reference: str
    status: str


class _Problem(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    error: str
    pointer: str | None = None


class _Charge(BaseModel):
    """A charge as the acquirer lists it; its authorization is the first of its operations."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    id: Annotated[str, Field(pattern=VISIBLE)]
    reference: Annotated[str, Field(pattern=VISIBLE)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    created_at: AwareDatetime
    authorized: Annotated[int, Field(ge=0)]
    captured: Annotated[int, Field(ge=0)]
    refunded: Annotated[int, Field(ge=0)]
    disputed: Annotated[int, Field(ge=0)]
    held: Annotated[int, Field(ge=0)]
    operations: Annotated[list[SandboxAnswer], Field(min_length=1)]

    def listed(self) -> TheirCharge:
        """The charge in our words."""
        return TheirCharge(
            id=self.id,
            reference=self.reference,
            currency=self.currency,
            created_at=self.created_at,
            totals=Totals(
                authorized_minor=self.authorized,
                captured_minor=self.captured,
                refunded_minor=self.refunded,
                disputed_minor=self.disputed,
                held_minor=self.held,
            ),
            said=tuple(_said(answer) for answer in self.operations),
        )


class _Charges(BaseModel):
    """A page of the list."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    charges: list[_Charge]
    next: Annotated[str, Field(pattern=VISIBLE)] | None = None


class _Told(BaseModel):
    """A callback's body."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    id: Annotated[str, Field(pattern=VISIBLE)]
    reference: Annotated[str, Field(pattern=VISIBLE)]


class Desk:
    """The acquirer at one account. Account options: `call_deadline_s`, `finality_s`."""

    def __init__(self, account: ConnectorAccount) -> None:
        self.call_deadline_s = float(account.options.get("call_deadline_s", CALL_DEADLINE_S))
        self.finality_s = float(account.options.get("finality_s", FINALITY_S))
        self._key = account.key.encode()
        self._http = AcquirerHttp(
            base_url=account.base_url,
            headers={"Authorization": f"Bearer {account.key}"},
            call_deadline_s=self.call_deadline_s,
            documented=_DOCUMENTED,
        )

    async def order(
        self, path: str, body: Request, call: Call, *, may_send: MaySend
    ) -> SandboxAnswer | Refused:
        """The answer to one request that may move money; see `Connector.send` for what it raises."""
        response = await self._http.post(path, body, may_send=may_send)
        if response.status == 400:
            return _refused(response, call)
        if response.status == 404:
            raise OutcomeUnknown("HTTP 404")  # documented for inquiries only
        return _own_answer(response, call)

    async def resume(self, body: Request, call: Call, *, may_send: MaySend) -> SandboxAnswer | Refused:
        """The answer to a second leg; see `TwoLegged.resume` for what it raises."""
        request = HttpRequest(path="/resumptions", json=body, documented=_LEG_DOCUMENTED)
        response = await self._http.call(request, may_send=may_send)
        if response.status != 400:
            return _own_answer(response, call)
        if response.read(_Problem).error == "refused":
            return _refused(response, call)
        raise LegInvalid  # its result is not good, or not even well-formed: another one may be

    async def inquire(self, call: Call) -> SandboxAnswer | None:
        """What became of our reference; None where the acquirer does not know it."""
        body = Request(**common(call, operation="inquire"))
        response = await self._http.post("/inquiries", body, may_send=None)
        if response.status == 400:
            raise OutcomeUnknown("HTTP 400")  # of the inquiry: it says nothing of what is asked about
        if response.status != 404:
            return _own_answer(response, call)
        _not_found(response)
        return None

    async def accept(self, call: Call, *, may_send: MaySend) -> Approved | Declined | Refused:
        """The acquirer has our acceptance of the dispute, or says that it does not wait for one."""
        response = await self._http.post(
            "/disputes/acceptances", _of_dispute(call, operation="accept"), may_send=may_send
        )
        if response.status == 400:
            return _refused(response, call)
        said = _dispute(response, call, operation="accept")
        found = acceptances.outcome(call, said)
        if found is not None:
            return found
        return acceptances.too_late(said) if said.status == "under_review" else Refused("not_accepted")

    async def inquire_acceptance(self, call: Call) -> Approved | Declined | NotKnown:
        """What became of our acceptance, by how the dispute stands."""
        body = _of_dispute(call, operation="inquire")
        response = await self._http.post("/disputes/inquiries", body, may_send=None)
        if response.status == 400:
            raise OutcomeUnknown("HTTP 400")
        return acceptances.outcome(call, _dispute(response, call, operation="inquire")) or NotKnown()

    async def list_charges(
        self, rail: str, *, since: datetime, until: datetime, after: str | None
    ) -> ChargePage:
        """A page of the rail's charges; see `ChargeListing`."""
        span = {"since": since.isoformat(), "until": until.isoformat()}
        query = {**span, "rail": rail, "after": after, "limit": LIST_PAGE}
        request = HttpRequest(path="/charges", method="GET", query=query, documented=_LIST_DOCUMENTED)
        page = (await self._http.call(request, may_send=None)).read(_Charges)
        return ChargePage(tuple(charge.listed() for charge in page.charges), page.next)

    async def reverse(self, call: Call) -> Reversed:
        """Our reference is undone and blocked; see `Connector.reverse`."""
        members = common(call, operation="reverse") | {"reference": f"{call.reference}-reversal"}
        response = await self._undo("/reversals", members, call)
        if response.status == 404:
            raise OutcomeUnknown("HTTP 404")
        match _undone(response, call):
            case "reversed" | "already_reversed" | "nothing_to_reverse":
                return Reversed()
            case _:
                log.warning("acquirer_status_unmapped", operation="reverse", reference=call.reference)
                raise OutcomeUnknown("an unmapped status of the reversal")

    async def cancel(self, call: Call) -> Cancelled | EndsItself | Pending | NotKnown:
        """Nobody can pay our reference any more, where the acquirer says so; see `Asking.cancel`.

        What is decided is `Pending` here: this acquirer says what it is in answer to an inquiry only.
        """
        members = common(call, operation="cancel") | {"reference": f"{call.reference}-cancellation"}
        response = await self._undo("/cancellations", members, call)
        if response.status == 404:
            _not_found(response)
            return NotKnown()
        match _undone(response, call):
            case "cancelled":
                return Cancelled()
            case "not_cancellable":
                return EndsItself()
            case "decided":
                return Pending(reason="decided")
            case status:
                log.warning(
                    "acquirer_status_unmapped", operation="cancel", reference=call.reference, status=status
                )
                return Pending(reason="unmapped status")

    async def delete_token(self, token: Mapping[str, str]) -> None:
        """Nobody pays with our token any more; see `Storing.delete_token`."""
        name = token.get(TOKEN)
        if name is None:
            return  # it stands for nothing here
        body = _Deletion(reference=f"{name}-deletion", token=name)
        response = await self._http.post("/tokens/deletions", body, may_send=None)
        if response.status == 404:
            _not_found(response)
            return
        if response.status == 400:
            raise Rejected("the acquirer does not delete this token")
        answer = response.read(_DeletionAnswer)
        if answer.reference != body.reference or answer.status != "deleted":
            raise OutcomeUnknown("an answer that does not say that the token is deleted")

    async def _undo(self, path: str, members: dict[str, Any], call: Call) -> AcquirerResponse:
        body = _Undoing(**members, original_reference=call.reference)
        response = await self._http.post(path, body, may_send=None)
        if response.status == 400:
            raise OutcomeUnknown("HTTP 400")  # of this request: it says nothing of what was to be undone
        return response

    def read_callback(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Callback:
        """See `Calling`. Signed is the time in seconds, a dot and the raw body, with the account's key."""
        signature = _SIGNATURE.fullmatch(headers.get("acquirer-signature", ""))
        if signature is None:
            raise CallbackInvalid
        at, mac = signature.groups()
        expected = hmac.new(self._key, at.encode() + b"." + body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(mac, expected) or abs(now.timestamp() - int(at)) > CALLBACK_AGE_S_MAX:
            raise CallbackInvalid
        try:
            told = _Told.model_validate_json(body)
        except ValidationError:
            raise CallbackInvalid from None  # the error holds the raw body
        return Callback(event_id=told.id, reference=told.reference)

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.close()


def common(call: Call, *, operation: str) -> dict[str, Any]:
    """What every request says, with the faults that are meant for this one."""
    members = {"reference": call.reference, "payment_reference": call.payment_id}
    own = switches.faults_for(operation, call.operation_metadata, unprefixed="refund")
    if own:  # a refund's own faults come before those that its payment has for refunds
        return members | {"faults": own, "fault_scope": call.operation_id}
    captures = "authorize" if call.automatic_capture else "capture"
    of_payment = switches.faults_for(operation, call.metadata, unprefixed="authorize", captures=captures)
    return members | {"faults": of_payment, "fault_scope": call.payment_id} if of_payment else members


def _of_dispute(call: Call, *, operation: str) -> _OfDispute:
    if call.dispute is None:
        raise Rejected("an acceptance without its dispute")
    return _OfDispute(**common(call, operation=operation), dispute=call.dispute)


def _dispute(response: AcquirerResponse, call: Call, *, operation: str) -> Disputed:
    """How our dispute stands. Raises `OutcomeUnknown`, also where the acquirer does not know it."""
    if response.status == 404:
        raise OutcomeUnknown("HTTP 404")
    answer = response.read(DisputeAnswer)
    if (answer.reference, answer.operation, answer.dispute.id) != (call.reference, operation, call.dispute):
        raise OutcomeUnknown("an answer to another request")
    return answer.dispute.told()


def money(call: Call) -> dict[str, Any]:
    """`common` of the call's own operation, with its amount."""
    return common(call, operation=call.kind) | {"amount": call.amount_minor, "currency": call.currency}


def authorization_of(call: Call) -> str:
    """The acquirer's own reference for what the call is about. Raises `Rejected` where there is none."""
    if call.authorization_reference is None:
        raise Rejected(f"{call.kind} without the authorization's reference")
    return call.authorization_reference


def decided(answer: SandboxAnswer) -> Declined | Pending | Reversed:
    """What every answer but an approval means; one that we do not map is pending."""
    match answer.status:
        case "declined" if answer.decline_code == _REFERENCE_REVERSED:
            return Reversed()
        case "declined":
            code = _decline_code(answer.decline_code)
            return Declined(code, connector_reference=answer.id, soft=answer.soft, evidence=answer.evidence())
        case "reversed":
            return Reversed()
        case status:
            log.warning("acquirer_status_unmapped", reference=answer.reference, status=status[:_LOGGED_MAX])
            return Pending(connector_reference=answer.id, reason="unmapped status")


def approved(
    answer: SandboxAnswer, *, capture_before: datetime | None = None, rail: Mapping[str, str] | None = None
) -> Approved:
    """An approval of what the acquirer says, whatever was asked. Raises `OutcomeUnknown` where it says nothing."""
    if answer.amount is None or answer.currency is None:
        raise OutcomeUnknown("an approval without an amount")
    return Approved(
        connector_reference=answer.id,
        amount_minor=answer.amount,
        currency=answer.currency,
        capture_before=capture_before,
        rail=rail or {},
        stage=_stage(answer),
        since=tuple(turn.told() for turn in answer.history),
        evidence=answer.evidence(),
        disputes=tuple(dispute.told() for dispute in answer.disputes),
        token=None if answer.token is None else {TOKEN: answer.token},
    )


def _stage(answer: SandboxAnswer) -> Stage | None:
    """How far an authorization has come by itself; what does not say so is not known to be captured."""
    if answer.operation != OperationKind.AUTHORIZE:
        return None
    return Stage.AUTHORIZED if answer.stage is None else Stage(answer.stage)


def _said(answer: SandboxAnswer) -> Said:
    """What an inquiry by the operation's reference would say."""
    fact: Approved | Reversed = Reversed()
    if answer.status == "approved":
        known = {"rrn": answer.rrn, "vpa": answer.payer_vpa}
        rail = {name: value for name, value in known.items() if value}
        fact = approved(answer, capture_before=answer.expires_at, rail=rail)
    kind = OperationKind(answer.operation)
    return Said(answer.id, kind, answer.reference, answer.amount or 0, fact)


def _refused(response: AcquirerResponse, call: Call) -> Refused:
    """What the acquirer will never take. Its detail is not read: it may hold what was sent."""
    problem = response.read(_Problem)
    code = problem.error[:_LOGGED_MAX]
    log.warning("acquirer_refused", operation=call.kind, reference=call.reference, code=code)
    return Refused(code, _shown(problem.pointer))


def _shown(pointer: str | None) -> str | None:
    """The pointer, if it is one that can be shown."""
    if pointer is None or len(pointer) > POINTER_MAX or _NUMBER.search(pointer):
        return None
    return pointer if _JSON_POINTER.fullmatch(pointer) else None


def _own_answer(response: AcquirerResponse, call: Call) -> SandboxAnswer:
    """The answer, once it is known to be to our request. Raises `OutcomeUnknown`."""
    answer = response.read(SandboxAnswer)
    if answer.reference != call.reference or answer.operation != call.kind:
        raise OutcomeUnknown("an answer to another request")
    return answer


def _undone(response: AcquirerResponse, call: Call) -> str:
    """The status of a reversal or cancellation of our reference. Raises `OutcomeUnknown`."""
    answer = response.read(_UndoingAnswer)
    if answer.original_reference != call.reference:
        raise OutcomeUnknown("an answer to another request")
    return answer.status[:_LOGGED_MAX]


def _not_found(response: AcquirerResponse) -> None:
    """Returns where the 404 is about our reference. Raises `OutcomeUnknown` where it is about the path."""
    if response.read(_Problem).error != "not_found":
        raise OutcomeUnknown("HTTP 404")


def _decline_code(code: str | None) -> DeclineCode:
    """The acquirer's words are ours where they are the same."""
    try:
        return DeclineCode(code or "")
    except ValueError:
        log.warning("acquirer_decline_code_unmapped", code=(code or "")[:_LOGGED_MAX])
        return DeclineCode.GENERIC_DECLINE
