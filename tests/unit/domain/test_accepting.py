"""Captures that the acquirer has accepted: they hold their amounts, block no captures, and what ends it waits."""

from dataclasses import replace
from typing import Any

import pytest

from payonce.domain.accepting import ACCEPTED_MAX
from payonce.domain.admission import admit_capture, admit_refund, admit_void
from payonce.domain.answers import payment_view
from payonce.domain.errors import NotAllowed, OperationInProgress
from payonce.domain.facts import Accepted, Approved, DeclineCode, Declined
from payonce.domain.operations import Operation, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from tests.support.rows import NOW, payment
from tests.unit.domain.bookkeeping import Books

K, S, O = OperationKind, PaymentStatus, OperationStatus
DECLINED = Declined(DeclineCode.GENERIC_DECLINE)


@pytest.fixture
def books() -> Books:
    """1000, authorized."""
    made = Books(payment(capture_method="manual"))
    create = made.open(K.AUTHORIZE, amount_minor=1_000)
    made.record(create.id, 1, Approved("acq-1", 1_000, "INR"))
    return made


def _capture(books: Books, amount_minor: int, *, final: bool = False) -> Operation:
    admitted = admit_capture(books.payment, amount_minor=amount_minor, now=books.now)
    return books.open(K.CAPTURE, amount_minor=admitted, final=final)


def _accepted(books: Books, amount_minor: int, *, final: bool = False) -> Operation:
    of = _capture(books, amount_minor, final=final)
    books.record(of.id, 1, Accepted(f"psp-{of.id}"))
    return books.operations[of.id]


def _approve(books: Books, of: Operation) -> None:
    books.record(of.id, 1, Approved(f"psp-{of.id}", of.amount_minor, of.currency))


def _shown(books: Books) -> Any:
    return payment_view(books.payment)["pending_operation"]


def test_it_keeps_its_amount_and_lets_others_pass_within_the_sums(books: Books) -> None:
    first = _accepted(books, 300)
    assert (first.status, first.accepted_at is not None) == (O.PENDING, True)
    assert (books.payment.capturable_minor, books.payment.pending_operation) == (700, None)
    assert _shown(books) == {"type": "capture", "amount": 300}
    with pytest.raises(NotAllowed, match="700"):
        admit_capture(books.payment, amount_minor=701, now=NOW)
    second = _capture(books, 500)
    assert _shown(books) == {"type": "capture", "amount": 500}, "what others wait for comes first"
    with pytest.raises(OperationInProgress):
        _capture(books, 1)
    _approve(books, second)
    assert (books.payment.status, books.payment.amount_captured_minor) == (S.PARTIALLY_CAPTURED, 500)
    assert books.payment.capturable_minor == 200
    assert admit_refund(books.payment, amount_minor=None) == 500
    _approve(books, first)
    assert (books.payment.amount_captured_minor, books.payment.accepted_captures) == (800, None)


def test_a_void_waits_for_all_of_them(books: Books) -> None:
    first, second = _accepted(books, 300), _accepted(books, 200)
    for of in (first, second):
        with pytest.raises(OperationInProgress):
            admit_void(books.payment, asked=False)
        _approve(books, of)
    assert admit_void(books.payment, asked=False) == 500


def test_with_all_of_it_accepted_nothing_more_is_captured(books: Books) -> None:
    _accepted(books, 1_000)
    with pytest.raises(OperationInProgress):
        admit_capture(books.payment, amount_minor=None, now=NOW)


def test_one_that_releases_the_rest_stays_the_one_that_others_wait_for(books: Books) -> None:
    final = _accepted(books, 300, final=True)
    assert final.accepted_at is None
    assert books.payment.pending_operation == {"id": final.id, "type": K.CAPTURE, "amount": 300}
    with pytest.raises(OperationInProgress):
        _capture(books, 100)


@pytest.mark.parametrize("refunded", [0, 400, 600])
def test_another_that_releases_the_rest_may_come_first(books: Books, refunded: int) -> None:
    first = _accepted(books, 300)
    _approve(books, _capture(books, 600, final=True))
    assert (books.payment.status, books.payment.accepted != ()) == (S.CAPTURED, True)
    if refunded:
        _approve(books, books.open(K.REFUND, amount_minor=refunded))
    _approve(books, first)
    status = S.PARTIALLY_REFUNDED if refunded else S.CAPTURED
    assert (books.payment.status, books.payment.amount_captured_minor) == (status, 900)
    assert books.events[-1].type == f"payment.{status}"


@pytest.mark.parametrize("closed", [False, True])
def test_one_that_fails_gives_its_amount_back_and_is_told(books: Books, closed: bool) -> None:
    first = _accepted(books, 300)
    if closed:
        _approve(books, _capture(books, 600, final=True))
    books.record(first.id, 1, DECLINED)
    assert books.operations[first.id].status is O.FAILED
    assert (books.payment.accepted_captures, books.payment.capturable_minor) == (None, 0 if closed else 1_000)
    assert [event.type for event in books.events][-1] == "payment.capture_failed"
    assert books.payment.last_error is not None


def test_only_so_many_stand_aside_and_the_next_one_is_waited_for(books: Books) -> None:
    aside = [_accepted(books, 10) for _ in range(ACCEPTED_MAX)]
    last = _accepted(books, 10)
    assert (last.accepted_at, len(books.payment.accepted)) == (None, ACCEPTED_MAX)
    with pytest.raises(OperationInProgress):
        _capture(books, 10)
    for of in [*aside, last]:
        _approve(books, of)
    assert books.payment.amount_captured_minor == 10 * (ACCEPTED_MAX + 1)
    assert books.payment.idle


def test_voids_and_refunds_do_not_stand_aside(books: Books) -> None:
    _approve(books, _capture(books, 300))
    refund = books.open(K.REFUND, amount_minor=100)
    void = books.open(K.VOID, amount_minor=700)
    for of in (refund, void):
        books.record(of.id, 1, Accepted("psp"))
        assert books.operations[of.id].accepted_at is None


def test_what_is_aside_is_not_more_than_there_is_left(books: Books) -> None:
    """Others captured the rest meanwhile: a capture of ours that fits no more is not sent."""
    _accepted(books, 300)
    books.payment = replace(books.payment, amount_captured_minor=701)
    assert books.payment.captures_exceed
