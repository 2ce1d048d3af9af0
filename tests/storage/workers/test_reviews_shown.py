"""Each open review has a workflow, whoever terminates it; an ended one's workflow is told."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import structlog
from temporalio.client import RPCError
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCStatusCode
from temporalio.testing import ActivityEnvironment

from activities.messages import OperationRequest
from activities.review_messages import OpenReview, Over, ReviewRequest, ReviewStanding
from activities.reviewing import Reviewing
from payonce import metrics
from payonce.domain.errors import NotFound
from payonce.domain.facts import Approved, DeclineCode, Declined, Foreign, Stage, Undone
from payonce.domain.operations import Operation, OperationKind
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.reviews import ReviewReason
from payonce.standing import Cases
from tests.storage.ledger import IDS, Ledger, subject
from tests.storage.sweeping import sweeper_of
from tests.support.rows import approval
from workflows.review import REVIEW_CHANGED

K, S, R = OperationKind, PaymentStatus, ReviewReason
DECLINED = Declined(DeclineCode.GENERIC_DECLINE)


@dataclass
class Temporal:
    """Has the runs that it was asked to start, until they end; `error` answers everything."""

    running: set[str] = field(default_factory=set)
    started: list[dict[str, Any]] = field(default_factory=list)
    signals: list[tuple[str, str]] = field(default_factory=list)
    error: Exception | None = None
    _asked: str = ""

    async def start_workflow(self, _function: Any, *, id: str, **options: Any) -> None:  # its name
        if self.error is not None:
            raise self.error
        if id in self.running:
            raise WorkflowAlreadyStartedError(id, "ReviewWorkflow")
        self.running.add(id)
        self.started.append({"id": id, **options})

    def get_workflow_handle(self, id: str) -> "Temporal":  # its name
        self._asked = id
        return self

    async def signal(self, name: str, **_options: Any) -> None:
        if self.error is not None:
            raise self.error
        if self._asked not in self.running:
            raise RPCError("not found", RPCStatusCode.NOT_FOUND, b"")
        self.signals.append((self._asked, name))


async def in_review(ledger: Ledger) -> tuple[Payment, Operation]:
    paid = await ledger.add_payment(S.CAPTURED)
    refund = await ledger.add_operation(paid, K.REFUND, amount_minor=99)
    await ledger.recorder().review(subject(refund), reason="unknown")
    return paid, refund


async def sweep(ledger: Ledger, temporal: Any) -> None:
    """Every review in the queue is looked at, whatever its time."""
    await ledger.rows("UPDATE reviews SET sweep_at = now() WHERE sweep_at IS NOT NULL")
    await sweeper_of(ledger, temporal).sweep_reviews()


async def end(ledger: Ledger, of: Operation) -> None:
    await ledger.recorder().record(subject(of), attempt=1, fact=DECLINED)


async def test_an_open_review_gets_a_workflow_that_is_found_by_its_reason(ledger: Ledger) -> None:
    paid, refund = await in_review(ledger)
    temporal = Temporal()
    await sweeper_of(ledger, temporal).sweep_reviews()
    (run,) = temporal.started
    assert run["id"] == f"review-{refund.id}"
    assert run["args"] == [ReviewRequest(paid.id, refund.id, "undecided")]
    found = {pair.key.name: pair.value for pair in run["search_attributes"].search_attributes}
    assert found.pop("PaymentMethod") == "card"
    assert found == {
        "MerchantId": paid.merchant_id,
        "PaymentId": paid.id,
        "Connector": paid.connector,
        "Currency": "INR",
        "AmountMinor": paid.amount_minor,
        "ReviewReason": "undecided",
    }
    assert run["static_summary"] == (
        f"In review: refund of 0.99 INR, {paid.id}: the acquirer gave no definite answer in time"
    )
    assert run["id_reuse_policy"] is WorkflowIDReusePolicy.ALLOW_DUPLICATE


async def test_one_workflow_is_enough_and_a_terminated_one_is_started_again(ledger: Ledger) -> None:
    _, refund = await in_review(ledger)
    temporal = Temporal()
    for _ in range(3):
        await sweep(ledger, temporal)
    assert len(temporal.started) == 1
    assert temporal.signals == []
    temporal.running.clear()
    await sweep(ledger, temporal)
    assert [run["id"] for run in temporal.started] == [f"review-{refund.id}"] * 2


async def test_a_workflow_is_told_once_that_its_review_ended(ledger: Ledger) -> None:
    _, refund = await in_review(ledger)
    temporal = Temporal()
    await sweep(ledger, temporal)
    await end(ledger, refund)
    for _ in range(2):
        await sweep(ledger, temporal)
    assert temporal.signals == [(f"review-{refund.id}", REVIEW_CHANGED)]
    assert len(temporal.started) == 1


async def test_a_review_that_ended_before_it_was_seen_has_no_workflow_and_needs_none(ledger: Ledger) -> None:
    _, refund = await in_review(ledger)
    await end(ledger, refund)
    temporal = Temporal()
    await sweep(ledger, temporal)
    assert (temporal.started, temporal.signals) == ([], [])
    ((left,),) = await ledger.rows("SELECT count(*) FROM reviews WHERE sweep_at IS NOT NULL")
    assert left == 0


async def test_a_workflow_that_runs_is_told_when_its_review_began_anew(ledger: Ledger) -> None:
    authorized = await ledger.add_payment(S.AUTHORIZED)
    expiry = await ledger.add_operation(authorized, K.EXPIRE)
    await ledger.recorder().review(subject(expiry), reason="unknown")
    temporal = Temporal()
    await sweep(ledger, temporal)
    await ledger.recorder().record(subject(expiry), attempt=1, fact=DECLINED)
    for _ in range(2):
        await sweep(ledger, temporal)
    assert temporal.signals == [(f"review-{expiry.id}", REVIEW_CHANGED)]


@pytest.mark.parametrize("ended", [False, True])
async def test_while_temporal_is_away_a_review_comes_again_soon(ledger: Ledger, ended: bool) -> None:
    _, refund = await in_review(ledger)
    if ended:
        await end(ledger, refund)
    away = Temporal(error=RPCError("away", RPCStatusCode.UNAVAILABLE, b""))
    for _ in range(8):
        await sweep(ledger, away)
    ((pause_s, sweeps),) = await ledger.rows(
        "SELECT extract(epoch FROM sweep_at - now()), sweeps FROM reviews WHERE operation_id = :id",
        id=refund.id,
    )
    assert float(pause_s) <= 10
    assert sweeps == 0


async def test_a_namespace_without_the_attribute_is_an_error_in_the_log(ledger: Ledger) -> None:
    await in_review(ledger)
    with structlog.testing.capture_logs() as logs:
        await sweep(ledger, Temporal(error=RPCError("no such", RPCStatusCode.INVALID_ARGUMENT, b"")))
    assert ("review_not_shown", "error") in {(entry["event"], entry["log_level"]) for entry in logs}


async def test_the_gauges_show_what_is_open_and_go_back_to_nothing(ledger: Ledger) -> None:
    _, refund = await in_review(ledger)
    await ledger.rows("UPDATE reviews SET due_at = now()")
    reviews = sweeper_of(ledger, Temporal())._reviews

    def shown() -> tuple[float, float]:
        gauges = (metrics.REVIEWS_OPEN, metrics.REVIEWS_OVERDUE)
        opened, overdue = (gauge.labels(R.UNDECIDED)._value.get() for gauge in gauges)
        return opened, overdue

    await reviews.measure()
    assert shown() == (1, 1)
    await end(ledger, refund)
    await reviews.measure()
    assert shown() == (0, 0)


async def look(ledger: Ledger, of: Operation) -> ReviewStanding:
    reviewing = Reviewing(cases=Cases(ledger.database, IDS, {}), recorder=ledger.recorder())
    asked = ReviewRequest(of.payment_id, of.id, "whatever")
    standing: ReviewStanding = await ActivityEnvironment().run(reviewing.look_at_review, asked)
    return standing


async def test_a_look_says_how_the_review_stands_and_whom_to_ask_about_what(ledger: Ledger) -> None:
    _, refund = await in_review(ledger)
    seen = await look(ledger, refund)
    assert isinstance(seen, OpenReview)
    assert (seen.reason, seen.meaning, seen.words) == ("undecided", R.UNDECIDED.meaning, "unknown")
    assert seen.due_at - seen.opened_at == timedelta(hours=24)
    assert seen.verdicts.keys() == {"paid", "not_paid"}
    assert seen.about is not None
    assert seen.about.operation == OperationRequest(refund.payment_id, refund.id, K.REFUND)
    assert seen.about.reference == f"{refund.id}-1"
    await end(ledger, refund)
    assert await look(ledger, refund) == Over("fact")


async def test_an_operation_that_was_never_sent_is_not_asked_about(ledger: Ledger) -> None:
    paid = await ledger.add_payment(S.CAPTURED)
    refund = await ledger.add_operation(paid, K.REFUND, claimed=False)
    assert await look(ledger, refund) == Over(None)
    await ledger.recorder().review(subject(refund), reason="engine_refused")
    seen = await look(ledger, refund)
    assert isinstance(seen, OpenReview)
    assert seen.about is None


async def test_of_what_the_acquirer_did_itself_it_is_asked_about_the_attempt_that_this_is_about(
    ledger: Ledger,
) -> None:
    authorized = await ledger.add_payment(S.AUTHORIZED)
    await ledger.add_operation(authorized, K.AUTHORIZE)
    capture = await ledger.add_operation(authorized, K.CAPTURE)
    undone = Undone("u", 1000, "INR", reason="rejected")
    said = Approved("acq", 1000, "INR", stage=Stage.CAPTURED, since=(undone,))
    await ledger.recorder().record(subject(capture), attempt=1, fact=said)
    ((turn_id,),) = await ledger.rows("SELECT operation_id FROM reviews")
    seen = await look(ledger, await ledger.operation(turn_id))
    assert isinstance(seen, OpenReview)
    assert seen.about is not None
    assert (seen.about.operation.operation_id, seen.about.reference) == (capture.id, f"{capture.id}-1")


async def test_of_what_others_did_at_the_acquirer_it_is_asked_about_the_authorization(ledger: Ledger) -> None:
    init = await ledger.add_payment()
    create = await ledger.add_operation(init, K.AUTHORIZE)
    said = Approved("acq", 1000, "INR", stage=Stage.CAPTURED, since=(Foreign("f", "refund", 5000, "INR"),))
    await ledger.recorder().record(subject(create), attempt=1, fact=said)
    ((turn_id,),) = await ledger.rows("SELECT operation_id FROM reviews")
    seen = await look(ledger, await ledger.operation(turn_id))
    assert isinstance(seen, OpenReview)
    assert seen.about is not None
    assert (seen.about.operation.kind, seen.about.reference) == (K.AUTHORIZE, f"{init.id}-1")


async def test_a_late_success_is_asked_about_by_the_attempt_that_succeeded(ledger: Ledger) -> None:
    paid = await ledger.add_payment(S.CAPTURED)
    refund = await ledger.add_operation(paid, K.REFUND, amount_minor=10)
    await ledger.recorder().record(subject(refund), attempt=1, fact=DECLINED)
    await ledger.recorder().record(subject(refund), attempt=1, fact=approval(refund))
    case = await ledger.operation(IDS.reversal(reference=f"{refund.id}-1"))
    seen = await look(ledger, case)
    assert isinstance(seen, OpenReview)
    assert seen.about is not None
    assert seen.about.operation.operation_id == refund.id


async def test_a_look_at_what_is_not_there_fails_for_good(ledger: Ledger) -> None:
    _, refund = await in_review(ledger)
    other = await ledger.add_payment(S.CAPTURED)
    reviewing = Reviewing(cases=Cases(ledger.database, IDS, {}), recorder=ledger.recorder())
    with pytest.raises(NotFound):
        await ActivityEnvironment().run(
            reviewing.look_at_review, ReviewRequest(other.id, refund.id, "undecided")
        )


async def test_the_escalation_is_the_recorders(ledger: Ledger) -> None:
    paid, refund = await in_review(ledger)
    seen = await look(ledger, refund)
    assert isinstance(seen, OpenReview)
    reviewing = Reviewing(cases=Cases(ledger.database, IDS, {}), recorder=ledger.recorder())
    asked = ReviewRequest(paid.id, refund.id, "undecided")
    for _ in range(2):
        await ActivityEnvironment().run(reviewing.escalate_review, asked, seen.due_at)
    seen = await look(ledger, refund)
    assert isinstance(seen, OpenReview)
    assert seen.overdue_at is not None
    assert [type_ for _, type_ in await ledger.events(paid.id)][-1] == "payment.review_overdue"
