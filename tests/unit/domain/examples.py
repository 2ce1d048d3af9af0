"""Payments with one pending operation each, for examples of what a fact makes of it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from payonce.domain.facts import DeclineCode, Declined, Fact
from payonce.domain.operations import AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.settlement import Settlement, settle
from tests.support.rows import NOW, attempt, operation, payment, under_way

S, K, A, O = PaymentStatus, OperationKind, AttemptState, OperationStatus
LATER = NOW + timedelta(seconds=1)
DECLINED = Declined(DeclineCode.INSUFFICIENT_FUNDS, "acq-declined")


@dataclass(frozen=True)
class Case:
    """One payment with one pending operation, and how to make a fact about it."""

    payment: Payment
    operation: Operation

    def settled(self, fact: Fact, state: AttemptState = A.CLAIMED) -> Settlement:
        return settle(self.payment, self.operation, attempt(self.operation, state), fact, now=LATER)


def case(kind: OperationKind, status: PaymentStatus, **changes: Any) -> Case:
    amount = changes.pop("amount_minor", 1000)
    pending = operation(kind, amount_minor=amount, **changes.pop("operation", {}))
    if kind.exclusive:
        changes["pending_operation"] = under_way(pending)
    if kind is K.REFUND:
        changes["amount_refund_pending_minor"] = amount
    return Case(payment(status, **changes), pending)


AUTHORIZE = case(K.AUTHORIZE, S.INIT)
AUTOMATIC = case(K.AUTHORIZE, S.INIT, capture_method="automatic")
CAPTURE = case(K.CAPTURE, S.AUTHORIZED)
VOID = case(K.VOID, S.AUTHORIZED)
REFUND = case(K.REFUND, S.CAPTURED)


def types(settled: Settlement) -> list[str]:
    return [event.type for event in settled.events]
