"""Facts in whatever order, and people who decide, recorded by the recorder in Postgres beside the acquirer's ledger.

The acquirer does what it was asked for, takes it back, does it again and moves what nobody asked for. What it says of
an operation is what it knew at some time, perhaps long ago, perhaps twice. People decide about what is held for them,
rightly or wrongly. Whatever the order: the amounts keep their limits, each turn is found again in one operation, the
same fact again changes nothing, and once everything was said the operations add up to the acquirer's ledger, but for
what people let go, took out of the books or said before the acquirer did.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from sqlalchemy import select

from payonce.domain import reviews, turns, verdicts
from payonce.domain.admission import admit_capture, admit_refund
from payonce.domain.decisions import Decision
from payonce.domain.errors import DecisionRefused, NotAllowed, OperationInProgress
from payonce.domain.facts import Approved, Foreign, Redone, Stage, Turn, Undone
from payonce.domain.operations import Operation, OperationKind, OperationStatus, Origin
from payonce.domain.payment import Payment
from payonce.storage.payments import OPERATION_COLUMNS, operation_from
from payonce.storage.tables import operations
from tests.storage.ledger import Ledger, open_ledger, subject

K, O = OperationKind, OperationStatus
T = TypeVar("T")
AUTHORIZED = 1000
AMOUNTS = st.sampled_from([None, 1, 250, 600])
STATED = st.sampled_from([1, 250, 600, 1_000, 1_700])
ANY = st.integers(0, 1_000)


@dataclass
class Done:
    """What the acquirer did under one reference of ours, and what became of it since, in its own order."""

    of: Operation
    stage: Stage | None = None
    history: list[Turn] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)  # what is told no more, since it failed

    def said(self, turns: int) -> Approved:
        """Its word when it knew of so many turns."""
        return Approved(
            f"acq-{self.of.id}",
            self.of.amount_minor,
            self.of.currency,
            stage=self.stage,
            since=tuple(turn for turn in self.history[:turns] if turn.id not in self.hidden),
        )

    @property
    def stands(self) -> int:
        """How much of it stands: an undoing takes back all of it, or a part."""
        return self.of.amount_minor - self.undone

    @property
    def undone(self) -> int:
        signs = {"undone": 1, "redone": -1, "foreign": 0}
        own = (turn for turn in self.history if turn not in self.bounced)
        return sum(signs[turn.kind] * turn.amount_minor for turn in own)

    @property
    def bounced(self) -> list[Undone]:
        """The dashboard's refunds that were taken back."""
        return [turn for turn in self.history if isinstance(turn, Undone) and turn.refund is not None]


