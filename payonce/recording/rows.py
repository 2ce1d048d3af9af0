"""What a transaction that records reads and writes under the payment's lock."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from payonce.domain import bounced, rail, stages, turns
from payonce.domain.audit import Act, Actor, ActorKind, AuditAction
from payonce.domain.decisions import Decision
from payonce.domain.disputes import Dispute
from payonce.domain.errors import NotFound
from payonce.domain.facts import Approved, Fact, Foreign, Redone, Reversed, Turn, Undone
from payonce.domain.ids import IdFactory, hash_of_return
from payonce.domain.operations import (
    Attempt,
    AttemptState,
    Operation,
    OperationKind,
    OperationStatus,
    Subject,
)
from payonce.domain.payment import Payment
from payonce.domain.returning import Returned
from payonce.domain.reviews import ClosedBy, Review
from payonce.domain.settlement import Settlement
from payonce.recording.decisions import Deciding, refuse_another
from payonce.storage import (
    attempts,
    audit,
    callbacks,
    disputes,
    idempotency,
    outbox,
    payments,
    returns,
    review_rows,
    sweeping,
)
from payonce.storage.callbacks import Received
from payonce.storage.driver.connection import Connection, Written

_FIRST_PAUSE = timedelta(seconds=sweeping.FIRST_PAUSE_S)


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows under the payment's lock, as the transaction found them."""

    payment: Payment
    operation: Operation
    attempt: Attempt | None  # the one that the fact is about, or the latest
    xid: int  # of the transaction
    others: "Others | None" = None  # where they were asked for
    review: Review | None = None  # of the operation, where it is or was in one
    deciding: Deciding | None = None  # where a person decides
    by: ClosedBy = ClosedBy.FACT  # what ends a review
    returned: Returned | None = None  # what a browser brings back that none has brought before
    dispute: Dispute | None = None  # that the fact is about, as it is known

    def with_payment(self, payment: Payment) -> "Rows":
        """With the payment as it is by what was just settled, for a person's decision as well."""
        deciding = self.deciding
        if deciding is not None:
            deciding = replace(deciding, matter=replace(deciding.matter, payment=payment))
        return replace(self, payment=payment, deciding=deciding)

    def of_another(self, operation: Operation) -> "Rows":
        """Of an operation that has its outcome by this one's, and no attempt of its own."""
        return replace(self, operation=operation, attempt=None, others=None, deciding=None, review=None)


@dataclass(frozen=True, slots=True)
class Others:
    """What else a turn of the acquirer may touch."""

    known: bool  # the turn is on record already
    held: tuple[Operation, ...]  # earlier turns of the same attempt that hold something, latest first
    case: Operation | None  # the attempt's late success
    capture: rail.Capture | None = None  # of our own, where it is pending
    refund: bounced.Refund | None = None  # of others, that was taken back


Decide = Callable[[Rows, datetime], Settlement]
"""What is to become of the rows."""

Reading = Callable[[Connection, Rows], Awaitable[Rows]]
"""Reads what else a decision needs."""


async def read(connection: Connection, subject: Subject, number: int | None) -> Rows:
    """The payment first, for its lock; the others in statements of their own, so that they are not stale."""
    of_attempt = attempts.latest(subject.operation_id)
    if number is not None:
        of_attempt = attempts.numbered(subject.operation_id, number)
    locked, operation, attempt = await connection.fetch_together(
        payments.locked_to_record(subject.payment_id),
        payments.operation_by_id(subject.operation_id),
        of_attempt,
    )
    if locked is None or operation is None or operation.payment_id != locked.payment.id:
        raise NotFound(f"{subject.operation_id} of {subject.payment_id}")
    review = None
    if operation.review_at is not None:
        review = await connection.fetch(review_rows.of_operation(operation.id))
    return Rows(locked.payment, operation, attempt, locked.xid, review=review)


async def read_others(connection: Connection, ids: IdFactory, rows: Rows, about: Fact) -> Others | None:
    """Read under the payment's lock, where an acquirer changed its mind; None where it did not."""
    attempt = rows.attempt
    turn: Fact = turns.done_again(rows.operation, attempt, about) or about
    if isinstance(turn, Approved) and stages.captured_since(attempt, turn):
        turn = rail.as_foreign(turn)
    if attempt is None or not isinstance(turn, Undone | Redone | Foreign | Reversed):
        return None
    known_id = turn_id(ids, attempt, turn)
    known, held, case = await connection.fetch_together(
        payments.operation_by_id(known_id),
        payments.held_turns(attempt.payment_id),
        payments.operation_by_id(ids.reversal(reference=attempt.reference)),
    )
    own = tuple(turn for turn in held if turn.target_reference == attempt.reference)
    if isinstance(turn, Undone) and turn.refund is not None:
        refund_id = turn_id(ids, attempt, Foreign(turn.refund, "refund", turn.amount_minor, turn.currency))
        refund, own_refund = await connection.fetch_together(
            payments.operation_by_id(refund_id),
            attempts.is_ours(attempt, kind="refund", connector_reference=turn.refund),
        )
        return Others(known is not None or own_refund, own, case, refund=bounced.Refund(refund_id, refund))
    if not isinstance(turn, Foreign):
        return Others(known is not None, own, case)
    if rail.may_be_ours(rows.payment, turn) or (turn.perhaps_ours and case is not None):
        return Others(True, own, case)
    ours = attempts.is_ours(attempt, kind=turn.what, connector_reference=turn.id)
    if known is not None or await connection.fetch(ours):
        return Others(True, own, case)
    if turn.what != "capture":
        return Others(False, own, case)
    capture, counted = await _own_capture(connection, ids, rows, turn)
    return Others(counted, own, case, capture)


