"""Takes orders one at a time: log, faults, movement and answer are one fsynced commit."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from devstack.acquirer import callbacks, due, saved_cards, store, waiting
from devstack.acquirer.adyen import notifications
from devstack.acquirer.bodies import Authorize, Cancel, Glimpse, MoneyOrder, Order, Reverse
from devstack.acquirer.callbacks import Callback
from devstack.acquirer.challenges import AlreadyProcessed, ResultInvalid
from devstack.acquirer.config import Config, changed
from devstack.acquirer.faults import UNDISTURBED, Ending, Plan, plan_for
from devstack.acquirer.movements import Terms
from devstack.acquirer.operations import executed
from devstack.acquirer.razorpay import signing as signing_of_razorpay
from devstack.acquirer.scripts import Rail
from devstack.acquirer.stripe import signing
from devstack.acquirer.waiting import Decision, ReferenceReused, Shown

LEDGER_PREFIX = "led"

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
            case Ending.HTML | Ending.OTHER:
                return f"200 {self.ending}"
            case Ending.REDIRECT:
                return "302 redirect"
            case Ending.RATE_LIMITED:
                return "429 rate_limited"
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
        with store.transaction(self._db):  # earlier versions let what waits wait for ever
            waiting.reconsidered(self._db, self.config, datetime.now(UTC))

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of one of the methods below, run in the desk's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))

    def close(self) -> None:
        """Work under way is finished and the file is closed."""
        self._thread.shutdown(wait=True)
        self._db.close()

    def within(self, work: Callable[[sqlite3.Connection, Terms], T]) -> T:
        """What `work` returned. All it wrote is one durable commit, after everything that was due before it."""
        with store.transaction(self._db):
            terms = self._terms()
            due.settled(self._db, terms)
            return work(self._db, terms)

    def receive(self, order: Order, received_at: datetime) -> Arrival:
        """The order, with the faults that it sets off. If it asks for any, it is in the log already."""
        if not order.own_faults():
            return Arrival(order, received_at)
        with store.transaction(self._db):
            fired = {entry for entry in order.own_faults() if store.is_first(self._db, order.scope(), entry)}
            position = self._log(order, received_at)
        plan = plan_for([entry for entry in order.own_faults() if entry in fired])
        return Arrival(order, received_at, plan, position)

    def execute(self, arrival: Arrival, *, page_base: str) -> Reply:
        """The order is executed, and logged with its answer, durably."""
        with store.transaction(self._db):
            position = arrival.position
            if position is None:
                position = self._log(arrival.order, arrival.received_at)
            self._db.execute("SAVEPOINT made")
            reply = self._answered(arrival, page_base)
            if arrival.plan.unmade:
                self._db.execute("ROLLBACK TO made")
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
            waiting.reconsidered(self._db, config, datetime.now(UTC))
        self.config = config
        return config

    def show(self, rail: Rail, payment_reference: str) -> Shown | None:
        """The payment that a customer's page is about, as of now."""
        self.settle()
        return waiting.shown(self._db, rail, payment_reference, self._terms())

    def decide(self, rail: Rail, payment_reference: str, decision: Decision) -> tuple[Shown | None, bool]:
        """The payment as it is afterwards, and whether the customer's decision holds (perhaps since before)."""
        with store.transaction(self._db):
            terms = self._terms()
            due.settled(self._db, terms)
            payment = waiting.shown(self._db, rail, payment_reference, terms)
            if payment is None:
                return None, False
            if payment.answer_by is None:
                return payment, payment.result["status"] == decision.state
            return waiting.decided(self._db, payment, decision, terms), True

    def settle(self) -> None:
        """What happens by itself has happened up to now, durably."""
        terms = self._terms()
        if due.is_due(self._db, terms.now):
            with store.transaction(self._db):
                due.settled(self._db, terms)

    def due_callbacks(self, *, limit: int) -> tuple[list[Callback], datetime | None]:
        """Callbacks to be sent now, and when there is something to do next, if ever."""
        self.settle()
        now = datetime.now(UTC)
        to_send = callbacks.due(self._db, now, limit=limit)
        if to_send and self.config.callbacks == "off":
            with store.transaction(self._db):
                callbacks.silenced(self._db, now)
            to_send = []
        return to_send, self._next_moment(now)

    def callback_tried(self, callback: Callback, *, answer: str, delivered: bool) -> None:
        """The attempt is recorded, durably."""
        with store.transaction(self._db):
            callbacks.tried(
                self._db, callback.position, answer=answer, delivered=delivered, now=datetime.now(UTC)
            )

    def signed_as_stripe(self, callback: Callback, now: datetime) -> dict[str, str]:
        """The headers that sign one of Stripe's events."""
        return signing.headers(self._db, callback.own_id, callback.body, now)

    def signed_as_razorpay(self, callback: Callback) -> dict[str, str]:
        """The headers that sign one of Razorpay's events."""
        return signing_of_razorpay.headers(self._db, callback.own_id, callback.body)

    def headers_of_adyen(self, callback: Callback) -> dict[str, str]:
        """The headers of one of Adyen's webhooks; its signature is in its body."""
        return notifications.headers(self._db, callback.body)

    def callbacks(
        self, *, filters: dict[str, str], after: int, limit: int
    ) -> tuple[list[dict[str, Any]], bool]:
        """A page of callbacks, sent or not, oldest first, and whether more follow."""
        self.settle()
        rows, has_more = store.page(self._db, "callbacks", filters=filters, after=after, limit=limit)
        return [{"callback": row.pop("id"), **row, "body": json.loads(row["body"])} for row in rows], has_more

    def ledger(self, *, filters: dict[str, str], after: int, limit: int) -> tuple[list[dict[str, Any]], bool]:
        """A page of money that moved, and whether more follows."""
        self.settle()
        rows, has_more = store.page(self._db, "ledger", filters=filters, after=after, limit=limit)
        return [_entry(row) for row in rows], has_more

    def requests(
        self, *, filters: dict[str, str], after: int, limit: int
    ) -> tuple[list[dict[str, Any]], bool]:
        """A page of requests received, in order of arrival, and whether more follow."""
        rows, has_more = store.page(self._db, "requests", filters=filters, after=after, limit=limit)
        return [_request(row) for row in rows], has_more

    def _stored_config(self) -> Config:
        row = self._db.execute("SELECT body FROM config").fetchone()
        return Config() if row is None else Config.model_validate_json(row["body"])

    def _next_moment(self, now: datetime) -> datetime | None:
        row = self._db.execute(
            "SELECT min(moment) AS moment FROM (SELECT min(due_at) AS moment FROM customer_payments"
            " UNION ALL SELECT min(due_at) FROM turns UNION ALL SELECT min(due_at) FROM stripe_due"
            " UNION ALL SELECT min(due_at) FROM razorpay_due"
            " UNION ALL SELECT min(due_at) FROM adyen_due"
            " UNION ALL SELECT min(due_at) FROM dispute_plans"
            " UNION ALL SELECT min(next_attempt_at) FROM callbacks WHERE next_attempt_at > ?)",
            (store.timestamp(now),),
        ).fetchone()
        return None if row["moment"] is None else datetime.fromisoformat(row["moment"])

    def _terms(self, plan: Plan = UNDISTURBED, *, page_base: str = "") -> Terms:
        return Terms(
            now=datetime.now(UTC),
            config=self.config,
            authorization_validity_s=self._authorization_validity_s,
            amount_added=plan.amount_added,
            entries=plan.entries,
            page_base=page_base,
        )

    def _answered(self, arrival: Arrival, page_base: str) -> Reply:
        if not arrival.plan.executes:
            return Reply(504, {"error": "timeout"}, arrival.plan.ending)
        if arrival.plan.refused_pointer is not None:
            return _refused(arrival.plan)
        terms = self._terms(arrival.plan, page_base=page_base)
        due.settled(self._db, terms)
        try:
            result = executed(self._db, arrival.order, terms)
        except ReferenceReused:
            return invalid("reference: was used before for another operation, amount or currency")
        except ResultInvalid:
            return Reply(400, {"error": "result_invalid"}, arrival.plan.ending)
        except AlreadyProcessed:
            detail = "already processed, or in progress, under another key"
            return Reply(422, {"error": "already_processed", "detail": detail}, arrival.plan.ending)
        if result is None:
            return Reply(404, {"error": "not_found"}, arrival.plan.ending)
        return Reply(200, result, arrival.plan.ending)

    def _log(self, order: Order, received_at: datetime) -> int:
        money = order if isinstance(order, MoneyOrder) else None
        wishes = order if isinstance(order, Authorize) else None
        paid_with = saved_cards.instrument(self._db, wishes) if wishes else None
        handed_in = wishes.authentication if wishes else None
        return store.inserted(
            self._db,
            "requests",
            operation=order.operation,
            reference=order.reference,
            original_reference=order.original_reference if isinstance(order, Reverse | Cancel) else None,
            payment_reference=order.payment_reference or self._payment_reference(order.reference),
            amount=money.amount if money else None,
            currency=money.currency if money else None,
            card=None if paid_with is None else paid_with.masked,
            sca=wishes.sca.model_dump_json() if wishes and wishes.sca else None,
            authentication=handed_in.digest() if handed_in else None,
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


def _refused(plan: Plan) -> Reply:
    """The refusal of a member's value, now and for ever."""
    detail = "this value is refused and always will be"
    return Reply(400, {"error": "refused", "pointer": plan.refused_pointer, "detail": detail}, plan.ending)


def _request(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the log as it is shown."""
    sca = row["sca"]
    wishes = None if sca is None else json.loads(sca)
    return {**row, "faults": json.loads(row["faults"]), "sca": wishes}


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the ledger as it is shown."""
    undoes, _ = row.pop("undoes"), row.pop("operation_id")
    return row if undoes is None else {**row, "of": f"{LEDGER_PREFIX}_{undoes}"}


def invalid(detail: str) -> Reply:
    """The refusal of a malformed request."""
    return Reply(400, {"error": "invalid_request", "detail": detail})
