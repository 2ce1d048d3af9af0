"""Cards at the sandbox acquirer.

Source of the wire: the sandbox acquirer's own description (`devstack/acquirer`) and `api.md`, "Sandbox
triggers". It documents that 400, 401 and 429 mean that nothing was processed.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, assert_never

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from payonce.connectors.base import Call, Capabilities, ConnectorAccount, MaySend
from payonce.connectors.http import AcquirerHttp, AcquirerResponse, Documented
from payonce.domain.cards import Card
from payonce.domain.errors import OutcomeUnknown, Rejected
from payonce.domain.operations import OperationKind
from payonce.domain.outcomes import (
    Approved,
    DeclineCode,
    Declined,
    Inquiry,
    NotFound,
    Pending,
    Reply,
    Reversed,
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
FAULT_METADATA: Final = "sandbox_fault"
FAULTS_MAX: Final = 16  # the acquirer takes no more in one request

_DOCUMENTED = Documented(answers=frozenset({404}), rejections=frozenset({400, 401, 429}))
_FAULT = re.compile(
    r"((authorize|capture|void|refund|inquire|reverse):)?"
    r"(timeout_after_charge|timeout_before_charge|error_after_charge|reset_after_charge"
    r"|slow:[0-9]{1,9}|amount_mismatch|garbage)"
)
_PREFIX = re.compile(r"(authorize|capture|void|refund|inquire|reverse):")
_REFERENCE_REVERSED: Final = "reference_reversed"  # refused since a reversal came first
_LOGGED_MAX: Final = 64


def parse_faults(text: str) -> tuple[str, ...]:
    """The entries of a `sandbox_fault`, in order. Raises `ValueError` for a value that does not exist."""
    entries = tuple(entry.strip() for entry in text.split(","))
    if len(entries) > FAULTS_MAX:
        raise ValueError(f"at most {FAULTS_MAX} faults are possible")
    if not all(_FAULT.fullmatch(entry) for entry in entries):
        raise ValueError("unknown fault")
    return entries


class _Request(BaseModel):
    """What every request has. A number or `cvc` shows in no repr."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    reference: str
    payment_reference: str
    faults: tuple[str, ...] | None = None
    fault_scope: str | None = None


