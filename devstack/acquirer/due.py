"""What happens by itself, in the order of its times, whenever somebody looks. Inside the caller's transaction."""

import sqlite3
from datetime import datetime
from typing import Any

from devstack.acquirer import disputes, turns, waiting
from devstack.acquirer.adyen import by_itself as adyen_by_itself
from devstack.acquirer.disputes import Move, Wish
from devstack.acquirer.movements import Result, Terms
from devstack.acquirer.razorpay import by_itself as razorpay_by_itself
from devstack.acquirer.stripe import by_itself as stripe_by_itself

_DIALECTS = (stripe_by_itself, razorpay_by_itself, adyen_by_itself, disputes)
_TELLING = (stripe_by_itself, razorpay_by_itself, adyen_by_itself)  # of what banks do
_NEVER = {"due_at": "~"}  # after every timestamp


def is_due(db: sqlite3.Connection, now: datetime) -> bool:
    """Whether `settled` has something to do."""
    looked_at = (waiting, turns, *_DIALECTS)
    return any(each.next_due(db, now) is not None for each in looked_at)


def settled(db: sqlite3.Connection, terms: Terms) -> None:
    """Everything that happens by itself up to now has happened.

    It ends: a payment has at most two steps of its own, an operation at most as many turns as a request faults, a
    dispute is planned once, an object of Stripe's has at most one change to come, a payment of Razorpay's or Adyen's
    at most four, and each is due once.
    """
    while True:
        payment, turn = waiting.next_due(db, terms.now), turns.next_due(db, terms.now)
        changes = [(dialect, dialect.next_due(db, terms.now)) for dialect in _DIALECTS]
        rows = (payment, turn, *(row for _, row in changes), _NEVER)
        first = min(row["due_at"] for row in rows if row is not None)
        if payment is not None and payment["due_at"] == first:
            waiting.moved_by_itself(db, payment, terms)
            continue
        if turn is not None and turn["due_at"] == first:
            _taken(db, turn, terms)
            continue
        change = next(((of, row) for of, row in changes if row is not None and row["due_at"] == first), None)
        if change is None:
            return
        dialect, row = change
        if dialect is not disputes:
            dialect.changed(db, row, terms)
        elif (opened := disputes.changed(db, row, terms)) is not None:
            _told(db, None, opened, terms)


def done_by_hand(db: sqlite3.Connection, terms: Terms, **asked: Any) -> Result:
    """It has happened, to whichever acquirer's charge it is; see `turns.by_hand`."""
    turn = turns.by_hand(db, terms, **asked)
    _taken(db, turn, terms)
    return {"id": turn["id"], "what": turn["operation"], "charge": turn["operation_id"]}


def dispute_opened(payment_reference: str, wish: Wish, db: sqlite3.Connection, terms: Terms) -> Result:
    """The dispute that the bank opened, at whichever acquirer's charge it is; see `disputes.opened`."""
    return _told(db, None, disputes.opened(payment_reference, wish, db, terms), terms)


def dispute_moved(
    dispute_id: str, move: Move, amount: int | None, db: sqlite3.Connection, terms: Terms
) -> Result:
    """The dispute after the bank's move, at whichever acquirer's charge it is; see `disputes.moved`."""
    before = disputes.found(db, dispute_id)
    return _told(db, before, disputes.moved(dispute_id, move, amount, db, terms), terms)


def fraud_warned(payment_reference: str, db: sqlite3.Connection, terms: Terms) -> Result:
    """The bank suspects a fraud in what was captured of the payment, and says so. Raises `NotPossible`."""
    authorization = disputes.disputable(db, payment_reference)
    told = [one.suspected(db, authorization, terms) for one in (stripe_by_itself, adyen_by_itself)]
    if not any(told):
        raise disputes.NotPossible  # the others have no such word
    return {"payment_reference": payment_reference}


def _told(db: sqlite3.Connection, before: Result | None, after: Result, terms: Terms) -> Result:
    for dialect in _TELLING:
        dialect.disputed(db, before, after, terms)
    return after


def _taken(db: sqlite3.Connection, turn: sqlite3.Row, terms: Terms) -> None:
    turns.taken(db, turn)
    for dialect in _DIALECTS:
        dialect.turned(db, turn, terms)
