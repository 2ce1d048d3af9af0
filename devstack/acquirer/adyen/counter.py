"""Takes Adyen's requests over HTTP: who asks, what was answered before, the faults, the work, the answer."""

import asyncio
import json
import sqlite3
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack.acquirer import bodies, cards, delivery, store
from devstack.acquirer.adyen import (
    accounts,
    details,
    endpoints,
    idempotency,
    modifications,
    objects,
    orders,
    payments,
    questions,
    wishes,
)
from devstack.acquirer.adyen.accounts import Account
from devstack.acquirer.adyen.call import Call
from devstack.acquirer.adyen.endpoints import Endpoint
from devstack.acquirer.adyen.errors import INTERNAL, Json, Refusal, in_progress, invalid
from devstack.acquirer.courier import Courier
from devstack.acquirer.desk import Desk, Reply
from devstack.acquirer.faults import UNDISTURBED, Ending, Plan, plan_for
from devstack.acquirer.movements import Terms

PREFIX = "/adyen"


@dataclass(slots=True)
class Visit:
    """One request. `reference` is whose webhooks it may wait for."""

    path: str
    api_key: str
    given_key: str | None
    body: bytes | None
    page_base: str
    received_at: datetime
    endpoint: Endpoint | None = None
    account: Account | None = None
    order: Any = None
    payment: Json | None = None
    key: idempotency.Key | None = None
    plan: Plan = UNDISTURBED
    entries: tuple[str, ...] = ()
    reference: str | None = None
    payment_reference: str | None = None
    masked: str | None = None
    position: int | None = None
    is_in_flight: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back, and whether it was sent before."""

    status_code: int
    body: Json
    is_repeat: bool = False
    is_transient: bool = False


class Counter:
    """One for all accounts."""

    def __init__(self, desk: Desk, courier: Courier, *, public_url: str | None, hold_s: float) -> None:
        self._desk = desk
        self._courier = courier
        self._public_url = public_url
        self._hold_s = hold_s
        self._in_flight: set[idempotency.Key] = set()

    async def endpoint(self, request: Request) -> Response:
        """The answer to any request below `/adyen/v72`."""
        visit = await self._visit(request)
        answer = await self._desk.run(self._desk.within, partial(self._received, visit))
        if answer is None:
            try:
                await asyncio.sleep(visit.plan.slow_ms / 1000)
                answer = await self._desk.run(self._desk.within, partial(self._worked, visit))
            finally:
                self._forget(visit)
        await self._waited(visit)
        return self._response(visit, answer)

    async def _visit(self, request: Request) -> Visit:
        headers = request.headers
        return Visit(
            path=request.url.path.removeprefix(PREFIX),
            api_key=headers.get("x-api-key", ""),
            given_key=headers.get("idempotency-key"),
            body=await bodies.read(request.stream()),
            page_base=(self._public_url or str(request.base_url)).rstrip("/"),
            received_at=datetime.now(UTC),
        )

    def _received(self, visit: Visit, db: sqlite3.Connection, terms: Terms) -> Answer | None:
        """The answer where there is one before any work; else the faults are known and the key is in use."""
        try:
            answer = self._understood(visit, db, terms)
        except Refusal as refusal:
            answer = _refused(refusal)
        self._log(visit, db, answer)
        return answer

    def _understood(self, visit: Visit, db: sqlite3.Connection, terms: Terms) -> Answer | None:
        """Raises `Refusal`. An answer that was given comes before any look at the body: a *guess*."""
        mine = accounts.calling(db, visit.api_key)
        visit.endpoint, psp = endpoints.found(visit.path)
        if visit.given_key is not None:
            visit.key = idempotency.of(mine[0].company, visit.given_key)
            saved = idempotency.saved(db, visit.key, mine[0], terms.config, terms.now)
            if saved is not None:
                self._look(visit, db, mine, psp)
                return Answer(saved.status_code, json.loads(saved.body), is_repeat=True)
            if visit.key in self._in_flight:
                raise _again_later(in_progress())
        if visit.body is None:
            raise Refusal(413, "000", "Request body too large")
        visit.order = orders.understood(visit.endpoint.model, visit.body)
        self._named(visit, db, mine, psp)
        self._disturbed(visit, db)
        if visit.plan.ending is Ending.RATE_LIMITED:
            raise Refusal(429, "000", "Too many requests")
        if visit.key is not None:
            self._in_flight.add(visit.key)
            visit.is_in_flight = True
        return None

    def _look(self, visit: Visit, db: sqlite3.Connection, mine: list[Account], psp: str | None) -> None:
        """What a repeat is about, for the log, if its body says it."""
        assert visit.endpoint is not None
        try:
            visit.order = orders.understood(visit.endpoint.model, visit.body or b"")
            self._named(visit, db, mine, psp)
        except Refusal:
            return

    def _named(self, visit: Visit, db: sqlite3.Connection, mine: list[Account], psp: str | None) -> None:
        """The merchant account, and the payment that it is about, are known. Raises `Refusal`."""
        order = visit.order
        if isinstance(order, orders.PaymentDetails):
            visit.payment = details.meant(db, order, mine)
            visit.account = accounts.named(mine, visit.payment["account"])
        else:
            visit.account = accounts.named(mine, order.merchantAccount)
        if isinstance(order, orders.Payment):
            wishes.checked(order.metadata)
            visit.reference, visit.payment_reference = payments.references(visit.account, order)
            return
        if isinstance(order, orders.TechnicalCancel):
            visit.payment = objects.of_reference(db, visit.account.id, order.paymentReference)
        elif psp is not None:
            visit.payment = objects.find(db, "payment", psp)
            if visit.payment is None or visit.payment["account"] != visit.account.id:
                # Source: development-resources/error-codes, 167.
                raise invalid("167", "Original pspReference required for this operation")
        own = getattr(order, "reference", None)
        if visit.payment is not None:
            visit.reference = own or visit.payment["ledger_reference"]
            visit.payment_reference = visit.payment["payment_reference"]
        else:
            visit.reference = own

    def _disturbed(self, visit: Visit, db: sqlite3.Connection) -> None:
        """The faults that the request sets off are chosen."""
        assert visit.endpoint is not None
        assert visit.account is not None
        if isinstance(visit.order, orders.Payment):
            wished = wishes.entries_of(visit.order.metadata)
            is_manual = payments.is_manual(visit.account, visit.order)
        elif visit.payment is not None:
            wished, is_manual = visit.payment["wishes"], visit.payment["capture_hours"] is None
        else:
            return
        chosen = wishes.of(wished, visit.endpoint.faults, is_manual=is_manual)
        visit.plan = wishes.plan(db, visit.payment_reference or visit.received_at.isoformat(), chosen)
        visit.entries = visit.plan.entries

    def _worked(self, visit: Visit, db: sqlite3.Connection, terms: Terms) -> Answer:
        """The work is done, durably, with its answer and, under a key, the answer that will be repeated."""
        answer = self._executed(visit, db, terms)
        self._log(visit, db, answer)
        return answer

    def _executed(self, visit: Visit, db: sqlite3.Connection, terms: Terms) -> Answer:
        """What was done is repeated under its key, also where its own answer was a 500: so a retry learns of it."""
        assert visit.account is not None
        plan = visit.plan
        failure = _refused(Refusal(500, "000", "Internal Server Error", INTERNAL))
        if not plan.executes:
            return failure
        if plan.refused_pointer is not None:
            said = f"Field '{plan.refused_pointer.strip('/').replace('/', '.')}' is not valid."
            return _refused(invalid("702", said))
        entries = visit.entries
        if isinstance(visit.order, orders.PaymentDetails) and visit.payment is not None:
            entries = (*visit.payment["entries"], *entries)
        added = plan_for(entries).amount_added
        terms = replace(terms, amount_added=added, entries=entries, page_base=visit.page_base)
        call = Call(db, visit.account, terms)
        try:
            answer = Answer(_status(visit), _done(call, visit))
        except Refusal as refusal:
            return _refused(refusal)
        call.sent()
        if visit.key is not None:
            idempotency.save(db, visit.key, answer.status_code, answer.body, terms.now)
        return failure if plan.ending is Ending.ERROR else answer

    def _forget(self, visit: Visit) -> None:
        if visit.is_in_flight and visit.key is not None:
            self._in_flight.discard(visit.key)

    async def _waited(self, visit: Visit) -> None:
        """As the sandbox's own protocol: webhooks first where it is configured, then `delay_ms`."""
        self._courier.wake()
        config = self._desk.config
        if config.callbacks == "before_response" and visit.reference is not None:
            await self._courier.tried(visit.reference)
        if config.delay_ms:
            await asyncio.sleep(config.delay_ms / 1000)

    def _response(self, visit: Visit, answer: Answer) -> Response:
        ending = visit.plan.ending
        if answer.is_repeat or ending in (Ending.ANSWER, Ending.ERROR, Ending.RATE_LIMITED):
            return _plain(visit, answer)
        if ending is Ending.OTHER:
            return _plain(visit, replace(answer, body=_of_somebody_else(answer.body)))
        return delivery.response(Reply(answer.status_code, {}, ending), hold_s=self._hold_s)

    def _log(self, visit: Visit, db: sqlite3.Connection, answer: Answer | None) -> None:
        """The request is in the sandbox's log, at last with its answer."""
        said = None if answer is None else _summary(visit, answer)
        if visit.position is not None:
            db.execute(
                "UPDATE requests SET answer = ?, card = coalesce(card, ?) WHERE position = ?",
                (said, visit.masked, visit.position),
            )
            return
        amount = getattr(visit.order, "amount", None)
        cancel = visit.order if isinstance(visit.order, orders.TechnicalCancel) else None
        visit.position = store.inserted(
            db,
            "requests",
            operation="unknown" if visit.endpoint is None else visit.endpoint.operation,
            reference=visit.reference,
            original_reference=None if cancel is None else cancel.paymentReference,
            payment_reference=visit.payment_reference,
            amount=None if amount is None else amount.value,
            currency=None if amount is None else amount.currency,
            faults=json.dumps(list(visit.plan.entries)),
            received_at=store.timestamp(visit.received_at),
            answer=said,
        )


