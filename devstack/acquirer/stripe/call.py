"""One request under way, or one change that comes by itself: for whom, when, and what it told the merchant's side."""

import copy
import sqlite3
from dataclasses import dataclass, field
from datetime import timedelta

from devstack.acquirer import store
from devstack.acquirer.movements import Terms
from devstack.acquirer.stripe import objects
from devstack.acquirer.stripe.accounts import Account
from devstack.acquirer.stripe.errors import Json
from devstack.acquirer.stripe.objects import Stored
from devstack.acquirer.underway import Underway

API_VERSION = "2026-08-26.dahlia"  # of the spec that this follows


@dataclass(slots=True)
class Call(Underway):
    """Inside the caller's transaction. `request_id` is None for what comes by itself."""

    db: sqlite3.Connection
    account: Account
    terms: Terms
    request_id: str | None = None
    idempotency_key: str | None = None
    events: list[Stored] = field(default_factory=list)
    logged: Json = field(default_factory=dict)

    def put(self, stored: Stored) -> None:
        """The object is stored."""
        objects.put(self.db, self.account, stored)

    def get(self, type: str, own_id: str, *, param: str) -> Stored:
        """The account's object. Raises `Refusal`."""
        return objects.get(self.db, self.account, type, own_id, param=param)

    def happened(self, type: str, about: Stored, before: Json | None = None) -> None:
        """An event tells of it, with the object as it is now.

        Source: api/events: `data.object` as it was at that moment, `previous_attributes` of updates only,
        `request` null where nobody asked.
        """
        data: Json = {"object": copy.deepcopy(about.body)}
        if before is not None:
            data["previous_attributes"] = before
        event = {
            "id": objects.new_id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.seconds,
            "data": {
                "object": copy.deepcopy(about.body),
                **({} if before is None else {"previous_attributes": before}),
            },
            "livemode": self.account.livemode,
            "pending_webhooks": 0 if self.account.webhook is None else 1,
            "request": {"id": self.request_id, "idempotency_key": self.idempotency_key},
            "type": type,
        }
        stored = Stored(event, {name: about.aside[name] for name in ("reference", "payment_reference")})
        self.put(stored)
        self.events.append(stored)

    def told(self) -> None:
        """The events that the account wants leave."""
        webhook = self.account.webhook
        if webhook is None:
            return
        wanted = [event for event in self.events if {"*", event.body["type"]} & set(webhook.events)]
        self.leave(wanted, url=webhook.url)

    def due(self, kind: str, object_id: str, *, after_s: int) -> None:
        """The object will change by itself."""
        due_at = store.timestamp(self.now + timedelta(seconds=after_s))
        store.inserted(self.db, "stripe_due", kind=kind, object_id=object_id, due_at=due_at)

    def reference(self, metadata: dict[str, str], otherwise: str) -> str:
        """The merchant's own name for the operation, if the metadata has it."""
        return metadata.get(self.account.reference_member) or otherwise

    def payment_reference(self, metadata: dict[str, str], otherwise: str) -> str:
        """The merchant's own name for the payment, if the metadata has it."""
        return metadata.get(self.account.payment_reference_member) or otherwise
