"""Random operations and random facts in random order: what holds of a payment holds at every step."""

from typing import Any

import hypothesis.strategies as st
from bookkeeping import Books
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from rows import payment

from payonce.domain.errors import OperationInProgress, Refused
from payonce.domain.operations import (
    AttemptState,
    Operation,
    OperationKind,
    OperationStatus,
    admit_capture,
    admit_refund,
    admit_void,
)
from payonce.domain.outcomes import (
    Approved,
    DeclineCode,
    Declined,
    Fact,
    FailureCode,
    NotProcessed,
    Pending,
    Reversed,
    Unknown,
    Unsent,
)
from payonce.domain.settlement import defer, give_up, review, succeed

FACTS: st.SearchStrategy[Fact] = st.one_of(
    st.builds(Approved, st.just("acq-2"), st.integers(1, 2_000), st.sampled_from(["INR", "USD"])),
    st.builds(Declined, st.sampled_from(DeclineCode)),
    st.just(Pending()),
    st.just(Unsent()),
    st.just(Unknown("timeout")),
    st.just(Reversed()),
    st.builds(NotProcessed, st.sampled_from(FailureCode)),
)
AMOUNTS = st.none() | st.sampled_from([1, 300, 400, 1_000, 1_001]) | st.integers(1, 1_200)
PENDING = OperationStatus.PENDING


class PaymentMachine(RuleBasedStateMachine):
    """Admissions under the lock, facts from anywhere; `Books` checks every step."""

    opened: Bundle[str] = Bundle("opened")

    def __init__(self) -> None:
        super().__init__()
        self.books = Books(payment())

    @initialize(
        target=opened, capture_method=st.sampled_from(["manual", "automatic"]), approved=st.booleans()
    )
    def create(self, capture_method: str, approved: bool) -> str:
        self.books = Books(payment(capture_method=capture_method))
        authorization = self.books.open(OperationKind.AUTHORIZE, amount_minor=1_000)
        if approved:
            self.books.record(authorization.id, 1, _approval(authorization))
        return authorization.id

    @rule(target=opened, amount_minor=AMOUNTS, final=st.booleans())
    def capture(self, amount_minor: int | None, final: bool) -> Any:
        try:
            amount = admit_capture(self.books.payment, amount_minor=amount_minor, now=self.books.now)
        except (Refused, OperationInProgress):
            return multiple()
        return self.books.open(OperationKind.CAPTURE, amount_minor=amount, final=final).id

    @rule(target=opened)
    def void(self) -> Any:
        try:
            amount = admit_void(self.books.payment)
        except (Refused, OperationInProgress):
            return multiple()
        return self.books.open(OperationKind.VOID, amount_minor=amount).id

    @rule(target=opened, amount_minor=AMOUNTS)
    def refund(self, amount_minor: int | None) -> Any:
        try:
            amount = admit_refund(self.books.payment, amount_minor=amount_minor)
        except Refused:
            return multiple()
        return self.books.open(OperationKind.REFUND, amount_minor=amount).id

    @rule(target=opened, sent=st.booleans())
    def expire(self, sent: bool) -> Any:
        """Admitted like an operation; where the acquirer must be told, its void is a fact of its own."""
        if not self.books.payment.status.capturable or self.books.payment.pending_operation is not None:
            return multiple()
        opened = self.books.open(OperationKind.EXPIRE, amount_minor=self.books.payment.capturable_minor)
        if not sent:
            self.books.apply(
                opened.id, lambda paid, of: succeed(paid, of, None, reply=None, now=self.books.now)
            )
        return opened.id

    @rule(operation_id=opened)
    def approve(self, operation_id: str) -> None:
        latest = len(self.books.attempts[operation_id])
        self.books.record(operation_id, latest, _approval(self.books.operations[operation_id]))

    @rule(operation_id=opened, fact=FACTS, which=st.integers(0, 3))
    def fact(self, operation_id: str, fact: Fact, which: int) -> None:
        self.books.record(operation_id, which % len(self.books.attempts[operation_id]) + 1, fact)

    @rule(operation_id=opened)
    def answer_with_202(self, operation_id: str) -> None:
        for _ in range(2):
            self.books.apply(operation_id, lambda paid, of: defer(paid, of, None, now=self.books.now))

    @rule(operation_id=opened)
    def call_an_operator(self, operation_id: str) -> None:
        for _ in range(2):
            self.books.apply(
                operation_id, lambda paid, of: review(paid, of, reason="unknown", now=self.books.now)
            )

    @rule(operation_id=opened)
    def try_again(self, operation_id: str) -> None:
        pending = self.books.operations[operation_id].status is PENDING
        if pending and self.books.attempts[operation_id][-1].state is AttemptState.NOT_SENT:
            self.books.further_attempt(operation_id)

    @rule(operation_id=opened)
    def stop_trying(self, operation_id: str) -> None:
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
    def nothing_is_in_review_unnoticed(self) -> None:
        """What is shown is the review of an operation that is still pending."""
        reviewed = {
            str(of.review_at) for of in self.books.operations.values() if of.review_at and of.status is PENDING
        }
        assert self.books.payment.review is None or reviewed


def _approval(of: Operation) -> Approved:
    return Approved("acq-1", of.amount_minor, of.currency)


PaymentMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestAPaymentWhateverHappens = PaymentMachine.TestCase
