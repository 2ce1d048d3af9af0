"""Random facts about payments that a customer was asked for and that a merchant gives up: what always holds."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import initialize, rule

from payonce.domain.admission import admit_void
from payonce.domain.errors import NotAllowed, OperationInProgress
from payonce.domain.facts import Stage
from payonce.domain.operations import Abilities, OperationKind, OperationStatus
from tests.support.rows import payment
from tests.unit.domain.bookkeeping import Books
from tests.unit.domain.machine import PaymentMachine


class LeavingMachine(PaymentMachine):
    """As for any payment; its customer is asked first, and a void comes as soon as there is one."""

    @initialize(
        capture_method=st.sampled_from(["manual", "automatic"]),
        undecided=st.booleans(),
        captured_minor=st.just(0),
        abilities=st.builds(Abilities, reversible=st.booleans(), captures_itself=st.booleans()),
        stage=st.none(),
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
        self.books.open(OperationKind.AUTHORIZE, amount_minor=1_000)
        self.ask_the_customer(expires_in_h=1)
        if not undecided:
            self.give_up()

    @rule()
    def give_up(self) -> None:
        paid = self.books.payment
        asked = self.books.attempts[paid.id][-1].asked
        try:
            amount = admit_void(paid, asked=asked)
        except (NotAllowed, OperationInProgress):
            return
        self.books.open(OperationKind.VOID, amount_minor=amount)

    def teardown(self) -> None:
        """Once the authorization and our refund are decided, so is the void that waited for them."""
        waits = {OperationKind.AUTHORIZE, OperationKind.REFUND}
        by_id = self.books.operations
        for of in by_id.values():
            if of.ends_operation is not None and of.status is not OperationStatus.PENDING:
                assert by_id[of.ends_operation].status is of.status
        pending = [of for of in by_id.values() if of.status is OperationStatus.PENDING]
        for void in (of for of in pending if of.kind is OperationKind.VOID):
            waited_for = [of for of in pending if of.kind in waits]
            assert waited_for or self.books.payment.status.capturable, void


LeavingMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30)
TestAPaymentThatIsGivenUp = LeavingMachine.TestCase
