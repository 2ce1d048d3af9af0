"""What the sweeper does with a create that was given back, and with what Temporal says is done."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import RPCError, WorkflowExecutionStatus, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCStatusCode

from payonce.domain.operations import AttemptState, Operation, OperationKind
from payonce.domain.payment import PaymentStatus
from payonce.storage.sweeping import OWNERS_PAUSE_S, RELEASED_KEPT
from tests.storage.ledger import Ledger, runtime_of, subject
from workers.sweeper import REFUSALS_MAX, Sweeper
from workflows.attributes import PAYMENT_STATUS

COMPLETED, RUNNING = WorkflowExecutionStatus.COMPLETED, WorkflowExecutionStatus.RUNNING
STATUS = {OperationKind.AUTHORIZE: PaymentStatus.INIT, OperationKind.REFUND: PaymentStatus.CAPTURED}


@dataclass
class FakeTemporal:
    """Remembers what began; the workflows in `done` have completed, and say so of themselves and their updates."""

    done: set[str] = field(default_factory=set)
    started: list[str] = field(default_factory=list)

    async def start_workflow(
        self,
        *_args: Any,
        id: str,  # its name
        id_reuse_policy: WorkflowIDReusePolicy,
        **_options: Any,
    ) -> None:
        if id in self.done and id_reuse_policy is not WorkflowIDReusePolicy.ALLOW_DUPLICATE:
            raise WorkflowAlreadyStartedError(id, "a workflow")
        self.started.append(id)

    def get_workflow_handle(self, id: str) -> "Described":
        return Described(COMPLETED if id in self.done else RUNNING)


@dataclass
class Described:
    """A workflow that takes no updates, since it has ended."""

    status: WorkflowExecutionStatus

    async def describe(self, **_options: Any) -> "Described":
        return self

    async def execute_update(self, *_args: Any, **_options: Any) -> None:
        raise RPCError("ended", RPCStatusCode.NOT_FOUND, b"")


def sweeper_of(ledger: Ledger, temporal: Any) -> Sweeper:
    return Sweeper(runtime_of(ledger), temporal, behind_for=timedelta(0))


async def sweep(ledger: Ledger) -> list[str]:
    """One look at what is due, and one at what is over; returns the ids of the workflows started."""
    temporal = FakeTemporal()
    sweeper = sweeper_of(ledger, temporal)
    for kind in filter(lambda kind: kind.carried_out, OperationKind):
        await sweeper.sweep(kind)
    await sweeper.close_released()
    return temporal.started


async def create(ledger: Ledger, state: AttemptState) -> Operation:
    """An authorization whose time to be swept has come."""
    paid = await ledger.add_payment()
    return await ledger.add_operation(paid, OperationKind.AUTHORIZE, state=state, sweep_in_s=-1.0)


async def looked_at_before(ledger: Ledger) -> None:
    """What is pending was taken by the sweeper once, and its time has come again."""
    await ledger.rows("UPDATE operations SET sweeps = 1, sweep_at = now()")


async def age(ledger: Ledger, of: Operation, by: timedelta) -> None:
    """The create was given back so long ago."""
    query = "UPDATE operations SET released_at = released_at - CAST(:by AS interval) WHERE id = :id"
    await ledger.rows(query, by=by, id=of.id)


@pytest.mark.parametrize("state", [AttemptState.CLAIMED, AttemptState.UNKNOWN, AttemptState.REVERSING])
async def test_a_create_that_may_have_been_sent_is_carried_on(ledger: Ledger, state: AttemptState) -> None:
    of = await create(ledger, state)
    await looked_at_before(ledger)
    assert await sweep(ledger) == [of.payment_id]


async def test_a_claim_that_is_seen_for_the_first_time_is_left_to_its_owner_for_a_moment(
    ledger: Ledger,
) -> None:
    """Its COMMIT may have waited for the standby until now: a run would find it stale, and end it as lost."""
    of = await create(ledger, AttemptState.CLAIMED)
    assert await sweep(ledger) == []
    ((pause_s,),) = await ledger.rows(
        "SELECT extract(epoch FROM sweep_at - now()) FROM operations WHERE id = :id", id=of.id
    )
    assert 0 < float(pause_s) <= OWNERS_PAUSE_S
    await ledger.rows("UPDATE operations SET sweep_at = now()")
    assert await sweep(ledger) == [of.payment_id]


async def test_a_create_that_was_given_back_waits_for_its_merchant(ledger: Ledger) -> None:
    of = await create(ledger, AttemptState.NOT_SENT)
    assert await sweep(ledger) == []
    assert (await ledger.payment(of.payment_id)).status is PaymentStatus.INIT


async def test_a_create_that_nobody_came_back_for_is_closed_after_a_day(ledger: Ledger) -> None:
    of = await create(ledger, AttemptState.NOT_SENT)
    await age(ledger, of, RELEASED_KEPT - timedelta(minutes=1))
    assert await sweep(ledger) == []
    assert (await ledger.payment(of.payment_id)).status is PaymentStatus.INIT
    await age(ledger, of, timedelta(minutes=2))
    assert await sweep(ledger) == []
    after = await ledger.payment(of.payment_id)
    assert after.status is PaymentStatus.FAILED
    assert after.last_error is not None
    assert after.last_error["code"] == "not_processed"


async def test_a_create_that_was_answered_with_202_is_not_left_processing_for_a_day(
    ledger: Ledger,
) -> None:
    """Its merchant was told to wait, so nobody sends the request again: it is carried on, and ends as failed.

    It comes to that when the claim of a further attempt fails with Postgres away: the right is used up, the
    workflow ends with `nothing_sent`, and the request, which has no right to withdraw, answers 202.
    """
    of = await create(ledger, AttemptState.NOT_SENT)
    await ledger.recorder().defer(subject(of))
    assert await sweep(ledger) == [of.payment_id]


async def test_a_create_given_back_by_a_process_of_the_release_before_leaves_the_queue(
    ledger: Ledger,
) -> None:
    """Such a process, which may run beside us while we are rolled out, knows of no column to set."""
    of = await create(ledger, AttemptState.NOT_SENT)
    await ledger.rows("UPDATE operations SET released_at = NULL WHERE id = :id", id=of.id)
    assert await sweep(ledger) == []
    ((released_at,),) = await ledger.rows("SELECT released_at FROM operations WHERE id = :id", id=of.id)
    assert released_at is not None


async def test_a_create_claimed_by_a_process_of_the_release_before_comes_back_into_the_queue(
    ledger: Ledger,
) -> None:
    of = await create(ledger, AttemptState.NOT_SENT)
    await ledger.rows("UPDATE attempts SET state = 'claimed' WHERE operation_id = :id", id=of.id)
    await age(ledger, of, RELEASED_KEPT)
    assert await sweep(ledger) == []
    await looked_at_before(ledger)
    assert await sweep(ledger) == [of.payment_id]


@pytest.mark.parametrize("kind", [kind for kind in OperationKind if kind.carried_out])
async def test_what_is_pending_though_its_workflow_completed_runs_again_once_that_was_seen_twice(
    ledger: Ledger, kind: OperationKind
) -> None:
    """A fail-over or a restore lost what was recorded; "already started" was taken for success, for ever."""
    paid = await ledger.add_payment(STATUS.get(kind, PaymentStatus.AUTHORIZED))
    of = await ledger.add_operation(paid, kind, amount_minor=100, sweep_in_s=-1.0)
    own = kind in (OperationKind.REFUND, OperationKind.REVERSE, OperationKind.ACCEPT)
    workflow_id = of.id if own else paid.id
    temporal = FakeTemporal(done={workflow_id})
    sweeper = sweeper_of(ledger, temporal)
    await looked_at_before(ledger)
    for started in (
        [],
        [workflow_id],
        [workflow_id],
        [workflow_id] * 2,
    ):  # the third look is a first one again
        await ledger.rows("UPDATE operations SET sweep_at = now()")
        await sweeper.sweep(kind)
        assert temporal.started == started


@pytest.mark.parametrize("kind", [kind for kind in OperationKind if kind.carried_out])
async def test_what_is_pending_while_its_workflow_runs_is_left_to_it(
    ledger: Ledger, kind: OperationKind
) -> None:
    paid = await ledger.add_payment(STATUS.get(kind, PaymentStatus.AUTHORIZED))
    of = await ledger.add_operation(paid, kind, amount_minor=100, sweep_in_s=-1.0)
    temporal = Busy()
    sweeper = sweeper_of(ledger, temporal)
    for _ in range(3):
        await ledger.rows("UPDATE operations SET sweep_at = now(), sweeps = 0")
        await sweeper.sweep(kind)
    assert temporal.started == []
    ((behind_since,),) = await ledger.rows("SELECT behind_since FROM operations WHERE id = :id", id=of.id)
    assert behind_since is None


class Busy(FakeTemporal):
    """Every workflow runs, and none has come to an end of anything."""

    async def start_workflow(self, *_args: Any, id: str, **_options: Any) -> None:
        raise WorkflowAlreadyStartedError(id, "a workflow")

    def get_workflow_handle(self, id: str) -> "BusyHandle":
        return BusyHandle(RUNNING)


class BusyHandle(Described):
    typed_search_attributes = TypedSearchAttributes(
        [SearchAttributePair(PAYMENT_STATUS, PaymentStatus.PROCESSING)]
    )

    async def execute_update(self, *_args: Any, **_options: Any) -> None:
        raise WorkflowUpdateRPCTimeoutOrCancelledError


@pytest.mark.parametrize("claimed", [True, False])
async def test_an_authorization_that_its_running_workflow_does_not_find_is_reviewed_the_third_time(
    ledger: Ledger, claimed: bool
) -> None:
    """Told to ask again and again, and with nothing that it could ask about it would do so for ever."""
    paid = await ledger.add_payment()
    of = await ledger.add_operation(paid, OperationKind.AUTHORIZE, claimed=claimed, sweep_in_s=-1.0)
    sweeper = sweeper_of(ledger, Past())
    await looked_at_before(ledger)
    for looks in range(1, 2 * REFUSALS_MAX + 1):
        await ledger.rows("UPDATE operations SET sweep_at = now()")
        await sweeper.sweep(OperationKind.AUTHORIZE)
        review = (await ledger.payment(paid.id)).review
        reviewed = looks == 2 * REFUSALS_MAX  # every second look is the first of the next disagreement
        assert (review and review["reason"]) == ("recording_lost" if reviewed else None)
    assert (await ledger.operation(of.id)).review_at is not None


class Past(Busy):
    """Every workflow runs, and is past its authorization."""

    def get_workflow_handle(self, id: str) -> "PastHandle":
        return PastHandle(RUNNING)


class PastHandle(Described):
    typed_search_attributes = TypedSearchAttributes(
        [SearchAttributePair(PAYMENT_STATUS, PaymentStatus.AUTHORIZED)]
    )

    async def signal(self, *_args: Any, **_options: Any) -> None:
        """It is taken, and finds nothing."""
