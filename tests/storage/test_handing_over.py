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
    """One look at what is due; returns the ids of the workflows started."""
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
    await Sweeper(runtime, temporal).sweep_operations()
    return list(temporal.started)


async def create(ledger: Ledger, state: AttemptState, *, age: timedelta = timedelta()) -> Operation:
    """An authorization that is due to be swept."""
    paid = await ledger.add_payment()
    added = await ledger.add_operation(paid, OperationKind.AUTHORIZE, state=state, sweep_in_s=-1.0)
    query = "UPDATE operations SET created_at = now() - CAST(:age AS interval) WHERE id = :id"
    await ledger.rows(query, age=age, id=added.id)
    return added


@pytest.mark.parametrize("state", [AttemptState.CLAIMED, AttemptState.UNKNOWN, AttemptState.REVERSING])
async def test_a_create_that_may_have_been_sent_is_carried_on(ledger: Ledger, state: AttemptState) -> None:
    of = await create(ledger, state)
    assert await sweep(ledger) == [of.payment_id]


async def test_a_create_that_was_given_back_waits_for_its_merchant(ledger: Ledger) -> None:
    of = await create(ledger, AttemptState.NOT_SENT)
    assert await sweep(ledger) == []
    assert (await ledger.payment(of.payment_id)).status is PaymentStatus.INIT


async def test_a_create_that_nobody_came_back_for_is_closed_after_a_day(ledger: Ledger) -> None:
    of = await create(ledger, AttemptState.NOT_SENT, age=RELEASED_KEPT + timedelta(minutes=1))
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
    started = await sweep(ledger)
    closed = (await ledger.payment(of.payment_id)).status is PaymentStatus.FAILED
    assert closed or started == [of.payment_id]
