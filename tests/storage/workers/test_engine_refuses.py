"""What Temporal refuses, and what ended with its run: who is told, and under which id it is sent again."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as Packed
from temporalio.api.common.v1 import GrpcStatus
from temporalio.api.enums.v1 import ResourceExhaustedCause
from temporalio.api.errordetails.v1 import ResourceExhaustedFailure
from temporalio.client import RPCError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCStatusCode

from payonce.domain.errors import EngineRefused, NotHandedOver
from payonce.domain.operations import Operation, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from tests.storage.ledger import Ledger
from tests.storage.sweeping import sweeper_of
from workers.dispatch import Dispatcher
from workers.sweeper import REFUSALS_MAX
from workflows.renewal import BEGUN_ANEW, BegunAnew
from workflows.told import REFUSED

K, S = OperationKind, PaymentStatus
WITHIN = timedelta(seconds=2)
FULL = "limit on number of total updates has been reached (2000)"


def rpc_error(status: RPCStatusCode) -> RPCError:
    return RPCError(FULL, status, b"")


def exhausted(cause: ResourceExhaustedCause.ValueType) -> RPCError:
    """As the server says what there is too much of."""
    detail = Packed()
    detail.Pack(ResourceExhaustedFailure(cause=cause))
    status = GrpcStatus(code=RPCStatusCode.RESOURCE_EXHAUSTED, details=[detail])
    return RPCError("exhausted", RPCStatusCode.RESOURCE_EXHAUSTED, status.SerializeToString())


def failed(type_: str | None) -> WorkflowUpdateFailedError:
    return WorkflowUpdateFailedError(ApplicationError("it failed", type=type_))


NEVER_TAKEN = [
    rpc_error(RPCStatusCode.FAILED_PRECONDITION),
    rpc_error(RPCStatusCode.INVALID_ARGUMENT),
    exhausted(ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT),
    failed(REFUSED),
]
NOT_TAKEN_NOW = [
    rpc_error(RPCStatusCode.UNAVAILABLE),
    rpc_error(RPCStatusCode.RESOURCE_EXHAUSTED),
    exhausted(ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_RPS_LIMIT),
    exhausted(ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW),
]
ENDED_WITH_ITS_RUN = [failed("AcceptedUpdateCompletedWorkflow"), failed(BEGUN_ANEW)]


@dataclass
class Temporal:
    """Answers every update, signal and start with this error; remembers the updates' ids."""

    error: Exception
    ids: list[str] = field(default_factory=list)

    def get_workflow_handle(self, _id: str) -> "Temporal":
        return self

    async def execute_update(self, *_args: Any, id: str, **_options: Any) -> None:
        self.ids.append(id)
        raise self.error

    async def signal(self, *_args: Any, **_options: Any) -> None:
        raise self.error

    async def start_workflow(self, *_args: Any, **_options: Any) -> None:
        raise self.error


def dispatcher(temporal: Any) -> Dispatcher:
    return Dispatcher(temporal)


async def capture_of(ledger: Ledger) -> Operation:
    return await ledger.add_operation(await ledger.add_payment(S.AUTHORIZED), K.CAPTURE, sweep_in_s=-1.0)


async def sweep(ledger: Ledger, temporal: Temporal, of: Operation) -> None:
    """The operation is due and looked at once."""
    await ledger.rows("UPDATE operations SET sweep_at = now() WHERE id = :id", id=of.id)
    await sweeper_of(ledger, temporal).sweep(of.kind)


async def refusals(ledger: Ledger, of: Operation) -> int:
    ((count,),) = await ledger.rows("SELECT refusals FROM operations WHERE id = :id", id=of.id)
    return int(count)


@pytest.mark.parametrize("error", NEVER_TAKEN, ids=str)
async def test_the_third_refusal_of_an_admitted_capture_calls_an_operator_once(
    ledger: Ledger, error: Exception
) -> None:
    """It had been sent again every ten seconds for ever, and nobody was told."""
    capture, temporal = await capture_of(ledger), Temporal(error)
    for count in range(1, REFUSALS_MAX + 2):
        await sweep(ledger, temporal, capture)
        assert await refusals(ledger, capture) == count
        review = (await ledger.payment(capture.payment_id)).review
        assert (review and review["reason"]) == ("engine_refused" if count >= REFUSALS_MAX else None)
    assert [type_ for _, type_ in await ledger.events(capture.payment_id)] == ["payment.needs_review"]
    assert set(temporal.ids) == {capture.id}, "what was never taken is not sent under another id"
    assert (await ledger.operation(capture.id)).status is OperationStatus.PENDING


