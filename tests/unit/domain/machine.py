"""A payment about which random facts come in random order: what holds of it holds at every step."""

from datetime import timedelta

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from payonce.domain.admission import admit_capture, admit_refund, admit_void
from payonce.domain.ending import review, succeed
from payonce.domain.errors import NotAllowed, OperationInProgress
from payonce.domain.facts import (
    Accepted,
    ActionRequired,
    Approved,
    Cancelled,
    DeclineCode,
    Declined,
    Expired,
    Fact,
    FailureCode,
    NotProcessed,
    Pending,
    Reversed,
    Stage,
    Unknown,
    Unsent,
)
from payonce.domain.operations import Abilities, AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.settlement import defer, give_up
from tests.support.rows import NOW, payment
from tests.unit.domain.bookkeeping import Books

STAGES = st.sampled_from([None, *Stage])
FACTS: st.SearchStrategy[Fact] = st.one_of(
    st.builds(
        Approved,
        st.just("acq-2"),
        st.sampled_from([1, 250, 1_000, 1_001]),
        st.sampled_from(["INR", "USD"]),
        stage=STAGES,
    ),
    st.builds(Declined, st.sampled_from(DeclineCode)),
    st.just(Pending()),
    st.just(Accepted("acq-2")),
    st.builds(
        ActionRequired,
        st.just("acq-1"),
        st.just({"type": "redirect", "url": "https://bank.example"}),
        st.sampled_from([NOW - timedelta(seconds=1), NOW + timedelta(hours=8)]),
    ),
    st.just(Expired()),
    st.just(Unsent()),
    st.just(Unknown("timeout")),
    st.just(Reversed()),
    st.just(Cancelled()),
    st.builds(NotProcessed, st.sampled_from(FailureCode)),
)
AMOUNTS = st.sampled_from([None, 1, 100, 250, 1_000, 1_001])
RARELY = st.integers(0, 5).map(lambda drawn: drawn == 5)  # what ends a payment leaves the others little to do
ANY = st.integers(0, 1_000)
PENDING = OperationStatus.PENDING


