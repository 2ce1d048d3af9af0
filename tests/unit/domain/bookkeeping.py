"""One payment as the recording function keeps it, in memory, and what must hold of it at every step."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import assert_never

from payonce.domain import leaving, rail, turns
from payonce.domain.answers import Answer
from payonce.domain.contradictions import open_case, raise_case
from payonce.domain.ending import succeed
from payonce.domain.facts import Approved, Fact, Outcome, Stage
from payonce.domain.operations import (
    USUAL,
    Abilities,
    Attempt,
    AttemptState,
    Operation,
    OperationKind,
    OperationStatus,
    Origin,
)
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.settlement import Draft, Settlement, settle
from payonce.domain.stages import awaits_capture, captured_since, follow, stands
from tests.support.rows import NOW, attempt, operation, under_way

S, K, A, O = PaymentStatus, OperationKind, AttemptState, OperationStatus


@dataclass
class Books:
    """The rows of one payment. `record` and `apply` do what the recording function does, and check it."""

    payment: Payment
    operations: dict[str, Operation] = field(default_factory=dict)
    attempts: dict[str, list[Attempt]] = field(default_factory=dict)
    events: list[Draft] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    cases: dict[str, str] = field(default_factory=dict)  # those of late successes, by the attempt's reference
    # Of open cases, by the acquirer.
    stated: dict[str, tuple[OperationKind, int]] = field(default_factory=dict)
    abilities: Abilities = USUAL
    now: datetime = NOW

    def open(self, kind: OperationKind, *, amount_minor: int, final: bool = True) -> Operation:
        """Admits an operation, as the API and the expiry do, with its first attempt claimed."""
        id_ = self.payment.id if kind is K.AUTHORIZE else f"op_{len(self.operations)}"
        opened = operation(kind, id=id_, amount_minor=amount_minor, final=final, created_at=self.now)
        self.operations[opened.id] = opened
        self.attempts[opened.id] = [attempt(opened)]
        if kind.exclusive:
            self.payment = replace(self.payment, pending_operation=under_way(opened))
        if kind is K.VOID and self.payment.status.undecided:
            self._abandon(opened)
        if kind is K.REFUND:
            held = self.payment.amount_refund_pending_minor + amount_minor
            self.payment = replace(self.payment, amount_refund_pending_minor=held)
        self._check_limits(kind)
        return opened

    def _abandon(self, void: Operation) -> None:
        """Nothing is sent for the void while the authorization has no outcome."""
        del self.attempts[void.id]
        self.payment = replace(self.payment, next_action=None)
        latest = self.attempts[self.payment.id][-1]
        self.attempts[self.payment.id][-1] = leaving.abandoned(latest)

    def further_attempt(self, operation_id: str) -> None:
        """A further attempt is claimed, the latest one being unsent."""
        before = self.attempts[operation_id]
        assert before[-1].state is A.NOT_SENT
        before.append(attempt(self.operations[operation_id], number=len(before) + 1))

    def record(self, operation_id: str, number: int, fact: Fact) -> Settlement:
        """The fact is recorded, then recorded again an hour later: the second time changes nothing.

        While a customer may act, an hour more does change something: then it is recorded again at once.
        """
        settled = self._once(operation_id, number, fact)
        before = (self.payment, dict(self.operations), list(self.events), dict(self.answers))
        waits = settled.attempt is not None and settled.attempt.state is A.WAITING
        self.now += timedelta() if waits else timedelta(hours=1)
        self._once(operation_id, number, fact)
        assert (self.payment, dict(self.operations), list(self.events), dict(self.answers)) == before
        self.now += timedelta(hours=1) if waits else timedelta()
        return settled

    def apply(self, operation_id: str, decide: Callable[[Payment, Operation], Settlement]) -> Settlement:
        """What was decided is written, as far as it may be."""
        before = self.operations[operation_id]
        settled = self._with_follow_up(before, decide(self.payment, before))
        if settled.refund is not None:
            settled = self._release(settled)
        self._check_operation(before, settled)
        self._check_events(settled)
        self.payment = settled.payment
        self.operations[operation_id] = settled.operation
        if settled.attempt is not None:
            self.attempts[operation_id][settled.attempt.number - 1] = settled.attempt
        self.events += settled.events
        for added in settled.added:
            self.operations[added.id] = added
            self.attempts[added.id] = [attempt(added)]
        for beside in settled.beside:
            self.operations[beside.id] = beside
        if settled.answer is not None:
            answered = settled.answered or operation_id
            if settled.answered is None or not self._is_answered(answered):  # a stored answer stays
                assert not self._is_answered(answered), "an operation is answered once"
                self.answers[answered] = settled.answer
        if settled.abandoned is not None:
            self.apply(settled.abandoned, lambda paid, of: succeed(paid, of, None, reply=None, now=self.now))
            self.answers[operation_id] = leaving.given_up(self.payment, settled.operation)
        self._follow(before, settled)
        self.check()
        return settled

    def _with_follow_up(self, before: Operation, settled: Settlement) -> Settlement:
        """As the recorder does: what of our own follows, unless the rail has done it meanwhile."""
        authorization = self.attempts[self.payment.id][-1]
        create = self.operations[self.payment.id]
        if before.status is O.PENDING and stands(settled, create, authorization):
            settled = succeed(self.payment, before, settled.attempt, reply=None, now=self.now)
        return follow(before, settled, follow_up_id=f"op_{len(self.operations)}", now=self.now)

    def _captured_by_rail(
        self, payment: Payment, of: Operation, before: Attempt, fact: Outcome
    ) -> Settlement:
        """Of one of our own that may have been sent the outcome is waited for."""
        assert isinstance(fact, Approved)
        own = None
        if payment.pending_operation is not None:
            pending = self.operations[payment.pending_operation["id"]]
            if pending.kind is K.CAPTURE and pending.origin is Origin.PAYONCE:
                own = rail.Capture(pending, sent=self.attempts[pending.id][-1].state is not A.NOT_SENT)
        counted = rail.capture(turns.Found(payment, of, before), fact, own, now=self.now)
        return counted or Settlement(payment, of, before)  # else as what somebody else did: `test_turns`

    def _release(self, settled: Settlement) -> Settlement:
        """As the recorder does: what was given up and captured is refunded, by an attempt like any other."""
        settled, refund = leaving.begin_refund(settled, refund_id=f"re_{len(self.operations)}")
        self.operations[refund.id] = refund
        self.attempts[refund.id] = [attempt(refund)]
        return settled

    def _follow(self, before: Operation, settled: Settlement) -> None:
        """The void that waited for this has its outcome, or is now to be sent."""
        of, pending = settled.operation, self.payment.pending_operation
        decided_now = before.status is O.PENDING and of.status is not O.PENDING
        if decided_now and of.ends_operation is not None:
            self.apply(of.ends_operation, lambda paid, void: leaving.end(void, settled, now=self.now))
        if decided_now and of.kind is K.AUTHORIZE and pending is not None and "ended_by" not in pending:
            self.attempts[pending["id"]] = [attempt(self.operations[pending["id"]])]

    def undo(self, case_id: str) -> None:
        """The reversal of a late success is confirmed: nothing of it is undecided any more."""
        self.apply(case_id, lambda paid, of: succeed(paid, of, None, reply=None, now=self.now))
        self.stated.pop(case_id, None)
        assert self.operations[case_id].amount_undecided_minor == 0

    def check(self) -> None:
        """What holds of the rows, whatever was recorded in whatever order."""
        payment = self.payment
        captured = payment.amount_captured_minor
        assert payment.amount_authorized_minor in (0, payment.amount_minor)
        assert 0 <= captured <= payment.amount_authorized_minor
        assert payment.amount_refunded_minor >= 0
        assert payment.amount_refund_pending_minor >= 0
        assert payment.amount_refunded_minor + payment.amount_refund_pending_minor <= captured
        assert captured == self._captured(), (captured, self._captured())
        assert payment.amount_refunded_minor == self._sum(K.REFUND, O.SUCCEEDED)
        assert payment.amount_refund_pending_minor == self._sum(K.REFUND, O.PENDING)
        assert payment.amount_refund_undecided_minor == self._undecided(K.REFUND)
        assert payment.amount_capture_undecided_minor == self._undecided(K.CAPTURE, K.VOID, K.EXPIRE)
        assert payment.refundable_minor >= 0
        assert payment.capturable_minor >= 0
        assert [event.sequence for event in self.events] == list(range(1, payment.sequence + 1))
        pending = [op for op in self.operations.values() if op.kind.exclusive and op.status is O.PENDING]
        busy = [op for op in pending if op.accepted_at is None]
        aside = [op for op in pending if op.accepted_at is not None]
        assert sorted((op.id, op.amount_minor) for op in aside) == sorted(
            (str(one["id"]), int(one["amount"])) for one in payment.accepted
        )
        assert not aside or {op.kind for op in pending} == {K.CAPTURE}, "what ends it waits for all"
        shown = {name: (payment.pending_operation or {}).get(name) for name in ("id", "type", "amount")}
        assert [under_way(op) for op in busy] == [shown] * len(busy)
        assert bool(busy) == (payment.pending_operation is not None)
        assert _explains(payment), f"{payment.status} does not say what happened"

    def _once(self, operation_id: str, number: int, fact: Fact) -> Settlement:
        before = self.attempts[operation_id][number - 1]

        def decide(payment: Payment, of: Operation) -> Settlement:
            if captured_since(before, fact):
                return self._captured_by_rail(payment, of, before, fact)
            settled = settle(payment, of, before, fact, abilities=self.abilities, now=self.now)
            self._check_late(of, before, fact, settled)
            if settled.late is None:
                return settled
            if before.reference in self.cases:  # it is open already, or was decided
                return self._raise(payment, settled, before, fact)
            return self._open(settled, before.reference, fact)

        settled = self.apply(operation_id, decide)
        assert settled.attempt is not None
        if settled.attempt.state is A.APPROVED and before.state is not A.APPROVED:
            self._check_approval(settled.operation, fact)
        if before.state.definite:
            assert settled.attempt.state is before.state
            assert settled.attempt.failure_code == before.failure_code
        return settled

    def _open(self, settled: Settlement, reference: str, fact: Fact) -> Settlement:
        """As the recorder does: once for each attempt."""
        case_id = f"op_{len(self.operations)}"
        settled, case = open_case(settled, case_id=case_id, abilities=self.abilities, now=self.now)
        self.operations[case_id] = case
        self.cases[reference] = case_id
        assert isinstance(fact, Approved)
        if fact.currency == self.payment.currency:
            self.stated[case_id] = (settled.operation.kind, fact.amount_minor)
        return settled

    def _raise(self, payment: Payment, settled: Settlement, before: Attempt, fact: Fact) -> Settlement:
        """As the recorder does: an open case holds the most that was stated."""
        case_id = self.cases[before.reference]
        case = self.operations[case_id]
        assert settled.late is not None
        assert settled.attempt is not None
        raised = raise_case(payment, case, settled.late, attempt=settled.attempt, sent=False, now=self.now)
        self.operations[case_id] = raised.operation
        assert isinstance(fact, Approved)
        if case_id in self.stated and fact.currency == payment.currency:
            of, stated = self.stated[case_id]
            self.stated[case_id] = (of, max(stated, fact.amount_minor))
        return replace(settled, payment=raised.payment, attempt=before, events=raised.events)

    def _check_limits(self, kind: OperationKind) -> None:
        """What was just admitted fits into what there is, with all that the acquirer says has moved."""
        payment = self.payment
        late = sum(amount for of, amount in self.stated.values() if of is kind)
        if kind is K.REFUND:
            moved = payment.amount_refunded_minor + payment.amount_refund_pending_minor + late
            assert moved <= payment.amount_captured_minor
        if kind is K.CAPTURE:
            moved = payment.amount_captured_minor + payment.held_pending_minor + late
            assert moved <= payment.amount_authorized_minor
            assert not [of for of, _ in self.stated.values() if of is K.VOID]

    def _check_approval(self, of: Operation, fact: Fact) -> None:
        """Money moved exactly as asked; what releases money has no amount of its own."""
        assert isinstance(fact, Approved)
        if of.kind not in (K.VOID, K.EXPIRE):
            assert (fact.amount_minor, fact.currency) == (of.amount_minor, of.currency)

    def _check_late(self, of: Operation, before: Attempt, fact: Fact, settled: Settlement) -> None:
        """A success is late exactly when it contradicts what is definite, or is another than the known one."""
        if not isinstance(fact, Approved):
            assert settled.late is None
            return
        against = before.state.definite or before.state is A.NOT_SENT or of.status is not O.PENDING
        another = fact.connector_reference != before.connector_reference
        if of.status is O.SUCCEEDED and fact.connector_reference == of.connector_reference:
            assert settled.late is None, "it is the success that is known"
            return
        if before.state is A.APPROVED:
            assert bool(settled.late) == (another and of.kind not in (K.VOID, K.EXPIRE))
        else:
            assert bool(settled.late) == (against or (another and before.state is A.REVERSING))

    def _check_operation(self, before: Operation, settled: Settlement) -> None:
        """The first outcome stands; an answer comes with the outcome, or with what the customer is to do, once."""
        after = settled.operation
        decided_now = before.status is O.PENDING and after.status is not O.PENDING
        if before.status is not O.PENDING:
            told_to_wait = awaits_capture(self.payment, before)
            as_before = replace(before, deferred_at=after.deferred_at, updated_at=after.updated_at)
            assert after == (as_before if told_to_wait else before)
        asked_over_http = (
            after.ends_operation is None
            and after.kind not in (K.EXPIRE, K.REVERSE)
            and not (awaits_capture(settled.payment, after) and self.payment.pending_operation is None)
            and settled.abandoned is None  # its answer is made with the void's: see `Recorder`
        )
        if after.origin is Origin.PAYONCE and after.kind is not K.CAPTURE:
            asked_over_http = False
        asked = settled.payment.status is S.REQUIRES_ACTION and self.payment.status is not S.REQUIRES_ACTION
        if self._ends_capture_of_ours(
            settled
        ):  # its outcome is the create's answer, if that is not stored yet
            assert settled.answer is not None
            assert settled.answered == before.id
        elif self._is_answered(before.id):
            assert settled.answer is None
        else:
            assert (settled.answer is not None) == ((decided_now and asked_over_http) or asked)

    def _is_answered(self, operation_id: str) -> bool:
        """For good: that the customer must act is replaced by the outcome."""
        answer = self.answers.get(operation_id)
        return answer is not None and answer.definite

    def _ends_capture_of_ours(self, settled: Settlement) -> bool:
        """The rail captured by itself what a pending capture of payonce's own was to capture."""
        return any(
            after.kind is K.CAPTURE
            and after.origin is Origin.PAYONCE
            and self.operations[after.id].status is O.PENDING
            and after.status is not O.PENDING
            for after in settled.beside
        )

    def _check_events(self, settled: Settlement) -> None:
        """Every change of status has exactly one event of its name, which shows it."""
        status = self.payment.status
        for event in settled.events:
            if not event.type.startswith("payment."):
                continue
            after = PaymentStatus(event.data["status"])
            assert after is status or event.type == f"payment.{after}"
            assert event.data["sequence"] == event.sequence
            status = after
        assert settled.payment.status is status

    def _sum(self, kind: OperationKind, status: OperationStatus) -> int:
        these = (op for op in self.operations.values() if op.kind is kind and op.status is status)
        return sum(op.amount_minor for op in these)

    def _undecided(self, *kinds: OperationKind) -> int:
        held = (op for op in self.operations.values() if (op.target_kind or op.kind) in kinds)
        return sum(op.amount_undecided_minor for op in held)

    def _captured(self) -> int:
        """By the authorization itself, or by captures; one that the rail made stands for both."""
        create = self.attempts[self.payment.id]
        by_itself = any(of.stage is Stage.CAPTURED and of.state is A.APPROVED for of in create)
        if by_itself and self.payment.amount_captured_minor:
            return self._sum(K.AUTHORIZE, O.SUCCEEDED)
        return self._sum(K.CAPTURE, O.SUCCEEDED)


def _explains(payment: Payment) -> bool:
    """Whether the amounts are those that the status promises. Source: `api.md`, "Payment"."""
    authorized, captured = payment.amount_authorized_minor, payment.amount_captured_minor
    refunded = payment.amount_refunded_minor
    match payment.status:
        case S.INIT | S.REQUIRES_ACTION | S.PROCESSING | S.FAILED:
            return authorized == 0
        case S.AUTHORIZED | S.EXPIRED:
            return authorized > 0 and captured == 0
        case S.VOIDED:
            return captured == 0  # what was abandoned was never authorized
        case S.PARTIALLY_CAPTURED:
            return 0 < captured < authorized
        case S.CAPTURED:
            return captured > 0 and refunded == 0
        case S.PARTIALLY_REFUNDED:
            return 0 < refunded < captured
        case S.REFUNDED:
            return 0 < refunded == captured
        case _:
            assert_never(payment.status)