async def _own_capture(
    connection: Connection, ids: IdFactory, rows: Rows, foreign: Foreign
) -> tuple[rail.Capture | None, bool]:
    """The capture of our own that is pending for the create, and whether it ended with this one of others."""
    capture_id = ids.follow_up(operation_id=rows.operation.id)
    operation, latest = await connection.fetch_together(
        payments.operation_by_id(capture_id), attempts.latest(capture_id)
    )
    if operation is None or operation.kind is not OperationKind.CAPTURE:
        return None, False
    sent = latest is not None and latest.state is not AttemptState.NOT_SENT
    if operation.status is OperationStatus.PENDING:
        return rail.Capture(operation, sent), False
    return None, not sent and operation.connector_reference == foreign.id


def turn_id(ids: IdFactory, attempt: Attempt, turn: Turn | Reversed) -> str:
    """Of a reversal, which has no id of the acquirer's: one for each attempt."""
    return ids.turn(
        payment_id=attempt.payment_id,
        account=attempt.connector_account,
        kind=turn.kind,
        acquirer_id=attempt.reference if isinstance(turn, Reversed) else turn.id,
        refund=isinstance(turn, Foreign) and turn.what == "refund",
    )


async def write(
    connection: Connection, ids: IdFactory, rows: Rows, settled: Settlement, *, now: datetime
) -> Written:
    """The state, the fact, the events with their deliveries, which are counted, and the answer."""
    await payments.save_payment(connection, rows.payment, settled.payment)
    await _save(connection, rows.operation, settled.operation, by=rows.by, now=now)
    for added in settled.added:
        # A capture or a void is carried out by the payment's workflow, which is told of it with this.
        sweep_at = now + _FIRST_PAUSE if added.kind.exclusive else now
        await payments.insert_operation(connection, added, sweep_at=sweep_at)
    for beside in settled.beside:
        before = await connection.fetch(payments.operation_by_id(beside.id))
        assert before is not None
        await _save(connection, before, beside, by=rows.by, now=now)
    if rows.deciding is not None and rows.deciding.known is None:
        kept = await review_rows.add_decision(connection, rows.deciding.decided, payment_id=rows.payment.id)
        refuse_another(kept, rows.deciding.decided.decision)  # of another payment, at the same moment
        await _audit(connection, rows.payment, kept.decision)
    for review in settled.opened:
        await review_rows.begin(connection, review)
    if settled.dispute is not None:
        await disputes.save(connection, rows.dispute, settled.dispute)
    if settled.escalated is not None:
        await review_rows.tell_overdue(connection, settled.escalated)
    if rows.attempt is not None and settled.attempt is not None:
        asks = settled.attempt.asked and not rows.attempt.asked
        of_page = _return_hash(ids, settled.attempt) if asks else None
        await attempts.save_attempt(connection, rows.attempt, settled.attempt, return_hash=of_page)
        await _save_returned(connection, settled.attempt, settled, now=now)
    deliveries = await outbox.add_events(
        connection, settled.payment, settled.events, ids=ids, xid=rows.xid, now=now
    )
    await store_answer(connection, settled, now=now)
    return deliveries


async def store_answer(connection: Connection, settled: Settlement, *, now: datetime) -> None:
    """The merchant's answer, if there is one, is kept."""
    if settled.answer is None:
        return
    await idempotency.store_answer(
        connection,
        operation_id=settled.answered or settled.operation.id,
        merchant_id=settled.payment.merchant_id,
        mode=settled.payment.mode,
        answer=settled.answer,
        now=now,
    )


async def _audit(connection: Connection, payment: Payment, decision: Decision) -> None:
    by = Actor(kind=ActorKind.PERSON, id=decision.actor)
    act = Act(
        action=AuditAction.REVIEW_DECIDED,
        subject=decision.operation_id,
        merchant_id=payment.merchant_id,
        mode=payment.mode,
        details={"payment_id": payment.id, "verdict": decision.verdict, "decision": decision.key},
    )
    await audit.decided(connection, by, act, why=decision.why)


def _return_hash(ids: IdFactory, attempt: Attempt) -> bytes:
    return hash_of_return(ids.return_token(reference=attempt.reference, claim=attempt.token))


async def _save_returned(
    connection: Connection, attempt: Attempt, settled: Settlement, *, now: datetime
) -> None:
    """What a browser brought back, with the word in the inbox that makes us ask; or nothing of it any more."""
    if settled.returned is not None:
        await returns.add(connection, attempt, settled.returned, now=now)
        await callbacks.put(connection, of_return(attempt, settled.returned), now=now)
    if attempt.returned_at is not None and settled.operation.status is not OperationStatus.PENDING:
        await returns.erase_of(connection, attempt.operation_id)


def of_return(attempt: Attempt, returned: Returned) -> Received:
    """The word in the inbox that the customer is back with this set."""
    event_id = f"return {attempt.reference} {returned.number}"
    return Received(attempt.connector, attempt.connector_account, event_id, attempt.reference)


async def _save(
    connection: Connection, before: Operation, after: Operation, *, by: ClosedBy, now: datetime
) -> None:
    """The operation is as `after`; a review that it is no longer in has ended."""
    await payments.save_operation(connection, before, after)
    await review_rows.follow(connection, before, after, by=by, now=now)
