"""What happens by itself, in the order of its times, whenever somebody looks. Inside the caller's transaction."""

import sqlite3
from datetime import datetime

from devstack.acquirer import turns, waiting
from devstack.acquirer.adyen import by_itself as adyen_by_itself
from devstack.acquirer.movements import Terms
from devstack.acquirer.razorpay import by_itself as razorpay_by_itself
from devstack.acquirer.stripe import by_itself as stripe_by_itself

_DIALECTS = (stripe_by_itself, razorpay_by_itself, adyen_by_itself)
_NEVER = {"due_at": "~"}  # after every timestamp


def is_due(db: sqlite3.Connection, now: datetime) -> bool:
    """Whether `settled` has something to do."""
    looked_at = (waiting, turns, *_DIALECTS)
    return any(each.next_due(db, now) is not None for each in looked_at)


def settled(db: sqlite3.Connection, terms: Terms) -> None:
    """Everything that happens by itself up to now has happened.

    It ends: a payment has at most two steps of its own, an operation at most as many turns as a request faults,
    an object of Stripe's at most one change to come, a payment of Razorpay's or Adyen's at most four, and each is
    due once.
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
            turns.taken(db, turn)
            for dialect in _DIALECTS:
                dialect.turned(db, turn, terms)
            continue
        change = next(((of, row) for of, row in changes if row is not None and row["due_at"] == first), None)
        if change is None:
            return
        dialect, row = change
        dialect.changed(db, row, terms)
