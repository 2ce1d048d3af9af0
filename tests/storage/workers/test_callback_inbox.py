"""The inbox of callbacks: received once, handed to whoever works on the operation, swept when nobody did."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from payonce.connectors.base import Callback
from payonce.domain.errors import CallbackInvalid
from payonce.domain.ids import attempt_reference
from payonce.domain.operations import AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.storage import callbacks
from payonce.storage.callbacks import KEPT, UNKNOWN_FOR, Received
from tests.storage.hearing import Temporal
from tests.storage.ledger import IDS, Ledger, runtime_of
from tests.support.eventually import eventually
from workers.inbox import PAUSE_S, PAUSE_S_MAX, REFERENCES_MAX, Inbox, ReferenceTurns

K, S = OperationKind, PaymentStatus
UPI, AT = "sandbox_card", ("account_1",)  # the connector and the account on the rows of `Ledger`


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def temporal() -> Temporal:
    return Temporal()


@pytest.fixture
async def inbox(ledger: Ledger, temporal: Any, clock: Clock) -> AsyncIterator[Inbox]:
    opened = Inbox(runtime_of(ledger), temporal, turns=ReferenceTurns(clock))
    yield opened
    await opened.drain()


async def create_of(ledger: Ledger, **changes: Any) -> Operation:
    return await ledger.add_operation(await ledger.add_payment(), K.AUTHORIZE, **changes)


def told(of: Operation, event_id: str = "cb_1") -> Callback:
    return Callback(event_id, attempt_reference(of.id, 1))


async def handled(ledger: Ledger) -> int:
    return len(await ledger.rows("SELECT 1 FROM callbacks WHERE handled_at IS NOT NULL"))


async def until_handled(ledger: Ledger, count: int = 1) -> None:
    async def all_are() -> bool:
        return await handled(ledger) == count

    await eventually(all_are)


async def test_the_payments_workflow_is_told_once_however_often_the_acquirer_says_it(
    ledger: Ledger, inbox: Inbox, temporal: Temporal
) -> None:
    create = await create_of(ledger)
    temporal.running.add(create.payment_id)
    for _ in range(5):
        await inbox.receive(UPI, told(create), accounts=AT)
    await until_handled(ledger)
    await inbox.receive(UPI, told(create), accounts=AT)
    assert temporal.signals == [(create.payment_id, attempt_reference(create.id, 1))]
    assert temporal.started == []
    assert await ledger.count("callbacks") == 1


async def test_two_messages_in_either_order_make_it_ask_twice(
    ledger: Ledger, inbox: Inbox, temporal: Temporal, clock: Clock
) -> None:
    create = await create_of(ledger)
    temporal.running.add(create.payment_id)
    await inbox.receive(UPI, told(create, "cb_2"), accounts=AT)
    await until_handled(ledger)
    clock.now_s += PAUSE_S
    await inbox.receive(UPI, told(create, "cb_1"), accounts=AT)
    await until_handled(ledger, 2)
    assert len(temporal.signals) == 2


def test_turns_come_ever_more_seldom_until_nothing_more_is_said(clock: Clock) -> None:
    turns = ReferenceTurns(clock)
    begun_s, taken_s = clock.now_s, []
    for _ in range(12):
        clock.now_s += turns.take("pay_1-1")
        taken_s.append(clock.now_s - begun_s)
    assert taken_s[:5] == [0, 1, 3, 7, 15]
    assert taken_s[-1] - taken_s[-2] == PAUSE_S_MAX
    assert turns.take("pay_2-1") == 0
    clock.now_s += 2 * PAUSE_S_MAX
    assert [turns.wait_s("pay_1-1"), turns.take("pay_1-1"), turns.take("pay_1-1")] == [0, 0, PAUSE_S]


def test_what_comes_after_a_flood_waits_no_longer_than_the_flood_lasted(clock: Clock) -> None:
    """A genuine message after forged ones is followed up with them, after `PAUSE_S_MAX` at the longest."""
    turns = ReferenceTurns(clock)
    begun_s = due_s = clock.now_s
    for second in range(3_000):
        clock.now_s = begun_s + second
        if (
            clock.now_s >= due_s
        ):  # as the inbox: nothing waits, so this message takes a turn, and the next ones join
            due_s = clock.now_s + turns.take("pay_1-1")
        assert due_s - clock.now_s <= min(second + PAUSE_S, PAUSE_S_MAX)


def test_turns_remember_a_limited_number_of_references(clock: Clock) -> None:
    turns = ReferenceTurns(clock)
    for number in range(REFERENCES_MAX + 1):
        turns.take(number)
    assert [turns.take(0), turns.take(REFERENCES_MAX)] == [0, PAUSE_S]


async def test_many_messages_of_one_attempt_make_it_ask_twice(
    ledger: Ledger, temporal: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 14, 6: 200 forged callbacks made 200 signals. Of the first, at once; for all others, a pause later."""
    received = asyncio.Event()

    async def until_all_are(_ending: asyncio.Event, *, timeout_s: float) -> bool:
        """The pause, however long 200 of them take."""
        assert timeout_s == PAUSE_S
        await received.wait()
        return False

    monkeypatch.setattr("workers.inbox.first", until_all_are)
    inbox = Inbox(runtime_of(ledger), temporal, turns=ReferenceTurns(clock))
    create = await create_of(ledger)
    temporal.running.add(create.payment_id)
    for number in range(200):
        await inbox.receive(UPI, told(create, f"cb_{number}"), accounts=AT)
    received.set()
    await until_handled(ledger, 200)
    assert len(temporal.signals) == 2
    await inbox.drain()


