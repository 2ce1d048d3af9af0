"""Where an operation stands, in the words that workflows decide on."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from activities.messages import (
    ActionDue,
    InquiryDue,
    NothingSent,
    NotOwner,
    OperationRequest,
    Progress,
    ReversalDue,
    Settled,
)
from activities.progress import after_asking, after_recording, as_found, settled
from payonce.connectors.base import Capabilities
from payonce.domain.answers import decline_error, failure_error
from payonce.domain.facts import ActionRequired, DeclineCode, Declined, FailureCode, Stage
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.schedules import CUSTOMER_INQUIRIES, LOOKS, UNKNOWN_ACCOUNT_INQUIRIES
from payonce.domain.settlement import Settlement
from payonce.standing import Standing
from tests.support.rows import NOW, attempt, operation, payment, under_way

SCHEDULE = UNKNOWN_ACCOUNT_INQUIRIES
CARDS = Capabilities(
    methods=frozenset({"card"}), call_deadline_s=1, finality_s=1, inquiry=SCHEDULE, reversal_by_reference=True
)
A, K = AttemptState, OperationKind


def standing(kind: OperationKind, state: AttemptState | None, *, age_s: float = 0.0) -> Standing:
    """An operation whose attempt is in the state, `age_s` after the owner's time to send ended."""
    of = operation(kind)
    found = None if state is None else attempt(of, state)
    of_payment = payment(PaymentStatus.INIT if kind is K.AUTHORIZE else PaymentStatus.AUTHORIZED)
    return Standing(of_payment, of, found, NOW + timedelta(seconds=5 + age_s))


def test_a_decided_operation_is_settled_and_names_what_is_under_way() -> None:
    capture = operation(K.CAPTURE)
    busy = payment(PaymentStatus.AUTHORIZED, pending_operation=under_way(capture))
    assert settled(busy) == Settled(
        "authorized",
        open=True,
        sequence=1,
        capture_before=busy.capture_before,
        pending=OperationRequest("pay_1", capture.id, K.CAPTURE),
    )
    assert settled(payment(PaymentStatus.CAPTURED)).open is False


@pytest.mark.parametrize(
    ("status", "error", "failure"),
    [
        (PaymentStatus.FAILED, decline_error(Declined(DeclineCode.LOST_CARD)), "lost_card"),
        (PaymentStatus.FAILED, failure_error(FailureCode.PAYMENT_TIMED_OUT), "payment_timed_out"),
        (PaymentStatus.CAPTURED, decline_error(Declined(DeclineCode.LOST_CARD)), None),
    ],
)
def test_a_payment_that_failed_says_why_as_operators_search_for_it(
    status: PaymentStatus, error: dict[str, object], failure: str | None
) -> None:
    assert settled(payment(status, last_error=error)).failure == failure


@pytest.mark.parametrize("kind", [K.AUTHORIZE, K.CAPTURE, K.VOID, K.REFUND])
def test_another_process_may_still_send_a_claimed_create_and_nothing_else(kind: OperationKind) -> None:
    found = as_found(standing(kind, A.CLAIMED), CARDS, here="boot_2")
    if kind is K.AUTHORIZE:
        assert found == NotOwner("boot_1")
    else:
        assert found == InquiryDue(SCHEDULE, "claimed", claimed_at=NOW)


@pytest.mark.parametrize("state", [A.UNKNOWN, A.REVERSING, A.CLAIMED])
def test_what_is_due_for_an_operation_in_review_says_since_when(state: AttemptState) -> None:
    found = standing(K.REFUND, state)
    since = NOW - timedelta(hours=1)
    reviewed = replace(found.operation, review_at=since)
    for due in (
        as_found(replace(found, operation=reviewed), CARDS, here=""),
        after_recording(Settlement(found.payment, reviewed, found.attempt), CARDS, may_retry=False),
    ):
        assert isinstance(due, InquiryDue | ReversalDue)
        assert due.review_since == since


@pytest.mark.parametrize(("age_s", "owner"), [(1.9, True), (2.0, False), (600.0, False)])
def test_an_owner_is_asked_only_while_it_may_send(age_s: float, owner: bool) -> None:
    found = as_found(standing(K.AUTHORIZE, A.CLAIMED, age_s=age_s), CARDS, here="boot_2")
    assert isinstance(found, NotOwner) is owner


def test_a_second_run_at_the_owner_is_anyone_else() -> None:
    found = as_found(standing(K.AUTHORIZE, A.CLAIMED), CARDS, here="boot_1")
    assert found == InquiryDue(SCHEDULE, "claimed", claimed_at=NOW)


@pytest.mark.parametrize(("kind", "may_retry"), [(K.AUTHORIZE, False), (K.CAPTURE, True), (K.REFUND, True)])
@pytest.mark.parametrize("state", [None, A.NOT_SENT])
def test_what_was_not_sent_may_be_tried_again_without_a_card(
    kind: OperationKind, state: AttemptState | None, may_retry: bool
) -> None:
    found = as_found(standing(kind, state), CARDS, here="boot_1")
    assert found == NothingSent("not_sent", may_retry, no_attempt=state is None)


