"""The one recording function: every fact once, in one transaction, whatever happens around it."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from psycopg import IntegrityError
from psycopg.pq.abc import PGresult
from sqlalchemy import text

from payonce.domain.answers import AnswerKind
from payonce.domain.errors import NotFound
from payonce.domain.facts import (
    DeclineCode,
    Declined,
    Fact,
    FailureCode,
    Foreign,
    NotProcessed,
    Reversed,
    Stage,
    Unknown,
    Unsent,
)
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus, Subject
from payonce.domain.payment import PaymentStatus
from payonce.storage import payments
from payonce.storage.driver.database import CommitUnknown
from payonce.storage.driver.pool import Pooled
from payonce.storage.driver.wire import Command, Wire
from payonce.wakeups import CHANNEL_DELIVERIES, CHANNEL_EVENTS, CHANNEL_OUTCOMES
from tests.storage.ledger import IDS, Ledger, subject
from tests.support.eventually import eventually
from tests.support.rows import approval, captured

K, S, A, O = OperationKind, PaymentStatus, AttemptState, OperationStatus


async def test_an_outcome_is_state_attempt_event_and_answer(ledger: Ledger) -> None:
    paid = await ledger.add_payment(capture_method="automatic")
    authorization = await ledger.add_operation(paid, K.AUTHORIZE)
    await ledger.recorder().record(subject(authorization), attempt=1, fact=captured(authorization))
    after = await ledger.payment(paid.id)
    assert (after.status, after.sequence, after.amount_captured_minor) == (S.CAPTURED, 2, 1000)
    assert await ledger.events(paid.id) == [(1, "payment.authorized"), (2, "payment.captured")]
    assert (await ledger.latest(authorization.id)).state is A.APPROVED
    answer = (await ledger.stored_key(authorization)).answer(datetime.now(UTC))
    assert answer is not None
    assert answer.kind is AnswerKind.PAYMENT
    assert json.loads(answer.body)["sequence"] == 2


async def test_a_recording_waits_for_postgres_twice(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    exchanged: list[int] = []
    exchange = Wire.exchange

    async def exchange_and_count(wire: Wire, commands: Sequence[Command]) -> list[PGresult]:
        exchanged.append(len(commands))
        return await exchange(wire, commands)

    await ledger.add_endpoint()
    paid = await ledger.add_payment(capture_method="automatic")
    authorization = await ledger.add_operation(paid, K.AUTHORIZE)
    monkeypatch.setattr(Wire, "exchange", exchange_and_count)
    await ledger.recorder().record(subject(authorization), attempt=1, fact=captured(authorization))
    assert exchanged == [4, 6]  # BEGIN and what it reads; what it writes and COMMIT


@pytest.mark.parametrize(
    "fact",
    [Declined(DeclineCode.LOST_CARD), Unknown("timeout"), Unsent(), NotProcessed(FailureCode.NOT_PROCESSED)],
    ids=lambda fact: fact.kind,
)
async def test_recording_the_same_fact_again_changes_nothing(ledger: Ledger, fact: Fact) -> None:
    refunded = await ledger.add_payment(S.CAPTURED)
    refund = await ledger.add_operation(refunded, K.REFUND)
    recorder = ledger.recorder()
    await recorder.record(subject(refund), attempt=1, fact=fact)
    first = await snapshot(ledger, refunded.id, refund.id)
    for _ in range(3):
        await recorder.record(subject(refund), attempt=1, fact=fact)
    assert await snapshot(ledger, refunded.id, refund.id) == first


async def test_ten_at_once_record_one_outcome(ledger: Ledger) -> None:
    paid = await ledger.add_payment()
    authorization = await ledger.add_operation(paid, K.AUTHORIZE)
    facts: list[Fact] = [*[approval(authorization)] * 5, *[Unknown("timeout")] * 5]
    recorder = ledger.recorder()
    await asyncio.gather(*(recorder.record(subject(authorization), attempt=1, fact=fact) for fact in facts))
    types = [type_ for _, type_ in await ledger.events(paid.id)]
    assert types in (["payment.authorized"], ["payment.processing", "payment.authorized"])
    assert (await ledger.payment(paid.id)).status is S.AUTHORIZED


async def test_the_sequence_has_no_gaps_when_refunds_end_side_by_side(ledger: Ledger) -> None:
    paid = await ledger.add_payment(S.CAPTURED)
    refunds = [await ledger.add_operation(paid, K.REFUND, amount_minor=50) for _ in range(20)]
    recorder = ledger.recorder()
    await asyncio.gather(*(recorder.record(subject(one), attempt=1, fact=approval(one)) for one in refunds))
    events = await ledger.events(paid.id)
    assert [sequence for sequence, _ in events] == list(range(1, 41))
    after = await ledger.payment(paid.id)
    assert (after.status, after.sequence, after.amount_refunded_minor) == (S.REFUNDED, 40, 1000)
    assert [type_ for _, type_ in events].count("refund.succeeded") == 20


async def test_an_event_is_delivered_to_each_endpoint_that_wants_it(ledger: Ledger) -> None:
    wanted = [await ledger.add_endpoint("*"), await ledger.add_endpoint("payment.captured", "refund.failed")]
    await ledger.add_endpoint("refund.failed")
    await ledger.add_endpoint("*", enabled=False)
    paid = await ledger.add_payment(capture_method="automatic")
    authorization = await ledger.add_operation(paid, K.AUTHORIZE)
    await ledger.recorder().record(subject(authorization), attempt=1, fact=captured(authorization))
    query = "SELECT endpoint_id, type FROM webhook_deliveries JOIN events ON events.id = event_id"
    delivered = {(row.endpoint_id, row.type) for row in await ledger.rows(query)}
    assert delivered == {
        (wanted[0].id, "payment.authorized"),
        (wanted[0].id, "payment.captured"),
        (wanted[1].id, "payment.captured"),
    }


@pytest.mark.parametrize("table", ["events", "webhook_deliveries", "idempotency_keys", "attempts"])
async def test_when_one_part_cannot_be_written_nothing_is_there(ledger: Ledger, table: str) -> None:
    await ledger.add_endpoint()
    paid = await ledger.add_payment()
    authorization = await ledger.add_operation(paid, K.AUTHORIZE)
    before = await snapshot(ledger, paid.id, authorization.id)
    await ledger.rows(f"ALTER TABLE {table} ADD CONSTRAINT broken CHECK (false) NOT VALID")
    with pytest.raises(IntegrityError, match="broken"):
        await ledger.recorder().record(subject(authorization), attempt=1, fact=approval(authorization))
    assert await snapshot(ledger, paid.id, authorization.id) == before
    await ledger.rows(f"ALTER TABLE {table} DROP CONSTRAINT broken")
    await ledger.recorder().record(subject(authorization), attempt=1, fact=approval(authorization))
    assert await ledger.count("webhook_deliveries") == 1


async def test_a_recording_goes_on_when_its_caller_is_cancelled(ledger: Ledger) -> None:
    paid = await ledger.add_payment()
    authorization = await ledger.add_operation(paid, K.AUTHORIZE)
    recorder = ledger.recorder()
    async with ledger.database.transaction() as connection:
        await connection.fetch(payments.locked(paid.id))
        caller = asyncio.create_task(
            recorder.record(subject(authorization), attempt=1, fact=approval(authorization))
        )
        await ledger.waits_for_a_lock(caller)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
    await recorder.drain()
    assert (await ledger.payment(paid.id)).status is S.AUTHORIZED


@pytest.mark.parametrize(
    "ends",
    [["lost answer"], ["lost commit"], ["down"], ["down", "lost answer", "lost answer", "lost commit"]],
    ids=str,
)
async def test_an_unknown_commit_is_recorded_once(ledger: Ledger, ends: list[str]) -> None:
    await ledger.add_endpoint()
    paid = await ledger.add_payment()
    authorization = await ledger.add_operation(paid, K.AUTHORIZE)
    async with ledger.flaky(*ends) as flaky:
        await ledger.recorder(flaky).record(subject(authorization), attempt=1, fact=approval(authorization))
        assert not flaky.ends
    assert await ledger.events(paid.id) == [(1, "payment.authorized")]
    assert await ledger.count("webhook_deliveries") == 1
    assert (await ledger.stored_key(authorization)).answer(datetime.now(UTC)) is not None


@pytest.mark.parametrize(
    ("wanted", "told"),
    [(["*"], CHANNEL_DELIVERIES), (["payment.captured"], CHANNEL_EVENTS), ([], CHANNEL_EVENTS)],
    ids=str,
)
async def test_the_relay_is_told_only_of_what_an_endpoint_is_to_be_sent(
    ledger: Ledger, wanted: list[str], told: str
) -> None:
    if wanted:
        await ledger.add_endpoint(*wanted)
    paid = await ledger.add_payment()
    authorization = await ledger.add_operation(paid, K.AUTHORIZE)
    recorder = ledger.recorder()
    await recorder.record(subject(authorization), attempt=1, fact=approval(authorization))
    await eventually(lambda: _published(ledger, told))
    assert {channel for channel, _ in ledger.redis.published} - {CHANNEL_OUTCOMES} == {told}


async def _published(ledger: Ledger, channel: str) -> bool:
    return channel in [name for name, _ in ledger.redis.published]


async def test_the_connection_lost_at_commit_leaves_the_commit_unknown(ledger: Ledger) -> None:
    async def lose_the_connection() -> None:
        async with ledger.database.transaction() as connection:
            pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            await ledger.rows("SELECT pg_terminate_backend(:pid)", pid=pid)

    with pytest.raises(CommitUnknown):
        await lose_the_connection()
    await ledger.database.ping()


async def test_what_fails_after_the_commit_does_not_undo_its_proof(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens between the commit and the return of its connection."""

    async def rest_too_long(_pooled: Pooled) -> None:
        raise TimeoutError

    async def commit() -> None:
        async with ledger.database.transaction() as connection:
            await connection.execute(text("CREATE TABLE there ()"))
            monkeypatch.setattr(Pooled, "rest", rest_too_long)

    await commit()
    monkeypatch.undo()
    assert await ledger.count("there") == 0  # it can be read, so the commit held


