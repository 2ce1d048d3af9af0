"""What happens by itself, in the order of its times, whenever somebody looks. Inside the caller's transaction."""

import sqlite3
from datetime import datetime

from devstack.acquirer import turns, waiting
from devstack.acquirer.movements import Terms
from devstack.acquirer.razorpay import by_itself as razorpay_by_itself
from devstack.acquirer.stripe import by_itself

_NEVER = {"due_at": "~"}  # after every timestamp


def is_due(db: sqlite3.Connection, now: datetime) -> bool:
    """Whether `settled` has something to do."""
    looked_at = (waiting.next_due, turns.next_due, by_itself.next_due, razorpay_by_itself.next_due)
    return any(next_due(db, now) is not None for next_due in looked_at)


def settled(db: sqlite3.Connection, terms: Terms) -> None:
    """Everything that happens by itself up to now has happened.

    It ends: a payment has at most two steps of its own, an operation at most as many turns as a request faults,
    an object of Stripe's at most one change to come, a payment of Razorpay's at most four, and each is due once.
    """
    while True:
        payment, turn = waiting.next_due(db, terms.now), turns.next_due(db, terms.now)
        change, other = by_itself.next_due(db, terms.now), razorpay_by_itself.next_due(db, terms.now)
        first = min(row["due_at"] for row in (payment, turn, change, other, _NEVER) if row is not None)
        if payment is not None and payment["due_at"] == first:
            waiting.moved_by_itself(db, payment, terms)
        elif turn is not None and turn["due_at"] == first:
            turns.taken(db, turn)
            by_itself.turned(db, turn, terms)
            razorpay_by_itself.turned(db, turn, terms)
        elif change is not None and change["due_at"] == first:
            by_itself.changed(db, change, terms)
        elif other is not None:
            razorpay_by_itself.changed(db, other, terms)
        else:
            return
