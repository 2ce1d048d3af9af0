"""The wire of the sandbox acquirer, which its connectors share: one desk for cards, UPI and wallets.

Source: the sandbox acquirer's own description (`devstack/acquirer`) and `api.md`, "Sandbox triggers". It documents
that 400, 401 and 429 mean that nothing was processed; what is answered 400 would be answered so again.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, assert_never

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from payonce.connectors.base import Call, Callback, ConnectorAccount, MaySend
from payonce.connectors.http import AcquirerHttp, AcquirerResponse, Documented
from payonce.domain.errors import CallbackInvalid, OutcomeUnknown, Rejected
from payonce.domain.money import AMOUNT_MINOR_MAX
from payonce.domain.operations import OperationKind
from payonce.domain.outcomes import (
    Approved,
    DeclineCode,
    Declined,
    Foreign,
    Pending,
    Redone,
    Refused,
    Reversed,
    Stage,
    Turn,
    Undone,
)
from payonce.domain.schedules import InquirySchedule

log = structlog.get_logger(__name__)

CALL_DEADLINE_S: Final = 10.0
FINALITY_S: Final = 10.0
INQUIRY: Final = InquirySchedule(
    first_s=(1, 2, 4, 8),
    then_every_s=8,
    review_after_s=600,
    slow_every_s=3600,
    give_up_after_s=30 * 24 * 3600,
)
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
FAULT_METADATA: Final = "sandbox_fault"
VPA_METADATA: Final = "sandbox_vpa"
VPAS: Final = ("success@upi", "failure@upi", "pending@upi", "late@upi")
SCRIPTED_S_MAX: Final = 86_400  # between an operation and what the acquirer does with it
FAULT_LENGTH_MAX: Final = 64
HISTORY_MAX: Final = 100  # what more the acquirer did of itself is nobody's to guess
FAULTS_MAX: Final = 16  # the acquirer takes no more in one request
CALLBACK_AGE_S_MAX: Final = 300

_DOCUMENTED = Documented(answers=frozenset({400, 404}), rejections=frozenset({401, 429}))
_PREFIX = re.compile(r"(authorize|capture|void|refund|inquire|reverse|cancel):")
_FAULT = re.compile(
    rf"({_PREFIX.pattern})?"
    r"(timeout_after_charge|timeout_before_charge|error_after_charge|reset_after_charge"
    r"|slow:[0-9]{1,9}|amount_mismatch|garbage|authorized_only|foreign_capture"
    r"|(?:undo_capture|redo_capture|undo_refund):(?P<seconds>[0-9]{1,16})|foreign_refund:(?P<amount>[0-9]{1,16})"
    r"|refuse:(?:/(?:[a-z_]{1,32}|[0-9]{1,2})){1,8})"
)
_REFERENCE_REVERSED: Final = "reference_reversed"  # refused since a reversal came first
_SIGNATURE: Final = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")
_LOGGED_MAX: Final = 64


def parse_faults(text: str) -> tuple[str, ...]:
    """The entries of a `sandbox_fault`, in order. Raises `ValueError` for a value that does not exist."""
    entries = tuple(entry.strip() for entry in text.split(","))
    if len(entries) > FAULTS_MAX:
        raise ValueError(f"at most {FAULTS_MAX} faults are possible")
    if not all(_is_fault(entry) for entry in entries):
        raise ValueError("unknown fault")
    return entries


def _is_fault(entry: str) -> bool:
    """Whether the acquirer has it, with a number within its limits."""
    found = _FAULT.fullmatch(entry)
    if found is None or len(_prefixed(entry, "authorize")) > FAULT_LENGTH_MAX:
        return False
    seconds, amount = found["seconds"], found["amount"]
    if amount is not None:
        return 1 <= int(amount) <= AMOUNT_MINOR_MAX
    return seconds is None or int(seconds) <= SCRIPTED_S_MAX


_VISIBLE = r"^[\x21-\x7e]{1,128}$"
_POINTER: Final = re.compile(r"(?:/(?:~[01]|[!-.0-}]){1,64}){1,16}")  # RFC 6901, of visible characters
_POINTER_MAX: Final = 256
_NUMBER: Final = re.compile(r"[0-9]{7}")  # longer than any place in a list: a value, not the name of one


class Request(BaseModel):
    """What every request has. A number or `cvc` shows in no repr."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    reference: str
    payment_reference: str
    faults: tuple[str, ...] | None = None
    fault_scope: str | None = None