async def test_whoever_changes_a_payment_waits_for_whoever_holds_it(ledger: Ledger) -> None:
    """Fails without `with_for_update`: the recording would not see the refund that was admitted before it."""
    paid = await ledger.add_payment(S.CAPTURED)
    refund = await ledger.add_operation(paid, K.REFUND, amount_minor=400)
    async with ledger.database.transaction() as connection:
        locked = await connection.fetch(payments.locked(paid.id))
        assert locked is not None
        recording = asyncio.create_task(
            ledger.recorder().record(subject(refund), attempt=1, fact=approval(refund))
        )
        await ledger.waits_for_a_lock(recording)
        held = locked.amount_refund_pending_minor + 600
        changed = {**{"id": paid.id}, "held": held}
        await connection.execute(
            text("UPDATE payments SET amount_refund_pending_minor = :held WHERE id = :id"), changed
        )
    await recording
    after = await ledger.payment(paid.id)
    assert (after.amount_refunded_minor, after.amount_refund_pending_minor) == (400, 600)


async def test_the_first_answer_is_kept(ledger: Ledger) -> None:
    paid = await ledger.add_payment()
    authorization = await ledger.add_operation(paid, K.AUTHORIZE)
    recorder = ledger.recorder()
    await recorder.record(subject(authorization), attempt=1, fact=Declined(DeclineCode.LOST_CARD))
    first = await ledger.stored_key(authorization)
    await recorder.record(subject(authorization), attempt=1, fact=approval(authorization))
    assert await ledger.stored_key(authorization) == first
    assert (await ledger.payment(paid.id)).status is S.FAILED


