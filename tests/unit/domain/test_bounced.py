"""A refund that others made and the acquirer took back, recorded by the recorder: amounts, status, events, review."""

from typing import Final

import pytest

from payonce.domain.facts import Approved, Fact, Foreign, Stage, Turn, Undone
from payonce.domain.operations import Operation, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.verdicts import Verdict
from tests.unit.domain.playing import Play

S, K, O = PaymentStatus, OperationKind, OperationStatus
MADE: Final = Foreign("re_1", "refund", 400, "INR")
FAILED: Final = Undone("re_1/failed", 400, "INR", "expired_or_canceled_card", refund="re_1")


def captured(*since: Turn) -> Fact:
    return Approved("acq-1", 1000, "INR", stage=Stage.CAPTURED, since=since)


async def paid(*since: Turn) -> Play:
    """An automatic payment of 1000, and what has become of it since."""
    play = Play("automatic")
    await play.say(captured(*since))
    return play


def amounts(play: Play) -> tuple[int, int, int]:
    """Refunded, refundable, held."""
    of = play.payment
    return of.amount_refunded_minor, of.refundable_minor, of.amount_refund_undecided_minor


def told(play: Play, since: int = 0) -> list[str]:
    return [type_ for type_, _, _ in play.tables.events][since:]


def refund_of(play: Play) -> Operation:
    return play.latest(K.REFUND)


async def test_what_was_counted_is_taken_out_and_held_for_a_person() -> None:
    play = await paid(MADE)
    assert (amounts(play), play.payment.status) == ((400, 600, 0), S.PARTIALLY_REFUNDED)
    before = len(told(play))
    await play.say(FAILED)
    assert (amounts(play), play.payment.status) == ((0, 600, 400), S.CAPTURED)
    assert told(play, before) == ["refund.failed", "payment.captured", "payment.needs_review"]
    _, _, data = play.tables.events[before]
    assert (data["id"], data["status"], data["previously"]) == (refund_of(play).id, "failed", "succeeded")
    assert play.payment.review is not None
    words = play.payment.review["reason"]
    assert words.endswith(f"400 INR of {refund_of(play).id} was taken back")


@pytest.mark.parametrize("said", [(FAILED,), (MADE,), (MADE, FAILED), (FAILED, MADE)])
async def test_told_again_it_changes_nothing(said: tuple[Turn, ...]) -> None:
    play = await paid(MADE, FAILED)
    before = play.tables.copied()
    await play.say(captured(*said))
    assert play.tables == before


async def test_one_that_is_told_of_after_its_failure_is_never_counted() -> None:
    play = await paid(FAILED)
    assert (amounts(play), refund_of(play).status) == ((0, 1000, 0), O.FAILED)
    assert told(play)[-1] == "refund.failed"
    before = play.tables.copied()
    await play.say(MADE)
    await play.say(FAILED)
    assert play.tables == before


async def test_a_person_lets_it_go_or_says_that_it_was_paid_after_all() -> None:
    gone = await paid(MADE, FAILED)
    await gone.step("undoing decided undone")
    assert (amounts(gone), gone.payment.review) == ((0, 1000, 0), None)
    holds = await paid(MADE, FAILED)
    await holds.step("undoing decided paid")
    assert (amounts(holds), holds.payment.review) == ((400, 600, 0), None)
    assert (refund_of(holds).status, refund_of(holds).last_error) == (O.SUCCEEDED, None)


async def test_a_second_word_of_it_is_no_news_unless_a_person_had_said_that_it_was_paid() -> None:
    """An acquirer may have two events for it: rejected by the scheme, and back on the account."""
    reversed_ = Undone("re_1/reversed", 400, "INR", refund="re_1")
    play = await paid(MADE, FAILED)
    since = len(told(play))
    await play.say(reversed_)
    assert (amounts(play), told(play, since)) == ((0, 600, 400), [])
    gone = await paid(MADE, FAILED)
    await gone.step("undoing decided undone")
    await gone.say(reversed_)
    assert (amounts(gone), gone.payment.review) == ((0, 1000, 0), None)
    holds = await paid(MADE, FAILED)
    await holds.step("undoing decided paid")
    await holds.say(reversed_)
    assert amounts(holds) == (0, 600, 400)
    assert holds.payment.review is not None


async def test_what_did_not_fit_is_held_no_more() -> None:
    """1500 of 1000 was refunded: 500 was for a person, and is moot; 1000 is held, as of any refund."""
    many = Foreign("re_1", "refund", 1500, "INR")
    play = await paid(many)
    assert amounts(play) == (1000, 0, 500)
    await play.say(Undone("re_1/failed", 1500, "INR", refund="re_1"))
    assert (amounts(play), play.payment.status) == ((0, 0, 1000), S.CAPTURED)
    assert [review.operation_id for review in play.tables.open_reviews.values()] == [play.latest(K.UNDO).id]


async def test_one_of_which_nothing_was_counted_leaves_nothing_to_decide() -> None:
    play = await paid(Foreign("re_1", "refund", 400, "USD"))
    assert amounts(play)[0] == 0
    assert play.payment.review is not None
    await play.say(Undone("re_1/failed", 400, "USD", refund="re_1"))
    assert (amounts(play), play.payment.review) == ((0, 1000, 0), None)
    assert (refund_of(play).status, told(play)[-1]) == (O.FAILED, "refund.failed")


async def test_what_a_person_booked_less_of_is_taken_out_by_so_much() -> None:
    play = await paid(Foreign("re_0", "refund", 800, "INR"), Foreign("re_1", "refund", 500, "INR"))
    await play.decide(refund_of(play).id, Verdict.APPROVED)
    assert amounts(play) == (1000, 0, 0)
    await play.say(Undone("re_1/failed", 500, "INR", refund="re_1"))
    assert amounts(play) == (800, 0, 200)


async def test_what_a_person_took_out_of_the_books_is_not_taken_out_twice() -> None:
    play = await paid(Foreign("re_0", "refund", 800, "INR"), Foreign("re_1", "refund", 500, "INR"))
    await play.decide(refund_of(play).id, Verdict.ORPHAN)
    before = play.tables.copied()
    await play.say(Undone("re_1/failed", 500, "INR", refund="re_1"))
    assert play.tables == before
    assert amounts(play) == (800, 200, 0)


async def test_a_late_success_that_it_had_ended_stands_again() -> None:
    play = Play("automatic")
    for step in ("reversal begun", "reversed", "captured"):
        await play.step(step)
    case = play.latest(K.REVERSE)
    assert case.status is O.PENDING
    await play.say(Foreign("re_1", "refund", 1000, "INR"))
    assert play.latest(K.REVERSE).status is O.SUCCEEDED
    await play.say(Undone("re_1/failed", 1000, "INR", refund="re_1"))
    assert play.latest(K.REVERSE).review_at is not None
    assert play.payment.review is not None
    assert amounts(play)[0] == 0
    before = play.tables.copied()
    await play.say(Undone("re_1/failed", 1000, "INR", refund="re_1"))
    assert play.tables == before
