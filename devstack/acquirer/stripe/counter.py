"""Takes Stripe's requests over HTTP: who asks, what was answered before, the faults, the work, the answer.

Source of the order: error-low-level: rate limits and keys come before the idempotency layer, that before the work.
"""

import asyncio
import json
import re
import sqlite3
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devstack.acquirer import bodies, delivery, store
from devstack.acquirer.courier import Courier
from devstack.acquirer.desk import Desk, Reply
from devstack.acquirer.faults import UNDISTURBED, Ending, Plan
from devstack.acquirer.movements import Terms
from devstack.acquirer.stripe import accounts, endpoints, form, idempotency, objects, wishes
from devstack.acquirer.stripe.accounts import Account
from devstack.acquirer.stripe.call import API_VERSION, Call
from devstack.acquirer.stripe.endpoints import Endpoint
from devstack.acquirer.stripe.errors import Json, Refusal, invalid
from devstack.acquirer.stripe.idempotency import Saved

PREFIX = "/stripe"
# Source: api/versioning: a date, since 2024 with a name.
_VERSION = re.compile(r"20\d\d-\d\d-\d\d(\.[a-z]{1,20})?(; ?[a-z0-9_=;]{1,200})?")


@dataclass(slots=True)
class Visit:
    """One request. `reference` is whose callbacks it may wait for."""

    method: str
    path: str
    query: str
    authorization: str
    version: str
    given_key: str | None
    body: bytes | None
    page_base: str
    received_at: datetime
    request_id: str
    account: Account | None = None
    endpoint: Endpoint | None = None
    named: dict[str, str] = field(default_factory=dict)
    form: Json = field(default_factory=dict)
    key: idempotency.Key | None = None
    plan: Plan = UNDISTURBED
    reference: str | None = None
    payment_reference: str | None = None
    position: int | None = None
    is_in_flight: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back, and whether it was sent before."""

    saved: Saved
    is_repeat: bool = False


class Counter:
    """One for all accounts."""

    def __init__(self, desk: Desk, courier: Courier, *, public_url: str | None, hold_s: float) -> None:
        self._desk = desk
        self._courier = courier
        self._public_url = public_url
        self._hold_s = hold_s
        self._in_flight: set[tuple[str, bool, str]] = set()

    async def endpoint(self, request: Request) -> Response:
        """The answer to any request below `/stripe/v1`."""
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
            version=headers.get("stripe-version", ""),
            given_key=headers.get("idempotency-key") if request.method == "POST" else None,
            body=body,
            page_base=(self._public_url or str(request.base_url)).rstrip("/"),
            received_at=datetime.now(UTC),
            request_id=objects.new_id("req"),
        )

    def _received(self, visit: Visit, db: sqlite3.Connection, terms: Terms) -> Answer | None:
        """The answer where there is one before any work; else the faults are known and the key is in use."""
        try:
            answer = self._understood(visit, db, terms)
        except Refusal as refusal:
            answer = Answer(_refused(visit, refusal))
        self._log(visit, db, answer)
        return answer

    def _understood(self, visit: Visit, db: sqlite3.Connection, terms: Terms) -> Answer | None:
        """Raises `Refusal`."""
        caller = accounts.calling(db, visit.authorization)
        visit.account = caller.account
        if visit.version and not _VERSION.fullmatch(visit.version):
            raise invalid(f"Invalid Stripe API version: {visit.version[:50]}")
        visit.endpoint, visit.named = endpoints.found(visit.method, visit.path)
        caller.needs(visit.endpoint.permission)
        given = form.decoded(_text(visit))
        if visit.given_key is not None:
            print_ = idempotency.fingerprint(visit.method, visit.path, given)
            visit.key = idempotency.Key(caller.account, visit.given_key, print_)
            saved = idempotency.saved(db, visit.key, terms.config, terms.now)
            if saved is not None:
                visit.form = endpoints.parameters_of(visit.endpoint, given)
                self._named(visit, _intent(visit, db))
                return Answer(saved, is_repeat=True)
            if visit.key.identity() in self._in_flight:
                raise idempotency.in_use()
        visit.form = endpoints.parameters_of(visit.endpoint, given)
        wishes.checked(visit.form.get("metadata", {}))
        self._disturbed(visit, db)
        if visit.plan.ending is Ending.RATE_LIMITED:
            # Source: rate-limits: 429, code `rate_limit`; runs before the idempotency layer.
            raise Refusal(429, "Request rate limit exceeded.", code="rate_limit", began=False)
        if visit.key is not None:
            self._in_flight.add(visit.key.identity())
            visit.is_in_flight = True
        return None

    def _named(self, visit: Visit, intent: objects.Stored | None) -> None:
        """The request's references are known."""
        assert visit.account is not None
        own, aside = visit.form.get("metadata", {}), {} if intent is None else intent.aside
        visit.reference = own.get(visit.account.reference_member) or aside.get("reference")
        visit.payment_reference = (
            own.get(visit.account.payment_reference_member)
            or aside.get("payment_reference")
            or visit.reference
        )

    def _disturbed(self, visit: Visit, db: sqlite3.Connection) -> None:
        """The faults that the request sets off are chosen.

        Those of its own metadata come before those that its intent has for requests of this kind.
        """
        assert visit.endpoint is not None
        assert visit.account is not None
        own, operation = visit.form.get("metadata", {}), visit.endpoint.operation
        intent = _intent(visit, db)
        self._named(visit, intent)
        scope = visit.payment_reference or visit.request_id
        prefixes = [*visit.endpoint.faults, *(["authorize"] if visit.form.get("confirm") else [])]
        entries: list[str] = []
        if operation in ("capture", "refund"):
            entries = wishes.of(own, prefixes, unprefixed=operation, is_manual=False)
        if entries:
            scope = own.get(visit.account.reference_member) or visit.given_key or scope
        else:
            wished = own if intent is None else intent.body["metadata"]
            is_manual = (intent.body if intent else visit.form).get("capture_method") == "manual"
            entries = wishes.of(wished, prefixes, unprefixed="authorize", is_manual=is_manual)
        visit.plan = wishes.plan(db, scope, entries)

    def _worked(self, visit: Visit, db: sqlite3.Connection, terms: Terms) -> Answer:
        """The work is done, durably, with its answer and, under a key, the answer that will be repeated."""
        assert visit.account is not None
        saved = self._executed(visit, db, terms, visit.account)
        answer = Answer(saved)
        self._log(visit, db, answer)
        return answer

    def _executed(self, visit: Visit, db: sqlite3.Connection, terms: Terms, account: Account) -> Saved:
        plan = visit.plan
        failure = Refusal(500, "An unknown error occurred.", type="api_error")
        if not plan.executes:
            saved = _refused(visit, failure)
            if plan.ending is Ending.ERROR:
                self._save(visit, db, saved, terms)
            return saved
        if plan.refused_pointer is not None:
            return self._refused_for_ever(visit, db, terms)
        call = Call(
            db,
            account,
            replace(terms, amount_added=plan.amount_added, entries=plan.entries, page_base=visit.page_base),
            visit.request_id,
            visit.given_key,
        )
        began = True
        try:
            saved = _succeeded(visit, call)
        except Refusal as refusal:
            saved, began = _refused(visit, refusal), refusal.began
        call.told()
        if plan.ending is Ending.ERROR:
            saved = _refused(visit, failure)
        if began:
            self._save(visit, db, saved, terms)
        _remember(visit, call, saved)
        return saved

    def _refused_for_ever(self, visit: Visit, db: sqlite3.Connection, terms: Terms) -> Saved:
        """The fault `refuse`: a value that is refused now and always. Its pointer becomes a parameter's name."""
        first, *rest = str(visit.plan.refused_pointer).strip("/").split("/")
        param = first + "".join(f"[{part}]" for part in rest)
        refusal = Refusal(400, f"Invalid {param}.", param=param)
        saved = _refused(visit, refusal)
        self._save(visit, db, saved, terms)
        return saved

    def _save(self, visit: Visit, db: sqlite3.Connection, saved: Saved, terms: Terms) -> None:
        if visit.key is not None:
            idempotency.save(db, visit.key, saved, terms.now)

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
        if answer.is_repeat or ending in (Ending.ANSWER, Ending.ERROR, Ending.RATE_LIMITED):
            return _plain(visit, answer)
        if ending is Ending.OTHER:
            other = replace(answer.saved, body=_of_somebody_else(answer.saved.body))
            return _plain(visit, Answer(other))
        return delivery.response(Reply(answer.saved.status_code, {}, ending), hold_s=self._hold_s)

    def _log(self, visit: Visit, db: sqlite3.Connection, answer: Answer | None) -> None:
        """The request is in the sandbox's log, at last with its answer."""
        said = None if answer is None else _summary(visit, answer)
        if visit.position is not None:
            db.execute(
                "UPDATE requests SET answer = ?, card = coalesce(card, ?), reference = coalesce(reference, ?),"
                " payment_reference = coalesce(payment_reference, ?) WHERE position = ?",
                (said, visit.form.get("masked"), visit.reference, visit.payment_reference, visit.position),
            )
            return
        amount = visit.form.get("amount_to_capture", visit.form.get("amount"))
        visit.position = store.inserted(
            db,
            "requests",
            operation="unknown" if visit.endpoint is None else visit.endpoint.operation,
            reference=visit.reference,
            payment_reference=visit.payment_reference,
            amount=amount,
            currency=str(visit.form.get("currency", "")).upper()[:3] or None,
            faults=json.dumps(list(visit.plan.entries)),
            received_at=store.timestamp(visit.received_at),
            answer=said,
        )