@pytest.mark.parametrize("kind", [K.AUTHORIZE, K.CAPTURE])
async def test_a_late_success_opens_exactly_one_reversal(ledger: Ledger, kind: OperationKind) -> None:
    paid = await ledger.add_payment(S.INIT if kind is K.AUTHORIZE else S.AUTHORIZED)
    late = await ledger.add_operation(paid, kind)
    recorder = ledger.recorder()
    await recorder.record(subject(late), attempt=1, fact=NotProcessed(FailureCode.NOT_PROCESSED))
    await asyncio.gather(*(recorder.record(subject(late), attempt=1, fact=approval(late)) for _ in range(5)))
    found = await ledger.rows("SELECT id, status, target_reference FROM operations WHERE kind = 'reverse'")
    reference = (await ledger.latest(late.id)).reference
    assert [tuple(row) for row in found] == [(IDS.reversal(reference=reference), "pending", reference)]
    types = [type_ for _, type_ in await ledger.events(paid.id)]
    assert types.count("payment.late_success") == 1
    reversal = Subject(paid.id, found[0].id)
    for _ in range(2):
        await recorder.complete(reversal)
    assert (await ledger.operation(reversal.operation_id)).status is OperationStatus.SUCCEEDED
    given_back = ["payment.capture_failed"] if kind is K.CAPTURE else []
    assert [type_ for _, type_ in await ledger.events(paid.id)] == [*types, *given_back]


