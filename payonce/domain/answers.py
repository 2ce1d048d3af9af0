"""What the API shows: the JSON of a payment, a refund, an event and a stored problem.

The answer of an operation is rendered in the transaction that records its outcome and replayed byte for byte.
A stored problem lacks its `status` member: `api/problems.py`, which owns every status code, puts it in front.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from payonce.domain.evidence import kept_codes
from payonce.domain.facts import Advice, DeclineCode, Declined, FailureCode
from payonce.domain.operations import Attempt, AttemptState, Operation
from payonce.domain.payment import Payment
from payonce.domain.payment_methods import PaymentMethod

if TYPE_CHECKING:
    from payonce.domain.disputes import Dispute
    from payonce.domain.reconciling import ListFinding


class AnswerKind(StrEnum):
    """What an answer means; the API maps it to a status code."""

    PAYMENT = "payment"  # a payment was created
    PAYMENT_CHANGED = "payment_changed"  # a capture or void succeeded
    REFUND = "refund"
    PAYMENT_METHOD = "payment_method"  # a card was saved
    ENDPOINT = "endpoint"  # a webhook endpoint was created
    ENDPOINT_CHANGED = "endpoint_changed"  # a webhook endpoint has a new secret
    ACCEPTED = "accepted"  # it is on record, and carried out by others
    PAYMENT_DECLINED = "payment_declined"
    PAYMENT_FAILED = "payment_failed"
    PAYMENT_BLOCKED = "payment_blocked"
    PAYMENT_NOT_CAPTURABLE = "payment_not_capturable"
    PAYMENT_NOT_VOIDABLE = "payment_not_voidable"
    PAYMENT_NOT_REFUNDABLE = "payment_not_refundable"
    AMOUNT_TOO_LARGE = "amount_too_large"
    DISPUTE = "dispute"  # a dispute was accepted
    DISPUTE_NOT_OPEN = "dispute_not_open"  # any more: its acceptance came too late
    OPERATION_NOT_SUPPORTED = "operation_not_supported"  # as the acquirer says, who was asked


_NETWORK_CODES: Final = ("network_decline_code", "network_advice_code")
TITLES: Final[Mapping[AnswerKind, str]] = {  # of the problems that are stored
    AnswerKind.PAYMENT_DECLINED: "The payment was declined",
    AnswerKind.PAYMENT_FAILED: "The payment failed",
    AnswerKind.PAYMENT_BLOCKED: "The payment was blocked",
    AnswerKind.PAYMENT_NOT_CAPTURABLE: "The payment cannot be captured",
    AnswerKind.PAYMENT_NOT_VOIDABLE: "The payment cannot be voided",
    AnswerKind.PAYMENT_NOT_REFUNDABLE: "The payment cannot be refunded",
    AnswerKind.AMOUNT_TOO_LARGE: "The amount is too large",
    AnswerKind.DISPUTE_NOT_OPEN: "The dispute is not open",
    AnswerKind.OPERATION_NOT_SUPPORTED: "The operation is not supported",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """The first answer of an operation: its kind and the bytes of its body."""

    kind: AnswerKind
    body: bytes
    definite: bool = (
        True  # False: that the customer must act, which holds while they may; the outcome replaces it
    )


def encode(value: Any) -> bytes:
    """Compact UTF-8 JSON in the order in which the members were put in."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def payment_view(payment: Payment) -> dict[str, Any]:
    """The payment object of the API."""
    pending = _pending(payment)
    return {
        "id": payment.id,
        "object": "payment",
        "status": payment.status.value,
        "amount": payment.amount_minor,
        "currency": payment.currency,
        "capture_method": payment.capture_method,
        "amount_authorized": payment.amount_authorized_minor,
        "amount_capturable": payment.capturable_minor,
        "amount_captured": payment.amount_captured_minor,
        "amount_refundable": payment.refundable_minor,
        "amount_refunded": payment.amount_refunded_minor,
        "amount_disputed": payment.amount_disputed_minor,
        "payment_method": payment.payment_method,
        "merchant_reference": payment.merchant_reference,
        "description": payment.description,
        "metadata": payment.metadata,
        "return_url": payment.return_url,
        "customer": payment.customer,
        "statement_descriptor": payment.statement_descriptor,
        "authentication": payment.authentication,
        "risk": payment.risk,
        "connector": payment.connector,
        "connector_reference": payment.connector_reference,
        "capture_before": payment.capture_before and timestamp(payment.capture_before),
        "next_action": payment.next_action,
        "pending_operation": pending,
        "review": payment.review,
        "last_error": payment.last_error,
        "created_at": timestamp(payment.created_at),
        "updated_at": timestamp(payment.updated_at),
        "sequence": payment.sequence,
    }


def _pending(payment: Payment) -> dict[str, Any] | None:
    """The capture or void that others wait for; where there is none, the oldest capture that was accepted."""
    if (pending := payment.pending_operation) is not None:
        return {"type": pending["type"], "amount": pending["amount"]}
    if not payment.accepted:
        return None
    return {"type": "capture", "amount": payment.accepted[0]["amount"]}


def refund_view(refund: Operation) -> dict[str, Any]:
    """The refund object of the API."""
    return {
        "id": refund.id,
        "object": "refund",
        "payment": refund.payment_id,
        "status": refund.status.value,
        "amount": refund.amount_minor,
        "currency": refund.currency,
        "reason": refund.reason,
        "metadata": refund.metadata,
        "connector_reference": refund.connector_reference,
        "last_error": refund.last_error,
        "created_at": timestamp(refund.created_at),
        "updated_at": timestamp(refund.updated_at),
        **(refund.rail or {}),
    }


