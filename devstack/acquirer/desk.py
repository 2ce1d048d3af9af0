"""Takes orders one at a time: log, faults, movement and answer are one fsynced commit."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from devstack.acquirer import cards, store
from devstack.acquirer.bodies import Authorize, Glimpse, MoneyOrder, Order, Reverse
from devstack.acquirer.config import Config, changed
from devstack.acquirer.faults import UNDISTURBED, Ending, Plan, plan_for
from devstack.acquirer.operations import ReferenceReused, Terms, executed

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent back, unless `ending` says otherwise."""

    status_code: int
    body: dict[str, Any]
    ending: Ending = Ending.ANSWER

    def summary(self) -> str:
        """The answer as the requests log shows it."""
        match self.ending:
            case Ending.TIMEOUT | Ending.RESET:
                return f"none: {self.ending}"
            case Ending.ERROR:
                return "500 internal_error"
            case Ending.GARBAGE:
                return "200 garbage"
            case Ending.ANSWER:
                return f"{self.status_code} {self.body.get('status') or self.body.get('error')}"


@dataclass(frozen=True, slots=True)
class Arrival:
    """An order that has been received. `position` is its place in the log, once it has one."""

    order: Order
    received_at: datetime
    plan: Plan = UNDISTURBED
    position: int | None = None


class Desk:
    """Owns the SQLite file. All work on it happens in one thread, in the order of arrival."""

    def __init__(self, path: Path, *, authorization_validity_s: int) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="acquirer-desk")
        self._db = store.opened(path)
        self._authorization_validity_s = authorization_validity_s
        self.config = self._stored_config()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of one of the methods below, run in the desk's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))

    def close(self) -> None:
        """Work under way is finished and the file is closed."""
        self._thread.shutdown(wait=True)
        self._db.close()

    def receive(self, order: Order, received_at: datetime) -> Arrival:
        """The order, with the faults that it sets off. If it asks for any, it is in the log already."""
        if not order.own_faults():
            return Arrival(order, received_at)
        with store.transaction(self._db):
            fired = [entry for entry in order.own_faults() if self._fires(order.scope(), entry)]
            position = self._log(order, received_at)
        return Arrival(order, received_at, plan_for(fired), position)

    def execute(self, arrival: Arrival) -> Reply:
        """The order is executed, and logged with its answer, durably."""
        with store.transaction(self._db):
            position = arrival.position
            if position is None:
                position = self._log(arrival.order, arrival.received_at)
            reply = self._answered(arrival)
            self._db.execute("UPDATE requests SET answer = ? WHERE position = ?", (reply.summary(), position))
        return reply

    def log_refusal(self, operation: str, seen: Glimpse, received_at: datetime, reply: Reply) -> None:
        """A request that never became an order is in the log."""
        with store.transaction(self._db):
            store.inserted(
                self._db,
                "requests",
                operation=operation,
                reference=seen.reference,
                payment_reference=seen.payment_reference,
                faults="[]",
                received_at=store.timestamp(received_at),
                answer=reply.summary(),
            )

    def configure(self, body: bytes) -> Config:
        """The configuration with a PATCH body applied, stored. Raises `pydantic.ValidationError`."""
        config = changed(self.config, body)
        with store.transaction(self._db):
            self._db.execute("INSERT OR REPLACE INTO config VALUES (1, ?)", (config.model_dump_json(),))
        self.config = config
        return config

    def ledger(self, *, filters: dict[str, str], after: int, limit: int) -> tuple[list[dict[str, Any]], bool]:
        """A page of money that moved, and whether more follows."""
        return store.page(self._db, "ledger", filters=filters, after=after, limit=limit)

    def requests(
        self, *, filters: dict[str, str], after: int, limit: int
    ) -> tuple[list[dict[str, Any]], bool]:
        """A page of requests received, in order of arrival, and whether more follow."""
        rows, has_more = store.page(self._db, "requests", filters=filters, after=after, limit=limit)
        return [{**row, "faults": json.loads(row["faults"])} for row in rows], has_more

    def _stored_config(self) -> Config:
        row = self._db.execute("SELECT body FROM config").fetchone()
        return Config() if row is None else Config.model_validate_json(row["body"])

    def _fires(self, scope: str, entry: str) -> bool:
        cursor = self._db.execute("INSERT OR IGNORE INTO fired_faults VALUES (?, ?)", (scope, entry))
        return cursor.rowcount == 1

    def _answered(self, arrival: Arrival) -> Reply:
        if not arrival.plan.executes:
            return Reply(504, {"error": "timeout"}, arrival.plan.ending)
        terms = Terms(
            now=datetime.now(UTC),
            config=self.config,
            authorization_validity_s=self._authorization_validity_s,
            amount_added=arrival.plan.amount_added,
        )
        try:
            result = executed(self._db, arrival.order, terms)
        except ReferenceReused:
            return invalid("reference: was used before for another operation, amount or currency")
        if result is None:
            return Reply(404, {"error": "not_found"}, arrival.plan.ending)
        return Reply(200, result, arrival.plan.ending)

    def _log(self, order: Order, received_at: datetime) -> int:
        money = order if isinstance(order, MoneyOrder) else None
        return store.inserted(
            self._db,
            "requests",
            operation=order.operation,
            reference=order.reference,
            original_reference=order.original_reference if isinstance(order, Reverse) else None,
            payment_reference=order.payment_reference or self._payment_reference(order.reference),
            amount=money.amount if money else None,
            currency=money.currency if money else None,
            card=cards.masked(order.card.number) if isinstance(order, Authorize) else None,
            faults=json.dumps(order.faults),
            received_at=store.timestamp(received_at),
        )

    def _payment_reference(self, reference: str) -> str | None:
        """The payment of a reference that was seen before, so that its inquiries are listed with it."""
        row = self._db.execute(
            "SELECT payment_reference FROM requests WHERE reference = ? AND payment_reference IS NOT NULL"
            " ORDER BY position LIMIT 1",
            (reference,),
        ).fetchone()
        return None if row is None else str(row["payment_reference"])


def invalid(detail: str) -> Reply:
    """The refusal of a malformed request."""
    return Reply(400, {"error": "invalid_request", "detail": detail})
