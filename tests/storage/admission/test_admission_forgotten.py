"""What Postgres has just admitted for the first time, and Temporal knows: it was forgotten, and may have moved."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from api.admission.hand_over import Carrier
from api.admission.transaction import Admitted
from payonce.clock import boot_clock_s
from payonce.connectors.base import call_of
from payonce.domain.operations import OperationKind
from payonce.domain.payment import PaymentStatus
from payonce.rights import SEND_WITHIN_S, Right
from payonce.runtime import Runtime
from tests.storage.ledger import Ledger, runtime_of
from workflows.attributes import PAYMENT_STATUS

Status = WorkflowExecutionStatus


@dataclass
class Knowing:
    """A Temporal that has had a workflow of every id: it goes on, undecided, or has ended so."""

    status: Status
    doubted: list[bool] = field(default_factory=list)  # of those that it started all the same
    told: list[str] = field(default_factory=list)
    typed_search_attributes = TypedSearchAttributes(
        [SearchAttributePair(PAYMENT_STATUS, PaymentStatus.PROCESSING)]
    )

    async def start_workflow(
        self, *_args: Any, id: str, id_reuse_policy: WorkflowIDReusePolicy, args: list[Any], **_options: Any
    ) -> None:
        again = id_reuse_policy is WorkflowIDReusePolicy.ALLOW_DUPLICATE
        if self.status is Status.RUNNING or not again:
            raise WorkflowAlreadyStartedError(id, "a workflow")
        self.doubted.append(args[0].doubted)

    def get_workflow_handle(self, _id: str) -> "Knowing":
        return self

    async def describe(self, **_options: Any) -> "Knowing":
        return self

    async def signal(self, _name: str, *, args: list[Any], **_options: Any) -> None:
        self.told.append(args[1])


async def admitted(runtime: Runtime, ledger: Ledger, *, retried: bool = False) -> Admitted:
    """A create with the right to send it."""
    paid = await ledger.add_payment()
    create = await ledger.add_operation(paid, OperationKind.AUTHORIZE)
    claim = await ledger.latest(create.id)
    call = call_of(paid, create, reference=claim.reference)
    right = Right(call, claim.number, claim.token, "account_1", boot_clock_s() + SEND_WITHIN_S)
    runtime.rights.grant(create.id, right)
    return Admitted(paid, create, right, retried=retried)


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.TERMINATED], ids=str)
async def test_it_runs_again_and_asks_first_however_its_workflow_ended(
    shared_ledger: Ledger, status: Status
) -> None:
    runtime, temporal = runtime_of(shared_ledger), Knowing(status)
    new: Any = await admitted(runtime, shared_ledger)
    await Carrier(runtime, temporal).hand_over(new)  # type: ignore[arg-type]
    assert temporal.doubted == [True]
    assert runtime.rights.doubts(new.operation.id)
    assert runtime.rights.take(new.operation.id) is new.right


async def test_one_whose_workflow_goes_on_is_asked_about_and_sent_by_nobody(shared_ledger: Ledger) -> None:
    runtime, temporal = runtime_of(shared_ledger), Knowing(Status.RUNNING)
    new = await admitted(runtime, shared_ledger)
    await Carrier(runtime, temporal).hand_over(new)  # type: ignore[arg-type]
    assert new.right is not None
    assert temporal.told == [new.right.call.reference]
    assert runtime.rights.take(new.operation.id) is None


async def test_a_key_that_was_given_back_may_have_a_run_and_goes_on_there(shared_ledger: Ledger) -> None:
    runtime, temporal = runtime_of(shared_ledger), Knowing(Status.RUNNING)
    again = await admitted(runtime, shared_ledger, retried=True)
    await Carrier(runtime, temporal).hand_over(again)  # type: ignore[arg-type]
    assert temporal.told == []
    assert not runtime.rights.doubts(again.operation.id)
    assert runtime.rights.take(again.operation.id) is again.right
