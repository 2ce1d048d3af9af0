"""A workflow's start that is not eager goes through the owner's own queue; a terminated workflow is resumed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle

from devstack.stack import DevStack
from tests.faults.arming import doomed_api
from tests.faults.books import at_rest
from tests.faults.deeds import AUTOMATIC, CAPTURE, DEEDS, MANUAL, REFUND, VOID, Asked, Deed
from tests.faults.shop import Shop, patiently
from tests.support.witness import Witness

LAZY = 8  # starts: each is taken by one of four processes, so that some are not taken by the owner
RESUMED_WITHIN_S = 90.0  # the sweeper looks at closed workflows every minute

End = Callable[["WorkflowHandle[Any, Any]"], Awaitable[None]]


async def terminate(handle: "WorkflowHandle[Any, Any]") -> None:
    await handle.terminate("an operator clicked")


async def cancel(handle: "WorkflowHandle[Any, Any]") -> None:
    await handle.cancel()


ENDS = pytest.mark.parametrize("end", [terminate, cancel], ids=["terminated", "cancelled"])


@pytest.fixture(scope="module")
async def temporal(city: DevStack) -> Client:
    return await Client.connect(city.temporal_address)


@pytest.fixture(scope="module", autouse=True)
async def resumed(shop: Shop, temporal: Client) -> AsyncIterator["asyncio.Task[list[Asked]]"]:
    """Captures of payments whose workflows were ended and run again; the other tests use the minute it takes."""
    asked = [await CAPTURE.prepare(shop) for _ in (terminate, cancel)]
    handles = [temporal.get_workflow_handle(one.payment_id) for one in asked]
    for handle, end in zip(handles, (terminate, cancel), strict=True):
        await ended(handle, end)
    task = asyncio.create_task(all_run(asked, handles))
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def all_run(asked: list[Asked], handles: list["WorkflowHandle[Any, Any]"]) -> list[Asked]:
    """The requests, once every workflow runs."""

    async def running() -> bool:
        descriptions = [await handle.describe() for handle in handles]
        return all(one.status is WorkflowExecutionStatus.RUNNING for one in descriptions)

    await patiently(running, within_s=RESUMED_WITHIN_S)
    return asked


async def test_starts_that_are_not_eager_are_sent_once_by_who_holds_the_card(
    city: DevStack, shop: Shop, ledger: Witness, temporal: Client
) -> None:
    async with doomed_api(city, name="lazily") as owner:
        there = shop.at(owner.url)
        asked = [await AUTOMATIC.prepare(there) for _ in range(LAZY)]
        for one in asked:
            owner.arm("authorize", "admitted", one.payment_id, action="lazily", together=1)
        await asyncio.gather(*(one.send(there) for one in asked))
        done = [one for one in asked if await sent_once_or_lost(shop, ledger, one)]
    queues = [await queues_of(temporal.get_workflow_handle(one.payment_id)) for one in done]
    assert any(queue.startswith("owner-") for found in queues for queue in found), queues


async def test_an_owner_that_dies_before_its_queue_is_read_loses_the_card_and_nothing_else(
    city: DevStack, shop: Shop, ledger: Witness
) -> None:
    async with doomed_api(city, name="lazily-dead") as owner:
        there = shop.at(owner.url)
        asked = [await AUTOMATIC.prepare(there) for _ in range(LAZY)]
        for one in asked:
            owner.arm("authorize", "admitted", one.payment_id, action="lazily", together=LAZY)
            owner.arm("authorize", "handed_over", one.payment_id, action="kill", together=LAZY)
        await asyncio.gather(*(one.send(there) for one in asked))
    for one in asked:  # where it is done the owner, or its queue, was quicker than the kill
        await sent_once_or_lost(shop, ledger, one)


@ENDS
@pytest.mark.parametrize("deed", [CAPTURE, VOID], ids=lambda deed: deed.name)
async def test_a_change_of_a_payment_whose_workflow_was_ended_is_done_once(
    shop: Shop, ledger: Witness, temporal: Client, deed: Deed, end: End
) -> None:
    asked = await deed.prepare(shop)
    await ended(temporal.get_workflow_handle(asked.payment_id), end)
    response = await asked.answered(shop)
    asked.check_done(response, await at_rest(shop, ledger, asked.payment_id))


async def test_every_outcome_is_found_though_its_workflow_was_ended_while_it_was_unknown(
    shop: Shop, ledger: Witness, temporal: Client
) -> None:
    async def check(deed: Deed, end: End) -> None:
        asked = await deed.prepare(shop, metadata={"sandbox_fault": f"{deed.kind}:timeout_after_charge"})
        response = await asked.admitted(shop)
        assert response.status_code == 202, response.text
        workflow_id = response.json()["id"]  # the payment's, or the refund's own
        await ended(temporal.get_workflow_handle(workflow_id), end)
        asked.check_done(await asked.answered(shop), await at_rest(shop, ledger, asked.payment_id))

    await asyncio.gather(*(check(deed, end) for deed in DEEDS for end in (terminate, cancel)))


@pytest.mark.parametrize("deed", [MANUAL, REFUND], ids=lambda deed: deed.name)
async def test_a_replay_needs_no_workflow(shop: Shop, temporal: Client, deed: Deed) -> None:
    asked = await deed.prepare(shop)
    first = await asked.answered(shop)
    if deed is MANUAL:
        await ended(temporal.get_workflow_handle(asked.payment_id), terminate)
    again = await asked.send(shop)
    assert again is not None
    assert (again.status_code, again.content) == (first.status_code, first.content)


async def test_a_workflow_that_was_ended_is_resumed_by_itself_and_captures(
    shop: Shop, ledger: Witness, resumed: "asyncio.Task[list[Asked]]"
) -> None:
    for one in await resumed:
        one.check_done(await one.answered(shop), await at_rest(shop, ledger, one.payment_id))


async def sent_once_or_lost(shop: Shop, ledger: Witness, one: Asked) -> bool:
    """Whether it is done; else nobody sent it: the owner did not read its queue within two seconds."""
    response = await one.answered(shop)
    books = await at_rest(shop, ledger, one.payment_id)
    if response.status_code == 201:
        one.check_done(response, books)
        return True
    one.check_undone(response, books, code="card_data_lost")
    return False


async def ended(handle: "WorkflowHandle[Any, Any]", end: End) -> None:
    """The workflow was running and is closed."""
    await end(handle)

    async def closed() -> bool:
        return (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING

    await patiently(closed, within_s=60.0)


async def queues_of(handle: "WorkflowHandle[Any, Any]") -> set[str]:
    """The task queues of the activities in the history."""
    history = await handle.fetch_history()
    scheduled = (event.activity_task_scheduled_event_attributes for event in history.events)
    return {attributes.task_queue.name for attributes in scheduled if attributes.task_queue.name}
