"""A person decides, and the acquirer speaks before, meanwhile and afterwards: through the recorder, in Postgres."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from payonce.domain.decisions import TABLE, Verdict
from payonce.domain.errors import DecisionRefused, NotFound
from payonce.domain.facts import Approved, Cancelled, Expired, Outcome, Redone, Refused, Reversed, Undone
from payonce.domain.ids import operation_id_of
from payonce.domain.operations import Abilities, Operation, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.reviews import Question, ReviewReason
from tests.storage import deciding
from tests.storage.deciding import (
    ACCOUNTS,
    DECLINED,
    NOT_PROCESSED,
    age,
    books,
    decide,
    decision,
    in_review,
    record,
    turned,
    undecided,
)
from tests.storage.ledger import IDS, Ledger, subject
from tests.unit.rows import approval
from tests.unit.verdicts import EXPECTED, Becomes, amounts

K, S, O, Q, V = OperationKind, PaymentStatus, OperationStatus, Question, Verdict
_DECIDED = """
SELECT operation_id, verdict, reason, actor, authenticated, why, evidence, amount_minor, reference
  FROM decisions WHERE payment_id = :id ORDER BY created_at
"""
_REVIEWS = "SELECT operation_id, reason, closed_by FROM reviews WHERE payment_id = :id ORDER BY opened_at"


async def reviews_of(ledger: Ledger, of: Operation) -> list[tuple[str, str, str | None]]:
    found = await ledger.rows(_REVIEWS, id=of.payment_id)
    return [(row.operation_id, row.reason, row.closed_by) for row in found]


async def open_reviews(ledger: Ledger, of: Operation) -> list[str]:
    return [reason for _, reason, closed_by in await reviews_of(ledger, of) if closed_by is None]


@pytest.mark.parametrize(("question", "kind", "verdict"), EXPECTED, ids=str)
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
    about = await ledger.operation(operation_id_of(of.target_reference)) if expected.beside else None  # type: ignore[arg-type]
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
    row = (await ledger.rows(_DECIDED, id=paid.id))[-1]
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
    ((row),) = await ledger.rows(_DECIDED, id=of.payment_id)
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
    assert len(await ledger.rows(_DECIDED, id=of.payment_id)) == 1
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
    ((row),) = await ledger.rows(_DECIDED, id=of.payment_id)
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
    assert await shared_ledger.rows(_DECIDED, id=of.payment_id) == []


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


# What the acquirer says afterwards.

NO = [DECLINED, Refused("bad"), NOT_PROCESSED, Reversed(), Expired(), Cancelled()]
YES = {K.REFUND: V.PAID}


async def said_done(ledger: Ledger, kind: OperationKind, **changes: Any) -> Operation:
    of = await undecided(ledger, kind, **changes)
    await decide(ledger, of, YES.get(kind, V.APPROVED))
    return await ledger.operation(of.id)


async def contradiction(ledger: Ledger, of: Operation) -> Operation:
    query = "SELECT operation_id FROM reviews WHERE payment_id = :id AND closed_at IS NULL"
    ((row),) = await ledger.rows(query, id=of.payment_id)
    return await ledger.operation(row.operation_id)


@pytest.mark.parametrize("kind", [K.AUTHORIZE, K.CAPTURE, K.VOID, K.REFUND, K.EXPIRE])
@pytest.mark.parametrize("fact", NO, ids=lambda fact: fact.kind)
async def test_a_no_after_a_person_said_yes_is_a_case_once(
    shared_ledger: Ledger, kind: OperationKind, fact: Outcome
) -> None:
    ledger = shared_ledger
    of = await said_done(ledger, kind)
    await record(ledger, of, fact)
    assert await open_reviews(ledger, of) == ["contradicted"]
    told = await contradiction(ledger, of)
    paid = await ledger.payment(of.payment_id)
    assert told.id == IDS.contradiction(reference=f"{of.id}-1")
    assert told.amount_undecided_minor == 1000
    assert (paid.capturable_minor, paid.refundable_minor) == (0, 0)
    assert (await ledger.events(paid.id))[-1][1] == "payment.needs_review"
    left = await books(ledger, paid)
    for again in (fact, *NO):  # whatever way it says no meanwhile
        await record(ledger, of, again)
    assert await books(ledger, paid) == left


@pytest.mark.parametrize("kind", [K.AUTHORIZE, K.CAPTURE, K.VOID, K.REFUND, K.EXPIRE])
async def test_a_yes_after_a_person_said_yes_changes_nothing(
    shared_ledger: Ledger, kind: OperationKind
) -> None:
    ledger = shared_ledger
    of = await said_done(ledger, kind)
    left = await books(ledger, of.payment_id)
    for reference in ("acq-1", "another"):
        await record(ledger, of, approval(of, connector_reference=reference))
    assert await books(ledger, of.payment_id) == left


@pytest.mark.parametrize("kind", [K.AUTHORIZE, K.CAPTURE, K.VOID, K.REFUND])
async def test_a_yes_after_a_person_said_no_is_a_late_success_and_a_no_changes_nothing(
    shared_ledger: Ledger, kind: OperationKind
) -> None:
    ledger = shared_ledger
    of = await undecided(ledger, kind)
    await decide(ledger, of, V.NOT_PAID if kind is K.REFUND else V.DECLINED)
    left = await books(ledger, of.payment_id)
    for fact in NO:
        await record(ledger, of, fact)
    assert await books(ledger, of.payment_id) == left
    await record(ledger, of, approval(of))
    case = await ledger.operation(IDS.reversal(reference=f"{of.id}-1"))
    assert case.target_kind is kind
    assert (await ledger.events(of.payment_id))[len(left["events"])][1] == "payment.late_success"


async def test_another_amount_than_the_person_said_is_a_case(shared_ledger: Ledger) -> None:
    of = await said_done(shared_ledger, K.CAPTURE)
    await record(shared_ledger, of, Approved("acq-1", 1500, "INR"))
    told = await contradiction(shared_ledger, of)
    assert told.reason == "approved of 1500 INR"


@pytest.mark.parametrize("kind", [K.AUTHORIZE, K.CAPTURE, K.VOID, K.REFUND, K.EXPIRE])
async def test_an_acquirer_that_takes_its_no_back_ends_the_case(
    shared_ledger: Ledger, kind: OperationKind
) -> None:
    ledger = shared_ledger
    of = await said_done(ledger, kind)
    before = await ledger.payment(of.payment_id)
    for _ in range(3):  # and says no once more
        await record(ledger, of, DECLINED)
        assert await open_reviews(ledger, of) == ["contradicted"]
        await record(ledger, of, approval(of))
        assert await open_reviews(ledger, of) == []
        after = await ledger.payment(of.payment_id)
        assert (after.status, amounts(after), after.review) == (before.status, amounts(before), None)
    assert [closed_by for *_, closed_by in await reviews_of(ledger, of)] == ["decision", *["fact"] * 3]


async def test_a_person_who_holds_on_is_not_asked_about_the_same_word_again(shared_ledger: Ledger) -> None:
    ledger = shared_ledger
    of = await said_done(ledger, K.CAPTURE)
    before = await ledger.payment(of.payment_id)
    await record(ledger, of, NOT_PROCESSED)
    await decide(ledger, await contradiction(ledger, of), V.APPROVED)
    after = await ledger.payment(of.payment_id)
    assert (after.status, amounts(after)) == (before.status, amounts(before))
    left = await books(ledger, of.payment_id)
    for fact in (NOT_PROCESSED, approval(of)):
        await record(ledger, of, fact)
    assert await books(ledger, of.payment_id) == left
    await record(ledger, of, DECLINED)  # this it did not say before
    assert await open_reviews(ledger, of) == ["contradicted"]


@pytest.mark.parametrize(
    ("kind", "becomes"), [(K.CAPTURE, S.EXPIRED), (K.VOID, S.AUTHORIZED), (K.REFUND, S.CAPTURED)]
)
async def test_an_acquirer_that_takes_its_no_back_after_a_person_believed_it_is_heard(
    shared_ledger: Ledger, kind: OperationKind, becomes: PaymentStatus
) -> None:
    ledger = shared_ledger
    of = await said_done(ledger, kind)
    before = await ledger.payment(of.payment_id)
    await record(ledger, of, DECLINED)
    await decide(ledger, await contradiction(ledger, of), V.UNDONE)
    assert (await ledger.payment(of.payment_id)).status is becomes
    left = await books(ledger, of.payment_id)
    for fact in NO:
        await record(ledger, of, fact)
    assert await books(ledger, of.payment_id) == left
    await record(ledger, of, approval(of))
    if kind is K.REFUND:  # its merchant was told that it failed
        assert await open_reviews(ledger, of) == ["undone"]
        await decide(ledger, await contradiction(ledger, of), V.PAID)
    after = await ledger.payment(of.payment_id)
    assert (after.status, amounts(after), after.review) == (before.status, amounts(before), None)


@pytest.mark.parametrize(
    ("kind", "verdict"), [(K.CAPTURE, V.APPROVED), (K.VOID, V.APPROVED), (K.REFUND, V.PAID)]
)
async def test_what_a_person_said_holds_again_is_no_news_when_the_acquirer_does_it(
    shared_ledger: Ledger, kind: OperationKind, verdict: Verdict
) -> None:
    ledger = shared_ledger
    turn = await deciding.undone(ledger, kind)
    of = await ledger.operation((turn.target_reference or "").removesuffix("-1"))
    await decide(ledger, turn, verdict)
    paid = await ledger.payment(of.payment_id)
    redone = Redone("r", 1000, "INR")
    for _ in range(2):
        await record(ledger, of, redone)
    assert await ledger.payment(of.payment_id) == paid
    assert (await turned(ledger, of, redone)).amount_undecided_minor == 0
    await record(ledger, of, Undone("u2", 1000, "INR"))  # and takes it back again
    assert await open_reviews(ledger, of) == ["undone"]


async def test_what_a_person_said_was_not_done_again_is_no_news_when_the_acquirer_takes_it_back(
    shared_ledger: Ledger,
) -> None:
    ledger = shared_ledger
    turn = await deciding.undone(ledger, K.REFUND)
    of = await ledger.operation((turn.target_reference or "").removesuffix("-1"))
    redone = Redone("r", 1000, "INR")
    await record(ledger, of, redone)
    await decide(ledger, await turned(ledger, of, redone), V.UNDONE)
    paid = await ledger.payment(of.payment_id)
    await record(ledger, of, Undone("u2", 1000, "INR"))
    assert await ledger.payment(of.payment_id) == paid


async def test_a_redo_of_more_than_was_undone_does_not_hold_again(shared_ledger: Ledger) -> None:
    ledger = shared_ledger
    turn = await deciding.undone(ledger, K.CAPTURE, Undone("u", 400, "INR"))
    of = await ledger.operation((turn.target_reference or "").removesuffix("-1"))
    redone = Redone("r", 1000, "INR")
    await record(ledger, of, redone)
    told = await turned(ledger, of, redone)
    assert told.amount_undecided_minor == 600
    with pytest.raises(DecisionRefused, match="600 INR more was done again than is undone"):
        await decide(ledger, told, V.APPROVED)
    await decide(ledger, told, V.UNDONE)


@pytest.mark.parametrize("kind", [K.VOID, K.EXPIRE])
async def test_a_release_that_a_person_found_and_the_acquirer_then_confirms_is_no_late_success(
    shared_ledger: Ledger, kind: OperationKind
) -> None:
    ledger = shared_ledger
    of = await deciding.not_confirmed(ledger, kind)
    await decide(ledger, of, V.APPROVED)
    left = await books(ledger, of.payment_id)
    await record(ledger, of, approval(of))
    assert await books(ledger, of.payment_id) == left


async def test_a_refund_that_a_person_found_and_the_acquirer_then_confirms_is_no_late_success(
    shared_ledger: Ledger,
) -> None:
    ledger = shared_ledger
    of = await deciding.not_released(ledger)
    await decide(ledger, of, V.PAID)
    left = await books(ledger, of.payment_id)
    await record(ledger, of, approval(of, connector_reference="another"))
    assert await books(ledger, of.payment_id) == left


# Late successes that a person decided about.


async def test_a_case_that_is_decided_is_left_alone_by_what_ends_an_open_one(shared_ledger: Ledger) -> None:
    ledger = shared_ledger
    case = await deciding.late(ledger, K.CAPTURE, reversible=True)
    of = await ledger.operation((case.target_reference or "").removesuffix("-1"))
    await decide(ledger, case, V.ORPHAN)
    left = await books(ledger, of.payment_id)
    await record(ledger, of, Reversed())
    assert await books(ledger, of.payment_id) == left
    await record(ledger, of, Undone("u", 1000, "INR"))
    told = await books(ledger, of.payment_id)
    (turn,) = [row for row in told["operations"] if row not in left["operations"]]
    assert (turn["kind"], turn["connector_reference"], turn["amount_undecided_minor"]) == ("undo", "u", 0)
    assert {**told, "operations": left["operations"]} == left


async def test_a_release_that_failed_and_succeeds_after_all_ends_its_review(shared_ledger: Ledger) -> None:
    ledger = shared_ledger
    case = await released(ledger)
    await record(ledger, case, DECLINED)
    assert await open_reviews(ledger, case) == ["late"]
    await record(ledger, case, Approved("acq-release", 1000, "INR"))
    assert [closed_by for *_, closed_by in await reviews_of(ledger, case)] == ["fact"]
    paid = await ledger.payment(case.payment_id)
    assert (amounts(paid), paid.review) == ((0, 1000, 0, 0), None)
    assert (await ledger.operation(case.id)).status is O.SUCCEEDED


async def test_a_release_that_fails_after_a_person_said_that_it_was_undone_is_in_review_again(
    shared_ledger: Ledger,
) -> None:
    ledger = shared_ledger
    case = await released(ledger)
    await ledger.recorder().review(subject(case), reason="outcome_unknown")
    await age(ledger, case)
    await decide(ledger, case, V.REVERSED)
    await record(ledger, case, DECLINED)
    assert [closed_by for *_, closed_by in await reviews_of(ledger, case)] == [None]
    await decide(ledger, case, V.REVERSED)  # it is asked anew
    assert len(await ledger.rows(_DECIDED, id=case.payment_id)) == 2


async def released(ledger: Ledger) -> Operation:
    """The case of a late capture, which a refund of ours is to give back: it was sent."""
    of = await ledger.add_operation(await ledger.add_payment(S.AUTHORIZED), K.CAPTURE)
    await record(ledger, of, NOT_PROCESSED)
    await record(ledger, of, approval(of), abilities=Abilities(reversible=False))
    case = await ledger.operation(IDS.reversal(reference=f"{of.id}-1"))
    assert case.sent_as is K.REFUND
    await ledger.claim(case)
    return await ledger.operation(case.id)


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
