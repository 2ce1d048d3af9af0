"""What moved against a recorded failure counts, as the acquirer states it, until it is decided; by example."""

from dataclasses import replace
from typing import Any

import pytest

from payonce.domain import reviews
from payonce.domain.admission import admit_capture, admit_refund, admit_void
from payonce.domain.contradictions import open_case, raise_case
from payonce.domain.ending import review, succeed
from payonce.domain.errors import NotAllowed
from payonce.domain.facts import DeclineCode, Declined, FailureCode, NotProcessed, Outcome, Reversed, Stage
from payonce.domain.facts import Refused as FactRefused
from payonce.domain.ids import attempt_reference
from payonce.domain.money import AMOUNT_MINOR_MAX
from payonce.domain.operations import Abilities, AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.settlement import Settlement, settle
from tests.support.rows import NOW, approval, attempt, operation, payment, under_way
from tests.unit.domain.examples import AUTHORIZE, CAPTURE, LATER, REFUND, VOID, Case, case

S, K, A, O = PaymentStatus, OperationKind, AttemptState, OperationStatus
FAILED = NotProcessed(FailureCode.NOT_PROCESSED)


def late(
    of: Case, *, first: Outcome = FAILED, reversible: bool = True, **stated: Any
) -> tuple[Payment, Operation]:
    """The payment and the case once a success contradicts the first fact."""
    failed = of.settled(first)
    assert failed.attempt is not None
    found = settle(
        failed.payment, failed.operation, failed.attempt, approval(of.operation, **stated), now=LATER
    )
    settled, opened = open_case(
        found, case_id="op_case", abilities=Abilities(reversible=reversible), now=LATER
    )
    return settled.payment, opened


def confirmed(paid: Payment, of: Operation) -> Settlement:
    return succeed(paid, of, None, reply=None, now=LATER)


def reason(paid: Payment) -> str:
    assert paid.review is not None
    return str(paid.review["reason"])


@pytest.mark.parametrize(("stated", "refundable"), [(1000, 0), (300, 700), (1, 999), (1001, 0), (5000, 0)])
def test_a_late_refund_holds_what_the_acquirer_states(stated: int, refundable: int) -> None:
    paid, opened = late(REFUND, amount_minor=stated)
    assert paid.refundable_minor == refundable
    assert (paid.amount_refunded_minor, paid.amount_refund_pending_minor) == (0, 0)
    assert (opened.status, opened.amount_minor, opened.target_kind) == (O.FAILED, stated, K.REFUND)
    assert opened.amount_undecided_minor == stated
    with pytest.raises(NotAllowed):
        admit_refund(paid, amount_minor=refundable + 1)


def test_the_event_of_a_late_success_shows_what_is_left() -> None:
    failed = REFUND.settled(FAILED)
    assert failed.attempt is not None
    found = settle(failed.payment, failed.operation, failed.attempt, approval(REFUND.operation), now=LATER)
    assert [(event.type, event.data["amount_refundable"]) for event in found.events] == [
        ("payment.late_success", 0)
    ]


@pytest.mark.parametrize(("stated", "capturable"), [(1000, 0), (400, 600), (1001, 0)])
def test_a_late_capture_holds_what_the_acquirer_states_until_its_reversal_is_confirmed(
    stated: int, capturable: int
) -> None:
    paid, opened = late(CAPTURE, amount_minor=stated)
    assert (paid.capturable_minor, paid.refundable_minor, paid.review) == (capturable, 0, None)
    assert opened.status is O.PENDING
    undone = confirmed(paid, opened)
    assert (undone.payment.capturable_minor, undone.payment.amount_capture_undecided_minor) == (1000, 0)
    assert (undone.operation.status, undone.operation.amount_undecided_minor) == (O.SUCCEEDED, 0)


@pytest.mark.parametrize("stated", [0, 1, 1000])
def test_a_late_void_holds_all_that_it_was_to_release_whatever_amount_is_stated(stated: int) -> None:
    """What releases money has no amount of its own."""
    paid, opened = late(VOID, amount_minor=stated)
    assert (paid.status, paid.capturable_minor) == (S.AUTHORIZED, 0)
    assert reason(paid) == f"late_void op_void: {opened.amount_minor} INR was released"


@pytest.mark.parametrize("of", [CAPTURE, VOID], ids=["capture", "void"])
def test_what_is_left_of_nothing_is_not_capturable_rather_than_too_large(of: Case) -> None:
    paid, _ = late(of)
    for amount in (None, 1, 1000):
        with pytest.raises(NotAllowed) as refused:
            admit_capture(paid, amount_minor=amount, now=NOW)
        assert refused.value.refusal == "payment_not_capturable"


