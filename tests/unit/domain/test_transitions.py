"""The transition table, walked as a product."""

from itertools import product

import pytest

from payonce.domain.errors import IllegalTransition
from payonce.domain.payment import TRANSITIONS, Change, PaymentStatus, next_status
from tests.support.rows import payment

PAIRS = list(product(PaymentStatus, Change))
# What an acquirer does of itself, whatever has ended.
TURNS = (Change.CAPTURE_UNDONE, Change.CAPTURE_REDONE, Change.REFUND_UNDONE, Change.VOID_UNDONE)
REFUNDS = (Change.REFUNDED_IN_PART, Change.REFUNDED)
ACCEPTED = Change.CAPTURED_IN_PART  # before another capture released the rest, and all of that was refunded
ENDS = (PaymentStatus.VOIDED, PaymentStatus.EXPIRED, PaymentStatus.FAILED, PaymentStatus.REFUNDED)


@pytest.mark.parametrize(("status", "change"), PAIRS)
def test_every_pair_is_in_the_table_or_is_illegal(status: PaymentStatus, change: Change) -> None:
    if (status, change) in TRANSITIONS:
        assert next_status(status, change) is TRANSITIONS[status, change]
        return
    with pytest.raises(IllegalTransition) as refused:
        next_status(status, change)
    assert (refused.value.status, refused.value.change) == (status, change)


@pytest.mark.parametrize("status", ENDS)
def test_only_what_the_acquirer_takes_back_or_does_again_leads_out_of_an_end(status: PaymentStatus) -> None:
    leading = [change for change in Change if TRANSITIONS.get((status, change), status) is not status]
    assert [change for change in leading if change not in (*TURNS, *REFUNDS, ACCEPTED)] == []


def test_nothing_leads_out_of_failed() -> None:
    assert not [change for change in Change if (PaymentStatus.FAILED, change) in TRANSITIONS]


def test_every_status_but_the_first_can_be_reached_from_init() -> None:
    reached, fresh = {PaymentStatus.INIT}, {PaymentStatus.INIT}
    while fresh:
        fresh = {to for (of, _), to in TRANSITIONS.items() if of in fresh} - reached
        reached |= fresh
    assert reached == set(PaymentStatus)


def test_every_change_happens_somewhere() -> None:
    assert {change for _, change in TRANSITIONS} == set(Change)


def test_a_decided_payment_is_never_undecided_again() -> None:
    back = [pair for pair, to in TRANSITIONS.items() if not pair[0].undecided and to.undecided]
    assert not back


def test_a_payment_whose_authorization_is_used_up_is_capturable_again_only_where_that_was_taken_back() -> (
    None
):
    back = [
        pair
        for pair, to in TRANSITIONS.items()
        if to.capturable and not pair[0].capturable and not pair[0].undecided
    ]
    assert {change for _, change in back} == {Change.CAPTURE_UNDONE, Change.VOID_UNDONE}


@pytest.mark.parametrize("change", [Change.REFUNDED_IN_PART, Change.REFUNDED])
def test_a_refund_leaves_the_status_while_something_is_capturable(change: Change) -> None:
    assert next_status(PaymentStatus.PARTIALLY_CAPTURED, change) is PaymentStatus.PARTIALLY_CAPTURED


@pytest.mark.parametrize("change", [Change.VOIDED, Change.EXPIRED, Change.CAPTURED])
def test_a_partly_captured_payment_is_captured_when_the_rest_is_released(change: Change) -> None:
    assert next_status(PaymentStatus.PARTIALLY_CAPTURED, change) is PaymentStatus.CAPTURED


def test_a_payment_changes_by_the_table_and_keeps_what_it_was() -> None:
    before = payment(PaymentStatus.AUTHORIZED)
    after = before.changed(Change.CAPTURED, amount_captured_minor=1000)
    assert (after.status, after.amount_captured_minor) == (PaymentStatus.CAPTURED, 1000)
    assert (before.status, before.amount_captured_minor) == (PaymentStatus.AUTHORIZED, 0)


def test_a_failed_payment_stays_failed() -> None:
    with pytest.raises(IllegalTransition, match="authorized is not possible from failed"):
        payment(PaymentStatus.FAILED).changed(Change.AUTHORIZED)