class TurnsMachine(RuleBasedStateMachine):
    """The acquirer acts; payonce hears of it, in whatever order."""

    ledger: ClassVar[Ledger]
    loop: ClassVar[asyncio.Runner]

    @initialize(automatic=st.booleans(), captured=st.sampled_from([0, 250, 1000]))
    def create(self, automatic: bool, captured: int) -> None:
        method = "automatic" if automatic else "manual"
        self.created = self._run(self.ledger.add_payment(capture_method=method))
        self.acquirer: dict[str, Done] = {}
        self.turns = 0
        self.decided = {K.CAPTURE: 0, K.REFUND: 0}
        self.decided_about: dict[
            str | None, int
        ] = {}  # of those refunds of the dashboard, by the acquirer's id
        stage = Stage.CAPTURED if automatic else Stage.AUTHORIZED
        self._asked(K.AUTHORIZE, AUTHORIZED, stage=stage)
        self.say(0, 0)
        if captured and not automatic:
            self._asked(K.CAPTURE, captured, final=False)
            self.say(1, 0)

    @rule(amount=AMOUNTS, final=st.booleans())
    def capture(self, amount: int | None, final: bool) -> None:
        try:
            admitted = admit_capture(self.payment, amount_minor=amount, now=datetime.now(UTC))
        except (NotAllowed, OperationInProgress):
            return
        self._asked(K.CAPTURE, admitted, final=final)

    @rule(amount=AMOUNTS)
    def refund(self, amount: int | None) -> None:
        try:
            admitted = admit_refund(self.payment, amount_minor=amount)
        except (NotAllowed, OperationInProgress):
            return
        self._asked(K.REFUND, admitted)

    @rule(which=ANY, part=AMOUNTS)
    def take_back(self, which: int, part: int | None) -> None:
        """All or a part of what stands of a capture, a refund or an automatic payment."""
        done = self._done(which)
        if done.stage is Stage.AUTHORIZED or not done.stands:
            return
        amount = min(part or done.stands, done.stands)
        done.history.append(Undone(self._id(), amount, "INR", "rejected"))

    @rule(which=ANY, part=AMOUNTS)
    def do_again(self, which: int, part: int | None) -> None:
        done = self._done(which)
        if done.undone:
            amount = min(part or done.undone, done.undone)
            done.history.append(Redone(self._id(), amount, "INR"))

    @rule(what=st.sampled_from(["capture", "refund"]), amount=STATED)
    def act_in_the_dashboard(self, what: Any, amount: int) -> None:
        done = self.acquirer[self.created.id]
        if len(done.history) < 6:
            done.history.append(Foreign(self._id(), what, amount, "INR"))

    @rule(which=ANY, all_that_is_known=st.booleans())
    def bounce(self, which: int, all_that_is_known: bool) -> None:
        """A refund of the dashboard fails. The acquirer may have told nobody of it before, and may never do so."""
        done = self.acquirer[self.created.id]
        known = {turn.refund for turn in done.bounced}
        made = [turn for turn in done.history if isinstance(turn, Foreign) and turn.what == "refund"]
        standing = [turn for turn in made if turn.id not in known]
        if not standing:
            return
        refund = standing[which % len(standing)]
        done.history.append(Undone(self._id(), refund.amount_minor, "INR", "closed account", refund.id))
        if not all_that_is_known:
            done.hidden.add(refund.id)

    @rule(which=ANY, verdict=st.integers(0, 1), exact=st.booleans())
    def decide(self, which: int, verdict: int, exact: bool) -> None:
        """A person decides about something in review, in any way in which it can be decided, rightly or wrongly."""
        waiting = [of for of in self._rows().values() if reviews.is_open(of)]
        if not waiting:
            return
        of = waiting[which % len(waiting)]
        possible = list(verdicts.verdicts(of))
        made = Decision(
            key=f"key-{self._id()}",
            operation_id=of.id,
            verdict=possible[verdict % len(possible)],
            actor="ada@desk",
            why="so it seems",
            amount_minor=turns.open_minor(of) if exact and of.kind is K.REDO else None,
        )
        before = self._beyond_the_acquirer()
        rows = self._rows()
        try:
            self._run(self.ledger.recorder().decide(subject(of), made, accounts={}))
        except DecisionRefused:
            assert self._rows() == rows
            return
        assert not reviews.is_open(self._rows()[of.id])
        after = self._beyond_the_acquirer()
        for kind in self.decided:
            self.decided[kind] += after[kind] - before[kind]
        if of.kind is K.REFUND and of.origin is Origin.ACQUIRER:
            self.decided_about[of.connector_reference] = after[K.REFUND] - before[K.REFUND]
        self._check()

    @rule(which=ANY, turns=ANY)
    def say(self, which: int, turns: int) -> None:
        """What the acquirer knew of one operation at some time is recorded; and once more, which changes nothing."""
        done = self._done(which)
        self._record(done, turns % (len(done.history) + 1))
        before = self._rows()
        self._record(done, turns % (len(done.history) + 1))
        assert self._without_times(self._rows()) == self._without_times(before)
        self._check()

    def teardown(self) -> None:
        """Everything is said: what the operations add up to is what the acquirer's ledger says."""
        if not hasattr(self, "acquirer"):
            return
        for which in range(len(self.acquirer)):
            done = self._done(which)
            self._record(done, len(done.history))
        self._check()
        for turn in self._bounced():  # it is not there, whatever was decided about it
            self.decided[K.REFUND] -= self.decided_about.get(turn.refund, 0)
        captures = (K.AUTHORIZE, K.CAPTURE)
        beyond = self._beyond_the_acquirer()
        assert beyond[K.CAPTURE] - self.decided[K.CAPTURE] == self._at_the_acquirer(
            *captures, foreign="capture"
        )
        assert beyond[K.REFUND] - self.decided[K.REFUND] == self._at_the_acquirer(K.REFUND, foreign="refund")

    @property
    def payment(self) -> Payment:
        return self._run(self.ledger.payment(self.created.id))

    def _asked(self, kind: K, amount: int, *, stage: Stage | None = None, final: bool = True) -> None:
        of = self._run(self.ledger.add_operation(self.payment, kind, amount_minor=amount, final=final))
        self.acquirer[of.id] = Done(of, stage)

    def _record(self, done: Done, turns: int) -> None:
        recorder = self.ledger.recorder()
        self._run(recorder.record(subject(done.of), attempt=1, fact=done.said(turns)))

    def _check(self) -> None:
        paid, rows = self.payment, self._rows()
        assert 0 <= paid.amount_captured_minor <= paid.amount_authorized_minor
        assert paid.refundable_minor + paid.capturable_minor <= paid.amount_authorized_minor
        held = sum(of.amount_undecided_minor for of in rows.values())
        assert held == paid.amount_capture_undecided_minor + paid.amount_refund_undecided_minor
        assert (paid.review is None) == (held == 0)
        undone = sum(of.amount_undone_minor for of in rows.values() if of.kind in (K.AUTHORIZE, K.CAPTURE))
        assert paid.amount_capture_undone_minor == undone
        told = [of.connector_reference for of in rows.values() if of.origin is Origin.ACQUIRER]
        assert len(told) == len(set(told))
        assert set(told) <= {turn.id for done in self.acquirer.values() for turn in done.history}
        self._check_what_is_open(rows)
        sequences = [number for number, _ in self._run(self.ledger.events(paid.id))]
        assert sequences == list(range(1, paid.sequence + 1))

    def _check_what_is_open(self, rows: dict[str, Operation]) -> None:
        """No more would hold again by decisions than is undone."""
        for done in self.acquirer.values():
            about = [of for of in rows.values() if of.target_reference == f"{done.of.id}-1"]
            left = sum(turns.open_minor(of) for of in about if not of.kind.carried_out)
            assert left <= rows[done.of.id].amount_undone_minor

    def _booked(self, kind: K) -> int:
        """What the payment shows as captured or refunded, with what is held until a person decides about it."""
        paid, rows = self.payment, self._rows()
        shown = paid.amount_captured_minor if kind is K.CAPTURE else paid.amount_refunded_minor
        counting = [of for of in rows.values() if of.origin is Origin.ACQUIRER and of.kind is not K.UNDO]
        return shown + sum(
            of.amount_undecided_minor for of in counting if (of.target_kind or of.kind) is kind
        )

    def _beyond_the_acquirer(self) -> dict[K, int]:
        """What is booked, without what people said before the acquirer did."""
        ahead = {K.CAPTURE: 0, K.REFUND: 0}
        for of in self._rows().values():
            if of.amount_ahead_minor and of.target_kind is not None:
                ahead[of.target_kind] += of.amount_ahead_minor * (1 if of.kind is K.UNDO else -1)
        return {kind: self._booked(kind) - said for kind, said in ahead.items()}

    def _at_the_acquirer(self, *kinds: K, foreign: str) -> int:
        its_own = sum(
            turn.amount_minor
            for turn in self.acquirer[self.created.id].history
            if isinstance(turn, Foreign) and turn.what == foreign
        )
        its_own -= sum(turn.amount_minor for turn in self._bounced() if foreign == "refund")
        moved = [done for done in self.acquirer.values() if done.of.kind in kinds]
        return its_own + sum(done.stands for done in moved if done.stage is not Stage.AUTHORIZED)

    def _bounced(self) -> list[Undone]:
        return self.acquirer[self.created.id].bounced

    def _rows(self) -> dict[str, Operation]:
        return self._run(self._read())

    async def _read(self) -> dict[str, Operation]:
        query = select(*OPERATION_COLUMNS).where(operations.c.payment_id == self.created.id)
        async with self.ledger.database.transaction() as connection:
            found = [operation_from(row) for row in (await connection.execute(query)).mappings()]
        return {of.id: of for of in found}

    def _without_times(self, rows: dict[str, Operation]) -> Any:
        paid = self.payment
        return paid, dict(rows)

    def _done(self, which: int) -> Done:
        every = list(self.acquirer.values())
        return every[which % len(every)]

    def _id(self) -> str:
        self.turns += 1
        return f"turn-{self.turns}-of-{self.created.id}"

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)


@pytest.fixture
def opened(module_database_url: str) -> Iterator[None]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        TurnsMachine.loop = runner
        TurnsMachine.ledger = runner.run(stack.enter_async_context(open_ledger(module_database_url)))
        yield
        runner.run(stack.aclose())


def test_the_books_follow_the_acquirer_in_whatever_order_it_speaks(opened: None) -> None:
    run_state_machine_as_test(
        TurnsMachine,
        settings=settings(
            max_examples=80,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