class Money(Request):
    """A request that moves, or holds, an amount."""

    amount: int
    currency: str


class _Event(BaseModel):
    """One thing that the acquirer did of itself."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    id: Annotated[str, Field(pattern=_VISIBLE)]
    type: Literal["undone", "redone", "foreign"]
    operation: Literal["capture", "refund", "void"]
    amount: Annotated[int, Field(ge=0)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    reason: Annotated[str, Field(max_length=256)] | None = None

    def turn(self) -> Turn:
        match self.type:
            case "undone":
                return Undone(self.id, self.amount, self.currency, self.reason or "")
            case "redone":
                return Redone(self.id, self.amount, self.currency)
            case "foreign":
                return Foreign(self.id, self.operation, self.amount, self.currency)
            case _:
                assert_never(self.type)


class Answer(BaseModel):
    """What the acquirer says of an operation; members that we do not need are not looked at."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    id: Annotated[str, Field(min_length=1, max_length=128)]
    reference: str
    operation: str
    status: str
    amount: int | None
    currency: str | None
    decline_code: str | None = None
    stage: Literal["authorized", "captured"] | None = None
    history: Annotated[list[_Event], Field(max_length=HISTORY_MAX)] = Field(default_factory=list)
    expires_at: AwareDatetime | None = None
    rrn: Annotated[str, Field(pattern="^[0-9]{12}$")] | None = None
    payer_vpa: Annotated[str, Field(max_length=320)] | None = None
    intent: Annotated[str, Field(max_length=1024)] | None = None
    page: Annotated[str, Field(max_length=1024)] | None = None


class _Reversal(Request):
    original_reference: str


