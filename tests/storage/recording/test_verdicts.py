"""A person decides: on record once, with what it makes of the books, whoever else decides or speaks meanwhile."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from payonce.domain.decisions import Verdict
from payonce.domain.errors import DecisionRefused, NotFound
from payonce.domain.facts import Approved, Outcome
from payonce.domain.ids import operation_id_of
from payonce.domain.operations import Operation, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.reviews import Question, ReviewReason
from payonce.domain.verdicts import TABLE
from tests.storage import deciding
from tests.storage.deciding import (
    ACCOUNTS,
    DECIDED,
    DECLINED,
    age,
    books,
    decide,
    decision,
    in_review,
    open_reviews,
    record,
    reviews_of,
    undecided,
)
from tests.storage.ledger import IDS, Ledger, subject
from tests.support.rows import approval
from tests.support.verdicts import EXPECTED, Becomes, amounts

K, S, O, Q, V = OperationKind, PaymentStatus, OperationStatus, Question, Verdict


# What is held for its risk is decided in its own way: test_risk_reviews.py.
DECIDED_HERE = [asked for asked in EXPECTED if asked[0] is not Question.RISK]


@pytest.mark.parametrize(("question", "kind", "verdict"), DECIDED_HERE, ids=str)
async def test_every_verdict_of_every_question_is_on_record_with_what_it_makes_of_the_books(
    shared_ledger: Ledger, question: Question, kind: OperationKind, verdict: Verdict
) -> None:
    ledger = shared_ledger
    of = await in_review(ledger, question, kind)
    before = await ledger.payment(of.payment_id)
    assert len(await open_reviews(ledger, of)) == 1
    answers = await ledger.rows(
        "SELECT answer_body FROM idempotency_keys WHERE location LIKE :at", at=_at(of)
    )
    await decide(ledger, of, verdict)
    paid, now = await ledger.payment(of.payment_id), await ledger.operation(of.id)
    expected = EXPECTED[question, kind, verdict]
    if (kind, verdict) == (K.ACCEPT, V.APPROVED):  # the recorder tells it of the dispute
        expected = replace(expected, events=("dispute.updated",))
    about = await ledger.operation(operation_id_of(of.target_reference)) if expected.beside else None
    found = Becomes(
        now.status,
        paid.status,
        amounts(paid),
        tuple(type_ for number, type_ in await ledger.events(paid.id) if number > before.sequence),
        about and about.status,
    )
    assert found == expected
    assert now.decided_at is not None
    assert paid.review is None
    ((reason, closed_by),) = [tuple(rest) for id_, *rest in await reviews_of(ledger, of) if id_ == of.id]
    assert closed_by == "decision"
    assert await open_reviews(ledger, of) == []
    row = (await ledger.rows(DECIDED, id=paid.id))[-1]
    assert (row.operation_id, row.verdict, row.actor, row.authenticated) == (
        of.id,
        verdict,
        "ada@desk",
        False,
    )
    assert row.reason == reason
    if question is not Q.OUTCOME:  # a stored answer stays
        query = "SELECT answer_body FROM idempotency_keys WHERE location LIKE :at"
        assert await ledger.rows(query, at=_at(of)) == answers


def _at(of: Operation) -> str:
    return f"/v1/payments/{of.payment_id}%"


async def test_the_answer_of_what_was_pending_is_stored_and_a_later_fact_leaves_it(
    shared_ledger: Ledger,
) -> None:
    ledger = shared_ledger
    of = await undecided(ledger, K.AUTHORIZE)
    assert (await ledger.stored_key(of)).answered_at is None
    await decide(ledger, of, V.DECLINED)
    stored = await ledger.stored_key(of)
    assert stored.answered_at is not None
    await record(ledger, of, approval(of))
    assert await ledger.stored_key(of) == stored


# The key.


async def test_the_same_key_decides_once_whoever_says_it_again(shared_ledger: Ledger) -> None:
    ledger = shared_ledger
    of = await undecided(ledger, K.CAPTURE)
    first = await decide(ledger, of, V.APPROVED, key=of.id, evidence="statement 12", reference="acq-9")
    assert not first.again
    left = await books(ledger, of.payment_id)
    again = await decide(
        ledger, of, V.APPROVED, key=of.id, evidence="statement 12", reference="acq-9", actor="bob@desk"
    )
    assert (again.again, again.decided) == (True, first.decided)
    assert again.payment == await ledger.payment(of.payment_id)
    assert await books(ledger, of.payment_id) == left
    ((row),) = await ledger.rows(DECIDED, id=of.payment_id)
    assert tuple(row) == (
        *(of.id, "approved", "undecided", "ada@desk", False),
        *("seen in their books", "statement 12", None, "acq-9"),
    )


@pytest.mark.parametrize(
    "other", [{"why": "another"}, {"verdict": V.DECLINED}, {"evidence": "e"}, {"amount_minor": 1000}]
)
async def test_a_key_that_is_used_for_something_else_is_refused(
    shared_ledger: Ledger, other: dict[str, Any]
) -> None:
    ledger = shared_ledger
    of = await undecided(ledger, K.CAPTURE)
    await decide(ledger, of, V.APPROVED, key=of.id)
    left = await books(ledger, of.payment_id)
    with pytest.raises(DecisionRefused, match=f"The key {of.id} is that of another decision: "):
        await decide(ledger, of, **{"verdict": V.APPROVED, "key": of.id, **other})
    assert await books(ledger, of.payment_id) == left


async def test_a_key_decides_about_one_operation(shared_ledger: Ledger) -> None:
    ledger = shared_ledger
    one, other = await undecided(ledger, K.CAPTURE), await undecided(ledger, K.CAPTURE)
    await decide(ledger, one, V.DECLINED, key=one.id)
    with pytest.raises(DecisionRefused, match="another decision"):
        await decide(ledger, other, V.DECLINED, key=one.id)
    assert await open_reviews(ledger, other) == ["undecided"]


async def test_a_key_that_two_payments_are_decided_by_at_the_same_moment_decides_one(
    shared_ledger: Ledger,
) -> None:
    ledger = shared_ledger
    both = [await undecided(ledger, K.CAPTURE), await undecided(ledger, K.CAPTURE)]
    ended = await asyncio.gather(
        *(decide(ledger, of, V.DECLINED, key=both[0].id) for of in both), return_exceptions=True
    )
    refused = [end for end in ended if isinstance(end, DecisionRefused)]
    assert len(refused) == 1
    left = [await open_reviews(ledger, of) for of in both]
    assert sorted(left) == [[], ["undecided"]]


@pytest.mark.parametrize("end", ["lost answer", "lost commit", "down", "late answer"])
async def test_a_decision_whose_commit_proves_nothing_is_made_once_and_is_no_repetition(
    shared_ledger: Ledger, end: str
) -> None:
    ledger = shared_ledger
    of = await deciding.not_confirmed(ledger, K.EXPIRE)  # its decision has no event
    async with ledger.flaky(end) as database:
        recorder = ledger.recorder(database)
        decided = await recorder.decide(subject(of), decision(of, V.DECLINED), accounts=ACCOUNTS)
    assert not decided.again
    assert len(await ledger.rows(DECIDED, id=of.payment_id)) == 1
    assert (await ledger.payment(of.payment_id)).review is None


# Who comes first.


async def test_of_two_people_at_the_same_time_one_decides_and_the_other_is_told_who_did(
    shared_ledger: Ledger,
) -> None:
    ledger = shared_ledger
    of = await undecided(ledger, K.REFUND)
    ended = await asyncio.gather(
        decide(ledger, of, V.PAID, actor="ada@desk"),
        decide(ledger, of, V.NOT_PAID, actor="bob@desk"),
        return_exceptions=True,
    )
    (refused,) = [end for end in ended if isinstance(end, DecisionRefused)]
    ((row),) = await ledger.rows(DECIDED, id=of.payment_id)
    assert f"{of.id} is not in review: {row.actor} has decided that it is {row.verdict}." in refused.message
    assert (await ledger.operation(of.id)).status is (O.SUCCEEDED if row.verdict == "paid" else O.FAILED)


@pytest.mark.parametrize("fact", [DECLINED, Approved("acq-1", 1000, "INR")], ids=lambda fact: fact.kind)
async def test_a_decision_and_a_fact_at_the_same_time_are_one_outcome_and_perhaps_a_case(
    shared_ledger: Ledger, fact: Outcome
) -> None:
    ledger = shared_ledger
    for verdict in (V.APPROVED, V.DECLINED):
        of = await undecided(ledger, K.CAPTURE)
        ended = await asyncio.gather(
            decide(ledger, of, verdict), record(ledger, of, fact), return_exceptions=True
        )
        agrees = (verdict is V.APPROVED) == isinstance(fact, Approved)
        refused = isinstance(ended[0], DecisionRefused)
        assert refused or not isinstance(ended[0], BaseException)
        assert ended[1] is None
        happened = (verdict is V.APPROVED) if not refused else isinstance(fact, Approved)
        assert (await ledger.operation(of.id)).status is (O.SUCCEEDED if happened else O.FAILED)
        if refused or agrees:
            assert await open_reviews(ledger, of) == []
        elif isinstance(fact, Approved):  # it is being undone
            case = await ledger.operation(IDS.reversal(reference=f"{of.id}-1"))
            assert case.status is O.PENDING
        else:
            assert await open_reviews(ledger, of) == ["contradicted"]


async def test_a_fact_that_comes_first_leaves_nothing_to_decide(shared_ledger: Ledger) -> None:
    of = await undecided(shared_ledger, K.CAPTURE)
    await record(shared_ledger, of, approval(of))
    with pytest.raises(DecisionRefused, match="is not in review: nobody is asked"):
        await decide(shared_ledger, of, V.APPROVED)
    assert await shared_ledger.rows(DECIDED, id=of.payment_id) == []


async def test_nothing_is_decided_before_the_attempt_can_be_settled(shared_ledger: Ledger) -> None:
    ledger = shared_ledger
    of = await undecided(ledger, K.CAPTURE, aged=False)
    left = await books(ledger, of.payment_id)
    with pytest.raises(DecisionRefused, match="may still arrive at the acquirer: it can be decided from"):
        await decide(ledger, of, V.DECLINED)
    assert await books(ledger, of.payment_id) == left
    await age(ledger, of)
    await decide(ledger, of, V.DECLINED)


async def test_an_operation_that_is_not_there_is_not_decided(shared_ledger: Ledger) -> None:
    of = await undecided(shared_ledger, K.CAPTURE)
    with pytest.raises(NotFound):
        await decide(shared_ledger, replace(of, id="op_nothing"), V.DECLINED)


async def test_the_review_of_another_operation_is_shown_once_one_is_decided(shared_ledger: Ledger) -> None:
    ledger = shared_ledger
    paid = await ledger.add_payment(S.CAPTURED)
    both = [await ledger.add_operation(paid, K.REFUND, amount_minor=amount) for amount in (100, 200)]
    for of in both:
        await ledger.recorder().review(subject(of), reason="unknown")
        await age(ledger, of)
    for of, left in zip(both, ("refund_undecided", None), strict=True):
        await decide(ledger, of, V.NOT_PAID)
        shown = (await ledger.payment(paid.id)).review
        assert (shown and shown["reason"]) == left


async def test_a_due_decision_is_told_to_the_workflow_of_the_review(shared_ledger: Ledger) -> None:
    ledger = shared_ledger
    of = await undecided(ledger, K.CAPTURE)
    await ledger.rows("UPDATE reviews SET sweep_at = NULL WHERE operation_id = :id", id=of.id)
    await decide(ledger, of, V.APPROVED)
    ((row),) = await ledger.rows(
        "SELECT sweep_at <= now() AS due, closed_at FROM reviews WHERE operation_id = :id", id=of.id
    )
    assert row.due
    assert row.closed_at is not None


def test_every_question_is_asked_here() -> None:
    asked = {(question, kind) for question, kind, _ in EXPECTED}
    assert asked == {key for key in TABLE if key != (Q.LATE, K.REVERSE)}
    assert ReviewReason.CONTRADICTED  # that one is asked as what was undone


@pytest.mark.parametrize(
    ("verdict", "kind", "status"),
    [(V.APPROVED, "dispute", "accepted"), (V.DECLINED, "operation_not_supported", "needs_response")],
)
async def test_whoever_accepted_a_dispute_is_answered_by_what_a_person_decides(
    shared_ledger: Ledger, verdict: Verdict, kind: str, status: str
) -> None:
    ledger = shared_ledger
    of = await undecided(ledger, K.ACCEPT)
    await decide(ledger, of, verdict)
    stored = await ledger.stored_key(of)
    assert stored.answer_kind == kind
    ((found,),) = await ledger.rows("SELECT status FROM disputes WHERE id = :id", id=of.dispute_id)
    assert found == status