class PaymentMachine(RuleBasedStateMachine):
    """Admissions under the lock, facts from anywhere; `Books` checks every step."""

    books: Books

    @initialize(
        capture_method=st.sampled_from(["manual", "manual", "automatic"]),
        undecided=RARELY,
        captured_minor=st.sampled_from([0, 250, 500]),
        abilities=st.builds(Abilities, reversible=st.booleans(), captures_itself=st.booleans()),
        stage=STAGES,
    )
    def create(
        self,
        capture_method: str,
        undecided: bool,
        captured_minor: int,
        abilities: Abilities,
        stage: Stage | None,
    ) -> None:
        self.books = Books(payment(capture_method=capture_method), abilities=abilities)
        created = self.books.open(OperationKind.AUTHORIZE, amount_minor=1_000)
        if not undecided:
            self.books.record(created.id, 1, Approved("acq-1", 1_000, "INR", stage=stage))
        if self.books.payment.status.capturable and capture_method == "manual" and captured_minor:
            self._approve(
                self.books.open(OperationKind.CAPTURE, amount_minor=captured_minor, final=False), unless=False
            )

    @rule(amount_minor=AMOUNTS, final=RARELY, unless=st.booleans())
    def capture(self, amount_minor: int | None, final: bool, unless: bool) -> None:
        opened = self._admitted(refund=False, amount_minor=amount_minor, final=final)
        if opened is not None:
            self._approve(opened, unless=unless)

    @rule(really=RARELY)
    def void(self, really: bool) -> None:
        try:
            asked = self.books.attempts[self.books.payment.id][-1].asked
            amount = admit_void(self.books.payment, asked=asked)
        except (NotAllowed, OperationInProgress):
            return
        if really:
            self.books.open(OperationKind.VOID, amount_minor=amount)

    @rule(amount_minor=AMOUNTS, unless=st.booleans())
    def refund(self, amount_minor: int | None, unless: bool) -> None:
        opened = self._admitted(refund=True, amount_minor=amount_minor)
        if opened is not None:
            self._approve(opened, unless=unless)

    @rule(really=RARELY, sent=st.booleans())
    def expire(self, really: bool, sent: bool) -> None:
        """Admitted like an operation; where the acquirer must be told, its void is a fact of its own."""
        paid = self.books.payment
        if not really or not paid.status.capturable or not paid.idle:
            return
        opened = self.books.open(OperationKind.EXPIRE, amount_minor=paid.uncaptured_minor)
        if not sent:
            self.books.apply(
                opened.id, lambda paid, of: succeed(paid, of, None, reply=None, now=self.books.now)
            )

    @rule(which=ANY, attempt=ANY, fact=FACTS)
    def fact(self, which: int, attempt: int, fact: Fact) -> None:
        operation_id = self._one(which)
        self.books.record(operation_id, attempt % len(self.books.attempts[operation_id]) + 1, fact)

    @rule(expires_in_h=st.sampled_from([1, 8]))
    def ask_the_customer(self, expires_in_h: int) -> None:
        """What an asynchronous rail answers first; each fact that is recorded lets an hour go by."""
        asked = {"type": "redirect", "url": "https://bank.example"}
        until = self.books.now + timedelta(hours=expires_in_h, minutes=1)
        number = len(self.books.attempts[self.books.payment.id])
        self.books.record(self.books.payment.id, number, ActionRequired("acq-1", asked, until))

    @rule(amount_minor=AMOUNTS)
    def capture_and_be_accepted(self, amount_minor: int | None) -> None:
        """It stands aside: what is asked for afterwards must fit beside it."""
        opened = self._admitted(refund=False, amount_minor=amount_minor)
        if opened is not None:
            self.books.record(opened.id, 1, Accepted("acq-1"))

    @rule(which=ANY)
    def approve(self, which: int) -> None:
        self._approve(self.books.operations[self._one(which)], unless=False)

    @rule(which=ANY)
    def answer_with_202(self, which: int) -> None:
        for _ in range(2):
            self.books.apply(self._one(which), lambda paid, of: defer(paid, of, None, now=self.books.now))

    @rule(which=ANY)
    def call_an_operator(self, which: int) -> None:
        for _ in range(2):
            self.books.apply(
                self._one(which), lambda paid, of: review(paid, of, reason="unknown", now=self.books.now)
            )

    @rule(amount_minor=AMOUNTS, stated_minor=st.sampled_from([1, 250, 1_000]), refund=st.booleans())
    def succeed_late_and_ask_for_the_rest(
        self, amount_minor: int | None, stated_minor: int, refund: bool
    ) -> None:
        """What is admitted afterwards must fit beside what the acquirer stated: `Books.open` checks it."""
        late = self._admitted(refund=refund, amount_minor=amount_minor)
        if late is None:
            return
        for fact in (Declined(DeclineCode.GENERIC_DECLINE), Approved("acq-late", stated_minor, "INR")):
            self.books.record(late.id, 1, fact)
        self._admitted(refund=refund, amount_minor=None)

    @rule(which=ANY, called=st.booleans())
    def undo_a_late_success(self, which: int, called: bool) -> None:
        """A reversal that we make ourselves is confirmed, perhaps only after an operator was called."""
        operations = self.books.operations
        ours = [id_ for id_ in self.books.cases.values() if operations[id_].status is PENDING]
        if not ours:
            return
        case_id = ours[which % len(ours)]
        if called:
            self.books.apply(case_id, lambda paid, of: review(paid, of, reason="unknown", now=self.books.now))
        self.books.undo(case_id)

    @rule(which=ANY)
    def try_again(self, which: int) -> None:
        operation_id = self._one(which)
        pending = self.books.operations[operation_id].status is PENDING
        if pending and self.books.attempts[operation_id][-1].state is AttemptState.NOT_SENT:
            self.books.further_attempt(operation_id)

    @rule(which=ANY)
    def stop_trying(self, which: int) -> None:
        operation_id = self._one(which)
        latest = self.books.attempts[operation_id][-1]
        before = self.books.operations[operation_id]
        for _ in range(2):
            self.books.apply(
                operation_id,
                lambda paid, of: give_up(
                    paid, of, latest, code=FailureCode.NOT_PROCESSED, now=self.books.now
                ),
            )
        assert latest.state is AttemptState.NOT_SENT or self.books.operations[operation_id] == before

    @invariant()
    def everything_adds_up(self) -> None:
        self.books.check()

    @invariant()
    def a_review_is_that_of_an_operation_that_still_needs_one_or_of_a_failed_expiry(self) -> None:
        """What a person must decide stays; nobody has decided anything yet."""
        called = [of for of in self.books.operations.values() if of.review_at]
        needed = [of for of in called if of.status is PENDING or _for_a_person(of)]
        review = self.books.payment.review
        not_confirmed = ("expiry_not_confirmed", "void_not_confirmed")
        assert review is None or needed or review["reason"] in not_confirmed

    def _admitted(self, *, refund: bool, amount_minor: int | None, final: bool = False) -> Operation | None:
        """A refund or a capture, unless it is refused."""
        kind = OperationKind.REFUND if refund else OperationKind.CAPTURE
        paid = self.books.payment
        try:
            if refund:
                amount = admit_refund(paid, amount_minor=amount_minor)
            else:
                amount = admit_capture(paid, amount_minor=amount_minor, now=self.books.now)
        except (NotAllowed, OperationInProgress):
            return None
        return self.books.open(kind, amount_minor=amount, final=final or refund)

    def _approve(self, of: Operation, *, unless: bool) -> None:
        if not unless:
            latest = len(self.books.attempts[of.id])
            stage = Stage.CAPTURED if of.kind is OperationKind.AUTHORIZE else None
            self.books.record(of.id, latest, Approved("acq-1", of.amount_minor, of.currency, stage=stage))

    def _one(self, which: int) -> str:
        """One of the operations: for even numbers one that is pending, if there is one."""
        every = list(self.books.attempts)
        pending = [id_ for id_ in every if self.books.operations[id_].status is PENDING]
        among = every if which % 2 or not pending else pending
        return among[which // 2 % len(among)]


def _for_a_person(of: Operation) -> bool:
    """A late success that nobody undoes, or what was given up, captured, and not refunded."""
    failed = of.status is OperationStatus.FAILED
    return failed and (of.kind is OperationKind.REVERSE or of.ends_operation is not None)


PaymentMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30)
