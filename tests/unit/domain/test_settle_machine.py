"""Random operations and random facts in random order: what holds of a payment holds at every step."""

from payonce.domain.facts import Unsent
from payonce.domain.operations import Abilities, OperationStatus
from tests.unit.domain.machine import PaymentMachine


def test_the_rail_captures_before_our_own_capture_was_sent() -> None:
    """Found by the machine: the create is answered by the outcome of a capture that ends beside it."""
    machine = PaymentMachine()
    machine.create(
        capture_method="automatic",
        undecided=False,
        captured_minor=0,
        abilities=Abilities(reversible=False, captures_itself=False),
        stage=None,
    )
    machine.fact(which=0, attempt=0, fact=Unsent("not_sent"))
    machine.approve(which=1)
    create, own = machine.books.operations.values()
    assert (create.status, own.status) == (OperationStatus.SUCCEEDED, OperationStatus.SUCCEEDED)
    assert list(machine.books.answers) == [create.id]


TestAPaymentWhateverHappens = PaymentMachine.TestCase
