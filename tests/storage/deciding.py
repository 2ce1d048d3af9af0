"""Operations in review, each as the recorder makes it so, and the decisions about them."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from payonce.domain.decisions import Decision, Finality, Verdict
from payonce.domain.facts import (
    Approved,
    DeclineCode,
    Declined,
    FailureCode,
    Foreign,
    NotProcessed,
    Outcome,
    Stage,
    Turn,
    Undone,
)
from payonce.domain.ids import random_id
from payonce.domain.operations import USUAL, Abilities, AttemptState, Operation, OperationKind, Origin
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.reviews import Question
from payonce.recording.decisions import Account, DecisionTaken
from tests.storage.ledger import IDS, Ledger, subject
from tests.support.rows import approval

K, S, Q, V = OperationKind, PaymentStatus, Question, Verdict
ACCOUNTS = {"account_1": Account(Finality(call_deadline_s=20, finality_s=10), lambda _: USUAL)}
LONG_AGO = timedelta(hours=1)
DECLINED = Declined(DeclineCode.PROCESSING_ERROR)
NOT_PROCESSED = NotProcessed(FailureCode.NOT_PROCESSED)
DECIDED = """
SELECT operation_id, verdict, reason, actor, authenticated, why, evidence, amount_minor, reference
  FROM decisions WHERE payment_id = :id ORDER BY created_at
