"""A payment that the acquirer opened again has its workflow again, and nothing says that a recording was lost."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import structlog
from temporalio.client import WorkflowExecutionStatus
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from payonce.domain.facts import Stage, Undone
from payonce.domain.operations import OperationKind
from payonce.domain.payment import Payment, PaymentStatus
from tests.storage.ledger import Ledger, subject
from tests.storage.sweeping import sweeper_of
from tests.support.rows import approval

K, S = OperationKind, PaymentStatus
AGAIN = WorkflowIDReusePolicy.ALLOW_DUPLICATE


@dataclass
class Temporal:
    """Every payment's last run has completed, until it is started again."""

    running: set[str] = field(default_factory=set)
    started: list[tuple[str, WorkflowIDReusePolicy]] = field(default_factory=list)
    _asked: str = ""

    async def start_workflow(
        self,
        _function: Any,
        *,
        id: str,  # its name
        id_reuse_policy: WorkflowIDReusePolicy,
        **_options: Any,
    ) -> None:
        if id in self.running:
            raise WorkflowAlreadyStartedError(id, "PaymentWorkflow")
        self.running.add(id)
        self.started.append((id, id_reuse_policy))

    def get_workflow_handle(self, id: str) -> "Temporal":  # its name
        self._asked = id
        return self

    async def signal(self, *_args: Any, **_options: Any) -> None:
        return None

    @property
    def status(self) -> WorkflowExecutionStatus:
        running = self._asked in self.running
        return WorkflowExecutionStatus.RUNNING if running else WorkflowExecutionStatus.COMPLETED

    async def describe(self, **_options: Any) -> "Temporal":
        return self

    async def list_workflows(self, _query: str, **_options: Any) -> AsyncIterator[Any]:
        for nothing in ():
            yield nothing


async def reopened(ledger: Ledger) -> Payment:
    """Its capture was taken back: it is authorized again."""
    authorized = await ledger.add_payment(S.AUTHORIZED)
    capture = await ledger.add_operation(authorized, K.CAPTURE)
    said = replace(approval(capture), stage=Stage.CAPTURED, since=(Undone("u", 1000, "INR", reason="no"),))
    await ledger.recorder().record(subject(capture), attempt=1, fact=said)
    before = "UPDATE payments SET updated_at = now() - interval '1 min' WHERE id = :id"
    await ledger.rows(before, id=authorized.id)
    now = await ledger.payment(authorized.id)
    assert (now.status, now.taken_back) == (S.AUTHORIZED, True)
    return now


def names(logs: Any) -> list[str]:
    return [entry["event"] for entry in logs if entry["event"] in ("payment_reopened", "recording_lost")]


async def test_it_runs_again_as_soon_as_its_review_is_seen(ledger: Ledger) -> None:
    payment = await reopened(ledger)
    temporal = Temporal()
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            await ledger.rows("UPDATE reviews SET sweep_at = now()")
            await sweeper_of(ledger, temporal).sweep_reviews()
    assert temporal.started.count((payment.id, AGAIN)) == 1
    assert names(logs) == ["payment_reopened"]


async def test_the_walk_starts_it_at_its_first_look_too(ledger: Ledger) -> None:
    payment = await reopened(ledger)
    temporal = Temporal()
    with structlog.testing.capture_logs() as logs:
        await sweeper_of(ledger, temporal).sweep_payments()
    assert temporal.started == [(payment.id, AGAIN)]
    assert names(logs) == ["payment_reopened"]


async def test_the_review_of_a_payment_that_stays_closed_starts_nothing_else(ledger: Ledger) -> None:
    paid = await ledger.add_payment(S.CAPTURED)
    refund = await ledger.add_operation(paid, K.REFUND)
    await ledger.recorder().review(subject(refund), reason="unknown")
    temporal = Temporal()
    await sweeper_of(ledger, temporal).sweep_reviews()
    assert [id_ for id_, _ in temporal.started] == [f"review-{refund.id}"]


@pytest.mark.parametrize("looks", [1, 2])
async def test_an_open_payment_that_nobody_took_back_is_a_recording_that_was_lost(
    ledger: Ledger, looks: int
) -> None:
    authorized = await ledger.add_payment(S.AUTHORIZED)
    temporal = Temporal()
    sweeper = sweeper_of(ledger, temporal)
    sweeper._behind_for *= 0
    with structlog.testing.capture_logs() as logs:
        for _ in range(looks):
            await sweeper.sweep_payments()
    expected = [] if looks == 1 else ["recording_lost"]
    assert names(logs) == expected
    assert [id_ for id_, _ in temporal.started] == [authorized.id] * len(expected)
