"""All that an acquirer can say of a payment's operations, whenever, recorded in packed rows of Postgres.

Merchants capture, void and refund; the acquirer does it, declines it, takes it and decides later, mistakes the
amount, does it twice, takes it back; answers are lost, come late, twice, at once, or out of order; others act in the
dashboard; banks dispute; time goes by; people decide. After each step `invariants` hold, and nothing that an acquirer
can say, or a person, ends in an error. When all is said and decided, nothing is pending or in review; and where the
people were right, the books are the acquirer's ledger.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from payonce.domain import acceptance, reviews
from payonce.domain.admission import admit_capture, admit_refund, admit_void
from payonce.domain.errors import (
    DisputeNotOpen,
    InvalidRequest,
    NotAllowed,
    OperationInProgress,
    PaymentInReview,
)
from payonce.domain.facts import FraudWarned, Stage, Unknown, Unsent
from payonce.domain.operations import AttemptState, Operation, OperationKind, OperationStatus, Subject
from payonce.domain.payment import PaymentStatus
from payonce.domain.reviews import Question
from payonce.storage import disputes
from tests.storage.ledger import IDS, Ledger, open_ledger, subject
from tests.storage.recording.acquirer import UNDECIDED, Dispute, How, Request, There
from tests.storage.recording.persons import decide_somehow, decide_truly
from tests.storage.recording.walking import ACCOUNT, Rail, Reader, Walk

K, O, S, A, Q = OperationKind, OperationStatus, PaymentStatus, AttemptState, Question
ANY = st.integers(0, 20)
AMOUNTS = st.sampled_from([None, None, 250, 600])
HOW = st.sampled_from([How.DOES, How.DOES, How.DOES, *How])
REFUSALS = (NotAllowed, OperationInProgress, PaymentInReview)
ROUNDS_MAX = 30
LISTED = (K.AUTHORIZE, K.CAPTURE, K.VOID, K.REFUND)
VERDICTS_MAX = 3  # of one question
BANK = st.sampled_from(
    [
        ("inquiry", "needs_response", 0),
        ("chargeback", "needs_response", 300),
        ("chargeback", "under_review", 300),
        ("chargeback", "won", 0),
        ("chargeback", "lost", 300),
        ("pre_arbitration", "needs_response", 200),
        ("inquiry", "closed", 0),
        ("arbitration", "lost", 700),
    ]
)


class OutcomesMachine(RuleBasedStateMachine):
    """Rules that find nothing to do do nothing."""

    ledger: ClassVar[Ledger]
    loop: ClassVar[asyncio.Runner]
    reader: ClassVar[Reader]

    @initialize(
        automatic=st.booleans(),
        held=st.sampled_from([False, False, False, True]),
        rail=st.builds(Rail, st.sampled_from(["all", "payments", "none"]), st.booleans(), st.booleans()),
        honest=st.sampled_from([True, True, False]),
        how=HOW,
        only_authorized=st.booleans(),
        answered=st.sampled_from([True, True, False]),
    )
    def create(
        self,
        automatic: bool,
        held: bool,
        rail: Rail,
        honest: bool,
        how: How,
        only_authorized: bool,
        answered: bool,
    ) -> None:
        self.honest = honest
        self.walk = Walk(self.ledger, self.loop, self.reader, rail)
        request = self.walk.begin(automatic=automatic, held=held)
        self.walk.acquirer.arrives(request, how)
        if request.there is There.DONE and only_authorized:
            request.stage = Stage.AUTHORIZED
            request.words.clear()
        if answered:
            self.walk.say(request)

    # What merchants ask for.

    @rule(amount=AMOUNTS, final=st.booleans(), sent=st.booleans(), how=HOW)
    def capture(self, amount: int | None, final: bool, sent: bool, how: How) -> None:
        try:
            admitted = admit_capture(self.walk.payment, amount_minor=amount, now=datetime.now(UTC))
        except REFUSALS:
            return
        self._carry_out(self.walk.admit(K.CAPTURE, admitted, final=final), sent, how)

    @rule(amount=AMOUNTS, sent=st.booleans(), how=HOW)
    def refund(self, amount: int | None, sent: bool, how: How) -> None:
        try:
            admitted = admit_refund(self.walk.payment, amount_minor=amount)
        except REFUSALS:
            return
        self._carry_out(self.walk.admit(K.REFUND, admitted), sent, how)

    @rule(sent=st.booleans(), how=HOW)
    def void(self, sent: bool, how: How) -> None:
        create = self.walk.books.latest(self.walk.id)
        try:
            admitted = admit_void(self.walk.payment, asked=create is not None and create.asked)
        except REFUSALS:
            return
        self._carry_out(self.walk.admit(K.VOID, admitted), sent, how)

    @rule(which=ANY, how=HOW)
    def accept_a_dispute(self, which: int, how: How) -> None:
        if not self.walk.acquirer.disputes:
            return
        theirs = _one(self.walk.acquirer.disputes, which)
        known = self.walk.run(self._dispute(theirs))
        of = [one for one in self.walk.operations if known is not None and one.dispute_id == known.id]
        if known is None:
            return
        try:
            under_way = any(one.status is O.PENDING for one in of)
            acceptance.admit(known, under_way=under_way, supported=True)
        except (DisputeNotOpen, InvalidRequest):
            return
        self._carry_out(self.walk.admit(K.ACCEPT, known.amount_minor, dispute_id=known.id), True, how)

    # What becomes of it.

    @rule(which=ANY, how=HOW, answered=st.booleans())
    def send(self, which: int, how: How, answered: bool) -> None:
        waiting = [of for of in self._pending() if self._is_unsent(of)]
        if waiting:
            self.walk.send(_one(waiting, which), how, answered=answered)

    @rule(which=ANY, how=HOW, answered=st.booleans())
    def arrive(self, which: int, how: How, answered: bool) -> None:
        request = self._request(which, *UNDECIDED)
        if request is not None:
            self.walk.acquirer.arrives(request, how)
            if answered:
                self.walk.say(request)

    @rule(which=ANY, turns=ANY)
    def say(self, which: int, turns: int) -> None:
        request = self._request(which)
        if request is not None:
            self.walk.say(request, turns % (len(request.history) + 1))

    @rule(which=ANY, word=ANY)
    def say_what_was_so_before(self, which: int, word: int) -> None:
        request = self._request(which)
        if request is not None and request.words:
            self.walk.tell(request, _one(request.words, word))

    @rule(one=ANY, other=ANY, words=st.tuples(ANY, ANY))
    def say_two_things_at_once(self, one: int, other: int, words: tuple[int, int]) -> None:
        both = [(self._request(which), word) for which, word in zip((one, other), words, strict=True)]
        telling = [
            self.walk.telling(of, _one(of.words, word)) for of, word in both if of is not None and of.words
        ]
        self.walk.recorded(_together(telling))

    @rule(which=ANY, known=st.booleans())
    def lose_an_answer(self, which: int, known: bool) -> None:
        request = self._request(which)
        if request is not None:
            arrived = known and request.there not in (There.ON_ITS_WAY, There.LOST)
            self.walk.tell(request, Unknown("timeout", request.reference if arrived else None))

    @rule(which=ANY)
    def send_nothing(self, which: int) -> None:
        request = self._request(which, There.ON_ITS_WAY)
        if request is not None:
            request.there = There.LOST
            self.walk.tell(request, Unsent())

    @rule(which=ANY, late=st.booleans())
    def conclude(self, which: int, late: bool) -> None:
        """It is not known at the acquirer when its time is over; it may arrive all the same."""
        request = self._request(which, There.ON_ITS_WAY)
        if request is not None and self.walk.is_in_doubt(request):
            self.walk.conclude(request)
            request.there = There.ON_ITS_WAY if late else request.there
            if not late and request.there is There.ON_ITS_WAY:
                request.there = There.LOST

    @rule(which=ANY)
    def reverse(self, which: int) -> None:
        marked = [of for of in self.walk.books.attempts if of.state is A.REVERSING]
        if marked:
            self.walk.reverse(self.walk.requests_of(_one(marked, which).reference)[0])

    @rule(which=ANY)
    def undo_a_late_success(self, which: int) -> None:
        cases = [of for of in self._pending() if of.kind is K.REVERSE and of.sent_as is None]
        if cases:
            self.walk.undo_late(_one(cases, which))

    @rule(which=ANY)
    def wait_no_longer(self, which: int) -> None:
        self.walk.recorded(self.ledger.recorder().defer(subject(_one(self.walk.operations, which))))

    @rule(which=ANY)
    def give_up(self, which: int) -> None:
        self.walk.give_up(_one(self.walk.operations, which))

    @rule(which=ANY)
    def call_a_person(self, which: int) -> None:
        if pending := self._pending():
            self.walk.call(_one(pending, which))

    @rule(which=ANY, how=ANY)
    def decide(self, which: int, how: int) -> None:
        """Who is right says nothing of what the acquirer has not said to the end."""
        waiting = self._in_review()
        if not self.honest and waiting:
            decide_somehow(self.walk, _one(waiting, which), how)
        waiting = [of for of in waiting if reviews.question(of) not in (Q.UNDONE, Q.FOREIGN)]
        if self.honest and waiting:
            decide_truly(self.walk, _one(waiting, which), rejects=bool(how % 2))

    # What time, the acquirer, its customers and others do.

    @rule(how=HOW, sent=st.booleans())
    def let_it_expire(self, how: How, sent: bool) -> None:
        if self.walk.payment.status.capturable:
            self.walk.end_window()
            self.walk.expire()
            for of in self._pending():
                if of.kind is K.EXPIRE and self._is_unsent(of):
                    self._carry_out(of, sent, how)

    @rule(which=ANY)
    def escalate(self, which: int) -> None:
        if waiting := self._in_review():
            self.walk.escalate(_one(waiting, which))

    @rule(which=ANY)
    def take_back(self, which: int) -> None:
        request = self._request(which, There.DONE)
        if request is not None:
            self.walk.acquirer.takes_back(request)

    @rule(which=ANY)
    def do_again(self, which: int) -> None:
        request = self._request(which, There.DONE)
        if request is not None:
            self.walk.acquirer.does_again(request)

    @rule(which=ANY, answered=st.booleans())
    def do_it_twice(self, which: int, answered: bool) -> None:
        """Once a person has said that it was done, another reference of the acquirer's may be a typing error."""
        request = self._request(which, There.DONE)
        said = request is not None and self.walk.books.operations[request.operation_id].decided_at
        twin = None if request is None or said else self.walk.acquirer.does_twice(request)
        if twin is not None and answered:
            self.walk.say(twin)

    @rule(
        which=ANY,
        what=st.sampled_from(["capture", "refund", "void"]),
        amount=st.sampled_from([250, 600, 1000]),
        told=st.booleans(),
    )
    def act_in_the_dashboard(self, which: int, what: str, amount: int, told: bool) -> None:
        of = self._request(which, There.DONE, kind=K.AUTHORIZE)
        if of is not None:
            self.walk.acquirer.dashboard(of, what, amount)
            if told:
                self.walk.say(of)

    @rule(which=ANY)
    def capture_by_the_rail(self, which: int) -> None:
        of = self._request(which, There.DONE, kind=K.AUTHORIZE)
        if of is not None:
            self.walk.acquirer.captures_itself(of)

    @rule()
    def leave(self) -> None:
        self.walk.end_asking()

    @rule(which=ANY, there=st.sampled_from([There.EXPIRED, There.CANCELLED, There.DONE]))
    def act_as_the_customer(self, which: int, there: There) -> None:
        request = self._request(which, There.ASKS)
        if request is None:
            return
        if there is There.DONE:
            self.walk.acquirer.arrives(request, How.DOES)
        request.there = there
        request.keep_word()
        self.walk.say(request)

    @rule(which=ANY, step=BANK, new=st.booleans(), word=ANY)
    def ask_the_money_back(self, which: int, step: tuple[str, str, int], new: bool, word: int) -> None:
        of = self._request(which, There.DONE, kind=K.AUTHORIZE)
        if of is None:
            return
        theirs = self.walk.acquirer.disputes
        if new or not theirs:
            theirs.append(Dispute(f"dispute-{self.walk.acquirer.number()}-{of.call.reference}", of))
            which = len(theirs) - 1
        dispute = _one(theirs, which)
        dispute.goes(*step)
        self.walk.hear(dispute, _one(dispute.words, word))

    @rule()
    def suspect_a_fraud(self) -> None:
        of = Subject(self.walk.id, self.walk.id)
        self.walk.recorded(self.ledger.recorder().hear(of, attempt=1, said=FraudWarned("w")))

    @rule(which=ANY)
    def miss(self, which: int) -> None:
        """Asked again, the acquirer does not know what counts as done, and should be in its list."""
        request = self._request(which, There.DONE)
        listed = request is not None and self.walk.books.operations[request.operation_id].kind in LISTED
        if request is not None and listed and (not self.honest or self.walk.payment.idle):
            of = Subject(self.walk.id, request.operation_id)
            self.walk.recorded(self.ledger.recorder().miss(of, attempt=request.number))

    def teardown(self) -> None:
        if not hasattr(self, "walk"):
            return
        for round_ in range(ROUNDS_MAX):
            before = self.walk.books
            self._say_all(arrives=round_ > 2)
            for of in self._pending():
                self._finish(of, patient=round_ < 3)
            for of in self._in_review():
                if round_ > 1 or reviews.question(of) not in (Q.UNDONE, Q.FOREIGN):
                    self._decide(of)
            self.walk.expire()
            if self.walk.books == before and round_ > 3:
                break
        self._check_end()

    def _say_all(self, *, arrives: bool) -> None:
        self.walk.settle_at_the_acquirer(arrives=arrives)
        for request in list(self.walk.acquirer.requests):
            self.walk.say(request)
            if request.there is There.LOST and self.walk.is_in_doubt(request):
                self.walk.conclude(request)
        for dispute in self.walk.acquirer.disputes:
            self.walk.hear(dispute, dispute.words[-1])

    def _finish(self, of: Operation, *, patient: bool) -> None:
        """As far as it does not end with another operation; what says nothing is for a person in the end."""
        latest = self.walk.books.latest(of.id)
        if of.kind is K.REVERSE and of.sent_as is None:
            self.walk.undo_late(of)
        elif self._is_unsent(of) or (latest is not None and latest.state is A.NOT_PROCESSED):
            pending = self.walk.payment.pending_operation or {}
            waits = of.kind is K.VOID and (self.walk.payment.status.undecided or "ended_by" in pending)
            if self.walk.claim(of) is None and not waits:
                self.walk.give_up(of)
        elif latest is not None and latest.state is A.REVERSING:
            self.walk.reverse(self.walk.requests_of(latest.reference)[0])
        elif not patient:
            self.walk.call(of)

    def _decide(self, of: Operation) -> None:
        of = self.walk.books.operations[of.id]
        if not reviews.is_open(of):
            return  # another decision ended it
        if self.honest:
            decide_truly(self.walk, of)
        else:
            any(decide_somehow(self.walk, of, which) for which in range(VERDICTS_MAX))

    def _check_end(self) -> None:
        paid, acquirer = self.walk.payment, self.walk.acquirer
        assert not self._pending()
        assert not self._in_review()
        assert paid.idle
        assert not paid.status.undecided
        assert paid.amount_capture_undecided_minor == paid.amount_refund_undecided_minor == 0
        assert paid.amount_disputed_minor == sum(one.withdrawn_minor for one in acquirer.disputes)
        if not self.honest:
            return
        created = [one for one in acquirer.requests if one.kind is K.AUTHORIZE]
        counts = paid.status is not S.FAILED
        counted = [one for one in created if counts and one.reference == paid.connector_reference]
        assert not any(acquirer.held(one) for one in created if one not in counted)
        for one in counted:
            there = acquirer.captured(one), acquirer.refunded(one)
            assert (paid.amount_captured_minor, paid.amount_refunded_minor) == there
            assert not paid.capturable_minor or acquirer.alive(one) or one.undone

    def _carry_out(self, of: Operation, sent: bool, how: How) -> None:
        if sent:
            self.walk.send(of, how)

    def _pending(self) -> list[Operation]:
        return [of for of in self.walk.operations if of.status is O.PENDING]

    def _in_review(self) -> list[Operation]:
        return [of for of in self.walk.operations if reviews.is_open(of)]

    def _is_unsent(self, of: Operation) -> bool:
        latest = self.walk.books.latest(of.id)
        sent = of.kind is not K.REVERSE or of.sent_as is not None
        return sent and (latest is None or latest.state is A.NOT_SENT)

    def _request(self, which: int, *there: There, kind: K | None = None) -> Request | None:
        found = [one for one in self.walk.acquirer.requests if kind in (None, one.kind)]
        found = [one for one in found if not there or one.there in there]
        return found[-1 - which % len(found)] if found else None

    async def _dispute(self, theirs: Dispute) -> Any:
        id_ = IDS.dispute(account=ACCOUNT, acquirer_id=theirs.id)
        async with self.ledger.database.transaction() as connection:
            return await connection.fetch(disputes.find(id_))


def _one(found: list[Any], which: int) -> Any:
    return found[which % len(found)]


async def _together(work: list[Any]) -> None:
    await asyncio.gather(*work)


@pytest.fixture
def opened(module_database_url: str) -> Iterator[None]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        OutcomesMachine.loop = runner
        OutcomesMachine.ledger = runner.run(
            stack.enter_async_context(open_ledger(module_database_url, packs=True))
        )
        OutcomesMachine.reader = Reader(module_database_url)
        yield
        OutcomesMachine.reader.close()
        runner.run(stack.aclose())


def test_whatever_is_said_in_whatever_order_the_books_are_the_acquirers_ledger(opened: None) -> None:
    run_state_machine_as_test(
        OutcomesMachine,
        settings=settings(
            max_examples=100,
            stateful_step_count=14,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