def _again_later(refusal: Refusal) -> Refusal:
    """The same may be sent again under the same key. Source: api-idempotency, "Error handling"."""
    refusal.transient = True
    return refusal


def _status(visit: Visit) -> int:
    assert visit.endpoint is not None
    return visit.endpoint.status_code


def _done(call: Call, visit: Visit) -> Json:
    """What is answered. Raises `Refusal`."""
    assert visit.endpoint is not None
    order = visit.order
    if isinstance(order, orders.Payment):
        answer = payments.create(call, order)
        method = order.paymentMethod
        if isinstance(method, orders.Scheme):
            visit.masked = cards.masked(method.plain_number())
        return answer
    if isinstance(order, orders.PaymentDetails):
        return details.submitted(call, order, details.meant(call.db, order, [call.account]))
    payment = None if visit.payment is None else objects.find(call.db, "payment", visit.payment["psp"])
    return modifications.received(call, visit.endpoint.work, order, payment)


def _refused(refusal: Refusal) -> Answer:
    body = refusal.body(objects.new_psp_reference())
    return Answer(refusal.status_code, body, is_transient=refusal.transient)


def _plain(visit: Visit, answer: Answer) -> Response:
    """Source: spec, the header `Idempotency-Key` of answers: present if the request had it."""
    headers = {"pspReference": str(answer.body.get("pspReference", ""))}
    if visit.given_key is not None and visit.key is not None:
        headers["Idempotency-Key"] = visit.given_key
    if answer.is_transient:
        headers["transient-error"] = "true"
    return JSONResponse(answer.body, answer.status_code, headers=headers)


def _of_somebody_else(body: Json) -> Json:
    """The answer to another request: other references."""
    names = ("pspReference", "paymentPspReference", "merchantReference", "reference", "paymentReference")
    return {**body, **{name: body[name][::-1] for name in names if isinstance(body.get(name), str)}}


def _summary(visit: Visit, answer: Answer) -> str:
    """The answer as the log of requests shows it."""
    body = answer.body
    said = body.get("resultCode") or body.get("status")
    if "errorCode" in body:
        said = f"{body['errorCode']} {body['message'][:60]}"
    plain = f"{answer.status_code} {said}"
    if visit.plan.ending in (Ending.ANSWER, Ending.ERROR, Ending.RATE_LIMITED) or answer.is_repeat:
        return plain
    return Reply(answer.status_code, {}, visit.plan.ending).summary()


def routes(desk: Desk, courier: Courier, *, public_url: str | None, hold_s: float) -> list[Route]:
    """The dialect's routes."""
    counter = Counter(desk, courier, public_url=public_url, hold_s=hold_s)
    asked = questions.routes(desk, PREFIX)
    return [*asked, Route(PREFIX + "/v72/{rest:path}", counter.endpoint, methods=["POST"])]
