"""Takes Razorpay's requests over HTTP: who asks, the limit, the refund's key, the faults, the work, the answer."""

import asyncio
import json
import re
import sqlite3
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devstack.acquirer import bodies, delivery, store
from devstack.acquirer.courier import Courier
from devstack.acquirer.desk import Desk, Reply
from devstack.acquirer.faults import UNDISTURBED, Ending, Plan
from devstack.acquirer.movements import Terms
from devstack.acquirer.razorpay import accounts, endpoints, idempotency, objects, wishes
from devstack.acquirer.razorpay.accounts import Account
from devstack.acquirer.razorpay.call import Call
from devstack.acquirer.razorpay.endpoints import Endpoint
from devstack.acquirer.razorpay.errors import SERVER, Json, Refusal, elsewhere, invalid
from devstack.acquirer.razorpay.objects import Stored

PREFIX = "/razorpay"
_PLAIN_ENDINGS = (Ending.ANSWER, Ending.ERROR, Ending.RATE_LIMITED)
_FAILURE = elsewhere(500, "We are facing some trouble completing your request at the moment.", code=SERVER)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    status_code: int
    body: str
    is_repeat: bool = False


@dataclass(slots=True)
class Visit:
    """One request. `reference` is whose callbacks it may wait for."""

    method: str
    path: str
    query: str
    authorization: str
    given_key: str | None
    body: bytes | None
    page_base: str
    received_at: datetime
    account: Account | None = None
    key_id: str | None = None
    endpoint: Endpoint | None = None
    named: dict[str, str] = field(default_factory=dict)
    form: Json = field(default_factory=dict)
    key: idempotency.Key | None = None
    plan: Plan = UNDISTURBED
    reference: str | None = None
    payment_reference: str | None = None
    masked: str | None = None
    position: int | None = None
    is_in_flight: bool = False


class Counter:
    """One for all accounts."""

    def __init__(self, desk: Desk, courier: Courier, *, public_url: str | None, hold_s: float) -> None:
        self._desk = desk
        self._courier = courier
        self._public_url = public_url
        self._hold_s = hold_s
        self._in_flight: set[tuple[str, bool, str]] = set()
        self._this_second: dict[tuple[str, bool], tuple[int, int]] = {}

    async def endpoint(self, request: Request) -> Response:
        """The answer to any request below `/razorpay/v1`."""
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
        body = await bodies.read(request.stream())
        return Visit(
            method=request.method,
            path=request.url.path.removeprefix(PREFIX),
            query=request.url.query,
            authorization=headers.get("authorization", ""),
            given_key=headers.get(idempotency.HEADER) if request.method == "POST" else None,
            body=body,
            page_base=(self._public_url or str(request.base_url)).rstrip("/"),
            received_at=datetime.now(UTC),
        )

    def _received(self, visit: Visit, db: sqlite3.Connection, terms: Terms) -> Answer | None:
        """The answer where there is one before any work; else the faults are known and the key is in use."""
        try:
            answer = self._understood(visit, db, terms)
        except Refusal as refusal:
            answer = _refused(refusal)
        _log(visit, db, answer)
        return answer

    def _understood(self, visit: Visit, db: sqlite3.Connection, terms: Terms) -> Answer | None:
        """Raises `Refusal`."""
        caller = accounts.calling(db, visit.authorization)
        visit.account, visit.key_id = caller.account, caller.key.id
        self._counted(caller.account, terms.now)
        visit.endpoint, visit.named = endpoints.found(visit.method, visit.path, s2s=caller.account.s2s)
        given = _members(visit)
        if visit.given_key is not None and visit.endpoint.operation == "refund":
            visit.key = idempotency.key(caller.account, visit.given_key, visit.path, given)
            if visit.key.identity() in self._in_flight:
                raise elsewhere(409, "Another request with the same idempotency key is still in progress.")
            saved = idempotency.saved(db, visit.key, terms.config, terms)
            if saved is not None:
                return Answer(200, saved, is_repeat=True)
        visit.form = visit.endpoint.values(given)
        wishes.checked(visit.form.get("notes", {}))
        _disturbed(visit, db, caller.account)
        if visit.plan.ending is Ending.RATE_LIMITED:
            raise _too_many()
        if visit.key is not None:
            self._in_flight.add(visit.key.identity())
            visit.is_in_flight = True
        return None

    def _counted(self, account: Account, now: datetime) -> None:
        """Raises `Refusal` for more requests in a second than the account may make.

        Source: api/understand, "Rate Limiting": 429; how many are allowed is not said.
        """
        identity, second = (account.id, account.livemode), int(now.timestamp())
        before, count = self._this_second.get(identity, (second, 0))
        count = count + 1 if before == second else 1
        self._this_second[identity] = (second, count)
        if account.requests_per_s is not None and count > account.requests_per_s:
            raise _too_many()

    def _worked(self, visit: Visit, db: sqlite3.Connection, terms: Terms) -> Answer:
        """The work is done, durably, with its answer and, under a refund's key, the answer that will be repeated."""
        answer = _executed(visit, db, terms)
        _log(visit, db, answer)
        return answer

    def _forget(self, visit: Visit) -> None:
        if visit.is_in_flight and visit.key is not None:
            self._in_flight.discard(visit.key.identity())

    async def _waited(self, visit: Visit) -> None:
        """As the sandbox's own protocol: events first where it is configured, then `delay_ms`."""
        self._courier.wake()
        config = self._desk.config
        if config.callbacks == "before_response" and visit.reference is not None:
            await self._courier.tried(visit.reference)
        if config.delay_ms:
            await asyncio.sleep(config.delay_ms / 1000)

    def _response(self, visit: Visit, answer: Answer) -> Response:
        ending = visit.plan.ending
        if answer.is_repeat or ending in _PLAIN_ENDINGS:
            return _plain(answer)
        if ending is Ending.OTHER:
            return _plain(replace(answer, body=_of_somebody_else(answer.body)))
        return delivery.response(Reply(answer.status_code, {}, ending), hold_s=self._hold_s)


