"""Cards that the acquirer keeps for a merchant, as tokens of its own. Inside the caller's transaction.

A token is known to whoever asked for it once the payment that it was asked with is approved. No number is kept:
what it leads to is decided when the card is saved.
"""

import secrets
import sqlite3
from dataclasses import dataclass
from datetime import datetime

from devstack.acquirer import cards, store
from devstack.acquirer.bodies import Authorize
from devstack.acquirer.cards import Asks, TestCard


@dataclass(frozen=True, slots=True)
class Instrument:
    """What an order is paid with, as far as it decides anything. `masked`: its first and last digits."""

    masked: str
    leads_to: TestCard


def instrument(db: sqlite3.Connection, order: Authorize) -> Instrument | None:
    """What the order is paid with; None: a token that was never given, or that is deleted."""
    if order.token is None:
        return Instrument(cards.masked(order.number()), cards.card_of(order.number()))
    row = db.execute(
        "SELECT * FROM saved_cards WHERE token = ? AND deleted_at IS NULL", (order.token,)
    ).fetchone()
    return None if row is None else _instrument(row)


def kept(db: sqlite3.Connection, order: Authorize, paid_with: Instrument, at: datetime) -> None:
    """The card has a token, if the order asks for one and its reference has none yet."""
    if order.save is None or order.card is None or token_of(db, order.reference) is not None:
        return
    store.inserted(
        db,
        "saved_cards",
        token=f"tok_{secrets.token_hex(12)}",
        reference=order.reference,
        card=paid_with.masked,
        decline_code=paid_with.leads_to.decline_code,
        asks=paid_with.leads_to.asks,
        created_at=store.timestamp(at),
    )


def token_of(db: sqlite3.Connection, reference: str) -> str | None:
    """The token of the card that was saved with the payment of this reference, unless it is deleted."""
    row = db.execute(
        "SELECT token FROM saved_cards WHERE reference = ? AND deleted_at IS NULL", (reference,)
    ).fetchone()
    return None if row is None else str(row["token"])


def deleted(db: sqlite3.Connection, token: str, at: datetime) -> bool:
    """Whether there is such a token; nobody pays with it any more. Safe to repeat."""
    db.execute(
        "UPDATE saved_cards SET deleted_at = ? WHERE token = ? AND deleted_at IS NULL",
        (store.timestamp(at), token),
    )
    return db.execute("SELECT 1 FROM saved_cards WHERE token = ?", (token,)).fetchone() is not None


def _instrument(row: sqlite3.Row) -> Instrument:
    return Instrument(row["card"], TestCard(row["decline_code"], asks=Asks(row["asks"])))
