"""One request under way, or one change that comes by itself: for whom, when, and what it tells the merchant."""

import secrets
import sqlite3
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from devstack.acquirer import callbacks, movements, store
from devstack.acquirer.adyen import notifications, objects, wishes
from devstack.acquirer.adyen.accounts import Account
from devstack.acquirer.adyen.errors import Json
from devstack.acquirer.movements import Origin, Result, Stage, Terms

_OVERTAKEN_BY = timedelta(seconds=1)


@dataclass(slots=True)
class Call:
    """Inside the caller's transaction. `told` holds what is to be sent: the reference that it is about, and it."""

    db: sqlite3.Connection
    account: Account
    terms: Terms
    told: list[tuple[Json, Json, int]] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        """When it is executed."""
        return self.terms.now

    def tell(
        self,
        event: str,
        payment: Json,
        *,
        success: bool,
        reason: str = "",
        modification: Json | None = None,
        more: dict[str, str] | None = None,
    ) -> None:
        """A webhook will tell of it: of the payment, or of what was asked about it.

        Source: spec, Webhooks: `originalReference` of a modification is the payment's. That `merchantReference` is
        then the modification's own: github.com/Adyen/adyen-magento2 issue 2711, Adyen/adyen-commercetools issue 1038.
        The example of TECHNICAL_CANCEL has the original payment's there.
        """
        if self.account.webhook is None:
            return
        about = payment if modification is None else modification
        is_original = modification is None or event == "TECHNICAL_CANCEL"
        body = notifications.item(
            self.account,
            event=event,
            psp=about["psp"],
            original=None if modification is None else payment["psp"],
            reference=payment["reference"] if is_original else about["reference"],
            amount={"currency": payment["currency"], "value": about["amount"]},
            method=payment["variant"],
            success=success,
            reason=reason,
            at=self.now,
            more=more or {},
        )
        late_s = wishes.callback_late_s(self.terms.entries)
        if late_s is not None:
            named = {
                "reference": about["ledger_reference"],
                "payment_reference": payment["payment_reference"],
            }
            self.told.append((named, body, late_s))

    def sent(self) -> None:
        """Webhooks leave in order; `reordered` lets the first leave after the others."""
        webhook = self.account.webhook
        is_overtaken = self.terms.config.callbacks == "reordered" and len(self.told) > 1
        for place, (about, body, late_s) in enumerate(self.told):
            assert webhook is not None
            send_at = self.now + timedelta(seconds=late_s)
            callbacks.put(
                self.db,
                objects.NOTIFICATION_PREFIX + secrets.token_hex(12),
                about,
                url=webhook.url,
                body=body,
                at=self.now,
                send_at=send_at + _OVERTAKEN_BY if is_overtaken and place == 0 else send_at,
            )
        self.told.clear()

    def recorded(
        self,
        operation: str,
        about: Json,
        payment: Json,
        *,
        amount: int,
        decline_code: str | None = None,
        stage: Stage | None = None,
    ) -> Result:
        """The operation is among the sandbox's, as if its own protocol had asked for it; no money moved yet."""
        return movements.recorded(
            self.db,
            id=about["psp"],
            reference=about["ledger_reference"],
            operation=operation,
            payment_reference=payment["payment_reference"],
            amount_asked=amount,
            amount_added=self.terms.amount_added,
            currency=payment["currency"],
            authorization=payment["psp"],
            decline_code=decline_code,
            stage=stage,
            callback_url=None,
            at=self.now,
            validity_s=self.terms.authorization_validity_s,
        )

    def moved(self, result: Result, payment: Json, *operations: str, by_acquirer: bool = False) -> None:
        """The ledger has it."""
        movements.entered(
            self.db,
            result,
            *operations,
            payment_reference=payment["payment_reference"],
            origin=Origin.ACQUIRER if by_acquirer else Origin.PAYONCE,
        )

    def due(self, kind: str, psp: str, *, after_s: float) -> None:
        """The object will change by itself."""
        due_at = store.timestamp(self.now + timedelta(seconds=after_s))
        store.inserted(self.db, "adyen_due", kind=kind, object_id=psp, due_at=due_at)
