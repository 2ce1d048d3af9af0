"""A person decided, and the acquirer speaks afterwards: through the recorder, in Postgres."""

from typing import Any

import pytest

from payonce.domain.decisions import Verdict
from payonce.domain.errors import DecisionRefused
from payonce.domain.facts import (
    Accepted,
    Approved,
    Cancelled,
    Expired,
    Outcome,
    Redone,
    Refused,
    Reversed,
    Undone,
)
from payonce.domain.operations import Abilities, Operation, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.reviews import Question
from tests.storage import deciding
from tests.storage.deciding import (
    DECIDED,
    DECLINED,
    NOT_PROCESSED,
    age,
    books,
    decide,
    open_reviews,
    record,
    reviews_of,
    turned,
    undecided,
)
from tests.storage.ledger import IDS, Ledger, subject
from tests.support.rows import approval
from tests.support.verdicts import amounts

K, S, O, Q, V = OperationKind, PaymentStatus, OperationStatus, Question, Verdict
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
    assert len(await ledger.rows(DECIDED, id=case.payment_id)) == 2
    left = await books(ledger, case.payment_id)
    await record(ledger, case, DECLINED)  # and not once more about the same word
    assert await books(ledger, case.payment_id) == left


@pytest.mark.parametrize("fact", [DECLINED, NOT_PROCESSED], ids=lambda fact: fact.kind)
async def test_that_a_release_failed_is_no_news_to_a_person_who_was_asked_because_of_that(
    shared_ledger: Ledger, fact: Outcome
) -> None:
    ledger = shared_ledger
    case = await released(ledger)
    await record(ledger, case, fact)
    await decide(ledger, case, V.REVERSED)
    left = await books(ledger, case.payment_id)
    await record(ledger, case, fact)
    assert await books(ledger, case.payment_id) == left


async def released(ledger: Ledger) -> Operation:
    """The case of a late capture, which a refund of ours is to give back: it was sent."""
    of = await ledger.add_operation(await ledger.add_payment(S.AUTHORIZED), K.CAPTURE)
    await record(ledger, of, NOT_PROCESSED)
    await record(ledger, of, approval(of), abilities=Abilities(reversible=False))
    case = await ledger.operation(IDS.reversal(reference=f"{of.id}-1"))
    assert case.sent_as is K.REFUND
    await ledger.claim(case)
    return await ledger.operation(case.id)


async def test_an_authorization_is_not_gone_while_a_capture_that_was_accepted_has_no_outcome(
    ledger: Ledger,
) -> None:
    create = await ledger.add_operation(await ledger.add_payment(), K.AUTHORIZE)
    await record(ledger, create, approval(create))
    paid = await ledger.payment(create.payment_id)
    capture = await ledger.add_operation(paid, K.CAPTURE, amount_minor=250, final=False)
    await record(ledger, capture, Accepted("acq-2"))
    await ledger.recorder().miss(subject(create), attempt=1)
    word = await contradiction(ledger, create)
    with pytest.raises(DecisionRefused, match="A capture of this payment is pending"):
        await decide(ledger, word, V.UNDONE)
    await record(ledger, capture, approval(capture))
    assert (await ledger.payment(paid.id)).amount_captured_minor == 250
    await decide(ledger, word, V.UNDONE)
