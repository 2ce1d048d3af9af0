"""One payment on both sides: payonce's rows, written by the recorder, and the acquirer's own ledger.

Operations are admitted and claimed by the product's own rules; whatever is recorded is checked (`invariants`).
"""

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import psycopg
from psycopg.rows import dict_row

from payonce.domain.admission import reserved
from payonce.domain.decisions import Decision, Finality, Verdict
from payonce.domain.errors import DecisionRefused
from payonce.domain.facts import Approved, Disputed, Fact, FailureCode, NotProcessed, Reversed
from payonce.domain.ids import random_id
from payonce.domain.operations import (
    Attempt,
    AttemptState,
    Operation,
    OperationKind,
    OperationStatus,
    Subject,
)
from payonce.domain.payment import HELD, Payment
from payonce.recording.decisions import Account
from payonce.standing import Cases
from payonce.storage import attempts, idempotency, payments
from payonce.storage.packing import body_of
from tests.storage.acting import CAPABILITIES, FakeConnector, Process
from tests.storage.ledger import IDS, Ledger, subject
from tests.storage.recording import invariants
from tests.storage.recording.acquirer import UNDECIDED, Acquirer, Dispute, How, Request, There
from tests.support import rows

K, O, A, V = OperationKind, OperationStatus, AttemptState, Verdict
T = TypeVar("T")
ACCOUNT = "account_1"
RISK = {"verdict": "review", "reasons": ["new_card"], "provider": "rules"}
REVERSES = {
    "all": frozenset(OperationKind),
    "payments": frozenset({K.AUTHORIZE, K.CAPTURE}),
    "none": frozenset[OperationKind](),
}
_NOW = "UPDATE payments SET capture_before = now() - interval '1 hour' WHERE id = :id AND capture_before < 'infinity'"
_OF_PAYMENT = "coalesce(payment_id, operation_id)"  # of an attempt, packed or not
_LEFT = f"UPDATE attempts SET act_before = now() - interval '1 hour' WHERE {_OF_PAYMENT} = :id AND act_before > now()"
_AGED = f"UPDATE attempts SET send_before = now() - interval '1 hour' WHERE {_OF_PAYMENT} = :id"
_DUE = "SELECT due_at FROM reviews WHERE operation_id = :id"
_READ = (
    "SELECT * FROM payments WHERE id = %s",
    "SELECT * FROM operations WHERE payment_id = %s ORDER BY created_at, id",
    f"SELECT * FROM attempts WHERE {_OF_PAYMENT} = %s ORDER BY operation_id, number",
    "SELECT operation_id FROM reviews WHERE payment_id = %s AND closed_at IS NULL",
    "SELECT id, payment_id, created_at, sequence, type, body FROM events WHERE payment_id = %s ORDER BY sequence",
    "SELECT operation_id, answered_at, answer_kind, answer_body FROM idempotency_keys"
    " WHERE answered_at IS NOT NULL AND operation_id IN (SELECT id FROM operations WHERE payment_id = %s)",
)


@dataclass(frozen=True)
class Books:
    """All that Postgres holds of the payment."""

    payment: Payment
    operations: dict[str, Operation]
    attempts: list[Attempt]
    in_review: set[str]
    events: list[tuple[int, str, dict[str, Any]]]
    answers: dict[str, tuple[Any, ...]]  # the definite ones, by operation

    def latest(self, operation_id: str) -> Attempt | None:
        return next((of for of in reversed(self.attempts) if of.operation_id == operation_id), None)


