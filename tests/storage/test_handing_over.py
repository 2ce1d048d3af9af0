"""What the sweeper does with a create that was given back."""

from datetime import timedelta
from typing import Any

import pytest

from payonce.claims import Rights
from payonce.domain.operations import AttemptState, Operation, OperationKind
from payonce.domain.payment import PaymentStatus
from payonce.runtime import Runtime
from payonce.settings import Settings
from payonce.storage.sweeping import RELEASED_KEPT
from payonce.wakeups import WakeUps
from tests.storage.ledger import IDS, FakeRedis, Ledger, subject
from workers.sweeper import Sweeper


class FakeTemporal:
    """Remembers what was started."""

    def __init__(self) -> None:
        self.started: list[str] = []

    async def start_workflow(self, *_args: Any, id: str, **_options: Any) -> None:  # its name
        self.started.append(id)


async def sweep(ledger: Ledger) -> list[str]:
    """One look at what is due, and one at what is over; returns the ids of the workflows started."""
    settings = Settings(
        database_url=ledger.url,
        redis_url="redis://nowhere",
        temporal_address="nowhere",
        derivation_key="d" * 32,  # type: ignore[arg-type]
    )
    redis: Any = FakeRedis()
    temporal: Any = FakeTemporal()
    recorder = ledger.recorder()
    runtime = Runtime(settings, ledger.database, redis, WakeUps(redis), IDS, Rights(), recorder, (), {})
    sweeper = Sweeper(runtime, temporal)
    for kind in OperationKind:
        await sweeper.sweep(kind)
    await sweeper.close_released()
    return list(temporal.started)


async def create(ledger: Ledger, state: AttemptState) -> Operation:
    """An authorization whose time to be swept has come."""
    paid = await ledger.add_payment()
    return await ledger.add_operation(paid, OperationKind.AUTHORIZE, state=state, sweep_in_s=-1.0)


async def age(ledger: Ledger, of: Operation, by: timedelta) -> None:
    """The create was given back so long ago."""
    query = "UPDATE operations SET released_at = released_at - CAST(:by AS interval) WHERE id = :id"
    await ledger.rows(query, by=by, id=of.id)


@pytest.mark.parametrize("state", [AttemptState.CLAIMED, AttemptState.UNKNOWN, AttemptState.REVERSING])
async def test_a_create_that_may_have_been_sent_is_carried_on(ledger: Ledger, state: AttemptState) -> None:
    of = await create(ledger, state)
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
    await ledger.rows("UPDATE operations SET sweep_at = now() WHERE id = :id", id=of.id)
    assert await sweep(ledger) == [of.payment_id]
