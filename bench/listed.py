"""A day of payments in our books and in the sandbox acquirer's file, alike but for a few of each discrepancy."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from bench.fates import IN_MODE
from bench.lives import Filling, Life, Values
from devstack.acquirer import movements
from devstack.acquirer.movements import Origin, Stage
from payonce.domain.ids import attempt_reference
from payonce.domain.operations import AttemptState, OperationKind

OF_EACH: Final = 3
CHARGED_SHARE: Final = 0.825 * IN_MODE  # of payments, by their fates, those that the acquirer lists
VALIDITY_S: Final = 604_800
TO_TRANSACTION: Final = 5_000  # charges


@dataclass(slots=True)
class Books:
    """What was written where. `planted`: how many of each discrepancy; `by_hand`: what is left to the dashboard."""

    db: sqlite3.Connection
    charges: int = 0
    planted: Counter[str] = field(default_factory=Counter)
    by_hand: list[tuple[str, str]] = field(default_factory=list)

    def take(self, life: Life) -> None:
        """The acquirer's side of the payment is in its file, or something else is."""
        (payment,) = life.rows["payments"]
        done = [one for one in life.rows.get("attempts", ()) if one["state"] is AttemptState.APPROVED]
        if not done:
            if self._plants("charged_there", payment["status"] == "failed"):
                self._authorize(payment, f"auth_late_{payment['id']}", payment["created_at"], captured=True)
            return
        sold = len(done) == 1 and payment["status"] == "captured"
        if self._plants("missing_there", sold):
            return
        self.charges += 1
        if self.charges % TO_TRANSACTION == 0:
            self.db.execute("COMMIT")
            self.db.execute("BEGIN IMMEDIATE")
        by_id = {one["id"]: one for one in life.rows["operations"]}
        for attempt in done:
            self._move(payment, attempt, by_id[attempt["operation_id"]])
        if self._plants("amount", sold):
            self.by_hand.append((payment["id"], "refund"))
        elif self._plants("double_charge", sold):
            self._authorize(payment, f"auth_twice_{payment['id']}", payment["created_at"], captured=True)
        elif self._plants("released_there", payment["status"] == "authorized"):
            self.by_hand.append((payment["id"], "void"))

    def strangers(self, ids: list[str], at: datetime) -> None:
        """Charges of payments that are not in our books, and somebody else's."""
        for result, references in (
            ("orphan", [attempt_reference(id_, 1) for id_ in ids]),
            ("foreign", [f"order-{number}" for number in range(OF_EACH)]),
        ):
            for reference in references:
                self.planted[result] += 1
                order = {"id": reference, "amount_minor": 1099, "currency": "INR"}
                self._authorize(order, f"auth_{result}_{reference}", at, captured=True, reference=reference)

    def _plants(self, result: str, fits: bool) -> bool:
        plants = fits and self.planted[result] < OF_EACH
        self.planted[result] += plants
        return plants

    def _move(self, payment: Values, attempt: Values, operation: Values) -> None:
        id_, at = attempt["connector_reference"], operation["updated_at"]
        reference = attempt_reference(attempt["operation_id"], attempt["number"])
        if operation["kind"] is OperationKind.AUTHORIZE:
            captured = attempt["stage"] == "captured"
            self._authorize(payment, id_, at, captured=captured, reference=reference)
            return
        moved = self._recorded(
            id=id_,
            reference=reference,
            operation=operation["kind"].value,
            payment_reference=payment["id"],
            amount_asked=operation["amount_minor"],
            currency=payment["currency"],
            authorization=payment["connector_reference"],
            stage=None,
            at=at,
        )
        self._entered(moved, payment["id"], operation["kind"].value)

    def _authorize(
        self, payment: Values, id_: str, at: datetime, *, captured: bool, reference: str | None = None
    ) -> None:
        moved = self._recorded(
            id=id_,
            reference=reference or attempt_reference(payment["id"], 1),
            operation="authorize",
            payment_reference=payment["id"],
            amount_asked=payment["amount_minor"],
            currency=payment["currency"],
            authorization=None,
            stage=Stage.CAPTURED if captured else Stage.AUTHORIZED,
            at=at,
        )
        self._entered(moved, payment["id"], *(("authorize", "capture") if captured else ("authorize",)))

    def _recorded(self, **values: Any) -> movements.Result:
        return movements.recorded(
            self.db, **values, amount_added=0, decline_code=None, callback_url=None, validity_s=VALIDITY_S
        )

    def _entered(self, moved: movements.Result, payment_id: str, *operations: str) -> None:
        movements.entered(self.db, moved, *operations, payment_reference=payment_id, origin=Origin.PAYONCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDay(Filling):
    """A day that no run has read yet, which the acquirer has as well."""

    books: Books
    spread: timedelta = timedelta(days=1)

    def lives(self) -> Iterator[Life]:
        """Those of the one mode, as nobody has compared them."""
        for life in Filling.lives(self):
            if life.rows["payments"][0]["mode"] != self.mode:
                continue
            for compared in ("acquirer_objects", "reconciliations"):
                life.rows.pop(compared, None)
            for attempt in life.rows.get("attempts", ()):
                attempt["acquirer_identity"] = None  # as an account of the settings has it
            self.books.take(life)
            yield life