@pytest.mark.parametrize("held_back", ["lacks", "done_by_others", "neither"])
@pytest.mark.parametrize("state", [None, A.NOT_SENT])
def test_whoever_waits_is_told_which_attempt_postgres_knows_of(
    state: AttemptState | None, held_back: str
) -> None:
    """Whatever it waits for: a later one, that it has seen, may have been sent."""
    found = replace(standing(K.REFUND, state), done_by_others=held_back == "done_by_others")
    if held_back == "lacks":
        lacking = replace(found.payment, amount_refund_pending_minor=1, amount_captured_minor=0)
        found = replace(found, payment=lacking)
    told = as_found(found, CARDS, here="")
    assert isinstance(told, NothingSent)
    assert (told.no_attempt, told.claimed_at) == ((True, None) if state is None else (False, NOW))


@pytest.mark.parametrize("kind", [K.AUTHORIZE, K.CAPTURE])
def test_what_is_being_reversed_goes_on_being_reversed(kind: OperationKind) -> None:
    found = as_found(standing(kind, A.REVERSING), CARDS, here="boot_2")
    assert isinstance(found, ReversalDue)


def test_an_unknown_attempt_is_inquired_about_by_anyone() -> None:
    for here in ("boot_1", "boot_2"):
        found = as_found(standing(K.AUTHORIZE, A.UNKNOWN), CARDS, here=here)
        assert found == InquiryDue(SCHEDULE, "unknown", claimed_at=NOW)


def test_an_answer_is_not_overdue_while_the_customer_had_time_to_act() -> None:
    of, ended = operation(), NOW + timedelta(minutes=15)
    asked = attempt(of, A.UNKNOWN, act_before=ended)
    found = as_found(Standing(payment(), of, asked, NOW), UPI, here="boot_2")
    assert found == InquiryDue(SCHEDULE, "unknown", claimed_at=ended)


@pytest.mark.parametrize(
    ("state", "expected"),
    [(A.NOT_SENT, NothingSent), (A.REVERSING, ReversalDue), (A.UNKNOWN, InquiryDue)],
)
def test_the_recorded_attempt_says_what_follows(state: AttemptState, expected: type) -> None:
    of = operation()
    recorded = Settlement(payment(), of, attempt(of, state))
    assert isinstance(after_recording(recorded, CARDS, may_retry=True), expected)


def test_an_outcome_ends_it() -> None:
    of = operation(status=OperationStatus.SUCCEEDED)
    done = payment(PaymentStatus.AUTHORIZED)
    recorded = Settlement(done, of, attempt(of, A.APPROVED))
    assert after_recording(recorded, CARDS, may_retry=True) == settled(done)


UPI = replace(CARDS, data_in_memory=False, late_inquiry=SCHEDULE)


def test_a_customer_who_was_asked_is_waited_for() -> None:
    of = operation()
    asked = attempt(of, A.WAITING, act_before=NOW)
    paid = payment(PaymentStatus.REQUIRES_ACTION, next_action={"type": "upi_qr"})
    expected = ActionDue(NOW, UPI.action_inquiry, "upi_qr")
    assert after_recording(Settlement(paid, of, asked), UPI, may_retry=True) == expected
    assert as_found(Standing(paid, of, asked, NOW), UPI, here="boot_2") == expected


def test_what_needs_nothing_in_memory_may_be_tried_again_by_anyone() -> None:
    found = as_found(standing(K.AUTHORIZE, A.NOT_SENT), UPI, here="boot_2")
    assert found == NothingSent("not_sent", may_retry=True, patient=True)


@pytest.mark.parametrize("status", [PaymentStatus.REQUIRES_ACTION, PaymentStatus.PROCESSING])
def test_the_void_of_what_the_customer_has_not_paid_ends_that(status: PaymentStatus) -> None:
    void, paid = operation(K.VOID), payment(status)
    assert as_found(Standing(paid, void, None, NOW), UPI, here="") == ReversalDue(SCHEDULE, "abandoned")


def test_a_void_that_our_refund_ends_is_looked_at_and_the_payment_stays_open() -> None:
    void = operation(K.VOID)
    paid = payment(PaymentStatus.CAPTURED, pending_operation={**under_way(void), "ended_by": "re_1"})
    assert as_found(Standing(paid, void, None, NOW), UPI, here="") == InquiryDue(LOOKS, "refund")
    assert settled(paid).open


def test_the_void_of_what_is_authorized_is_sent() -> None:
    void = operation(K.VOID)
    paid = payment(PaymentStatus.AUTHORIZED, pending_operation=under_way(void))
    found = as_found(Standing(paid, void, None, NOW), UPI, here="")
    assert found == NothingSent("not_sent", may_retry=True, no_attempt=True)