@pytest.mark.parametrize("kind", [K.VOID, K.REFUND])
async def test_a_late_success_that_cannot_be_taken_back_calls_an_operator(
    ledger: Ledger, kind: OperationKind
) -> None:
    paid = await ledger.add_payment(S.AUTHORIZED if kind is K.VOID else S.CAPTURED)
    late = await ledger.add_operation(paid, kind)
    recorder = ledger.recorder()
    await recorder.record(subject(late), attempt=1, fact=NotProcessed(FailureCode.NOT_PROCESSED))
    for _ in range(2):
        await recorder.record(subject(late), attempt=1, fact=approval(late))
    after = await ledger.payment(paid.id)
    assert after.review is not None
    done = {K.VOID: "released", K.REFUND: "refunded"}[kind]
    assert after.review["reason"] == f"late_{kind} {late.id}: 1000 INR was {done}"
    types = [type_ for _, type_ in await ledger.events(paid.id)]
    assert types[-2:] == ["payment.late_success", "payment.needs_review"]
    assert [sequence for sequence, _ in await ledger.events(paid.id)] == list(range(1, len(types) + 1))


async def test_what_is_deferred_twice_is_processing_once(ledger: Ledger) -> None:
    paid = await ledger.add_payment()
    authorization = await ledger.add_operation(paid, K.AUTHORIZE)
    recorder = ledger.recorder()
    await asyncio.gather(*(recorder.defer(subject(authorization)) for _ in range(5)))
    assert await ledger.events(paid.id) == [(1, "payment.processing")]


async def test_nothing_is_given_up_while_its_attempt_may_be_sent(ledger: Ledger) -> None:
    paid = await ledger.add_payment(S.AUTHORIZED)
    capture = await ledger.add_operation(paid, K.CAPTURE)
    recorder = ledger.recorder()
    await recorder.give_up(subject(capture), code=FailureCode.NOT_PROCESSED)
    assert (await ledger.operation(capture.id)).status is OperationStatus.PENDING
    await recorder.record(subject(capture), attempt=1, fact=Unsent())
    await recorder.give_up(subject(capture), code=FailureCode.NOT_PROCESSED)
    assert (await ledger.operation(capture.id)).status is OperationStatus.FAILED
    assert (await ledger.payment(paid.id)).pending_operation is None


async def test_what_is_being_reversed_succeeds_no_more(ledger: Ledger) -> None:
    paid = await ledger.add_payment()
    authorization = await ledger.add_operation(paid, K.AUTHORIZE)
    recorder = ledger.recorder()
    assert await recorder.begin_reversal(
        subject(authorization), token="run_1", code=FailureCode.CARD_DATA_LOST
    )
    await recorder.record(subject(authorization), attempt=1, fact=approval(authorization))
    assert (await ledger.payment(paid.id)).status is S.INIT