def test_a_part_that_is_left_may_be_captured() -> None:
    paid, _ = late(CAPTURE, amount_minor=400)
    assert admit_capture(paid, amount_minor=None, now=NOW) == 600
    with pytest.raises(NotAllowed) as refused:
        admit_capture(paid, amount_minor=601, now=NOW)
    assert refused.value.refusal == "amount_too_large"


@pytest.mark.parametrize("of", [CAPTURE, VOID], ids=["capture", "void"])
def test_a_void_and_an_expiry_still_release_all_that_is_not_captured(of: Case) -> None:
    paid, _ = late(of)
    assert admit_void(paid, asked=False) == paid.uncaptured_minor == 1000
    void = operation(K.VOID, id="op_again")
    released = confirmed(replace(paid, pending_operation=under_way(void)), void).payment
    assert (released.status, released.capturable_minor) == (S.VOIDED, 0)
    expiry = operation(K.EXPIRE)
    closed = confirmed(replace(paid, pending_operation=under_way(expiry)), expiry).payment
    assert (closed.status, closed.capturable_minor) == (S.EXPIRED, 0)


@pytest.mark.parametrize("of", [AUTHORIZE, case(K.AUTHORIZE, S.INIT, capture_method="automatic")], ids=str)
def test_a_late_authorization_is_in_none_of_the_payments_amounts(of: Case) -> None:
    paid, opened = late(of)
    assert (paid.status, paid.capturable_minor, paid.refundable_minor) == (S.FAILED, 0, 0)
    assert (opened.amount_minor, opened.amount_undecided_minor) == (1000, 0)
    assert confirmed(paid, opened).operation.status is O.SUCCEEDED


def test_an_amount_that_is_not_stated_is_the_one_that_was_asked_for() -> None:
    paid, opened = late(REFUND, amount_minor=0)
    assert (paid.refundable_minor, opened.amount_minor) == (0, 1000)


def test_an_absurd_amount_can_still_be_recorded() -> None:
    """Postgres has 64 bits; a recording that fails for ever would hide that anything moved."""
    paid, opened = late(REFUND, amount_minor=10**30)
    assert paid.amount_refund_undecided_minor == opened.amount_minor == AMOUNT_MINOR_MAX


def test_another_currency_holds_everything_and_calls_a_person() -> None:
    part = case(K.REFUND, S.CAPTURED, amount_minor=300)
    paid, opened = late(part, amount_minor=5, currency="USD")
    assert (paid.refundable_minor, opened.amount_minor, opened.currency) == (0, 5, "USD")
    assert reason(paid) == "late_refund op_refund: 5 USD was refunded; the payment is in INR"


def test_a_capture_in_another_currency_is_reversed_and_a_person_is_told_meanwhile() -> None:
    part = case(K.CAPTURE, S.AUTHORIZED, amount_minor=300)
    paid, opened = late(part, amount_minor=5, currency="USD")
    assert (paid.capturable_minor, opened.status) == (0, O.PENDING)
    assert reason(paid) == "late_capture op_capture: 5 USD was captured; the payment is in INR"
    undone = confirmed(paid, opened).payment
    assert (undone.capturable_minor, undone.review) == (1000, None)


def test_a_refund_that_succeeded_before_we_knew_is_over_refunded() -> None:
    of = case(K.REFUND, S.REFUNDED)
    of = replace(of, payment=replace(of.payment, amount_refunded_minor=0))
    failed = of.settled(FAILED)
    assert failed.attempt is not None
    meanwhile = replace(failed.payment, amount_refunded_minor=1000)
    found = settle(meanwhile, failed.operation, failed.attempt, approval(of.operation), now=LATER)
    paid = open_case(found, case_id="op_case", abilities=Abilities(), now=LATER)[0].payment
    assert reason(paid) == "late_refund op_refund: 1000 INR was refunded; over-refunded by 1000"
    assert paid.refundable_minor == 0


def test_a_refund_that_is_pending_when_we_learn_is_counted_with_the_late_one() -> None:
    failed = REFUND.settled(FAILED)
    assert failed.attempt is not None
    second = replace(failed.payment, amount_refund_pending_minor=600)
    found = settle(second, failed.operation, failed.attempt, approval(REFUND.operation), now=LATER)
    paid = open_case(found, case_id="op_case", abilities=Abilities(), now=LATER)[0].payment
    assert reason(paid).endswith("; over-refunded by 600 if what is pending succeeds")
    assert paid.refundable_minor == 0


