"""One request under way, or one change that comes by itself: for whom, when, and what it told the merchant's side."""

import copy
import sqlite3
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from devstack.acquirer import callbacks, movements, store
from devstack.acquirer.movements import Origin, Result, Stage, Terms
from devstack.acquirer.stripe import objects
from devstack.acquirer.stripe.accounts import Account
from devstack.acquirer.stripe.errors import Json
from devstack.acquirer.stripe.objects import Stored

API_VERSION = "2026-08-26.dahlia"  # of the spec that this follows
_OVERTAKEN_BY = timedelta(seconds=1)


@dataclass(slots=True)
class Call:
    """Inside the caller's transaction. `request_id` is None for what comes by itself."""

    db: sqlite3.Connection
    account: Account
    terms: Terms
    request_id: str | None = None
    idempotency_key: str | None = None
    events: list[Stored] = field(default_factory=list)
    logged: Json = field(default_factory=dict)

    @property
    def now(self) -> datetime:
        """When it is executed."""
        return self.terms.now

    @property
    def seconds(self) -> int:
        """The same, as Stripe writes times."""
        return int(self.terms.now.timestamp())

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
        """The events leave in order; `reordered` lets the first leave after the others."""
        webhook = self.account.webhook
        if webhook is None:
            return
        wanted = [event for event in self.events if {"*", event.body["type"]} & set(webhook.events)]
        is_overtaken = self.terms.config.callbacks == "reordered" and len(wanted) > 1
        for place, event in enumerate(wanted):
            send_at = self.now + _OVERTAKEN_BY if is_overtaken and place == 0 else self.now
            callbacks.put(
                self.db, event.id, event.aside, url=webhook.url, body=event.body, at=self.now, send_at=send_at
            )

    def recorded(
        self,
        own_id: str,
        operation: str,
        about: Stored,
        *,
        reference: str | None = None,
        amount: int,
        charge_id: str | None = None,
        decline_code: str | None = None,
        stage: Stage | None = None,
    ) -> Result:
        """The operation is among the sandbox's, as if its own protocol had asked for it; no money moved yet."""
        return movements.recorded(
            self.db,
            id=own_id,
            reference=reference or about.aside["reference"],
            operation=operation,
            payment_reference=about.aside["payment_reference"],
            amount_asked=amount,
            amount_added=self.terms.amount_added,
            currency=about.body["currency"].upper(),
            authorization=charge_id,
            decline_code=decline_code,
            stage=stage,
            callback_url=None,
            at=self.now,
            validity_s=self.terms.authorization_validity_s,
        )

    def moved(self, result: Result, about: Stored, *operations: str, by_acquirer: bool = False) -> None:
        """The ledger has it."""
        movements.entered(
            self.db,
            result,
            *operations,
            payment_reference=about.aside["payment_reference"],
            origin=Origin.ACQUIRER if by_acquirer else Origin.PAYONCE,
        )

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
