"""Payments on a rail whose customer is asked."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from activities.messages import ActionDue
from payonce.domain.facts import ActionRequired
from payonce.domain.operations import AttemptState, Operation, OperationKind
from payonce.domain.payment import PaymentStatus
from payonce.domain.schedules import CUSTOMER_INQUIRIES
from tests.storage.acting import CAPABILITIES, Process
from tests.storage.ledger import Ledger

K, S, A = OperationKind, PaymentStatus, AttemptState
UPI = replace(
    CAPABILITIES,
    methods=frozenset({"upi.qr"}),
    needs_action=True,
    callbacks=True,
    data_in_memory=False,
    action_inquiry=CUSTOMER_INQUIRIES,
)
METHOD = {"type": "upi", "upi": {"flow": "qr", "vpa": None, "rrn": None}}


async def create_of(ledger: Ledger, **changes: Any) -> Operation:
    paid = await ledger.add_payment(capture_method="automatic", payment_method=METHOD)
    return await ledger.add_operation(paid, K.AUTHORIZE, **changes)


def asked(*, for_s: float = 600) -> ActionRequired:
    until = datetime.now(UTC) + timedelta(seconds=for_s)
    return ActionRequired("acq-authorize", {"type": "upi_qr", "url": "upi://pay?pa=a@b"}, until)


async def waiting(process: Process) -> Operation:
    """A payment whose customer was asked."""
    create = await create_of(process.ledger, claimed=False)
    process.connector.answers["send"] = asked()
    progress = await process.attempt(create)
    assert isinstance(progress, ActionDue)
    return create


async def lapsed(ledger: Ledger, of: Operation) -> None:
    query = "UPDATE attempts SET act_before = now() - interval '1 second' WHERE operation_id = :id"
    await ledger.rows(query, id=of.id)


def types(events: list[tuple[int, str]]) -> list[str]:
    return [type_.removeprefix("payment.") for _, type_ in events]