def _members(visit: Visit) -> Json:
    """A GET's are in the query, a POST's in a JSON body. Raises `Refusal`."""
    if visit.body is None:
        raise elsewhere(413, "The request is too large.")
    if visit.method == "GET":
        return _query(visit.query)
    try:
        given = json.loads(visit.body or b"{}")
    except (ValueError, RecursionError) as error:
        raise invalid("The request's body is not JSON.") from error
    if not isinstance(given, dict):
        raise invalid("The request's body is not an object.")
    try:
        json.dumps(given, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise invalid("The request's body has half a character.") from error
    return given


def _query(text: str) -> Json:
    found: Json = {}
    for name, value in parse_qsl(text, keep_blank_values=True, max_num_fields=100):
        if name.endswith("[]"):
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    return found


def _disturbed(visit: Visit, db: sqlite3.Connection, account: Account) -> None:
    """The request's references are known, and the faults that it sets off chosen.

    Those of its own notes come before those that its payment or order has for requests of this kind.
    """
    assert visit.endpoint is not None
    own, about = visit.form.get("notes", {}), _about(visit, db, account)
    aside = {} if about is None else about.aside
    reference = own.get(account.reference_member) or aside.get("reference")
    payment_reference = own.get(account.payment_reference_member) or aside.get("payment_reference")
    visit.payment_reference = payment_reference or visit.form.get("receipt") or reference
    visit.reference = reference or visit.payment_reference
    is_refund = visit.endpoint.operation == "refund"
    if wishes.MEMBER in own:
        unprefixed = "refund" if is_refund else "authorize"
        scope = reference if is_refund else visit.payment_reference
        wished = own
    else:
        unprefixed, scope, wished = "authorize", visit.payment_reference, aside.get("notes", {})
    is_manual = _is_manual(visit, about, db, account)
    entries = wishes.of(wished, visit.endpoint.faults, unprefixed=unprefixed, is_manual=is_manual)
    visit.plan = wishes.plan(db, scope or objects.new_id("req"), entries)


def _about(visit: Visit, db: sqlite3.Connection, account: Account) -> Stored | None:
    """The payment or order that the request is about."""
    own_id = visit.named.get("own_id") or visit.form.get("order_id") or ""
    if own_id.startswith("rfnd_"):
        refund = objects.find(db, account, "refund", own_id)
        own_id = "" if refund is None else refund.body["payment_id"]
    for type in ("payment", "order"):
        found = objects.find(db, account, type, own_id)
        if found is not None:
            return found
    receipt = visit.form.get("receipt") if visit.method == "GET" else None
    if receipt is None:
        return None
    with_receipt = objects.listed(
        *(db, account, "order"), where={"receipt": receipt}, query={}, count=1, skip=0, newest_first=True
    )
    return with_receipt[0] if with_receipt else None


def _is_manual(visit: Visit, about: Stored | None, db: sqlite3.Connection, account: Account) -> bool:
    """Whether the order is captured by request."""
    order_id = "" if about is None else about.body.get("order_id") or about.id
    order = objects.find(db, account, "order", order_id)
    settings = visit.form.get("payment") if order is None else order.aside["capture"]
    return bool((settings or {"capture": account.capture})["capture"] == "manual")


def _executed(visit: Visit, db: sqlite3.Connection, terms: Terms) -> Answer:
    plan, account = visit.plan, visit.account
    assert account is not None
    if not plan.executes:
        return _refused(_FAILURE)
    if plan.refused_pointer is not None:
        field_ = plan.refused_pointer.strip("/").replace("/", ".")
        return _refused(invalid(f"The {field_} is invalid.", field=field_))
    terms = replace(terms, amount_added=plan.amount_added, entries=plan.entries, page_base=visit.page_base)
    call = Call(db, account, terms, visit.key_id)
    answer = _succeeded(visit, call)
    call.told()
    visit.masked = call.logged.get("card")
    if answer.status_code == 200 and visit.key is not None:
        idempotency.save(db, visit.key, answer.body, terms)
    return _refused(_FAILURE) if plan.ending is Ending.ERROR else answer


def _succeeded(visit: Visit, call: Call) -> Answer:
    assert visit.endpoint is not None
    try:
        return Answer(200, json.dumps(visit.endpoint.work(call, visit.form, **visit.named)))
    except Refusal as refusal:
        return _refused(refusal)


def _refused(refusal: Refusal) -> Answer:
    return Answer(refusal.status_code, json.dumps(refusal.body()))


def _too_many() -> Refusal:
    return elsewhere(429, "Too many requests: try again after some time.")


def _plain(answer: Answer) -> Response:
    return Response(answer.body.encode(), answer.status_code, media_type="application/json")


def _of_somebody_else(text: str) -> str:
    """The answer to another request: other ids, nobody's notes or receipt."""

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            hidden: Json = {"notes": [], "receipt": None}
            return {name: hidden.get(name, renamed(each)) for name, each in value.items()}
        if isinstance(value, list):
            return [renamed(each) for each in value]
        if isinstance(value, str) and (match := re.fullmatch(r"(order|pay|rfnd|card)_[A-Za-z0-9]+", value)):
            return objects.new_id(match[1])
        return value

    return json.dumps(renamed(json.loads(text)))


def _log(visit: Visit, db: sqlite3.Connection, answer: Answer | None) -> None:
    """The request is in the sandbox's log, at last with its answer."""
    said = None if answer is None else _summary(visit, answer)
    if visit.position is not None:
        db.execute(
            "UPDATE requests SET answer = ?, card = coalesce(card, ?) WHERE position = ?",
            (said, visit.masked, visit.position),
        )
        return
    amount = visit.form.get("amount")
    visit.position = store.inserted(
        db,
        "requests",
        operation="unknown" if visit.endpoint is None else visit.endpoint.operation,
        reference=visit.reference,
        payment_reference=visit.payment_reference,
        amount=amount,
        currency=visit.form.get("currency"),
        faults=json.dumps(list(visit.plan.entries)),
        received_at=store.timestamp(visit.received_at),
        answer=said,
    )


def _summary(visit: Visit, answer: Answer) -> str:
    """The answer as the log of requests shows it."""
    if visit.plan.ending not in _PLAIN_ENDINGS and not answer.is_repeat:
        return Reply(answer.status_code, {}, visit.plan.ending).summary()
    body = json.loads(answer.body)
    error = body.get("error", {})
    said = error.get("reason") if error.get("reason") != "NA" else error.get("code")
    next_ = "created" if "razorpay_payment_id" in body else None
    return f"{answer.status_code} {said or body.get('status') or next_ or body.get('entity')}"


def routes(desk: Desk, courier: Courier, *, public_url: str | None, hold_s: float) -> list[Route]:
    """The dialect's routes."""
    counter = Counter(desk, courier, public_url=public_url, hold_s=hold_s)
    methods = ["GET", "POST", "DELETE", "PUT", "PATCH"]
    return [Route(PREFIX + "/v1/{rest:path}", counter.endpoint, methods=methods)]