async def test_a_refused_operation_is_looked_at_ever_more_seldom(ledger: Ledger) -> None:
    capture, temporal = await capture_of(ledger), Temporal(NEVER_TAKEN[0])
    for _ in range(4):
        await sweep(ledger, temporal, capture)
    query = "SELECT extract(epoch FROM sweep_at - now()) FROM operations WHERE id = :id"
    ((pause_s,),) = await ledger.rows(query, id=capture.id)
    assert float(pause_s) > 60


async def test_a_refund_whose_start_is_refused_calls_an_operator_too(ledger: Ledger) -> None:
    refund = await ledger.add_operation(await ledger.add_payment(S.CAPTURED), K.REFUND, claimed=False)
    temporal = Temporal(rpc_error(RPCStatusCode.INVALID_ARGUMENT))
    for _ in range(REFUSALS_MAX):
        await sweep(ledger, temporal, refund)
    review = (await ledger.payment(refund.payment_id)).review
    assert review is not None
    assert review["reason"] == "engine_refused"


@pytest.mark.parametrize("error", NOT_TAKEN_NOW, ids=str)
async def test_an_engine_that_is_busy_or_away_has_refused_nothing(ledger: Ledger, error: Exception) -> None:
    capture = await capture_of(ledger)
    for _ in range(REFUSALS_MAX + 1):
        await sweep(ledger, Temporal(error), capture)
    assert await refusals(ledger, capture) == 0
    assert (await ledger.payment(capture.payment_id)).review is None


async def test_an_operation_that_has_its_outcome_is_not_refused_any_more(ledger: Ledger) -> None:
    capture = await capture_of(ledger)
    await sweep(ledger, Temporal(NEVER_TAKEN[0]), capture)
    await ledger.rows("UPDATE operations SET status = 'succeeded' WHERE id = :id", id=capture.id)
    looking = sweeper_of(ledger, Temporal(NEVER_TAKEN[0]))
    for _ in range(REFUSALS_MAX):
        await looking._refused(capture, reason="engine_refused")
    assert await refusals(ledger, capture) == 1
    assert (await ledger.payment(capture.payment_id)).review is None


@pytest.mark.parametrize("error", ENDED_WITH_ITS_RUN, ids=lambda error: error.cause.type)
async def test_an_update_that_ended_with_its_run_was_reached_and_keeps_its_id(
    ledger: Ledger, error: WorkflowUpdateFailedError
) -> None:
    capture = await capture_of(ledger)
    payment, temporal = await ledger.payment(capture.payment_id), Temporal(error)
    for sweeps in (0, 5):
        with pytest.raises(NotHandedOver) as not_done:
            await dispatcher(temporal).update_payment(payment, capture, within=WITHIN, sweeps=sweeps)
        assert not_done.value.reached
        assert not isinstance(not_done.value, EngineRefused)
    assert temporal.ids == [capture.id] * 2


async def test_an_update_that_failed_itself_goes_on_under_another_id(ledger: Ledger) -> None:
    capture = await capture_of(ledger)
    payment, temporal = await ledger.payment(capture.payment_id), Temporal(failed("unresolved"))
    await dispatcher(temporal).update_payment(payment, capture, within=WITHIN, sweeps=5)
    assert temporal.ids == [capture.id, f"{capture.id}-5"]


async def test_a_run_that_takes_no_more_signals_leaves_a_callback_to_a_workflow_of_its_own(
    ledger: Ledger,
) -> None:
    capture = await capture_of(ledger)
    full = Temporal(rpc_error(RPCStatusCode.INVALID_ARGUMENT))
    assert not await dispatcher(full).acquirer_spoke(capture, f"{capture.id}-1")
    away = Temporal(rpc_error(RPCStatusCode.UNAVAILABLE))
    with pytest.raises(NotHandedOver):
        await dispatcher(away).acquirer_spoke(capture, f"{capture.id}-1")


def test_what_a_run_says_when_it_ends_is_what_the_dispatcher_reads() -> None:
    assert BegunAnew().type == BEGUN_ANEW