"""
_REVIEWS = "SELECT operation_id, reason, closed_by FROM reviews WHERE payment_id = :id ORDER BY opened_at"


async def in_review(ledger: Ledger, question: Question, kind: OperationKind) -> Operation:
    """An operation about which this is asked."""
    match question:
        case Q.OUTCOME:
            return await undecided(ledger, kind)
        case Q.LATE:
            return await late(ledger, kind)
        case Q.RELEASE:
            return await not_confirmed(ledger, kind)
        case Q.GIVEN_UP:
            return await not_released(ledger)
        case Q.UNDONE:
            return await undone(ledger, kind)
        case Q.FOREIGN:
            return await foreign(ledger, kind)


async def undecided(ledger: Ledger, kind: OperationKind, *, aged: bool = True, **changes: Any) -> Operation:
    """Pending, and nothing definite is known of it; its reference at the acquirer is."""
    paid = {K.AUTHORIZE: S.PROCESSING, K.REFUND: S.CAPTURED, K.ACCEPT: S.CAPTURED}
    status = paid.get(kind, S.AUTHORIZED)
    of = await ledger.add_operation(await ledger.add_payment(status, **changes), kind)
    await ledger.recorder().review(subject(of), reason="outcome_unknown")
    known = "UPDATE attempts SET state = 'unknown', connector_reference = 'acq-1' WHERE operation_id = :id"
    await ledger.rows(known, id=of.id)
    if aged:
        await age(ledger, of)
    return await ledger.operation(of.id)


async def pending_in_review(
    ledger: Ledger, kind: OperationKind, *, settled: bool = True, **changes: Any
) -> tuple[Payment, Operation]:
    """A pending operation that an operator was called for; `settled`: its request is long over."""
    status = {K.AUTHORIZE: S.PROCESSING, K.REFUND: S.CAPTURED}.get(kind, S.AUTHORIZED)
    paid = await ledger.add_payment(status)
    of = await ledger.add_operation(paid, kind, state=AttemptState.UNKNOWN, **changes)
    await ledger.recorder().review(subject(of), reason="unknown")
    if settled:
        query = "UPDATE attempts SET send_before = now() - :age WHERE operation_id = :id"
        await ledger.rows(query, age=LONG_AGO, id=of.id)
    return paid, await ledger.operation(of.id)


async def age(ledger: Ledger, of: Operation) -> None:
    """Nothing of its attempt can arrive at the acquirer any more."""
    query = "UPDATE attempts SET send_before = send_before - :age WHERE operation_id = :id"
    await ledger.rows(query, age=LONG_AGO, id=of.id)


async def late(ledger: Ledger, kind: OperationKind, *, reversible: bool = False) -> Operation:
    """The case of what succeeded after its failure was recorded."""
    status = {K.AUTHORIZE: S.PROCESSING, K.REFUND: S.CAPTURED}.get(kind, S.AUTHORIZED)
    of = await ledger.add_operation(await ledger.add_payment(status), kind)
    await record(ledger, of, NOT_PROCESSED)
    if kind is K.EXPIRE:  # what is not confirmed is for a person at once
        await decide(ledger, await ledger.operation(of.id), V.DECLINED)
    await record(ledger, of, approval(of), abilities=Abilities(reversible=reversible))
    case = await ledger.operation(IDS.reversal(reference=f"{of.id}-1"))
    await ledger.recorder().review(subject(case), reason="not_undone")
    return await ledger.operation(case.id)


async def not_confirmed(ledger: Ledger, kind: OperationKind) -> Operation:
    """An expiry, or a void of our own, that the acquirer did not confirm."""
    authorized = await ledger.add_payment(S.AUTHORIZED)
    release = await ledger.add_operation(authorized, kind, origin=Origin.PAYONCE)
    await record(ledger, release, DECLINED)
    return await ledger.operation(release.id)


async def not_released(ledger: Ledger) -> Operation:
    """Given up, captured all the same, and our refund of it failed."""
    paid = await ledger.add_payment(S.CAPTURED)
    void = await ledger.add_operation(paid, K.VOID, claimed=False)
    refund = await ledger.add_operation(paid, K.REFUND, origin=Origin.PAYONCE, ends_operation=void.id)
    ended = "UPDATE payments SET pending_operation = cast(pending_operation AS jsonb) || :by WHERE id = :id"
    await ledger.rows(ended.replace(":by", f'\'{{"ended_by": "{refund.id}"}}\''), id=paid.id)
    await record(ledger, refund, NOT_PROCESSED)
    return await ledger.operation(refund.id)


async def undone(ledger: Ledger, kind: OperationKind, turn: Turn | None = None) -> Operation:
    """A success that the acquirer took back."""
    status = {K.REFUND: S.CAPTURED}.get(kind, S.AUTHORIZED)
    of = await ledger.add_operation(await ledger.add_payment(status), kind)
    turn = turn or Undone(random_id("u"), 1000, "INR", "rejected")
    await record(ledger, of, replace(approval(of), since=(turn,)))
    return await turned(ledger, of, turn)


async def foreign(ledger: Ledger, kind: OperationKind, amount_minor: int = 1500) -> Operation:
    """More than there was was done in the dashboard; of a void, while a capture was pending."""
    method = "manual" if kind in (K.CAPTURE, K.VOID) else "automatic"
    create = await ledger.add_operation(await ledger.add_payment(capture_method=method), K.AUTHORIZE)
    stage = Stage.AUTHORIZED if method == "manual" else Stage.CAPTURED
    approved = replace(approval(create), stage=stage)
    await record(ledger, create, approved)
    paid = await ledger.payment(create.payment_id)
    turn = Foreign(random_id("f"), kind.value, 1000 if kind is K.VOID else amount_minor, "INR")
    if kind is not K.VOID:
        await record(ledger, create, replace(approved, since=(turn,)))
        return await turned(ledger, create, turn)
    capture = await ledger.add_operation(paid, K.CAPTURE)
    await record(ledger, create, replace(approved, since=(turn,)))
    await record(ledger, capture, DECLINED)
    return await turned(ledger, create, turn)


async def turned(ledger: Ledger, of: Operation, turn: Turn) -> Operation:
    """The operation that tells of the turn."""
    return await ledger.operation(
        IDS.turn(
            payment_id=of.payment_id,
            account="account_1",
            kind=turn.kind,
            acquirer_id=turn.id,
            refund=isinstance(turn, Foreign) and turn.what == "refund",
        )
    )


async def record(ledger: Ledger, of: Operation, fact: Outcome | Turn | Approved, **how: Any) -> None:
    await ledger.recorder().record(subject(of), attempt=1, fact=fact, **how)


def decision(of: Operation, verdict: Verdict, **changes: Any) -> Decision:
    values = {
        "key": random_id("key"),
        "operation_id": of.id,
        "actor": "ada@desk",
        "why": "seen in their books",
    }
    return Decision(**{**values, "verdict": verdict, **changes})


async def decide(ledger: Ledger, of: Operation, verdict: Verdict, **changes: Any) -> DecisionTaken:
    made = decision(of, verdict, **changes)
    return await ledger.recorder().decide(subject(of), made, accounts=ACCOUNTS)


async def books(ledger: Ledger, payment: Payment | str) -> dict[str, Any]:
    """Every row of the payment, as text: what changed at all is seen."""
    id_ = payment if isinstance(payment, str) else payment.id
    tables = {"payments": "id", "operations": "payment_id", "attempts": "payment_id", "reviews": "payment_id"}
    tables |= {"events": "payment_id", "decisions": "payment_id"}
    async with ledger.database.transaction() as connection:
        found = {}
        for table, column in tables.items():
            query = text(f"SELECT to_jsonb(t) AS row FROM {table} t WHERE {column} = :id ORDER BY 1")
            found[table] = [row.row for row in await connection.execute(query, {"id": id_})]
    return found


async def reviews_of(ledger: Ledger, of: Operation) -> list[tuple[str, str, str | None]]:
    found = await ledger.rows(_REVIEWS, id=of.payment_id)
    return [(row.operation_id, row.reason, row.closed_by) for row in found]


async def open_reviews(ledger: Ledger, of: Operation) -> list[str]:
    return [reason for _, reason, closed_by in await reviews_of(ledger, of) if closed_by is None]