async def test_what_waits_for_its_turn_is_the_sweepers_when_the_process_ends(
    ledger: Ledger, inbox: Inbox, temporal: Temporal
) -> None:
    create = await create_of(ledger)
    temporal.running.add(create.payment_id)
    for number in range(3):
        await inbox.receive(UPI, told(create, f"cb_{number}"), accounts=AT)
    await inbox.drain()
    assert (await handled(ledger), len(temporal.signals)) == (1, 1)
    await ledger.rows("UPDATE callbacks SET sweep_at = now()")
    assert await inbox.sweep(limit=10) == 2
    assert (await handled(ledger), len(temporal.signals)) == (3, 2)  # one for both


async def test_one_workflow_is_open_for_an_attempt_however_often_the_acquirer_speaks(
    ledger: Ledger, inbox: Inbox, temporal: Temporal, clock: Clock
) -> None:
    """Issue 14, 6: 60 forged callbacks made 60 workflows."""
    create = await create_of(ledger, state=AttemptState.NOT_PROCESSED, status=OperationStatus.FAILED)
    workflow_id = IDS.callback(connector=UPI, reference=attempt_reference(create.id, 1))
    for number in range(60):
        await inbox.receive(UPI, told(create, f"cb_{number}"), accounts=AT)
        await until_handled(ledger, number + 1)
        clock.now_s += 10_000
        temporal.running.add(workflow_id)
    assert temporal.started == [workflow_id]
    assert temporal.signals == [(workflow_id, attempt_reference(create.id, 1))] * 59  # it asks again


async def test_a_message_about_what_is_decided_gets_a_workflow_of_its_own(
    ledger: Ledger, inbox: Inbox, temporal: Temporal
) -> None:
    """Also while the payment's workflow runs: that does not ask about what is decided."""
    create = await create_of(ledger, state=AttemptState.NOT_PROCESSED, status=OperationStatus.FAILED)
    temporal.running.add(create.payment_id)
    await inbox.receive(UPI, told(create), accounts=AT)
    await until_handled(ledger)
    assert temporal.signals == []
    assert temporal.started == [IDS.callback(connector=UPI, reference=attempt_reference(create.id, 1))]


@pytest.mark.parametrize("runs", [True, False])
async def test_a_message_about_a_payment_that_waits_for_captures_is_heard_by_its_workflow(
    ledger: Ledger, inbox: Inbox, temporal: Temporal, runs: bool
) -> None:
    """So that it ends, where others captured or released all of it at the acquirer."""
    paid = await ledger.add_payment(PaymentStatus.AUTHORIZED)
    create = await ledger.add_operation(
        paid, K.AUTHORIZE, state=AttemptState.APPROVED, status=OperationStatus.SUCCEEDED
    )
    temporal.running |= {paid.id} if runs else set()
    await inbox.receive(UPI, told(create), accounts=AT)
    await until_handled(ledger)
    assert bool(temporal.signals) is runs
    assert bool(temporal.started) is not runs


async def test_a_message_about_what_no_workflow_works_on_gets_one(
    ledger: Ledger, inbox: Inbox, temporal: Temporal
) -> None:
    create = await create_of(ledger)
    await inbox.receive(UPI, told(create), accounts=AT)
    await until_handled(ledger)
    assert temporal.started == [IDS.callback(connector=UPI, reference=attempt_reference(create.id, 1))]


async def test_a_refunds_own_workflow_is_told(ledger: Ledger, inbox: Inbox, temporal: Temporal) -> None:
    refund = await ledger.add_operation(await ledger.add_payment(S.CAPTURED), K.REFUND)
    temporal.running.add(refund.id)
    await inbox.receive(UPI, told(refund), accounts=AT)
    await until_handled(ledger)
    assert temporal.signals == [(refund.id, attempt_reference(refund.id, 1))]