def _text(visit: Visit) -> str:
    """Query and body are both parameters; the SDKs send a GET's in the query and a POST's in the body."""
    if visit.body is None:
        raise Refusal(413, "Request body too large.", began=False)
    try:
        body = visit.body.decode()
    except UnicodeDecodeError as error:
        raise invalid("Invalid request: the body is not UTF-8.") from error
    return "&".join(part for part in (visit.query, body) if part)


def _intent(visit: Visit, db: sqlite3.Connection) -> objects.Stored | None:
    assert visit.endpoint is not None
    assert visit.account is not None
    own_id = visit.named.get("own_id") or visit.form.get("payment_intent")
    if visit.form.get("charge"):
        charge = objects.find(db, visit.account, "charge", visit.form["charge"])
        own_id = None if charge is None else charge.body["payment_intent"]
    if visit.endpoint.intent_from is None or own_id is None:
        return None
    return objects.find(db, visit.account, "payment_intent", own_id)


def _succeeded(visit: Visit, call: Call) -> Saved:
    """Raises `Refusal`."""
    assert visit.endpoint is not None
    expand = visit.form.pop("expand", [])
    body = visit.endpoint.work(call, visit.form, **visit.named)
    shown = objects.expanded(call.db, call.account, json.loads(json.dumps(body)), expand)
    return Saved(200, json.dumps(shown, indent=2), visit.request_id)