async def test_what_has_an_outcome_is_not_reversed(ledger: Ledger) -> None:
    paid = await ledger.add_payment()
    authorization = await ledger.add_operation(paid, K.AUTHORIZE)
    recorder = ledger.recorder()
    await recorder.record(subject(authorization), attempt=1, fact=approval(authorization))
    assert not await recorder.begin_reversal(
        subject(authorization), token="run_1", code=FailureCode.NOT_PROCESSED
    )
    assert (await ledger.latest(authorization.id)).state is A.APPROVED


async def test_a_fact_about_nothing_is_not_recorded(ledger: Ledger) -> None:
    paid = await ledger.add_payment()
    authorization = await ledger.add_operation(paid, K.AUTHORIZE)
    with pytest.raises(NotFound):
        await ledger.recorder().record(subject(authorization), attempt=7, fact=Unsent())
    with pytest.raises(NotFound):
        await ledger.recorder().defer(Subject("pay_none", authorization.id))


async def test_whoever_waits_in_this_process_gets_the_answer_itself(ledger: Ledger) -> None:
    paid = await ledger.add_payment()
    authorization = await ledger.add_operation(paid, K.AUTHORIZE)
    recorder = ledger.recorder()
    with recorder._wakeups.waiting(authorization.id) as waiter:
        await recorder.record(subject(authorization), attempt=1, fact=approval(authorization))
        await waiter.wait(timeout_s=1)
    stored = await ledger.stored_key(authorization)
    assert waiter.answer == stored.answer(datetime.now(UTC))
    assert stored.answered_at is not None
    assert stored.answered_at <= datetime.now(UTC)


async def snapshot(ledger: Ledger, payment_id: str, operation_id: str) -> tuple[object, ...]:
    """Everything that is stored of one operation."""
    operation = await ledger.operation(operation_id)
    return (
        await ledger.payment(payment_id),
        operation,
        await ledger.latest(operation_id),
        await ledger.events(payment_id),
        await ledger.stored_key(operation),
        await ledger.count("webhook_deliveries"),
    )


async def test_what_succeeded_and_is_called_reversed_is_taken_back_once(ledger: Ledger) -> None:
    paid = await ledger.add_payment(capture_method="automatic")
    create = await ledger.add_operation(paid, K.AUTHORIZE)
    recorder = ledger.recorder()
    captured = approval(create, stage=Stage.CAPTURED)
    for fact in (captured, Reversed(), Reversed(), captured):
        await recorder.record(subject(create), attempt=1, fact=fact)
    after = await ledger.payment(paid.id)
    assert (after.status, after.amount_captured_minor, after.refundable_minor) == (S.AUTHORIZED, 0, 0)
    assert after.review is not None
    assert [type_ for _, type_ in await ledger.events(paid.id)] == [
        *("payment.authorized", "payment.captured"),
        *("payment.capture_failed", "payment.authorized", "payment.needs_review"),
    ]


async def test_a_refund_of_our_own_that_the_acquirer_tells_of_as_of_anybodys_is_counted_once(
    ledger: Ledger,
) -> None:
    paid = await ledger.add_payment(S.CAPTURED)
    create = await ledger.add_operation(paid, K.AUTHORIZE, status=O.SUCCEEDED, connector_reference="acq-1")
    refund = await ledger.add_operation(paid, K.REFUND, amount_minor=300)
    recorder = ledger.recorder()
    await recorder.record(subject(refund), attempt=1, fact=approval(refund, connector_reference="acq-rf"))
    before = await ledger.payment(paid.id)
    assert before.amount_refunded_minor == 300
    for other in ("acq-rf", "acq-rf-2"):
        told = Foreign(other, "refund", 300, "INR")
        await recorder.record(subject(create), attempt=1, fact=told)
        amount = (await ledger.payment(paid.id)).amount_refunded_minor
        assert amount == (300 if other == "acq-rf" else 600)