def test_a_capture_that_is_pending_when_we_learn_of_a_late_void_is_over_captured() -> None:
    failed = VOID.settled(FAILED)
    assert failed.attempt is not None
    busy = replace(failed.payment, pending_operation=under_way(operation(K.CAPTURE)))
    found = settle(busy, failed.operation, failed.attempt, approval(VOID.operation), now=LATER)
    paid = open_case(found, case_id="op_case", abilities=Abilities(), now=LATER)[0].payment
    assert reason(paid).endswith("1000 INR was released; over-captured by 1000 if what is pending succeeds")


@pytest.mark.parametrize("of", [REFUND, VOID], ids=["refund", "void"])
def test_what_is_being_undone_is_not_counted_as_a_second_success_in_the_words(of: Case) -> None:
    found = of.settled(approval(of.operation), A.REVERSING)
    paid = open_case(found, case_id="op_case", abilities=Abilities(), now=LATER)[0].payment
    assert "over-" not in reason(paid)
    assert (paid.refundable_minor, paid.capturable_minor) == (0, 0)


def test_two_late_refunds_add_up_and_both_are_named() -> None:
    paid, _ = late(REFUND, amount_minor=600)
    other = operation(K.REFUND, id="re_2", status=O.FAILED)
    failed = attempt(other, A.NOT_PROCESSED)
    found = settle(paid, other, failed, approval(other, amount_minor=700), now=LATER)
    both = open_case(found, case_id="op_case_2", abilities=Abilities(), now=LATER)[0].payment
    assert (both.amount_refund_undecided_minor, both.refundable_minor) == (1300, 0)
    assert reason(both) == (
        "late_refund op_refund: 600 INR was refunded / late_refund re_2: 700 INR was refunded; over-refunded by 300"
    )


def test_a_reversal_that_is_not_confirmed_is_told_with_operation_and_amount() -> None:
    paid, opened = late(CAPTURE)
    told = review(paid, opened, reason="outcome_unknown", now=LATER)
    assert reason(told.payment) == (
        "late_capture op_capture: 1000 INR was captured; not undone yet (outcome_unknown)"
    )
    assert confirmed(told.payment, told.operation).payment.review is None


def test_a_late_success_is_told_beside_an_earlier_reason_and_each_goes_with_its_own_operation() -> None:
    refund = operation(K.REFUND, id="re_1", amount_minor=100)
    first = review(
        payment(S.PARTIALLY_CAPTURED, amount_refund_pending_minor=100), refund, reason="unknown", now=NOW
    )
    capture = operation(K.CAPTURE, amount_minor=600, status=O.FAILED)
    found = settle(first.payment, capture, attempt(capture, A.DECLINED), approval(capture), now=LATER)
    opened, late_capture = open_case(found, case_id="op_case", abilities=Abilities(), now=LATER)
    told = review(opened.payment, late_capture, reason="rejected", now=LATER)
    words = "late_capture op_capture: 600 INR was captured; not undone yet (rejected)"
    assert reason(told.payment) == f"unknown / {words}"
    assert reason(confirmed(told.payment, told.operation).payment) == "unknown"
    unknown = attempt(refund, A.UNKNOWN)
    decided = settle(told.payment, first.operation, unknown, approval(refund), now=LATER).payment
    assert reason(decided) == words
    assert confirmed(decided, told.operation).payment.review is None


def test_an_expiry_that_is_not_confirmed_hides_no_late_success() -> None:
    paid, _ = late(VOID)
    expiry = operation(K.EXPIRE)
    busy = replace(paid, pending_operation=under_way(expiry))
    declined = Declined(DeclineCode.PROCESSING_ERROR)
    closed = settle(busy, expiry, attempt(expiry), declined, now=LATER).payment
    assert reason(closed) == "late_void op_void: 1000 INR was released / expiry_not_confirmed"


def test_a_pending_void_captures_nothing() -> None:
    failed = CAPTURE.settled(FAILED)
    assert failed.attempt is not None
    busy = replace(failed.payment, pending_operation=under_way(operation(K.VOID)))
    found = settle(busy, failed.operation, failed.attempt, approval(CAPTURE.operation), now=LATER)
    opened, case = open_case(found, case_id="op_case", abilities=Abilities(), now=LATER)
    told = review(opened.payment, case, reason="unknown", now=LATER)
    assert reason(told.payment) == "late_capture op_capture: 1000 INR was captured; not undone yet (unknown)"


