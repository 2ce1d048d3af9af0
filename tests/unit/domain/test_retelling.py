"""What an acquirer without a list has told, read once more."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from payonce.domain.facts import Approved, DeclineCode, Declined, Foreign, Redone, Told, Undone
from payonce.domain.operations import Attempt, AttemptState, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.reconciling import ComparisonResult, Ours
from payonce.domain.retelling import ToldFact, as_told, is_orphan, named, was_missed
from tests.support import rows

K, O, A = OperationKind, OperationStatus, AttemptState
NOW = datetime(2026, 11, 29, tzinfo=UTC)
DONE = Approved("acq-1", 1000, "INR", event="first")
AGAIN = Approved("acq-1", 1000, "INR", event="again")
UNDONE = Undone("undone", 1000, "INR")
NO = Declined(DeclineCode.GENERIC_DECLINE)


def ours(status: OperationStatus, state: AttemptState, kind: OperationKind = K.REFUND) -> Ours:
    operation = replace(rows.operation(kind), status=status)
    attempt: Attempt = replace(rows.attempt(operation), state=state)
    return Ours(rows.payment(PaymentStatus.CAPTURED), operation, attempt)


@pytest.mark.parametrize("fact", [DONE, NO])
def test_what_was_told_of_an_outcome_that_is_still_awaited_was_missed(fact: Told) -> None:
    assert was_missed(fact, ours(O.PENDING, A.UNKNOWN), turn_known=False)
    assert not was_missed(fact, ours(O.SUCCEEDED, A.APPROVED), turn_known=False)


def test_an_approval_of_what_failed_here_was_recorded_when_it_came() -> None:
    """And may be undone since, so that it would be reversed twice."""
    assert not was_missed(DONE, ours(O.FAILED, A.NOT_PROCESSED), turn_known=False)


@pytest.mark.parametrize("fact", [DONE, NO, UNDONE])
def test_what_is_being_undone_is_left_alone(fact: Told) -> None:
    assert not was_missed(fact, ours(O.PENDING, A.REVERSING), turn_known=False)


@pytest.mark.parametrize("fact", [UNDONE, Redone("redone", 1000, "INR")])
def test_a_turn_that_no_operation_tells_of_was_missed_where_its_success_stands(fact: Told) -> None:
    stands = ours(O.SUCCEEDED, A.APPROVED)
    assert was_missed(fact, stands, turn_known=False)
    assert not was_missed(fact, stands, turn_known=True)
    assert not was_missed(fact, ours(O.FAILED, A.DECLINED), turn_known=False)
    assert not was_missed(fact, replace(stands, release=stands.operation), turn_known=False)


@pytest.mark.parametrize(
    "fact", [Foreign("theirs", "refund", 1, "INR"), Undone("undone", 1, "INR", refund="theirs")]
)
def test_what_others_did_was_booked_when_it_came(fact: Told) -> None:
    assert not was_missed(fact, ours(O.SUCCEEDED, A.APPROVED), turn_known=False)


@pytest.mark.parametrize(
    ("told", "fact", "counts"),
    [
        ([DONE, UNDONE, AGAIN], AGAIN, True),
        ([DONE, UNDONE, AGAIN], DONE, False),
        ([DONE, AGAIN, UNDONE], AGAIN, False),  # it was no news when it was told
        ([UNDONE, DONE], DONE, False),  # it is the success itself, of which the undoing came first
        ([UNDONE, DONE, AGAIN], AGAIN, True),
        ([DONE], DONE, True),
    ],
)
def test_a_success_that_was_undone_only_after_it_was_told_is_not_done_again_by_it(
    told: list[Told], fact: Approved, counts: bool
) -> None:
    assert as_told(fact, told, kind=K.CAPTURE) == (fact if counts else replace(fact, event=None))


def test_an_authorization_may_have_succeeded_by_its_own_answer() -> None:
    assert as_told(AGAIN, [UNDONE, AGAIN], kind=K.AUTHORIZE) == AGAIN


def test_what_was_approved_under_a_reference_that_nobody_knows_is_an_orphan() -> None:
    told = ToldFact("pay_forgotten-1", DONE, NOW)
    assert is_orphan(told, ours_by_form=True)
    assert not is_orphan(told, ours_by_form=False)
    assert not is_orphan(replace(told, fact=NO), ours_by_form=True)


def test_what_was_missed_is_named() -> None:
    assert named(DONE) is ComparisonResult.CHARGED_THERE
    assert named(UNDONE) is ComparisonResult.AMOUNT
    assert named(NO) is None