class _CardBody(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    number: str = Field(repr=False)
    exp_month: int
    exp_year: int
    cvc: str | None = Field(default=None, repr=False)


class _Authorization(_Request):
    amount: int
    currency: str
    capture: bool
    card: _CardBody


class _Modification(_Request):
    amount: int
    currency: str
    authorization: str
    final: bool | None = None  # of captures only


class _Inquiry(_Request):
    pass


class _Reversal(_Request):
    original_reference: str


class _Answer(BaseModel):
    """What the acquirer says of an operation; members that we do not need are not looked at."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    id: Annotated[str, Field(min_length=1, max_length=128)]
    reference: str
    operation: str
    status: str
    amount: int | None
    currency: str | None
    decline_code: str | None = None
    expires_at: AwareDatetime | None = None


class _ReversalAnswer(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    original_reference: str
    status: str


class _Problem(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    error: str


class SandboxCard:
    """The sandbox acquirer at one account. Account options: `call_deadline_s`, `finality_s`."""

    name = "sandbox_card"

    def __init__(self, account: ConnectorAccount) -> None:
        self.capabilities = Capabilities(
            methods=frozenset({"card"}),
            call_deadline_s=float(account.options.get("call_deadline_s", CALL_DEADLINE_S)),
            finality_s=float(account.options.get("finality_s", FINALITY_S)),
            inquiry=INQUIRY,
            reversal_by_reference=True,
        )
        self._http = AcquirerHttp(
            base_url=account.base_url,
            headers={"Authorization": f"Bearer {account.key}"},
            call_deadline_s=self.capabilities.call_deadline_s,
            documented=_DOCUMENTED,
        )

    async def send(self, call: Call, *, may_send: MaySend) -> Reply:
        """Authorizes, captures, voids or refunds under our reference; see `Connector`."""
        path, body = _order(call)
        response = await self._http.post(path, body, may_send=may_send)
        if response.status == 404:
            raise OutcomeUnknown("HTTP 404")  # documented for inquiries only
        outcome = _outcome(_own_answer(response, call))
        return Pending(reason="reversed") if isinstance(outcome, Reversed) else outcome

    async def inquire(self, call: Call) -> Inquiry:
        """What became of our reference; see `Connector`."""
        body = _Inquiry(**_common(call, operation="inquire"))
        response = await self._http.post("/inquiries", body, may_send=None)
        if response.status != 404:
            return _outcome(_own_answer(response, call))
        if response.read(_Problem).error != "not_found":
            raise OutcomeUnknown("HTTP 404")  # of the path, not of the reference
        return NotFound()

    async def reverse(self, call: Call) -> Reversed:
        """Undoes and blocks our reference; see `Connector`."""
        common = _common(call, operation="reverse") | {"reference": f"{call.reference}-reversal"}
        body = _Reversal(**common, original_reference=call.reference)
        response = await self._http.post("/reversals", body, may_send=None)
        if response.status == 404:
            raise OutcomeUnknown("HTTP 404")
        answer = response.read(_ReversalAnswer)
        if answer.original_reference != call.reference:
            raise OutcomeUnknown("an answer to another request")
        match answer.status:
            case "reversed" | "already_reversed" | "nothing_to_reverse":
                return Reversed()
            case _:
                log.warning("acquirer_status_unmapped", operation="reverse", reference=call.reference)
                raise OutcomeUnknown("an unmapped status of the reversal")

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.close()


def _order(call: Call) -> tuple[str, _Request]:
    """The path and the body of an operation. Raises `Rejected` for one that this acquirer does not have."""
    common = _common(call, operation=call.kind)
    match call.kind:
        case OperationKind.AUTHORIZE:
            return "/authorizations", _authorization(call, common)
        case OperationKind.CAPTURE:
            return "/captures", _modification(call, common, final=call.final)
        case OperationKind.VOID:
            return "/voids", _modification(call, common)
        case OperationKind.REFUND:
            return "/refunds", _modification(call, common)
        case OperationKind.EXPIRE | OperationKind.REVERSE:
            raise Rejected(f"{call.kind} is not sent to this acquirer")  # see `Capabilities`, and `reverse`
        case _:
            assert_never(call.kind)


def _authorization(call: Call, common: dict[str, Any]) -> _Authorization:
    if call.card is None:
        raise Rejected("authorize without a card")
    return _Authorization(
        **common,
        amount=call.amount_minor,
        currency=call.currency,
        capture=call.automatic_capture,
        card=_card(call.card),
    )


def _modification(call: Call, common: dict[str, Any], *, final: bool | None = None) -> _Modification:
    if call.authorization_reference is None:
        raise Rejected(f"{call.kind} without the authorization's reference")
    return _Modification(
        **common,
        amount=call.amount_minor,
        currency=call.currency,
        authorization=call.authorization_reference,
        final=final,
    )


def _card(card: Card) -> _CardBody:
    return _CardBody(number=card.number, exp_month=card.exp_month, exp_year=card.exp_year, cvc=card.cvc)


def _common(call: Call, *, operation: str) -> dict[str, Any]:
    common = {"reference": call.reference, "payment_reference": call.payment_id}
    own = _faults_for(operation, call.operation_metadata, unprefixed="refund")
    if own:  # a refund's own faults come before those that its payment has for refunds
        return common | {"faults": own, "fault_scope": call.operation_id}
    of_payment = _faults_for(operation, call.metadata, unprefixed="authorize")
    return common | {"faults": of_payment, "fault_scope": call.payment_id} if of_payment else common


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
    full = (entry if _PREFIX.match(entry) else f"{unprefixed}:{entry}" for entry in entries)
    return tuple(entry for entry in full if entry.startswith(f"{operation}:"))


def _own_answer(response: AcquirerResponse, call: Call) -> _Answer:
    """The answer, once it is known to be to our request. Raises `OutcomeUnknown`."""
    answer = response.read(_Answer)
    if answer.reference != call.reference or answer.operation != call.kind:
        raise OutcomeUnknown("an answer to another request")
    return answer


def _outcome(answer: _Answer) -> Approved | Declined | Pending | Reversed:
    match answer.status:
        case "approved":
            return _approved(answer)
        case "declined" if answer.decline_code == _REFERENCE_REVERSED:
            return Reversed()
        case "declined":
            return Declined(_decline_code(answer.decline_code), connector_reference=answer.id)
        case "reversed":
            return Reversed()
        case status:
            log.warning("acquirer_status_unmapped", reference=answer.reference, status=status[:_LOGGED_MAX])
            return Pending(connector_reference=answer.id, reason="unmapped status")


def _approved(answer: _Answer) -> Approved:
    if answer.amount is None or answer.currency is None:
        raise OutcomeUnknown("an approval without an amount")
    return Approved(
        connector_reference=answer.id,
        amount_minor=answer.amount,
        currency=answer.currency,
        capture_before=answer.expires_at,
    )


def _decline_code(code: str | None) -> DeclineCode:
    """The acquirer's words are ours where they are the same."""
    try:
        return DeclineCode(code or "")
    except ValueError:
        log.warning("acquirer_decline_code_unmapped", code=(code or "")[:_LOGGED_MAX])
        return DeclineCode.GENERIC_DECLINE
