"""A capture that the acquirer has accepted, in Postgres: another one is sent beside it, and what ends it waits."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from psycopg.errors import UniqueViolation
from temporalio.client import WorkflowExecutionStatus

from activities.messages import InquiryDue, OperationRequest, Settled
from api.admission.hand_over import Carrier
from api.admission.transaction import Admitted
from payonce.domain.facts import Accepted, NotKnown
from payonce.domain.operations import Operation, OperationKind, OperationStatus
from payonce.domain.payment import Payment, PaymentStatus
from tests.storage.acting import FakeConnector, Process
from tests.storage.expiring import OVER, cases
from tests.storage.ledger import Ledger, runtime_of
from tests.support.rows import approval
from workers.sweeper import Sweeper

K, S, O = OperationKind, PaymentStatus, OperationStatus


@pytest.fixture
def connector() -> FakeConnector:
    return FakeConnector({"send": Accepted("acq-1")})


@pytest.fixture
def process(shared_ledger: Ledger, connector: FakeConnector) -> Process:
    return Process(shared_ledger, connector)


async def _aside(process: Process, paid: Payment, amount_minor: int) -> Operation:
    of = await process.ledger.add_operation(
        paid, K.CAPTURE, claimed=False, amount_minor=amount_minor, final=False
    )
    settled = await process.attempt(of)
    assert isinstance(settled, Settled)
    assert OperationRequest(paid.id, of.id, K.CAPTURE) in settled.accepted
    assert settled.open
    return of


async def test_another_is_sent_beside_it_and_each_ends_by_itself(
    process: Process, connector: FakeConnector
) -> None:
    ledger, paid = process.ledger, await process.ledger.add_payment(S.AUTHORIZED)
    first = await _aside(process, paid, 300)
    second = await _aside(process, paid, 500)
    assert [name for name, _ in connector.calls] == ["send", "send"]
    now = await ledger.payment(paid.id)
    assert (now.capturable_minor, now.pending_operation) == (200, None)
    assert [one["id"] for one in now.accepted] == [first.id, second.id]
    for of in (second, first):
        connector.answers["inquire"] = approval(of)
        assert isinstance(await process.resolve("inquire", of), Settled)
    now = await ledger.payment(paid.id)
    assert (now.status, now.amount_captured_minor, now.accepted_captures) == (S.PARTIALLY_CAPTURED, 800, None)
    assert [name for _, name in await ledger.events(paid.id)] == ["payment.partially_captured"] * 2


async def test_the_run_that_was_asked_is_done_and_the_one_that_carries_it_on_is_not(
    process: Process, connector: FakeConnector
) -> None:
    paid = await process.ledger.add_payment(S.AUTHORIZED)
    of = await _aside(process, paid, 300)
    connector.answers["inquire"] = NotKnown()
    assert isinstance(await process.attempt(of), Settled)
    assert isinstance(await process.resolve("inquire", of), Settled)
    due = await process.resolve("inquire", of, aside=True)
    assert isinstance(due, InquiryDue)
    assert [name for name, _ in connector.calls].count("send") == 1


async def test_an_authorization_whose_time_is_over_waits_for_it(process: Process) -> None:
    ledger, paid = process.ledger, await process.ledger.add_payment(S.AUTHORIZED, capture_before=OVER)
    of = await _aside(process, paid, 300)
    assert await cases(ledger).admit_expiry(paid.id) is None
    assert (await ledger.operation(of.id)).status is O.PENDING
    assert (await ledger.payment(paid.id)).status is S.AUTHORIZED


async def test_postgres_lets_one_alone_be_waited_for(process: Process) -> None:
    paid = await process.ledger.add_payment(S.AUTHORIZED)
    await _aside(process, paid, 300)
    await process.ledger.add_operation(paid, K.CAPTURE, amount_minor=200, final=False)
    with pytest.raises(UniqueViolation, match="operations_one_blocking_key"):
        await process.ledger.add_operation(paid, K.VOID)


async def test_an_answer_that_says_another_amount_is_undone_and_held_meanwhile(
    process: Process, connector: FakeConnector
) -> None:
    ledger, paid = process.ledger, await process.ledger.add_payment(S.AUTHORIZED)
    of = await _aside(process, paid, 300)
    connector.answers["inquire"] = replace(approval(of), amount_minor=400)
    await process.resolve("inquire", of)
    now = await ledger.payment(paid.id)
    assert (now.capturable_minor, len(now.accepted)) == (600, 1)


@dataclass
class Done:
    """A Temporal whose runs go on, and say of each update that it is done."""

    updates: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    status = WorkflowExecutionStatus.RUNNING

    def get_workflow_handle(self, _id: str) -> "Done":
        return self

    async def describe(self, **_options: Any) -> "Done":
        return self

    async def execute_update(self, _update: Any, _request: Any, *, id: str, **_options: Any) -> None:
        self.updates.append(id)

    async def start_workflow(self, *_args: Any, id: str, **_options: Any) -> None:
        self.started.append(id)


@pytest.mark.parametrize("aside", [True, False])
async def test_an_update_that_is_done_is_no_sign_that_postgres_forgot_it(
    process: Process, aside: bool
) -> None:
    """Neither for whoever admitted it, nor for the sweeper; of one that does not stand aside it is."""
    ledger, paid = process.ledger, await process.ledger.add_payment(S.AUTHORIZED)
    of = await ledger.add_operation(paid, K.CAPTURE, claimed=False, amount_minor=300, final=not aside)
    await process.attempt(of)
    temporal: Any = Done()
    await Carrier(runtime_of(ledger), temporal).hand_over(Admitted(await ledger.payment(paid.id), of))
    sweeper = Sweeper(runtime_of(ledger), temporal, behind_for=timedelta(0))
    for _ in range(2):
        await ledger.rows("UPDATE operations SET sweep_at = now() WHERE id = :id", id=of.id)
        await sweeper.sweep(K.CAPTURE)
    assert bool(temporal.started) is not aside
