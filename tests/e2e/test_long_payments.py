"""A payment may have more captures, and hear of more, than a run of Temporal takes: judged by the ledger."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle, WorkflowHistory

from activities.messages import OperationRequest
from devstack.parts import NAMESPACE
from devstack.stack import DevStack
from payonce.domain.operations import OperationKind
from tests.e2e.merchant import Body, Merchant, merchant_with, refused
from tests.support.eventually import eventually
from tests.support.servers import running
from tests.support.witness import Witness, witness_of
from workers.converter import data_converter

UPDATES_MAX, SIGNALS_MAX, SUGGESTED_AFTER = 60, 550, 500
LIMITS = {
    "history.maxTotalUpdates": UPDATES_MAX,
    "history.maximumSignalsPerExecution": SIGNALS_MAX,
    "limit.historyCount.suggestContinueAsNew": SUGGESTED_AFTER,
}
CAPTURES, AT_ONCE = 120, 4
REFUSALS_MAX = 5_000


@pytest.fixture(scope="module")
async def small() -> AsyncIterator[DevStack]:
    """The product on a Temporal whose runs are short."""
    async with running(temporal_settings=LIMITS) as stack:
        yield stack


@pytest.fixture(scope="module")
async def shop(small: DevStack) -> AsyncIterator[Merchant]:
    async with merchant_with(small.api_url, small.api_key) as merchant:
        yield merchant


@pytest.fixture(scope="module")
async def ledger(small: DevStack) -> AsyncIterator[Witness]:
    async with witness_of(small.acquirer_url) as witness:
        yield witness


@pytest.fixture(scope="module")
async def temporal(small: DevStack) -> Client:
    return await Client.connect(small.temporal_address, data_converter=data_converter)


async def test_a_payment_is_captured_more_often_than_a_run_takes_updates(
    shop: Merchant, ledger: Witness, temporal: Client
) -> None:
    """With captures always under way: each is answered 200, once, and every run hands over to the next."""
    payment = await shop.authorized(amount=CAPTURES + 1_000)
    first = await latest_run(temporal, payment)
    left = iter(range(CAPTURES))
    refusals = await asyncio.gather(*(capture_ones(shop, payment, left) for _ in range(AT_ONCE)))
    assert sum(refusals) > 0, "captures raced for the payment"
    now = await shop.payment(payment)
    assert (now["amount_captured"], now["pending_operation"], now["review"]) == (CAPTURES, None, None)
    expected = [("authorize", payment["amount"])] + [("capture", 1)] * CAPTURES
    assert await ledger.movements(payment["id"]) == expected
    assert (await first.describe()).status is WorkflowExecutionStatus.CONTINUED_AS_NEW

    ids = updates_of(await first.fetch_history())
    assert 0 < len(ids) <= UPDATES_MAX
    assert await repeated(temporal, payment, ids[0]) == "partially_captured"
    assert await ledger.movements(payment["id"]) == expected, "an id that the run does not know moves nothing"

    assert (await shop.voided(payment))["status"] == "captured"
    await eventually(partial(completed, temporal, payment))
    assert (await ledger.movements(payment["id"])).count(("capture", 1)) == CAPTURES


async def test_a_payment_hears_more_signals_than_a_run_takes(
    shop: Merchant, ledger: Witness, temporal: Client
) -> None:
    """As an operator or a bug may send them, without any input."""
    payment = await shop.authorized()
    first = await latest_run(temporal, payment)
    for number in range(2 * SIGNALS_MAX):
        await signal_without_input(temporal, payment)
        if not number % 20:  # not faster than the run can look at them
            await temporal.get_workflow_handle(payment["id"]).query("__temporal_workflow_metadata")
    assert (await first.describe()).status is WorkflowExecutionStatus.CONTINUED_AS_NEW
    assert (await shop.captured(payment))["status"] == "captured"
    assert await ledger.movements(payment["id"]) == [("authorize", 1099), ("capture", 1099)]


async def capture_ones(shop: Merchant, payment: Body, left: Iterator[int]) -> int:
    """One unit is captured for each that is left; returns how often another capture was under way."""
    refusals = 0
    for _ in left:
        while True:
            answer = await shop.capture(payment, {"amount": 1, "final": False})
            if answer.status_code == 200:
                break
            refused(answer, 409, "operation_in_progress")
            refusals += 1
            assert refusals < REFUSALS_MAX
    return refusals


async def latest_run(temporal: Client, payment: Body) -> WorkflowHandle[Any, Any]:
    """The handle of the run that goes on now, also when it does not any more."""
    described = await temporal.get_workflow_handle(payment["id"]).describe()
    return temporal.get_workflow_handle(payment["id"], run_id=described.run_id)


def updates_of(history: WorkflowHistory) -> list[str]:
    """The ids of the run's updates: each is its operation's."""
    accepted = [one.workflow_execution_update_accepted_event_attributes for one in history.events]
    return [one.accepted_request.meta.update_id for one in accepted if one.protocol_instance_id]


async def repeated(temporal: Client, payment: Body, operation_id: str) -> str:
    """What the payment's run answers to an update that an earlier run has done."""
    operation = OperationRequest(payment["id"], operation_id, OperationKind.CAPTURE)
    handle = temporal.get_workflow_handle(payment["id"])
    status: str = await handle.execute_update("capture", operation, id=operation_id, result_type=str)
    return status


async def completed(temporal: Client, payment: Body) -> bool:
    described = await temporal.get_workflow_handle(payment["id"]).describe()
    return described.status is WorkflowExecutionStatus.COMPLETED


async def signal_without_input(temporal: Client, payment: Body) -> None:
    """As `temporal workflow signal --name acquirer_spoke` sends it."""
    await temporal.workflow_service.signal_workflow_execution(
        SignalWorkflowExecutionRequest(
            namespace=NAMESPACE,
            workflow_execution=WorkflowExecution(workflow_id=payment["id"]),
            signal_name="acquirer_spoke",
        ),
        retry=True,  # as clients do: while one run makes place for the next, the server says that it is busy
    )