def _refused(visit: Visit, refusal: Refusal) -> Saved:
    return Saved(refusal.status_code, json.dumps(refusal.body(visit.request_id), indent=2), visit.request_id)


def _remember(visit: Visit, call: Call, saved: Saved) -> None:
    """References that only the work could know, and the card as the log shows it."""
    visit.form["masked"] = call.logged.get("card")
    for event in call.events:
        visit.reference = visit.reference or event.aside["reference"]
        visit.payment_reference = visit.payment_reference or event.aside["payment_reference"]


def _plain(visit: Visit, answer: Answer) -> Response:
    """Source: api/request_ids (`Request-Id`), api/versioning, error-low-level (`Idempotent-Replayed`)."""
    headers = {"Request-Id": visit.request_id, "Stripe-Version": visit.version or API_VERSION}
    if visit.given_key is not None:
        headers["Idempotency-Key"] = visit.given_key
        headers["Original-Request"] = answer.saved.request_id
    if answer.is_repeat:
        headers["Idempotent-Replayed"] = "true"
    return Response(
        answer.saved.body.encode(),
        answer.saved.status_code,
        headers=headers,
        media_type="application/json",
    )


def _of_somebody_else(text: str) -> str:
    """The answer to another request: other ids, nobody's metadata."""

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: {} if name == "metadata" else renamed(each) for name, each in value.items()}
        if isinstance(value, str) and re.match(r"(pi|ch|re|pm|txn)_3", value):
            return objects.new_id(value.split("_")[0])
        return value

    return json.dumps(renamed(json.loads(text)), indent=2)


def _summary(visit: Visit, answer: Answer) -> str:
    """The answer as the log of requests shows it."""
    body = json.loads(answer.saved.body)
    error = body.get("error", {})
    said = error.get("decline_code") or error.get("code") or error.get("type") or body.get("status")
    plain = f"{answer.saved.status_code} {said or body.get('object')}"
    if visit.plan.ending in (Ending.ANSWER, Ending.ERROR, Ending.RATE_LIMITED) or answer.is_repeat:
        return plain
    return Reply(answer.saved.status_code, {}, visit.plan.ending).summary()


def routes(desk: Desk, courier: Courier, *, public_url: str | None, hold_s: float) -> list[Route]:
    """The dialect's routes."""
    counter = Counter(desk, courier, public_url=public_url, hold_s=hold_s)
    methods = ["GET", "POST", "DELETE", "PUT", "PATCH"]
    return [Route(PREFIX + "/v1/{rest:path}", counter.endpoint, methods=methods)]
