"""What follows from a fact for other operations of the payment, in the transaction that records it."""

from dataclasses import replace
from datetime import datetime

from payonce.domain import contradictions, ending, holding, reviews, stages, turns, words
from payonce.domain.ids import IdFactory
from payonce.domain.operations import Abilities, AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.settlement import Settlement
from payonce.logging import get_logger
from payonce.recording.rows import Decide, Rows
from payonce.storage import attempts, payments
from payonce.storage.driver.connection import Connection

log = get_logger(__name__)


async def without_release(
    connection: Connection,
    ids: IdFactory,
    rows: Rows,
    decide: Decide,
    settled: Settlement,
    *,
    now: datetime,
) -> Settlement:
    """What is settled, where a person was asked whether our own void had released it: that review has ended."""
    first_id = ids.follow_up(operation_id=rows.payment.id)  # a capture; of what was rejected, the void
    void = await connection.fetch(payments.operation_by_id(first_id))
    if void is None or void.kind is not OperationKind.VOID:
        void = await connection.fetch(payments.operation_by_id(ids.follow_up(operation_id=first_id)))
    if void is None or void.id == rows.operation.id or not reviews.is_open(void):
        return settled
    payment, known = ending.know_released(rows.payment, void, now=now)
    settled = decide(rows.with_payment(payment), now)
    return replace(settled, beside=(*settled.beside, known))


async def without_risk(
    connection: Connection, rows: Rows, decide: Decide, settled: Settlement, *, now: datetime
) -> Settlement:
    """What is settled, where a person was asked about the risk of what cannot be captured any more.

    What the acquirer captured of itself stays in review: whether it may be kept is still to be said.
    """
    create = await connection.fetch(payments.operation_by_id(rows.payment.id))
    if create is None or not holding.is_asked(create):
        return settled
    payment, known = ending.know_released(rows.payment, create, now=now)
    if create.id == rows.operation.id:
        gone = not settled.payment.amount_captured_minor
        return decide(replace(rows, payment=payment, operation=known), now) if gone else settled
    settled = decide(rows.with_payment(payment), now)
    return replace(settled, beside=(*settled.beside, known))


async def complete_create(
    connection: Connection, rows: Rows, settled: Settlement, *, now: datetime
) -> Settlement:
    """The capture of our own on which the answer to the create depends."""
    authorization, create = await connection.fetch_together(
        attempts.latest(rows.payment.id), payments.operation_by_id(rows.payment.id)
    )
    if stages.stands(settled, create, authorization):
        return ending.succeed(rows.payment, rows.operation, settled.attempt, reply=None, now=now)
    if create is None or create.deferred_at is not None or settled.operation.deferred_at is None:
        return settled
    return replace(settled, beside=(*settled.beside, replace(create, deferred_at=now)))


async def with_other_review(connection: Connection, rows: Rows, settled: Settlement) -> Settlement:
    """A review that ends gives way to that of another operation which an operator must still decide."""
    if rows.payment.review is None or settled.payment.review is not None:
        return settled
    ended = [one.id for one in (settled.operation, *settled.beside) if not reviews.is_open(one)]
    other = await payments.oldest_in_review(connection, settled.payment.id, but_not=ended)
    if other is None:
        return settled
    review = reviews.of(settled.payment, other)
    return replace(settled, payment=replace(settled.payment, review=review))


async def hear(
    connection: Connection, ids: IdFactory, rows: Rows, settled: Settlement, *, now: datetime
) -> Settlement:
    """What the acquirer says against a person is a case, until it takes that back or a person decides."""
    fact = settled.against or settled.confirms
    assert rows.attempt is not None
    assert fact is not None
    said, held = await connection.fetch_together(
        payments.words_about(rows.attempt), payments.held_turns(rows.payment.id)
    )
    own = tuple(turn for turn in held if turn.target_reference == rows.attempt.reference)
    found = turns.Found(rows.payment, rows.operation, rows.attempt, own)
    word_id = ids.contradiction(reference=said[0].id if said else rows.attempt.reference)
    agrees = settled.against is None
    heard = words.hear(found, fact, said, agrees=agrees, word_id=word_id, now=now)
    if heard is None and not agrees:
        log.warning("word_known", operation_id=rows.operation.id, fact=fact.kind)
    return heard or replace(settled, against=None, confirms=None)


async def compensate(
    connection: Connection,
    ids: IdFactory,
    rows: Rows,
    settled: Settlement,
    *,
    now: datetime,
    abilities: Abilities,
) -> Settlement:
    """A success after the proof of failure is undone by an operation of its own; twice opens one case."""
    assert rows.attempt is not None
    reversal_id = ids.reversal(reference=rows.attempt.reference)
    opened = await connection.fetch(payments.operation_by_id(reversal_id))
    if opened is not None:
        return await _raise(connection, rows, settled, opened, now=now)
    settled, case = contradictions.open_case(settled, case_id=reversal_id, abilities=abilities, now=now)
    await payments.insert_operation(connection, case, sweep_at=now)
    return settled


async def _raise(
    connection: Connection, rows: Rows, settled: Settlement, case: Operation, *, now: datetime
) -> Settlement:
    """A case that is open already holds all that the acquirer states by now."""
    assert settled.late is not None
    assert settled.attempt is not None
    latest = await connection.fetch(attempts.latest(case.id))
    sent = latest is not None and latest.state is not AttemptState.NOT_SENT
    raised = contradictions.raise_case(
        rows.payment, case, settled.late, attempt=settled.attempt, sent=sent, now=now
    )
    assert rows.attempt is not None
    attempt = replace(settled.attempt, connector_reference=rows.attempt.connector_reference)
    return replace(
        settled,
        payment=raised.payment,
        attempt=attempt,
        events=raised.events,
        beside=() if raised.operation == case else (raised.operation,),
        opened=raised.opened,
    )


def ended_by(before: Operation, settled: Settlement) -> str | None:
    """The void that ends with this: what was settled is the refund of our own that it waited for."""
    decided = before.status is OperationStatus.PENDING and settled.operation.status is not before.status
    return settled.operation.ends_operation if decided else None