class _ReversalAnswer(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    original_reference: str
    status: str


class _Problem(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    error: str
    pointer: str | None = None


class _Told(BaseModel):
    """A callback's body."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    id: Annotated[str, Field(pattern=_VISIBLE)]
    reference: Annotated[str, Field(pattern=_VISIBLE)]


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

    async def order(self, path: str, body: Request, call: Call, *, may_send: MaySend) -> Answer | Refused:
        """The answer to one request that may move money; see `Connector.send` for what it raises."""
        response = await self._http.post(path, body, may_send=may_send)
        if response.status == 404:
            raise OutcomeUnknown("HTTP 404")  # documented for inquiries only
        return _refused(response, call) if response.status == 400 else _own_answer(response, call)

    async def inquire(self, call: Call) -> Answer | None:
        """What became of our reference; None where the acquirer does not know it."""
        body = Request(**common(call, operation="inquire"))
        response = await self._http.post("/inquiries", body, may_send=None)
        if response.status == 400:
            raise OutcomeUnknown("HTTP 400")  # of the inquiry: it says nothing of what is asked about
        if response.status != 404:
            return _own_answer(response, call)
        if response.read(_Problem).error != "not_found":
            raise OutcomeUnknown("HTTP 404")  # of the path, not of the reference
        return None

    async def reverse(self, call: Call) -> Reversed:
        """Our reference is undone and blocked; see `Connector.reverse`."""
        members = common(call, operation="reverse") | {"reference": f"{call.reference}-reversal"}
        body = _Reversal(**members, original_reference=call.reference)
        response = await self._http.post("/reversals", body, may_send=None)
        if response.status in (400, 404):
            raise OutcomeUnknown(f"HTTP {response.status}")
        answer = response.read(_ReversalAnswer)
        if answer.original_reference != call.reference:
            raise OutcomeUnknown("an answer to another request")
        match answer.status:
            case "reversed" | "already_reversed" | "nothing_to_reverse":
                return Reversed()
            case _:
                log.warning("acquirer_status_unmapped", operation="reverse", reference=call.reference)
                raise OutcomeUnknown("an unmapped status of the reversal")

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
    own = _faults_for(operation, call.operation_metadata, unprefixed="refund")
    if own:  # a refund's own faults come before those that its payment has for refunds
        return members | {"faults": own, "fault_scope": call.operation_id}
    of_payment = _faults_for(operation, call.metadata, unprefixed="authorize")
    return members | {"faults": of_payment, "fault_scope": call.payment_id} if of_payment else members


def money(call: Call) -> dict[str, Any]:
    """`common` of the call's own operation, with its amount."""
    return common(call, operation=call.kind) | {"amount": call.amount_minor, "currency": call.currency}


def authorization_of(call: Call) -> str:
    """The acquirer's own reference for what the call is about. Raises `Rejected` where there is none."""
    if call.authorization_reference is None:
        raise Rejected(f"{call.kind} without the authorization's reference")
    return call.authorization_reference


def decided(answer: Answer) -> Declined | Pending | Reversed:
    """What every answer but an approval means; one that we do not map is pending."""
    match answer.status:
        case "declined" if answer.decline_code == _REFERENCE_REVERSED:
            return Reversed()
        case "declined":
            return Declined(_decline_code(answer.decline_code), connector_reference=answer.id)
        case "reversed":
            return Reversed()
        case status:
            log.warning("acquirer_status_unmapped", reference=answer.reference, status=status[:_LOGGED_MAX])
            return Pending(connector_reference=answer.id, reason="unmapped status")


def approved(
    answer: Answer, *, capture_before: datetime | None = None, rail: Mapping[str, str] | None = None
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
        since=tuple(event.turn() for event in answer.history),
    )


def _stage(answer: Answer) -> Stage | None:
    """How far an authorization has come by itself; what does not say so is not known to be captured."""
    if answer.operation != OperationKind.AUTHORIZE:
        return None
    return Stage.AUTHORIZED if answer.stage is None else Stage(answer.stage)


def _faults_for(operation: str, metadata: Mapping[str, str], *, unprefixed: str) -> tuple[str, ...]:
    """The entries that are meant for `operation`, each with its prefix."""
    text = metadata.get(FAULT_METADATA)
    if text is None:
        return ()
    try:
        entries = parse_faults(text)
    except ValueError:  # the API refuses these: what got past it disturbs no payment
        log.warning("sandbox_fault_unknown")
        return ()
    full = (_prefixed(entry, unprefixed) for entry in entries)
    return tuple(entry for entry in full if entry.startswith(f"{operation}:"))


def _prefixed(entry: str, unprefixed: str) -> str:
    return entry if _PREFIX.match(entry) else f"{unprefixed}:{entry}"


def _own_answer(response: AcquirerResponse, call: Call) -> Answer:
    """The answer, once it is known to be to our request. Raises `OutcomeUnknown`."""
    answer = response.read(Answer)
    if answer.reference != call.reference or answer.operation != call.kind:
        raise OutcomeUnknown("an answer to another request")
    return answer


def _refused(response: AcquirerResponse, call: Call) -> Refused:
    """What the acquirer will never take. Its detail is not read: it may hold what was sent."""
    problem = response.read(_Problem)
    code = problem.error[:_LOGGED_MAX]
    log.warning("acquirer_refused", operation=call.kind, reference=call.reference, code=code)
    return Refused(code, _pointer(problem.pointer))


def _pointer(pointer: str | None) -> str | None:
    """The pointer, if it is one that can be shown."""
    if pointer is None or len(pointer) > _POINTER_MAX or _NUMBER.search(pointer):
        return None
    return pointer if _POINTER.fullmatch(pointer) else None


def _decline_code(code: str | None) -> DeclineCode:
    """The acquirer's words are ours where they are the same."""
    try:
        return DeclineCode(code or "")
    except ValueError:
        log.warning("acquirer_decline_code_unmapped", code=(code or "")[:_LOGGED_MAX])
        return DeclineCode.GENERIC_DECLINE