@pytest.mark.parametrize(
    ("of", "stage", "sent_as"),
    [
        (AUTHORIZE, None, K.VOID),
        (AUTHORIZE, Stage.AUTHORIZED, K.VOID),
        (AUTHORIZE, Stage.CAPTURED, K.REFUND),
        (CAPTURE, None, K.REFUND),
    ],
)
def test_where_nothing_can_be_reversed_it_is_released_by_an_operation_of_its_own(
    of: Case, stage: Stage | None, sent_as: OperationKind
) -> None:
    paid, opened = late(of, reversible=False, stage=stage)
    assert (opened.status, opened.sent_as, paid.review) == (O.PENDING, sent_as, None)
    assert late(of, reversible=True, stage=stage)[1].sent_as is None


@pytest.mark.parametrize(
    "refused",
    [Declined(DeclineCode.GENERIC_DECLINE), FactRefused("no"), FAILED],
    ids=["declined", "refused", "not processed"],
)
def test_a_release_that_is_refused_is_for_a_person_and_the_amount_stays_held(refused: Outcome) -> None:
    paid, opened = late(CAPTURE, reversible=False)
    sent = attempt(opened)
    settled = settle(paid, opened, sent, refused, now=LATER)
    assert (settled.operation.status, settled.operation.amount_undecided_minor) == (O.FAILED, 1000)
    assert (settled.payment.capturable_minor, settled.answer) == (0, None)
    assert reason(settled.payment).startswith(
        "late_capture op_capture: 1000 INR was captured; not undone yet ("
    )
    assert [event.type for event in settled.events] == ["payment.needs_review"]


def test_a_release_that_a_person_was_told_of_before_is_refused_in_other_words() -> None:
    paid, opened = late(CAPTURE, reversible=False)
    told = review(paid, opened, reason="unknown", now=LATER)
    refused = settle(
        told.payment, told.operation, attempt(opened), Declined(DeclineCode.DO_NOT_HONOR), now=LATER
    )
    assert reason(refused.payment) == (
        "late_capture op_capture: 1000 INR was captured; not undone yet (do_not_honor)"
    )


@pytest.mark.parametrize("of", [CAPTURE, AUTHORIZE], ids=["capture", "authorization"])
def test_a_release_gives_back_what_was_held_with_an_event(of: Case) -> None:
    paid, opened = late(of, reversible=False)
    released = settle(paid, opened, attempt(opened), approval(opened), now=LATER)
    assert (released.operation.status, released.operation.amount_undecided_minor) == (O.SUCCEEDED, 0)
    told = [(event.type, event.data["amount_capturable"]) for event in released.events]
    assert told == ([("payment.capture_failed", 1000)] if of is CAPTURE else [])
    assert [event.type for event in confirmed(paid, opened).events] == [type_ for type_, _ in told]


def test_a_release_of_another_amount_is_for_a_person_and_all_of_it_stays_held() -> None:
    paid, opened = late(CAPTURE, reversible=False)
    wrong = settle(paid, opened, attempt(opened), approval(opened, amount_minor=10), now=LATER)
    assert wrong.attempt is not None
    assert (wrong.attempt.state, wrong.operation.status) == (A.REVERSING, O.PENDING)
    assert (wrong.operation.amount_undecided_minor, wrong.payment.capturable_minor) == (1000, 0)


def found_again(
    paid: Payment, opened: Operation, *, sent: bool = False, stage: Stage | None = None, **stated: Any
) -> Settlement:
    """What a further success under the same reference makes of the open case."""
    of = operation(opened.target_kind or K.AUTHORIZE, status=O.FAILED)
    fact = approval(of, stage=stage, **stated)
    again = settle(paid, of, attempt(of, A.NOT_PROCESSED), fact, now=LATER)
    assert again.late is not None
    assert again.attempt is not None
    return raise_case(paid, opened, again.late, attempt=again.attempt, sent=sent, now=LATER)


def test_a_later_fact_with_a_larger_amount_holds_more_and_with_a_smaller_one_nothing() -> None:
    paid, opened = late(CAPTURE, amount_minor=300)
    more = found_again(paid, opened, amount_minor=700)
    assert (more.payment.capturable_minor, more.operation.amount_minor) == (300, 700)
    assert [(event.type, event.data["amount_capturable"]) for event in more.events] == [
        ("payment.late_success", 300)
    ]
    for stated in (700, 200):
        again = found_again(more.payment, more.operation, amount_minor=stated)
        assert (again.payment, again.operation, again.events) == (more.payment, more.operation, ())