async def test_an_unknown_reference_is_looked_for_again_for_a_bounded_time(
    ledger: Ledger, inbox: Inbox, temporal: Temporal
) -> None:
    """Our own COMMIT of the attempt may come after the acquirer's word."""
    await inbox.receive(UPI, Callback("cb_1", "pay_unknown-1"), accounts=AT)
    await inbox.drain()
    assert await handled(ledger) == 0
    await ledger.rows("UPDATE callbacks SET sweep_at = now()")
    await inbox.sweep(limit=10)
    assert await handled(ledger) == 0
    await ledger.rows(
        "UPDATE callbacks SET sweep_at = now(), received_at = received_at - :age", age=UNKNOWN_FOR
    )
    await inbox.sweep(limit=10)
    assert await handled(ledger) == 1
    assert await ledger.rows("SELECT 1 FROM callbacks WHERE unknown_at IS NOT NULL")  # for a person
    assert (temporal.signals, temporal.started) == ([], [])


async def test_what_came_before_our_own_commit_is_told_once_that_is_there(
    ledger: Ledger, inbox: Inbox, temporal: Temporal
) -> None:
    paid = await ledger.add_payment()
    await inbox.receive(UPI, Callback("cb_1", attempt_reference(paid.id, 1)), accounts=AT)
    await inbox.drain()
    await ledger.add_operation(paid, K.AUTHORIZE)
    await ledger.rows("UPDATE callbacks SET sweep_at = now()")
    await inbox.sweep(limit=10)
    assert len(temporal.started) == 1


@pytest.mark.parametrize(("connector", "account"), [(UPI, "account_2"), ("sandbox_other", "other")])
async def test_a_reference_of_another_account_is_refused(
    ledger: Ledger, inbox: Inbox, temporal: Temporal, connector: str, account: str
) -> None:
    create = await create_of(ledger)
    with pytest.raises(CallbackInvalid):
        await inbox.receive(connector, told(create), accounts=[account])
    assert await ledger.count("callbacks") == 0
    assert (temporal.signals, temporal.started) == ([], [])


async def test_what_could_not_be_handed_over_is_swept(
    ledger: Ledger, inbox: Inbox, temporal: Temporal
) -> None:
    """Temporal is away, or the process was killed between its commit and its signal."""
    create = await create_of(ledger)
    temporal.running.add(create.payment_id)
    temporal.away = True
    await inbox.receive(UPI, told(create), accounts=AT)
    await inbox.drain()
    temporal.away = False
    await inbox.sweep(limit=10)
    assert temporal.signals == []  # its time has not come: whoever received it may be at it
    await ledger.rows("UPDATE callbacks SET sweep_at = now()")
    await inbox.sweep(limit=10)
    assert temporal.signals == [(create.payment_id, attempt_reference(create.id, 1))]
    await inbox.sweep(limit=10)
    assert await handled(ledger) == 1
    assert len(temporal.signals) == 1


async def test_what_stays_undeliverable_is_tried_ever_more_seldom(
    ledger: Ledger, inbox: Inbox, temporal: Temporal
) -> None:
    temporal.away = True
    await inbox.receive(UPI, told(await create_of(ledger)), accounts=AT)
    await inbox.drain()
    for sweeps in range(1, 4):
        ((due,),) = await ledger.rows("UPDATE callbacks SET sweep_at = now() RETURNING sweep_at")
        await inbox.sweep(limit=10)
        ((found, sweep_at),) = await ledger.rows("SELECT sweeps, sweep_at FROM callbacks")
        assert found == sweeps
        assert sweep_at - due > timedelta(seconds=2**sweeps - 1.5)


async def test_old_messages_are_forgotten_once_they_were_followed_up(ledger: Ledger) -> None:
    now = datetime.now(UTC)
    async with ledger.database.transaction() as connection:
        for event_id, age in [("old", KEPT), ("young", timedelta()), ("open", KEPT)]:
            received = Received(UPI, "account_1", event_id, "pay_1-1")
            await callbacks.put(connection, received, now=now - age - timedelta(seconds=1))
            if event_id != "open":
                await callbacks.handled(connection, [received], now=now)
        assert await callbacks.forget(connection, now=now, limit=10) == 1
    left = await ledger.rows("SELECT event_id FROM callbacks ORDER BY event_id")
    assert [row.event_id for row in left] == ["open", "young"]


async def test_a_callback_that_postgres_forgot_was_handled_is_heard_again(
    ledger: Ledger, inbox: Inbox, temporal: Temporal
) -> None:
    """Its workflow completed; what that recorded may be forgotten, too: a late success would be lost for ever."""
    of = await create_of(ledger)
    await inbox.receive(UPI, told(of), accounts=AT)
    await until_handled(ledger)
    temporal.completed = set(temporal.started)
    await ledger.rows("UPDATE callbacks SET handled_at = NULL, sweep_at = now()")
    await inbox.sweep(limit=10)
    assert len(temporal.started) == 2
    assert await handled(ledger) == 1
