"""One request under way, or one change that comes by itself: for whom, when, and what it told the merchant's side."""

import copy
import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from devstack.acquirer import store
from devstack.acquirer.movements import Terms
from devstack.acquirer.razorpay import objects
from devstack.acquirer.razorpay.accounts import Account
from devstack.acquirer.razorpay.errors import Json
from devstack.acquirer.razorpay.objects import Stored
from devstack.acquirer.underway import Underway


@dataclass(slots=True)
class Call(Underway):
    """Inside the caller's transaction. `key_id` is None for what comes by itself."""

    db: sqlite3.Connection
    account: Account
    terms: Terms
    key_id: str | None = None
    events: list[Stored] = field(default_factory=list)
    logged: Json = field(default_factory=dict)

    def put(self, stored: Stored) -> None:
        """The entity is stored."""
        objects.put(self.db, self.account, stored)

    def get(self, type: str, own_id: str) -> Stored:
        """The account's entity. Raises `Refusal`."""
        return objects.get(self.db, self.account, type, own_id)

    def happened(self, type: str, **about: Stored) -> None:
        """An event tells of it, with the entities as they are now, the first of which it is about.

        Source: webhooks/payments: the envelope; a payload is a snapshot; a card is in it whole.
        """
        event: Json = {
            "entity": "event",
            "account_id": self.account.id,
            "event": type,
            "contains": list(about),
            "payload": {name: {"entity": _snapshot(each)} for name, each in about.items()},
            "created_at": self.seconds,
        }
        first = next(iter(about.values()))
        aside = {name: first.aside[name] for name in ("reference", "payment_reference")}
        webhook = self.account.webhook
        aside["secret"] = None if webhook is None else webhook.secret
        stored = Stored(objects.new_id(objects.EVENT_PREFIX.rstrip("_")), event, aside)
        self.put(stored)
        self.events.append(stored)

    def told(self) -> None:
        """The events that the account wants leave."""
        webhook = self.account.webhook
        if webhook is None:
            return
        wanted = [event for event in self.events if {"*", event.body["event"]} & set(webhook.events)]
        self.leave(wanted, url=webhook.url)

    def due(self, kind: str, about: Stored, *, at: datetime) -> None:
        """The entity will change by itself."""
        due_at = store.timestamp(max(at, self.now))
        store.inserted(self.db, "razorpay_due", kind=kind, object_id=about.id, due_at=due_at)

    def minutes_after(self, about: Stored, minutes: float) -> datetime:
        """So many of the account's minutes after the entity was created."""
        created_at = datetime.fromtimestamp(about.body["created_at"], UTC)
        return created_at + timedelta(seconds=minutes * self.account.minute_s)

    def reference(self, notes: Json, otherwise: str) -> str:
        """The merchant's own name for the operation, if the notes have it."""
        return str(notes.get(self.account.reference_member) or otherwise)

    def payment_reference(self, notes: Json, otherwise: str) -> str:
        """The merchant's own name for the payment, if the notes have it."""
        return str(notes.get(self.account.payment_reference_member) or otherwise)


def _snapshot(stored: Stored) -> Json:
    card = stored.aside.get("card")
    return copy.deepcopy(stored.body if card is None else {**stored.body, "card": card})