def test_a_larger_amount_is_told_to_the_person_who_decides() -> None:
    paid, opened = late(REFUND, amount_minor=300)
    more = found_again(paid, opened, amount_minor=700)
    assert more.payment.refundable_minor == 300
    assert reason(more.payment) == "late_refund op_refund: 700 INR was refunded"
    assert [event.type for event in more.events] == ["payment.late_success", "payment.needs_review"]


def test_what_is_undone_already_is_not_held_again() -> None:
    paid, opened = late(CAPTURE, amount_minor=300)
    done = confirmed(paid, opened)
    assert found_again(done.payment, done.operation, amount_minor=700).payment == done.payment


@pytest.mark.parametrize(("sent", "sent_as"), [(False, K.REFUND), (True, K.VOID)])
def test_a_late_authorization_that_the_rail_captures_meanwhile_is_refunded_unless_its_void_was_sent(
    sent: bool, sent_as: OperationKind
) -> None:
    paid, opened = late(AUTHORIZE, reversible=False, stage=Stage.AUTHORIZED)
    again = found_again(paid, opened, stage=Stage.CAPTURED, sent=sent)
    assert again.operation.sent_as is sent_as


def test_a_capture_of_too_much_that_is_reversed_gives_back_what_it_held_with_an_event() -> None:
    of = case(K.CAPTURE, S.AUTHORIZED, amount_minor=300)
    wrong = of.settled(approval(of.operation, amount_minor=1000))
    assert wrong.attempt is not None
    assert wrong.payment.capturable_minor == 0
    undone = settle(wrong.payment, wrong.operation, wrong.attempt, Reversed(), now=LATER)
    told = [(event.type, event.data["amount_capturable"]) for event in undone.events]
    assert told == [("payment.capture_failed", 1000)]


def test_the_review_of_a_late_success_can_be_told_again_in_the_same_words() -> None:
    """When another operation's review ends, this one's is shown."""
    paid, opened = late(REFUND)
    assert reviews.of(replace(paid, review=None), opened) == paid.review


def test_a_case_of_an_earlier_version_is_told_as_far_as_it_is_known() -> None:
    old = operation(K.REVERSE, target_reference=attempt_reference("op_1", 2), review_at=NOW, status=O.FAILED)
    shown = reviews.of(payment(S.CAPTURED), old)
    assert shown is not None
    assert shown["reason"] == "late_reverse op_1: 1000 INR was moved"


@pytest.mark.parametrize(
    ("changes", "refundable"),
    [
        ({"amount_minor": 1000}, 0),
        ({"amount_minor": 500}, 500),
        ({"amount_minor": 1}, 700),
        ({"currency": "USD"}, 0),
    ],
)
@pytest.mark.parametrize("end", [Reversed(), FAILED], ids=["reversed", "not processed"])
def test_a_refund_of_more_than_was_asked_for_holds_all_of_it_until_it_is_reversed(
    changes: dict[str, Any], refundable: int, end: Outcome
) -> None:
    """The same kind: the acquirer has moved it, and we know."""
    of = case(K.REFUND, S.CAPTURED, amount_minor=300)
    wrong = of.settled(approval(of.operation, **changes))
    assert wrong.payment.refundable_minor == refundable
    assert wrong.attempt is not None
    again = settle(
        wrong.payment, wrong.operation, wrong.attempt, approval(of.operation, **changes), now=LATER
    )
    assert again.payment == wrong.payment
    undone = settle(wrong.payment, wrong.operation, wrong.attempt, end, now=LATER)
    assert (undone.payment.refundable_minor, undone.payment.amount_refund_undecided_minor) == (1000, 0)
    assert undone.operation.amount_undecided_minor == 0


def test_a_decline_holds_nothing() -> None:
    declined = REFUND.settled(Declined(DeclineCode.GENERIC_DECLINE)).payment
    assert (declined.refundable_minor, declined.amount_refund_undecided_minor) == (1000, 0)


@pytest.mark.parametrize(
    ("kind", "amount", "left"), [(K.CAPTURE, 400, 600), (K.VOID, 1000, 0), (K.EXPIRE, 1000, 0)]
)
def test_what_a_pending_capture_or_void_holds_is_not_capturable(
    kind: OperationKind, amount: int, left: int
) -> None:
    busy = payment(S.AUTHORIZED, pending_operation=under_way(operation(kind, amount_minor=amount)))
    assert (busy.capturable_minor, busy.uncaptured_minor) == (left, 1000)
