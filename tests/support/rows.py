"""Payments, operations and attempts as tests want them: valid, with what matters spelled out."""

from datetime import UTC, datetime, timedelta
from typing import Any

from payonce.domain.facts import Approved, Disputed, Stage
from payonce.domain.ids import IdFactory, attempt_reference, random_id
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationKind
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.payment_methods import PaymentMethod, SavedState, Setup

NOW = datetime(2026, 11, 22, 5, 46, tzinfo=UTC)
CAPTURE_BEFORE = NOW + timedelta(days=7)
IDS = IdFactory(b"a secret of thirty-two bytes ....", cell="t")
PAYMENT_ID = "pay_1"
# A bank has the 1000 INR of a payment.
WITHDRAWN = Disputed(
    id="acq-dp",
    stage="chargeback",
    status="needs_response",
    amount_minor=1000,
    currency="INR",
    withdrawn_minor=1000,
    reason="fraudulent",
    at=datetime(2026, 11, 22, tzinfo=UTC),
)


def payment(status: PaymentStatus = PaymentStatus.INIT, **changes: Any) -> Payment:
    """A payment of 1000 INR in the status, with the amounts that the status implies."""
    values: dict[str, Any] = {
        "id": PAYMENT_ID,
        "merchant_id": "mer_1",
        "mode": "test",
        "status": status,
        "amount_minor": 1000,
        "currency": "INR",
        "capture_method": "manual",
        "payment_method": {
            "type": "card",
            "card": {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2030},
        },
        "idempotency_key": "key-1",
        "connector": "sandbox_card",
        "connector_account": "account_1",
        "created_at": NOW,
        "updated_at": NOW,
        **_amounts(status),
    }
    return Payment(**{**values, **changes})


def _amounts(status: PaymentStatus) -> dict[str, Any]:
    if status.undecided or status is PaymentStatus.FAILED:
        return {}
    captured = {
        PaymentStatus.PARTIALLY_CAPTURED: 400,
        PaymentStatus.CAPTURED: 1000,
        PaymentStatus.PARTIALLY_REFUNDED: 1000,
        PaymentStatus.REFUNDED: 1000,
    }.get(status, 0)
    refunded = {PaymentStatus.PARTIALLY_REFUNDED: 300, PaymentStatus.REFUNDED: 1000}.get(status, 0)
    return {
        "amount_authorized_minor": 1000,
        "amount_captured_minor": captured,
        "amount_refunded_minor": refunded,
        "connector_reference": "acq-authorization",
        "capture_before": CAPTURE_BEFORE,
        "sequence": 1,
    }


def operation(kind: OperationKind = OperationKind.AUTHORIZE, **changes: Any) -> Operation:
    """A pending operation on all of that payment; an authorization has the payment's id."""
    values: dict[str, Any] = {
        "id": PAYMENT_ID if kind is OperationKind.AUTHORIZE else f"op_{kind}",
        "payment_id": PAYMENT_ID,
        "merchant_id": "mer_1",
        "mode": "test",
        "kind": kind,
        "amount_minor": 1000,
        "currency": "INR",
        "created_at": NOW,
        "updated_at": NOW,
        "request_id": "req_1",
    }
    return Operation(**{**values, **changes})


def attempt(of: Operation, state: AttemptState = AttemptState.CLAIMED, **changes: Any) -> Attempt:
    """The first attempt of the operation."""
    number = changes.get("number", 1)
    values: dict[str, Any] = {
        "operation_id": of.id,
        "number": number,
        "payment_id": of.payment_id,
        "kind": of.kind,
        "connector": "sandbox_card",
        "connector_account": "account_1",
        "reference": attempt_reference(of.id, number),
        "state": state,
        "owner": "boot_1",
        "token": "run_1",
        "send_before": NOW + timedelta(seconds=5),
        "claimed_at": NOW,
    }
    return Attempt(**{**values, **changes})


def under_way(of: Operation) -> dict[str, Any]:
    """What the payment shows while this capture, void or expiry is pending."""
    return {"id": of.id, "type": of.kind, "amount": of.amount_minor}


def approval(of: Operation, **changes: Any) -> Approved:
    """The acquirer did exactly what the operation asks for."""
    values: dict[str, Any] = {
        "connector_reference": f"acq-{of.kind}",
        "amount_minor": of.amount_minor,
        "currency": of.currency,
        "capture_before": CAPTURE_BEFORE if of.kind is OperationKind.AUTHORIZE else None,
    }
    return Approved(**{**values, **changes})


def captured(of: Operation, **changes: Any) -> Approved:
    """An automatic payment, authorized and captured in one."""
    return approval(of, **{"stage": Stage.CAPTURED, **changes})


def saved_card(merchant_id: str, **changes: Any) -> PaymentMethod:
    """A card of nobody in particular, saved just now."""
    now = datetime.now(UTC)
    fields: dict[str, Any] = {
        "id": random_id("pm"),
        "merchant_id": merchant_id,
        "mode": "test",
        "state": SavedState.ACTIVE,
        "setup": Setup.ON_SESSION,
        "customer_id": None,
        "brand": "visa",
        "last4": "4242",
        "exp_month": 12,
        "exp_year": 2040,
        "fingerprint": None,
        "payment_id": None,
        "created_at": now,
        "updated_at": now,
    }
    return PaymentMethod(**{**fields, **changes})
