"""However much of one kind waits, and of whatever waits for its merchant, the rest is handed over in its turn."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from prometheus_client import REGISTRY
from psycopg import AsyncConnection
from sqlalchemy import text
from temporalio.client import RPCError, WorkflowExecutionStatus
from temporalio.common import TypedSearchAttributes
from temporalio.service import RPCStatusCode

from payonce.domain.operations import OperationKind
from payonce.domain.payment import PaymentStatus
from payonce.storage import attempts, sweeping
from tests.storage.ledger import Ledger
from tests.storage.sweeping import sweeper_of
from workers import sweeper
from workers.sweeper import OPERATIONS_AT_ONCE

K, S = OperationKind, PaymentStatus
RELEASED, CAPTURES = 50_000, 5_000
# At least one take a second of each kind, so this many of another kind stand for 15 s.
HANDED_OVER_IN_15_S = 15 * OPERATIONS_AT_ONCE
NEVER_S = 3_600.0


@dataclass
class Temporal:
    """Remembers what it is handed, in that order; `takes_updates` off: no worker is there for captures."""

    takes_updates: bool = True
    refuses: dict[str, Exception] = field(default_factory=dict)
    handed_over: list[str] = field(default_factory=list)
    status = WorkflowExecutionStatus.RUNNING  # of every workflow
    typed_search_attributes = TypedSearchAttributes.empty
    refund_came: asyncio.Event = field(default_factory=asyncio.Event)

    async def start_workflow(self, *_args: Any, id: str, **_options: Any) -> None:  # its name
        await asyncio.sleep(0)
        if id in self.refuses:
            raise self.refuses[id]
        self.handed_over.append(id)
        if id.startswith("refund"):
            self.refund_came.set()

    def get_workflow_handle(self, _id: str) -> "Temporal":
        return self

    async def execute_update(self, *_args: Any, id: str, **_options: Any) -> None:
        self.handed_over.append(id)
        if not self.takes_updates:
            await asyncio.Event().wait()

    async def describe(self, **_options: Any) -> "Temporal":
        return self

    async def list_workflows(self, _query: str, **_options: Any) -> AsyncIterator[Any]:
        for nothing in ():
            yield nothing


# The row of one, with what must differ changed.
_COPIES = {
    "payments": """
        INSERT INTO payments SELECT copy.* FROM payments AS one, generate_series(1, %(count)s) AS place,
            jsonb_populate_record(one, jsonb_build_object(
                'id', %(name)s || place, 'idempotency_key', %(name)s || place)) AS copy
         WHERE one.id = %(payment)s
    """,
    "operations": """
        INSERT INTO operations SELECT copy.* FROM operations AS one, generate_series(1, %(count)s) AS place,
            jsonb_populate_record(one, jsonb_build_object(
                'id', %(name)s || place, 'payment_id', %(name)s || place,
                'sweep_at', now() - interval '1 h' - place * interval '1 s')) AS copy
         WHERE one.id = %(operation)s
    """,
    "attempts": """
        INSERT INTO attempts SELECT copy.* FROM attempts AS one, generate_series(1, %(count)s) AS place,
            jsonb_populate_record(one, jsonb_build_object(
                'operation_id', %(name)s || place, 'payment_id', %(name)s || place,
                'reference', %(name)s || place)) AS copy
         WHERE one.operation_id = %(operation)s
    """,
}


async def copies(ledger: Ledger, name: str, count: int, *, payment: str, operation: str) -> None:
    """So many payments with the same operation and attempt as this one, all of them long overdue."""
    url = ledger.url.replace("+psycopg", "")
    values = {"name": name, "count": count, "payment": payment, "operation": operation}
    async with await AsyncConnection.connect(url) as connection:
        for statement in _COPIES.values():
            await connection.execute(statement, values)


async def add_released(ledger: Ledger, count: int) -> None:
    """Creates that were given back, as the release leaves them."""
    paid = await ledger.add_payment()
    create = await ledger.add_operation(paid, K.AUTHORIZE, sweep_in_s=-1.0)
    async with ledger.database.transaction() as connection:
        await attempts.release(connection, operation_id=create.id, number=1, token="run_1")
    await copies(ledger, "released_", count, payment=paid.id, operation=create.id)


async def add_captures(ledger: Ledger, count: int) -> None:
    paid = await ledger.add_payment(S.AUTHORIZED)
    capture = await ledger.add_operation(paid, K.CAPTURE, sweep_in_s=60.0)
    await copies(ledger, "capture_", count, payment=paid.id, operation=capture.id)


async def add_refunds(ledger: Ledger, count: int) -> list[str]:
    paid = await ledger.add_payment(S.CAPTURED)
    return [
        (
            await ledger.add_operation(
                paid, K.REFUND, id=f"refund_{number}", amount_minor=1, claimed=False, sweep_in_s=-0.01
            )
        ).id
        for number in range(count)
    ]


@pytest.mark.parametrize("takes_updates", [True, False], ids=["captures go on", "captures hang"])
async def test_a_refund_is_handed_over_within_15_s_of_takes_whatever_else_waits(
    ledger: Ledger, takes_updates: bool
) -> None:
    """With 20,000 creates that were given back, refunds waited 283 s."""
    await add_released(ledger, RELEASED)
    await add_captures(ledger, CAPTURES)
    (refund,) = await add_refunds(ledger, 1)
    temporal, stop = Temporal(takes_updates), asyncio.Event()
    working = asyncio.create_task(sweeper_of(ledger, temporal).run(stop))
    async with asyncio.timeout(60):
        await temporal.refund_came.wait()
    stop.set()
    await working
    assert temporal.handed_over.index(refund) <= HANDED_OVER_IN_15_S
    assert not [id_ for id_ in temporal.handed_over if id_.startswith("released_")]


async def test_what_is_due_is_taken_among_what_was_given_back_whatever_the_planner_knows(
    ledger: Ledger,
) -> None:
    await add_released(ledger, RELEASED)
    await add_captures(ledger, CAPTURES)
    refunds = await add_refunds(ledger, 5)
    for _ in range(2):
        taken = {kind: await _taken(ledger, kind) for kind in K}
        assert len(taken[K.CAPTURE]) == OPERATIONS_AT_ONCE
        assert (taken[K.REFUND], taken[K.AUTHORIZE]) == (set(refunds), set())
        await ledger.rows("UPDATE operations SET sweep_at = now() WHERE kind = 'refund'")
        async with ledger.database.transaction() as connection:
            await connection.execute(text("ANALYZE operations"))


async def _taken(ledger: Ledger, kind: OperationKind) -> set[str]:
    async with ledger.database.transaction() as connection:
        taken = await sweeping.dequeue(connection, kind, limit=OPERATIONS_AT_ONCE)
        await sweeping.dequeue_released(connection, limit=OPERATIONS_AT_ONCE)
    return {due.operation.id for due in taken}


async def test_a_queue_is_looked_at_again_at_once_while_a_take_was_full(ledger: Ledger) -> None:
    takes = 3
    await add_captures(ledger, takes * OPERATIONS_AT_ONCE + 1)
    temporal = Temporal()
    looking = sweeper_of(ledger, temporal)
    assert [await looking.sweep(K.CAPTURE) for _ in range(takes + 1)] == [True] * takes + [False]
    assert len(set(temporal.handed_over)) == takes * OPERATIONS_AT_ONCE + 1


async def test_a_full_queue_is_not_looked_at_again_at_once_while_temporal_is_away(ledger: Ledger) -> None:
    refunds = await add_refunds(ledger, OPERATIONS_AT_ONCE)
    away = RPCError("away", RPCStatusCode.UNAVAILABLE, b"")
    temporal = Temporal(refuses=dict.fromkeys(refunds, away))
    assert not await sweeper_of(ledger, temporal).sweep(K.REFUND)


async def test_an_operation_that_breaks_its_hand_over_holds_up_no_other(ledger: Ledger) -> None:
    refunds = await add_refunds(ledger, 3)
    temporal = Temporal(refuses={refunds[1]: ValueError("a bug of ours")})
    with structlog.testing.capture_logs() as logs:
        await sweeper_of(ledger, temporal).sweep(K.REFUND)
    assert sorted(temporal.handed_over) == [refunds[0], refunds[2]]
    assert [
        (entry["log_level"], entry["operation_id"]) for entry in logs if entry["event"] == "sweep_failed"
    ] == [("error", refunds[1])]


async def test_a_sweep_pauses_only_when_nothing_is_left_and_outlives_every_error() -> None:
    """One that the storage does not know how to classify ended the process before."""
    stop, left = asyncio.Event(), [True, RuntimeError("a state that nobody expected"), True, False]
    pauses: list[float] = []

    async def work() -> bool:
        end = left.pop(0)
        if not left:
            stop.set()
        if isinstance(end, Exception):
            raise end
        return bool(end)

    async def pause(_stop: asyncio.Event, *, timeout_s: float) -> None:
        pauses.append(timeout_s)

    with pytest.MonkeyPatch.context() as patch, structlog.testing.capture_logs() as logs:
        patch.setattr(sweeper, "first", pause)
        await sweeper._every(NEVER_S, "work", work, stop)
    assert not left
    assert pauses == [NEVER_S] * 2  # after the error, and at the end
    assert [(entry["log_level"], entry["work"]) for entry in logs] == [("error", "work")]


@pytest.mark.parametrize("breaks", [False, True])
async def test_a_round_that_ended_well_says_when_and_one_that_broke_does_not(breaks: bool) -> None:
    stop, name = asyncio.Event(), f"round_{breaks}"

    async def work() -> bool:
        assert ended_at(name) == 0  # there before the first round has ended
        stop.set()
        if breaks:
            raise RuntimeError("a state that nobody expected")
        return False

    began_at = time.time()
    await sweeper._every(NEVER_S, name, work, stop)
    assert ended_at(name) == 0 if breaks else ended_at(name) >= began_at


def ended_at(name: str) -> float:
    found = REGISTRY.get_sample_value("payonce_job_last_success_timestamp_seconds", {"name": name})
    assert found is not None
    return found
