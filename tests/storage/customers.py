"""Payments on a rail whose customer is asked."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from activities.messages import ActionDue
from api.admission.admission import Admission
from payonce.accounts import Accounts
from payonce.domain.facts import ActionRequired
from payonce.domain.operations import AttemptState, Operation, OperationKind
from payonce.domain.payment import PaymentStatus
from payonce.domain.schedules import CUSTOMER_INQUIRIES
from tests.storage.acting import CAPABILITIES, Process
from tests.storage.admitting import NoTemporal, post
from tests.storage.ledger import Ledger, runtime_of

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


def admission(process: Process) -> Admission:
    temporal: Any = NoTemporal()
    runtime = replace(
        runtime_of(process.ledger), accounts=Accounts(connectors={"account_1": process.connector})
    )
    return Admission(runtime, temporal)


async def given_up(process: Process, create: Operation, *, by: str = "") -> Operation:
    """The void of the payment, admitted with Temporal away."""
    request = post(process.ledger, by or create.id)
    result = await admission(process).void(request, create.payment_id, reason=None)
    assert result.current is not None
    shown = json.loads(result.current)
    assert (shown["next_action"], shown["pending_operation"]) == (None, {"type": "void", "amount": 1000})
    pending = (await process.ledger.payment(create.payment_id)).pending_operation
    assert pending is not None
    return await process.ledger.operation(str(pending["id"]))


async def answer_of(ledger: Ledger, of: Operation) -> Any:
    """The stored answer; None while there is none."""
    query = "SELECT answer_body FROM idempotency_keys WHERE operation_id = :id"
    body = (await ledger.rows(query, id=of.id))[0].answer_body
    return None if body is None else json.loads(body)


async def of_payment(process: Process, create: Operation) -> list[str]:
    return types(await process.ledger.events(create.payment_id))


def called(process: Process) -> list[str]:
    return [name for name, _ in process.connector.calls]
