"""What happens by itself, in the order of its times, whenever somebody looks. Inside the caller's transaction."""

import sqlite3
from datetime import datetime

from devstack.acquirer import turns, waiting
from devstack.acquirer.movements import Terms


def is_due(db: sqlite3.Connection, now: datetime) -> bool:
    """Whether `settled` has something to do."""
    return waiting.next_due(db, now) is not None or turns.next_due(db, now) is not None


def settled(db: sqlite3.Connection, terms: Terms) -> None:
    """Everything that happens by itself up to now has happened.

    It ends: a payment has at most two steps of its own, an operation at most as many turns as a request faults,
    and each is due once.
    """
    while True:
        payment, turn = waiting.next_due(db, terms.now), turns.next_due(db, terms.now)
        if payment is not None and (turn is None or payment["due_at"] <= turn["due_at"]):
            waiting.moved_by_itself(db, payment, terms)
        elif turn is not None:
            turns.taken(db, turn)
        else:
            return