FINAL = SCHEDULE.within(UPI.finality_s, longer_s=0)
LEFT = attempt(operation(), A.UNKNOWN, act_before=NOW, connector_reference="acq-1")


@pytest.mark.parametrize(
    ("changes", "ends", "given_up", "expected"),
    [
        ({}, "cancelled", False, ReversalDue(SCHEDULE, "left_alone", claimed_at=NOW)),
        ({}, "itself", False, InquiryDue(FINAL, "unknown", claimed_at=NOW)),
        ({}, "cancelled", True, InquiryDue(SCHEDULE.seldom, "unknown", claimed_at=NOW)),
        ({"stage": Stage.AUTHORIZED}, "cancelled", False, InquiryDue(SCHEDULE, "unknown", claimed_at=NOW)),
        ({"state": A.WAITING}, "cancelled", False, ActionDue(NOW, UPI.action_inquiry, "None")),
    ],
    ids=["cancelled by us", "ends itself", "given up", "authorized", "has time"],
)
def test_what_is_left_alone_is_cancelled_where_that_is_for_us_to_do(
    changes: dict[str, Any], ends: Any, given_up: bool, expected: Progress
) -> None:
    paid = payment(PaymentStatus.PROCESSING)
    if given_up:
        paid = replace(paid, pending_operation=under_way(operation(K.VOID)))
    asked = Settlement(paid, operation(), replace(LEFT, **changes))
    assert after_asking(asked, replace(UPI, challenge_ends=ends), now=NOW) == expected


@pytest.mark.parametrize(("legs_move_money", "kind"), [(True, "reversal_due"), (False, "inquiry_due")])
def test_what_only_a_leg_of_ours_can_pay_is_ours_to_end(legs_move_money: bool, kind: str) -> None:
    asked = Settlement(payment(PaymentStatus.PROCESSING), operation(), replace(LEFT, completes="resume"))
    ends_itself = replace(UPI, challenge_ends="itself", legs_move_money=legs_move_money)
    assert after_asking(asked, ends_itself, now=NOW).kind == kind


@pytest.mark.parametrize(
    ("since_s", "delays"),
    [(0, [31, 31, 31]), (25, [6, 6, 6]), (30.5, [1, 1, 1]), (31, [90, 900, 3600]), (600, [90, 900, 3600])],
)
def test_a_rail_whose_time_is_over_is_asked_once_more_when_its_answer_is_final(
    since_s: float, delays: list[float]
) -> None:
    """However seldom it is asked otherwise. Nobody is called while it may still be paid there."""
    seldom = replace(UPI, challenge_ends="itself", inquiry=CUSTOMER_INQUIRIES)
    found = ActionRequired("acq-1", {"type": "upi_qr"}, NOW + timedelta(seconds=30))
    stored = Settlement(payment(PaymentStatus.PROCESSING), operation(), LEFT)
    due = after_asking(stored, seldom, found=found, now=NOW + timedelta(seconds=since_s))
    assert isinstance(due, InquiryDue)
    assert [due.schedule.delay_s(inquiries=n, since_s=since_s) for n in range(3)] == delays
    assert due.schedule.review_after_s == CUSTOMER_INQUIRIES.review_after_s + 30


def test_a_run_that_looks_on_asks_seldom_and_calls_nobody() -> None:
    waits = [SCHEDULE.seldom.delay_s(inquiries=n, since_s=n * 3600.0) for n in range(3)]
    assert waits == [SCHEDULE.slow_every_s] * 3
    assert SCHEDULE.seldom.review_after_s == SCHEDULE.give_up_after_s


@pytest.mark.parametrize(("code", "watched"), [("payment_timed_out", True), ("not_processed", False)])
def test_only_what_the_rail_let_expire_is_watched(code: str, watched: bool) -> None:
    of = operation(status=OperationStatus.FAILED)
    gone = attempt(of, A.NOT_PROCESSED, failure_code=code)
    done = after_recording(Settlement(payment(PaymentStatus.FAILED), of, gone), UPI, may_retry=False)
    assert isinstance(done, Settled)
    assert (done.watched, done.watch) == ((gone.reference, SCHEDULE) if watched else (None, None))


@pytest.mark.parametrize("state", [None, A.NOT_SENT])
def test_what_waits_because_others_moved_what_it_needs_says_so(state: AttemptState | None) -> None:
    waiting = standing(K.REFUND, state)
    lacking = payment(
        PaymentStatus.CAPTURED, amount_refund_pending_minor=1000, amount_refund_undecided_minor=1
    )
    assert as_found(replace(waiting, payment=lacking), CARDS, here="b") == NothingSent(
        "lacking", may_retry=True, no_attempt=state is None
    )
    claimed = as_found(replace(standing(K.REFUND, A.CLAIMED), payment=lacking), CARDS, here="b")
    assert not isinstance(claimed, NothingSent)
