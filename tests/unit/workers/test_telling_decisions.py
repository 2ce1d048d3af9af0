"""After a decision: who is told of it, and what happens where Temporal does not answer."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from temporalio.client import RPCError
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCStatusCode

from payonce.domain.errors import NotHandedOver
from payonce.domain.operations import Operation, OperationKind, Origin
from payonce.domain.payment import Payment, PaymentStatus
from tests.support.rows import operation, payment
from workers.decisions import tell

K, S = OperationKind, PaymentStatus


@dataclass
class Temporal:
    """Has these workflows running; remembers what was signalled and started."""

    running: set[str] = field(default_factory=set)
    away: bool = False
    signalled: list[tuple[str, Any]] = field(default_factory=list)
    started: list[str] = field(default_factory=list)

    def get_workflow_handle(self, workflow_id: str) -> "Handle":
        return Handle(self, workflow_id)

    async def start_workflow(self, *_: Any, id: str, **__: Any) -> None:
        if id in self.running:
            raise WorkflowAlreadyStartedError(id, "PaymentWorkflow")
        self.started.append(id)


@dataclass
class Handle:
    temporal: Temporal
    workflow_id: str

    async def signal(self, _name: str, *, args: list[Any], **_: Any) -> None:
        if self.temporal.away:
            raise RPCError("away", RPCStatusCode.UNAVAILABLE, b"")
        if self.workflow_id not in self.temporal.running:
            raise RPCError("none", RPCStatusCode.NOT_FOUND, b"")
        self.temporal.signalled.append((self.workflow_id, args[1]))


async def told(temporal: Temporal, of: Payment, decided: Operation) -> str:
    client: Any = temporal
    return await tell(client, of, decided)


@pytest.mark.parametrize(
    ("kind", "workflow"),
    [(K.AUTHORIZE, "pay_1"), (K.CAPTURE, "pay_1"), (K.REFUND, "op_refund"), (K.REVERSE, "op_reverse")],
)
async def test_the_workflow_that_works_on_the_operation_is_told(kind: OperationKind, workflow: str) -> None:
    of = operation(kind)
    temporal = Temporal(running={workflow})
    assert await told(temporal, payment(S.CAPTURED), of) == "its workflow was told"
    assert temporal.signalled == [(workflow, f"{of.id}-1")]
    assert temporal.started == []


async def test_a_payment_that_is_open_again_has_its_workflow_again() -> None:
    undo = operation(K.UNDO, origin=Origin.ACQUIRER, target_kind=K.VOID)
    temporal = Temporal()
    words = await told(temporal, payment(S.AUTHORIZED), undo)
    assert (words, temporal.started) == ("the payment's workflow was started again", ["pay_1"])
    assert temporal.signalled == []


async def test_one_that_runs_is_not_started_again() -> None:
    temporal = Temporal(running={"pay_1"})
    assert await told(temporal, payment(S.AUTHORIZED), operation(K.CAPTURE)) == "its workflow was told"
    assert temporal.started == []


async def test_where_nobody_waits_nobody_is_told() -> None:
    temporal = Temporal()
    words = await told(temporal, payment(S.CAPTURED), operation(K.REFUND))
    assert (words, temporal.started, temporal.signalled) == ("no workflow waits for it", [], [])


async def test_temporal_that_is_away_is_said() -> None:
    with pytest.raises(NotHandedOver):
        await told(Temporal(away=True), payment(S.AUTHORIZED), operation(K.CAPTURE))
