"""What is held for its risk: approved, rejected, voided by its merchant, or left alone."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from payonce.domain.decisions import Verdict
from payonce.domain.errors import DecisionRefused
from payonce.domain.facts import Approved, DeclineCode, Declined, Foreign, Stage
from payonce.domain.operations import Operation, OperationKind, OperationStatus, Origin
from payonce.domain.payment import HELD, REJECTED, PaymentStatus
from payonce.domain.reviews import ClosedBy
from tests.storage.deciding import decide, record
from tests.storage.ledger import IDS, Ledger, subject
from tests.support.rows import approval

K, S, O, V = OperationKind, PaymentStatus, OperationStatus, Verdict
RISK = {"verdict": "review", "reasons": ["first_order"], "provider": "rules"}
REVIEW = "SELECT reason, words, due_at, closed_by FROM reviews WHERE operation_id = :id"
EVENTS = "SELECT type FROM events WHERE payment_id = :id ORDER BY sequence"


async def held(ledger: Ledger, capture_method: str = "automatic", **fact: Any) -> Operation:
    """The create of a payment that was authorized, and is held."""
    payment = await ledger.add_payment(S.INIT, capture_method=capture_method, capture=HELD, risk=RISK)
    create = await ledger.add_operation(payment, K.AUTHORIZE, id=payment.id)
    await record(ledger, create, approval(create, stage=Stage.AUTHORIZED, **fact))
    return await ledger.operation(create.id)


async def own(ledger: Ledger, create: Operation) -> Operation:
    """The operation of ours that follows."""
    return await ledger.operation(IDS.follow_up(operation_id=create.id))


async def events(ledger: Ledger, create: Operation) -> list[str]:
    return [row.type for row in await ledger.rows(EVENTS, id=create.payment_id)]


async def review(ledger: Ledger, create: Operation) -> Any:
    (found,) = await ledger.rows(REVIEW, id=create.id)
    return found


async def test_what_is_held_is_in_review_from_its_authorization_on(ledger: Ledger) -> None:
    create = await held(ledger)
    payment = await ledger.payment(create.payment_id)
    assert (payment.status, payment.amount_captured_minor, payment.pending_operation) == (
        S.AUTHORIZED,
        0,
        None,
    )
    assert payment.review is not None
    assert payment.review["reason"] == "risk"
    assert await events(ledger, create) == ["payment.authorized", "payment.needs_review"]
    found = await review(ledger, create)
    assert (found.reason, found.words, found.closed_by) == ("risk", "risk: first_order", None)


async def test_it_is_due_an_hour_before_the_authorization_ends(ledger: Ledger) -> None:
    until = datetime.now(UTC) + timedelta(hours=3)
    create = await held(ledger, capture_before=until)
    assert (await review(ledger, create)).due_at == until - timedelta(hours=1)


async def test_an_automatic_payment_that_is_approved_is_captured(ledger: Ledger) -> None:
    create = await held(ledger)
    await decide(ledger, create, V.APPROVED)
    capture = await own(ledger, create)
    assert (capture.kind, capture.origin, capture.amount_minor) == (K.CAPTURE, Origin.PAYONCE, 1000)
    payment = await ledger.payment(create.payment_id)
    assert (payment.capture, payment.review) == (None, None)
    assert payment.pending_operation is not None
    assert payment.pending_operation["id"] == capture.id
    assert (await review(ledger, create)).closed_by == ClosedBy.DECISION
    assert (await ledger.operation(create.id)).decided_at is None  # its outcome is the acquirer's
    await ledger.claim(capture)
    await record(ledger, capture, approval(capture))
    assert (await ledger.payment(create.payment_id)).status is S.CAPTURED


async def test_a_manual_one_that_is_approved_waits_for_its_merchant(ledger: Ledger) -> None:
    create = await held(ledger, "manual")
    await decide(ledger, create, V.APPROVED)
    payment = await ledger.payment(create.payment_id)
    assert (payment.capture, payment.review, payment.pending_operation) == (None, None, None)


async def test_what_is_rejected_is_voided_and_can_never_be_captured(ledger: Ledger) -> None:
    create = await held(ledger)
    await decide(ledger, create, V.REJECTED)
    void = await own(ledger, create)
    assert (void.kind, void.origin) == (K.VOID, Origin.PAYONCE)
    assert (await ledger.payment(create.payment_id)).capture == REJECTED
    await ledger.claim(void)
    await record(ledger, void, approval(void))
    payment = await ledger.payment(create.payment_id)
    assert (payment.status, payment.review, payment.last_error) == (S.VOIDED, None, None)


async def test_what_nobody_decides_in_time_is_voided_once_however_often_that_is_noticed(
    ledger: Ledger,
) -> None:
    create = await held(ledger, capture_before=datetime.now(UTC) + timedelta(minutes=30))
    due_at = (await review(ledger, create)).due_at
    recorder = ledger.recorder()
    await asyncio.gather(*(recorder.overdue(subject(create), due_at=due_at) for _ in range(5)))
    void = await own(ledger, create)
    assert await ledger.count("operations") == 2
    assert (await review(ledger, create)).closed_by == ClosedBy.TIME
    await ledger.claim(void)
    await record(ledger, void, approval(void))
    payment = await ledger.payment(create.payment_id)
    assert payment.status is S.VOIDED
    assert payment.last_error is not None
    assert payment.last_error["code"] == "review_timed_out"
    assert (await events(ledger, create))[2:] == ["payment.voided"]


async def test_a_void_of_the_merchants_ends_the_review(ledger: Ledger) -> None:
    create = await held(ledger)
    payment = await ledger.payment(create.payment_id)
    void = await ledger.add_operation(payment, K.VOID)
    with pytest.raises(DecisionRefused, match="its outcome comes first"):
        await decide(ledger, create, V.APPROVED)
    due_at = (await review(ledger, create)).due_at
    await ledger.recorder().overdue(subject(create), due_at=due_at)
    assert (await ledger.payment(create.payment_id)).capture == HELD  # the void comes first
    await record(ledger, void, approval(void))
    payment = await ledger.payment(create.payment_id)
    assert (payment.status, payment.review) == (S.VOIDED, None)
    assert (await review(ledger, create)).closed_by == ClosedBy.FACT
    with pytest.raises(DecisionRefused, match="not in review"):
        await decide(ledger, await ledger.operation(create.id), V.APPROVED)


async def test_a_void_that_the_acquirer_refuses_leaves_the_review_open(ledger: Ledger) -> None:
    create = await held(ledger)
    void = await ledger.add_operation(await ledger.payment(create.payment_id), K.VOID)
    await record(ledger, void, Declined(DeclineCode.PROCESSING_ERROR))
    assert (await review(ledger, create)).closed_by is None
    await decide(ledger, create, V.REJECTED)
    assert (await own(ledger, create)).kind is K.VOID


async def test_one_decision_holds_of_two_at_once(ledger: Ledger) -> None:
    create = await held(ledger)
    both = (decide(ledger, create, verdict) for verdict in (V.APPROVED, V.REJECTED))
    done = await asyncio.gather(*both, return_exceptions=True)
    assert sum(isinstance(one, DecisionRefused) for one in done) == 1
    assert await ledger.count("operations") == 2


async def test_what_the_acquirer_captured_all_the_same_is_in_the_books_and_cannot_be_rejected(
    ledger: Ledger,
) -> None:
    payment = await ledger.add_payment(S.INIT, capture_method="automatic", capture=HELD, risk=RISK)
    create = await ledger.add_operation(payment, K.AUTHORIZE, id=payment.id)
    captured = Approved("acq-1", create.amount_minor, create.currency, stage=Stage.CAPTURED)
    await record(ledger, create, captured)
    found = await ledger.payment(payment.id)
    assert (found.status, found.amount_captured_minor) == (S.CAPTURED, 1000)
    with pytest.raises(DecisionRefused, match="can only be refunded"):
        await decide(ledger, await ledger.operation(create.id), V.REJECTED)
    await decide(ledger, await ledger.operation(create.id), V.APPROVED)
    assert await ledger.count("operations") == 1


async def test_a_void_of_what_was_rejected_is_not_followed_by_another_when_it_fails(ledger: Ledger) -> None:
    create = await held(ledger)
    await decide(ledger, create, V.REJECTED)
    void = await own(ledger, create)
    await ledger.claim(void)
    await record(ledger, void, Declined(DeclineCode.PROCESSING_ERROR))
    payment = await ledger.payment(create.payment_id)
    assert (payment.status, payment.capture, payment.pending_operation) == (S.AUTHORIZED, REJECTED, None)
    assert payment.review is not None
    assert payment.review["reason"] == "void_not_confirmed"
    assert await ledger.count("operations") == 2


async def test_what_was_released_in_the_dashboard_is_nobodys_to_decide(ledger: Ledger) -> None:
    create = await held(ledger)
    released = Foreign("void-1", "void", 1000, "INR")
    await record(ledger, create, replace(approval(create, stage=Stage.AUTHORIZED), since=(released,)))
    payment = await ledger.payment(create.payment_id)
    assert (payment.status, payment.review) == (S.VOIDED, None)
    found = await review(ledger, create)
    assert found.closed_by == ClosedBy.FACT
    await ledger.recorder().overdue(subject(create), due_at=found.due_at)
    assert "payment.review_overdue" not in await events(ledger, create)


async def test_what_was_captured_in_the_dashboard_stays_for_a_person(ledger: Ledger) -> None:
    create = await held(ledger)
    captured = Foreign("capture-1", "capture", 1000, "INR")
    await record(ledger, create, replace(approval(create, stage=Stage.AUTHORIZED), since=(captured,)))
    payment = await ledger.payment(create.payment_id)
    assert (payment.status, payment.amount_captured_minor) == (S.CAPTURED, 1000)
    assert (await review(ledger, create)).closed_by is None