class Reader:
    """A connection of its own, by which a walk looks at what was committed."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True, row_factory=dict_row)

    def books(self, payment_id: str) -> Books:
        with self._connection.pipeline():
            sent = [self._connection.execute(query, (payment_id,)) for query in _READ]
            ((paid,), of, tried, reviews, told, answered) = [cursor.fetchall() for cursor in sent]
        return Books(
            payments.payment_from(paid),
            {row["id"]: payments.operation_from(row) for row in of},
            [attempts.attempt_from(row) for row in tried],
            {row["operation_id"] for row in reviews},
            [(row["sequence"], row["type"], json.loads(body_of(row))) for row in told],
            {row.pop("operation_id"): tuple(row.values()) for row in answered},
        )

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True)
class Rail:
    """What differs between accounts."""

    reverses: str = "all"
    captures_itself: bool = False
    expiry_is_sent: bool = False


@dataclass
class Walk:
    """`check` follows each thing that is recorded."""

    ledger: Ledger
    loop: asyncio.Runner
    reader: Reader
    rail: Rail
    acquirer: Acquirer = field(default_factory=Acquirer)
    answers: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    _books: Books | None = None

    def begin(self, *, automatic: bool, held: bool) -> Request:
        """A payment whose authorization is on its way."""
        self.capabilities = replace(
            CAPABILITIES,
            data_in_memory=False,
            reversal_by_reference=self.rail.reverses != "none",
            reverses=REVERSES[self.rail.reverses],
            captures_itself=self.rail.captures_itself,
            expiry_is_sent=self.rail.expiry_is_sent,
        )
        more: dict[str, Any] = {"capture": HELD, "risk": RISK} if held else {}
        method = "automatic" if automatic else "manual"
        self.id = self.run(self.ledger.add_payment(capture_method=method, **more)).id
        self.claimant = Process(self.ledger, FakeConnector(capabilities=self.capabilities)).claimant
        self.cases = Cases(self.ledger.database, IDS, {ACCOUNT: self.capabilities})
        create = self.admit(K.AUTHORIZE, 1_000)
        request = self.claim(create)
        assert request is not None
        return request

    @property
    def books(self) -> Books:
        if self._books is None:
            self._books = self.reader.books(self.id)
        return self._books

    @property
    def payment(self) -> Payment:
        return self.books.payment

    @property
    def operations(self) -> list[Operation]:
        return list(self.books.operations.values())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        self._books = None
        return self.loop.run(work)

    def recorded(self, work: Coroutine[Any, Any, T]) -> T:
        """Whatever was recorded, what always holds does."""
        done = self.run(work)
        self.answers = invariants.check(self.books, self.answers)
        return done

    # What payonce begins.

    def admit(self, kind: K, amount: int, **changes: Any) -> Operation:
        return self.recorded(self._admit(kind, amount, **changes))

    async def _admit(self, kind: K, amount: int, **changes: Any) -> Operation:
        """As the API does, by an amount that it allows."""
        id_ = self.id if kind is K.AUTHORIZE else random_id("re" if kind is K.REFUND else "op")
        now = datetime.now(UTC)
        whose = {"payment_id": self.id, "merchant_id": self.ledger.merchant_id}
        of = rows.operation(
            kind, id=id_, amount_minor=amount, created_at=now, updated_at=now, **whose, **changes
        )
        async with self.ledger.database.transaction() as connection:
            locked = await connection.fetch(payments.locked(self.id))
            create = await connection.fetch(attempts.latest(self.id))
            assert locked is not None
            if kind is K.VOID and locked.status.undecided and create is not None:
                await attempts.abandon(connection, create)
            if kind not in (K.AUTHORIZE, K.ACCEPT):
                await payments.save_payment(connection, locked, reserved(locked, of))
            await payments.insert_operation(connection, of, sweep_at=now)
            await idempotency.claim_key(connection, self.ledger.key(of, locked))
        return of

    def claim(self, of: Operation) -> Request | None:
        """The request that is on its way, if one may be sent."""
        found = self.run(self.claimant.claim(payment_id=self.id, operation_id=of.id))
        if found.kind == "standing":
            unsent = found.attempt is None or found.attempt.state is A.NOT_SENT
            if found.captured and unsent and found.operation.status is O.PENDING:
                self.recorded(self.ledger.recorder().complete(subject(of)))
            return None
        request = Request(found.call, found.attempt, found.token, self.acquirer.number())
        by_reference = {one.reference: one for one in self.acquirer.requests}
        if request.kind is K.ACCEPT:
            request.dispute = next(one for one in self.acquirer.disputes if one.id == found.call.dispute)
        elif of.sent_as is not None:
            target = self.requests_of(of.target_reference)[0]
            request.of = target.of or target
        elif request.kind is not K.AUTHORIZE:
            request.of = by_reference[found.call.authorization_reference or ""]
        self.acquirer.requests.append(request)
        return request

    def send(self, of: Operation, how: How, *, answered: bool = True) -> None:
        """Claimed, sent and decided, if it may be; and perhaps recorded."""
        request = self.claim(of)
        if request is not None:
            self.acquirer.arrives(request, how)
            if answered:
                self.say(request)

    def expire(self) -> None:
        """What is over expires, unless something is pending."""
        expiry_id = self.run(self.cases.admit_expiry(self.id))
        if expiry_id is not None:
            self.recorded(self.ledger.recorder().complete(Subject(self.id, expiry_id)))

    def end_window(self) -> None:
        """The authorizations' time is over, and where nothing has to be sent they lapse."""
        self.run(self.ledger.rows(_NOW, id=self.id))
        for one in self.acquirer.requests:
            one.lapsed = one.lapsed or (one.kind is K.AUTHORIZE and not self.rail.expiry_is_sent)

    def end_asking(self) -> None:
        self.run(self.ledger.rows(_LEFT, id=self.id))

    # What is recorded.

    def say(self, request: Request, turns: int | None = None) -> None:
        """How it stands at the acquirer; a success twice, which changes nothing the second time."""
        said = request.says(turns)
        stands = any(one.there is There.DONE for one in self.requests_of(request.call.reference))
        if said is None or (isinstance(said, Reversed) and stands):
            return
        self.tell(request, said)
        if isinstance(said, Approved):
            before = self.books
            self.tell(request, said)
            assert self.books == before, "the same once more changed something"

    def tell(self, request: Request, fact: Fact) -> None:
        self.recorded(self.telling(request, fact))

    async def telling(self, request: Request, fact: Fact) -> None:
        await self.ledger.recorder().record(
            Subject(self.id, request.operation_id),
            attempt=request.number,
            token=request.token,
            fact=fact,
            abilities=self.capabilities.abilities(request.kind),
        )

    def hear(self, dispute: Dispute, said: Disputed) -> None:
        of = Subject(self.id, dispute.of.operation_id)
        self.recorded(self.ledger.recorder().hear(of, attempt=dispute.of.number, said=said))

    def is_in_doubt(self, request: Request) -> bool:
        """Whether that the acquirer does not know it may be concluded from."""
        latest = self.books.latest(request.operation_id)
        in_doubt = latest is not None and latest.state in (A.CLAIMED, A.UNKNOWN)
        return in_doubt and latest is not None and latest.number == request.number and not request.twin

    def conclude(self, request: Request) -> None:
        """The acquirer does not know it, and its time is over: reversed where that can be, and not processed."""
        if self.capabilities.reversible(request.kind):
            self.reverse(request)
        else:
            self.tell(request, NotProcessed(FailureCode.NOT_PROCESSED))

    def reverse(self, request: Request) -> None:
        of = Subject(self.id, request.operation_id)
        if not self.capabilities.reversible(request.kind):
            self.recorded(self.ledger.recorder().review(of, reason="not_reversible"))
            return
        code = FailureCode.NOT_PROCESSED
        recorder = self.ledger.recorder()
        if self.recorded(recorder.begin_reversal(of, token=request.token, code=code)):
            self.acquirer.reverses(request.call.reference)
            self.tell(request, Reversed())

    def undo_late(self, case: Operation) -> None:
        """As the reversal of a late success is carried out."""
        request = self.requests_of(case.target_reference)[0]
        if not self.capabilities.reversible(request.kind):
            self.call(case)
            return
        self.acquirer.reverses(request.call.reference)
        self.recorded(self.ledger.recorder().complete(subject(case)))

    def give_up(self, of: Operation) -> None:
        self.recorded(self.ledger.recorder().give_up(subject(of), code=FailureCode.NOT_PROCESSED))

    def call(self, of: Operation) -> None:
        """A person is called; of a void of what has no outcome, about that."""
        abandons = of.kind is K.VOID and self.payment.status.undecided
        about = Subject(self.id, self.id) if abandons else subject(of)
        self.recorded(self.ledger.recorder().review(about, reason="outcome_unknown"))

    def escalate(self, of: Operation) -> None:
        for row in self.run(self.ledger.rows(_DUE, id=of.id)):
            self.recorded(self.ledger.recorder().overdue(subject(of), due_at=row.due_at))

    def decide(self, of: Operation, verdict: Verdict, **said: Any) -> bool:
        """Whether it was taken; the same under its key again changes nothing."""
        made = Decision(
            key=random_id("key"), operation_id=of.id, verdict=verdict, actor="ada@desk", why="seen", **said
        )
        self.end_asking()
        self.run(self.ledger.rows(_AGED, id=self.id))
        if not self._decided(of, made):
            return False
        before = self.books
        assert self._decided(of, made)
        assert self.books == before
        return True

    def _decided(self, of: Operation, made: Decision) -> bool:
        accounts = {ACCOUNT: Account(Finality(20, 10), self.capabilities.abilities)}
        try:
            self.recorded(self.ledger.recorder().decide(subject(of), made, accounts=accounts))
        except DecisionRefused:
            return False
        return True

    # Who is who.

    def requests_of(self, reference: str | None) -> list[Request]:
        return [one for one in self.acquirer.requests if one.call.reference == reference]

    def request_of(self, of: Operation) -> Request | None:
        """The latest of the operation."""
        latest = self.books.latest(of.id)
        found = [] if latest is None else self.requests_of(latest.reference)
        return found[0] if found else None

    def settle_at_the_acquirer(self, *, arrives: bool) -> None:
        """What is undecided there is decided, and what is on its way arrives or is lost."""
        for request in self.acquirer.requests:
            if request.there is There.ON_ITS_WAY and not arrives:
                request.there = There.LOST
            elif request.there in UNDECIDED:
                self.acquirer.arrives(request, How.DOES)
            if self.rail.captures_itself and request.kind is K.AUTHORIZE:
                self.acquirer.captures_itself(request)