def reconciliation_view(finding: "ListFinding") -> dict[str, Any]:
    """What a comparison with the acquirer found, as the API shows it."""
    return {
        "id": finding.id,
        "object": "reconciliation",
        "account": finding.account,
        "run": finding.run,
        "result": finding.result.value,
        "payment": finding.payment_id,
        "operation": finding.operation_id,
        "amount_here": finding.amount_here_minor,
        "amount_there": finding.amount_there_minor,
        "currency": finding.currency,
        "acquirer_reference": finding.acquirer_reference,
        "found_at": timestamp(finding.created_at),
        "settled_by": finding.settled_by,
    }


def dispute_view(dispute: "Dispute") -> dict[str, Any]:
    """The dispute object of the API."""
    return {
        "id": dispute.id,
        "object": "dispute",
        "payment": dispute.payment_id,
        "amount": dispute.amount_minor,
        "currency": dispute.currency,
        "amount_withdrawn": dispute.amount_withdrawn_minor,
        "stage": dispute.stage,
        "status": dispute.status.value,
        "reason": dispute.reason,
        "network_reason_code": dispute.network_reason_code,
        "refunded_before": dispute.refunded_before_minor,
        "evidence_due_by": dispute.evidence_due_by and timestamp(dispute.evidence_due_by),
        "created_at": timestamp(dispute.created_at),
        "updated_at": timestamp(dispute.updated_at),
    }


def attempt_view(attempt: Attempt, *, last_error: Mapping[str, Any] | None) -> dict[str, Any]:
    """An attempt of the API. `last_error`: its operation's, which has the code that a version before did not keep."""
    kept = attempt.decline or {}
    declined = attempt.state is AttemptState.DECLINED
    code = kept.get("code", (last_error or {}).get("decline_code")) if declined else None
    return {
        "number": attempt.number,
        "operation": attempt.kind.value,
        "connector": attempt.connector,
        "account": attempt.connector_account,
        "state": attempt.state.value,
        "reason": attempt.routed_by,
        "decline_code": code,
        "network_decline_code": kept.get("raw", {}).get("network_decline_code"),
        "created_at": timestamp(attempt.claimed_at),
    }


def payment_method_view(method: PaymentMethod, *, now: datetime) -> dict[str, Any]:
    """The payment method object of the API."""
    customer_id = method.customer_id
    return {
        "id": method.id,
        "object": "payment_method",
        "type": "card",
        "status": "expired" if method.expired(now) else "active",
        "setup": method.setup.value,
        "customer": None if customer_id is None else {"id": customer_id},
        "card": {
            "brand": method.brand,
            "last4": method.last4,
            "exp_month": method.exp_month,
            "exp_year": method.exp_year,
            "fingerprint": method.fingerprint,
        },
    }


def event_body(
    *, event_id: str, type_: str, at: datetime, sequence: int | None, data: Mapping[str, Any]
) -> bytes:
    """An event as the API shows it and as every delivery carries it, byte for byte."""
    members = {"id": event_id, "type": type_, "timestamp": timestamp(at), "sequence": sequence, "data": data}
    return encode(members)


def decline_error(declined: Declined) -> dict[str, Any]:
    """`last_error` after the issuer's no; the network's own codes where they are known."""
    code, raw = declined.code, kept_codes(declined.raw)
    return {
        "code": "payment_declined",
        "decline_code": code.value,
        **{name: raw[name] for name in _NETWORK_CODES if name in raw},
        "message": code.message,
        "advice": code.advice.value,
    }


def failure_error(code: FailureCode) -> dict[str, Any]:
    """`last_error` of what failed without an issuer's no."""
    return {"code": code.value, "decline_code": None, "message": code.message, "advice": None}


def refusal_error() -> dict[str, Any]:
    """`last_error` of what the acquirer refuses for ever."""
    return {**failure_error(FailureCode.ACQUIRER_REFUSED), "advice": Advice.FIX_DATA.value}


def problem_answer(
    kind: AnswerKind, *, detail: str, request_id: str | None, members: Mapping[str, Any] | None = None
) -> Answer:
    """A problem document (RFC 9457) without its `status` member."""
    code = kind.value
    head = {"type": f"urn:payonce:problem:{code}", "title": TITLES[kind], "detail": detail, "code": code}
    return Answer(kind, encode({**head, "request_id": request_id, **(members or {})}))


def failed_answer(
    payment: Payment, error: Mapping[str, Any], *, request_id: str | None, pointer: str | None = None
) -> Answer:
    """The 402 of a declined or failed authorization, capture or void, with the payment inside.

    `pointer` is to the member that the acquirer refuses.
    """
    declined = error["decline_code"] is not None
    retryable = DeclineCode(error["decline_code"]).retryable if declined else _retryable(error["code"])
    members = {
        **({} if pointer is None else {"errors": [{"pointer": pointer, "detail": error["message"]}]}),
        "decline_code": error["decline_code"],
        **{name: error[name] for name in _NETWORK_CODES if name in error},
        "retryable": retryable,
        "advice": error["advice"],
        "payment": payment_view(payment),
    }
    kind = AnswerKind.PAYMENT_DECLINED if declined else _kind_of(error["code"])
    return problem_answer(kind, detail=error["message"], request_id=request_id, members=members)


def _kind_of(code: str) -> AnswerKind:
    blocked = code == FailureCode.PAYMENT_BLOCKED
    return AnswerKind.PAYMENT_BLOCKED if blocked else AnswerKind.PAYMENT_FAILED


def _retryable(code: str) -> bool:
    """Whether what failed with this code may be accepted later; one of a later release may."""
    try:
        return FailureCode(code).retryable
    except ValueError:
        return True
